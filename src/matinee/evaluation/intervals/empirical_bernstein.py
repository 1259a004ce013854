"""An interval for a fixed number of terms in a known range."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from matinee.evaluation.intervals.base import Interval, check_alpha
from matinee.evaluation.off_policy.columns import clusters, require
from matinee.evaluation.off_policy.moments import cluster_sums


def empirical_bernstein(
    terms: ArrayLike,
    low: float,
    high: float,
    *,
    alpha: float = 0.05,
    cluster: ArrayLike | None = None,
) -> Interval:
    r"""The mean of n independent terms in [low, high], each end missing it in alpha / 2 of logs.

        mean +- sqrt(2 s^2 L / n) + 7 (high - low) L / (3 (n - 1)),    L = log(4 / alpha)

    with s^2 the sample variance (Maurer and Pontil, 2009, "Empirical Bernstein bounds and sample
    variance penalization", theorem 4), cut to [low, high]. For IPS the range is [0, largest weight
    that could have been], not the largest that was.

    With `cluster` [N], whose rows hang together, the units are the clusters' means and what is
    bounded is their mean: the mean over clusters, not over rows.

    Trust it at any n, under one fixed logger, for one look at a size fixed in advance, if the range
    is known beforehand. It is wide where the range is. The whole range below two units.

    Raises `ValueError` where a term is outside the range.

    >>> interval = empirical_bernstein([0.0, 1.0] * 500, 0.0, 1.0)
    >>> interval.value, round(interval.low, 3), round(interval.high, 3)
    (0.5, 0.443, 0.557)
    """
    check_alpha(alpha)
    if not low < high:
        raise ValueError(f"low must be below high, got {low} and {high}")
    units = np.asarray(terms, np.float64)
    require((units >= low) & (units <= high), "terms", units, f"in [{low}, {high}]")
    if cluster is not None and len(units):
        sums = cluster_sums(units[:, None], clusters(cluster, len(units)))
        units = sums[:, 0] / sums[:, 1]
    level, method = 1 - alpha, "empirical Bernstein"
    n = len(units)
    if n < 2:
        return Interval(float(units.mean()) if n else float("nan"), low, high, level, method)
    mean, log = float(units.mean()), float(np.log(4 / alpha))
    reach = np.sqrt(2 * units.var(ddof=1) * log / n) + 7 * (high - low) * log / (3 * (n - 1))
    return Interval(
        mean, max(low, mean - float(reach)), min(high, mean + float(reach)), level, method
    )
