"""Inverse propensity scoring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from matinee.evaluation.off_policy.base import ActionEstimator, check_number
from matinee.evaluation.off_policy.batch import Batch
from matinee.evaluation.off_policy.columns import Floats


@dataclass(frozen=True)
class IPS(ActionEstimator):
    r"""Each reward weighs as much more as the candidate would have chosen it more often.

        V = 1/N sum_i min(w_i, clip) r_i,    w_i = pi(a_i|x_i) / pi_0(a_i|x_i)

    Unbiased where pi_0 covers pi and propensities are true (`clip` infinite, the default). A
    smaller `clip` > 0 trades bias towards 0 for variance.

    >>> IPS().add(Batch.of([1.0, 0.0], [0.5, 0.5], [0.9, 0.1])).result().value
    0.9
    >>> IPS(clip=1.0).add(Batch.of([1.0, 0.0], [0.5, 0.5], [0.9, 0.1])).result().value
    0.5
    """

    name: ClassVar[str] = "ips"
    references: ClassVar[tuple[str, ...]] = (
        "Horvitz, D. G., Thompson, D. J. (1952). A generalization of sampling without replacement "
        "from a finite universe. JASA 47, 663-685.",
        "Strehl, A., Langford, J., Li, L., Kakade, S. M. (2010). Learning from logged implicit "
        "exploration data. NeurIPS.",
    )

    clip: float = np.inf

    def __post_init__(self) -> None:
        check_number("clip", self.clip, above=0)
        super().__post_init__()

    def terms(self, batch: Batch) -> Floats:
        return (np.minimum(batch.weight, self.clip) * batch.reward)[:, None]
