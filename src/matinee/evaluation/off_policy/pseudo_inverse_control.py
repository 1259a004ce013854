"""The pseudo-inverse estimator with control variates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from matinee.evaluation.off_policy.base import SlateEstimator
from matinee.evaluation.off_policy.columns import Floats
from matinee.evaluation.off_policy.pseudo_inverse import slate_weight
from matinee.evaluation.off_policy.slates import Slates

_REFERENCES = (
    "Vlassis, N., Chandrashekar, A., Amat Gil, F., Kallus, N. (2021). Control variates for slate "
    "off-policy evaluation. NeurIPS. arXiv:2106.07914.",
)


@dataclass(frozen=True)
class PseudoInverseControl(SlateEstimator):
    r"""``PseudoInverse`` less a multiple of G - 1, whose mean is known to be 0.

        V = mean(G R) - beta mean(G - 1),    beta = Cov(G R, G) / Var(G)

    with R the slate's whole reward, G as in ``PseudoInverse``, and moments over all slates added.
    Of all beta this one leaves the least variance where slates do not hang together: 0 gives
    ``PseudoInverse`` and V itself gives, to first order, the self-normalised form, so with many
    slates neither is better. Equal rewards of all slates are given back as they are, if weights
    differ at all; if not, beta is 0.

    The estimated beta adds a bias of order 1/N. The standard error takes beta as known: the
    derivative of V by beta is -mean(G - 1), which goes to 0, so what is left out is of order 1/N.

    >>> half, more = np.full((2, 1), 0.5), [[0.75], [0.5]]
    >>> slates = Slates.of([[3.0], [3.0]], half, more, marginal=half, marginal_target=more)
    >>> round(PseudoInverseControl().add(slates).result().value, 12)
    3.0
    """

    name: ClassVar[str] = "pseudo_inverse_control"
    references: ClassVar[tuple[str, ...]] = _REFERENCES
    count: ClassVar[int] = 4

    def terms(self, batch: Slates) -> Floats:
        weight = slate_weight(batch)
        earned, control = weight * batch.total, weight - 1.0
        return np.column_stack([earned, control, earned * control, control**2])

    def value(self, means: Floats) -> float:
        return float(self.gradient(means) @ means)

    def gradient(self, means: Floats) -> Floats:
        beta = _beta(means[0], means[1:2], means[2:3], means[3:4, None])[0]
        return np.array([1.0, -beta, 0.0, 0.0])


@dataclass(frozen=True)
class PseudoInverseSlotControl(SlateEstimator):
    r"""``PseudoInverse`` less a multiple of Y_k - 1 for each slot, whose means are known to be 0.

        V = mean(G R) - sum_k beta_k mean(Y_k - 1),    beta = Cov(Y)^+ Cov(Y, G R)

    with Y, G and R as in ``PseudoInverse`` and `slots` = K. With many slates no worse than the one
    multiple of ``PseudoInverseControl``; with few, K estimated multiples cost more than they save.
    The standard error takes beta as known, as there.

    >>> half, more = np.full((2, 1), 0.5), [[0.75], [0.5]]
    >>> slates = Slates.of([[3.0], [3.0]], half, more, marginal=half, marginal_target=more)
    >>> round(PseudoInverseSlotControl(slots=1).add(slates).result().value, 12)
    3.0
    """

    name: ClassVar[str] = "pseudo_inverse_slot_control"
    references: ClassVar[tuple[str, ...]] = _REFERENCES

    slots: int

    @property
    def count(self) -> int:
        return 1 + 2 * self.slots + self.slots * (self.slots + 1) // 2

    def terms(self, batch: Slates) -> Floats:
        batch.require_slots(self.slots)
        earned = (slate_weight(batch) * batch.total)[:, None]
        control = batch.marginal_ratio - 1.0
        first, second = np.triu_indices(self.slots)
        return np.hstack(
            [earned, control, earned * control, control[:, first] * control[:, second]]
        )

    def value(self, means: Floats) -> float:
        return float(self.gradient(means) @ means)

    def gradient(self, means: Floats) -> Floats:
        _, control, cross, pairs = np.split(means, [1, 1 + self.slots, 1 + 2 * self.slots])
        square = np.zeros((self.slots, self.slots))
        square[np.triu_indices(self.slots)] = pairs
        square = square + np.triu(square, 1).T
        beta = _beta(means[0], control, cross, square)
        return np.concatenate([[1.0], -beta, np.zeros(len(cross) + len(pairs))])


def _beta(earned: float, control: Floats, cross: Floats, square: Floats) -> Floats:
    """The multiples [T] of controls that leave the least variance, from their raw moments.

    Controls that do not vary, and those that others make up, get none: of equals, the least norm.
    """
    covariance = square - np.outer(control, control)
    varies = np.diag(covariance) > _ROUNDING * np.diag(square)
    scale = np.sqrt(np.where(varies, np.diag(covariance), 1.0))
    correlation = np.where(np.outer(varies, varies), covariance / np.outer(scale, scale), 0.0)
    inverse = np.linalg.pinv(correlation, rcond=_ROUNDING, hermitian=True)
    beta: Floats = inverse @ (np.where(varies, cross - earned * control, 0.0) / scale) / scale
    return beta


_ROUNDING = 1e-10
"""Below this share of its second moment, a variance is what rounding left."""
