"""The percentile bootstrap of a point estimator, clustered."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

import numpy as np

from matinee.evaluation.intervals.base import Interval, check_alpha
from matinee.evaluation.off_policy.base import Estimator, Logged
from matinee.evaluation.off_policy.batch import Floats, Integers
from matinee.evaluation.off_policy.moments import cluster_sums

LoggedT = TypeVar("LoggedT", bound=Logged)

BLOCK = 256
"""Rows of a block: a byte is one of them, and sixteen bits are two."""
TASK = 16
"""Blocks that one thread takes at a time."""
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
    seen. The same seed gives the same interval.

    Trust it where the normal interval is to be trusted, and sooner where the estimator is a skewed
    ratio: one fixed logger, hundreds of clusters, no few weights that carry the value, one look at
    a size fixed in advance. It cannot know of rewards that were never seen: one cluster, or equal
    rewards, give an interval of no width. NaN without rows, or where a resample has no value.

    >>> from matinee.evaluation.off_policy import IPS, Batch
    >>> batch = Batch.of([0.0, 1.0] * 500, [0.5] * 1000, [0.5] * 1000)
    >>> interval = bootstrap(IPS(), batch)
    >>> interval.value, 0.46 < interval.low < 0.48, 0.52 < interval.high < 0.54
    (0.5, True, True)
    """
    check_alpha(alpha)
    terms = estimator.terms(batch)
    value = replace(estimator).add(batch).result().value
    if not len(terms):
        return Interval(value, float("nan"), float("nan"), 1 - alpha, "bootstrap")
    sums = cluster_sums(terms, batch.cluster)
    if len(sums) == len(terms):
        means = resampled_means(terms, resamples, seed)
    else:
        drawn = resampled_means(sums, resamples, seed)
        means = drawn[:, :-1] / drawn[:, -1:]
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.array([estimator.value(row) for row in means])
    low, high = np.quantile(values, [alpha / 2, 1 - alpha / 2])
    return Interval(value, float(low), float(high), 1 - alpha, "bootstrap")


def resampled_means(rows: Floats, resamples: int, seed: int) -> Floats:
    """The means [resamples, T] of G rows drawn from rows [G, T] with replacement, again and again.

    How often each block of rows is drawn is multinomial; given that, draws within a block are
    uniform and independent. Two at once are one look-up in a table of the sums of all pairs. Tables
    hold distances from the column's median to seven digits, so that means are off by less than a
    millionth of their standard error; rows at the median are counted and need not be drawn.

    >>> resampled_means(np.ones((1000, 1)), 3, seed=0).ravel()
    array([1., 1., 1.])
    """
    size = len(rows)
    centre = np.median(rows, axis=0)
    apart = rows - centre
    apart = apart[(apart != 0).any(axis=1)]
    if not len(apart):
        return np.tile(centre, (resamples, 1))
    scale = np.maximum(np.abs(apart).max(axis=0), np.finfo(np.float64).tiny)
    columns = np.ascontiguousarray((apart / scale).T, np.float32)
    firsts = range(0, len(apart), BLOCK)
    shares = np.diff([0, size - len(apart), *(size - len(apart) + f for f in firsts[1:]), size])
    seeds = np.random.SeedSequence(seed).spawn(len(firsts) + THREADS)

    def counted(part: int) -> Integers:
        generator = np.random.Generator(np.random.SFC64(seeds[part]))
        some = resamples // THREADS + (part < resamples % THREADS)
        return generator.multinomial(size, shares / size, size=some)[:, 1:]

    def summed(task: int) -> Floats:
        sums = np.zeros((len(columns), resamples))
        for at in range(task, min(task + TASK, len(firsts))):
            block = columns[:, firsts[at] : firsts[at] + BLOCK]
            sums += _block_sums(block, counts[at], seeds[THREADS + at])
        return sums

    with ThreadPoolExecutor(THREADS) as threads:
        counts = np.ascontiguousarray(np.concatenate(list(threads.map(counted, range(THREADS)))).T)
        sums = np.sum(list(threads.map(summed, range(0, len(firsts), TASK))), axis=0)
    means: Floats = centre + sums.T * (scale / size)
    return means


def _block_sums(
    columns: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
    counts: Integers,
    seed: np.random.SeedSequence,
) -> Floats:
    """The sums [T, R] of that many draws [R] from columns [T, B]."""
    bits = np.random.SFC64(seed)
    if columns.shape[1] < BLOCK:
        draws = np.random.Generator(bits).integers(
            columns.shape[1], size=int(counts.sum()), dtype=np.uint8
        )
        return np.array([_segment_sums(column.take(draws), counts) for column in columns])
    pairs = counts >> 1
    drawn = int(pairs.sum())
    words = bits.random_raw(-(-drawn // 4)).view(np.uint16)[:drawn].astype(np.intp)
    single = bits.random_raw(-(-len(counts) // 8)).view(np.uint8)[: len(counts)]
    odd = counts & 1
    return np.array(
        [
            _segment_sums(np.add.outer(column, column).take(words, mode="clip"), pairs)
            + column[single] * odd
            for column in columns
        ]
    )


def _segment_sums(
    values: np.ndarray[tuple[int, ...], np.dtype[np.float32]], lengths: Integers
) -> Floats:
    """The sums [R] of consecutive runs of values of those lengths [R], some of them empty."""
    sums = np.zeros(len(lengths))
    some = lengths > 0
    if some.any():
        first = np.cumsum(lengths) - lengths
        sums[some] = np.add.reduceat(values, first[some])
    return sums
