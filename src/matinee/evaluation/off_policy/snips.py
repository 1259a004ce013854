"""Self-normalised inverse propensity scoring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from matinee.evaluation.off_policy.base import ActionEstimator
from matinee.evaluation.off_policy.batch import Batch
from matinee.evaluation.off_policy.columns import Floats


@dataclass(frozen=True)
class SNIPS(ActionEstimator):
    r"""IPS over the mean weight, which a true log has at 1: bounded by the rewards seen.

        V = sum_i w_i r_i / sum_i w_i

    Biased of order 1/N, mostly of lower variance than IPS, and unmoved by adding a constant to all
    rewards. NaN where the candidate would have chosen nothing that was logged.

    >>> SNIPS().add(Batch.of([1.0, 0.0], [0.5, 0.5], [0.9, 0.3])).result().value
    0.75
    """

    name: ClassVar[str] = "snips"
    references: ClassVar[tuple[str, ...]] = (
        "Swaminathan, A., Joachims, T. (2015). The self-normalized estimator for counterfactual "
        "learning. NeurIPS.",
    )
    count: ClassVar[int] = 2

    def terms(self, batch: Batch) -> Floats:
        weight = batch.weight
        return np.column_stack([weight * batch.reward, weight])

    def value(self, means: Floats) -> float:
        return float(means[0] / means[1])

    def gradient(self, means: Floats) -> Floats:
        return np.array([1.0 / means[1], -means[0] / means[1] / means[1]])
