"""Choosing among estimators by data alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Generic, Self

import numpy as np
from scipy.stats import t

from matinee.evaluation.off_policy.base import Estimator, LoggedT, Value

BEFORE = np.sqrt(6.0) - 1.0
"""How many of its own widths an earlier estimator may be off: of Su, Srinath and Krishnamurthy."""


@dataclass(frozen=True)
class Slope(Generic[LoggedT]):
    r"""The least variable of estimators that still agrees with all more variable ones.

    With theta_i the value that estimator i of `grid` gives, and its width

        c_i = t_{1 - delta, G - 1} * the standard error of theta_i,    G clusters,

    go from the widest to the narrowest and stop before the first i for which, for some j before it,

        |theta_i - theta_j| > c_i + (sqrt(6) - 1) c_j

    Such a gap noise does not explain (Lepski's principle), so i is more biased than j. Where the
    widest has little bias, and what bounds the bias grows as widths fall, the chosen one's error is
    within a constant factor of the best in the grid; the closer the grid's steps, the smaller that
    factor. Made for IPS and DR by `clip`, SwitchDR by `threshold` and DRos by `shrinkage`. The
    order of the grid does not matter, except that its first stands while there are no widths, below
    two clusters: put the least biased there.

    ``result`` gives the chosen one's value and error. The error knows nothing of the choice: for
    an interval choose on one part of the log, and give another to an estimator of those settings.

    A monoid as its estimators are: each sees every batch. Raises `ValueError` for an empty grid or
    a `delta` outside (0, 0.5).

    >>> from matinee.evaluation.off_policy.batch import Batch
    >>> from matinee.evaluation.off_policy.dros import DRos
    >>> slope = Slope(tuple(DRos(shrinkage) for shrinkage in (np.inf, 100.0, 1.0)))
    >>> batch = Batch.of([1.0, 0.0, 1.0], [0.5, 0.5, 0.25], [0.5, 0.5, 0.75])
    >>> slope.add(batch).chosen
    DRos(shrinkage=1.0)
    """

    name: ClassVar[str] = "slope"
    references: ClassVar[tuple[str, ...]] = (
        "Su, Y., Srinath, P., Krishnamurthy, A. (2020). Adaptive estimator selection for "
        "off-policy evaluation. ICML.",
        "Tucker, G., Lee, J. (2021). Improved estimator selection for off-policy evaluation. "
        "Workshop on Reinforcement Learning Theory, ICML.",
    )

    grid: tuple[Estimator[LoggedT], ...]
    delta: float = 0.1

    def __post_init__(self) -> None:
        if not self.grid:
            raise ValueError("grid is empty; give the estimators to choose among")
        if not 0 < self.delta < 0.5:
            raise ValueError(f"delta must be in (0, 0.5), got {self.delta}")

    def add(self, batch: LoggedT) -> Self:
        """This with another batch."""
        return replace(self, grid=tuple(estimator.add(batch) for estimator in self.grid))

    def __add__(self, other: Self) -> Self:
        if self != other:
            raise ValueError(f"{self} and {other} are not the same estimator and do not add up")
        grid = tuple(mine + its for mine, its in zip(self.grid, other.grid, strict=True))
        return replace(self, grid=grid)

    def __radd__(self, other: object) -> Self:
        """0 and this is this, so that ``sum`` adds up shards."""
        return self if isinstance(other, int) and other == 0 else NotImplemented

    @property
    def chosen(self) -> Estimator[LoggedT]:
        """The estimator of the grid that was chosen, with all that it has seen."""
        return self.grid[self._choose([estimator.result() for estimator in self.grid])]

    def result(self) -> Value:
        """The chosen estimator's value and its error, from all that was added."""
        return self.chosen.result()

    def _choose(self, results: list[Value]) -> int:
        values = np.array([result.value for result in results])
        errors = np.array([result.error for result in results])
        widths = errors * t.ppf(1.0 - self.delta, results[0].clusters - 1)
        order = np.argsort(-np.nan_to_num(widths, nan=np.inf), kind="stable")
        for place, i in enumerate(order[1:], start=1):
            before = order[:place]
            gaps = np.abs(values[before] - values[i])
            if not (gaps <= widths[i] + BEFORE * widths[before]).all():
                return int(before[-1])
        return int(order[-1])
