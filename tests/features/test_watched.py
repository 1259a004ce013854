"""One meaning of "watched", whether it is asked of an event or of a frame."""

from datetime import UTC, datetime, timedelta
from typing import get_args

import msgspec
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from matinee.features.watched import histories, is_watch, watches
from matinee.lake.records import Event, Kind
from matinee.lake.schemas import SCHEMAS

T0 = datetime(2026, 1, 1, tzinfo=UTC)


@st.composite
def logs(draw):
    size = draw(st.integers(0, 12))
    return [
        Event(
            event_id=str(number),
            member_id=draw(st.sampled_from("mn")),
            kind=draw(st.sampled_from(get_args(Kind))),
            ts=T0 + timedelta(minutes=draw(st.integers(0, 3))),
            title_id=draw(st.sampled_from(["a", "b", None])),
            value=draw(st.sampled_from([None, 0.0, 4.999, 5.0, 90.0])),
        )
        for number in range(size)
    ]


def frame(events):
    rows = [msgspec.structs.asdict(event) for event in events]
    return pl.LazyFrame(rows, schema=SCHEMAS["events"].columns).with_row_index("seq")


@settings(max_examples=50, deadline=None)
@given(logs(), st.sampled_from([0.0, 5.0, 60.0]))
def test_an_event_and_a_frame_agree(events, min_minutes):
    kept = watches(frame(events), min_minutes).collect()["event_id"].to_list()
    assert kept == [event.event_id for event in events if is_watch(event, min_minutes)]


@settings(max_examples=50, deadline=None)
@given(logs())
def test_a_history_is_the_last_watch_of_each_title_in_order(events):
    last = {}
    ordered = sorted(enumerate(events), key=lambda pair: (pair[1].ts, pair[0]))
    for _, event in ordered:
        if is_watch(event, 5.0):
            last.pop((event.member_id, event.title_id), None)
            last[event.member_id, event.title_id] = event.ts
    expected = sorted(last.items(), key=lambda item: item[0][0])
    found = histories(frame(events), 5.0)
    assert list(found.select("member_id", "title_id", "ts").iter_rows()) == [
        (member, title, ts) for (member, title), ts in expected
    ]
