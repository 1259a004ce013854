"""What is known of a decision, as columns of numbers and of classes that trees can split."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from matinee.models.base import checked
from matinee.models.data import DAY, Context

Doubles = NDArray[np.float64]

CLASSES = 1_000
"""Classes of a name that are told apart, the most frequent ones."""
LONGEST = 200
"""Characters of a class that are read."""
HOUR = DAY // 24


@dataclass(frozen=True)
class Column:
    """What N decisions have under one name: a number (NaN where none), and a class.

    `codes` [N] are 0 where there is no class, else one more than its place in `classes`.
    """

    numbers: Doubles
    classes: tuple[str, ...]
    codes: NDArray[np.int32]

    def joined(self, other: Column) -> Column:
        """These decisions and the others."""
        classes = tuple(dict.fromkeys((*self.classes, *other.classes)))
        places = {one: place for place, one in enumerate(classes, start=1)}
        moved = np.array([0, *(places[one] for one in other.classes)], np.int32)
        codes = np.concatenate([self.codes, moved[other.codes]])
        return Column(np.concatenate([self.numbers, other.numbers]), classes, codes)

    def take(self, rows: NDArray[np.int64]) -> Column:
        return Column(self.numbers[rows], self.classes, self.codes[rows])

    def common(self) -> tuple[str, ...]:
        """The most frequent classes, equally frequent ones in order of name."""
        counts = np.bincount(self.codes, minlength=len(self.classes) + 1)[1:].tolist()
        found = sorted((-count, one) for count, one in zip(counts, self.classes, strict=True))
        return tuple(one for count, one in found[:CLASSES] if count)


def column_of(context: Context, name: str) -> Column:
    """A number is a number, a text or a truth value a class, all else is missing.

    >>> from matinee.models.data import Histories
    >>> told = ({"plan": "basic"}, {"plan": 3}, {"plan": [1]}, {})
    >>> column_of(Context(Histories.of([[]] * 4), np.zeros(4), (), told), "plan")
    Column(numbers=array([nan,  3., nan, nan]), classes=('basic',),
           codes=array([1, 0, 0, 0], dtype=int32))
    """
    values = _values(context, name)
    texts = [_class(value) for value in values]
    classes = tuple(dict.fromkeys(text for text in texts if text is not None))
    places: dict[str | None, int] = {one: place for place, one in enumerate(classes, start=1)}
    codes = np.fromiter((places.get(text, 0) for text in texts), np.int32, len(texts))
    return Column(np.array([_number(value) for value in values], np.float64), classes, codes)


@dataclass(frozen=True)
class Columns:
    """How decisions become rows for the trees: of each of P names a number and a class.

    `classes` of each name are those met; `fill` [P] is what a number counts as that is missing
    where it never was among the rows learned from, and `missed` [P] says where it was.
    """

    by: tuple[str, ...]
    classes: tuple[tuple[str, ...], ...]
    fill: Doubles
    missed: NDArray[np.bool_]

    @classmethod
    def of(cls, by: Sequence[str], columns: Sequence[Column]) -> Self:
        """Those of the rows to learn from."""
        told = [column.numbers[~np.isnan(column.numbers)] for column in columns]
        fill = [float(np.median(numbers)) if len(numbers) else 0.0 for numbers in told]
        missed = [len(n) < len(column.codes) for n, column in zip(told, columns, strict=True)]
        classes = tuple(column.common() for column in columns)
        return cls(tuple(by), classes, np.array(fill), np.array(missed, bool))

    def encode(self, context: Context) -> Doubles:
        """Rows [N, 2 P]: numbers, then classes: 0 for none, NaN for one that is not known."""
        columns = [_values(context, name) for name in self.by]
        numbers = [[_number(one) for one in column] for column in columns]
        codes = [
            [0 if (text := _class(one)) is None else known.get(text, np.nan) for one in column]
            for known, column in zip(self._known, columns, strict=True)
        ]
        return self._filled(numbers, codes, len(context))

    def rows(self, columns: Sequence[Column], size: int) -> Doubles:
        """The same of columns."""
        codes = [
            np.array([0, *(known.get(one, np.nan) for one in column.classes)])[column.codes]
            for known, column in zip(self._known, columns, strict=True)
        ]
        return self._filled([column.numbers for column in columns], codes, size)

    def _filled(self, numbers: Sequence[Any], codes: Sequence[Any], size: int) -> Doubles:
        """The rows of numbers [P, N] and codes [P, N]."""
        shape = (len(self.by), size)
        told = np.array(numbers, np.float64).reshape(shape)
        lost = np.isnan(told) & ~self.missed[:, None]
        filled = np.where(lost, self.fill[:, None], told)
        return np.concatenate([filled, np.array(codes, np.float64).reshape(shape)]).T

    @cached_property
    def _known(self) -> list[dict[str, int]]:
        return [{one: code for code, one in enumerate(of_one, 1)} for of_one in self.classes]

    def arrays(self) -> dict[str, NDArray[Any]]:
        classes = np.frombuffer(json.dumps(self.classes).encode(), np.uint8)
        return {"classes": classes, "fill": self.fill, "missed": self.missed}

    @classmethod
    def restored(cls, by: Sequence[str], arrays: dict[str, NDArray[Any]]) -> Self:
        """What `arrays` was made of; `ValueError` where it does not fit together."""
        classes = tuple(map(tuple, json.loads(arrays["classes"].tobytes())))
        texts = all(isinstance(one, str) for of_one in classes for one in of_one)
        if len(classes) != len(by) or not texts:
            raise ValueError(f"it has classes of {len(classes)} names, and not of {len(by)}")
        fill = checked(arrays["fill"], (len(by),), np.float64)
        return cls(tuple(by), classes, fill, checked(arrays["missed"], (len(by),), np.bool_))


def _values(context: Context, name: str) -> Sequence[Any]:
    told = context.values(name)
    clock = _CLOCKS.get(name)
    if clock is None or not any(value is None for value in told):
        return told
    times = clock(np.asarray(context.at).astype(np.int64)).tolist()
    return [time if value is None else value for value, time in zip(told, times, strict=True)]


def _day(at: NDArray[np.int64]) -> NDArray[np.int64]:
    dates = (at // DAY).astype("datetime64[D]")
    days: NDArray[np.int64] = (dates - dates.astype("datetime64[M]")).astype(np.int64) + 1
    return days


_CLOCKS = {
    "hour": lambda at: at // HOUR % 24,
    "weekday": lambda at: (at // DAY + 3) % 7,
    "day": _day,
}


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return float("nan")
    try:
        number = float(value)
    except OverflowError:  # a whole number that no float has
        return float("nan")
    return number if isfinite(number) else float("nan")


def _class(value: Any) -> str | None:
    return str(value)[:LONGEST] if isinstance(value, (str, bool)) else None
