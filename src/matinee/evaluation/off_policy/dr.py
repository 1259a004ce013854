"""Doubly robust estimation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from matinee.evaluation.off_policy.base import ActionEstimator, check_number
from matinee.evaluation.off_policy.batch import Batch
from matinee.evaluation.off_policy.columns import Floats


@dataclass(frozen=True)
class DR(ActionEstimator):
    r"""The direct method, its outcome model q corrected by IPS on what q left over.

        V = 1/N sum_i [ sum_a pi(a|x_i) q(x_i, a) + min(w_i, clip) (r_i - q(x_i, a_i)) ]

    With `clip` infinite, the default, unbiased for any q that did not see these rows where pi_0
    covers pi and propensities are true, and consistent where only q is right. Its variance shrinks
    as q gets better; with q = 0 it is IPS. A smaller `clip` > 0 trades bias towards the direct
    method for variance.

    >>> batch = Batch.of([1.0], [0.25], [0.5], predicted=[0.5], expected=[0.75])
    >>> DR().add(batch).result().value, DR(clip=1.0).add(batch).result().value
    (1.75, 1.25)
    """

    name: ClassVar[str] = "dr"
    references: ClassVar[tuple[str, ...]] = (
        "Dudik, M., Langford, J., Li, L. (2011). Doubly robust policy evaluation and learning. "
        "ICML.",
        "Dudik, M., Erhan, D., Langford, J., Li, L. (2014). Doubly robust policy evaluation and "
        "optimization. Statistical Science 29(4), 485-511.",
    )

    clip: float = np.inf

    def __post_init__(self) -> None:
        check_number("clip", self.clip, above=0)
        super().__post_init__()

    def terms(self, batch: Batch) -> Floats:
        return corrected(batch, np.minimum(batch.weight, self.clip))


def corrected(batch: Batch, weight: Floats) -> Floats:
    """The direct method's term plus the weighted residual, [N, 1], for weights [N].

    >>> batch = Batch.of([1.0], [0.25], [0.5], predicted=[0.5], expected=[0.75])
    >>> corrected(batch, np.array([2.0]))
    array([[1.75]])
    """
    return (batch.expected + weight * (batch.reward - batch.predicted))[:, None]
