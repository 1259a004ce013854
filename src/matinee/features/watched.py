"""What counts as having watched a title, for every model, mask and test alike."""

from __future__ import annotations

import polars as pl

from matinee.lake.records import Event

POSITIVE = ("play", "complete", "rating")
"""Kinds of event that put a title into a member's history."""


def is_watch(event: Event, min_minutes: float) -> bool:
    """Whether an event puts its title into the member's history.

    A play counts from `min_minutes` on, or when it does not say how long it was.
    """
    if event.title_id is None or event.kind not in POSITIVE:
        return False
    return event.kind != "play" or event.value is None or event.value >= min_minutes


def watches(events: pl.LazyFrame, min_minutes: float) -> pl.LazyFrame:
    """The rows of `events` that `is_watch` accepts."""
    too_short = (pl.col("kind") == "play") & (pl.col("value") < min_minutes)
    return events.filter(
        pl.col("kind").is_in(POSITIVE),
        pl.col("title_id").is_not_null(),
        ~too_short.fill_null(value=False),
    )


def histories(events: pl.LazyFrame, min_minutes: float) -> pl.DataFrame:
    """Members' histories, oldest title first: member_id, title_id, ts, seq.

    A title stands once, at the last time it was watched. Sorted by member, then time, then order
    of arrival.

    >>> from datetime import UTC, datetime
    >>> days = [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 3)]
    >>> events = pl.LazyFrame({"member_id": ["m"] * 3, "title_id": ["heat", "alien", "heat"],
    ...     "kind": ["play"] * 3, "value": [90.0, 80.0, 12.0], "ts": days, "seq": [1, 2, 3]})
    >>> histories(events, min_minutes=5)["title_id"].to_list()
    ['alien', 'heat']
    """
    return (
        watches(events, min_minutes)
        .select("member_id", "title_id", "ts", "seq")
        .sort("member_id", "ts", "seq")
        .unique(["member_id", "title_id"], keep="last", maintain_order=True)
        .collect(engine="streaming")
    )
