"""Columns of logged decisions: their types, and what refuses those that would mislead."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

SLACK = 1e-9
"""How far rounding may carry a probability above 1."""
ROUNDING = 1e-6
"""How far single precision may carry a sum of probabilities, or a mean, from 1."""


def filled(
    name: str,
    values: ArrayLike | None,
    shape: tuple[int, ...],
    *,
    neutral: float = 0.0,
    where: Booleans | None = None,
) -> Floats:
    """A float64 column of `shape`, filled with `neutral` without values and where `where` is false.

    Raises `ValueError` for values of another shape. Without values it is read-only.

    >>> filled("reward", [1.0, float("nan")], (2,), where=np.array([True, False]))
    array([1., 0.])
    """
    if values is None:
        return np.broadcast_to(np.float64(neutral), shape)
    given = np.asarray(values, np.float64)
    require_shape(name, given, shape)
    return given if where is None else np.where(where, given, neutral)


def integers(name: str, values: ArrayLike, shape: tuple[int, ...]) -> Integers:
    """An int64 column of `shape`. Raises `ValueError` for another shape, or what is not whole.

    Floats above 2^53 are refused too: there not every whole number is one.

    >>> integers("action", [1.0, 2.0], (2,))
    array([1, 2])
    """
    given = np.asarray(values)
    require_shape(name, given, shape)
    if given.dtype.kind == "f":
        given = given.astype(np.float64, copy=False)
        whole = (np.abs(given) <= 2**53) & (given == np.rint(given))
        require(whole, name, given, "a whole number (as a float, at most 2^53)")
    elif given.dtype.kind not in "biu":
        raise ValueError(f"{name} must be whole numbers, and is a column of {given.dtype}")
    return given.astype(np.int64, copy=False)


def clusters(values: ArrayLike | None, size: int) -> Integers:
    """Whose each of `size` rows is, int64 [N]; by default each is its own."""
    return np.arange(size) if values is None else integers("cluster", values, (size,))


def one_each(values: ArrayLike) -> Floats:
    """Rewards [N]. Raises `ValueError` where they are of another dimension."""
    rewards = np.asarray(values, np.float64)
    if rewards.ndim != 1:
        raise ValueError(f"reward has shape {rewards.shape}; give one number for each decision")
    return rewards


def distributions(name: str, values: ArrayLike, rows: int, actions: int | None = None) -> Floats:
    """A distribution over actions for each of N rows, float64 [N, A].

    Raises `ValueError` for another shape, and for the first row with a chance below 0 or a sum
    that is not 1.

    >>> distributions("target", [[0.5, 0.5], [0.9, 0.9]], 2)
    Traceback (most recent call last):
    ValueError: the sum of target must be 1; row 1 has 1.8
    """
    given = np.asarray(values, np.float64)
    require_shape(name, given, (rows, *(given.shape[-1:] if actions is None else (actions,))))
    sums: Floats = np.einsum("na->n", given)
    least, most = sums.min(initial=1.0), sums.max(initial=1.0)
    # Of the whole first: a look at every row costs ten times as much.
    if not (given.min(initial=0.0) >= 0 and least >= 1 - ROUNDING and most <= 1 + ROUNDING):
        lowest = given.min(axis=1, initial=0.0)
        require(lowest >= 0, f"the least chance of {name}", lowest, "at least 0")
        require(np.abs(sums - 1) <= ROUNDING, f"the sum of {name}", sums, "1")
    return given


def actions_of(values: ArrayLike, table: Floats) -> Integers:
    """The actions [N] that columns of a table [N, A] are of, in 0..A-1, else `ValueError`."""
    rows, actions = table.shape
    given = integers("action", values, (rows,))
    require((given >= 0) & (given < actions), "action", given, f"in 0..{actions - 1}")
    return given


def picked(table: Floats, column: Integers) -> Floats:
    """The cells [N] of a table [N, A] in the given column of each row.

    >>> picked(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([1, 0]))
    array([2., 3.])
    """
    cell = np.arange(len(table))
    cell *= table.shape[1]
    cell += column
    cells: Floats = table.ravel().take(cell)
    return cells


def require(holds: Booleans, name: str, column: NDArray[Any], what: str) -> None:
    """Raise `ValueError` for the first row [N], or slate and slot [N, K], where `holds` is false.

    >>> reward = np.array([1.0, 7.0])
    >>> require(reward <= 1, "reward", reward, "at most 1")
    Traceback (most recent call last):
    ValueError: reward must be at most 1; row 1 has 7.0
    """
    if not holds.all():
        at = tuple(np.argwhere(~holds)[0].tolist())
        found = f"row {at[0]} has {column[at]}"
        if len(at) == 2:
            found = f"slate {at[0]} has {column[at]} in slot {at[1]}"
        raise ValueError(f"{name} must be {what}; {found}")


def require_shape(name: str, column: NDArray[Any], shape: tuple[int, ...]) -> None:
    """Raise `ValueError` unless a column has the shape that the others ask for."""
    if column.shape != shape:
        raise ValueError(f"{name} has shape {column.shape}; give {shape}, as the others have it")


def require_finite(name: str, column: Floats) -> None:
    """Raise `ValueError` for the first cell that is NaN or infinite."""
    require(np.isfinite(column), name, column, "finite")


def require_probability(name: str, column: Floats) -> None:
    """Raise `ValueError` for the first cell that is not in [0, 1], but for rounding."""
    require((column >= 0) & (column <= 1 + SLACK), name, column, "in [0, 1]")


def require_chance(name: str, column: Floats, hint: str = "") -> None:
    """Raise `ValueError` for the first cell that is not in (0, 1], but for rounding.

    What was drawn had a chance. The `hint` says what may help.
    """
    require((column > 0) & (column <= 1 + SLACK), name, column, "in (0, 1]" + hint)
