"""Logged slates as an estimator sees them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from matinee.evaluation.off_policy.columns import (
    Booleans,
    Floats,
    Integers,
    clusters,
    filled,
    require,
    require_chance,
    require_finite,
    require_probability,
    require_shape,
)


@dataclass(frozen=True, slots=True)
class Slates:
    r"""N logged slates of K slots, and what a candidate policy would have done with each slot.

    With x the context, a_k the title in slot k, a_{<k} the titles above it, pi_0 the policy that
    logged and pi the candidate:

    reward : float64 [N, K], what each slot earned, finite.
    propensity : float64 [N, K], pi_0(a_k | x, a_{<k}) in (0, 1]: conditional.
    target : float64 [N, K], pi(a_k | x, a_{<k}) in [0, 1], given the same logged titles above.
    shown : bool [N, K], false where a slate is shorter than K. There every other column is put to
        what changes nothing: rewards and predictions 0, probabilities 1, errors 0.
    predicted, expected : float64 [N, K], an outcome model's q_k(x, a_{1:k}) and its mean under the
        candidate's conditional choice, sum_a pi(a | x, a_{<k}) q_k(x, a_{<k}, a). Both 0 where
        there is no model. Which q is meant stands in ``CascadeDR``.
    marginal, marginal_target : float64 [N, K] or None, the chance of a_k in slot k whatever stands
        above it: under pi_0 in (0, 1], under pi in [0, 1]. Both or neither. They are not the
        conditional ones, unless slots are chosen independently of one another.
    marginal_error, marginal_target_error : float64 [N, K], their standard errors where they were
        simulated (``simulated_marginals``), each slate apart; 0 where they are exact.
    cluster : int64 [N], whose slate it was, as in ``Batch``.

    Raises `ValueError`, naming the field, slate and slot, where a column is not of these ranges or
    has another shape, and where a product of ratios leaves the range of floating point.

    >>> slates = Slates.of([[1.0, 0.0]], [[0.5, 0.5]], [[0.75, 0.25]])
    >>> slates.ratio, slates.weight
    (array([[1.5, 0.5]]), array([[1.5 , 0.75]]))
    """

    reward: Floats
    propensity: Floats
    target: Floats
    shown: Booleans
    predicted: Floats
    expected: Floats
    marginal: Floats | None
    marginal_target: Floats | None
    marginal_error: Floats
    marginal_target_error: Floats
    cluster: Integers

    @classmethod
    def of(
        cls,
        reward: ArrayLike,
        propensity: ArrayLike,
        target: ArrayLike,
        *,
        shown: ArrayLike | None = None,
        predicted: ArrayLike | None = None,
        expected: ArrayLike | None = None,
        marginal: ArrayLike | None = None,
        marginal_target: ArrayLike | None = None,
        marginal_error: ArrayLike | None = None,
        marginal_target_error: ArrayLike | None = None,
        cluster: ArrayLike | None = None,
    ) -> Self:
        """Checked slates from columns [N, K], with `cluster` [N]; by default all is shown."""
        rewards = np.asarray(reward, np.float64)
        if rewards.ndim != 2:
            raise ValueError(
                f"reward has shape {rewards.shape}; give a row for each slate, a column for "
                "each slot"
            )
        if (marginal is None) != (marginal_target is None):
            raise ValueError("give marginal and marginal_target together, or neither")
        seen = np.ones(rewards.shape, bool) if shown is None else np.asarray(shown, bool)
        require_shape("shown", seen, rewards.shape)

        def table(name: str, values: ArrayLike | None, hidden: float = 0.0) -> Floats:
            return filled(name, values, rewards.shape, neutral=hidden, where=seen)

        exists = marginal is not None
        slates = cls(
            table("reward", rewards),
            table("propensity", propensity, 1.0),
            table("target", target, 1.0),
            seen,
            table("predicted", predicted),
            table("expected", expected),
            table("marginal", marginal, 1.0) if exists else None,
            table("marginal_target", marginal_target, 1.0) if exists else None,
            table("marginal_error", marginal_error),
            table("marginal_target_error", marginal_target_error),
            clusters(cluster, len(rewards)),
        )
        slates._check()
        return slates

    def __len__(self) -> int:
        return len(self.reward)

    @property
    def slots(self) -> int:
        """K."""
        return int(self.reward.shape[1])

    @property
    def total(self) -> Floats:
        """What each slate earned [N], the sum over its slots."""
        total: Floats = self.reward.sum(axis=1)
        return total

    @property
    def ratio(self) -> Floats:
        """Conditional ratios [N, K], pi(a_k | x, a_{<k}) / pi_0(a_k | x, a_{<k})."""
        return self.target / self.propensity

    @property
    def weight(self) -> Floats:
        """w_{1:k} [N, K], the product of the conditional ratios up to and with slot k."""
        return np.multiply.accumulate(self.ratio, axis=1, dtype=np.float64)

    @property
    def marginal_ratio(self) -> Floats:
        r"""Marginal ratios [N, K], pi(a_k in slot k | x) / pi_0(a_k in slot k | x).

        Dividing by a simulated m with standard error s gives too much: E[1/m] is about
        1/mu (1 + s^2/mu^2). Hence the ratio is m_target / m / (1 + s^2/m^2), which takes that away
        to second order and lies in [0, m_target / m]. Where s is 0 it is the plain ratio.
        The noise of the simulation needs no term of its own in an estimator's error: simulated
        for each slate apart, it is part of how much slates differ, and so is in the error already.

        Raises `ValueError` where there are no marginal propensities.
        """
        marginal, target = self._marginals()
        return target / marginal / (1 + (self.marginal_error / marginal) ** 2)

    @property
    def marginal_ratio_error(self) -> Floats:
        """The simulation's standard error of each marginal ratio [N, K], to first order.

        Far below the ratio it can be trusted; near it or above, simulate more draws.
        """
        marginal, _ = self._marginals()
        of_logging = self.marginal_ratio * self.marginal_error
        return np.sqrt(self.marginal_target_error**2 + of_logging**2) / marginal

    def rows(self, which: Any) -> Self:
        """The slates at `which`: a slice, indices or a mask [N]."""
        columns = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return replace(
            self,
            **{name: column[which] for name, column in columns.items() if column is not None},
        )

    def require_slots(self, slots: int) -> None:
        """Raise `ValueError` unless there are `slots` slots."""
        if self.slots != slots:
            raise ValueError(
                f"the estimator is of {slots} slots and these slates have {self.slots}; give it "
                f"slots={self.slots}, or fill up shorter slates with shown=False"
            )

    def _marginals(self) -> tuple[Floats, Floats]:
        if self.marginal is None or self.marginal_target is None:
            raise ValueError(
                "this estimator needs the marginal propensity of each title in its slot, and the "
                "slates have only conditional ones, which cannot stand in for them; compute both "
                "policies' with simulated_marginals and give them as marginal and marginal_target"
            )
        return self.marginal, self.marginal_target

    def _check(self) -> None:
        for name in ("reward", "predicted", "expected"):
            require_finite(name, getattr(self, name))
        require_chance("propensity", self.propensity)
        require_probability("target", self.target)
        for name in ("marginal_error", "marginal_target_error"):
            error = getattr(self, name)
            require((error >= 0) & (error < np.inf), name, error, "finite and at least 0")
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            finite = np.isfinite(self.weight)
        enough = "large enough that the products of target / propensity are finite"
        require(finite, "propensity", self.propensity, enough)
        if self.marginal is not None and self.marginal_target is not None:
            self._check_marginals(self.marginal, self.marginal_target)

    def _check_marginals(self, marginal: Floats, target: Floats) -> None:
        require_chance("marginal", marginal, " (if simulated, give more draws)")
        require_probability("marginal_target", target)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            finite = np.isfinite(self.marginal_ratio)
        enough = "large enough that marginal_target / marginal is finite"
        require(finite, "marginal", marginal, enough)
