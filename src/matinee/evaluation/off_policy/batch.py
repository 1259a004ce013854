"""Logged decisions as an estimator of one action sees them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from matinee.evaluation.off_policy.columns import (
    Floats,
    Integers,
    actions_of,
    clusters,
    distributions,
    filled,
    one_each,
    picked,
    require,
    require_chance,
    require_finite,
    require_probability,
)


@dataclass(frozen=True, slots=True)
class Batch:
    r"""N logged decisions with a reward each, and what a candidate policy would have done there.

    With x the context, a the logged action, pi_0 the policy that logged and pi the candidate:

    reward : float64 [N], finite.
    propensity : float64 [N], pi_0(a|x) in (0, 1].
    target : float64 [N], pi(a|x) in [0, 1].
    predicted, expected : float64 [N], an outcome model's q(x, a) and its mean under the candidate,
        sum_a pi(a|x) q(x, a). Both 0 where there is no outcome model.
    outside : float64 [N], the candidate's mass where the log has none: the sum of pi(a|x) over
        the actions with pi_0(a|x) = 0.
    cluster : int64 [N], whose decision it was. Decisions of one cluster hang together, and all of
        a cluster that is to count as one stands in one batch. By default each is its own.

    Raises `ValueError`, naming the field and the first bad row, where a column is not of these
    ranges or has another length.

    >>> batch = Batch.of([1.0, 0.0], [0.5, 0.25], [0.25, 0.5])
    >>> batch.weight
    array([0.5, 2. ])
    """

    reward: Floats
    propensity: Floats
    target: Floats
    predicted: Floats
    expected: Floats
    outside: Floats
    cluster: Integers

    @classmethod
    def of(
        cls,
        reward: ArrayLike,
        propensity: ArrayLike,
        target: ArrayLike,
        *,
        predicted: ArrayLike | None = None,
        expected: ArrayLike | None = None,
        outside: ArrayLike | None = None,
        cluster: ArrayLike | None = None,
    ) -> Self:
        """A checked batch from columns [N]."""
        rewards = one_each(reward)
        batch = cls(
            rewards,
            filled("propensity", propensity, rewards.shape),
            filled("target", target, rewards.shape),
            filled("predicted", predicted, rewards.shape),
            filled("expected", expected, rewards.shape),
            filled("outside", outside, rewards.shape),
            clusters(cluster, len(rewards)),
        )
        batch._check()
        return batch

    @classmethod
    def of_distributions(
        cls,
        reward: ArrayLike,
        action: ArrayLike,
        propensity: ArrayLike,
        target: ArrayLike,
        *,
        q: ArrayLike | None = None,
        cluster: ArrayLike | None = None,
    ) -> Self:
        """A batch from the candidate's whole distributions `target` [N, A] and `q` [N, A].

        `action` [N] holds indices of logged actions, in 0..A-1; each row of `target` sums to 1;
        `q` is an outcome model's prediction of the reward of every action.

        >>> pi, q = [[0.25, 0.75]], [[2.0, 4.0]]
        >>> Batch.of_distributions([3.0], [1], [0.5], pi, q=q).expected
        array([3.5])
        """
        rewards = one_each(reward)
        pi = distributions("target", target, len(rewards))
        logged = actions_of(action, pi)
        chosen = picked(pi, logged)
        if q is None:
            return cls.of(rewards, propensity, chosen, cluster=cluster)
        outcome = filled("q", q, pi.shape)
        return cls.of(
            rewards,
            propensity,
            chosen,
            predicted=picked(outcome, logged),
            expected=np.einsum("na,na->n", pi, outcome),
            cluster=cluster,
        )

    def __len__(self) -> int:
        return len(self.reward)

    @property
    def weight(self) -> Floats:
        """The importance weight [N], pi(a|x) / pi_0(a|x)."""
        return self.target / self.propensity

    def rows(self, which: Any) -> Self:
        """The decisions at `which`: a slice, indices or a mask [N]."""
        return type(self)(*(getattr(self, name)[which] for name in self.__dataclass_fields__))

    def _check(self) -> None:
        for name in ("reward", "propensity", "target", "predicted", "expected", "outside"):
            require_finite(name, getattr(self, name))
        require_chance("propensity", self.propensity)
        require_probability("target", self.target)
        require_probability("outside", self.outside)
        with np.errstate(over="ignore"):
            finite = np.isfinite(self.weight)
        enough = "large enough that target / propensity is finite"
        require(finite, "propensity", self.propensity, enough)
