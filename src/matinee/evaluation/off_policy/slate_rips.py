"""Inverse propensity scoring of slots that depend on what stands above them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from matinee.evaluation.off_policy.base import SlateEstimator
from matinee.evaluation.off_policy.columns import Floats
from matinee.evaluation.off_policy.slates import Slates


@dataclass(frozen=True)
class RewardInteractionIPS(SlateEstimator):
    r"""Each slot's reward, weighed by how much likelier the candidate is to show all down to it.

        V = 1/N sum_i sum_k w_{1:k} r_k,
        w_{1:k} = prod_{j <= k} pi(a_j | x, a_{<j}) / pi_0(a_j | x, a_{<j})

    Unbiased in a cascade: where a slot's reward depends on its own title and those above it, not on
    those below. Of less variance than ``SlateIPS``, of more than ``IndependentIPS``.

    >>> slates = Slates.of([[1.0, 2.0]], [[0.5, 0.5]], [[0.75, 0.25]])
    >>> RewardInteractionIPS().add(slates).result().value
    3.0
    """

    name: ClassVar[str] = "slate_rips"
    references: ClassVar[tuple[str, ...]] = (
        "McInerney, J., Brost, B., Chandar, P., Mehrotra, R., Carterette, B. (2020). "
        "Counterfactual evaluation of slate recommendations with sequential reward interactions. "
        "KDD. arXiv:2007.12986.",
    )

    def terms(self, batch: Slates) -> Floats:
        value: Floats = (batch.weight * batch.reward).sum(axis=1, keepdims=True)
        return value


@dataclass(frozen=True)
class SelfNormalisedRewardInteractionIPS(SlateEstimator):
    r"""The same, each slot over its mean weight, which a true log has at 1.

        V = sum_k (sum_i w_{1:k} r_k) / (sum_i w_{1:k})

    `slots` is K. Biased of order 1/N; each slot's part lies within the rewards seen there. NaN
    where the candidate would have shown no slate that was logged, down to some slot.

    >>> slates = Slates.of([[1.0, 2.0], [0.0, 4.0]], np.full((2, 2), 0.5), [[0.9, 0.5], [0.3, 0.5]])
    >>> SelfNormalisedRewardInteractionIPS(slots=2).add(slates).result().value
    3.25
    """

    name: ClassVar[str] = "slate_snrips"
    references: ClassVar[tuple[str, ...]] = RewardInteractionIPS.references

    slots: int

    @property
    def count(self) -> int:
        return 2 * self.slots

    def terms(self, batch: Slates) -> Floats:
        batch.require_slots(self.slots)
        return np.hstack([batch.weight * batch.reward, batch.weight])

    def value(self, means: Floats) -> float:
        return float((means[: self.slots] / means[self.slots :]).sum())

    def gradient(self, means: Floats) -> Floats:
        earned, weight = means[: self.slots], means[self.slots :]
        return np.concatenate([1.0 / weight, -earned / weight / weight])
