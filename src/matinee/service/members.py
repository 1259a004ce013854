"""What every member has watched, in memory and kept fresh while the service runs."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from operator import itemgetter

import numpy as np
import polars as pl

from matinee.features.watched import histories, is_watch
from matinee.lake.lake import Lake
from matinee.lake.records import Event, micros
from matinee.lake.rows import Row, decode_record
from matinee.surfaces import History


@dataclass(slots=True)
class _Fresh:
    """What a member with new events watched, by title; put in order when it is asked for."""

    watched: dict[str, int]
    generation: int
    ordered: History | None = None

    def history(self) -> History:
        if self.ordered is None:
            pairs = sorted(self.watched.items(), key=itemgetter(1))
            titles, times = zip(*pairs, strict=True)
            self.ordered = History(titles, times, self.generation)
        return self.ordered


class Members:
    """Histories and countries of all members: about 12 bytes an event, 200 a member.

    `load` reads them from the lake; `apply` adds an event, at once or again, in any order;
    `follow` applies what other processes have written since. Thread-safe.
    """

    def __init__(self, lake: Lake, min_minutes: float) -> None:
        self._lake, self._min_minutes = lake, min_minutes
        self._lock = threading.RLock()
        self._followed = 0
        self.load()

    def load(self) -> None:
        """Read everything anew, as after a bulk import."""
        followed = self._lake.inbox.last_seq()
        buckets = self._lake.tables["events"].buckets()
        watched = pl.concat([histories(bucket.scan(), self._min_minutes) for bucket in buckets])
        members = watched.select(pl.col("member_id").rle()).unnest("member_id")
        stops = np.cumsum(members["len"].to_numpy())
        titles = watched["title_id"].unique(maintain_order=True)
        coded = watched.select(
            pl.col("title_id").replace_strict(titles, np.arange(len(titles)), return_dtype=pl.Int32)
        )
        countries = self._lake.current("members").select("member_id", "country")
        with self._lock:
            generation = self._lake.inbox.last_seq()
            self._ids = titles.to_list()
            self._codes = coded["title_id"].to_numpy()
            self._times = watched["ts"].dt.epoch("us").to_numpy()
            self._span = {
                member: (int(stop - length), int(stop))
                for member, length, stop in zip(
                    members["value"], members["len"], stops, strict=True
                )
            }
            self._countries: dict[str, str | None] = dict(countries.iter_rows())
            self._fresh: dict[str, _Fresh] = {}
            self._loaded = generation
            self._apply_rows(self._lake.inbox.rows(after=followed, until=generation))
            self._followed = generation

    def __len__(self) -> int:
        with self._lock:
            return len(self._span.keys() | self._fresh.keys())

    def history(self, member_id: str) -> History:
        """What the member watched; empty for someone unknown."""
        with self._lock:
            return self._history(member_id)

    def generation(self, member_id: str) -> int:
        """The generation of the member's history."""
        with self._lock:
            if member_id in self._fresh:
                return self._fresh[member_id].generation
            return self._loaded if member_id in self._span else 0

    def country(self, member_id: str) -> str | None:
        """Where the member is, if that is known."""
        return self._countries.get(member_id)

    def recent(self, count: int) -> list[str]:
        """Members with a history, those with fresh events first."""
        with self._lock:
            fresh = list(self._fresh)[-count:][::-1]
            known = (member for member in self._span if member not in self._fresh)
            return [*fresh, *(member for member, _ in zip(known, range(count), strict=False))][
                :count
            ]

    def apply(self, event: Event, seq: int) -> None:
        """Take in one durable event. The same event again changes nothing."""
        if not is_watch(event, self._min_minutes) or event.title_id is None:
            return
        at = micros(event.ts)
        with self._lock:
            watched = self._watched(event.member_id)
            if watched.get(event.title_id, -1) < at:
                watched.pop(event.title_id, None)  # among equal times the latest to come is last
                watched[event.title_id] = at
                self._fresh[event.member_id] = _Fresh(watched, seq)

    def follow(self) -> set[str]:
        """Apply rows written since the last call; the other tables that have new rows, by name."""
        until = self._lake.inbox.last_seq()
        rows = [
            row
            for table in ("events", "members", "titles", "windows")
            for row in self._lake.inbox.rows(table, after=self._followed, until=until)
        ]
        self._apply_rows(rows)
        self._followed = until
        return {row.table for row in rows} - {"events"}

    def _apply_rows(self, rows: Iterable[Row]) -> None:
        for row in rows:
            if row.table == "events":
                self.apply(decode_record(Event, row.values), row.seq)
            elif row.table == "members":
                self._countries[row.values["member_id"]] = row.values.get("country")

    def _watched(self, member_id: str) -> dict[str, int]:
        if member_id in self._fresh:
            return self._fresh[member_id].watched
        history = self._history(member_id)
        return dict(zip(history.titles, history.times, strict=True))

    def _history(self, member_id: str) -> History:
        if member_id in self._fresh:
            return self._fresh[member_id].history()
        if member_id not in self._span:
            return History()
        start, stop = self._span[member_id]
        titles = tuple(self._ids[code] for code in self._codes[start:stop])
        return History(titles, tuple(self._times[start:stop].tolist()), self._loaded)
