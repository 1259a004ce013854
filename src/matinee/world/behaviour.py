"""How a simulated member reacts to a slate: what is examined, played, finished and rated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Logits = NDArray[np.float64]

REPLAY = -4.0
"""Logits that a title loses once the member has finished it."""

FINISHED = 0.9
"""Share of the runtime from which a title counts as complete."""

THUMB = 0.15
"""Probability that a play is followed by a thumb."""


def sigmoid(logits: Logits) -> NDArray[np.float64]:
    """1 / (1 + exp(-x)), without overflow.

    >>> sigmoid(np.array([0.0, -1e9])).tolist()
    [0.5, 0.0]
    """
    return np.exp(-np.logaddexp(0.0, -logits))


def examination(slots: int) -> NDArray[np.float64]:
    """The probability [K] that a member looks at each slot: 1 / sqrt(1 + k / 2).

    The position-based model of Craswell, Zoeter, Taylor and Ramsey (2008), "An experimental
    comparison of click position-bias models", WSDM: a title is played if its slot is examined and
    the member likes it, two independent events.

    >>> examination(7)[[0, 6]].tolist()
    [1.0, 0.5]
    """
    return 1.0 / np.sqrt(1.0 + np.arange(slots) / 2)


@dataclass(frozen=True)
class Reaction:
    """What B members did with K slots each; entries other than `played` matter only for plays.

    played : bool [B, K]
    share : float64 [B, K], share of the runtime that was watched, in (0, 1]
    stopped : float64 [B, K], seconds from the decision to the end of the playback
    thumb : int64 [B, K], 0 none, -1 down, 1 up, 2 two thumbs up
    """

    played: NDArray[np.bool_]
    share: NDArray[np.float64]
    stopped: NDArray[np.float64]
    thumb: NDArray[np.int64]

    @property
    def finished(self) -> NDArray[np.bool_]:
        """Whether the title was watched to its end, bool [B, K]."""
        return self.played & (self.share >= FINISHED)

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """The members of all parts, one after the other."""
        return cls(
            np.concatenate([part.played for part in parts]),
            np.concatenate([part.share for part in parts]),
            np.concatenate([part.stopped for part in parts]),
            np.concatenate([part.thumb for part in parts]),
        )

    def take(self, rows: NDArray[np.int64]) -> Self:
        """The members at these rows, in this order."""
        kind = type(self)
        return kind(self.played[rows], self.share[rows], self.stopped[rows], self.thumb[rows])


def play_probability(affinity: Logits) -> NDArray[np.float64]:
    """P(play) [B, K] of titles in the slots where they stand: examination times sigmoid."""
    return examination(affinity.shape[1]) * sigmoid(affinity)


def react(affinity: Logits, runtime: NDArray[np.float64], rng: np.random.Generator) -> Reaction:
    """Draw the reaction of B members to K titles of some affinity and runtime (minutes), [B, K].

    Who likes a title more finishes it more often and gives better thumbs. Titles are watched one
    after the other from the top.
    """
    uniform = rng.random((5, *affinity.shape))
    played = uniform[0] < play_probability(affinity)
    ends = uniform[1] < sigmoid(0.8 + 0.5 * affinity)
    share = np.where(ends, 1.0 - 0.1 * uniform[2], 0.02 + 0.86 * uniform[2])
    seconds = 60.0 * share * runtime
    stopped = 15.0 + np.cumsum(np.where(played, 20.0 + seconds, 0.0), axis=1)
    likes = uniform[3] < sigmoid(1.5 + affinity)
    thumb = np.where(likes, np.where(ends & (affinity > 0), 2, 1), -1)
    return Reaction(played, share, stopped, np.where(uniform[4] < THUMB, thumb, 0))
