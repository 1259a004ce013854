"""How much the titles of one list differ, by who watched them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from matinee.models.data import Dataset, Histories, HistoryShard

BLOCK = 1 << 24
"""Bytes that are counted in at once."""

Values = NDArray[np.float64]
Places = NDArray[np.int64]


def diversity(lists: Places, train: Dataset) -> Values:
    r"""Intra-list distance [M] of lists [M, K] of titles, -1 where a list is shorter.

    The mean over pairs of titles of one minus the cosine of who watched them in training,
    :math:`1 - n_{ij} / \sqrt{n_i n_j}`, with n_ij the members who watched both: 0 where all are
    watched by the same, 1 where no two have a member in common, or a list has fewer than two.
    Ziegler, McNee, Konstan, Lausen, "Improving recommendation lists through topic
    diversification" (WWW 2005); Vargas and Castells, RecSys 2011.

    >>> from matinee.models import Histories, Vocabulary
    >>> train = Dataset.of(Vocabulary("abc"), Histories.of([[0, 1], [0, 1], [2]]))
    >>> diversity(np.array([[0, 1, -1], [0, 1, 2]]), train).round(3)
    array([0.   , 0.667])
    """
    left, right = (lists[:, places] for places in np.triu_indices(lists.shape[1], 1))
    whole = (left >= 0) & (right >= 0)
    shown = np.unique(lists[lists >= 0])
    cells, of = np.unique(
        np.searchsorted(shown, left[whole]) * len(shown) + np.searchsorted(shown, right[whole]),
        return_inverse=True,
    )
    pairs = _Pairs(len(train.titles), shown, cells // len(shown), cells % len(shown))
    both, each = train.reduce(_together, _add, pairs)
    watched = np.sqrt(np.maximum(each, 1))
    distances = np.ones(whole.shape)
    distances[whole] = (1 - both / (watched[pairs.left] * watched[pairs.right]))[of]
    number = whole.sum(axis=1)
    total = np.where(whole, distances, 0.0).sum(axis=1)
    mean: Values = np.divide(total, number, out=np.ones(len(lists)), where=number > 0)
    return mean


class _Pairs(NamedTuple):
    """Pairs [N] of places among the titles `shown` [T], of a vocabulary of `size`."""

    size: int
    shown: Places
    left: Places
    right: Places


Counts = tuple[NDArray[np.int64], NDArray[np.int64]]


def _together(shard: HistoryShard, pairs: _Pairs) -> Counts:
    """Members who watched both of each pair [N], and each title shown [T]."""
    histories = shard.load()
    both, each = np.zeros(len(pairs.left), np.int64), np.zeros(len(pairs.shown), np.int64)
    members = max(1, BLOCK // max(pairs.size, 1))
    for start in range(0, len(histories), members):
        bits = _bits(histories.rows(start, min(start + members, len(histories))), pairs)
        each += np.bitwise_count(bits).sum(axis=1, dtype=np.int64)
        step = max(1, BLOCK // max(bits.shape[1], 1))
        for first in range(0, len(both), step):
            some = slice(first, first + step)
            shared = bits[pairs.left[some]] & bits[pairs.right[some]]
            both[some] += np.bitwise_count(shared).sum(axis=1, dtype=np.int64)
    return both, each


def _bits(histories: Histories, pairs: _Pairs) -> NDArray[np.uint8]:
    """One bit a member, 1 if they watched the title, for each title shown [T, B / 8]."""
    watched = histories.matrix(pairs.size).toarray()[:, pairs.shown] > 0
    return np.ascontiguousarray(np.packbits(watched, axis=0).T)


def _add(left: Counts, right: Counts) -> Counts:
    return left[0] + right[0], left[1] + right[1]
