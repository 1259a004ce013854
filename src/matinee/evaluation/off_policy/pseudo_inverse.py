"""The pseudo-inverse estimator of a slate's whole reward."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from matinee.evaluation.off_policy.base import SlateEstimator
from matinee.evaluation.off_policy.columns import Floats
from matinee.evaluation.off_policy.slates import Slates


@dataclass(frozen=True)
class PseudoInverse(SlateEstimator):
    r"""A slate's whole reward, weighed by the sum of what each slot alone would weigh.

        V = 1/N sum_i G_i sum_k r_k,    G = 1 + sum_k (Y_k - 1),
        Y_k = pi(a_k in slot k | x) / pi_0(a_k in slot k | x)

    The closed form of the pseudo-inverse where pi_0 chooses slots independently of one another;
    the candidate may choose as it likes. There it is unbiased if the whole reward is a sum of parts
    that depend on one slot's title each, wherever that part is earned: weaker than what
    ``IndependentIPS`` asks, and only the whole reward need be known.

    Where pi_0 shows no title twice (Plackett-Luce), slots are not independent: Y_k also shifts
    which titles stand in the other slots, and a bias of the order of (slots / titles in the
    segment) stays, even if the whole reward is such a sum. There prefer ``IndependentIPS`` or
    ``RewardInteractionIPS``.

    Raises `ValueError` where slates have no marginal propensities. G may be negative.

    >>> half, more = [[0.5, 0.5]], [[0.75, 0.5]]
    >>> slates = Slates.of([[1.0, 2.0]], half, more, marginal=half, marginal_target=more)
    >>> PseudoInverse().add(slates).result().value
    4.5
    """

    name: ClassVar[str] = "pseudo_inverse"
    references: ClassVar[tuple[str, ...]] = (
        "Swaminathan, A., Krishnamurthy, A., Agarwal, A., Dudik, M., Langford, J., Jose, D., "
        "Zitouni, I. (2017). Off-policy evaluation for slate recommendation. NeurIPS. "
        "arXiv:1605.04812.",
    )

    def terms(self, batch: Slates) -> Floats:
        return (slate_weight(batch) * batch.total)[:, None]


@dataclass(frozen=True)
class SelfNormalisedPseudoInverse(SlateEstimator):
    r"""``PseudoInverse`` over the mean of G, which a true log has at 1 (wPI).

        V = sum_i G_i sum_k r_k / sum_i G_i

    Biased of order 1/N, and unmoved by adding a constant to all slates' rewards. NaN where the mean
    of G is 0; G may be negative, so the value may leave the range of the rewards.

    >>> half, more = np.full((2, 1), 0.5), [[0.75], [0.25]]
    >>> slates = Slates.of([[1.0], [2.0]], half, more, marginal=half, marginal_target=more)
    >>> SelfNormalisedPseudoInverse().add(slates).result().value
    1.25
    """

    name: ClassVar[str] = "self_normalised_pseudo_inverse"
    references: ClassVar[tuple[str, ...]] = PseudoInverse.references
    count: ClassVar[int] = 2

    def terms(self, batch: Slates) -> Floats:
        weight = slate_weight(batch)
        return np.column_stack([weight * batch.total, weight])

    def value(self, means: Floats) -> float:
        return float(means[0] / means[1])

    def gradient(self, means: Floats) -> Floats:
        return np.array([1.0 / means[1], -means[0] / means[1] ** 2])


def slate_weight(slates: Slates) -> Floats:
    """G [N], 1 + sum_k (Y_k - 1)."""
    weight: Floats = 1.0 + (slates.marginal_ratio - 1.0).sum(axis=1)
    return weight
