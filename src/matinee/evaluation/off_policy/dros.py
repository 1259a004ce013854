"""Doubly robust estimation with optimistic shrinkage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from matinee.evaluation.off_policy.base import ActionEstimator, check_number
from matinee.evaluation.off_policy.batch import Batch
from matinee.evaluation.off_policy.columns import Floats
from matinee.evaluation.off_policy.dr import corrected


@dataclass(frozen=True)
class DRos(ActionEstimator):
    r"""DR whose weights shrink the more the larger they are.

        V = 1/N sum_i [ sum_a pi(a|x_i) q(x_i, a) + s(w_i) (r_i - q(x_i, a_i)) ]
        s(w) = shrinkage w / (w^2 + shrinkage)

    The s that is best for a bound on the squared error when q was fitted with weights w. An
    infinite shrinkage gives DR, 0 the direct method; no s(w) is above sqrt(shrinkage) / 2. Choose
    it by ``Slope``.

    >>> batch = Batch.of([1.0], [0.25], [0.5], predicted=[0.5], expected=[0.75])
    >>> [DRos(shrinkage).add(batch).result().value for shrinkage in (0.0, 4.0, np.inf)]
    [0.75, 1.25, 1.75]
    """

    name: ClassVar[str] = "dros"
    references: ClassVar[tuple[str, ...]] = (
        "Su, Y., Dimakopoulou, M., Krishnamurthy, A., Dudik, M. (2020). Doubly robust off-policy "
        "evaluation with shrinkage. ICML.",
    )

    shrinkage: float

    def __post_init__(self) -> None:
        check_number("shrinkage", self.shrinkage, least=0)
        super().__post_init__()

    def terms(self, batch: Batch) -> Floats:
        return corrected(batch, shrunk(batch.weight, self.shrinkage))


def shrunk(weight: Floats, shrinkage: float) -> Floats:
    """Optimistically shrunk weights [N], s(w), of weights [N] >= 0 of any size.

    >>> shrunk(np.array([0.0, 2.0, 1e200]), 4.0)
    array([0.e+000, 1.e+000, 4.e-200])
    """
    if shrinkage == 0:
        return np.zeros_like(weight)
    with np.errstate(over="ignore"):
        stretch: Floats = np.hypot(1.0, weight / np.sqrt(shrinkage))
    return weight / stretch / stretch
