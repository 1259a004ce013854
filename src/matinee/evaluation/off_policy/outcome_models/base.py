"""The contract of an outcome model, q(x, a): what reward to expect of every action."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from matinee.evaluation.off_policy.columns import Floats, Integers, integers, require


class Outcome(Protocol):
    """What a fitted outcome model says."""

    def predict(self, features: Floats) -> Floats:
        """The expected reward [N, A] of each action under features [N, D]."""
        ...


class OutcomeModel(Protocol):
    """Learns what reward to expect of each of A `actions`.

    Reward is on the scale of the log's, a number and not a class, so that predictions average.
    """

    @property
    def actions(self) -> int:
        """A."""
        ...

    def fit(self, features: Floats, action: Integers, reward: Floats) -> Outcome:
        """What N >= 1 rows teach: features [N, D], actions [N] in 0..A-1, finite rewards [N].

        It begins anew: nothing stays from an earlier call. An action that the rows do not show has
        a finite prediction too.
        """
        ...


def rows_of(
    actions: int, features: ArrayLike, action: ArrayLike, reward: ArrayLike
) -> tuple[Floats, Integers, Floats]:
    """Checked features [N, D], actions [N] and rewards [N]; what a reward may be is not checked.

    Raises `ValueError` where shapes do not fit, a feature is not finite, or an action is unknown.

    >>> rows_of(2, [[0.5]], [2], [1.0])
    Traceback (most recent call last):
    ValueError: action must be in 0..1, the actions of the outcome model; row 0 has 2
    """
    x, chosen = np.asarray(features, np.float64), np.asarray(action)
    r = np.asarray(reward, np.float64)
    if x.ndim != 2 or chosen.shape != x.shape[:1] or r.shape != x.shape[:1]:
        raise ValueError(
            f"features has shape {x.shape}, action {chosen.shape} and reward {r.shape}; "
            "give [N, D], [N] and [N]"
        )
    a = integers("action", chosen, chosen.shape)
    bad = np.count_nonzero(~np.isfinite(x), axis=1)
    require(bad == 0, "the number of features that are not finite", bad, "0")
    known = (a >= 0) & (a < actions)
    require(known, "action", a, f"in 0..{actions - 1}, the actions of the outcome model")
    return x, a, r


def some_rows(
    actions: int, features: ArrayLike, action: ArrayLike, reward: ArrayLike
) -> tuple[Floats, Integers, Floats]:
    """Like `rows_of`, of one row at least and with finite rewards: what a model can be fitted on.

    >>> some_rows(2, [[0.5]], [1], [float("nan")])
    Traceback (most recent call last):
    ValueError: reward must be finite; row 0 has nan
    """
    x, a, r = rows_of(actions, features, action, reward)
    if not len(r):
        raise ValueError("an outcome model needs at least one row; predict a constant without any")
    require(np.isfinite(r), "reward", r, "finite")
    return x, a, r


def check_settings(actions: int, strength: float) -> None:
    """Raise `ValueError` unless there is an action and a finite `strength` above 0."""
    if actions < 1:
        raise ValueError(f"actions must be at least 1, got {actions}")
    if not 0 < strength < np.inf:
        raise ValueError(f"strength must be above 0 and finite, got {strength}")
