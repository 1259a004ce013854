"""The interval of the central limit theorem."""

from __future__ import annotations

from scipy.special import ndtri

from matinee.evaluation.intervals.base import Interval, check_alpha
from matinee.evaluation.off_policy.base import Value


def normal(value: Value, alpha: float = 0.05) -> Interval:
    """value +- z error, with z the 1 - alpha / 2 quantile of the standard normal distribution.

    Trust it where one fixed policy wrote the log, where there are many clusters (hundreds at
    least) and no few weights carry the value; and for one look at a size fixed in advance. It
    covers too little under a logger that learns, and for whoever looks again and again. NaN below
    two clusters.

    >>> from matinee.evaluation.off_policy import Value
    >>> interval = normal(Value(value=0.5, error=0.1, decisions=900, clusters=300))
    >>> round(interval.low, 3), round(interval.high, 3)
    (0.304, 0.696)
    """
    check_alpha(alpha)
    reach = float(ndtri(1 - alpha / 2)) * value.error
    return Interval(value.value, value.value - reach, value.value + reach, 1 - alpha, "normal")
