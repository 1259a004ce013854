"""Logged sequences of decisions as an estimator of their returns sees them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from matinee.evaluation.off_policy.columns import (
    Booleans,
    Floats,
    Integers,
    clusters,
    filled,
    require_chance,
    require_finite,
    require_probability,
    require_shape,
)


@dataclass(frozen=True, slots=True)
class Sequences:
    r"""N units with up to T decisions each, such as the attempts to charge an invoice.

    With s_t the state before decision t, a_t the logged action, pi_0 the policy that logged and pi
    the candidate, both of which may look at all that came before:

    reward : float64 [N, T], what decision t brought, finite.
    propensity : float64 [N, T], pi_0(a_t|s_t) in (0, 1].
    target : float64 [N, T], pi(a_t|s_t) in [0, 1].
    taken : bool [N, T], whether there was a decision t. Most units end before T; what stands where
        none was taken is padding, and counts as a reward of 0 under a ratio of 1.
    predicted, expected : float64 [N, T], an outcome model's Q(s_t, a_t), the return from t on under
        the candidate, and its mean V(s_t) = sum_a pi(a|s_t) Q(s_t, a). Both 0 without a model.
    cluster : int64 [N], whose unit it was. All of a cluster that is to count as one stands in one
        batch. By default each is its own.

    Raises `ValueError`, naming the field, the step and the first bad row, where a column is not of
    these ranges or has another shape.

    >>> two = Sequences.of([[1.0, 2.0]], [[0.5, 0.25]], [[0.25, 0.5]])
    >>> two.ratio
    array([[0.5, 1. ]])
    """

    reward: Floats
    propensity: Floats
    target: Floats
    taken: Booleans
    predicted: Floats
    expected: Floats
    cluster: Integers

    @classmethod
    def of(
        cls,
        reward: ArrayLike,
        propensity: ArrayLike,
        target: ArrayLike,
        *,
        taken: ArrayLike | None = None,
        predicted: ArrayLike | None = None,
        expected: ArrayLike | None = None,
        cluster: ArrayLike | None = None,
    ) -> Self:
        """Checked sequences from tables [N, T]; by default all decisions were taken.

        Padding may hold anything, NaN included.
        """
        rewards = np.asarray(reward, np.float64)
        if rewards.ndim != 2 or not rewards.shape[1]:
            raise ValueError(f"reward has shape {rewards.shape}; give a table [N, T] with T >= 1")
        there = np.ones(rewards.shape, bool) if taken is None else np.asarray(taken, bool)
        require_shape("taken", there, rewards.shape)

        def table(name: str, values: ArrayLike | None, padding: float = 0.0) -> Floats:
            return filled(name, values, rewards.shape, neutral=padding, where=there)

        sequences = cls(
            table("reward", rewards),
            table("propensity", propensity, 1.0),
            table("target", target, 1.0),
            there,
            table("predicted", predicted),
            table("expected", expected),
            clusters(cluster, len(rewards)),
        )
        sequences._check()
        return sequences

    def __len__(self) -> int:
        return len(self.reward)

    @property
    def steps(self) -> int:
        """T."""
        return int(self.reward.shape[1])

    @property
    def ratio(self) -> Floats:
        """rho_{0:t} [N, T], how much likelier the candidate makes the actions up to and with t."""
        return np.cumprod(self.target / self.propensity, axis=1, dtype=np.float64)

    def rows(self, which: Any) -> Self:
        """The units at `which`: a slice, indices or a mask [N]."""
        return type(self)(*(getattr(self, name)[which] for name in self.__dataclass_fields__))

    def _check(self) -> None:
        for step in range(self.steps):
            for name in ("reward", "propensity", "target", "predicted", "expected"):
                require_finite(f"{name} of step {step}", getattr(self, name)[:, step])
            require_chance(f"propensity of step {step}", self.propensity[:, step])
            require_probability(f"target of step {step}", self.target[:, step])
        with np.errstate(over="ignore", invalid="ignore"):
            last = self.ratio[:, -1]
        require_finite("the product of target / propensity", last)
