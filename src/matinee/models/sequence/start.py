"""Where training starts: title vectors that already hold which title follows which."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.linalg import svds

from matinee.models.data import Histories
from matinee.models.sequence.config import Config
from matinee.models.sequence.encoder import KNOTS, SIGNAL_BITS, Floats, Params

LAGS = 10
"""Events at most this many places apart count as following one another."""
UNIT = 2520
"""The least number that all of 1 to 10 divide: counts stay whole."""
SMOOTHING = 0.75
"""Power of a title's count as a context (Levy et al. 2015)."""
DENSE = 512
"""Vocabularies up to this size are decomposed whole."""


class Follows(NamedTuple):
    """Sums over members: pairs [V, V] in units of 1/2520, and watches of each title [V]."""

    pairs: csr_array
    counts: NDArray[np.int64]


def follows(histories: Histories, size: int) -> Follows:
    """How often, and how closely, each of `size` titles is followed by each other."""
    watched = histories.watched()
    titles = watched.titles
    total = nothing(size).pairs
    for lag in range(1, LAGS + 1):
        before, after = watched.pairs(lag)
        cells = (titles[before], titles[after])
        values = np.full(len(before), UNIT // lag, np.int64)
        total = total + coo_array((values, cells), shape=(size, size)).tocsr()
    return Follows(total, np.bincount(titles, minlength=size).astype(np.int64))


def nothing(size: int) -> Follows:
    """What is known of `size` titles that nobody watched."""
    return Follows(csr_array((size, size), dtype=np.int64), np.zeros(size, np.int64))


def weights(config: Config, found: Follows, countries: int, devices: int) -> Params:
    """Weights to begin from: what follows what, popularity, and small random matrices.

    Of countries and devices there is a row more, for those that are unknown.
    """
    rng, width = np.random.default_rng(config.seed), config.width

    def normal(rows: int, columns: int, scale: float = 1.0) -> Floats:
        return rng.normal(0, scale * rows**-0.5, (rows, columns)).astype(np.float32)

    def zeros(*shape: int) -> Floats:
        return np.zeros(shape, np.float32)

    def block() -> Params:
        return {
            "norm1": np.ones(width, np.float32),
            "kv": normal(width, 2 * width),
            "qg": normal(width, 2 * width),
            "distance": zeros(config.heads, config.window),
            "mix": normal(width, width, 0.3),
            "norm2": np.ones(width, np.float32),
            "up": normal(width, 4 * width),
            "down": normal(2 * width, width, 0.3),
        }

    return {
        "titles": np.concatenate([vectors(found, width, config.seed), zeros(1, width)]),
        "bias": _log_shares(found.counts),
        "gaps": zeros(KNOTS, width),
        "signals": zeros(SIGNAL_BITS, width),
        "countries": zeros(countries + 1, width),
        "devices": zeros(devices + 1, width),
        "norm": np.ones(width, np.float32),
        "blocks": [block() for _ in range(config.blocks)],
    }


def _log_shares(counts: NDArray[np.int64]) -> Floats:
    """The logarithm of each title's share of all events, half an event added."""
    some = counts + 0.5
    logs: Floats = np.log(some / max(some.sum(), 1.0)).astype(np.float32)
    return logs


def vectors(found: Follows, width: int, seed: int) -> Floats:
    r"""Vectors of titles [V, D], alike where what comes before them is.

    With c(i, j) the sum of 1 / lag over events of i and j at most ten places apart, j after i, the
    positive pointwise mutual information

    .. math:: M_{ij} = \max\Big(0, \log \frac{c(i, j) \sum_k c(k)^{3/4}}{c(i)\, c(j)^{3/4}}\Big)

    is factored, :math:`M \approx U S V^\top`, and :math:`V \sqrt S` is what they start from. Levy,
    Goldberg, "Neural word embedding as implicit matrix factorization" (NeurIPS 2014). Entries have
    a standard deviation of 1 / sqrt(D); what M says nothing of is filled with a little noise.
    """
    size = found.pairs.shape[0]
    rng = np.random.default_rng(seed)
    begun = rng.normal(0, 0.1 * width**-0.5, (size, width))
    information = _information(found.pairs)
    if information.nnz:
        values, right = _decompose(information, width, rng)
        factor = np.zeros((size, width))
        factor[:, : len(values)] = right.T * np.sqrt(values)
        begun += factor / max(factor.std(), 1e-12) * width**-0.5
    return begun.astype(np.float32)


def _information(pairs: csr_array) -> csr_array:
    """M [V, V]."""
    cells = pairs.tocoo()
    rows = np.maximum(pairs.sum(axis=1), 1).astype(float)
    columns = pairs.sum(axis=0).astype(float) ** SMOOTHING
    value = np.log(cells.data * columns.sum() / (rows[cells.row] * columns[cells.col]))
    keep = value > 0
    found = (value[keep], (cells.row[keep], cells.col[keep]))
    return coo_array(found, shape=pairs.shape).tocsr()


def _decompose(
    matrix: csr_array, width: int, rng: np.random.Generator
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The leading singular values [K] and right vectors [K, V], signs fixed so that the same matrix
    gives the same.
    """
    size = matrix.shape[0]
    if size <= max(DENSE, width + 1):
        _, values, right = np.linalg.svd(matrix.toarray(), full_matrices=False)
        values, right = values[:width], right[:width]
    else:
        _, values, right = svds(matrix, k=width, v0=rng.normal(size=size))
        values, right = values[::-1], right[::-1]
    signs = np.sign(right[np.arange(len(right)), np.abs(right).argmax(axis=1)])
    signs[signs == 0] = 1
    return values, right * signs[:, None]
