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
from matinee.evaluation.intervals.wilson import wilson
from matinee.evaluation.off_policy.moments import Moments
from matinee.experiments.sequential import sharpness


def numbers(column: pl.Series) -> NDArray[np.int64]:
    """A number for each value of a column, the same for the same."""
    return column.rank("dense").cast(pl.Int64).to_numpy()


def mean_by_member(values: pl.Series, members: pl.Series) -> Interval:
    r"""The mean of values [N] with an interval of one look, clustered by member [N]; NaN of none.

    By Student's t with a degree less than there are members: of few it is as wide as it has to be.
    Where all brought the same there is nothing to tell how far others are from it: no interval.

    Of values that are 0 or 1 it is Wilson's interval of as many independent ones as the values
    are worth, :math:`p (1 - p) / s^2` with s the error that is clustered by member, less what
    Student's t asks for, and at most N (E. L. Korn and B. I. Graubard, 1998, "Confidence intervals
    for proportions with small expected number of positive counts estimated from survey data",
    Survey Methodology 24, with the exact interval). Where all are the same they are worth as many
    as there are members.

    >>> members = pl.Series(range(100)).cast(pl.String)
    >>> one = mean_by_member(pl.Series([0.0, 1.0] * 50), members)
    >>> round(one.value, 2), round(one.low, 2), round(one.high, 2)
    (0.5, 0.4, 0.6)
    >>> none = mean_by_member(pl.Series([0.0] * 100), members)
    >>> none.value, round(none.high, 3)
    (0.0, 0.037)
    """
    given = values.cast(pl.Float64).to_numpy()
    found, count = mean_of(given, numbers(members)), members.n_unique()
    if count < 2 or not isfinite(found.low):
        return found
    tail = (1 - found.level) / 2
    usual, wider = float(norm.isf(tail)), float(t.isf(tail, count - 1))
    error, alike = (found.high - found.value) / usual, bool(np.ptp(given) == 0)
    if np.isin(given, (0.0, 1.0)).all():
        spread = found.value * (1 - found.value) * (usual / wider) ** 2
        size = count if alike else spread / max(error**2, spread / len(given))
        return wilson(found.value * size, size, alpha=1 - found.level)
    reach = float("nan") if alike else wider * error
    return replace(found, low=found.value - reach, high=found.value + reach, method="Student")


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
    return _around(
        float(moments.means[0]), moments.error(np.ones(1)), moments.clusters, size, alpha
    )


def at_every_look(one: Interval, members: int, size: float, alpha: float = 0.05) -> Interval:
    """An estimate with a normal interval of one look, by so many members, with one that holds at
    every look; it is tightest at `size` members.

    >>> one = Interval(0.5, 0.469, 0.531, 0.95, "normal")
    >>> wider = at_every_look(one, 1_000, size=1_000)
    >>> round(wider.low, 3), round(wider.high, 3)
    (0.452, 0.548)
    """
    error = (one.high - one.value) / float(norm.isf((1 - one.level) / 2))
    return _around(one.value, error, members, size, alpha)


def _around(value: float, error: float, members: int, size: float, alpha: float) -> Interval:
    """The asymptotic confidence sequence of a mean with its standard error."""
    x = sharpness(alpha) * members / size
    reach = sqrt((1 + x) / x * (log1p(x) - 2 * log(alpha))) * error
    method = "anytime-valid, asymptotic, Gaussian mixture"
    return Interval(value, value - reach, value + reach, 1 - alpha, method)
