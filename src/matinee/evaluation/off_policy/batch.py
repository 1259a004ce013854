"""Logged decisions as an estimator of one action sees them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


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
        rewards = np.asarray(reward, np.float64)
        size = len(rewards)
        batch = cls(
            rewards,
            np.asarray(propensity, np.float64),
            np.asarray(target, np.float64),
            _column(predicted, size),
            _column(expected, size),
            _column(outside, size),
            np.arange(size) if cluster is None else np.asarray(cluster, np.int64),
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

        `action` [N] holds indices of logged actions; `q` is an outcome model's prediction of the
        reward of every action.

        >>> pi, q = [[0.25, 0.75]], [[2.0, 4.0]]
        >>> Batch.of_distributions([3.0], [1], [0.5], pi, q=q).expected
        array([3.5])
        """
        rows = np.asarray(action, np.int64)[:, None]
        pi = np.asarray(target, np.float64)
        chosen = np.take_along_axis(pi, rows, axis=1)[:, 0]
        if q is None:
            return cls.of(reward, propensity, chosen, cluster=cluster)
        outcome = np.asarray(q, np.float64)
        return cls.of(
            reward,
            propensity,
            chosen,
            predicted=np.take_along_axis(outcome, rows, axis=1)[:, 0],
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
        for name in self.__dataclass_fields__:
            column = getattr(self, name)
            if column.shape != self.reward.shape or column.ndim != 1:
                raise ValueError(
                    f"{name} has shape {column.shape}; give one number for each of the "
                    f"{len(self)} rewards"
                )
            require(np.isfinite(column), name, column, "finite")
        require(self.propensity > 0, "propensity", self.propensity, "above 0")
        require(self.propensity <= 1, "propensity", self.propensity, "at most 1")
        for name in ("target", "outside"):
            column = getattr(self, name)
            require((column >= 0) & (column <= 1 + SLACK), name, column, "in [0, 1]")
        with np.errstate(over="ignore"):
            require(np.isfinite(self.weight), "propensity", self.propensity, "no smaller than that")


SLACK = 1e-9
"""How far rounding may carry a sum of probabilities above 1."""


def require(holds: NDArray[np.bool_], name: str, column: NDArray[Any], what: str) -> None:
    """Raise `ValueError` for the first row where something does not hold."""
    if not holds.all():
        row = int(np.argmin(holds))
        raise ValueError(f"{name} must be {what}; row {row} has {column.reshape(-1)[row]}")


def _column(values: ArrayLike | None, size: int) -> Floats:
    return np.broadcast_to(0.0, (size,)) if values is None else np.asarray(values, np.float64)
