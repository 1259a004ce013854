"""What a lake holds in one of its tables: rows by day, files, how fresh it is, and what waits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import polars as pl

from matinee.errors import MatineeError
from matinee.insights.days import DAY, midnight
from matinee.insights.described import about
from matinee.insights.freshness import ALLOWED, EMPTY, PATIENT, Freshness, freshness
from matinee.lake.records import from_micros
from matinee.lake.schemas import SCHEMAS, TIME, Schema
from matinee.lake.table import Table, collect
from matinee.service.folder import Service

SHOWN_DAYS = 14
"""Days of volume, today the last."""


@dataclass(frozen=True)
class Volume:
    """Rows that became known on a day (UTC), which begins at `day`."""

    day: datetime
    rows: int


@dataclass(frozen=True)
class Waiting:
    """Rows in the inbox that are not sealed, since when the oldest is known, and for how many
    seconds; `stuck` where that is much longer than sealing takes.
    """

    rows: int = 0
    since: datetime | None = None
    seconds: float = 0.0
    stuck: bool = False


@dataclass(frozen=True)
class Holding:
    """A table: what it is about, its rows (sealed or not) and when the newest was known and
    happened, `None` where rows do not happen; its days in order; its sealed files, with their bytes
    and the number of the table's buckets; the version of its Delta log, `None` before the first
    commit. Where it cannot be read `problem` says why, and what is not known is 0 or `None`.
    """

    name: str
    about: str
    rows: int = 0
    known_at: datetime | None = None
    happened_at: datetime | None = None
    days: tuple[Volume, ...] = ()
    freshness: Freshness = EMPTY
    waiting: Waiting = Waiting()
    refused: int = 0
    files: int = 0
    bytes: int = 0
    buckets: int = 0
    version: int | None = None
    problem: str = ""


def holding(service: Service, name: str, at: datetime, refused: int) -> Holding:
    """A table as it stands at a time, that refused so many rows; of one that is torn as much as can
    be read.
    """
    stored, paragraphs = service.lake.tables[name], about(SCHEMAS[name])
    held = Holding(name, paragraphs[0], refused=refused)
    try:
        snapshot = stored.files.snapshot()
        seal_every = service.settings.lake.seal_every.delta
        held = replace(
            held,
            waiting=_waiting(stored, snapshot.watermark, at, PATIENT * seal_every + ALLOWED),
            rows=sum(file.rows for file in snapshot.files),
            files=len(snapshot.files),
            bytes=sum(file.size for file in snapshot.files),
            buckets=stored.bucket_count,
            version=snapshot.version if snapshot.version >= 0 else None,
        )
        return _with_days(held, _days(stored), stored.schema, at)
    except MatineeError as torn:
        return replace(held, problem=str(torn))


def _with_days(held: Holding, days: pl.DataFrame, schema: Schema, at: datetime) -> Holding:
    """The same with what its days tell."""
    counts = dict(days.select("day", "rows").iter_rows())
    newest, happened = days["known"].max(), days["happened"].max()
    shown = [midnight(at) - back * DAY for back in reversed(range(SHOWN_DAYS))]
    known_at = newest if isinstance(newest, datetime) else None
    return replace(
        held,
        rows=int(days["rows"].sum()),
        known_at=known_at,
        happened_at=happened if isinstance(happened, datetime) else None,
        days=tuple(Volume(day, counts.get(day, 0)) for day in shown),
        freshness=freshness(days["day"].to_list() if schema.time else None, known_at, at),
    )


def _days(stored: Table) -> pl.DataFrame:
    """day, rows, known, happened [D]: by the day when rows became known, ascending."""
    at = pl.col(stored.schema.time) if stored.schema.time else pl.lit(None, TIME)
    rows = (
        stored.scan()
        .select("known_at", at.alias("at"))
        .group_by(day=pl.col("known_at").dt.truncate("1d"))
        .agg(rows=pl.len(), known=pl.col("known_at").max(), happened=pl.col("at").max())
    )
    return collect(rows, stored.schema.name).sort("day")


def _waiting(stored: Table, watermark: int, at: datetime, most: timedelta) -> Waiting:
    since = unsealed_since(stored, watermark)
    if since is None:
        return Waiting()
    seconds = max((at - since).total_seconds(), 0.0)
    rows = stored.inbox.count(stored.schema.name, after=watermark)
    return Waiting(rows, since, seconds, seconds > most.total_seconds())


def unsealed_since(stored: Table, watermark: int) -> datetime | None:
    """When the oldest row of a table became known that is not sealed, behind the watermark of a
    snapshot; `None` where all are.
    """
    for row in stored.inbox.rows(stored.schema.name, after=watermark, limit=1):
        return from_micros(row.known_at)
    return None
