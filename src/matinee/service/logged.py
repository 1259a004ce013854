"""Decisions of the log with all that judging them takes: what was known, and what came of them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import compress, groupby
from typing import Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from matinee.decisions.sequences import brief
from matinee.features.watched import Meeting, meetings
from matinee.lake.lake import Lake
from matinee.lake.records import Decision, micros
from matinee.lake.table import Bucket, collect
from matinee.service.members import history_of
from matinee.surfaces import History

PART = 256
"""Decisions that are held at once as records."""

CHOICES = 2_000_000
"""Actions that these could choose from at most, all told: each takes some 120 bytes."""


@dataclass(frozen=True)
class Logged:
    """A few closed decisions of a bucket of members, in order of time within a member.

    `rewards` holds one array [K] for each record, a reward for each of its positions; `closed_at`
    when they were final, microseconds since 1970; `histories` what the member had met and watched
    as far as was known when it was decided. Left out are decisions without a reward for each
    position, most often because their attribution window is open (`unwritten`: who decided each,
    and when), and those whose record tells of another history than the log (`unlike`: an event that
    was known has since been forgotten, or was imported later as if it had been).
    """

    records: list[Decision]
    rewards: list[NDArray[np.float64]]
    closed_at: list[int]
    histories: list[History]
    unwritten: list[tuple[str, int]]
    unlike: int

    def keep(self, which: Sequence[bool]) -> Logged:
        """These with only some of the decisions; the counts stay."""
        return Logged(
            list(compress(self.records, which)),
            list(compress(self.rewards, which)),
            list(compress(self.closed_at, which)),
            list(compress(self.histories, which)),
            self.unwritten,
            self.unlike,
        )


def eligible_sets(lake: Lake, surface: str) -> dict[str, list[str]]:
    """The candidates of every content hash that a surface decided from, ascending by id."""
    made = lake.scan("decisions").filter(pl.col("surface") == surface)
    sets = lake.scan("eligible").select("eligible", "candidates").unique("eligible")
    named = made.select(pl.col("eligible").unique())
    found = collect(sets.join(named, on="eligible", how="semi"), "eligible or decisions")
    return dict(found.iter_rows())


def single_choices(
    lake: Lake, surface: str, since: datetime, policies: Collection[str]
) -> list[str]:
    """The actions that policies showed after `since` where one was asked for, ascending."""
    alone = pl.col("actions").list.len() == 1
    theirs = (pl.col("surface") == surface) & (pl.col("at") > since)
    made = lake.scan("decisions").filter(theirs, alone, pl.col("policy").is_in(list(policies)))
    shown = made.select(pl.col("actions").list.first().unique())
    return sorted(collect(shown, "decisions")["actions"])


def logged(
    lake: Lake,
    surface: str,
    since: datetime,
    min_minutes: float,
    advance: Callable[[int], None] = lambda _: None,
) -> Iterator[Logged]:
    """The decisions made on a surface after `since`, part by part; none is of two buckets.

    The histories are as of each decision: events that happened before it and were known by then,
    whatever has arrived since. `advance` is told of each bucket that is done.
    """
    runtimes = _Runtimes(lake)
    tables = [lake.tables[name].buckets() for name in ("decisions", "outcomes", "events")]
    for decisions, outcomes, events in zip(*tables, strict=True):
        asked = _decisions(decisions, surface, since)
        if asked.height:
            met = _events(events, asked["member_id"].unique(), min_minutes)
            rewards = _rewards(outcomes, surface)
            found = asked.join(rewards, on=_IDS, how="left", maintain_order="left")
            widest = max(1, *found["segment"].list.len())
            for part in found.iter_slices(max(1, min(PART, CHOICES // widest))):
                yield _part(part, met, runtimes)
        advance(1)


_IDS = ["member_id", "decision_id"]
_Row = dict[str, Any]


@dataclass(frozen=True)
class _Events:
    """All meetings of one member with titles, one an event, with the time when each was known."""

    titles: Sequence[str]
    columns: Sequence[NDArray[Any]]
    known: NDArray[np.int64]

    def before(self, times: Sequence[int], runtimes: _Runtimes) -> Iterator[History]:
        """The history as of each time."""
        meetings = list(map(Meeting, *(column.tolist() for column in self.columns)))
        rows = list(zip(self.titles, meetings, strict=True))
        happened = self.columns[0]
        for at in times:
            met: dict[str, Meeting] = {}
            for title, one in compress(rows, ((happened < at) & (self.known <= at)).tolist()):
                met[title] = met[title] | one if title in met else one
            yield history_of(met, partial(runtimes.before, at))


class _Runtimes:
    """The runtimes of titles as they were known at any time."""

    def __init__(self, lake: Lake) -> None:
        rows = (
            lake.scan("titles")
            .sort("known_at", "seq")
            .group_by("title_id")
            .agg(pl.col("known_at").dt.epoch("us"), pl.col("runtime_minutes").fill_null(0.0))
        )
        found = collect(rows, "titles").iter_rows()
        self._of = {title: (known, minutes) for title, known, minutes in found}

    def before(self, at: int, title_id: str) -> float:
        """Minutes, 0 where nothing was known at that time (microseconds since 1970)."""
        known, minutes = self._of.get(title_id, ((), ()))
        last = bisect_right(known, at)
        return minutes[last - 1] if last else 0.0


def _part(found: pl.DataFrame, met: Mapping[str, _Events], runtimes: _Runtimes) -> Logged:
    rows, others = _parted(list(found.iter_rows(named=True)))
    records = [_record(row) for row in rows]
    histories = [
        history
        for member, own in groupby(records, lambda record: record.member_id)
        for history in met[member].before([micros(record.at) for record in own], runtimes)
    ]
    like = list(map(_agrees, records, histories))
    whole = Logged(
        records,
        [np.array(row["rewards"]) for row in rows],
        [micros(row["closed_at"]) for row in rows],
        histories,
        [(row["policy"], micros(row["at"])) for row in others],
        like.count(False),
    )
    return whole.keep(like)


def _decisions(bucket: Bucket, surface: str, since: datetime) -> pl.DataFrame:
    rows = bucket.scan().filter(
        pl.col("surface") == surface, pl.col("at") > since, pl.col("actions").list.len() > 0
    )
    return collect(rows.sort("member_id", "at", "seq"), "decisions")


def _rewards(bucket: Bucket, surface: str) -> pl.DataFrame:
    """The rewards of each closed decision in order of position, which positions, and when final."""
    rows = bucket.scan().filter(pl.col("surface") == surface)
    rewards = pl.col("reward").sort_by("position").alias("rewards")
    positions = pl.col("position").sort().alias("positions")
    whole = rows.group_by(_IDS).agg(rewards, positions, pl.col("closed_at").max())
    return collect(whole, "outcomes")


def _parted(rows: list[_Row]) -> tuple[list[_Row], list[_Row]]:
    """Those with a reward for each of their positions, and the others."""
    whole, others = list[_Row](), list[_Row]()
    for row in rows:
        has_all = row["positions"] == list(range(len(row["actions"])))
        (whole if has_all else others).append(row)
    return whole, others


def _events(bucket: Bucket, members: pl.Series, min_minutes: float) -> Mapping[str, _Events]:
    rows = (
        meetings(bucket.scan(), min_minutes)
        .filter(pl.col("member_id").is_in(members.implode()))
        .sort("member_id", "ts", "seq")
        .group_by("member_id", maintain_order=True)
        .agg(
            "title_id",
            pl.col("ts").dt.epoch("us"),
            "seq",
            "signals",
            "minutes",
            pl.col("known_at").dt.epoch("us"),
        )
    )
    nothing = np.zeros(0, np.int64)
    found = dict.fromkeys(members.to_list(), _Events((), (nothing,) * 4, nothing))
    for member, titles, ts, seq, signals, minutes, known in collect(rows, "events").iter_rows():
        columns = [np.array(column) for column in (ts, seq, signals, minutes)]
        found[member] = _Events(titles, columns, np.array(known))
    return found


def _record(row: Mapping[str, Any]) -> Decision:
    fields = {name: row[name] for name in Decision.__struct_fields__}
    return Decision(**{**fields, "context": msgspec.json.decode(row["context"]), "masks": []})


def _agrees(record: Decision, history: History) -> bool:
    """Whether what the record itself tells of the history, if anything, is so of this one."""
    told = record.context.get("history") or {}
    found = brief(history)
    return all(found.get(name) == value for name, value in told.items())
