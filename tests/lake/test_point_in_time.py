"""The point-in-time join against the sentence that defines it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matinee.lake.point_in_time import as_of_join

MEMBERS = st.sampled_from(["a", "b", "c"])
EVENT = st.tuples(MEMBERS, st.integers(0, 8), st.integers(0, 4))
LABEL = st.tuples(MEMBERS, st.integers(-1, 13))
EVENTS_SCHEMA = {"member_id": pl.String, "ts": pl.Int64, "known_at": pl.Int64, "seq": pl.Int64}
LABELS_SCHEMA = {"member_id": pl.String, "at": pl.Int64, "label": pl.Int64}


def brute_force(
    label: dict[str, Any], events: list[dict[str, Any]], strict: bool, lateness: bool
) -> int | None:
    """`seq` of the latest event that was known when the label was made."""

    def before(time: int) -> bool:
        return time < label["at"] if strict else time <= label["at"]

    seen = [
        (event["ts"], event["seq"])
        for event in events
        if event["member_id"] == label["member_id"]
        and before(event["ts"])
        and (before(event["known_at"]) or not lateness)
    ]
    return max(seen)[1] if seen else None


@settings(max_examples=150, deadline=None)
@given(
    events=st.lists(EVENT, max_size=25),
    labels=st.lists(LABEL, max_size=12),
    order=st.randoms(use_true_random=False),
    strict=st.booleans(),
    lateness=st.booleans(),
)
def test_every_label_gets_the_latest_event_known_by_then(
    events: list[tuple[str, int, int]],
    labels: list[tuple[str, int]],
    order: Any,
    strict: bool,
    lateness: bool,
) -> None:
    rows = [(member, ts, ts + late, seq) for seq, (member, ts, late) in enumerate(events)]
    order.shuffle(rows)
    history = pl.DataFrame(rows, schema=EVENTS_SCHEMA, orient="row")
    asked = pl.DataFrame(
        [(member, at, number) for number, (member, at) in enumerate(labels)],
        schema=LABELS_SCHEMA,
        orient="row",
    )
    joined = as_of_join(asked, history, strict=strict, known_at="known_at" if lateness else None)
    assert joined.select(asked.columns).equals(asked)
    events_in = history.to_dicts()
    expected = [brute_force(label, events_in, strict, lateness) for label in asked.to_dicts()]
    assert joined["seq"].to_list() == expected


def test_sorted_and_unsorted_events_give_the_same() -> None:
    history = pl.DataFrame(
        {
            "member_id": ["a", "a", "a", "b"],
            "ts": [1, 2, 2, 3],
            "known_at": [9, 2, 2, 3],
            "seq": [1, 2, 3, 4],
        }
    )
    asked = pl.DataFrame({"member_id": ["b", "a", "a", "zoe"], "at": [9, 3, 10, 5]})
    joined = as_of_join(asked, history)
    assert joined["seq"].to_list() == [4, 3, 3, None]
    assert as_of_join(asked, history.reverse()).equals(joined)


def test_several_keys_and_columns_that_both_frames_have() -> None:
    history = pl.DataFrame(
        {
            "member_id": ["a", "a"],
            "country": ["NL", "US"],
            "ts": [1, 2],
            "known_at": [1, 2],
            "seq": [1, 2],
            "value": [0.5, 0.7],
        }
    )
    asked = pl.DataFrame({"member_id": ["a"], "country": ["NL"], "at": [5], "value": [9.0]})
    (row,) = as_of_join(asked, history, by=["member_id", "country"]).to_dicts()
    assert (row["value"], row["value_event"], row["seq"]) == (9.0, 0.5, 1)


@pytest.mark.parametrize("strict", [True, False])
def test_an_event_at_the_very_time_of_the_label(strict: bool) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    history = pl.DataFrame(
        {"member_id": ["a"], "ts": [at], "known_at": [at + timedelta(0)], "seq": [1]}
    )
    joined = as_of_join(pl.DataFrame({"member_id": ["a"], "at": [at]}), history, strict=strict)
    assert joined["seq"].to_list() == [None if strict else 1]


@pytest.mark.parametrize(("labels", "events"), [(0, 2), (2, 0), (0, 0)])
def test_empty_frames(labels: int, events: int) -> None:
    history = pl.DataFrame([("a", 1, 1, 1), ("a", 2, 2, 2)], schema=EVENTS_SCHEMA, orient="row")
    asked = pl.DataFrame([("a", 9, 0), ("b", 9, 1)], schema=LABELS_SCHEMA, orient="row")
    joined = as_of_join(asked.head(labels), history.head(events))
    assert joined.height == labels
    assert joined["seq"].to_list() == ([None] * labels)
