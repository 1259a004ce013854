"""A ridge regression of the reward for each action."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from matinee.evaluation.off_policy.columns import Floats, Integers
from matinee.evaluation.off_policy.outcome_models.base import check_settings, some_rows


@dataclass(frozen=True, slots=True)
class RidgePerAction:
    r"""For each action a line through the features, drawn towards the mean reward m of all rows.

        q(x, a) = m + b_a . z(x),
        b_a = argmin_b  sum_{i: a_i = a} (r_i - m - b . z(x_i))^2 + strength |b|^2

    where z(x) is 1 and then each feature less its mean over its standard deviation in all rows, 0
    where it is constant (Hoerl and Kennard, 1970, "Ridge regression"). Predictions are clipped to
    the rewards seen, so that features never met do not carry a line beyond them. Without features
    it is `ActionMean`; of an action never seen it says m. In closed form: a pass over the rows and
    A eigenvalue problems of size D + 1.

    >>> x, a = [[0.0], [1.0], [2.0], [0.0]], [0, 0, 0, 1]
    >>> lines = RidgePerAction(actions=2, strength=1e-9).fit(x, a, [1.0, 2.0, 3.0, 2.0])
    >>> lines.predict(np.array([[0.5], [9.0]])).round(3)
    array([[1.5, 2. ],
           [3. , 2. ]])
    """

    actions: int
    strength: float = 10.0

    def __post_init__(self) -> None:
        check_settings(self.actions, self.strength)

    def fit(self, features: Floats, action: Integers, reward: Floats) -> Lines:
        """The regressions of the rows."""
        x, a, r = some_rows(self.actions, features, action, reward)
        centre, scale, mean = x.mean(axis=0), _spread(x), float(r.mean())
        order = np.argsort(a, kind="stable")
        seen, first = np.unique(a[order], return_index=True)
        z = np.split(_standardised(x[order], centre, scale), first[1:])
        residual = np.split(r[order] - mean, first[1:])
        slope = np.zeros((x.shape[1] + 1, self.actions))
        slope[:, seen] = np.column_stack(
            [_ridge(*rows, self.strength) for rows in zip(z, residual, strict=True)]
        )
        return Lines(centre, scale, slope, mean, (float(r.min()), float(r.max())))


@dataclass(frozen=True, slots=True)
class Lines:
    """Regressions with `slope` [D + 1, A] on standardised features, clipped to `between`."""

    centre: Floats
    scale: Floats
    slope: Floats
    mean: float
    between: tuple[float, float]

    def predict(self, features: Floats) -> Floats:
        """The clipped lines [N, A] at features [N, D]."""
        lines = _standardised(features, self.centre, self.scale) @ self.slope
        return np.clip(self.mean + lines, *self.between)


def _spread(features: Floats) -> Floats:
    """The standard deviation [D] of features [N, D]; infinite where it is but rounding."""
    rounding = np.finfo(np.float64).eps * len(features) * np.abs(features).max(axis=0)
    spread = features.std(axis=0)
    return np.where(spread > rounding, spread, np.inf)


def _standardised(features: Floats, centre: Floats, scale: Floats) -> Floats:
    """z [N, D + 1]: 1 and the features over their spread."""
    return np.column_stack([np.ones(len(features)), (features - centre) / scale])


def _ridge(z: Floats, residual: Floats, strength: float) -> Floats:
    """(z'z + strength)^-1 z'residual, by eigenvalues, which collinear features do not upset."""
    # By einsum: on the many small products here, the threads of BLAS wait for one another.
    values, vectors = np.linalg.eigh(np.einsum("nd,ne->de", z, z))
    moment = np.einsum("nd,n->d", z, residual)
    along: Floats = vectors.T @ moment / (np.maximum(values, 0.0) + strength)
    return vectors @ along
