"""What a member and a title have to do with each other, for every model, mask and test alike.

A member meets a title by playing it, finishing it, rating it, giving it a thumb, clicking on it or
searching for it; never by being shown it. Some of these are watches. There are two ways to the same
rows: `histories` takes a frame of events at once, `Meeting` one event after the other, in any order
and as often as one likes.
"""

from __future__ import annotations

from math import isnan
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from matinee.lake.records import Event
from matinee.lake.table import collect

SIGNALS = ("play", "complete", "rating", "thumb_up", "thumb_down", "click", "search")
"""How a member may have met a title, by the number of its bit in `signals`."""

_BIT = {name: 1 << number for number, name in enumerate(SIGNALS)}

WATCHED = _BIT["play"] | _BIT["complete"] | _BIT["rating"]
"""The bits of what counts as having watched a title."""

WHOLE = 100_000.0
"""Minutes of a watch that was of all the title, or does not say: as many as there can be."""

LEAST = 0.1
"""The least weight of a watch: a play that counts is more than none, however long the title."""

Floats = NDArray[np.float32]


class Meeting(NamedTuple):
    """How a member met a title, in one event or in many.

    at, seq : of the last watch, or of the last event where it was not watched: microseconds since
    1970, and order of arrival. signals : bits of `SIGNALS`. minutes : of the longest watch, 0 if
    none, at most `WHOLE`.

    ``one | other`` is what both say: the union is commutative, associative and idempotent.

    >>> played, clicked = Meeting(5, 1, 0b1, 40.0), Meeting(9, 2, 0b100000, 0.0)
    >>> played | clicked
    Meeting(at=5, seq=1, signals=33, minutes=40.0)
    """

    at: int
    seq: int
    signals: int
    minutes: float

    @property
    def watched(self) -> bool:
        return bool(self.signals & WATCHED)

    def __or__(self, other: Meeting) -> Meeting:
        last = max(self, other, key=lambda one: (one.watched, one.at, one.seq))
        signals, minutes = self.signals | other.signals, max(self.minutes, other.minutes)
        return Meeting(last.at, last.seq, signals, minutes)


def signal_of(event: Event, min_minutes: float) -> int:
    """The bit of `SIGNALS` that an event sets, 0 if it says nothing of the member and a title.

    A play counts from `min_minutes` on, or when it does not say how long it was; a thumb where it
    points up or down.
    """
    value = None if event.value is None or isnan(event.value) else event.value
    if event.title_id is None:
        return 0
    if event.kind == "thumb":
        return _thumb(value or 0.0)
    if event.kind == "play" and value is not None and value < min_minutes:
        return 0
    return _BIT.get(event.kind, 0)


def minutes_of(event: Event) -> float:
    """How long a watch was: `WHOLE` unless it is a play that says so."""
    if event.kind != "play" or event.value is None or isnan(event.value):
        return WHOLE
    return float(np.float32(min(max(event.value, 0.0), WHOLE)))


def meeting(event: Event, at: int, seq: int, min_minutes: float) -> Meeting | None:
    """What one event says of its member and its title, at a time (microseconds since 1970)."""
    signal = signal_of(event, min_minutes)
    if not signal:
        return None
    return Meeting(at, seq, signal, minutes_of(event) if signal & WATCHED else 0.0)


def meetings(events: pl.LazyFrame, min_minutes: float) -> pl.LazyFrame:
    """The rows of `events` that are meetings, with their `signals` and `minutes`."""
    kind, value = pl.col("kind"), pl.col("value").fill_nan(None)
    thumb = pl.when(value > 0).then(_BIT["thumb_up"]).when(value < 0).then(_BIT["thumb_down"])
    other = kind.replace_strict(_BIT, default=0, return_dtype=pl.UInt8)
    too_short = ((kind == "play") & (value < min_minutes)).fill_null(value=False)
    signal = pl.when(kind == "thumb").then(thumb.otherwise(0)).when(~too_short).then(other)
    watched = (pl.col("signals") & WATCHED) > 0
    minutes = pl.when(kind == "play").then(value.clip(0.0, WHOLE)).fill_null(WHOLE)
    return (
        events.filter(pl.col("title_id").is_not_null())
        .with_columns(signals=signal.otherwise(0).cast(pl.UInt8))
        .filter(pl.col("signals") > 0)
        .with_columns(minutes=pl.when(watched).then(minutes).otherwise(0.0).cast(pl.Float32))
    )


def histories(events: pl.LazyFrame, min_minutes: float) -> pl.DataFrame:
    """Members' histories, oldest title first: member_id, title_id, ts, seq, device, signals,
    minutes.

    A title stands once: at the last time it was watched, on the device of that time; if it was only
    met, at the last time and on the device of that. `signals` and `minutes` are those of `Meeting`.
    Sorted by member, then time, then order of arrival.

    >>> from datetime import UTC, datetime
    >>> days = [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 3, 4)]
    >>> events = pl.LazyFrame({"member_id": ["m"] * 4, "ts": days, "seq": [1, 2, 3, 4],
    ...     "title_id": ["heat", "alien", "heat", "alien"], "value": [90.0, 80.0, 12.0, None],
    ...     "kind": ["play", "play", "play", "click"], "device": ["tv", "tv", "phone", "web"]})
    >>> histories(events, min_minutes=5).select("title_id", "device", "signals", "minutes").rows()
    [('alien', 'tv', 33, 80.0), ('heat', 'phone', 1, 90.0)]
    """
    watched = (pl.col("signals") & WATCHED) > 0
    rows = (
        meetings(events, min_minutes)
        .select("member_id", "title_id", "ts", "seq", "device", "signals", "minutes")
        .sort("member_id", watched, "ts", "seq")
        .group_by("member_id", "title_id")
        .agg(
            pl.col("ts", "seq", "device").last(),
            pl.col("signals").bitwise_or(),
            pl.col("minutes").max(),
        )
        .sort("member_id", "ts", "seq")
    )
    return collect(rows, "events")


def first_watches(events: pl.LazyFrame, min_minutes: float) -> pl.DataFrame:
    """Each title that a member watched, at the first time and as that one event tells of it; the
    columns and the order of `histories`.
    """
    rows = (
        meetings(events, min_minutes)
        .filter((pl.col("signals") & WATCHED) > 0)
        .select("member_id", "title_id", "ts", "seq", "device", "signals", "minutes")
        .sort("member_id", "ts", "seq")
        .unique(["member_id", "title_id"], keep="first", maintain_order=True)
    )
    return collect(rows, "events")


def histories_and_after(
    events: pl.LazyFrame, min_minutes: float, cuts: pl.LazyFrame
) -> pl.DataFrame:
    """Members' histories as they were before a cut (member_id, cut), each followed by the first
    watch of each title that was not watched before.

    So what is learned from and what is asked know nothing of each other: a later watch neither
    moves nor marks an earlier one. A member without a cut has a history alone.

    >>> from datetime import UTC, datetime
    >>> days = [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 3, 4)]
    >>> events = pl.LazyFrame({"member_id": ["m"] * 4, "ts": days, "seq": [1, 2, 3, 4],
    ...     "title_id": ["heat", "up", "heat", "coco"], "value": [90.0, 80.0, 12.0, 70.0],
    ...     "kind": ["play"] * 4, "device": ["tv"] * 4})
    >>> cuts = pl.LazyFrame({"member_id": ["m"], "cut": [days[1]]})
    >>> histories_and_after(events, 5, cuts).select("title_id", "ts").rows() == [
    ...     ("heat", days[0]), ("up", days[1]), ("coco", days[3])]
    True
    """
    parted = events.join(cuts, on="member_id", how="left").with_columns(
        after=(pl.col("ts") >= pl.col("cut")).fill_null(value=False)
    )
    before = histories(parted.filter(~pl.col("after")), min_minutes)
    watched = before.filter((pl.col("signals") & WATCHED) > 0)
    after = first_watches(parted.filter("after"), min_minutes)
    fresh = after.join(watched, on=["member_id", "title_id"], how="anti")
    return pl.concat([before, fresh], how="vertical_relaxed").sort("member_id", "ts", "seq")


def weights(signals: NDArray[np.uint8], minutes: Floats, runtimes: Floats) -> Floats:
    r"""How much of a watch N meetings were, 0 to 1.

    With m the minutes of the longest watch and r the runtime of the title,

        w = 0                        where nothing was watched
        w = max(min(m, r) / r, LEAST)  where it was, and r is known
        w = 1                        where it was, and r is not known (0 or NaN)

    The share of the runtime and not the minutes, which would prefer long titles to short ones (Zhan
    et al., "Deconfounding duration bias in watch-time prediction for video recommendation", KDD
    2022). The longest watch and not the sum, so that an event counts once however often it comes. A
    completion and a rating are of the whole title.

    >>> weights(np.array([1, 1, 2, 16], np.uint8), np.array([45, 1, WHOLE, 0], np.float32),
    ...         np.full(4, 90, np.float32)).tolist()
    [0.5, 0.10000000149011612, 1.0, 0.0]
    """
    share = np.ones(len(minutes), np.float32)
    np.divide(np.minimum(minutes, runtimes), runtimes, out=share, where=runtimes > 0)
    return np.where(signals & WATCHED, np.maximum(share, LEAST), 0).astype(np.float32)


def weighed(met: pl.DataFrame, runtimes: pl.DataFrame) -> pl.DataFrame:
    """Histories with their `weight`, by the runtimes: title_id, runtime_minutes."""
    known = runtimes.select("title_id", runtime=pl.col("runtime_minutes").cast(pl.Float32))
    timed = met.join(known, on="title_id", how="left", maintain_order="left")
    columns = timed["signals"], timed["minutes"], timed["runtime"].fill_null(0.0)
    weight = weights(*(column.to_numpy() for column in columns))
    return met.with_columns(weight=pl.Series(weight, dtype=pl.Float32))


def _thumb(value: float) -> int:
    if value == 0:
        return 0
    return _BIT["thumb_up" if value > 0 else "thumb_down"]
