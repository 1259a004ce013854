"""Self-normalised doubly robust estimation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from matinee.evaluation.off_policy.base import ActionEstimator
from matinee.evaluation.off_policy.batch import Batch
from matinee.evaluation.off_policy.columns import Floats


@dataclass(frozen=True)
class SelfNormalisedDR(ActionEstimator):
    r"""DR whose correction is SNIPS rather than IPS on the residuals.

        V = 1/N sum_i sum_a pi(a|x_i) q(x_i, a) + sum_i w_i (r_i - q(x_i, a_i)) / sum_i w_i

    The correction is bounded by the residuals seen. Biased of order 1/N; with q = 0 it is SNIPS.
    NaN where the candidate would have chosen nothing that was logged.

    >>> q = dict(predicted=[0.5, 0.5], expected=[0.5, 0.5])
    >>> batch = Batch.of([1.0, 0.0], [0.5, 0.5], [0.9, 0.3], **q)
    >>> SelfNormalisedDR().add(batch).result().value
    0.75
    """

    name: ClassVar[str] = "sndr"
    references: ClassVar[tuple[str, ...]] = (
        "Thomas, P. S., Brunskill, E. (2016). Data-efficient off-policy policy evaluation for "
        "reinforcement learning. ICML.",
        "Kallus, N., Uehara, M. (2019). Intrinsically efficient, stable, and bounded off-policy "
        "evaluation for reinforcement learning. NeurIPS.",
    )
    count: ClassVar[int] = 3

    def terms(self, batch: Batch) -> Floats:
        weight = batch.weight
        residual = weight * (batch.reward - batch.predicted)
        return np.column_stack([batch.expected, residual, weight])

    def value(self, means: Floats) -> float:
        return float(means[0] + means[1] / means[2])

    def gradient(self, means: Floats) -> Floats:
        return np.array([1.0, 1.0 / means[2], -means[1] / means[2] / means[2]])
