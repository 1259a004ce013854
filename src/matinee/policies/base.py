"""The contract of a policy.

Shapes: A candidates, S of them in a segment, K slots, one decision at a time (a batch is a loop;
draws are cheap).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

BLOCK = 1_024
"""Decisions that are chosen for at a time."""
FEW = 1_024
"""Scores of which all are put in order where some are wanted; of more the best are found first."""

PropensityKind = Literal["conditional", "marginal", "joint"]


@dataclass(frozen=True, slots=True)
class Preference:
    """Where a policy may look and how it leans: candidates in its segment and their logits.

    `segment` [S] holds positions among the A candidates, the best first; `logits` [S] is what the
    draw is made from. The pair is written into the decision record, so that the logging
    distribution can be rebuilt without the model.
    """

    segment: NDArray[np.int32]
    logits: NDArray[np.float32]

    @classmethod
    def empty(cls) -> Self:
        """Where there is nothing to choose from."""
        return cls(np.zeros(0, np.int32), np.zeros(0, np.float32))


@dataclass(frozen=True, slots=True)
class Preferences:
    """Those of N decisions with A candidates each: `segment` and `logits` are [N, S]."""

    segment: NDArray[np.int32]
    logits: NDArray[np.float32]

    @classmethod
    def of(cls, each: Sequence[Preference]) -> Self:
        """One below the other; all segments are of one size."""
        return cls(np.stack([one.segment for one in each]), np.stack([one.logits for one in each]))

    def at(self, row: int) -> Preference:
        """That of one decision."""
        return Preference(self.segment[row], self.logits[row])


@dataclass(frozen=True, slots=True)
class Slate:
    """K drawn positions (indices into the A candidates) and their propensities [K]."""

    actions: NDArray[np.int32]
    propensities: NDArray[np.float64]
    kind: PropensityKind


@dataclass(frozen=True, slots=True)
class Choices:
    """One action for each of N decisions: positions among their candidates [N], and how likely
    each was [N].
    """

    actions: NDArray[np.int32]
    propensities: NDArray[np.float64]

    @classmethod
    def joined(cls, parts: Sequence[Choices | Slate]) -> Self:
        """The choices of all parts, one part after the other."""
        return cls(
            np.concatenate([np.zeros(0, np.int32), *(part.actions for part in parts)]),
            np.concatenate([np.zeros(0), *(part.propensities for part in parts)]),
        )


class Policy(ABC):
    """Turns the scores of candidates into a distribution over slates, and draws from it.

    ``prefer`` (deterministic) and ``draw`` (random) are apart so that the first can be cached for
    a member until a new event arrives, and so that the second can be replayed from a record.
    """

    name: ClassVar[str]
    references: ClassVar[tuple[str, ...]]
    kind: ClassVar[PropensityKind] = "conditional"
    draws: int = 0
    """How many draws from the model's posterior it looks at; none, as most do."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """The hyper-parameters, as arguments of ``__init__``."""

    @abstractmethod
    def prefer(self, scores: NDArray[np.floating[Any]]) -> Preference:
        """The segment and logits for candidate scores [A] (finite, higher is better)."""

    def prefer_among(self, samples: NDArray[np.floating[Any]]) -> Preference:
        """The same from draws [M, A] of the scores from the model's posterior."""
        return self.prefer(samples.mean(axis=0))

    def prefer_all(self, scores: NDArray[np.floating[Any]]) -> Preferences:
        """Those of N >= 1 decisions with scores [N, A], as `prefer` has them one by one."""
        return Preferences.of([self.prefer(row) for row in scores])

    def prefer_all_among(self, samples: NDArray[np.floating[Any]]) -> Preferences:
        """The same from draws [M, N, A], as `prefer_among` has them one by one."""
        rows = samples.swapaxes(0, 1)
        return Preferences.of([self.prefer_among(row) for row in rows])

    @abstractmethod
    def draw(self, preference: Preference, slots: int, rng: np.random.Generator) -> Slate:
        """Draw a slate of K = ``min(slots, S)`` distinct candidates.

        Drawing K slots from the same random numbers gives the same slate: so a record is replayed.
        """

    @abstractmethod
    def propensities(
        self, preference: Preference, actions: NDArray[np.int32]
    ) -> NDArray[np.float64]:
        """The conditional propensity [K] of each position of a slate.

        It is 0 for an action outside the segment and for one that stands earlier in the slate.
        """

    def choose(self, scores: NDArray[np.floating[Any]], rng: np.random.Generator) -> Choices:
        """One action for each of N decisions with scores [N, A] (finite, A >= 1), all at once.

        As if each had been drawn with one slot, by a stream of its own: a page of pictures, say. It
        has no record to be replayed from.
        """
        return Choices.joined([self.draw(self.prefer(row), 1, rng) for row in scores])

    def chances(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """First-slot probabilities [N, S] of the segments of N decisions with logits [N, S >= 1],
        the best first; each row sums to one.
        """
        places = np.arange(logits.shape[1], dtype=np.int32)
        return np.array(
            [
                [
                    self.propensities(Preference(places, row), places[one : one + 1])[0]
                    for one in places
                ]
                for row in logits
            ]
        )

    def probabilities(self, preference: Preference, candidates: int) -> NDArray[np.float64]:
        """First-slot probabilities [A] over all candidates; they sum to one."""
        whole = np.zeros(candidates)
        if len(preference.segment):
            whole[preference.segment] = self.chances(preference.logits[None])[0]
        return whole

    def pick(
        self, logits: NDArray[np.float32], luck: NDArray[np.float64]
    ) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """One place in the segment for each of N decisions with logits [N, S], and its propensity:
        where the chances, added up from the best on, pass its `luck` [N], uniform in [0, 1).
        """
        chances = self.chances(logits)
        up_to = np.cumsum(chances, axis=1)
        places = (up_to <= luck[:, None] * up_to[:, -1:]).sum(axis=1)
        return places, chances[np.arange(len(places)), places]


def top_all(scores: NDArray[np.floating[Any]], size: int) -> NDArray[np.int32]:
    """`top` of each row of scores [N, A], as [N, S]."""
    if size < scores.shape[1] > FEW:
        return np.stack([top(row, size) for row in scores])
    require_finite(scores)
    return np.argsort(-scores, axis=1, kind="stable")[:, :size].astype(np.int32)


def top(scores: NDArray[np.floating[Any]], size: int) -> NDArray[np.int32]:
    """Positions of the `size` highest scores, the best first; equal scores by position.

    Raises `ValueError` where a score is not finite.

    >>> top(np.array([1.0, 3.0, 2.0, 3.0]), 3)
    array([1, 3, 2], dtype=int32)
    """
    require_finite(scores)
    if size >= len(scores) or len(scores) <= FEW:
        return np.argsort(-scores, kind="stable")[:size].astype(np.int32)
    least = np.partition(scores, -size)[-size]
    above = np.flatnonzero(scores > least)
    equal = np.flatnonzero(scores == least)[: size - len(above)]
    chosen = np.sort(np.concatenate([above, equal]))
    return chosen[np.argsort(-scores[chosen], kind="stable")].astype(np.int32)


def in_blocks(
    scores: NDArray[np.floating[Any]], choose: Callable[[NDArray[np.float64]], Choices]
) -> Choices:
    """What `choose` makes of scores [N, A], so few rows at a time that they stay in the cache.

    Raises `ValueError` where one is not finite or there is nothing to choose from.
    """
    if not scores.shape[1]:
        raise ValueError("there is nothing to choose from; leave out decisions without candidates")
    found = []
    for first in range(0, len(scores), BLOCK):
        block = scores[first : first + BLOCK].astype(np.float64)
        if not np.isfinite(block.sum()):  # quicker to ask, and finite numbers may add up to inf
            require_finite(block)
        found.append(choose(block))
    return Choices.joined(found)


def require_finite(scores: NDArray[np.floating[Any]]) -> None:
    """Raise `ValueError` where a score is NaN or infinite."""
    if not np.isfinite(scores).all():
        raise ValueError("scores must be finite; a model that gives NaN or inf is to be mended")


def require_exploring(epsilon: float, segment: int) -> None:
    """Raise `ValueError` for a uniform share or a segment that cannot be."""
    if not 0 <= epsilon <= 1:
        raise ValueError(f"epsilon must lie in [0, 1], got {epsilon}")
    if segment < 1:
        raise ValueError(f"segment must hold at least 1 candidate, got {segment}")


def places(preference: Preference, actions: NDArray[np.int32]) -> NDArray[np.intp]:
    """Where each action [K] stands in the segment; -1 if outside, or if it came before."""
    left = {action: place for place, action in enumerate(preference.segment.tolist())}
    return np.fromiter((left.pop(action, -1) for action in actions.tolist()), np.intp, len(actions))


def take_turns(
    preferred: NDArray[np.intp], other: NDArray[np.intp], coins: NDArray[np.bool_]
) -> NDArray[np.intp]:
    """For each coin [K], the next item not yet taken: of `other` where it shows, else `preferred`.

    >>> take_turns(np.array([2, 0, 1]), np.array([1, 2, 0]), np.array([False, True, False]))
    array([2, 1, 0])
    """
    slots = len(coins)
    queues = (iter(preferred[:slots].tolist()), iter(other[:slots].tolist()))
    taken: dict[int, None] = {}
    for coin in coins.tolist():
        for item in queues[coin]:
            if item not in taken:
                taken[item] = None
                break
    return np.fromiter(taken, np.intp, len(taken))
