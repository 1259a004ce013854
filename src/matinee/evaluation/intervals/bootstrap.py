"""The percentile bootstrap of a point estimator, clustered."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from numpy.random import SFC64, SeedSequence

from matinee.evaluation.intervals.base import Interval, check_alpha
from matinee.evaluation.intervals.poisson_counts import PoissonCounts, Singles, poisson_tables
from matinee.evaluation.off_policy.base import Estimator, Logged
from matinee.evaluation.off_policy.columns import Floats, Integers
from matinee.evaluation.off_policy.moments import Moments, cluster_sums

LoggedT = TypeVar("LoggedT", bound=Logged)

CELLS = 2**18
"""Counts that one thread holds at a time."""
TASK = 32
"""Resamples that they are of, or more where rows are few."""
LANE = 256
"""Rows that are added up in float32; these sums are added up in float64."""
SPARE = 3.0
"""By how many standard deviations Poisson counts stay below the size of a resample."""
THREADS = 2


def bootstrap(
    estimator: Estimator[LoggedT],
    batch: LoggedT,
    *,
    resamples: int = 1000,
    alpha: float = 0.05,
    seed: int = 0,
) -> Interval:
    """The alpha / 2 and 1 - alpha / 2 quantiles of what the estimator says of resampled clusters.

    The G clusters of `batch` are drawn G times with replacement, `resamples` times (Efron, 1979;
    of clusters: Field and Welsh, 2007). Where each row is its own cluster, the default of `Batch`,
    this is the plain i.i.d. bootstrap. Of `estimator` only the settings are used, not what it has
    seen. The same seed gives the same interval. `resamples` is 2 or more.

    Trust it where the normal interval is to be trusted, and sooner where the estimator is a skewed
    ratio: one fixed logger, hundreds of clusters, no few weights that carry the value, one look at
    a size fixed in advance. It cannot know of rewards that were never seen: one cluster, or equal
    rewards, give an interval of no width. NaN without rows, or where a resample has no value, or a
    row a term that is not finite.

    >>> from matinee.evaluation.off_policy import IPS, Batch
    >>> batch = Batch.of([0.0, 1.0] * 500, [0.5] * 1000, [0.5] * 1000)
    >>> interval = bootstrap(IPS(), batch)
    >>> interval.value, 0.46 < interval.low < 0.48, 0.52 < interval.high < 0.54
    (0.5, True, True)
    """
    check_alpha(alpha)
    if not isinstance(resamples, int | np.integer) or resamples < 2:
        raise ValueError(f"resamples must be a whole number of at least 2, got {resamples!r}")
    terms, cluster = estimator.checked_terms(batch), batch.cluster
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        value = estimator.value(Moments.of(terms, cluster).means)
    if not len(terms) or not np.isfinite(terms).all():
        return Interval(value, float("nan"), float("nan"), 1 - alpha, "bootstrap")
    if (cluster[1:] > cluster[:-1]).all():
        means = resampled_means(terms, resamples, seed)
    else:
        drawn = resampled_means(cluster_sums(terms, cluster), resamples, seed)
        means = drawn[:, :-1] / drawn[:, -1:]
    means = np.clip(means, terms.min(axis=0), terms.max(axis=0))  # which rounding may leave
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        values = np.array([estimator.value(row) for row in means])
    low, high = np.quantile(values, [alpha / 2, 1 - alpha / 2])
    return Interval(value, float(low), float(high), 1 - alpha, "bootstrap")


def resampled_means(rows: Floats, resamples: int, seed: int) -> Floats:
    """The means [resamples, T] of G rows drawn from rows [G, T] with replacement, again and again.

    How often each row is drawn is multinomial, which is what independent Poisson counts are, given
    their sum. So first counts are Poisson of a mean below 1, four by one look-up, and what is short
    of G is then drawn row by row; a resample with more than G, one in a thousand, is made anew.
    Rows enter by their distance from the column's median, to seven digits: means of 100,000 rows
    are off by a millionth of their standard error or so. Rows at the median are only counted.

    >>> resampled_means(np.ones((1000, 1)), 3, seed=0).ravel()
    array([1., 1., 1.])
    """
    size, values = len(rows), np.array(rows.T, order="C")
    centre = np.median(values, axis=1)
    values -= centre[:, None]
    apart = values.any(axis=0)
    left = int(apart.sum())
    if not left:
        return np.tile(centre, (resamples, 1))
    if left < size:
        values = values[:, apart]
    scale = np.maximum(values.max(axis=1), -values.min(axis=1)) + np.finfo(np.float64).tiny
    values /= scale[:, None]
    parts = -(-left * TASK // CELLS)
    lanes = parts * -(-left // (LANE * parts))
    columns = np.zeros((len(values) + 1, lanes * LANE), np.float32)
    columns[:-1, :left], columns[-1, :left] = values, 1.0
    rounded = values.sum(axis=1) - columns[:-1].sum(axis=1, dtype=np.float64)
    blocks = np.split(columns.reshape(-1, 1, lanes, LANE), parts, axis=2)
    rate = 1.0 / (1.0 + SPARE / np.sqrt(size))
    tables = poisson_tables(rate)

    def summed(counts: PoissonCounts, some: int) -> Floats:
        """The sums [T + 1, some] of resamples, the last of them the number of draws."""
        generator, sums = counts.generator, counts.sums(some)
        short = size - sums[-1].astype(np.int64) - generator.poisson(rate * (size - left), some)
        lengths = generator.binomial(np.maximum(short, 0), left / size)
        drawn = generator.integers(left, size=lengths.sum())
        sums += [_segment_sums(column.take(drawn), lengths) for column in columns]
        anew = short < 0
        if anew.any():
            sums[:, anew] = summed(counts, int(anew.sum()))
        return sums

    def tasks(bits: SFC64, share: int) -> list[Floats]:
        task = max(TASK, CELLS // (lanes * LANE))
        counts = PoissonCounts(blocks, min(task, share), tables, bits)
        return [summed(counts, min(task, share - first)) for first in range(0, share, task)]

    sources = map(SFC64, SeedSequence(seed).spawn(THREADS))
    shares = map(len, np.array_split(np.arange(resamples), THREADS))
    with ThreadPoolExecutor(THREADS) as threads:
        done = [sums for thread in threads.map(tasks, sources, shares) for sums in thread]
    sums = np.concatenate(done, axis=1)[:-1]
    means: Floats = centre + (sums.T + rounded) * (scale / size)
    return means


def _segment_sums(values: Singles, lengths: Integers) -> Floats:
    """The sums [R] of consecutive runs of values of those lengths [R], some of them empty."""
    sums, some = np.zeros(len(lengths)), lengths > 0
    if some.any():
        sums[some] = np.add.reduceat(values, (np.cumsum(lengths) - lengths)[some])
    return sums
