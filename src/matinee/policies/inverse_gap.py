"""Inverse-gap weighting: the further behind the best, the rarer."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from matinee.policies.base import Policy, Preference, Slate, places, top


@dataclass(frozen=True)
class InverseGap(Policy):
    r"""Each slot takes an item with a chance that falls with its distance from the best one left.

    With R_j the items of the segment left before slot j, b the best of them and s the scores, in
    the unit of the reward,

    .. math:: p(a \mid a_1 .. a_{j-1}) = (1 - \epsilon)\, g(a) + \frac{\epsilon}{|R_j|}, \qquad
              g(a) = \frac{1}{|R_j| + \gamma\,(s_b - s_a)} \quad (a \ne b)

    and g(b) is what the others leave, 1 / \|R_j\| at least. What exploring costs is bounded: the
    expected distance from the best is below \|R_j\| / gamma, by the model's own scores. With A
    actions and a regression whose excess squared error is E over n choices, `gamma` near
    sqrt(A n / E) has a regret within a constant of the best possible (SquareCB). A higher `gamma`
    >= 0 explores less; 0 chooses uniformly. `epsilon` in [0, 1] is a uniform share that stays
    however far apart the scores are; `segment` is how many of the best candidates may be shown at
    all.

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
        if not 0 <= self.epsilon <= 1:
            raise ValueError(f"epsilon must lie in [0, 1], got {self.epsilon}")
        if self.segment < 1:
            raise ValueError(f"segment must hold at least 1 candidate, got {self.segment}")

    def settings(self) -> dict[str, Any]:
        return asdict(self)

    def prefer(self, scores: NDArray[np.floating[Any]]) -> Preference:
        segment = top(scores, self.segment)
        limit = np.finfo(np.float32).max
        return Preference(segment, np.clip(scores[segment], -limit, limit).astype(np.float32))

    def draw(self, preference: Preference, slots: int, rng: np.random.Generator) -> Slate:
        luck = rng.random(min(slots, len(preference.segment)))
        left, places_drawn, propensities = _Left(preference), [], []
        for number in luck.tolist():
            chances = self._chances(left.scores)
            # The best, which is never of chance 0, has what is above the others' sum.
            place = int(np.searchsorted(np.cumsum(chances[1:]), number, side="right")) + 1
            place = place if place < len(chances) else 0
            propensities.append(chances[place])
            places_drawn.append(left.take(place))
        chosen = np.array(places_drawn, np.intp)
        return Slate(preference.segment[chosen], np.array(propensities, float), self.kind)

    def propensities(
        self, preference: Preference, actions: NDArray[np.int32]
    ) -> NDArray[np.float64]:
        left, result = _Left(preference), np.zeros(len(actions))
        for slot, item in enumerate(places(preference, actions).tolist()):
            if item >= 0:
                place = left.place(item)
                result[slot] = self._chances(left.scores)[place]
                left.take(place)
        return result

    def probabilities(self, preference: Preference, candidates: int) -> NDArray[np.float64]:
        whole = np.zeros(candidates)
        whole[preference.segment] = self._chances(_Left(preference).scores)
        return whole

    def _chances(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """p [R] of items with these scores, the best first."""
        size = len(scores)
        if not size:
            return scores
        with np.errstate(over="ignore"):  # so far behind that its chance is 0
            gaps = self.gamma * (scores[0] - scores)
        chances = 1 / (size + gaps)
        chances[0] = 1 - chances[1:].sum()
        mixed: NDArray[np.float64] = (1 - self.epsilon) * chances + self.epsilon / size
        return mixed


class _Left:
    """The items of a segment that are left, the best first, with their scores [R]."""

    def __init__(self, preference: Preference) -> None:
        self.scores = preference.logits.astype(np.float64)
        self._items = list(range(len(self.scores)))

    def place(self, item: int) -> int:
        return self._items.index(item)

    def take(self, place: int) -> int:
        """The item at this place, which is left no more."""
        self.scores = np.delete(self.scores, place)
        return self._items.pop(place)
