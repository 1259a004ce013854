"""Switching from doubly robust estimation to the direct method where weights are large."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from matinee.evaluation.off_policy.base import ActionEstimator, check_number
from matinee.evaluation.off_policy.batch import Batch
from matinee.evaluation.off_policy.columns import Floats
from matinee.evaluation.off_policy.dr import corrected


@dataclass(frozen=True)
class SwitchDR(ActionEstimator):
    r"""DR where the weight is at most `threshold` >= 0, the direct method alone where it is more.

        V = 1/N sum_i [ sum_a pi(a|x_i) q(x_i, a) + w_i 1{w_i <= threshold} (r_i - q(x_i, a_i)) ]

    An infinite threshold gives DR, 0 the direct method. The bias is the candidate's mean of q's
    error over the actions of larger weight. Choose the threshold by ``Slope``.

    >>> batch = Batch.of([1.0], [0.25], [0.5], predicted=[0.5], expected=[0.75])
    >>> [SwitchDR(threshold).add(batch).result().value for threshold in (1.0, 2.0)]
    [0.75, 1.75]
    """

    name: ClassVar[str] = "switch-dr"
    references: ClassVar[tuple[str, ...]] = (
        "Wang, Y.-X., Agarwal, A., Dudik, M. (2017). Optimal and adaptive off-policy evaluation in "
        "contextual bandits. ICML.",
    )

    threshold: float

    def __post_init__(self) -> None:
        check_number("threshold", self.threshold, least=0)
        super().__post_init__()

    def terms(self, batch: Batch) -> Floats:
        weight = batch.weight
        return corrected(batch, np.where(weight <= self.threshold, weight, 0.0))
