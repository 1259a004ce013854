"""EASE: a linear autoencoder over titles, learned in closed form."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dpotrf, dpotri

from matinee.models.base import Floats, Model, checked, on_candidates
from matinee.models.data import Context, Dataset, HistoryShard, Indices
from matinee.models.popularity import Popularity
from matinee.models.run import Run

BLOCK = 1 << 24
"""Cells of the dense blocks of members in which the Gram matrix is summed."""


class EASE(Model):
    r"""Embarrassingly shallow autoencoder: each title is predicted from all the others.

    With X [members, V] binary and the diagonal of B held at zero,

    .. math:: \min_B \lVert X - XB \rVert_F^2 + \lambda \lVert B \rVert_F^2
              \quad\Rightarrow\quad
              P = (X^\top X + \lambda I)^{-1}, \quad B_{ij} = -P_{ij} / P_{jj}, \quad B_{jj} = 0

    and the score of title j is the sum of B_ij over the titles i of the member's history, each
    counted once; times play no part. Scores are around [-0.5, 1.5]. The Gram matrix is a sum over
    members, so shards merge exactly; it is solved in float64 and B is kept in float32.

    `l2` (lambda, positive) is in members; more data of the same kind wants more of it. The default
    has the best ndcg@10 on the validation targets of MovieLens-1M among 50 to 1000
    (``benchmarks/ranking.py --tune``).

    A member without any known title gets the shares of :class:`Popularity` in their country. A
    title that nobody watched in training, or that is unknown (-1), gets 0: no evidence either
    way, below every title that the history speaks for and above those it speaks against.

    Fitting takes O(V^3) time and about 30 V^2 bytes (340 MB at 3,416 titles, 12 GB at 20,000);
    scoring a member gathers one row of B for each title of the history.

    >>> from matinee.models.data import Histories, Vocabulary
    >>> titles = Vocabulary(["heat", "ronin", "up", "coco"])
    >>> seen = Histories.of([[0, 1]] * 5 + [[2, 3]] * 5)
    >>> model = EASE(l2=1.0).fit(Dataset.of(titles, seen))
    >>> model.believe(Context(Histories.of([[0]]), np.zeros(1, np.int64))).mean.round(3)
    array([[0.   , 0.833, 0.   , 0.   ]], dtype=float32)
    """

    name: ClassVar[str] = "ease"
    references: ClassVar[tuple[str, ...]] = (
        "H. Steck: Embarrassingly shallow autoencoders for sparse data. WWW 2019, 3251-3257. "
        "doi:10.1145/3308558.3313710",
    )

    def __init__(self, l2: float = 200.0) -> None:
        if not 0 < l2 < float("inf"):
            raise ValueError(f"l2 is {l2}; give a positive number, for example 200")
        self.l2 = l2

    def settings(self) -> dict[str, Any]:
        return {"l2": self.l2}

    def _fit(self, dataset: Dataset, run: Run) -> None:
        gram = dataset.reduce(_gram, np.add, len(dataset.titles))
        self._weights = _solve(gram, self.l2)
        self._popularity = Popularity().fit(dataset)

    def _scores(self, context: Context, candidates: Indices | None) -> Floats:
        watched = context.histories.matrix(len(self.titles))
        scores = watched @ self._weights
        cold = np.diff(watched.indptr) == 0
        if cold.any():
            scores[cold] = self._popularity.shares(context.histories.countries)[cold]
        return on_candidates(scores, candidates)

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {"weights": self._weights, **self._popularity._arrays()}

    def _restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        size = len(self.titles)
        self._weights = checked(arrays["weights"], (size, size), np.float32)
        self._popularity = Popularity()
        self._popularity.titles = self.titles
        self._popularity._restore(arrays)


def _gram(shard: HistoryShard, size: int) -> NDArray[np.float64]:
    """X^T X [V, V] of one shard: how many members watched both titles."""
    histories = shard.load()
    total = np.zeros((size, size))
    step = max(1, BLOCK // max(size, 1))
    for start in range(0, len(histories), step):
        block = histories.rows(start, min(start + step, len(histories))).matrix(size).toarray()
        total += block.T @ block
    return total


def _solve(gram: NDArray[np.float64], l2: float) -> NDArray[np.float32]:
    """B [V, V] from the Gram matrix, by the Cholesky inverse of one triangle."""
    size = len(gram)
    if not size:
        return np.zeros((0, 0), np.float32)
    gram[np.diag_indices(size)] += l2
    factor, failed = dpotrf(gram.T, lower=True, overwrite_a=True)
    if failed:
        raise ValueError(f"the Gram matrix plus l2={l2} is not positive definite; raise l2")
    triangle, _ = dpotri(factor, lower=True, overwrite_c=True)
    inverse = np.tril(triangle) + np.tril(triangle, -1).T
    weights: NDArray[np.float32] = (inverse / -np.diag(inverse)).astype(np.float32)
    np.fill_diagonal(weights, 0.0)
    return weights
