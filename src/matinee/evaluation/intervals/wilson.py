"""A quick interval for a share."""

from __future__ import annotations

from math import sqrt

from scipy.stats import norm

from matinee.evaluation.intervals.base import Interval, check_alpha


def wilson(count: float, size: float, *, alpha: float = 0.05) -> Interval:
    """The chance of what happened `count` times in `size` independent trials, or in what is worth
    so many.

    All chances that the score test does not reject at `alpha` (E. B. Wilson: Probable inference,
    the law of succession, and statistical inference. Journal of the American Statistical
    Association 22, 1927, 209-212). It is quicker than `clopper_pearson` and a little narrower: it
    holds on the mean of shares, not at each. The whole range, and NaN, without trials.

    >>> found = wilson(1, 2)
    >>> found.value, round(found.low, 4), round(found.high, 4)
    (0.5, 0.0945, 0.9055)
    """
    check_alpha(alpha)
    if not size:
        return Interval(float("nan"), 0.0, 1.0, 1 - alpha, "Wilson")
    share, squared = count / size, float(norm.isf(alpha / 2)) ** 2
    middle = (share + squared / (2 * size)) / (1 + squared / size)
    half = sqrt(squared * (share * (1 - share) / size + squared / (4 * size**2)))
    half /= 1 + squared / size
    low, high = max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))
    return Interval(share, low, high, 1 - alpha, "Wilson")
