"""Cells of a file as cells of a table."""

from __future__ import annotations

from typing import Literal, NamedTuple

import polars as pl

from matinee.lake.schemas import TIME
from matinee.lake.validate import flags

TimeFormat = Literal["iso", "s", "ms", "us"]
MICROSECONDS: dict[str, int] = {"s": 1_000_000, "ms": 1_000, "us": 1}


class Cells(NamedTuple):
    """One column, read.

    `values` has the table's type, null where a cell does not fit. `given` is the same column for
    the lake: `values` where every cell fits, else text in which the misfits stand as they came.
    """

    values: pl.Series
    given: pl.Series


def read_cells(
    raw: pl.Series,
    dtype: pl.DataType | type[pl.DataType],
    time_format: TimeFormat = "iso",
    separator: str = "|",
) -> Cells:
    """Read a column of text, numbers or times as `dtype`.

    Numbers, times, true and false may stand as text; an empty text is none of them, and becomes
    null. A whole number may be written 1995.0. Times without an offset are UTC. Texts are split
    into lists at `separator`.

    >>> read_cells(pl.Series(["1995", "1995.0", "x"]), pl.Int64).values.to_list()
    [1995, 1995, None]
    >>> read_cells(pl.Series(["1995", "1995.0", "x"]), pl.Int64).given.to_list()
    ['1995', '1995', 'x']
    """
    if dtype == pl.String:
        text = raw.cast(pl.String)
        return Cells(text, text)
    if isinstance(dtype, pl.List):
        values = _lists(raw, separator)
        return Cells(values, values)
    if raw.dtype == pl.String:
        raw = raw.str.strip_chars().replace("", None)
    values = _values(raw, dtype, time_format)
    fits = not (raw.is_not_null() & values.is_null()).any()
    return Cells(values, values if fits else as_text(values).fill_null(raw.cast(pl.String)))


def _values(
    raw: pl.Series, dtype: pl.DataType | type[pl.DataType], time_format: TimeFormat
) -> pl.Series:
    if dtype == TIME:
        return _times(raw, time_format)
    return flags(raw) if dtype == pl.Boolean else _numbers(raw, dtype)


def as_text(values: pl.Series) -> pl.Series:
    """Values as the lake reads them from text: times in RFC 3339."""
    if values.dtype == TIME:
        return values.dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
    return values.cast(pl.String)


def _numbers(raw: pl.Series, dtype: pl.DataType | type[pl.DataType]) -> pl.Series:
    if raw.dtype == pl.Boolean:
        return pl.Series(raw.name, [None] * len(raw), dtype)
    if dtype != pl.Int64 or raw.dtype.is_integer():
        return raw.cast(dtype, strict=False)
    floats = raw.cast(pl.Float64, strict=False)
    return floats.set(floats != floats.floor(), None).cast(pl.Int64, strict=False)


def _times(raw: pl.Series, time_format: TimeFormat) -> pl.Series:
    if isinstance(raw.dtype, pl.Datetime):
        utc = raw.dt.convert_time_zone("UTC") if raw.dtype.time_zone else raw
        return utc.dt.replace_time_zone("UTC").cast(TIME)
    if raw.dtype == pl.Date:
        return raw.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    if time_format == "iso":
        return _iso_times(raw.cast(pl.String))
    number = raw if raw.dtype.is_integer() else raw.cast(pl.Float64, strict=False)
    return (number * MICROSECONDS[time_format]).cast(pl.Int64, strict=False).cast(TIME)


def _iso_times(text: pl.Series) -> pl.Series:
    """RFC 3339, with a blank for the T, without seconds, without an offset, or a bare date."""
    full = (
        text.str.replace(r"^(\d{4}-\d{2}-\d{2})$", "${1}T00:00")
        .str.replace(r"^(\d{4}-\d{2}-\d{2}) ", "${1}T")
        .str.replace(r"^([^T]+T\d{2}:\d{2})(Z|[+-].*)?$", "${1}:00${2}")
        .str.replace(r"(T[\d:.]+)$", "${1}Z")
        .str.replace(r"([+-]\d{2})(\d{2})$", "${1}:${2}")
    )
    return full.str.to_datetime("%+", strict=False, time_unit="us", time_zone="UTC")


def _lists(raw: pl.Series, separator: str) -> pl.Series:
    if isinstance(raw.dtype, pl.List):
        return raw.cast(pl.List(pl.String))
    parts = raw.cast(pl.String).str.split(separator)
    return parts.list.eval(pl.element().str.strip_chars().filter(pl.element().str.len_chars() > 0))
