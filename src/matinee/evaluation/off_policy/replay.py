"""Replay: the rows on which the candidate agrees with the log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from matinee.evaluation.off_policy.base import ActionEstimator
from matinee.evaluation.off_policy.batch import Batch
from matinee.evaluation.off_policy.columns import Floats


@dataclass(frozen=True)
class Replay(ActionEstimator):
    r"""The mean reward where a deterministic candidate chooses what was logged.

        V = sum_i 1{pi(a_i|x_i) = 1} r_i / sum_i 1{pi(a_i|x_i) = 1}

    Made for a uniformly random log, on which it is SNIPS. Where pi_0(a|x) varies, the contexts of
    the rows kept are no fair sample: use SNIPS itself. NaN where they never agree, as when the
    candidate is random everywhere.

    >>> Replay().add(Batch.of([1.0, 0.0, 5.0], [0.5, 0.5, 0.5], [1.0, 1.0, 0.0])).result().value
    0.5
    """

    name: ClassVar[str] = "replay"
    references: ClassVar[tuple[str, ...]] = (
        "Li, L., Chu, W., Langford, J., Wang, X. (2011). Unbiased offline evaluation of "
        "contextual-bandit-based news article recommendation algorithms. WSDM.",
    )
    count: ClassVar[int] = 2

    def terms(self, batch: Batch) -> Floats:
        agrees = (batch.target >= 1.0).astype(np.float64)
        return np.column_stack([agrees * batch.reward, agrees])

    def value(self, means: Floats) -> float:
        return float(means[0] / means[1])

    def gradient(self, means: Floats) -> Floats:
        return np.array([1.0 / means[1], -means[0] / means[1] / means[1]])
