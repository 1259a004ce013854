"""What every member met and watched, in memory and kept fresh while the service runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from matinee.features.watched import Meeting, histories, meeting, weights
from matinee.lake.lake import Lake
from matinee.lake.records import Event, micros
from matinee.lake.rows import Row, decode_record
from matinee.surfaces import History, Met


def history_of(
    met: Mapping[str, Meeting], runtime: Callable[[str], float], generation: int = 0
) -> History:
    """The history of a member who met these titles; `runtime` is 0 for one that is not known.

    >>> met = {"heat": Meeting(9, 2, 0b1, 85.0), "alien": Meeting(5, 1, 0b100000, 0.0)}
    >>> history_of(met, {"heat": 170.0, "alien": 0.0}.__getitem__).seen()
    Met(titles=('alien', 'heat'), times=(5, 9), signals=(32, 1), weights=(0.0, 0.5))
    """
    rows = sorted(met.items(), key=_arrival)
    seen = _seen(
        tuple(title for title, _ in rows),
        [one.at for _, one in rows],
        np.array([one.signals for _, one in rows], np.uint8),
        np.array([one.minutes for _, one in rows], np.float32),
        runtime,
    )
    return History.of(seen, generation)


LATEST = 1_000
"""Members whose order is known from what was read at first."""


@dataclass(slots=True)
class _Fresh:
    """How a member with new events met titles; put in order when it is asked for."""

    met: dict[str, Meeting]
    generation: int
    ordered: History | None = None


class Members:
    """Histories and countries of all members: about 17 bytes for each title that one met, 200 a
    member.

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
        met = pl.concat([self._histories(bucket.scan()) for bucket in buckets])
        members = met.select(pl.col("member_id").rle()).unnest("member_id")
        stops = np.cumsum(members["len"].to_numpy())
        titles = met["title_id"].unique(maintain_order=True)
        coded = met.select(
            pl.col("title_id").replace_strict(titles, np.arange(len(titles)), return_dtype=pl.Int32)
        )
        countries = self._lake.current("members").select("member_id", "country")
        runtimes = self._lake.current("titles").select("title_id", "runtime_minutes").drop_nulls()
        with self._lock:
            generation = self._lake.inbox.last_seq()
            self._ids = titles.to_list()
            self._codes = coded["title_id"].to_numpy()
            self._times = met["ts"].dt.epoch("us").to_numpy()
            self._signals = met["signals"].to_numpy()
            self._minutes = met["minutes"].to_numpy()
            self._read = followed
            self._span = {
                member: (int(stop - length), int(stop))
                for member, length, stop in zip(
                    members["value"], members["len"], stops, strict=True
                )
            }
            newest = np.argsort(-self._times[stops - 1], kind="stable")[:LATEST]
            self._latest: list[str] = members["value"].gather(newest).to_list()
            self._countries: dict[str, str | None] = dict(countries.iter_rows())
            self._runtimes: dict[str, float] = dict(runtimes.iter_rows())
            self._fresh: dict[str, _Fresh] = {}
            self._loaded = generation
            self._apply_rows(self._lake.inbox.rows(after=followed, until=generation))
            self._followed = generation

    def __len__(self) -> int:
        with self._lock:
            return len(self._span.keys() | self._fresh.keys())

    def history(self, member_id: str) -> History:
        """What the member met and watched; empty for someone unknown."""
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
        """Members with a history, `LATEST` at most: those of whom something was told since the
        log was read, what was told last first, then those who met a title last.
        """
        with self._lock:
            fresh = list(self._fresh)[-count:][::-1]
            known = (member for member in self._latest if member not in self._fresh)
            return [*fresh, *(member for member, _ in zip(known, range(count), strict=False))][
                :count
            ]

    def apply(self, event: Event, seq: int) -> None:
        """Take in one durable event. The same event again changes nothing."""
        new = meeting(event, micros(event.ts), seq, self._min_minutes)
        if new is None or event.title_id is None:
            return
        with self._lock:
            met = self._met(event.member_id)
            old = met.get(event.title_id)
            both = new if old is None else old | new
            if both != old:
                met[event.title_id] = both
                self._fresh.pop(event.member_id, None)  # the last one told of stands last
                self._fresh[event.member_id] = _Fresh(met, seq)

    def follow(self) -> set[str]:
        """Apply rows written since the last call; the other tables that have new rows, by name.

        What a row says of a member is known to this object alone and needs no telling.
        """
        until = self._lake.inbox.last_seq()
        rows = [
            row
            for table in ("events", "members", "titles", "windows", "pictures")
            for row in self._lake.inbox.rows(table, after=self._followed, until=until)
        ]
        self._apply_rows(rows)
        self._followed = until
        return {row.table for row in rows} - {"events", "members"}

    def _apply_rows(self, rows: Iterable[Row]) -> None:
        timed = 0
        for row in rows:
            if row.table == "events":
                self.apply(decode_record(Event, row.values), row.seq)
            elif row.table == "members":
                self._countries[row.values["member_id"]] = row.values.get("country")
            elif row.table == "titles" and self._time(row.values):
                timed = row.seq
        if timed:
            self._renew(timed)

    def _time(self, title: Mapping[str, Any]) -> bool:
        """Take in the runtime of a title; whether it is another one."""
        runtime: float = title.get("runtime_minutes") or 0.0
        before = self._runtimes.get(title["title_id"], 0.0)
        self._runtimes[title["title_id"]] = runtime
        return runtime != before

    def _renew(self, seq: int) -> None:
        """Give all histories a new generation: what they hold may weigh more or less now."""
        with self._lock:
            self._loaded = seq
            for fresh in self._fresh.values():
                fresh.generation, fresh.ordered = seq, None

    def _histories(self, events: pl.LazyFrame) -> pl.DataFrame:
        kept = "member_id", "title_id", "ts", "signals", "minutes"
        return histories(events, self._min_minutes).select(kept)

    def _met(self, member_id: str) -> dict[str, Meeting]:
        """How the member met titles. Of equal times, what is read already is before what comes."""
        if member_id in self._fresh:
            return self._fresh[member_id].met
        start, stop = self._span.get(member_id, (0, 0))
        return {
            self._ids[code]: Meeting(at, self._read, signals, minutes)
            for code, at, signals, minutes in zip(
                self._codes[start:stop].tolist(),
                self._times[start:stop].tolist(),
                self._signals[start:stop].tolist(),
                self._minutes[start:stop].tolist(),
                strict=True,
            )
        }

    def _history(self, member_id: str) -> History:
        if fresh := self._fresh.get(member_id):
            fresh.ordered = fresh.ordered or history_of(fresh.met, self._runtime, fresh.generation)
            return fresh.ordered
        if member_id not in self._span:
            return History()
        start, stop = self._span[member_id]
        seen = _seen(
            tuple([self._ids[code] for code in self._codes[start:stop].tolist()]),
            self._times[start:stop].tolist(),
            self._signals[start:stop],
            self._minutes[start:stop],
            self._runtime,
        )
        return History.of(seen, self._loaded)

    def _runtime(self, title_id: str) -> float:
        return self._runtimes.get(title_id, 0.0)


def _arrival(row: tuple[str, Meeting]) -> tuple[int, int]:
    return row[1].at, row[1].seq


def _seen(
    titles: tuple[str, ...],
    times: Sequence[int],
    signals: NDArray[np.uint8],
    minutes: NDArray[np.float32],
    runtime: Callable[[str], float],
) -> Met:
    runtimes = np.fromiter(map(runtime, titles), np.float32)
    weight = weights(signals, minutes, runtimes).tolist()
    return Met(titles, tuple(times), tuple(signals.tolist()), tuple(weight))
