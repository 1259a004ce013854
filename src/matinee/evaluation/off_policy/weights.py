"""How much a log says about a candidate: what the importance weights come to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from matinee.evaluation.off_policy.columns import clusters
from matinee.evaluation.off_policy.moments import Moments


@dataclass(frozen=True, slots=True)
class Support:
    """What the weights of a candidate came to.

    decisions : how many.
    effective : of how many unweighted decisions the weighted ones are worth, in [0, decisions].
    largest : the largest weight.
    mean, error : the mean weight and its standard error, of clusters. With true propensities the
        mean is 1 less `outside`.
    outside : the share of the candidate's mass where the log has none, in [0, 1].

    `mean`, `error` and `outside` are NaN without decisions, `error` below two clusters too.
    """

    decisions: int
    effective: float
    largest: float
    mean: float
    error: float
    outside: float


@dataclass(frozen=True)
class Weights:
    r"""Sums over importance weights that merge: ``add(weight)``, ``+``, ``result()``.

        effective = (sum_i w_i)^2 / sum_i w_i^2

    Kish, L. (1965). Survey sampling. Wiley. An effective size far below the number of decisions
    says that a few of them decide the estimate, and that its error is understated. Sums are kept in
    units of the largest weight, so that no finite weight overflows them.

    >>> Weights.none().add([1.0, 1.0]).result().effective
    2.0
    >>> Weights.none().add([2.0, 0.0]).result().effective
    1.0
    """

    moments: Moments
    largest: float
    total: float
    squares: float

    @classmethod
    def none(cls) -> Self:
        """Of no decisions."""
        return cls(Moments.none(2), 0.0, 0.0, 0.0)

    def add(
        self, weight: ArrayLike, outside: ArrayLike | None = None, cluster: ArrayLike | None = None
    ) -> Self:
        """This with N weights more, finite and >= 0; `outside` [N] is 0 by default.

        `cluster` int64 [N] says whose each is, as in ``Batch``; by default each is its own.
        """
        weight = np.asarray(weight, np.float64)
        beyond = np.zeros(len(weight)) if outside is None else np.asarray(outside, np.float64)
        whose = clusters(cluster, len(weight))
        largest = float(weight.max(initial=0.0))
        relative = weight / largest if largest else weight
        moments = Moments.of(np.column_stack([weight, beyond]), whose)
        return self + type(self)(
            moments, largest, float(relative.sum()), float(relative @ relative)
        )

    def __add__(self, other: Self) -> Self:
        largest = max(self.largest, other.largest)
        mine, theirs = (part.largest / largest if largest else 0.0 for part in (self, other))
        return type(self)(
            self.moments + other.moments,
            largest,
            float(mine * self.total + theirs * other.total),
            float(mine**2 * self.squares + theirs**2 * other.squares),
        )

    def result(self) -> Support:
        """What the weights came to."""
        mean, outside = (float(term) for term in self.moments.means)
        return Support(
            decisions=self.moments.rows,
            effective=self.total**2 / self.squares if self.squares else 0.0,
            largest=self.largest,
            mean=mean,
            error=self.moments.error(np.array([1.0, 0.0])),
            outside=outside,
        )
