"""From what a title is about to the vector that a model would have learned of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array

from matinee.models.base import Floats, checked
from matinee.models.data import Content, Vocabulary

GRID = tuple(float(10 ** (power / 2)) for power in range(-4, 7))
"""What `l2` is chosen among: 0.01 to 1000."""
TRIED = 1_500
"""Titles on which `l2` is chosen, at most: an eigenvalue problem of that size."""
TOLERANCE = 1e-8
"""Conjugate gradients stop where each residual is this share of its right-hand side."""
ITERATIONS = 500
STRETCH = 3.0
"""The greatest `spread`: where content tells little, its whispers are not made shouts."""

Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class AttributeMap:
    r"""A ridge regression of learned vectors on content.

    With :math:`x_v` the row of title v in the content, :math:`y_v` its learned vector, :math:`w_v`
    how much that is trusted and :math:`m = \sum_v w_v y_v / \sum_v w_v`,

    .. math:: \min_W \sum_v w_v \lVert y_v - m - x_v W \rVert^2 + \lambda \lVert W \rVert^2

    and the vector of a title is predicted as :math:`m + x W`. Features are matched by name, and
    those that are unknown change nothing: a title without any known feature gets m, the mean. On
    MovieLens-1M plain ones for features did better than rows of length 1 or inverse title
    frequencies (``benchmarks/cold_start.py`` tells how good a map is).

    features : names of the F features. matrix : W [F, D]. mean : m [D]. l2 : the lambda used.
    spread : by how much predictions would have to be stretched away from the mean to lie as far
    from it as learned vectors do, 1 to 3, with each title left out in its turn. The best guess of a
    vector lies nearer to the mean than the vector, so that titles known by content alone come after
    those that were watched; by a dot product they stand in the same order among themselves.

    Gantner, Drumond, Freudenthaler, Rendle, Schmidt-Thieme, "Learning attribute-to-feature mappings
    for cold-start recommendations" (ICDM 2010). doi:10.1109/ICDM.2010.129

    >>> about = Content.of({"heat": ["crime"], "ronin": ["crime"], "up": ["family"]})
    >>> learned = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 3.0]])
    >>> found = AttributeMap.fit(about, about.titles, learned, np.ones(3), l2=1e-6)
    >>> found.predict(Content.of({"coco": ["family"], "?": []})).round(3)
    array([[0.   , 3.   ],
           [0.667, 1.   ]], dtype=float32)
    """

    features: Vocabulary
    matrix: NDArray[np.float32]
    mean: NDArray[np.float32]
    l2: float
    spread: float

    @classmethod
    def fit(
        cls,
        content: Content,
        titles: Vocabulary,
        vectors: Floats,
        weights: Floats,
        l2: float | None = None,
    ) -> Self:
        """The map onto the `vectors` [V, D] of `titles`, each with a weight [V] of 0 or more.

        Good weights are n / (n + k) with n the members who watched the title. Titles that the
        content knows nothing of count in the mean alone. Where `l2` is not given it is the one of
        `GRID` with the least error in leaving one title out, in closed form, over at most `TRIED`
        titles spread evenly over the ids; so is `spread`, which comes out too great where there are
        many more titles than that.

        Deterministic, and the same bits in whatever order titles and features stand. Takes memory
        for the sparse content and a few [F, D] arrays, and a product of the two an iteration.

        Raises `ValueError` where shapes differ, a number is not finite, or a weight or `l2` is
        negative.
        """
        _check(titles, vectors, weights, l2)
        trusted = np.flatnonzero(weights > 0)
        order = np.array(sorted(trusted, key=lambda place: titles.ids[place]), np.int64)
        features = Vocabulary(sorted(content.features.ids))
        rows = _rows(content, features, [titles.ids[place] for place in order])
        y, w = vectors[order].astype(np.float64), weights[order].astype(np.float64)
        mean = w @ y / max(w.sum(), np.finfo(float).tiny)
        root = np.sqrt(w)
        inputs, targets = csr_array(diags_array(root) @ rows), root[:, None] * (y - mean)
        chosen, spread = _leave_one_out(inputs, targets, GRID if l2 is None else (l2,))
        matrix = _solve(inputs, targets, chosen)
        return cls(features, matrix.astype(np.float32), mean.astype(np.float32), chosen, spread)

    def predict(
        self, content: Content, titles: Vocabulary | None = None, stretch: float = 1.0
    ) -> NDArray[np.float32]:
        """Vectors [V, D] of `titles`, by default those of the content: m + `stretch` times x W.

        Titles and features may be others than those learned from, in any order. A `stretch` of
        `spread` sets titles known by content alone on a par with others.
        """
        asked = content.titles if titles is None else titles
        rows = _rows(content, self.features, asked.ids)
        predicted: NDArray[np.float32] = (stretch * (rows @ self.matrix) + self.mean).astype(
            np.float32
        )
        return predicted

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All of it, as arrays for the file of a model."""
        return {
            "content features": np.array(self.features.ids, np.str_),
            "content matrix": self.matrix,
            "content mean": self.mean,
            "content l2": np.array(self.l2, np.float64),
            "content spread": np.array(self.spread, np.float64),
        }

    @classmethod
    def restore(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """What `arrays` gave, bit for bit; a `ValueError` or `KeyError` where it is damaged."""
        features = Vocabulary(arrays["content features"].tolist())
        mean = arrays["content mean"]
        checked(mean, (mean.size,), np.float32)
        matrix = checked(arrays["content matrix"], (len(features), mean.size), np.float32)
        l2 = checked(arrays["content l2"], (), np.float64)
        spread = checked(arrays["content spread"], (), np.float64)
        return cls(features, matrix, mean, float(l2), float(spread))


def _check(titles: Vocabulary, vectors: Floats, weights: Floats, l2: float | None) -> None:
    size = len(titles)
    if vectors.ndim != 2 or len(vectors) != size or weights.shape != (size,):
        raise ValueError(
            f"{size} titles have vectors {vectors.shape} and weights {weights.shape}; "
            "give one row of vectors and one weight for each title"
        )
    if not (np.isfinite(vectors).all() and np.isfinite(weights).all() and (weights >= 0).all()):
        raise ValueError(
            "a vector or a weight is not a finite number, or a weight is below 0; "
            "give finite vectors, and weights such as n / (n + 10)"
        )
    if l2 is not None and not 0 < l2 < float("inf"):
        raise ValueError(f"l2 is {l2}; give a positive number, or none to have it chosen")


def _rows(content: Content, features: Vocabulary, titles: Iterable[str]) -> csr_array:
    """The rows [V, F] of the titles in the content, empty where it has none, by these features."""
    places = features.encode(content.features.ids)
    named = _selection(np.flatnonzero(places >= 0), places[places >= 0], len(places), len(features))
    numbers = content.titles.encode(titles)
    asked = _selection(
        np.flatnonzero(numbers >= 0), numbers[numbers >= 0], len(numbers), len(content.titles)
    )
    rows = csr_array(asked @ content.matrix.astype(np.float64) @ named)
    rows.sort_indices()
    return rows


def _selection(rows: NDArray[Any], columns: NDArray[Any], height: int, width: int) -> csr_array:
    """A matrix [height, width] with ones in these cells."""
    return csr_array((np.ones(len(rows)), (rows, columns)), shape=(height, width))


def _leave_one_out(
    inputs: csr_array, targets: Doubles, grid: tuple[float, ...]
) -> tuple[float, float]:
    r"""The l2 of `grid` with the least squared error in leaving one title out, and its spread.

    With :math:`A` the inputs, :math:`b` the targets, :math:`K = A A^\top` and
    :math:`H = K (K + \lambda)^{-1}`, the error of title v is :math:`(b - H b)_v / (1 - H_{vv})`.
    """
    size = inputs.shape[0]
    some = np.linspace(0, max(size - 1, 0), min(TRIED, size)).astype(np.int64)
    a, b = inputs[some], targets[some]
    values, vectors = np.linalg.eigh((a @ a.T).toarray())
    values = np.maximum(values, 0.0)
    rotated = vectors.T @ b

    def errors(l2: float) -> Doubles:
        kept = values / (values + l2)
        leverage = vectors**2 @ kept
        found: Doubles = (b - vectors @ (kept[:, None] * rotated)) / (1 - leverage)[:, None]
        return found

    l2 = min(grid, key=lambda one: float(np.square(errors(one)).sum()))
    guessed = float(np.square(b - errors(l2)).sum())
    ratio = float(np.square(b).sum()) / guessed if guessed > 0 else 1.0
    return l2, min(max(ratio**0.5, 1.0), STRETCH)


def _solve(inputs: csr_array, targets: Doubles, l2: float) -> Doubles:
    """W [F, D] of the normal equations, by preconditioned conjugate gradients on all columns."""
    transposed = csr_array(inputs.T)
    goal = transposed @ targets
    scale = 1 / (np.asarray((inputs * inputs).sum(axis=0)) + l2)[:, None]
    solution, residual = np.zeros_like(goal), goal.copy()
    step = scale * residual
    size = (residual * step).sum(axis=0)
    stop = TOLERANCE**2 * size
    for _ in range(ITERATIONS):
        going = size > stop
        if not going.any():
            break
        product = transposed @ (inputs @ step) + l2 * step
        length = np.where(going, size, 0.0) / np.where(going, (step * product).sum(axis=0), 1.0)
        solution += length * step
        residual -= length * product
        ahead = scale * residual
        new = (residual * ahead).sum(axis=0)
        step = ahead + np.where(going, new, 0.0) / np.where(size > 0, size, 1.0) * step
        size = np.where(going, new, size)
    return solution
