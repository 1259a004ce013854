"""What a service's lake holds: tables, how fresh they are, what waits, and what was refused."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from inspect import getdoc
from itertools import pairwise
from math import ceil
from typing import Any, Literal

import polars as pl

from matinee.errors import MatineeError
from matinee.lake.cards import masked, masked_json
from matinee.lake.records import from_micros
from matinee.lake.schemas import SCHEMAS, TIME, Schema
from matinee.lake.table import Table as Stored
from matinee.lake.table import collect
from matinee.service.folder import Service
from matinee.service.jobs import jobs
from matinee.service.leases import JobStatus, Leases

DAY = timedelta(days=1)
SHOWN_DAYS = 14
"""Days of volume, today the last."""
FEWEST, MOST = 8, 60
"""Days with rows from which a table has a rhythm, and how many of the latest tell it."""
USUAL = 0.9
"""The share of a table's gaps that are no longer than its usual one."""
PATIENT = 3
"""Usual gaps after which a table is late, and intervals after which a job is."""
LONG_AGO = timedelta(weeks=8)
"""How long a table is called late; then it has stopped, as the log of an old import has."""
ALLOWED = timedelta(minutes=1)
"""What a job may take, and a row may wait, beyond that."""
LATEST = 20
"""Rows of a table that are shown, and refused rows of it."""
REASONS = 100
"""Reasons for refusal that are told apart, those with most rows first."""
LONGEST, FIRST = 80, 3
"""Characters of a text, and entries of a list, that are shown."""
TOLD = 400
"""Characters of a refused row, or of a reason, that are shown."""

Cell = str | int | float | bool | datetime | None
State = Literal["empty", "seldom", "young", "on time", "late", "stopped"]

_ADDRESS = re.compile(r"[^\s\"'<>(),;:@＠]{1,64}(?:[@＠]|%40)[^\s\"'<>(),;:]*")
_NAMES: dict[Any, str] = {
    pl.String: "text",
    pl.Int64: "whole number",
    pl.Float64: "number",
    pl.Boolean: "true or false",
    TIME: "time, UTC",
    pl.List(pl.String): "list of texts",
    pl.List(pl.Int32): "list of whole numbers",
    pl.List(pl.Float64): "list of numbers",
}


class UnknownTableError(MatineeError):
    """The lake has no table of that name."""


@dataclass(frozen=True)
class Freshness:
    """Whether a table is late. `usual`: its usual gap, in days; `silent`: days since its newest row
    was known; `None` where there is none.
    """

    state: State
    usual: int | None = None
    silent: float | None = None


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
    freshness: Freshness = Freshness("empty")
    waiting: Waiting = Waiting()
    refused: int = 0
    files: int = 0
    bytes: int = 0
    buckets: int = 0
    version: int | None = None
    problem: str = ""


@dataclass(frozen=True)
class Work:
    """A job of `matinee work`, its last run and the seconds by which it lags: since it succeeded,
    less the seconds between runs (`every`); `None` where it never did or is no job of now.
    """

    name: str
    every: float | None
    running: bool = False
    started_at: datetime | None = None
    finished_at: datetime | None = None
    succeeded_at: datetime | None = None
    lag: float | None = None
    late: bool = False
    failures: int = 0
    result: str = ""


@dataclass(frozen=True)
class Refused:
    """Rows refused by a table for one reason, and of the newest when, and where it came from."""

    table: str
    reason: str
    rows: int
    latest_at: datetime
    source: str
    row: int


@dataclass(frozen=True)
class Inventory:
    """All of it as it was known at a time. `reasons` are the most frequent of `kinds`."""

    at: datetime
    tables: tuple[Holding, ...]
    work: tuple[Work, ...]
    refused: int
    reasons: tuple[Refused, ...]
    kinds: int


@dataclass(frozen=True)
class Column:
    """A column: its type in words, whether a row must have it, and what it means."""

    name: str
    type: str
    required: bool
    meaning: str


@dataclass(frozen=True)
class Example:
    """A refused row: where it came from, why it was refused, and its data as JSON text, cut, with
    numbers of cards and addresses masked.
    """

    at: datetime
    source: str
    row: int
    reason: str
    data: str


@dataclass(frozen=True)
class Table:
    """One table: what makes a row the same row (`key`), how rows are sorted in a file (`order`),
    its columns, the rows that came last, first the newest, with columns that are short, and the
    rows that it refused.
    """

    at: datetime
    holding: Holding
    about: tuple[str, ...]
    versioned: bool
    key: tuple[str, ...]
    order: tuple[str, ...]
    columns: tuple[Column, ...]
    latest: tuple[dict[str, Cell], ...]
    reasons: tuple[Refused, ...]
    examples: tuple[Example, ...]


def inventory(service: Service, now: datetime | None = None) -> Inventory:
    """Read it: one pass over the times of each table; what else is told stands in the Delta logs,
    the inbox, the quarantine and the store. A table that is torn keeps no other from it.
    """
    at = now or datetime.now(UTC)
    bad = service.lake.quarantine()
    kinds = bad.select("table", "reason").n_unique()
    counts = dict(bad.group_by("table").len().iter_rows())
    tables = tuple(_holding(service, name, at, counts.get(name, 0)) for name in SCHEMAS)
    work = tuple(_work(service, at))
    return Inventory(at, tables, work, bad.height, _reasons(bad), kinds)


def table(service: Service, name: str, now: datetime | None = None) -> Table:
    """Read one table. Raises `UnknownTableError` where the lake has none of that name."""
    if name not in SCHEMAS:
        raise UnknownTableError(
            f"there is no table {name[:LONGEST]!r}", why=f"the tables are {', '.join(SCHEMAS)}"
        )
    at, schema = now or datetime.now(UTC), SCHEMAS[name]
    bad = service.lake.quarantine().filter(pl.col("table") == name)
    holding, latest = _holding(service, name, at, bad.height), list[dict[str, Cell]]()
    try:
        latest += [] if holding.problem else _latest(service.lake.tables[name])
    except MatineeError as torn:  # in a column that the days did not need
        holding = replace(holding, problem=str(torn))
    return Table(
        at,
        holding,
        _about(schema),
        schema.versioned,
        schema.key,
        tuple(schema.order),
        tuple(_columns(schema)),
        tuple(latest),
        _reasons(bad),
        tuple(map(_example, bad.tail(LATEST).reverse().iter_rows(named=True))),
    )


def freshness(days: Sequence[datetime] | None, newest: datetime | None, at: datetime) -> Freshness:
    """Whether a log whose rows became known on these `days`, ascending, is late at a time.

    Its gaps are the days between two days with rows that follow each other, of the latest 60; its
    usual gap is the shortest that 9 of 10 of them do not exceed. It is late when the newest row is
    older than three usual gaps, and has stopped when it has been late for eight weeks: an old
    import is no alarm. A log with rows on fewer than 8 days is too young to have a rhythm, and a
    table that is no log (titles, members, windows, pictures, invoices, ...; its `days` are `None`)
    changes when something changes: neither is ever late.

    >>> days = [datetime(2026, 3, day, tzinfo=UTC) for day in range(1, 11)]
    >>> freshness(days, days[-1], days[-1] + timedelta(days=4))
    Freshness(state='late', usual=1, silent=4.0)
    """
    if newest is None:
        return Freshness("empty")
    silent = max((at - newest) / DAY, 0.0)
    if days is None or len(days) < FEWEST:
        return Freshness("seldom" if days is None else "young", None, silent)
    gaps = sorted((later - day).days for day, later in pairwise(days[-MOST:]))
    usual = gaps[ceil(USUAL * len(gaps)) - 1]
    late = PATIENT * usual
    if silent > late + LONG_AGO / DAY:
        return Freshness("stopped", usual, silent)
    return Freshness("late" if silent > late else "on time", usual, silent)


def _holding(service: Service, name: str, at: datetime, refused: int) -> Holding:
    stored, about = service.lake.tables[name], _about(SCHEMAS[name])
    held = Holding(name, about[0], refused=refused)
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
    today = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    shown = [today - back * DAY for back in reversed(range(SHOWN_DAYS))]
    known_at = newest if isinstance(newest, datetime) else None
    return replace(
        held,
        rows=int(days["rows"].sum()),
        known_at=known_at,
        happened_at=happened if isinstance(happened, datetime) else None,
        days=tuple(Volume(day, counts.get(day, 0)) for day in shown),
        freshness=freshness(days["day"].to_list() if schema.time else None, known_at, at),
    )


def _days(stored: Stored) -> pl.DataFrame:
    """day, rows, known, happened [D]: by the day when rows became known, ascending."""
    at = pl.col(stored.schema.time) if stored.schema.time else pl.lit(None, TIME)
    rows = (
        stored.scan()
        .select("known_at", at.alias("at"))
        .group_by(day=pl.col("known_at").dt.truncate("1d"))
        .agg(rows=pl.len(), known=pl.col("known_at").max(), happened=pl.col("at").max())
    )
    return collect(rows, stored.schema.name).sort("day")


def _waiting(stored: Stored, watermark: int, at: datetime, most: timedelta) -> Waiting:
    oldest = stored.inbox.rows(stored.schema.name, after=watermark, limit=1)
    if not oldest:
        return Waiting()
    since = from_micros(oldest[0].known_at)
    seconds = max((at - since).total_seconds(), 0.0)
    rows = stored.inbox.count(stored.schema.name, after=watermark)
    return Waiting(rows, since, seconds, seconds > most.total_seconds())


def _work(service: Service, at: datetime) -> Iterator[Work]:
    """The jobs of now, then those that ran once."""
    ran = {status.name: status for status in Leases(service.store).statuses()}
    for job in jobs(service):
        every = job.every.total_seconds()
        one = ran.pop(job.name, None)
        yield Work(job.name, every) if one is None else _ran(one, every, at)
    for one in ran.values():
        yield _ran(one, None, at)


def _ran(one: JobStatus, every: float | None, at: datetime) -> Work:
    lag = None
    if every is not None and one.succeeded_at is not None:
        lag = max((at - one.succeeded_at).total_seconds() - every, 0.0)
    return Work(
        one.name,
        every,
        one.holder is not None,
        one.started_at,
        one.finished_at,
        one.succeeded_at,
        lag,
        bool(lag and every and lag > (PATIENT - 1) * every + ALLOWED.total_seconds()),
        one.failures,
        _cut(one.result, TOLD),
    )


def _reasons(bad: pl.DataFrame) -> tuple[Refused, ...]:
    """By table and reason, those with most rows first; of each the row that was refused last."""
    groups = bad.group_by("table", "reason", maintain_order=True).agg(
        pl.len().alias("rows"), pl.col("at", "source", "row").last()
    )
    return tuple(
        Refused(name, _cut(reason, TOLD), rows, at, _cut(source, TOLD), row)
        for name, reason, rows, at, source, row in groups.sort(
            "rows", "at", descending=True, maintain_order=True
        )
        .head(REASONS)
        .iter_rows()
    )


def _example(row: dict[str, Any]) -> Example:
    """Addresses are masked too: a row may be refused because it has one in place of an id."""
    data = _ADDRESS.sub("…@…", masked_json(row["data"]))
    reason, source = _cut(row["reason"], TOLD), _cut(row["source"], TOLD)
    return Example(row["at"], source, row["row"], reason, _cut(data, TOLD))


def _columns(schema: Schema) -> Iterator[Column]:
    for name, dtype in schema.stored.items():
        words = schema.choices.get(name)
        said = [schema.units[name], f"one of {', '.join(words)}" if words else ""]
        kind = "JSON" if name in schema.nested else _NAMES.get(dtype, str(dtype))
        yield Column(name, kind, name in schema.required, "; ".join(filter(None, said)))


def _latest(stored: Stored) -> Iterator[dict[str, Cell]]:
    """The rows that came last. Of their columns those are read that are short: no JSON and no lists
    of numbers, and of lists of texts the first entries.
    """
    rows, schema = stored.scan(), stored.schema
    newest = collect(rows.select("seq").top_k(LATEST, by="seq"), schema.name)["seq"]
    columns = [
        pl.col(name).list.head(FIRST + 1) if dtype == pl.List(pl.String) else pl.col(name)
        for name, dtype in schema.stored.items()
        if name not in schema.nested and dtype not in (pl.List(pl.Int32), pl.List(pl.Float64))
    ]
    found = collect(rows.filter(pl.col("seq").is_in(newest.implode())).select(columns), schema.name)
    for row in found.sort("seq", descending=True).iter_rows(named=True):
        yield {name: _cell(value) for name, value in row.items()}


def _cell(value: Any) -> Cell:
    if isinstance(value, list):
        more = ["…"] if len(value) > FIRST else []
        return ", ".join([*(_cut(str(one), LONGEST) for one in value[:FIRST]), *more])
    cell: Cell = _cut(value, LONGEST) if isinstance(value, str) else value
    return cell


def _cut(text: str, longest: int) -> str:
    """The beginning of a text, numbers of cards masked before it is cut.

    >>> _cut("4111 1111 1111 1111 and so on", 12)
    '4111 11** *…'
    """
    text = masked(text)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _about(schema: Schema) -> tuple[str, ...]:
    """What a table is about: the paragraphs of its record, without marks and examples."""
    said = (getdoc(schema.record) or "").partition("\n\n>>>")[0]
    paragraphs = [" ".join(part.split()) for part in said.split("\n\n")]
    return tuple(re.sub(r"[`*]+", "", part) for part in paragraphs)
