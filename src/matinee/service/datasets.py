"""From the lake to what models learn from and evaluation asks."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import repeat
from typing import NamedTuple

import msgspec
import numpy as np
import polars as pl

from matinee.engine import Executor, Serial
from matinee.errors import MatineeError
from matinee.evaluation.interactions import coded
from matinee.features.watched import (
    WATCHED,
    first_watches,
    histories,
    histories_and_after,
    meetings,
    weighed,
)
from matinee.lake.lake import Lake
from matinee.lake.records import EPOCH, micros
from matinee.lake.schemas import SCHEMAS
from matinee.lake.table import Bucket, collect, latest
from matinee.models.data import Context, Dataset, Histories, Responses, Vocabulary
from matinee.service.outcomes import first_choices
from matinee.surfaces import Surface

TABLES = ("events", "members", "decisions", "outcomes")
RUNTIMES = ("title_id", "runtime_minutes")
NONE = Vocabulary(())
ALL = 2**62
"""No number of arrival is above this."""


class Learned(NamedTuple):
    """What a version had learned from: what was known at a time, and had arrived by a number."""

    as_of: datetime = EPOCH
    through: int = ALL

    def new(self) -> pl.Expr:
        """Whether a row was not part of that."""
        return (pl.col("known_at") > self.as_of) | (pl.col("seq") > self.through)


NOTHING = Learned()


@dataclass(frozen=True)
class HistoriesOfBucket:
    """The histories of the members of one bucket, in one vocabulary of titles and one of devices.

    runtimes : title_id, runtime_minutes of the catalogue.
    """

    events: Bucket
    members: Bucket
    runtimes: pl.DataFrame
    min_minutes: float
    titles: Vocabulary = NONE
    devices: Vocabulary = NONE

    def load(self) -> Histories:
        return encode(self.frame(), self.titles, self.devices)

    def frame(self, cuts: pl.DataFrame | None = None, *, everyone: bool = False) -> pl.DataFrame:
        """member_id, title_id, ts, seq, device, signals, weight, country, sorted by member, time
        and order of arrival; with cuts (member_id, cut) as `histories_and_after` gives them;
        with `everyone` also a row without a title for each member who is known and met none.
        """
        events = self.events.scan()
        countries = latest(self.members.scan(), self.members.schema).select("member_id", "country")
        if cuts is None:
            found = histories(events, self.min_minutes)
        else:
            found = histories_and_after(events, self.min_minutes, cuts.lazy())
        met = weighed(found, self.runtimes)
        return met.drop("minutes").join(
            collect(countries, "members"),
            on="member_id",
            how="full" if everyone else "left",
            coalesce=True,
            maintain_order="left",
        )

    def first_watches(self) -> pl.DataFrame:
        """member_id, title_id, ts, seq of each title that a member watched, at the first time."""
        found = first_watches(self.events.scan(), self.min_minutes)
        return found.select("member_id", "title_id", "ts", "seq")


@dataclass(frozen=True)
class Lessons:
    """What a surface of its own accord learns from, in one bucket: `whole` are tables that are not
    about members.
    """

    surface: type[Surface]
    buckets: Mapping[str, Bucket]
    whole: Mapping[str, pl.DataFrame]

    def frame(self) -> pl.DataFrame:
        """As `Surface.lessons` has it."""
        of_bucket = {name: bucket.scan() for name, bucket in self.buckets.items()}
        of_all = {name: frame.lazy() for name, frame in self.whole.items()}
        rows = self.surface.lessons({**of_bucket, **of_all})
        assert rows is not None  # noqa: S101
        return rows


def lessons_of(lake: Lake, surface: type[Surface], as_of: datetime) -> list[Lessons] | None:
    """Those of each bucket as known at `as_of`; `None` where the surface learns from decisions."""
    if not surface.learns_in:
        return None
    kinds = {name: SCHEMAS[name].bucketed for name in surface.learns_in}
    whole = {name: lake.current(name, as_of=as_of) for name, of in kinds.items() if not of}
    buckets = {name: lake.tables[name].buckets(as_of) for name, of in kinds.items() if of}
    return [
        Lessons(surface, dict(zip(buckets, of_bucket, strict=True)), whole)
        for of_bucket in zip(*buckets.values(), strict=True)
    ]


@dataclass(frozen=True)
class ResponsesOfBucket:
    """What came of a surface's decisions about the members of one bucket, in one vocabulary, as far
    as it was not `since` then; of choices for a member and a subject only the first ones, for later
    ones depend on what came of them.
    """

    decisions: Bucket
    outcomes: Bucket
    titles: Vocabulary
    surface: str
    since: Learned = NOTHING
    through: int = ALL
    lessons: Lessons | None = None

    def load(self) -> Responses:
        rows = self.frame() if self.lessons is None else self.lessons.frame()
        return responses_of(rows, self.titles)

    def frame(self) -> pl.DataFrame:
        """action, reward, propensity, at, context of each closed position, in order of time."""
        of_surface = pl.col("surface") == self.surface
        made = self.decisions.scan().filter(of_surface)
        whole = made.filter(pl.col("subject").is_null())
        decisions = pl.concat([whole, first_choices(made)])
        arrived = pl.col("seq") <= self.through
        closed = self.outcomes.scan().filter(of_surface, self.since.new(), arrived)
        ids = ["member_id", "decision_id"]
        rows = (
            closed.select(*ids, "position", "action", "reward")
            .join(decisions.select(*ids, "at", "propensities", "context"), on=ids)
            .sort("member_id", "at", "decision_id", "position")
            .select(
                "action",
                "reward",
                pl.col("propensities").list.get(pl.col("position")).alias("propensity"),
                "at",
                "context",
            )
        )
        return collect(rows, "outcomes or decisions")


def responses_of(rows: pl.DataFrame, titles: Vocabulary) -> Responses:
    """Responses from a frame of action, reward, propensity, at and context as JSON text."""
    said = [msgspec.json.decode(context) for context in rows["context"]]
    countries = [one.get("country") for one in said]
    return Responses(
        titles.encode(rows["action"]),
        rows["reward"].to_numpy(),
        rows["propensity"].to_numpy(),
        Context(
            Histories.of([[]] * len(said), countries=countries),
            rows["at"].dt.epoch("us").to_numpy(),
            tuple(one.get("device") for one in said),
            tuple(one.get("features", {}) for one in said),
        ),
    )


def encode(met: pl.DataFrame, titles: Vocabulary, devices: Vocabulary = NONE) -> Histories:
    """Histories from a frame of member_id, title_id, ts, weight, signals, device and country that
    is sorted by member.
    """
    members = met.select(pl.col("member_id").rle()).unnest("member_id")
    first = np.concatenate([[0], np.cumsum(members["len"].to_numpy())]).astype(np.int64)
    return Histories(
        first,
        coded(met["title_id"], titles),
        met["ts"].dt.epoch("us").to_numpy(),
        met["weight"].to_numpy(),
        tuple(met["country"].gather(first[:-1])),
        met["signals"].to_numpy(),
        coded(met["device"], devices),
    )


def training_set(
    lake: Lake,
    as_of: datetime,
    min_minutes: float,
    surface: str = "titles",
    executor: Executor | None = None,
    *,
    needs_histories: bool = True,
    since: Learned = NOTHING,
    through: int = ALL,
    kind: type[Surface] = Surface,
) -> Dataset:
    """Everything known at `as_of`, sharded by bucket: what members met and watched, and what came
    of the surface's decisions.

    The vocabulary is the catalogue, whatever else was watched, and the surface's own actions, in
    ascending order of id, as are the devices on which titles were met. Where histories are not
    needed there are none, and the surface's own actions alone make the vocabulary. What came of
    decisions counts as far as it was not learned `since`, and had arrived by the number `through`.
    The class of the surface may know of other actions, and learn from other tables. Raises
    `MatineeError` where histories are needed and nothing was watched.
    """
    executor = executor or Serial()
    buckets = {name: lake.tables[name].buckets(as_of) for name in TABLES}
    asked = surface, since
    known = executor.map_reduce(actions_chosen, buckets["outcomes"], operator.or_, asked)
    known |= kind.actions(lake, as_of)
    taught = lessons_of(lake, kind, as_of) or repeat(None)
    catalogue, seen = lake.current("titles", as_of=as_of), Seen()
    if needs_histories:
        seen = executor.map_reduce(seen_in, buckets["events"], operator.or_, min_minutes)
        known |= _some(seen.watched, as_of) | set(catalogue["title_id"])
    titles, devices = Vocabulary(sorted(known)), Vocabulary(sorted(seen.devices))
    runtimes = catalogue.select(RUNTIMES)
    return Dataset(
        titles,
        [
            HistoriesOfBucket(events, members, runtimes, min_minutes, titles, devices)
            for events, members in zip(buckets["events"], buckets["members"], strict=True)
            if needs_histories
        ],
        micros(as_of),
        executor,
        [
            ResponsesOfBucket(decisions, outcomes, titles, surface, since, through, lessons)
            for (decisions, outcomes), lessons in zip(
                zip(buckets["decisions"], buckets["outcomes"], strict=True), taught, strict=False
            )
        ],
        devices,
    )


def _some(seen: frozenset[str], as_of: datetime) -> frozenset[str]:
    if not seen:
        raise MatineeError(
            f"there is nothing to learn from as of {as_of:%Y-%m-%d %H:%M}",
            why="no member had watched anything that was known by then",
            next_step="matinee import SOURCE",
        )
    return seen


@dataclass(frozen=True)
class Seen:
    """The titles that someone watched, and the devices on which someone met a title."""

    watched: frozenset[str] = frozenset()
    devices: frozenset[str] = frozenset()

    def __or__(self, other: Seen) -> Seen:
        return Seen(self.watched | other.watched, self.devices | other.devices)


def seen_in(events: Bucket, min_minutes: float) -> Seen:
    """What was seen in one bucket."""
    title = pl.col("title_id").filter((pl.col("signals") & WATCHED) > 0)
    rows = meetings(events.scan(), min_minutes).select(
        title.unique().implode(), pl.col("device").drop_nulls().unique().implode()
    )
    found = collect(rows, "events")
    return Seen(frozenset(found["title_id"][0]), frozenset(found["device"][0]))


def actions_chosen(bucket: Bucket, asked: tuple[str, Learned]) -> set[str]:
    """The actions of a surface that have an outcome in the bucket, not learned from yet."""
    surface, since = asked
    rows = bucket.scan().filter(pl.col("surface") == surface, since.new())
    return set(collect(rows.select(pl.col("action").unique()), bucket.table)["action"])


def histories_of(lake: Lake, as_of: datetime, min_minutes: float) -> list[HistoriesOfBucket]:
    """The histories of all members as known at `as_of`, by bucket, in no vocabulary."""
    events, members = (lake.tables[name].buckets(as_of) for name in ("events", "members"))
    runtimes = lake.current("titles", as_of=as_of).select(RUNTIMES)
    return [
        HistoriesOfBucket(one, other, runtimes, min_minutes)
        for one, other in zip(events, members, strict=True)
    ]
