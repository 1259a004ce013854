"""What pictures show beside the other pictures of their title, and what members like to see."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from matinee.lake.records import Picture, Title

LATEST = 200
"""How many of the latest watched titles a taste is made of."""
UNSURE = 4.0
"""Titles of no taste at all that are added to those that were watched."""


def labels_of(title: Title) -> list[str]:
    """What a title has that a picture of it may show: its genres, and who plays in it.

    >>> labels_of(Title(title_id="heat", name="Heat", genres=["Crime"], cast=["Al Pacino"]))
    ['Crime', 'cast: Al Pacino']
    """
    return [*title.genres, *(f"cast: {name}" for name in title.cast)]


def common_labels(
    pictures: Iterable[Picture], titles: Iterable[Title], most: int
) -> tuple[str, ...]:
    """The labels of titles that the most pictures show, ascending; `most` of them at most."""
    known = {label for title in titles for label in labels_of(title)}
    counts = Counter(name for picture in pictures for name in picture.features if name in known)
    ordered = sorted(counts, key=lambda name: (-counts[name], name))
    return tuple(sorted(ordered[:most]))


def taste(watched: Sequence[Iterable[str]]) -> dict[str, float]:
    """The share of each label among the titles that a member watched, the latest last, by name.

    It is n_label / (n + 4): of one who watched little, little is known. Shares are in [0, 1).

    >>> taste([["Crime"], ["Crime", "Drama"]])
    {'Crime': 0.333, 'Drama': 0.167}
    """
    latest = watched[-LATEST:]
    counts = Counter(label for labels in latest for label in labels)
    return {label: round(counts[label] / (len(latest) + UNSURE), 3) for label in sorted(counts)}


def pictured(
    pictures: Iterable[Picture], titles: Mapping[str, Title]
) -> dict[str, dict[str, float]]:
    """What each picture is about, by its id: weights of features, 0 left out.

    "picture=dark" is how much more of it there is than in the title's pictures on average, in
    [-1, 1]: between pictures of one title nothing else can make a difference. "genre=Drama" is of
    the title, and "title=heat" says which.

    >>> two = [Picture(picture_id=f"heat.{n}", title_id="heat", features=shown)
    ...        for n, shown in ((1, {"dark": 1.0}), (2, {}))]
    >>> pictured(two, {})["heat.2"]
    {'picture=dark': -0.5, 'title=heat': 1.0}
    """
    of_title: dict[str, list[Picture]] = defaultdict(list)
    for picture in pictures:
        of_title[picture.title_id].append(picture)
    found: dict[str, dict[str, float]] = {}
    for title_id, several in of_title.items():
        genres = titles[title_id].genres if title_id in titles else []
        own = {**{f"genre={genre}": 1.0 for genre in genres}, f"title={title_id}": 1.0}
        for picture, shown in zip(several, _beside(several), strict=True):
            found[picture.picture_id] = {**shown, **own}
    return found


def _beside(several: Sequence[Picture]) -> list[dict[str, float]]:
    """The features of each picture less their mean over all of them."""
    names = sorted({name for picture in several for name in picture.features})
    means = {name: sum(one.features.get(name, 0.0) for one in several) for name in names}
    differences = [
        {name: picture.features.get(name, 0.0) - means[name] / len(several) for name in names}
        for picture in several
    ]
    return [{f"picture={name}": each for name, each in one.items() if each} for one in differences]
