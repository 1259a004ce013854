"""From the lake to what models learn from and evaluation asks."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from datetime import datetime

import msgspec
import numpy as np
import polars as pl

from matinee.engine import Executor, Serial
from matinee.errors import MatineeError
from matinee.features.watched import histories, watches
from matinee.lake.lake import Lake
from matinee.lake.records import micros
from matinee.lake.table import Bucket, latest
from matinee.models.data import Context, Dataset, Histories, Responses, Vocabulary

TABLES = ("events", "members", "decisions", "outcomes")


@dataclass(frozen=True)
class HistoriesOfBucket:
    """The histories of the members of one bucket, in one vocabulary."""

    events: Bucket
    members: Bucket
    titles: Vocabulary
    min_minutes: float

    def load(self) -> Histories:
        return encode(self.frame(), self.titles)

    def frame(self) -> pl.DataFrame:
        """member_id, title_id, ts, seq, country, sorted by member, time and order of arrival."""
        countries = latest(self.members.scan(), self.members.schema).select("member_id", "country")
        watched = histories(self.events.scan(), self.min_minutes)
        return watched.join(countries.collect(), on="member_id", how="left", maintain_order="left")


@dataclass(frozen=True)
class ResponsesOfBucket:
    """What came of a surface's decisions about the members of one bucket, in one vocabulary."""

    decisions: Bucket
    outcomes: Bucket
    titles: Vocabulary
    surface: str

    def load(self) -> Responses:
        rows = self.frame()
        said = [msgspec.json.decode(context) for context in rows["context"]]
        countries = [one.get("country") for one in said]
        return Responses(
            self.titles.encode(rows["action"]),
            rows["reward"].to_numpy(),
            rows["propensity"].to_numpy(),
            Context(
                Histories.of([[]] * len(said), countries=countries),
                rows["at"].dt.epoch("us").to_numpy(),
                tuple(one.get("device") for one in said),
                tuple(one.get("features", {}) for one in said),
            ),
        )

    def frame(self) -> pl.DataFrame:
        """action, reward, propensity, at, context of each closed position, in order of time."""
        of_surface = pl.col("surface") == self.surface
        decisions = self.decisions.scan().filter(of_surface)
        closed = self.outcomes.scan().filter(of_surface)
        ids = ["member_id", "decision_id"]
        return (
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
            .collect(engine="streaming")
        )


def encode(watched: pl.DataFrame, titles: Vocabulary) -> Histories:
    """Histories from a frame of member_id, title_id, ts and country that is sorted by member."""
    index = pl.DataFrame({"title_id": titles.ids, "title": range(len(titles))})
    coded = watched.join(index, on="title_id", how="left", maintain_order="left")
    members = watched.select(pl.col("member_id").rle()).unnest("member_id")
    first = np.concatenate([[0], np.cumsum(members["len"].to_numpy())]).astype(np.int64)
    return Histories(
        first,
        coded["title"].fill_null(-1).cast(pl.Int32).to_numpy(),
        watched["ts"].dt.epoch("us").to_numpy(),
        np.ones(watched.height, np.float32),
        tuple(watched["country"].gather(first[:-1])),
    )


def training_set(
    lake: Lake,
    as_of: datetime,
    min_minutes: float,
    surface: str = "titles",
    executor: Executor | None = None,
    *,
    needs_histories: bool = True,
) -> Dataset:
    """Everything known at `as_of`, sharded by bucket: what members watched, and what came of the
    surface's decisions.

    The vocabulary is the catalogue, whatever else was watched, and the surface's own actions, in
    ascending order of id; where histories are not needed there are none, and its own actions alone
    make the vocabulary. Raises `MatineeError` where histories are needed and nothing was watched.
    """
    executor = executor or Serial()
    buckets = {name: lake.tables[name].buckets(as_of) for name in TABLES}
    known = executor.map_reduce(actions_chosen, buckets["outcomes"], operator.or_, surface)
    if needs_histories:
        seen = executor.map_reduce(titles_watched, buckets["events"], operator.or_, min_minutes)
        known |= _some(seen, as_of) | set(lake.current("titles", as_of=as_of)["title_id"])
    titles = Vocabulary(sorted(known))
    return Dataset(
        titles,
        [
            HistoriesOfBucket(events, members, titles, min_minutes)
            for events, members in zip(buckets["events"], buckets["members"], strict=True)
            if needs_histories
        ],
        micros(as_of),
        executor,
        [
            ResponsesOfBucket(decisions, outcomes, titles, surface)
            for decisions, outcomes in zip(buckets["decisions"], buckets["outcomes"], strict=True)
        ],
    )


def _some(seen: set[str], as_of: datetime) -> set[str]:
    if not seen:
        raise MatineeError(
            f"there is nothing to learn from as of {as_of:%Y-%m-%d %H:%M}",
            why="no member had watched anything that was known by then",
            next_step="matinee import SOURCE",
        )
    return seen


def titles_watched(events: Bucket, min_minutes: float) -> set[str]:
    """The titles that someone in the bucket watched."""
    found = watches(events.scan(), min_minutes).select(pl.col("title_id").unique())
    return set(found.collect(engine="streaming")["title_id"])


def actions_chosen(bucket: Bucket, surface: str) -> set[str]:
    """The actions of a surface that have an outcome in the bucket."""
    rows = bucket.scan().filter(pl.col("surface") == surface)
    return set(rows.select(pl.col("action").unique()).collect(engine="streaming")["action"])


def interactions(lake: Lake, as_of: datetime, min_minutes: float) -> pl.DataFrame:
    """Who watched what: member_id, title_id, ts, seq, country, for the evaluation protocols."""
    events, members = lake.tables["events"].buckets(as_of), lake.tables["members"].buckets(as_of)
    return pl.concat(
        [
            HistoriesOfBucket(one, other, Vocabulary(()), min_minutes).frame()
            for one, other in zip(events, members, strict=True)
        ]
    )
