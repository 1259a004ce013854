"""Plackett-Luce slates with a uniform share."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from matinee.policies.base import (
    Policy,
    Preference,
    Slate,
    places,
    require_exploring,
    take_turns,
    top,
)


@dataclass(frozen=True)
class PlackettLuce(Policy):
    r"""Slots are filled one after the other, each by a softmax over what is left.

    With w_i = exp(logit_i) over the segment, R_j the items left before slot j:

        p(a_j | a_1 .. a_{j-1}) = (1 - epsilon) w_{a_j} / sum_{i in R_j} w_i + epsilon / \|R_j\|

    The logits are the scores of the `segment` best candidates divided by `temperature` (> 0),
    after these are brought to mean 0 and standard deviation 1 if `standardise` (so that one
    temperature suits every model). `epsilon` in [0, 1] is the share of slots filled uniformly
    within the segment. One slot makes it a softmax policy.

    *How it is drawn.* The order of ``logit + Gumbel noise`` is a Plackett-Luce permutation; what
    is not yet taken, in that order, is again Plackett-Luce, whatever was taken (Luce's axiom), and
    the same holds for one uniform permutation. So at each slot a coin of `epsilon` says which of
    the two permutations gives its next item not yet taken, and the slate has exactly the
    propensities above, without a softmax per slot. All noise comes from ``rng.random``, the stream
    that NumPy keeps from version to version, so that an old record can be drawn again.

    *How it is computed.* Each sum over R_j is the running log-sum-exp from the last item backwards:
    only positive terms are added, so logits may lie thousands apart.

    >>> policy = PlackettLuce(temperature=0.5, epsilon=0.1)
    >>> preference = policy.prefer(np.array([0.1, 0.9, 0.4]))
    >>> slate = policy.draw(preference, slots=2, rng=np.random.default_rng(1))
    >>> bool((policy.propensities(preference, slate.actions) == slate.propensities).all())
    True
    """

    name: ClassVar[str] = "plackett_luce"
    references: ClassVar[tuple[str, ...]] = (
        "Luce, R. D. (1959). Individual Choice Behavior. Wiley.",
        "Plackett, R. L. (1975). The analysis of permutations. Applied Statistics 24, 193-202.",
        "Yellott, J. I. (1977). The relationship between Luce's choice axiom, Thurstone's theory "
        "of comparative judgment, and the double exponential distribution. "
        "Journal of Mathematical Psychology 15, 109-144.",
        "Kool, W., van Hoof, H., Welling, M. (2019). Stochastic beams and where to find them: the "
        "Gumbel-top-k trick for sampling sequences without replacement. ICML. arXiv:1903.06059.",
    )

    temperature: float = 1.0
    epsilon: float = 0.0
    segment: int = 100
    standardise: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.temperature < np.inf:
            raise ValueError(f"temperature must be above 0, got {self.temperature}")
        require_exploring(self.epsilon, self.segment)

    def settings(self) -> dict[str, Any]:
        return asdict(self)

    def prefer(self, scores: NDArray[np.floating[Any]]) -> Preference:
        segment = top(scores, self.segment)
        logits = scores[segment].astype(np.float64)
        if self.standardise and len(logits):
            logits = _standardised(logits)
        logits /= self.temperature
        if not (np.abs(logits) < np.finfo(np.float32).max).all():
            raise ValueError(
                "logits leave the range of float32; raise the temperature, or standardise"
            )
        return Preference(segment, logits.astype(np.float32))

    def draw(self, preference: Preference, slots: int, rng: np.random.Generator) -> Slate:
        logits = preference.logits.astype(np.float64)
        size = len(logits)
        coins = rng.random(min(slots, size)) < self.epsilon
        gumbel = -np.log(-np.log1p(-rng.random(size)))
        order = np.argsort(-logits - gumbel)
        if coins.any():
            order = take_turns(order, np.argsort(rng.random(size)), coins)
        order = order[: len(coins)]
        propensities = self._conditional(logits, order, np.arange(size, size - len(order), -1))
        return Slate(preference.segment[order], propensities, self.kind)

    def propensities(
        self, preference: Preference, actions: NDArray[np.int32]
    ) -> NDArray[np.float64]:
        found = places(preference, actions)
        known = found >= 0
        left = len(preference.logits) - np.cumsum(known) + known
        logits = preference.logits.astype(np.float64)
        result = np.zeros(len(actions))
        result[known] = self._conditional(logits, found[known], left[known])
        return result

    def chances(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        exact = logits.astype(np.float64)
        luce: NDArray[np.float64] = np.exp(exact - np.logaddexp.reduce(exact, axis=1)[:, None])
        luce *= 1 - self.epsilon
        luce += self.epsilon / logits.shape[1]
        return luce

    def _conditional(
        self, logits: NDArray[np.float64], order: NDArray[np.intp], left: NDArray[np.intp]
    ) -> NDArray[np.float64]:
        """p(a_j | prefix) [K] for places `order` [K] in the segment, with `left` [K] = |R_j|."""
        waiting = np.ones(len(logits), bool)
        waiting[order] = False
        backwards = np.concatenate([logits[waiting], logits[order[::-1]]])
        mass = np.logaddexp.accumulate(backwards)[::-1][: len(order)]
        luce = np.exp(logits[order] - mass)
        return (1 - self.epsilon) * luce + self.epsilon / left


def _standardised(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean 0 and standard deviation 1; scores that are all equal become 0."""
    scale = np.abs(logits).max()
    centred = logits / scale if scale > 0 else logits
    centred = centred - centred.mean()
    deviation = np.sqrt(centred @ centred / len(centred))
    return centred / deviation if deviation > 1e-12 else np.zeros_like(centred)
