"""Inverse-gap weighting: the further behind the best, the rarer."""

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
    top_all,
)


@dataclass(frozen=True)
class InverseGap(Policy):
    r"""Each slot takes an item with a chance that falls with its distance from the best one left.

    With R_j the items of the segment left before slot j, b the best of them and s the scores, in
    the unit of the reward,

    .. math:: p(a \mid a_1 .. a_{j-1}) = (1 - \epsilon)\, g(a) + \frac{\epsilon}{|R_j|}, \qquad
              g(a) = \frac{1}{|R_j| + \gamma\,(s_b - s_a)} \quad (a \ne b)

    and g(b) is what the others leave, 1 / \|R_j\| at least. What g explores is bounded in what it
    costs: its expected distance from the best is below \|R_j\| / gamma, by the model's own scores.
    With one slot, A actions and a regression whose excess squared errors add up to E over n
    choices, `gamma` near sqrt(A n / E) has a regret within a constant of the best possible
    (SquareCB). A higher `gamma` >= 0 explores less; 0 chooses uniformly. `epsilon` in [0, 1] is a
    uniform share that stays however far apart the scores are; `segment` is how many of the best
    candidates may be shown at all. The logits of its preferences are distances from the best.

    >>> policy = InverseGap(gamma=4.0)
    >>> preference = policy.prefer(np.array([0.0, 0.5, 0.0]))
    >>> policy.probabilities(preference, 3)
    array([0.2, 0.6, 0.2])
    """

    name: ClassVar[str] = "inverse_gap"
    references: ClassVar[tuple[str, ...]] = (
        "N. Abe, P. M. Long: Associative reinforcement learning using linear probabilistic "
        "concepts. ICML 1999, 3-11.",
        "D. J. Foster, A. Rakhlin: Beyond UCB: optimal and efficient contextual bandits with "
        "regression oracles. ICML 2020. arXiv:2002.04926 (SquareCB).",
    )

    gamma: float = 100.0
    epsilon: float = 0.0
    segment: int = 100

    def __post_init__(self) -> None:
        if not 0 <= self.gamma < np.inf:
            raise ValueError(f"gamma must be a number from 0, got {self.gamma}")
        require_exploring(self.epsilon, self.segment)

    def settings(self) -> dict[str, Any]:
        return asdict(self)

    def prefer(self, scores: NDArray[np.floating[Any]]) -> Preference:
        return self.prefer_all(scores[None]).at(0)

    def prefer_all(self, scores: NDArray[np.floating[Any]]) -> Preferences:
        segment = top_all(scores, self.segment)
        best_first = np.take_along_axis(scores, segment, axis=1).astype(np.float64)
        return Preferences(segment, -_behind(best_first[:, :1], best_first).astype(np.float32))

    def draw(self, preference: Preference, slots: int, rng: np.random.Generator) -> Slate:
        scores = preference.logits.astype(np.float64)
        order = np.array(self._drawn(scores.tolist(), slots, rng), np.intp)
        propensities = self._conditional(scores, order)
        return Slate(preference.segment[order], propensities, self.kind)

    def _drawn(self, scores: list[float], slots: int, rng: np.random.Generator) -> list[int]:
        """Places in the order drawn. An item is proposed uniformly, with chance 1 / size, and taken
        with chance size / (size + gamma gap); where it is not, the best is.
        """
        left, order = list(range(len(scores))), []
        for coin, proposed, luck in rng.random((min(slots, len(scores)), 3)).tolist():
            size = len(left)
            place = int(proposed * size)
            if coin >= self.epsilon:
                gap = scores[left[0]] - scores[left[place]]
                place = place if luck * (size + self.gamma * gap) < size else 0
            order.append(left.pop(place))
        return order

    def choose(self, scores: NDArray[np.floating[Any]], rng: np.random.Generator) -> Choices:
        size = scores.shape[1]
        if size > self.segment:
            return super().choose(scores, rng)

        def chosen(block: NDArray[np.float64]) -> Choices:
            best, rows = block.argmax(axis=1), np.arange(len(block))
            scores = np.ascontiguousarray(block.T)  # one action after the other goes faster
            chances = self._chances(_behind(scores[best, rows], scores), size)
            chances[best, rows] = 0.0
            luck, up_to = rng.random(len(block)), np.zeros(len(block))
            actions = np.zeros(len(block), np.intp)
            for chance in chances:
                up_to += chance
                actions += up_to <= luck
            others = actions < size  # the best has what they leave
            actions = np.where(others, actions, best)
            propensities = np.where(others, chances[actions, rows], 1 - up_to)
            return Choices(actions.astype(np.int32), propensities)

        return in_blocks(scores, chosen)

    def propensities(
        self, preference: Preference, actions: NDArray[np.int32]
    ) -> NDArray[np.float64]:
        found = places(preference, actions)
        known = found >= 0
        result = np.zeros(len(actions))
        result[known] = self._conditional(preference.logits.astype(np.float64), found[known])
        return result

    def chances(self, logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        scores = logits.astype(np.float64)
        found = self._chances(scores[:, :1] - scores, scores.shape[1])
        found[:, 0] = 1 - found[:, 1:].sum(axis=1)
        return found

    def _conditional(
        self, scores: NDArray[np.float64], order: NDArray[np.intp]
    ) -> NDArray[np.float64]:
        """p(a_j | prefix) [K] for places `order` [K] among scores [S], the best first."""
        if not len(order):
            return np.zeros(0)
        if len(order) == 1:
            first: NDArray[np.float64] = self.chances(scores[None])[0, order]
            return first
        slots = np.arange(len(order))
        when = np.full(len(scores), len(order))
        when[order] = slots
        left = when >= slots[:, None]
        best = left.argmax(axis=1)
        gaps = scores[best][:, None] - scores
        chances = np.where(left, self._chances(gaps, len(scores) - slots[:, None]), 0.0)
        chances[slots, best] = 0.0
        own: NDArray[np.float64] = chances[slots, order]
        return np.where(order == best, 1 - chances.sum(axis=1), own)

    def _chances(self, gaps: NDArray[np.float64], size: Any) -> NDArray[np.float64]:
        """p of what is so far behind the best of `size` items, the best itself aside."""
        # Of what is taken, and so in front of the best, anything may come out.
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            mixed: NDArray[np.float64] = self.gamma * gaps
            mixed += size
            np.divide(1 - self.epsilon, mixed, out=mixed)
        mixed += self.epsilon / size
        return mixed


def _behind(best: NDArray[np.float64], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far behind the best scores are, as float32 can tell it."""
    with np.errstate(over="ignore"):
        gaps = (best - scores).astype(np.float32)
    if not np.isfinite(gaps.max(initial=0.0)):
        np.minimum(gaps, np.finfo(np.float32).max, out=gaps)
    return gaps.astype(np.float64)
