"""The best first, with a uniform share."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from matinee.policies.base import (
    Choices,
    Policy,
    Preference,
    Preferences,
    Slate,
    in_blocks,
    places,
    require_exploring,
    take_turns,
    top,
    top_all,
)


@dataclass(frozen=True)
class EpsilonGreedy(Policy):
    r"""Each slot takes the best item left, or with probability `epsilon` any item left.

    With R_j the items of the segment left before slot j:

        p(a_j | a_1 .. a_{j-1}) = (1 - epsilon) [a_j is the best of R_j] + epsilon / \|R_j\|

    `epsilon` in [0, 1]; `segment` is how many of the best candidates may be shown at all. The
    logits of its preferences are the scores; only their order matters.

    >>> policy = EpsilonGreedy(epsilon=0.2, segment=4)
    >>> preference = policy.prefer(np.array([0.1, 0.9, 0.4, 0.3]))
    >>> policy.propensities(preference, np.array([1, 3], np.int32)).round(3)
    array([0.85 , 0.067])
    """

    name: ClassVar[str] = "epsilon_greedy"
    references: ClassVar[tuple[str, ...]] = (
        "Sutton, R. S., Barto, A. G. (2018). Reinforcement Learning: An Introduction, 2nd ed., "
        "section 2.2. MIT Press.",
    )

    epsilon: float = 0.1
    segment: int = 100

    def __post_init__(self) -> None:
        require_exploring(self.epsilon, self.segment)

    def settings(self) -> dict[str, Any]:
        return asdict(self)

    def prefer(self, scores: NDArray[np.floating[Any]]) -> Preference:
        segment = top(scores, self.segment)
        return Preference(segment, _as_logits(scores[segment]))

    def prefer_all(self, scores: NDArray[np.floating[Any]]) -> Preferences:
        segment = top_all(scores, self.segment)
        return Preferences(segment, _as_logits(np.take_along_axis(scores, segment, axis=1)))

    def draw(self, preference: Preference, slots: int, rng: np.random.Generator) -> Slate:
        size = len(preference.segment)
        coins = rng.random(min(slots, size)) < self.epsilon
        order = take_turns(np.arange(size), np.argsort(rng.random(size)), coins)
        return Slate(preference.segment[order], self._conditional(order, size), self.kind)

    def choose(self, scores: NDArray[np.floating[Any]], rng: np.random.Generator) -> Choices:
        size = scores.shape[1]
        if size > self.segment:
            return super().choose(scores, rng)

        def chosen(block: NDArray[np.float64]) -> Choices:
            best = block.argmax(axis=1)
            coins, places_drawn = rng.random((2, len(block)))
            actions = np.where(coins < self.epsilon, (places_drawn * size).astype(np.intp), best)
            propensities = self.epsilon / size + (1 - self.epsilon) * (actions == best)
            return Choices(actions.astype(np.int32), propensities)

        return in_blocks(scores, chosen)

    def propensities(
        self, preference: Preference, actions: NDArray[np.int32]
    ) -> NDArray[np.float64]:
        found = places(preference, actions)
        known = found >= 0
        result = np.zeros(len(actions))
        result[known] = self._conditional(found[known], len(preference.segment))
        return result

    def chances(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        found = np.full(logits.shape, self.epsilon / logits.shape[1])
        found[:, 0] += 1 - self.epsilon
        return found

    def _conditional(self, order: NDArray[np.intp], size: int) -> NDArray[np.float64]:
        """p(a_j | prefix) [K] for places `order` [K], where place 0 of `size` is the best."""
        conditional = self.epsilon / np.arange(size, size - len(order), -1)
        conditional[order == _best_left(order)] += 1 - self.epsilon
        return conditional


def _as_logits(scores: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    limit = np.finfo(np.float32).max
    logits: NDArray[np.float32] = np.clip(scores, -limit, limit).astype(np.float32)
    return logits


def _best_left(order: NDArray[np.intp]) -> NDArray[np.intp]:
    """The lowest place that none of the earlier items holds, before each of them [K]."""
    taken: set[int] = set()
    best, lowest = [], 0
    for place in order.tolist():
        best.append(lowest)
        taken.add(place)
        while lowest in taken:
            lowest += 1
    return np.array(best, np.intp)
