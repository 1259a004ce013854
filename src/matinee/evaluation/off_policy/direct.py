"""The direct method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from matinee.evaluation.off_policy.base import ActionEstimator
from matinee.evaluation.off_policy.batch import Batch
from matinee.evaluation.off_policy.columns import Floats


@dataclass(frozen=True)
class DirectMethod(ActionEstimator):
    r"""What an outcome model q says the candidate earns, without a look at propensities.

        V = 1/N sum_i sum_a pi(a|x_i) q(x_i, a)

    Of low variance, and as biased as q is. Its error knows nothing of that bias, nor of q having
    been fitted: do not take its interval for one of the true value.

    >>> batch = Batch.of_distributions([3.0], [1], [0.5], [[0.25, 0.75]], q=[[2.0, 4.0]])
    >>> DirectMethod().add(batch).result().value
    3.5
    """

    name: ClassVar[str] = "dm"
    references: ClassVar[tuple[str, ...]] = (
        "Beygelzimer, A., Langford, J. (2009). The offset tree for learning with partial labels. "
        "KDD.",
    )

    def terms(self, batch: Batch) -> Floats:
        return batch.expected[:, None]
