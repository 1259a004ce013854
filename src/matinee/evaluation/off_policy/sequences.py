"""Logged sequences of decisions as an estimator of their returns sees them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from matinee.evaluation.off_policy.batch import SLACK, Floats, Integers, require


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
    taken: NDArray[np.bool_]
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
        every = np.ones(rewards.shape, np.bool_)
        there = every if taken is None else np.asarray(taken, np.bool_)
        _shaped("taken", there, rewards.shape)

        def table(name: str, values: ArrayLike | None, padding: float) -> Floats:
            whole = np.zeros(rewards.shape) if values is None else np.asarray(values, np.float64)
            _shaped(name, whole, rewards.shape)
            return np.where(there, whole, padding)

        sequences = cls(
            table("reward", rewards, 0.0),
            table("propensity", propensity, 1.0),
            table("target", target, 1.0),
            there,
            table("predicted", predicted, 0.0),
            table("expected", expected, 0.0),
            np.arange(len(rewards)) if cluster is None else np.asarray(cluster, np.int64),
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
        _shaped("cluster", self.cluster, self.reward.shape[:1])
        for step in range(self.steps):
            for name in ("reward", "propensity", "target", "predicted", "expected"):
                column = getattr(self, name)[:, step]
                require(np.isfinite(column), f"{name} of step {step}", column, "finite")
            chance = self.propensity[:, step]
            require(chance > 0, f"propensity of step {step}", chance, "above 0")
            require(chance <= 1, f"propensity of step {step}", chance, "at most 1")
            mass = self.target[:, step]
            holds = (mass >= 0) & (mass <= 1 + SLACK)
            require(holds, f"target of step {step}", mass, "in [0, 1]")
        with np.errstate(over="ignore", invalid="ignore"):
            last = self.ratio[:, -1]
        require(np.isfinite(last), "the product of target / propensity", last, "finite")


def _shaped(name: str, table: NDArray[Any], shape: tuple[int, ...]) -> None:
    if table.shape != shape:
        raise ValueError(f"{name} has shape {table.shape}; give {shape}, as the rewards have it")
