"""The mean reward of each action, shrunk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from matinee.evaluation.off_policy.columns import Floats, Integers
from matinee.evaluation.off_policy.outcome_models.base import check_settings, some_rows


@dataclass(frozen=True, slots=True)
class ActionMean:
    r"""Each action's mean reward, drawn towards that of all rows where the action is rare.

        q(x, a) = (sum of a's rewards + strength m) / (rows of a + strength)

    with m the mean reward of all rows: the posterior mean under a normal prior around m that is
    worth `strength` > 0 rows (Efron and Morris, 1975, "Data analysis using Stein's estimator and
    its generalizations"). It does not look at features, and says m of an action never seen.

    >>> rewards = [1.0, 1.0, 0.0]
    >>> means = ActionMean(actions=3, strength=2.0).fit(np.empty((3, 0)), [0, 0, 1], rewards)
    >>> means.predict(np.empty((1, 0))).round(3)
    array([[0.833, 0.444, 0.667]])
    """

    actions: int
    strength: float = 10.0

    def __post_init__(self) -> None:
        check_settings(self.actions, self.strength)

    def fit(self, features: Floats, action: Integers, reward: Floats) -> ActionMeans:
        """The shrunken means of the rows."""
        _, a, r = some_rows(self.actions, features, action, reward)
        sums = np.bincount(a, weights=r, minlength=self.actions)
        rows = np.bincount(a, minlength=self.actions)
        return ActionMeans((sums + self.strength * r.mean()) / (rows + self.strength))


@dataclass(frozen=True, slots=True)
class ActionMeans:
    """One `mean` [A] for all."""

    mean: Floats

    def predict(self, features: Floats) -> Floats:
        """The means, [N, A], whatever the features [N, D]."""
        return np.tile(self.mean, (len(features), 1))
