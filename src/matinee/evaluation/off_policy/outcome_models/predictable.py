"""Predictions made only of what was known: for confidence sequences."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from matinee.evaluation.off_policy.columns import Floats, Integers, require
from matinee.evaluation.off_policy.outcome_models.base import OutcomeModel, rows_of


def predictable(
    model: OutcomeModel,
    features: ArrayLike,
    action: ArrayLike,
    reward: ArrayLike,
    *,
    at: ArrayLike,
    closed_at: ArrayLike,
    refits: ArrayLike,
    prior: float = 0.0,
) -> Floats:
    """q [N, A], each row's from the model fitted on rewards that had closed before its decision.

    Row i was decided at `at` [N] and its reward was final at `closed_at` [N] >= `at`, both
    microseconds since 1970. The model is fitted anew at each of the instants `refits` [R],
    ascending (days, say, or those of `doubling`), on all rows with closed_at <= that instant, and
    predicts the decisions after it, up to and with the next. Rows decided when nothing had closed
    at the last refit get the constant `prior`: no prediction of the model, but one as predictable.
    Rewards that close after the last refit are not looked at and may be NaN.

    Each q is thus a function of what was known when its decision was made, as the martingales of
    Waudby-Smith et al. (2022), "Anytime-valid off-policy inference for contextual bandits", need.

    >>> from matinee.evaluation.off_policy.outcome_models import ActionMean
    >>> nothing, at = np.empty((4, 0)), [0, 1, 10, 20]
    >>> closed_at, rewards = [3, 11, 13, 23], [1.0, 5.0, np.nan, np.nan]
    >>> when = dict(at=at, closed_at=closed_at, refits=[2, 9, 12])
    >>> q = predictable(ActionMean(1), nothing, [0] * 4, rewards, **when)
    >>> q[:, 0].tolist()
    [0.0, 0.0, 1.0, 3.0]
    """
    x, a, r = rows_of(model.actions, features, action, reward)
    decided, closed = _instants("at", at, len(r)), _instants("closed_at", closed_at, len(r))
    require(closed >= decided, "closed_at", closed, "no earlier than at")
    cuts = np.asarray(refits, np.int64)
    if cuts.ndim != 1 or (np.diff(cuts) <= 0).any():
        raise ValueError("refits must be a list of ascending, distinct instants")
    unused = closed > cuts.max(initial=np.iinfo(np.int64).min)
    require(np.isfinite(r) | unused, "reward", r, "finite where it had closed by the last refit")
    period = np.searchsorted(cuts, decided, side="left") - 1
    q = np.full((len(r), model.actions), prior)
    for one in np.unique(period[period >= 0]):
        known, now = closed <= cuts[one], period == one
        if known.any():
            q[now] = model.fit(x[known], a[known], r[known]).predict(x[now])
    return q


def doubling(closed_at: ArrayLike, first: int = 128) -> Integers:
    """The instants [R] when `first` >= 1 rewards had closed, twice as many, and so on.

    Each is known when it comes. Fitting at all of them costs twice the last fit.

    >>> doubling([50, 10, 30, 20, 40, 60], first=1).tolist()
    [10, 20, 40]
    """
    if first < 1:
        raise ValueError(f"first must be at least 1, got {first}")
    closed = np.sort(np.asarray(closed_at, np.int64))
    many = max(len(closed) // first, 0).bit_length()
    return np.unique(closed[first * 2 ** np.arange(many) - 1])


def _instants(name: str, values: ArrayLike, size: int) -> Integers:
    instants = np.asarray(values, np.int64)
    if instants.shape != (size,):
        raise ValueError(f"{name} has shape {instants.shape}; give one for each of the {size} rows")
    return instants
