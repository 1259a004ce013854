"""The pictures that may stand for a simulated title: what each shows, who is in it, how it looks.

The pictures of one title differ in what they emphasise: its main genre, another one, two at once,
or one of its actors; and no two of them have the same look.
"""

from __future__ import annotations

from itertools import cycle

import numpy as np

from matinee.lake.records import Picture
from matinee.world.catalogue import FACETS, Catalogue, Film
from matinee.world.settings import Settings, stream

RATIOS = ("2:3", "16:9")
"""Width to height of the crops of a picture."""

CAST = "cast: "
"""What stands before the name of an actor in `features`."""

FACET_OF = {genre: number for number, facet in enumerate(FACETS) for genre in facet}
"""The facet of a title's taste that a genre belongs to."""

LOOKS = ("dark", "bright", "warm", "cool", "face")
TONES = (
    ("dark", "cool"),
    ("bright", "warm"),
    ("dark", "warm"),
    ("bright", "cool"),
    ("dark",),
    ("bright",),
    ("warm",),
    ("cool",),
)
"""The light and the warmth of a picture; each picture of a title has another entry."""

SCENE, SHARED, BACKGROUND = 1.0, 0.5, 0.9
"""How much of a genre is in a picture of it alone, in one of two genres, and behind an actor."""

FACES = (2, 4, 7)
"""The places among a title's pictures that show an actor, if it has any."""


def main_genres(film: Film) -> list[str]:
    """The genres of a film, the first of each facet: those that draw different members.

    >>> from matinee.world.catalogue import films
    >>> films(3)[2].genres, main_genres(films(3)[2])
    (['Sci-Fi', 'Horror', 'Thriller', 'Drama'], ['Sci-Fi', 'Horror', 'Thriller', 'Drama'])
    """
    first: dict[int, str] = {}
    for genre in film.genres:
        first.setdefault(FACET_OF[genre], genre)
    return list(first.values())


def emphases(film: Film, count: int) -> list[dict[str, float]]:
    """What `count` pictures of a film show, by genre and actor, with weights in (0, 1].

    >>> from matinee.world.catalogue import films
    >>> emphases(films(2)[1], 3)
    [{'Romance': 1.0}, {'Drama': 1.0}, {'Romance': 0.9, 'cast: Kathy Bates': 1.0}]
    """
    genres = main_genres(film)
    scenes = [{genre: SCENE} for genre in genres]
    if len(genres) > 1:
        scenes.append(dict.fromkeys(genres[:2], SHARED))
    faces = [
        {genre: BACKGROUND, CAST + actor: 1.0}
        for genre, actor in zip(cycle(genres), film.cast, strict=False)
    ]
    scene, face = cycle(scenes), cycle(faces or scenes)
    return [dict(next(face if place in FACES else scene)) for place in range(count)]


def draw_pictures(settings: Settings, catalogue: Catalogue) -> list[list[Picture]]:
    """The pictures of each of T titles, [T] lists of `settings.pictures`, the fixed one first."""
    rng = stream(settings.seed, "pictures")
    return [
        _of_title(title, emphases(film, settings.pictures), rng)
        for title, film in zip(catalogue.ids, catalogue.films, strict=True)
    ]


def _of_title(title: str, shown: list[dict[str, float]], rng: np.random.Generator) -> list[Picture]:
    tones = rng.permutation(len(TONES))
    weights = rng.uniform(0.6, 1.0, (len(TONES), 2)).round(2).tolist()
    return [
        _picture(title, place + 1, features, dict(zip(TONES[tone], weights[place], strict=False)))
        for place, (features, tone) in enumerate(zip(shown, tones, strict=False))
    ]


def _picture(title: str, number: int, shown: dict[str, float], tone: dict[str, float]) -> Picture:
    picture = f"{title}.{number}"
    face = {"face": 1.0} if any(feature.startswith(CAST) for feature in shown) else {}
    return Picture(
        picture_id=picture,
        title_id=title,
        features={**shown, **tone, **face},
        files={ratio: f"{picture}-{ratio.replace(':', 'x')}.svg" for ratio in RATIOS},
        fixed=number == 1,
    )
