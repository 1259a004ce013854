"""What each table of the lake holds: columns, units and keys, derived from the record types."""

from __future__ import annotations

import re
import types
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from math import inf
from typing import Any, Literal, Union, get_args, get_origin

import msgspec
import polars as pl
from msgspec import Meta
from msgspec.inspect import type_info

from matinee.lake import billing, records
from matinee.lake.cards import FEWEST

TIME = pl.Datetime("us", "UTC")
_PLAIN: dict[Any, pl.DataType | type[pl.DataType]] = {
    str: pl.String,
    int: pl.Int64,
    float: pl.Float64,
    bool: pl.Boolean,
    datetime: TIME,
    list[str]: pl.List(pl.String),
    list[int]: pl.List(pl.Int32),
    list[float]: pl.List(pl.Float64),
}


def _bare(annotation: Any) -> Any:
    """The annotation without `Annotated` and without `None`."""
    if hasattr(annotation, "__metadata__"):
        return _bare(annotation.__origin__)
    if get_origin(annotation) in {Union, types.UnionType}:
        (inner,) = (part for part in get_args(annotation) if part is not type(None))
        return _bare(inner)
    if get_origin(annotation) is Literal:
        return str
    if get_origin(annotation) is list:
        return list[_bare(get_args(annotation)[0])]  # type: ignore[misc]
    return annotation


def _meta(annotation: Any) -> list[Meta]:
    if hasattr(annotation, "__metadata__"):
        return [*_meta(annotation.__origin__), *annotation.__metadata__]
    return [meta for part in get_args(annotation) for meta in _meta(part)]


def _words(info: Any) -> list[str]:
    """The words that a column may hold, where it is one of a few."""
    if isinstance(info, msgspec.inspect.Metadata):
        return _words(info.type)
    if isinstance(info, msgspec.inspect.UnionType):
        return [word for part in info.types for word in _words(part)]
    return [str(v) for v in info.values] if isinstance(info, msgspec.inspect.LiteralType) else []


@dataclass(frozen=True)
class Schema:
    """One table.

    `key` names the columns that make a row the same row. A *log* keeps the first row of a key for
    ever; a *versioned* table keeps every change, and its latest known row counts. `member_column`
    is the column that buckets the table, `None` for tables that are small and not about members.
    `cards` names the columns in which the number of a card is looked for (`matinee.lake.cards`);
    "*" is all of them.
    """

    name: str
    record: type[msgspec.Struct]
    key: tuple[str, ...]
    time: str | None = None
    versioned: bool = False
    bucketed: bool = True
    cards: Collection[str] = ()

    @cached_property
    def fields(self) -> dict[str, msgspec.structs.FieldInfo]:
        return {field.name: field for field in msgspec.structs.fields(self.record)}

    @cached_property
    def columns(self) -> dict[str, pl.DataType | type[pl.DataType]]:
        """Polars types of the record's columns; nested values are kept as JSON text."""
        return {
            name: _PLAIN.get(_bare(field.type), pl.String) for name, field in self.fields.items()
        }

    @cached_property
    def nested(self) -> frozenset[str]:
        """Columns whose values are kept as JSON text."""
        return frozenset(
            name
            for name, field in self.fields.items()
            if _bare(field.type) not in _PLAIN and _bare(field.type) is not str
        )

    @cached_property
    def stored(self) -> dict[str, pl.DataType | type[pl.DataType]]:
        """The record's columns and what the lake adds: when it was known, and in which order."""
        return {**self.columns, "known_at": TIME, "seq": pl.Int64()}

    @cached_property
    def floats(self) -> tuple[str, ...]:
        """Columns of single real numbers."""
        return tuple(name for name, dtype in self.columns.items() if dtype == pl.Float64)

    @cached_property
    def required(self) -> frozenset[str]:
        return frozenset(name for name, field in self.fields.items() if field.required)

    @cached_property
    def defaults(self) -> dict[str, Any]:
        """The value of each column where a row names none; `None` for those it must name."""
        return {
            name: field.default_factory()
            if field.default_factory is not msgspec.NODEFAULT
            else (None if field.required else field.default)
            for name, field in self.fields.items()
        }

    @cached_property
    def constraints(self) -> dict[str, list[Meta]]:
        """The `msgspec.Meta` of each column: ranges, lengths, patterns."""
        return {name: _meta(field.type) for name, field in self.fields.items()}

    @cached_property
    def patterns(self) -> dict[str, re.Pattern[str]]:
        """The pattern of each column that has one."""
        return {
            name: re.compile(meta.pattern)
            for name, metas in self.constraints.items()
            for meta in metas
            if meta.pattern
        }

    @cached_property
    def choices(self) -> dict[str, Sequence[str]]:
        """Columns that take one of a few words."""
        found = {name: _words(type_info(field.type)) for name, field in self.fields.items()}
        return {name: words for name, words in found.items() if words}

    @cached_property
    def units(self) -> dict[str, str]:
        """What each column means, in words."""
        described = {
            name: next((meta.description for meta in reversed(metas) if meta.description), "")
            for name, metas in self.constraints.items()
        }
        if self.name == "events":
            kinds = "; ".join(f"{kind}: {unit}" for kind, unit in records.VALUE_UNITS.items())
            described["value"] = f"by kind ({kinds})"
        return {
            **described,
            "known_at": "when Matinee learned of the row",
            "seq": "order of arrival, unique in the lake",
        }

    @cached_property
    def searched(self) -> tuple[str, ...]:
        """The columns of `cards` that have room for the number of a card."""
        return tuple(
            name
            for name, dtype in self.columns.items()
            if not {name, "*"}.isdisjoint(self.cards)
            and dtype in (pl.String, pl.List(pl.String))
            and name not in self.choices
            and self._longest(name) >= FEWEST
        )

    def _longest(self, name: str) -> float:
        """The most characters that a text of this column may have."""
        return min((meta.max_length or inf for meta in self.constraints[name]), default=inf)

    @property
    def order(self) -> list[str]:
        """The order of rows in a sealed file."""
        leading = ["member_id"] if self.bucketed else list(self.key)
        return [*leading, *([self.time] if self.time else ["known_at"]), "seq"]


EVERYWHERE = ("*",)

SCHEMAS: dict[str, Schema] = {
    schema.name: schema
    for schema in (
        Schema("members", records.Member, ("member_id",), versioned=True),
        Schema("titles", records.Title, ("title_id",), versioned=True, bucketed=False),
        Schema(
            "windows",
            records.Window,
            ("title_id", "country", "starts_at"),
            versioned=True,
            bucketed=False,
        ),
        Schema("events", records.Event, ("member_id", "event_id"), time="ts"),
        Schema(
            "decisions",
            records.Decision,
            ("member_id", "decision_id"),
            time="at",
            cards=("request_id", "subject", "context"),
        ),
        Schema("eligible", records.Eligible, ("eligible",), bucketed=False),
        Schema(
            "outcomes",
            records.Outcome,
            ("member_id", "decision_id", "position"),
            time="decided_at",
        ),
        Schema("pictures", records.Picture, ("picture_id",), versioned=True, bucketed=False),
        Schema(
            "invoices",
            billing.Invoice,
            ("member_id", "invoice_id"),
            versioned=True,
            cards=EVERYWHERE,
        ),
        Schema(
            "instruments",
            billing.Instrument,
            ("member_id", "instrument_id"),
            versioned=True,
            cards=EVERYWHERE,
        ),
        Schema(
            "attempts",
            billing.Attempt,
            ("member_id", "attempt_id", "status"),
            time="at",
            cards=EVERYWHERE,
        ),
        Schema(
            "settlements",
            billing.Settlement,
            ("member_id", "settlement_id"),
            time="at",
            cards=EVERYWHERE,
        ),
        Schema(
            "processors",
            billing.Processor,
            ("processor",),
            versioned=True,
            bucketed=False,
            cards=EVERYWHERE,
        ),
        Schema(
            "outages",
            billing.Outage,
            ("processor", "starts_at"),
            versioned=True,
            bucketed=False,
            cards=EVERYWHERE,
        ),
        Schema(
            "rules",
            billing.NetworkRule,
            ("rule_id",),
            versioned=True,
            bucketed=False,
            cards=EVERYWHERE,
        ),
    )
}
"""Every table of the lake, by name."""

TABLE_OF: dict[type[msgspec.Struct], str] = {
    schema.record: name for name, schema in SCHEMAS.items()
}
