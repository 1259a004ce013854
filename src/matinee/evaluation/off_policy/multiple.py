"""Means that ought to be 1, and many such tests at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from matinee.evaluation.off_policy.columns import ROUNDING

ENOUGH = 100.0
"""Effective rows below which a normal tail at 1 % of many tests is not to be believed."""


def enough(total: ArrayLike, squares: ArrayLike) -> NDArray[np.bool_]:
    """Whether rows with these sums of weights and of squares are worth enough, as Kish counts.

    >>> enough([100.0, 99.0], [100.0, 99.0])
    array([ True, False])
    """
    sums = np.asarray(total, np.float64)
    with np.errstate(over="ignore"):
        held: NDArray[np.bool_] = sums**2 >= ENOUGH * np.asarray(squares, np.float64)
    return held & (sums > 0)


def from_one(mean: float, error: float) -> float:
    """The distance of a mean from 1 in standard errors; infinite where there can be none.

    >>> from_one(1.5, 0.25), from_one(0.5, 0.0)
    (2.0, -inf)
    """
    apart = mean - 1.0
    if abs(apart) < ROUNDING:
        return 0.0
    return apart / error if error > 0 else float(np.copysign(np.inf, apart))


def two_sided(z: ArrayLike) -> NDArray[np.float64]:
    """The chance that a standard normal lies farther from 0 than z.

    >>> round(float(two_sided(1.96)), 3)
    0.05
    """
    chance: NDArray[np.float64] = 2.0 * ndtr(-np.abs(np.asarray(z, np.float64)))
    return chance


def holm(chances: ArrayLike, level: float) -> NDArray[np.bool_]:
    """Which of m tests [m] with these p-values are rejected, any falsely with chance <= `level`.

    The k-th smallest, k from 0, is rejected while it and all smaller ones are at most
    level / (m - k). Holds however the tests hang together.

    Holm, S. (1979). A simple sequentially rejective multiple test procedure. Scandinavian Journal
    of Statistics 6, 65-70.

    >>> holm([0.02, 0.001, 0.2], level=0.05)
    array([ True,  True, False])
    """
    values = np.asarray(chances, np.float64)
    order = np.argsort(values, kind="stable")
    small = values[order] <= level / np.arange(len(values), 0, -1)
    rejected = np.zeros(len(values), np.bool_)
    rejected[order] = np.logical_and.accumulate(small)
    return rejected
