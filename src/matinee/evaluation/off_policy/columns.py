"""Columns of logged decisions: their types, and what refuses those that would mislead."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

SLACK = 1e-9
"""How far rounding may carry a sum of probabilities above 1."""


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


def clusters(values: ArrayLike | None, size: int) -> Integers:
    """Whose each of `size` rows is, int64 [N]; by default each is its own."""
    if values is None:
        return np.arange(size)
    given = np.asarray(values, np.int64)
    require_shape("cluster", given, (size,))
    return given


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
    """Raise `ValueError` unless a column has the shape that the rewards ask for."""
    if column.shape != shape:
        raise ValueError(f"{name} has shape {column.shape}; give {shape}, as the rewards have it")


def require_finite(name: str, column: Floats) -> None:
    """Raise `ValueError` for the first cell that is NaN or infinite."""
    require(np.isfinite(column), name, column, "finite")


def require_probability(name: str, column: Floats) -> None:
    """Raise `ValueError` for the first cell that is not in [0, 1], but for rounding."""
    require((column >= 0) & (column <= 1 + SLACK), name, column, "in [0, 1]")


def require_chance(name: str, column: Floats) -> None:
    """Raise `ValueError` for the first cell that is not in (0, 1]: what was drawn had a chance."""
    require(column > 0, name, column, "above 0")
    require(column <= 1, name, column, "at most 1")
