"""One meaning of "met" and "watched", whether it is asked of events or of a frame."""

from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import or_
from typing import get_args

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matinee.features.watched import (
    LEAST,
    SIGNALS,
    WHOLE,
    Meeting,
    histories,
    meeting,
    meetings,
    signal_of,
    weighed,
    weights,
)
from matinee.lake.records import Event, Kind, micros
from matinee.lake.schemas import SCHEMAS

T0 = datetime(2026, 1, 1, tzinfo=UTC)
VALUES = [None, -1.0, 0.0, 1.0, 4.999, 5.0, 90.1, 1e300, float("nan"), float("inf")]


@st.composite
def logs(draw):
    size = draw(st.integers(0, 14))
    return [
        Event(
            event_id=str(number),
            member_id=draw(st.sampled_from("mn")),
            kind=draw(st.sampled_from(get_args(Kind))),
            ts=T0 + timedelta(minutes=draw(st.integers(0, 3))),
            title_id=draw(st.sampled_from(["a", "b", None])),
            value=draw(st.sampled_from(VALUES)),
            device=draw(st.sampled_from(["tv", "phone", None])),
        )
        for number in range(size)
    ]


def frame(events):
    rows = [msgspec.structs.asdict(event) for event in events]
    return pl.LazyFrame(rows, schema=SCHEMAS["events"].columns).with_row_index("seq")


def event(kind, value=None, title="a"):
    return Event(event_id="e", member_id="m", kind=kind, ts=T0, title_id=title, value=value)


@pytest.mark.parametrize(
    ("kind", "value", "signal"),
    [
        ("play", 5.0, "play"),
        ("play", None, "play"),
        ("play", 4.9, None),
        ("complete", 0.2, "complete"),
        ("rating", 0.5, "rating"),
        ("thumb", 2.0, "thumb_up"),
        ("thumb", -1.0, "thumb_down"),
        ("thumb", 0.0, None),
        ("thumb", None, None),
        ("click", None, "click"),
        ("search", None, "search"),
        ("impression", None, None),
    ],
)
def test_what_an_event_says(kind, value, signal):
    expected = 0 if signal is None else 1 << SIGNALS.index(signal)
    assert signal_of(event(kind, value), 5.0) == expected
    assert signal_of(event(kind, value, title=None), 5.0) == 0


@settings(max_examples=50, deadline=None)
@given(logs(), st.sampled_from([0.0, 5.0, 60.0]))
def test_an_event_and_a_frame_agree(events, min_minutes):
    kept = meetings(frame(events), min_minutes).select("event_id", "signals", "minutes").collect()
    alone = [(one.event_id, meeting(one, 0, 0, min_minutes)) for one in events]
    assert kept.rows() == [(name, met.signals, met.minutes) for name, met in alone if met]


@settings(max_examples=80, deadline=None)
@given(logs(), st.data())
def test_events_in_any_order_and_again_give_the_rows_of_the_frame(events, data):
    told = data.draw(st.permutations([*enumerate(events)] * 2))
    met = {}
    for seq, one in told:
        if new := meeting(one, micros(one.ts), seq, 5.0):
            met.setdefault((one.member_id, one.title_id), []).append(new)
    merged = {key: reduce(or_, parts) for key, parts in met.items()}
    expected = sorted(merged.items(), key=lambda item: (item[0][0], item[1].at, item[1].seq))
    found = histories(frame(events), 5.0).with_columns(pl.col("ts").dt.epoch("us"))
    columns = found.select("member_id", "title_id", "ts", "seq", "signals", "minutes").rows()
    assert columns == [(*key, *one) for key, one in expected]
    assert found["device"].to_list() == [events[one.seq].device for _, one in expected]


@settings(max_examples=50, deadline=None)
@given(logs())
def test_what_was_watched_stands_where_it_would_without_all_else(events):
    watches = [one for one in events if one.kind in {"play", "complete", "rating"}]
    numbers = [events.index(one) for one in watches]
    alone = histories(frame(watches), 5.0)
    alone = alone.with_columns(
        seq=pl.Series([numbers[seq] for seq in alone["seq"]], dtype=pl.UInt32)
    )
    whole = histories(frame(events), 5.0).filter(pl.col("minutes") > 0)
    same = ["member_id", "title_id", "ts", "seq", "device", "minutes"]
    assert whole.select(same).equals(alone.filter(pl.col("minutes") > 0).select(same))


def rows(*told):
    """signals, minutes and runtimes [N]."""
    signals, minutes, runtimes = zip(*told, strict=True)
    return np.array(signals, np.uint8), np.float32(minutes), np.float32(runtimes)


def test_a_watch_weighs_the_share_of_the_runtime_that_was_watched():
    nan = float("nan")
    found = weights(
        *rows(
            (1, 30, 120), (1, 500, 120), (1, 1, 120), (2, WHOLE, 120), (1, 30, 0), (1, 30, nan),
            (16, 0, 120), (32, 0, 0), (17, 60, 120), (1, 0, 120), (1, WHOLE, 1e-40), (1, 5, 1e38),
        )
    )  # fmt: skip
    least = np.float32(LEAST)
    assert found.dtype == np.float32
    assert found.tolist() == [0.25, 1, least, 1, 1, 1, 0, 0, 0.5, least, 1, least]


@settings(max_examples=50, deadline=None)
@given(logs(), st.sampled_from([None, float("nan"), -3.0, 0.0, 90.0, 1e300]))
def test_a_weight_is_a_share_and_0_where_nothing_was_watched(events, runtime):
    columns = {"title_id": pl.String, "runtime_minutes": pl.Float64}
    runtimes = pl.DataFrame([["a"], [runtime]], schema=columns)
    found = weighed(histories(frame(events), 5.0), runtimes)
    for signals, weight in found.select("signals", "weight").iter_rows():
        watched = Meeting(0, 0, signals, 0.0).watched
        assert np.float32(LEAST) <= weight <= 1 if watched else weight == 0
