"""Doubly robust evaluation of slates in a cascade."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from matinee.evaluation.off_policy.base import SlateEstimator
from matinee.evaluation.off_policy.columns import Floats
from matinee.evaluation.off_policy.slates import Slates


@dataclass(frozen=True)
class CascadeDR(SlateEstimator):
    r"""``RewardInteractionIPS`` with an outcome model, of which only the errors are weighed.

        V = 1/N sum_i sum_k w_{1:k} (r_k - q_k) + w_{1:k-1} sum_a pi(a | x, a_{<k}) q_k(a)

    with w_{1:0} = 1. The model's q_k(x, a_{1:k}) is the value to go: what slots k, k + 1, .., K are
    expected to earn together when a_{1:k} stand in the first k slots and the candidate fills those
    below (not slot k's own reward, which would leave the variance of later slots as it was).
    `predicted` holds it at the logged titles, `expected` its mean over the candidate's choice for
    slot k given the logged titles above.

    In a cascade it is unbiased with any q that was not fitted on the same slates, where
    propensities are true; a good q takes away variance.

    >>> slates = Slates.of(
    ...     [[1.0, 2.0]], [[0.5, 0.5]], [[0.75, 0.25]],
    ...     predicted=[[3.0, 2.0]], expected=[[2.5, 1.0]],
    ... )
    >>> CascadeDR().add(slates).result().value
    1.0
    """

    name: ClassVar[str] = "cascade_dr"
    references: ClassVar[tuple[str, ...]] = (
        "Kiyohara, H., Saito, Y., Matsuhiro, T., Narita, Y., Shimizu, N., Yamamoto, Y. (2022). "
        "Doubly robust off-policy evaluation for ranking policies under the cascade behavior "
        "model. WSDM. arXiv:2202.01562.",
    )

    def terms(self, batch: Slates) -> Floats:
        weight = batch.weight
        above = np.hstack([np.ones((len(batch), 1)), weight[:, :-1]])
        parts = weight * (batch.reward - batch.predicted) + above * batch.expected
        value: Floats = parts.sum(axis=1, keepdims=True)
        return value
