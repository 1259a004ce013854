"""When processors did not work: what was reported, what answers told, and what was done."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from math import ceil, log
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from matinee.lake.lake import Lake
from matinee.lake.records import from_micros, micros
from matinee.lake.table import collect
from matinee.payments.actions import who
from matinee.payments.health import Health
from matinee.payments.ledger import ALARM

OUTAGES = 100
"""So many are told of, the latest."""
BEFORE, FEW = 100, 5
"""What was usual before an outage is told by so many attempts, where so many went there."""
CHANCE = 0.001
"""Of as many attempts elsewhere in a row while nothing has changed."""
PROBES = 0.2
"""Traffic has left where at most this part of what is usual still goes there."""


@dataclass(frozen=True)
class Outage:
    """A processor did not work, or its answers said so.

    known : whether it was reported, by `source`; else it was noticed from answers alone.
    starts_at, ends_at : as reported; of one that was noticed the first of the failures that gave it
    away, and the answer with which it was trusted again. Without an end it lasts.
    noticed_at : when its answers had failed often enough.
    attempts, failed : that went there in the meantime, and that failed or were not answered.
    routes : decisions in the meantime on where to charge, by processor; `nowhere`: without any.
    left_after, back_after : seconds from its start until traffic left, and from its end until it
    was back; `None` where the log does not tell.
    """

    processor: str
    known: bool
    source: str
    starts_at: datetime
    ends_at: datetime | None
    noticed_at: datetime | None
    attempts: int
    failed: int
    routes: dict[str, int]
    nowhere: int
    left_after: float | None
    back_after: float | None


class _Noticed(NamedTuple):
    """When the first of the failures came, when they were enough, and when it was trusted again."""

    processor: str
    began: int
    at: int
    until: int | None

    def meets(self, starts: int, ends: int | None, at: datetime) -> bool:
        """Whether it was so while an outage lasted, at least in part, as known `at` a time."""
        until = micros(at) if self.until is None else self.until
        return (ends is None or self.began < ends) and until > starts


def outages(
    lake: Lake, tries: pl.DataFrame, made: pl.DataFrame, at: datetime
) -> tuple[Outage, ...]:
    """Those that were reported, and those that answers tell of beside them, the latest first."""
    noticed, traffic = _noticed(lake, at), _Traffic.of(tries, made, at)
    found, told = [], set[_Noticed]()
    for one in lake.records("outages"):
        starts = micros(one.starts_at)
        ends = None if one.ends_at is None else micros(one.ends_at)
        same = [n for n in noticed if n.processor == one.processor and n.meets(starts, ends, at)]
        told.update(same)
        seen = min((n.at for n in same), default=None)
        found.append(traffic.during(one.processor, starts, ends, seen, one.source))
    alone = (n for n in noticed if n not in told)
    found += [traffic.during(n.processor, n.began, n.until, n.at) for n in alone]
    found.sort(key=lambda outage: (outage.starts_at, outage.processor), reverse=True)
    return tuple(found[:OUTAGES])


def _noticed(lake: Lake, at: datetime) -> list[_Noticed]:
    """When answers said that a processor did not work: the ledger's own watch, gone through anew
    over the whole log.
    """
    rows = lake.scan("attempts").filter(pl.col("at") <= at).sort("at", "seq")
    told = collect(rows.select("processor", pl.col("at").dt.epoch("us"), "status"), "attempts")
    health: dict[str, Health] = {}
    began: dict[str, int] = {}
    noticed: dict[str, int] = {}
    found = []
    for name, time, status in told.iter_rows():
        one = health.setdefault(name, Health(ALARM))
        if status == "sent":
            one.asked(time)
            continue
        if not one.score:
            began[name] = time
        one.saw(time, failed=status in {"failed", "unknown"})
        if one.since is not None:
            noticed.setdefault(name, one.since)
        elif name in noticed:
            found.append(_Noticed(name, began[name], noticed.pop(name), time))
    found += [_Noticed(name, began[name], time, None) for name, time in noticed.items()]
    return found


@dataclass(frozen=True)
class _Traffic:
    """Where attempts went, by time [N], and what was decided, by time [D]: microseconds."""

    sent: NDArray[np.int64]
    to: NDArray[np.object_]
    failed: NDArray[np.bool_]
    decided: NDArray[np.int64]
    chosen: list[str | None]
    at: int

    @classmethod
    def of(cls, tries: pl.DataFrame, made: pl.DataFrame, at: datetime) -> _Traffic:
        rows = tries.sort("sent_at", "attempt_id")
        return cls(
            rows["sent_at"].dt.epoch("us").to_numpy(),
            rows["processor"].to_numpy().astype(object),
            rows["status"].is_in(["failed", "unknown"]).to_numpy(),
            made["at"].dt.epoch("us").to_numpy(),
            made["chosen"].to_list(),
            micros(at),
        )

    def during(
        self,
        name: str,
        starts: int,
        ends: int | None,
        noticed: int | None,
        source: str | None = None,
    ) -> Outage:
        """What happened while a processor did not work; with a source it was reported."""
        until = self.at if ends is None else ends
        first, last = np.searchsorted(self.sent, [starts, until]).tolist()
        mine = self.to[first:last] == name
        routes, nowhere = self._routes(starts, until)
        left = self._left(name, starts, mine, first)
        back = None if left is None or ends is None else self._back(name, starts, ends)
        return Outage(
            name,
            source is not None,
            source or "",
            from_micros(starts),
            None if ends is None else from_micros(ends),
            None if noticed is None else from_micros(noticed),
            int(mine.sum()),
            int((mine & self.failed[first:last]).sum()),
            routes,
            nowhere,
            left,
            back,
        )

    def _routes(self, starts: int, until: int) -> tuple[dict[str, int], int]:
        """Decisions from one time to another by the processor of their route, and those without
        any action.
        """
        first, last = np.searchsorted(self.decided, [starts, until]).tolist()
        chosen = self.chosen[first:last]
        names = Counter(who(one) for one in chosen if one and who(one) != one)
        return dict(names.most_common()), chosen.count(None)

    def _usual(self, name: str, starts: int) -> float | None:
        """How likely an attempt went there just before, where enough did (Jeffreys' estimate)."""
        end = int(np.searchsorted(self.sent, starts))
        mine = self.to[max(0, end - BEFORE) : end] == name
        return float((mine.sum() + 0.5) / (len(mine) + 1)) if mine.sum() >= FEW else None

    def _left(self, name: str, starts: int, mine: NDArray[np.bool_], first: int) -> float | None:
        """Seconds until the last attempt there before so many went elsewhere in a row that, were
        all as usual, this had a chance of one in a thousand; and of those from then on at most a
        fifth as many as usual went there: probes.
        """
        usual = self._usual(name, starts)
        if usual is None:
            return None
        run = ceil(log(CHANCE) / log(1 - usual))
        places = np.flatnonzero(mine)
        begins = np.concatenate([[0], places + 1])
        runs = np.append(places, len(mine)) - begins
        after = len(places) - np.arange(len(begins))
        few = after <= PROBES * usual * (len(mine) - begins)
        gone = np.flatnonzero((runs >= run) & few)
        if not gone.size:
            return None
        last = begins[gone[0]] - 1
        return 0.0 if last < 0 else float(self.sent[first + last] - starts) / 1e6

    def _back(self, name: str, starts: int, ends: int) -> float | None:
        """Seconds until the first of five attempts there that have, among all, at most three times
        as many places between them as usual.
        """
        usual = self._usual(name, starts)
        first = int(np.searchsorted(self.sent, ends))
        places = np.flatnonzero(self.to[first:] == name)
        near = np.flatnonzero(places[4:] - places[:-4] <= 12 / (usual or 1.0))
        if not near.size:
            return None
        return float(self.sent[first + places[near[0]]] - ends) / 1e6
