"""Means of what members did, with intervals that know what is of the same member."""

from __future__ import annotations

from dataclasses import replace
from math import isfinite, log, log1p, sqrt

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import norm, t

from matinee.evaluation.attribution import mean_of
from matinee.evaluation.intervals.base import Interval
from matinee.evaluation.off_policy.moments import Moments
from matinee.experiments.sequential import sharpness


def numbers(column: pl.Series) -> NDArray[np.int64]:
    """A number for each value of a column, the same for the same."""
    return column.rank("dense").cast(pl.Int64).to_numpy()


def mean_by_member(values: pl.Series, members: pl.Series) -> Interval:
    """The mean of values [N] with an interval of one look, clustered by member [N]; NaN of none.

    By Student's t with a degree less than there are members: of few it is as wide as it has to be.

    >>> one = mean_by_member(pl.Series([0.0, 1.0] * 50), pl.Series(range(100)).cast(pl.String))
    >>> round(one.value, 2), round(one.low, 2), round(one.high, 2)
    (0.5, 0.4, 0.6)
    """
    found = mean_of(values.cast(pl.Float64).to_numpy(), numbers(members))
    count = members.n_unique()
    if count < 2 or not isfinite(found.low):
        return found
    tail = (1 - found.level) / 2
    wider = (found.high - found.value) * float(t.isf(tail, count - 1) / norm.isf(tail))
    return replace(found, low=found.value - wider, high=found.value + wider, method="Student")


def anytime(
    values: NDArray[np.float64], member: NDArray[np.int64], size: float, alpha: float = 0.05
) -> Interval:
    """The mean of values [N] with an interval that holds at every look, clustered by member [N]; it
    is tightest at so many members.

    >>> values = np.tile([0.0, 1.0], 500)
    >>> one = anytime(values, np.arange(1_000), size=1_000)
    >>> round(one.value, 2), round(one.low, 3), round(one.high, 3)
    (0.5, 0.452, 0.548)
    """
    moments = Moments.of(values[:, None], member)
    x = sharpness(alpha) * moments.clusters / size
    z = sqrt((1 + x) / x * (log1p(x) - 2 * log(alpha)))
    value, reach = float(moments.means[0]), z * moments.error(np.ones(1))
    method = "anytime-valid, asymptotic, Gaussian mixture"
    return Interval(value, value - reach, value + reach, 1 - alpha, method)
