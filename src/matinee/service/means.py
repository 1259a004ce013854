"""Means of what members did, with intervals that know what is of the same member."""

from __future__ import annotations

from math import sqrt

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import norm, t

from matinee.evaluation.intervals.base import Interval
from matinee.evaluation.intervals.wilson import wilson
from matinee.evaluation.off_policy.moments import Moments
from matinee.experiments.sequential import stretch

FEWEST = 2
"""Members below whose worth nothing is told of others."""
ALIKE = 1e-12
"""An error that is below this share of the mean is the arithmetic's."""


def numbers(column: pl.Series) -> NDArray[np.int64]:
    """A number for each value of a column, the same for the same."""
    return column.rank("dense").cast(pl.Int64).to_numpy()


def mean_by_member(values: pl.Series, members: pl.Series, *, share: bool = True) -> Interval:
    r"""The mean of values [N] with an interval of one look, clustered by member [N]; NaN of none.

    With n_i values of member i whose sum is s_i, and the mean m, the error is that of leaving each
    member out,

    .. math:: s^2 = \frac{G - 1}{G N^2} \sum_i \Big(\frac{s_i - m n_i}{1 - n_i / N}\Big)^2

    (CR3: R. M. Bell and D. F. McCaffrey, 2002, "Bias reduction in standard errors for linear
    regression with multi-stage samples", Survey Methodology 28), by Student's t with a degree less
    than the :math:`N^2 / \sum_i n_i^2` members that these are worth (A. V. Carter, K. T. Schnepel
    and D. G. Steigerwald, 2017, "Asymptotic behavior of a t-test robust to cluster heterogeneity",
    Review of Economics and Statistics 99): of few, or where few did most, it is as wide as it has
    to be. Where all brought the same there is nothing to tell how far others are from it, nor where
    the members are worth fewer than two: no interval.

    Of values that are 0 or 1, where each can be no more, as is a `share`, it is Wilson's interval
    of as many independent ones as the values are worth, :math:`p (1 - p) / s^2`, less what
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
    given, nan = values.cast(pl.Float64).to_numpy(), float("nan")
    level = 0.95
    if not len(given):
        return Interval(nan, nan, nan, level, "Student")
    who = numbers(members) - 1
    mean, parts = float(given.mean()), np.bincount(who) / len(given)
    if len(parts) < 2:
        return Interval(mean, nan, nan, level, "Student")
    pulls = np.bincount(who, given - mean) / len(given) / (1 - parts)
    error = sqrt((len(parts) - 1) / len(parts)) * float(np.linalg.norm(pulls))
    worth = 1 / float((parts**2).sum())
    wide = float(t.isf((1 - level) / 2, worth - 1))
    if share and np.isin(given, (0.0, 1.0)).all():
        spread = mean * (1 - mean) * (float(norm.isf((1 - level) / 2)) / wide) ** 2
        size = spread / max(error**2, spread / len(given)) if spread else len(parts)
        return wilson(mean * size, size, alpha=1 - level)
    reach = wide * error if worth >= FEWEST and error > ALIKE * abs(mean) else nan
    return Interval(mean, mean - reach, mean + reach, level, "Student")


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
    every look; it is tightest at `size` members. Of no members it is none.

    >>> one = Interval(0.5, 0.469, 0.531, 0.95, "normal")
    >>> wider = at_every_look(one, 1_000, size=1_000)
    >>> round(wider.low, 3), round(wider.high, 3)
    (0.452, 0.548)
    """
    error = (one.high - one.value) / float(norm.isf((1 - one.level) / 2))
    return _around(one.value, error, members, size, alpha)


def _around(value: float, error: float, members: int, size: float, alpha: float) -> Interval:
    """The asymptotic confidence sequence of a mean with its standard error; NaN of no members."""
    reach = stretch(members, tightest_at=size, alpha=alpha) * error if members else float("nan")
    method = "anytime-valid, asymptotic, Gaussian mixture"
    return Interval(value, value - reach, value + reach, 1 - alpha, method)
