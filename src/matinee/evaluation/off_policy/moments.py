"""Sums that merge: means, and what their errors are when rows hang together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from matinee.evaluation.off_policy.columns import Floats, Integers

_beyond = np.errstate(over="ignore", invalid="ignore")
"""What leaves the range of floating point, as weights of 1e300 do, has an error of infinity."""


@dataclass(frozen=True)
class Moments:
    r"""First and second moments of T terms over N rows in G clusters, merged without loss.

    Let S_g [T + 1] be a cluster's sums of the terms and, last, its number of rows. Kept are G, the
    mean of the S_g, and their centred second moment M. Two of these merge by the update of Chan,
    Golub and LeVeque (1983), "Algorithms for computing the sample variance", so that shards in any
    order give the whole to rounding.

    >>> left, right = (Moments.of(np.array([[x]]), np.array([c])) for x, c in ((1.0, 0), (3.0, 1)))
    >>> (left + right).means, (left + right).error(np.ones(1))
    (array([2.]), 1.0)
    """

    clusters: int
    mean: Floats
    spread: Floats

    @classmethod
    def none(cls, terms: int) -> Self:
        """Of no rows."""
        return cls(0, np.zeros(terms + 1), np.zeros((terms + 1, terms + 1)))

    @classmethod
    @_beyond
    def of(cls, terms: Floats, cluster: Integers) -> Self:
        """Of terms [N, T] whose rows belong to clusters [N]."""
        if not len(terms):
            return cls.none(terms.shape[1])
        alone = bool((cluster[1:] > cluster[:-1]).all())
        sums = np.ascontiguousarray((terms if alone else cluster_sums(terms, cluster)).T)
        mean = sums.mean(axis=1)
        centred = sums - mean[:, None]
        spread = np.einsum("in,jn->ij", centred, centred)
        if alone:  # each of one row
            mean, spread = np.append(mean, 1.0), np.pad(spread, (0, 1))
        return cls(sums.shape[1], mean, spread)

    @_beyond
    def __add__(self, other: Self) -> Self:
        ours, theirs = ((one.clusters, one.mean, one.spread) for one in (self, other))
        return type(self)(*merged(ours, theirs))

    @property
    def rows(self) -> int:
        """N."""
        return round(float(self.mean[-1]) * self.clusters)

    @property
    def means(self) -> Floats:
        """The mean [T] of each term over rows; NaN while there are none."""
        return (
            self.mean[:-1] / self.mean[-1] if self.clusters else np.full(len(self.mean) - 1, np.nan)
        )

    @_beyond
    def error(self, gradient: Floats) -> float:
        """The standard error of a smooth function of the means with that gradient [T] there.

        The delta method on cluster sums (Liang and Zeger, 1986): with u_g the gradient times the
        cluster's terms less the mean, sqrt(G / (G - 1) sum_g u_g^2) / N. NaN below two clusters
        and where a mean or the gradient is none; infinite where squares leave the range of numbers.
        """
        if self.clusters < 2 or np.isnan([*gradient, *self.means]).any():
            return float("nan")
        if not np.isfinite(self.spread).all():
            return float("inf")
        whole = np.append(gradient, -gradient @ self.means)
        variance = max(float(whole @ self.spread @ whole), 0.0) / (self.clusters - 1)
        return float(np.sqrt(variance / self.clusters) / self.mean[-1])


def merged(
    one: tuple[int, Floats, Floats], other: tuple[int, Floats, Floats]
) -> tuple[int, Floats, Floats]:
    """How many there are of both together, their means [C], and their centred moments [C, C].

    >>> nothing = np.zeros((1, 1))
    >>> merged((1, np.array([1.0]), nothing), (1, np.array([3.0]), nothing))
    (2, array([2.]), array([[2.]]))
    """
    (size, mean, spread), (more, mean_of_more, spread_of_more) = one, other
    whole = size + more
    apart, share = mean_of_more - mean, more / whole if whole else 0.0
    between = np.outer(apart, apart) * (size * share)
    return whole, mean + share * apart, spread + spread_of_more + between


def cluster_sums(terms: Floats, cluster: Integers) -> Floats:
    """The sums [G, T + 1] of terms [N, T] and of ones over each cluster, ascending by cluster.

    >>> cluster_sums(np.array([[1.0], [2.0], [5.0]]), np.array([7, 3, 7]))
    array([[2., 1.],
           [6., 2.]])
    """
    with_ones = np.column_stack([terms, np.ones(len(terms))])
    if (cluster[1:] > cluster[:-1]).all():
        return with_ones
    if not (cluster[1:] >= cluster[:-1]).all():
        order = np.argsort(cluster, kind="stable")
        cluster, with_ones = cluster[order], with_ones[order]
    first = np.flatnonzero(np.diff(cluster, prepend=cluster[:1] - 1))
    return np.add.reduceat(with_ones, first, axis=0)
