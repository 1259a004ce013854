"""Independent inverse propensity scoring of slots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from matinee.evaluation.off_policy.base import SlateEstimator
from matinee.evaluation.off_policy.columns import Floats
from matinee.evaluation.off_policy.slates import Slates


@dataclass(frozen=True)
class IndependentIPS(SlateEstimator):
    r"""Each slot's reward, weighed by how much likelier the candidate is to put that title there.

        V = 1/N sum_i sum_k r_k pi(a_k in slot k | x) / pi_0(a_k in slot k | x)

    The chances are marginal: of the title in the slot, over all that may stand above it. Unbiased
    where a slot's reward depends on its own title alone and every title that the candidate puts in
    a slot is also logged in it; biased where titles above bear on it (a cascade). Conditional
    propensities in place of the marginal ones would be wrong even without a cascade, so without
    marginal ones this raises `ValueError`. Where these are simulated, see ``Slates.marginal_ratio``
    for how their error is carried.

    >>> half, more = [[0.5, 0.5]], [[0.75, 0.25]]
    >>> slates = Slates.of([[1.0, 2.0]], half, more, marginal=half, marginal_target=more)
    >>> IndependentIPS().add(slates).result().value
    2.5
    """

    name: ClassVar[str] = "slate_iips"
    references: ClassVar[tuple[str, ...]] = (
        "Li, S., Abbasi-Yadkori, Y., Kveton, B., Muthukrishnan, S., Vinay, V., Wen, Z. (2018). "
        "Offline evaluation of ranking policies with click models. KDD. arXiv:1804.10488.",
    )

    def terms(self, batch: Slates) -> Floats:
        value: Floats = (batch.marginal_ratio * batch.reward).sum(axis=1, keepdims=True)
        return value
