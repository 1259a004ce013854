"""Inverse propensity scoring of whole slates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from matinee.evaluation.off_policy.base import SlateEstimator, check_number
from matinee.evaluation.off_policy.columns import Floats
from matinee.evaluation.off_policy.slates import Slates


@dataclass(frozen=True)
class SlateIPS(SlateEstimator):
    r"""A slate's whole reward, weighed by how much likelier the candidate is to show that slate.

        V = 1/N sum_i min(w_{1:K}, clip) sum_k r_k,
        w_{1:K} = prod_k pi(a_k | x, a_{<k}) / pi_0(a_k | x, a_{<k})

    Unbiased however the slots bear on one another, where pi_0 covers pi and propensities are true
    (`clip` infinite, the default); its variance grows exponentially with the slots. A smaller
    `clip` > 0 trades bias towards 0 for variance.

    >>> slates = Slates.of([[1.0, 1.0]], [[0.5, 0.5]], [[0.75, 0.25]])
    >>> SlateIPS().add(slates).result().value
    1.5
    """

    name: ClassVar[str] = "slate_ips"
    references: ClassVar[tuple[str, ...]] = (
        "Horvitz, D. G., Thompson, D. J. (1952). A generalization of sampling without replacement "
        "from a finite universe. JASA 47, 663-685.",
    )

    clip: float = np.inf

    def __post_init__(self) -> None:
        check_number("clip", self.clip, above=0)
        super().__post_init__()

    def terms(self, batch: Slates) -> Floats:
        return (np.minimum(batch.weight[:, -1], self.clip) * batch.total)[:, None]
