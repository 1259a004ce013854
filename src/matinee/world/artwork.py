"""The truth about pictures: how much each of them changes what a member thinks of its title."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from matinee.lake.records import Picture
from matinee.world.catalogue import GENRES, Catalogue
from matinee.world.logging_policy import content_hash
from matinee.world.members import Members
from matinee.world.pictures import CAST, FACET_OF, LOOKS, draw_pictures
from matinee.world.settings import Settings, stream
from matinee.world.taste import Taste

STRENGTH = 0.4
"""Logits that a picture wholly of a genre adds for each logit of the member's taste for it."""

LOOK_SPREAD = 0.1
"""Standard deviation over members of the taste for each look, in logits."""

ACTOR_SPREAD = 0.25
"""Standard deviation over members of the liking for an actor, in logits."""

QUALITY_SPREAD = 0.08
"""Standard deviation over pictures of what each adds for everybody, in logits."""

NO_PICTURES = "this world has no pictures; make one with Settings(pictures=5)"

ACTOR_TRAITS = 8
"""Likings for actors have this many dimensions: who likes one actor likes those who are similar."""

DIMENSIONS = GENRES + len(LOOKS) + ACTOR_TRAITS


class Artwork:
    """The effect of picture p of title t on member m on day d, in logits of playing the title.

    .. math:: e_{mp}(d) = w_m(d)^T (z_p - \\bar z_t) + q_p - \\bar q_t

    The traits z_p are what the features of the picture say: its genres, its looks, and the traits
    of its actor, the same in all titles that the actor plays in. The taste w_m(d) is the member's
    taste of :class:`~matinee.world.taste.Taste` for the genres, made small, with tastes of its own
    for looks and actors. Means are over the pictures of the title, so that pictures shown by pure
    chance change little on average.

    Attributes
    ----------
    count : n, the pictures of each title; 0 for a world without pictures.
    records : the pictures, [T] lists of n.
    ids : their ids, [T] lists of n; `sets` has the content hash of each list.
    traits : float64 [T, n, D] and quality : float64 [T, n], centred over n.
    assigned : int8 [M, T], the picture that the log shows to a member for a title, uniform.
    """

    def __init__(
        self, settings: Settings, catalogue: Catalogue, members: Members, taste: Taste
    ) -> None:
        seed, self.count, self._taste = settings.seed, settings.pictures, taste
        self.records = draw_pictures(settings, catalogue)
        self.ids = [[picture.picture_id for picture in pictures] for pictures in self.records]
        self.sets = [content_hash(ids) for ids in self.ids]
        self._number = {
            picture.picture_id: (picture.title_id, place)
            for pictures in self.records
            for place, picture in enumerate(pictures)
        }
        shape = (len(catalogue), self.count)
        self.traits = _centred(self._traits(_meanings(seed, catalogue)))
        luck = stream(seed, "picture quality").normal(scale=QUALITY_SPREAD, size=shape)
        self.quality = _centred(luck)
        looks = stream(seed, "looks").normal(scale=LOOK_SPREAD, size=(len(members), len(LOOKS)))
        actors = stream(seed, "actor taste").normal(size=(len(members), ACTOR_TRAITS))
        self._own = np.hstack([looks, ACTOR_SPREAD * actors])
        self.assigned = stream(seed, "assigned").integers(
            max(self.count, 1), size=(len(members), len(catalogue)), dtype=np.int8
        )

    def _traits(self, meanings: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        traits = np.zeros((len(self.records), self.count, DIMENSIONS))
        for title, pictures in enumerate(self.records):
            for place, picture in enumerate(pictures):
                for feature, weight in picture.features.items():
                    traits[title, place] += weight * meanings[feature]
        return traits

    def pictures(self) -> list[Picture]:
        """All pictures, title by title."""
        return [picture for pictures in self.records for picture in pictures]

    def name(self, title: int, place: int) -> str:
        """The id of a picture of a title; `ValueError` in a world without pictures."""
        if not self.count:
            raise ValueError(NO_PICTURES)
        return self.ids[title][place]

    def number(self, title: str, picture: str) -> int:
        """The place of a picture among those of its title; `ValueError` if it is not one."""
        of, place = self._number.get(picture, (None, 0))
        if of is None:
            raise ValueError(
                f"the simulated service has no picture {picture!r}; pictures() lists them"
            )
        if of != title:
            raise ValueError(f"picture {picture!r} is one of title {of!r}, not of {title!r}")
        return place

    def numbers(
        self, slates: Sequence[Sequence[str]], pictures: Sequence[Sequence[str]] | None
    ) -> NDArray[np.int64]:
        """Places [B, K] of the pictures shown for slates, 0 (the fixed one) where none is named."""
        numbers = np.zeros((len(slates), max(map(len, slates), default=0)), np.int64)
        if pictures is None:
            return numbers
        if [*map(len, pictures)] != [*map(len, slates)]:
            raise ValueError("give one picture for each title, in the same order")
        for row, (slate, shown) in enumerate(zip(slates, pictures, strict=True)):
            numbers[row, : len(slate)] = [*map(self.number, slate, shown)]
        return numbers

    def effect(
        self,
        day: int,
        members: NDArray[np.int64],
        titles: NDArray[np.int64],
        pictures: NDArray[np.integer],
    ) -> NDArray[np.float64]:
        """Logits [B, K] that pictures [B, K] of titles [B, K] add for members [B] on a day."""
        if not self.count:
            return np.zeros(titles.shape)
        effect: NDArray[np.float64] = np.einsum(
            "bd,bkd->bk", self._tastes(day)[members], self.traits[titles, pictures]
        )
        effect += self.quality[titles, pictures]
        return effect

    def best(
        self, day: int, members: NDArray[np.int64], titles: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """The place [N] of the picture of titles [N] that does most for members [N] on a day."""
        if not self.count:
            raise ValueError(NO_PICTURES)
        best: NDArray[np.int64] = self.effects(day, members, titles).argmax(axis=1)
        return best

    def effects(
        self, day: int, members: NDArray[np.int64], titles: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Logits [N, n] that each picture of titles [N] adds for members [N] on a day."""
        places = np.broadcast_to(np.arange(self.count), (len(titles), self.count))
        return self.effect(day, members, np.broadcast_to(titles[:, None], places.shape), places)

    def _tastes(self, day: int) -> NDArray[np.float64]:
        tastes: NDArray[np.float64] = np.hstack(
            [STRENGTH * self._taste.on(day)[:, :GENRES], self._own]
        )
        return tastes


def _meanings(seed: int, catalogue: Catalogue) -> dict[str, NDArray[np.float64]]:
    """The traits [D] that each feature of a picture stands for: genres, looks, then actors."""
    actors = sorted({actor for film in catalogue.films for actor in film.cast})
    similar = stream(seed, "actors").normal(size=(len(actors), ACTOR_TRAITS))
    similar /= np.linalg.norm(similar, axis=1, keepdims=True)
    axes, none = np.eye(DIMENSIONS), np.zeros(GENRES + len(LOOKS))
    return {
        **{genre: axes[facet] for genre, facet in FACET_OF.items()},
        **{look: axes[GENRES + number] for number, look in enumerate(LOOKS)},
        **{CAST + actor: np.append(none, row) for actor, row in zip(actors, similar, strict=True)},
    }


def _centred(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values [T, n, ...] less their mean over the n pictures of a title."""
    return values - values.mean(axis=1, keepdims=True) if values.size else values
