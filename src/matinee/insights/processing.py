"""How payments went: from due to paid, by processor over time, rules that bit, outages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from matinee.evaluation.intervals import Interval, wilson
from matinee.insights.bitten import Rules, rules
from matinee.insights.measures import currency
from matinee.insights.outages import Outage, outages
from matinee.insights.recovered import Recovered, Step, funnel, renewals, summed, tried, worth_of
from matinee.lake.lake import Lake
from matinee.lake.table import collect
from matinee.service.folder import Service
from matinee.surfaces import Payments

LATEST = timedelta(days=60)
"""How much of the log is shown by processor: so many days, the last is that of its latest attempt.
"""
SHORT = timedelta(days=3)
"""A log that is shorter is shown by the hour."""
PROCESSORS = 20
"""So many are told of one by one, those with the most attempts."""


@dataclass(frozen=True)
class Span:
    """A day, or an hour, of a processor: attempts that went out in it, and what they cost.

    `share` is that of the approved among those that are not on their way, with a Wilson
    interval, as if all had been independent. `fees` are in the money of the service.
    """

    since: datetime
    attempts: int
    approved: int
    share: Interval
    fees: float


@dataclass(frozen=True)
class Processor:
    """All of its spans in which something went there, in order of time, and the same together."""

    name: str
    whole: Span
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Processing:
    """All that is told of payments as they were known `at` a time. `rules` and `outages` are `None`
    where they were not looked at. Spans are hours, or days. `currency` is the money of the service,
    where known.
    """

    since: datetime | None
    at: datetime
    invoices: int
    recovered: Recovered | None
    funnel: tuple[Step, ...] = ()
    hourly: bool = False
    processors: tuple[Processor, ...] = ()
    others: int = 0
    """Processors that are not told of."""
    rules: Rules | None = None
    outages: tuple[Outage, ...] | None = None
    currency: str | None = None


def processing(
    service: Service, since: datetime | None = None, now: datetime | None = None
) -> Processing:
    """Read all of it from the lake; what is told of renewals is of those due from `since` on.

    Raises `MatineeError` where a currency has no rate.
    """
    at, lake = now or datetime.now(UTC), service.lake
    tries = tried(lake, at)
    due = renewals(service, tries, since, at)
    made = _decisions(lake, at)
    hourly, processors, others = _processors(tries, service.settings.surfaces.payments.rates)
    return Processing(
        since,
        at,
        due.height,
        summed(due, since, at),
        funnel(due),
        hourly,
        processors,
        others,
        rules(lake, made, at),
        outages(lake, tries, made, at),
        currency(service),
    )


def _processors(
    tries: pl.DataFrame, rates: Mapping[str, float]
) -> tuple[bool, tuple[Processor, ...], int]:
    """Whether spans are hours, the processors with the most attempts, and how many others."""
    times = tries["sent_at"]
    first, last = times.min(), times.max()
    if not (isinstance(first, datetime) and isinstance(last, datetime)):
        return False, (), 0
    hourly = last - first < SHORT
    counted = (
        tries.filter(pl.col("sent_at").dt.truncate("1d") > last - LATEST)
        .with_columns(worth_of(tries["currency"], rates))
        .group_by("processor", since=pl.col("sent_at").dt.truncate("1h" if hourly else "1d"))
        .agg(
            attempts=pl.len(),
            answered=(pl.col("status") != "sent").sum(),
            approved=(pl.col("status") == "approved").sum(),
            fees=(pl.col("fee") * pl.col("unit")).sum(),
        )
        .sort("processor", "since")
    )
    parts = counted.partition_by("processor", maintain_order=True)
    ordered = sorted(parts, key=lambda part: -int(part["attempts"].sum()))
    return hourly, tuple(map(_processor, ordered[:PROCESSORS])), len(ordered[PROCESSORS:])


def _processor(rows: pl.DataFrame) -> Processor:
    """Of its spans, by time."""
    whole = rows.select(pl.col("since").min(), pl.col(*_COUNTS).sum())
    each = rows.select("since", *_COUNTS).iter_rows()
    return Processor(rows["processor"][0], _span(whole.row(0)), tuple(map(_span, each)))


_COUNTS = ("attempts", "answered", "approved", "fees")


def _span(row: tuple[Any, ...]) -> Span:
    since, attempts, answered, approved, fees = row
    return Span(since, attempts, approved, wilson(approved, answered), fees)


def _decisions(lake: Lake, at: datetime) -> pl.DataFrame:
    """at, chosen (the action, or none), removed (how many), masks, by time, of each decision."""
    made = lake.scan("decisions").filter(pl.col("surface") == Payments.name, pl.col("at") <= at)
    return collect(
        made.select(
            "at",
            chosen=pl.col("actions").list.first(),
            removed=pl.col("removed").list.len(),
            masks=pl.col("masks").fill_null("[]"),
        ).sort("at"),
        "decisions",
    )
