"""What a row must satisfy to enter the lake: one set of rules, asked of a row or of a frame.

`problem` answers for one record that msgspec has already decoded, on the way in over HTTP.
`split` answers for a whole frame at once, on the way in from a file. A property test holds them
to the same verdict.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from math import isfinite

import msgspec
import polars as pl

from matinee.lake.cards import holding, holds_card
from matinee.lake.records import Event, Picture
from matinee.lake.schemas import TIME, Schema

CLOCK_SKEW = timedelta(minutes=5)
"""How far ahead of our clock a device's clock may be."""

VALUE_RANGE: dict[str, tuple[float, float]] = {
    "play": (0.0, 100_000.0),
    "complete": (0.0, 1.0),
    "rating": (0.5, 5.0),
    "thumb": (-1.0, 2.0),
}
"""The range of `Event.value` by kind, in the units of `records.VALUE_UNITS`."""

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)

CARD = "seems to hold the number of a card: send a token or an id of your own instead"
"""What is said of a column that holds one; never the number."""


def problem(record: msgspec.Struct, schema: Schema, now: datetime) -> str | None:
    """Why a decoded record may not enter, or `None`.

    >>> from matinee.lake.schemas import SCHEMAS
    >>> late = Event(event_id="e", member_id="m", kind="play", title_id="t",
    ...              ts=datetime(2031, 1, 1, tzinfo=UTC))
    >>> problem(late, SCHEMAS["events"], datetime(2026, 1, 1, tzinfo=UTC))
    'ts is in the future'
    """
    found = (
        _text_problem(record, schema)
        or _time_problem(record, schema, now)
        or _float_problem(record, schema)
    )
    if isinstance(record, Picture):
        found = found or _picture_problem(record.features, record.files)
    return found or (_event_problem(record) if isinstance(record, Event) else None)


def _text_problem(record: msgspec.Struct, schema: Schema) -> str | None:
    for name in schema.searched:
        value = getattr(record, name)
        if value is not None and holds_card(value):
            return f"{name} {CARD}"
    for name, pattern in schema.patterns.items():
        if _ends_otherwise(getattr(record, name), pattern):
            return f"{name} ends in a line break"
    return None


def _time_problem(record: msgspec.Struct, schema: Schema, now: datetime) -> str | None:
    if schema.time is not None:
        at: datetime = getattr(record, schema.time)
        if at < EARLIEST:
            return f"{schema.time} is before 1970"
        if at > now + CLOCK_SKEW:
            return f"{schema.time} is in the future"
    return None


def _float_problem(record: msgspec.Struct, schema: Schema) -> str | None:
    for name in schema.floats:
        value: float | None = getattr(record, name)
        if value is not None and not isfinite(value):
            return f"{name} is not finite"
    return None


def _ends_otherwise(value: str | list[str] | None, pattern: re.Pattern[str]) -> bool:
    """Whether a text that matched has a line break more at its end: Python's `$` lets it pass."""
    if isinstance(value, list):
        return any(_ends_otherwise(one, pattern) for one in value)
    return value is not None and value.endswith("\n") and not pattern.fullmatch(value)


def _picture_problem(features: object, files: object) -> str | None:
    """Why what a picture shows, or its files, cannot be as they are said."""
    if not isinstance(features, dict) or not all(map(_is_share, features.values())):
        return "features are not numbers from 0 to 1 by name"
    if not isinstance(files, dict) or not all(isinstance(name, str) for name in files.values()):
        return "files are not names by ratio"
    return None


def _is_share(value: object) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and 0 <= value <= 1  # type: ignore[operator] # it is a number


def _picture_reasons(cast: pl.DataFrame) -> pl.Series:
    """The same of each row of a frame, whose nested values are JSON text."""
    found = []
    for row in cast.select("features", "files").iter_rows():
        try:
            features, files = (msgspec.json.decode(text) if text else {} for text in row)
            found.append(_picture_problem(features, files))
        except msgspec.DecodeError:
            found.append("features or files are not JSON")
    return pl.Series("picture", found, dtype=pl.String)


def _event_problem(event: Event) -> str | None:
    if event.title_id is None and event.decision_id is None and event.kind != "search":
        return "title_id is missing"
    if event.value is None or event.kind not in VALUE_RANGE:
        return None
    low, high = VALUE_RANGE[event.kind]
    return None if low <= event.value <= high else "value is out of range for its kind"


def split(
    frame: pl.DataFrame, schema: Schema, now: datetime, first_row: int = 0
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Divide a frame into good rows, in the schema's types, and bad ones with a `reason`.

    `frame` may lack optional columns and may carry `known_at`. Bad rows come back as they were
    given, with their number in the source (`source_row`, from 1 after `first_row` rows). Raises
    `ValueError` for columns that the schema does not have.
    """
    unknown = set(frame.columns) - set(schema.columns) - {"known_at"}
    if unknown:
        raise ValueError(f"{schema.name} has no column {sorted(unknown)[0]!r}")
    wanted = {**schema.columns, **({"known_at": TIME} if "known_at" in frame.columns else {})}
    cast = frame.select(
        _as_type(frame[name], dtype) if name in frame.columns else pl.lit(None, dtype).alias(name)
        for name, dtype in wanted.items()
    )
    nested = [_picture_reasons(cast)] if schema.record is Picture else []
    reason = pl.coalesce(
        *_card_reasons(cast, schema),
        *_type_reasons(frame, cast),
        *_column_reasons(schema),
        *_row_reasons(schema, now, cast),
        *map(pl.lit, nested),
    )
    reasons = cast.lazy().with_columns(_type_columns(frame, cast)).select(reason=reason).collect()
    good = reasons["reason"].is_null()
    numbered = frame.with_row_index("source_row", offset=first_row + 1)
    bad = numbered.with_columns(reasons["reason"]).filter(~good)
    return _with_defaults(cast.filter(good), schema), bad


def _card_reasons(cast: pl.DataFrame, schema: Schema) -> list[pl.Expr]:
    found = {name: holding(cast[name], nested=name in schema.nested) for name in schema.searched}
    return [_when(pl.lit(held), f"{name} {CARD}") for name, held in found.items() if held.any()]


def _as_type(column: pl.Series, dtype: pl.DataType | type[pl.DataType]) -> pl.Series:
    """The column as `dtype`, null where a cell does not fit; times may stand in RFC 3339 text."""
    if dtype == TIME and column.dtype == pl.String:
        return column.str.to_datetime("%+", strict=False, time_unit="us", time_zone="UTC")
    if dtype == TIME and not column.dtype.is_temporal():  # nobody said which unit, since when
        return column.clear(column.len()).cast(dtype, strict=False)
    if dtype == pl.Boolean:
        return flags(column)
    if dtype == pl.Int64 and column.dtype.is_float():
        column = column.set(column != column.round(), None)
    return column.cast(dtype, strict=False)


def flags(column: pl.Series) -> pl.Series:
    """A column of true and false, which may stand as text or as 1 and 0; null for anything else.

    >>> flags(pl.Series(["TRUE", "0", "yes"])).to_list()
    [True, False, None]
    """
    if column.dtype == pl.Boolean:
        return column
    words = {"true": True, "1": True, "false": False, "0": False}
    text = column.cast(pl.String, strict=False).str.to_lowercase()
    return text.replace_strict(words, default=None, return_dtype=pl.Boolean)


def _when(wrong: pl.Expr, reason: str) -> pl.Expr:
    return pl.when(wrong).then(pl.lit(reason))


def _uncast(frame: pl.DataFrame, cast: pl.DataFrame) -> list[str]:
    return [name for name in frame.columns if frame.schema[name] != cast.schema[name]]


def _type_columns(frame: pl.DataFrame, cast: pl.DataFrame) -> list[pl.Series]:
    """One boolean column for each cast column: a value was there and the cast lost it."""
    return [
        (frame[name].is_not_null() & cast[name].is_null()).alias(f"wrong:{name}")
        for name in _uncast(frame, cast)
    ]


def _type_reasons(frame: pl.DataFrame, cast: pl.DataFrame) -> list[pl.Expr]:
    return [
        _when(pl.col(f"wrong:{name}"), f"{name} has the wrong type")
        for name in _uncast(frame, cast)
    ]


def _column_reasons(schema: Schema) -> list[pl.Expr]:
    required = [name for name in schema.columns if name in schema.required]
    reasons = [_when(pl.col(name).is_null(), f"{name} is missing") for name in required]
    for name, words in schema.choices.items():
        known = pl.col(name).is_in(list(words))
        reasons.append(_when(~known, f"{name} is not one of {', '.join(words)}"))
    for name, metas in schema.constraints.items():
        for meta in metas:
            reasons.extend(_meta_reasons(name, schema.columns[name], meta))
    return reasons


def _meta_reasons(
    name: str, dtype: pl.DataType | type[pl.DataType], meta: msgspec.Meta
) -> list[pl.Expr]:
    column = pl.col(name)
    if isinstance(dtype, pl.List):
        found = _wrong(pl.element(), name, meta)
        return [_when(column.list.eval(wrong).list.any(), told) for wrong, told in found]
    return [_when(wrong, told) for wrong, told in _wrong(column, name, meta)]


def _wrong(value: pl.Expr, name: str, meta: msgspec.Meta) -> list[tuple[pl.Expr, str]]:
    """What a value, or an entry of a list, must not be; and what is said where it is."""
    found = []
    if meta.min_length is not None:
        found.append((value.str.len_chars() < meta.min_length, f"{name} is empty"))
    if meta.max_length is not None:
        too_long = f"{name} is longer than {meta.max_length} characters"
        found.append((value.str.len_chars() > meta.max_length, too_long))
    if meta.pattern is not None:
        looks = "looks like an e-mail address; send a pseudonymous id"
        told = looks if name == "member_id" else f"does not match {meta.pattern}"
        found.append((~value.str.contains(meta.pattern), f"{name} {told}"))
    bounds = [
        value < meta.ge if meta.ge is not None else None,
        value > meta.le if meta.le is not None else None,
        value <= meta.gt if meta.gt is not None else None,
    ]
    outside = [bound for bound in bounds if bound is not None]
    if outside:
        found.append((pl.any_horizontal(outside), f"{name} is out of range"))
    return found


def _row_reasons(schema: Schema, now: datetime, cast: pl.DataFrame) -> list[pl.Expr]:
    reasons = [_when(~pl.col(name).is_finite(), f"{name} is not finite") for name in schema.floats]
    for name, dtype in schema.columns.items():
        if isinstance(dtype, pl.List):
            gap = pl.col(name).list.eval(pl.element().is_null()).list.any()
            reasons.append(_when(gap, f"{name} has an empty entry"))
    if schema.time is not None:
        at = pl.col(schema.time)
        reasons.append(_when(at < EARLIEST, f"{schema.time} is before 1970"))
        reasons.append(_when(at > now + CLOCK_SKEW, f"{schema.time} is in the future"))
        if "known_at" in cast.columns:
            reasons.append(_when(pl.col("known_at") < at, "known_at is before it happened"))
    if "known_at" in cast.columns:
        known_at = pl.col("known_at")
        reasons.append(_when(known_at.is_null(), "known_at is missing"))
        reasons.append(_when(known_at > now + CLOCK_SKEW, "known_at is in the future"))
    if schema.record is Event:
        kind, value = pl.col("kind"), pl.col("value")
        named = pl.any_horizontal(pl.col("title_id", "decision_id").is_not_null())
        untitled = ~named & (kind != "search")
        reasons.append(_when(untitled, "title_id is missing"))
        for word, (low, high) in VALUE_RANGE.items():
            outside = (kind == word) & ~value.is_between(low, high)
            reasons.append(_when(outside, "value is out of range for its kind"))
    return reasons


def _with_defaults(good: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """Fill an absent value with the record's own default."""
    filled = []
    for name, default in schema.defaults.items():
        if default is not None:
            value = msgspec.json.encode(default).decode() if name in schema.nested else default
            filled.append(pl.col(name).fill_null(pl.lit(value, schema.columns[name])))
    return good.with_columns(filled)
