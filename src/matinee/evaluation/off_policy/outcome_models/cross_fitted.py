"""Predictions of which none has seen its own member: for intervals of a fixed size."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from matinee.evaluation.off_policy.columns import Floats, Integers, integers
from matinee.evaluation.off_policy.outcome_models.base import OutcomeModel, some_rows

Bits = NDArray[np.uint64]


def cross_fitted(
    model: OutcomeModel,
    features: ArrayLike,
    action: ArrayLike,
    reward: ArrayLike,
    cluster: ArrayLike,
    *,
    folds: int = 5,
    seed: int = 0,
    prior: float = 0.0,
) -> Floats:
    """q [N, A], each row's from the model fitted on the rows of all other folds.

    Clusters [N] (members) are parted into `folds` >= 2 by `folds_of`, so that no row's prediction
    depends on any reward of its cluster. Where all rows are of one fold there is nothing to fit
    on, and their prediction is the constant `prior`.

    Cross-fitting (Chernozhukov et al., 2018, "Double/debiased machine learning") is for intervals
    of one look at a fixed log. It learns from the future of a row, so a confidence sequence needs
    `predictable` instead.

    >>> from matinee.evaluation.off_policy.outcome_models import ActionMean
    >>> nothing = np.empty((2, 0))
    >>> cross_fitted(ActionMean(actions=1), nothing, [0, 0], [1.0, 5.0], [0, 1], folds=2)
    array([[5.],
           [1.]])
    """
    x, a, r = some_rows(model.actions, features, action, reward)
    fold = folds_of(cluster, folds, seed)
    if fold.shape != r.shape:
        raise ValueError(f"cluster has shape {fold.shape}; give one for each of the {len(r)} rows")
    q = np.full((len(r), model.actions), prior)
    for one in np.unique(fold):
        held = fold == one
        if not held.all():
            q[held] = model.fit(x[~held], a[~held], r[~held]).predict(x[held])
    return q


def folds_of(cluster: ArrayLike, folds: int, seed: int = 0) -> Integers:
    """The fold [N] in 0..folds-1 of each cluster [N], a matter of its id and the seed alone.

    So neither the order of rows nor how they are sharded moves a cluster to another fold. By the
    mixing function of SplitMix64 (Steele, Lea, Flood, 2014, "Fast splittable pseudorandom number
    generators").

    >>> folds_of([7, 8, 9, 7], folds=5).tolist()
    [4, 3, 2, 4]
    """
    if folds < 2:
        raise ValueError(f"folds must be at least 2, got {folds}")
    given = np.atleast_1d(np.asarray(cluster))
    ids = integers("cluster", given, given.shape).view(np.uint64)
    start = _mixed(np.array([seed], np.int64).view(np.uint64))
    return (_mixed(ids ^ start) % np.uint64(folds)).astype(np.int64)


def _mixed(bits: Bits) -> Bits:
    bits = bits + np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
