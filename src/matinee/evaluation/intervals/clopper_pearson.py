"""An interval for a share that holds at any size."""

from __future__ import annotations

from scipy.stats import binomtest

from matinee.evaluation.intervals.base import Interval, check_alpha


def clopper_pearson(count: int, size: int, *, alpha: float = 0.05) -> Interval:
    """The chance of what happened `count` times in `size` independent trials.

    All chances under which neither so few nor so many is rarer than alpha / 2 (C. J. Clopper,
    E. S. Pearson: The use of confidence or fiducial limits illustrated in the case of the binomial.
    Biometrika 26, 1934, 404-413). It leaves out those that the exact test of two equal tails
    rejects, at any size. The whole range, and NaN, without trials.

    >>> found = clopper_pearson(0, 10)
    >>> found.value, found.low, round(found.high, 3)
    (0.0, 0.0, 0.308)
    """
    check_alpha(alpha)
    if not size:
        return Interval(float("nan"), 0.0, 1.0, 1 - alpha, "Clopper-Pearson")
    test = binomtest(count, size)
    ends = test.proportion_ci(1 - alpha, "exact")
    return Interval(test.statistic, float(ends.low), float(ends.high), 1 - alpha, "Clopper-Pearson")
