"""Rows for the tests of the lake."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import polars as pl

from matinee.lake.records import Event

DAY = datetime(2026, 1, 1, tzinfo=UTC)


def play(number: int, member: str = "m1", *, value: float | None = None) -> Event:
    """Event `number` of a member, `number` seconds into the day."""
    return Event(
        event_id=f"e{number}",
        member_id=member,
        kind="play",
        ts=DAY + timedelta(seconds=number),
        title_id=f"t{number % 7}",
        value=value,
    )


def frame(events: Iterable[Event]) -> pl.DataFrame:
    """The same events as an importer would bring them."""
    rows = [(e.event_id, e.member_id, e.kind, e.ts, e.title_id, e.value) for e in events]
    names = ["event_id", "member_id", "kind", "ts", "title_id", "value"]
    types = [pl.String, pl.String, pl.String, pl.Datetime("us", "UTC"), pl.String, pl.Float64]
    return pl.DataFrame(rows, schema=dict(zip(names, types, strict=True)), orient="row")


def ids(rows: pl.LazyFrame | pl.DataFrame) -> list[str]:
    """The (member, event) ids of rows, in order of text."""
    names = rows.lazy().select(pl.concat_str("member_id", "event_id", separator="/")).collect()
    return sorted(names.to_series())
