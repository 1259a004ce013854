"""From the lake to what models learn from and evaluation asks."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from matinee.engine import Executor, Serial
from matinee.errors import MatineeError
from matinee.features.watched import histories, watches
from matinee.lake.lake import Lake
from matinee.lake.records import micros
from matinee.lake.table import Bucket, latest
from matinee.models.base import Dataset, Histories, Vocabulary


@dataclass(frozen=True)
class BucketShard:
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
    lake: Lake, as_of: datetime, min_minutes: float, executor: Executor | None = None
) -> Dataset:
    """Everything known at `as_of`, sharded by bucket.

    The vocabulary is the catalogue and whatever else was watched, in ascending order of id.
    Raises `MatineeError` where nothing was watched by then.
    """
    executor = executor or Serial()
    events = lake.tables["events"].buckets(as_of)
    seen: set[str] = executor.map_reduce(titles_watched, events, operator.or_, min_minutes)
    if not seen:
        raise MatineeError(
            f"there is nothing to learn from as of {as_of:%Y-%m-%d %H:%M}",
            why="no member had watched anything that was known by then",
            next_step="matinee import SOURCE",
        )
    catalogue = lake.current("titles", as_of=as_of)["title_id"]
    titles = Vocabulary(sorted(seen | set(catalogue)))
    members = lake.tables["members"].buckets(as_of)
    shards = [
        BucketShard(one, other, titles, min_minutes)
        for one, other in zip(events, members, strict=True)
    ]
    return Dataset(titles, shards, micros(as_of), executor)


def titles_watched(events: Bucket, min_minutes: float) -> set[str]:
    """The titles that someone in the bucket watched."""
    found = watches(events.scan(), min_minutes).select(pl.col("title_id").unique())
    return set(found.collect(engine="streaming")["title_id"])


def interactions(lake: Lake, as_of: datetime, min_minutes: float) -> pl.DataFrame:
    """Who watched what: member_id, title_id, ts, seq, country, for the evaluation protocols."""
    events, members = lake.tables["events"].buckets(as_of), lake.tables["members"].buckets(as_of)
    return pl.concat(
        [
            BucketShard(one, other, Vocabulary(()), min_minutes).frame()
            for one, other in zip(events, members, strict=True)
        ]
    )
