"""What an experiment has seen of an arm: how many units, their means and their covariance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from matinee.evaluation.off_policy.columns import Floats
from matinee.evaluation.off_policy.moments import merged

MOST = 2**53
"""More units than float64 counts."""


@dataclass(frozen=True, eq=False)
class Arm:
    r"""Units of one arm with C numbers each: their count, means and centred second moments.

    units : how many, from 0. A unit is what was allocated, a member say, and has one row however
    much it did: so what a member does counts as one, and errors need no clusters.
    means [C] : of the columns; 0 while there are no units.
    spread [C, C] : sum over units of (x - means)(x - means)^T.

    ``+`` merges two without loss (Chan, Golub and LeVeque, 1983, "Algorithms for computing the
    sample variance", The American Statistician 37), in any order and to rounding; so an arm is a
    fold over days, shards or segments, as long as none has a unit twice.

    Raises `ValueError` for counts that are none, and for what is not finite.

    >>> first, second = Arm.of([[1.0], [2.0]]), Arm.of([[6.0]])
    >>> arm = first + second
    >>> arm.units, arm.means, arm.covariance
    (3, array([3.]), array([[7.]]))
    """

    units: int
    means: Floats
    spread: Floats

    def __post_init__(self) -> None:
        columns = len(self.means) if self.means.ndim == 1 else 0
        if not columns or self.spread.shape != (columns, columns):
            shapes = f"{self.means.shape} and {self.spread.shape}"
            raise ValueError(f"give means [C] and their square [C, C], C from 1, not {shapes}")
        if not 0 <= self.units < MOST or self.units % 1:
            raise ValueError(f"units must be a whole number from 0, got {self.units}")
        if not (np.isfinite(self.means).all() and np.isfinite(self.spread).all()):
            raise ValueError("means and squares must be finite; give numbers below 1e150 or so")
        object.__setattr__(self, "units", int(self.units))
        for column in (self.means, self.spread):
            column.flags.writeable = False

    @classmethod
    def of(cls, rows: ArrayLike) -> Self:
        """The arm with these units, one row each, float64 [N, C]; N may be 0.

        Raises `ValueError` for another dimension, and for the first number that is not finite.
        """
        given = np.asarray(rows, np.float64)
        if given.ndim != 2 or not given.shape[1]:
            raise ValueError(f"rows have shape {given.shape}; give [N, C], one row for each unit")
        if not np.isfinite(given).all():
            row, column = np.argwhere(~np.isfinite(given))[0].tolist()
            at = f"row {row} has {given[row, column]} in column {column}"
            raise ValueError(f"rows must be finite; {at}")
        size, columns = given.shape
        if not size:
            return cls(0, np.zeros(columns), np.zeros((columns, columns)))
        with np.errstate(over="ignore", invalid="ignore"):
            # Less the first row, so that what is common to all, however large, costs no digits.
            apart = given - given[0]
            mean = apart.mean(axis=0)
            apart -= mean
            return cls(size, given[0] + mean, apart.T @ apart)

    @classmethod
    def published(cls, units: int, means: ArrayLike, covariance: ArrayLike) -> Self:
        """The arm that was published as a count, means [C] and covariance [C, C] (over N - 1).

        A mean and a variance where there is one column. Raises `ValueError` for a covariance that
        cannot be one.

        >>> Arm.published(1_000, 2.5, 4.0).covariance
        array([[4.]])
        """
        mean = np.atleast_1d(np.array(means, np.float64))
        given = np.atleast_2d(np.array(covariance, np.float64))
        arm = cls(units, mean, given * max(units - 1, 0))
        slack = 1e-9 * np.abs(given).max()
        if np.abs(given - given.T).max() > slack or np.linalg.eigvalsh(given).min() < -slack:
            raise ValueError(f"covariance must be symmetric and none below 0, got {given.tolist()}")
        return arm

    def __add__(self, other: Self) -> Self:
        if len(self.means) != len(other.means):
            columns = f"{len(self.means)} and {len(other.means)}"
            raise ValueError(f"the arms have {columns} columns; merge arms of the same ones")
        ours, theirs = ((one.units, one.means, one.spread) for one in (self, other))
        with np.errstate(over="ignore", invalid="ignore"):
            return type(self)(*merged(ours, theirs))

    @property
    def covariance(self) -> Floats:
        """The covariance [C, C] between units, over N - 1; NaN below two units."""
        if self.units < 2:
            return np.full_like(self.spread, np.nan)
        covariance: Floats = self.spread / (self.units - 1)
        return covariance
