"""The policy that wrote the simulated log, a service before it had Matinee."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from matinee.world.catalogue import GENRES, Catalogue
from matinee.world.members import Members
from matinee.world.settings import Settings, stream
from matinee.world.slates import draw_slates, leading, propensities
from matinee.world.taste import Taste

NAME = "simulated-logging"
CHUNK = 4_096
"""Sessions drawn at once, so that memory is bounded."""


@dataclass(frozen=True)
class Slates:
    """B drawn slates. Titles are numbers in the catalogue; S and K may be cut by few titles.

    titles : int64 [B, K]; propensities : float64 [B, K], conditional on the slots before.
    segment : int64 [B, S], positions in the eligible set; logits : float64 [B, S].
    """

    titles: NDArray[np.int64]
    propensities: NDArray[np.float64]
    segment: NDArray[np.int64]
    logits: NDArray[np.float64]


@dataclass(frozen=True)
class EligibleSet:
    """The titles that may be shown in a country on a day, ascending by id, with a content hash."""

    titles: NDArray[np.int64]
    ids: list[str]
    eligible: str


def content_hash(value: object) -> str:
    """BLAKE2b of the value as compact JSON with sorted keys, 32 hexadecimal digits.

    >>> content_hash({"b": 1, "a": 2}) == content_hash({"a": 2, "b": 1})
    True
    >>> content_hash(["alien-1979"]) == content_hash(["heat-1995"])
    False
    """
    text = json.dumps(value, separators=(",", ":"), sort_keys=True)
    return blake2b(text.encode(), digest_size=16).hexdigest()


class LoggingPolicy:
    """Popularity and genre, blurred, then Plackett-Luce within the best S with a uniform share.

    It knows each title's quality and each member's long-run taste for genres with an error that
    stays, knows nothing of country, era or drift, and adds fresh noise to every session.
    """

    def __init__(
        self, settings: Settings, catalogue: Catalogue, members: Members, taste: Taste
    ) -> None:
        rng = stream(settings.seed, "logging")
        self.settings, self.catalogue = settings, catalogue
        self._popularity = catalogue.quality + rng.normal(scale=0.5, size=len(catalogue))
        blur = rng.normal(scale=0.6, size=(len(members), GENRES))
        self._liking = 0.6 * taste.long_run[:, :GENRES] + blur
        self.eligible = lru_cache(maxsize=1_024)(self._eligible)

    def _eligible(self, country: int, day: int) -> EligibleSet:
        titles = np.flatnonzero(self.catalogue.available(day)[country])
        ids = [self.catalogue.ids[title] for title in titles]
        return EligibleSet(titles, ids, content_hash(ids))

    def draw(
        self, members: NDArray[np.int64], titles: NDArray[np.int64], rng: np.random.Generator
    ) -> Slates:
        """Draw slates for members [B] of one country, to whom the same titles [A] are eligible."""
        parts = [
            self._draw(members[first : first + CHUNK], titles, rng)
            for first in range(0, len(members), CHUNK)
        ]
        return Slates(
            np.concatenate([part.titles for part in parts]),
            np.concatenate([part.propensities for part in parts]),
            np.concatenate([part.segment for part in parts]),
            np.concatenate([part.logits for part in parts]),
        )

    def _draw(
        self, members: NDArray[np.int64], titles: NDArray[np.int64], rng: np.random.Generator
    ) -> Slates:
        genres = self.catalogue.facets[titles, :GENRES].T
        scores = self._popularity[titles] + np.einsum("bf,ft->bt", self._liking[members], genres)
        scores += rng.normal(scale=0.5, size=scores.shape)
        segment = leading(scores, self.settings.segment)
        logits = np.take_along_axis(scores, segment, axis=1) / self.settings.temperature
        drawn = draw_slates(logits, self.settings.slots, self.settings.epsilon, rng)
        return Slates(
            titles[np.take_along_axis(segment, drawn, axis=1)],
            propensities(logits, drawn, self.settings.epsilon),
            segment,
            logits,
        )
