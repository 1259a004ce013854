"""Both doors, one verdict: a row sent over HTTP and the same row in a file."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from matinee.lake.schemas import SCHEMAS
from matinee.lake.validate import problem, split

NOW = datetime(2026, 6, 1, tzinfo=UTC)
STRANGE = st.sampled_from(
    ["", "m1", "O'Brien", 'a"b', "a/../b", "..", "🎬", "a\nb", "NL\n", "*\n", "a\x00b", " ", "%s",
     "who@where.example", "@", "x" * 200, "x" * 201, "🎬" * 200, "🎬" * 201, "ﬀ", "\u202e", "null"]
)  # fmt: skip
TEXT = STRANGE | st.text(max_size=8)
TIMES = st.sampled_from(
    [
        datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC),
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(2026, 5, 31, 23, 59, tzinfo=UTC),
        NOW + timedelta(minutes=5),
        NOW + timedelta(minutes=5, microseconds=1),
        datetime(2262, 4, 12, tzinfo=UTC),
        datetime(9999, 12, 31, tzinfo=UTC),
        datetime(1, 1, 1, tzinfo=UTC),
    ]
)
NUMBERS = st.sampled_from([-2.0, -1.0, -0.0, 0.5, 1.0, 2.5, 5.0, 5.5, 1e5, 1e5 + 1, math.nan])
REAL = NUMBERS | st.just(math.inf) | st.just(-math.inf) | st.floats(-3, 7)
COUNTRY = st.sampled_from(["NL", "nl", "N", "NLD", "N1", "NL\n", "*", "*\n", "ÑL", ""])
KINDS = st.sampled_from(["impression", "play", "complete", "rating", "thumb", "search", "Play", ""])
LISTS = st.lists(st.sampled_from(["drama", "", "🎬"]) | st.none(), max_size=3)

ROWS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "events": {
        "event_id": TEXT, "member_id": TEXT, "kind": KINDS, "ts": TIMES,
        "title_id": st.none() | TEXT, "value": st.none() | REAL, "decision_id": st.none() | TEXT,
        "position": st.none() | st.sampled_from([-1, 0, 10_000, 10_001, 2**40]),
        "country": st.none() | COUNTRY, "device": st.none() | STRANGE,
    },
    "members": {
        "member_id": TEXT, "country": st.none() | COUNTRY, "joined_at": st.none() | TIMES,
    },
    "titles": {
        "title_id": TEXT, "name": TEXT, "year": st.none() | st.integers(1868, 2202),
        "genres": LISTS, "cast": LISTS, "synopsis": st.none() | STRANGE,
        "runtime_minutes": st.none() | REAL,
    },
    "windows": {
        "title_id": TEXT, "country": COUNTRY, "starts_at": st.none() | TIMES,
        "ends_at": st.none() | TIMES,
    },
    "outcomes": {
        "decision_id": TEXT, "member_id": TEXT, "surface": TEXT,
        "position": st.sampled_from([-1, 0, 2**31 - 1, 2**31]), "action": TEXT, "reward": REAL,
        "decided_at": TIMES, "closed_at": TIMES,
    },
}  # fmt: skip


def enters_as_a_record(table: str, row: dict[str, Any]) -> bool:
    schema = SCHEMAS[table]
    try:
        record = msgspec.convert({k: v for k, v in row.items() if v is not None}, schema.record)
    except msgspec.ValidationError:
        return False
    return problem(record, schema, NOW) is None


def enters_in_a_frame(table: str, row: dict[str, Any]) -> bool:
    schema = SCHEMAS[table]
    types = {name: schema.columns[name] for name in row}
    good, bad = split(pl.DataFrame([row], schema=types, orient="row"), schema, NOW)
    assert good.height + bad.height == 1
    return good.height == 1


@pytest.mark.parametrize("table", sorted(ROWS))
def test_both_doors_give_the_same_verdict(table: str) -> None:
    @settings(max_examples=250, deadline=None)
    @given(st.fixed_dictionaries(ROWS[table]))
    def agree(row: dict[str, Any]) -> None:
        assert enters_as_a_record(table, row) == enters_in_a_frame(table, row)

    agree()


GOOD = {"event_id": "e", "member_id": "m", "kind": "play", "ts": NOW, "title_id": "t"}


@settings(max_examples=60, deadline=None)
@given(st.fixed_dictionaries({}, optional={name: ROWS["events"][name] for name in ROWS["events"]}))
@example({"country": "NL\n"})
@example({"member_id": "who@where.example"})
@example({"value": math.nan})
def test_a_good_event_with_one_strange_thing(changes: dict[str, Any]) -> None:
    for name, value in changes.items():
        row = {**GOOD, name: value}
        assert enters_as_a_record("events", row) == enters_in_a_frame("events", row)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"member_id": "who@where.example"}, "member_id looks like an e-mail address"),
        ({"member_id": ""}, "member_id is empty"),
        ({"event_id": "x" * 201}, "event_id is longer than 200 characters"),
        ({"ts": NOW + timedelta(days=1)}, "ts is in the future"),
        ({"ts": datetime(1969, 1, 1, tzinfo=UTC)}, "ts is before 1970"),
        ({"ts": None}, "ts is missing"),
        ({"kind": "Play"}, "kind is not one of click, complete"),
        ({"kind": "play", "title_id": None}, "title_id is missing"),
        ({"value": math.inf}, "value is not finite"),
        ({"kind": "rating", "value": 6.0}, "value is out of range for its kind"),
        ({"position": -1}, "position is out of range"),
        ({"country": "nl"}, "country does not match"),
    ],
)
def test_the_reason_is_told(changes: dict[str, Any], reason: str) -> None:
    row = {**GOOD, **changes}
    types = {name: SCHEMAS["events"].columns[name] for name in row}
    _, bad = split(pl.DataFrame([row], schema=types, orient="row"), SCHEMAS["events"], NOW)
    (told,) = bad["reason"]
    assert reason in told


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("ts", [1_700_000_000]),
        ("ts", [1_700_000_000.0]),
        ("ts", ["yesterday"]),
        ("ts", ["2026-01-01 10:00"]),
        ("position", [1.5]),
        ("position", ["one"]),
        ("value", ["much"]),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_not_bent(column: str, values: list[Any]) -> None:
    frame = pl.DataFrame({**{name: [value] for name, value in GOOD.items()}, column: values})
    good, bad = split(frame, SCHEMAS["events"], NOW, first_row=41)
    assert good.height == 0
    assert bad["reason"].to_list() == [f"{column} has the wrong type"]
    assert bad["source_row"].to_list() == [42]
    assert bad[column].to_list() == values


def test_text_that_holds_the_right_type_is_taken() -> None:
    frame = pl.DataFrame(
        {**GOOD, "ts": "2026-01-01T10:00:00+02:00", "position": "3", "value": "42.5"}
    )
    good, bad = split(frame, SCHEMAS["events"], NOW)
    assert bad.height == 0
    assert good["ts"].to_list() == [datetime(2026, 1, 1, 8, tzinfo=UTC)]
    assert (good["position"][0], good["value"][0]) == (3, 42.5)


@pytest.mark.parametrize(
    ("known_at", "reason"),
    [
        (None, "known_at is missing"),
        (NOW + timedelta(hours=1), "known_at is in the future"),
        (NOW - timedelta(days=9), "known_at is before it happened"),
    ],
)
def test_when_a_row_became_known_must_make_sense(known_at: datetime | None, reason: str) -> None:
    frame = pl.DataFrame({**GOOD, "known_at": [known_at]})
    _, bad = split(frame, SCHEMAS["events"], NOW)
    assert bad["reason"].to_list() == [reason]


def test_absent_values_get_the_record_s_defaults() -> None:
    good, _ = split(pl.DataFrame({"title_id": ["t"], "name": ["Heat"]}), SCHEMAS["titles"], NOW)
    (row,) = good.to_dicts()
    assert (row["genres"], row["cast"], row["year"]) == ([], [], None)


def test_an_unknown_column_is_named() -> None:
    with pytest.raises(ValueError, match="events has no column 'surname'"):
        split(pl.DataFrame({**GOOD, "surname": "x"}), SCHEMAS["events"], NOW)
