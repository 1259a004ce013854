"""One member's rows, sealed or not, are those that all buckets have of them, and no other's."""

from __future__ import annotations

import multiprocessing
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from multiprocessing.synchronize import Event as Signal
from pathlib import Path

import msgspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lake_rows import DAY, frame, ids, play

from matinee.lake.buckets import bucket_of
from matinee.lake.lake import Lake
from matinee.lake.records import Decision, Eligible, Member
from matinee.lake.table import Bucket

ODD = (
    "m", "m1", "m10", "1m", "member_id", "\xa9member_id", "O'Brien", 'a"b', "%", "_", "../m1",
    "m\n", "m\x00", "\x00m", "é", "e\u0301", "🎬", "\u0662m1", "x" * 31, "x" * 32, "x" * 200,
    "é" * 100,
)  # fmt: skip
"""Prefixes of each other, quotes, texts that look alike, and lengths that are written otherwise."""
MEMBERS = st.sampled_from(ODD) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="@"), min_size=1, max_size=40
)
EVENTS = st.lists(st.tuples(st.integers(0, 9), MEMBERS), max_size=6)
STEPS = st.lists(
    st.tuples(st.sampled_from(["put", "put", "append"]), EVENTS)
    | st.tuples(st.just("seal"), st.integers(1, 5))
    | st.tuples(st.just("compact"), st.just(2)),
    max_size=6,
)


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with Lake.create(tmp_path / "lake", buckets=4) as lake:
        yield lake


def decision(name: str = "d1", member: str = "m1", **told: object) -> Decision:
    usual = {
        "surface": "titles", "policy": "titles@1", "actions": ["heat"], "propensities": [0.5],
        "propensity_kind": "conditional", "eligible": "none", "removed": [], "segment": [],
        "scores": [], "seed": 1,
    }  # fmt: skip
    values = {"decision_id": name, "request_id": "r", "member_id": member, "at": DAY}
    return msgspec.convert({**usual, **values, **told}, Decision)


def whole(lake: Lake, table: str, member: str, as_of: datetime | None = None) -> pl.DataFrame:
    """Their rows among those of all buckets."""
    bucket = lake.tables[table].buckets(as_of)[bucket_of(member, lake.bucket_count)]
    return in_order(bucket.scan().filter(pl.col("member_id") == member))


def own(lake: Lake, table: str, member: str, as_of: datetime | None = None) -> pl.DataFrame:
    return in_order(lake.tables[table].of_member(member, as_of).scan())


def in_order(rows: pl.LazyFrame) -> pl.DataFrame:
    return rows.sort("seq").collect()


def found(buckets: list[Bucket]) -> list[tuple[str, str]]:
    """The members and ids of decisions, in order of arrival."""
    rows = in_order(pl.concat([bucket.scan() for bucket in buckets]))
    return rows.select("member_id", "decision_id").rows()


def spoil(lake: Lake, member: str) -> None:
    """Make the unsealed rows of a member unreadable."""
    held = [(row.seq,) for row in lake.inbox.rows() if row.values.get("member_id") == member]
    with closing(sqlite3.connect(lake.inbox.path)) as connection, connection:
        connection.executemany("UPDATE inbox SET row = x'c1' WHERE seq = ?", held)


def do(lake: Lake, step: str, what: object, value: float) -> list[tuple[str, str, float]]:
    """Carry out a step; the events that came by it: member, id and value."""
    events = lake.tables["events"]
    if step == "seal":
        assert isinstance(what, int)
        events.seal(what)
        return []
    if step == "compact":
        events.compact(least=2)
        return []
    assert isinstance(what, list)
    plays = [play(number, member, value=value) for number, member in what]
    if step == "put":
        lake.put(plays)
    else:
        lake.append("events", frame(plays), source="log")
    return [(one.member_id, one.event_id, value) for one in plays]


@settings(max_examples=40, deadline=None)
@given(steps=STEPS, stranger=MEMBERS)
def test_of_any_rows_sealed_in_any_way_each_member_has_their_own_once(
    steps: list[tuple[str, object]], stranger: str
) -> None:
    with tempfile.TemporaryDirectory() as folder, Lake.create(Path(folder) / "lake", 3) as lake:
        first: dict[tuple[str, str], float] = {}
        for number, (step, what) in enumerate(steps):
            for member, event, value in do(lake, step, what, float(number)):
                first.setdefault((member, event), value)
        then = datetime.now(UTC)
        for member in {stranger, *(member for member, _ in first)}:
            rows = own(lake, "events", member)
            assert rows.equals(whole(lake, "events", member))
            assert own(lake, "events", member, then).equals(rows)
            told = {(member, event): value for event, value in rows["event_id", "value"].rows()}
            assert told == {key: value for key, value in first.items() if key[0] == member}
            assert rows.height == len(told)


@settings(max_examples=20, deadline=None)
@given(
    changes=st.lists(
        st.tuples(st.sampled_from(ODD[:5]), st.sampled_from(["NL", "US", None]), st.booleans()),
        max_size=8,
    )
)
def test_each_change_of_a_member_is_there_once(
    changes: list[tuple[str, str | None, bool]],
) -> None:
    with tempfile.TemporaryDirectory() as folder, Lake.create(Path(folder) / "lake", 3) as lake:
        expected: dict[str, list[str | None]] = {}
        for member, country, sealed in changes:
            lake.put([Member(member_id=member, country=country)])
            if sealed:
                lake.tables["members"].seal()
            known = expected.setdefault(member, [])
            if not known or known[-1] != country:
                known.append(country)
        for member in ODD[:5]:
            rows = own(lake, "members", member)
            assert rows["country"].to_list() == expected.get(member, [])
            assert rows.equals(whole(lake, "members", member))


@pytest.mark.parametrize("member", ODD)
def test_an_id_that_others_name_is_not_theirs(
    lake: Lake, member: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("matinee.lake.inbox.BATCH_ROWS", 2)
    naming = [
        decision(f"o{n}", "other", context={"member_id": member, "deep": [{"member_id": member}]})
        for n in range(5)
    ]
    about = decision(member, "third", subject=member, actions=[member], request_id=member)
    mine = [decision(f"d{n}", member, context={"member_id": "other"}) for n in range(3)]
    lake.put([*naming, mine[0], about, mine[1], *naming[:1], mine[2]])
    for _ in range(2):
        rows = own(lake, "decisions", member)
        assert rows["decision_id"].to_list() == ["d0", "d1", "d2"]
        assert rows.equals(whole(lake, "decisions", member))
        assert own(lake, "decisions", "other").height == 5
        lake.tables["decisions"].seal(4)


def test_the_rows_of_others_are_not_decoded(lake: Lake) -> None:
    lake.put([decision("d1"), decision("d2", "m2")])
    lake.seal()
    lake.put([decision("d3"), decision("d4", "m2"), play(1), play(1, "m2")])
    spoil(lake, "m2")
    assert own(lake, "decisions", "m1")["decision_id"].to_list() == ["d1", "d3"]
    assert own(lake, "events", "m1")["event_id"].to_list() == ["e1"]
    assert found(lake.tables["decisions"].of_id("decision_id", "d3")) == [("m1", "d3")]
    with pytest.raises(msgspec.DecodeError):
        lake.tables["decisions"].buckets()


def test_what_was_known_then_stays_the_same(lake: Lake) -> None:
    lake.put([play(1, value=1.0), play(2, "m2")])
    lake.append("events", frame([play(3)]), source="log")
    lake.put([play(4)])
    then = datetime.now(UTC)
    before = own(lake, "events", "m1", then)
    assert before["event_id"].to_list() == ["e1", "e3", "e4"]
    lake.put([play(5), play(1, value=2.0)])
    assert own(lake, "events", "m1", then).equals(before)
    lake.seal()
    lake.append("events", frame([play(4, value=9.0), play(6)]), source="log")
    lake.compact(least=2)
    assert own(lake, "events", "m1", then).equals(before)
    assert own(lake, "events", "m1")["event_id"].to_list() == ["e1", "e3", "e4", "e5", "e6"]


def test_a_row_that_comes_after_a_look_was_not_known_by_then(lake: Lake) -> None:
    lake.put([play(1)])
    then = datetime.now(UTC)
    assert own(lake, "events", "m1", then).height == 1
    with pytest.MonkeyPatch.context() as behind:
        behind.setattr("matinee.lake.inbox.time.time_ns", lambda: 0)
        lake.put([play(2)])
    assert own(lake, "events", "m1", then).height == 1
    assert own(lake, "events", "m1").height == 2


def test_what_was_known_then_stays_the_same_while_rows_arrive(lake: Lake) -> None:
    stop, events = threading.Event(), lake.tables["events"]

    def arrive() -> None:
        number = 0
        while not stop.is_set():
            number += 2
            lake.put([play(number), play(number, "m2")])
            lake.append("events", frame([play(number + 1)]), source="log")

    writer = threading.Thread(target=arrive)
    writer.start()
    moments = []
    try:
        while events.files.snapshot().version < 60:
            then = datetime.now(UTC)
            moments.append((then, ids(events.of_member("m1", then).scan())))
    finally:
        stop.set()
        writer.join()
    for then, seen in moments:
        assert ids(events.of_member("m1", then).scan()) == seen
    assert len(moments[0][1]) < len(moments[-1][1])


def test_a_bucket_is_read_in_order(lake: Lake) -> None:
    lake.append("events", frame([play(5), play(3, "m2"), play(1)]), source="log")
    lake.put([play(3), play(0), play(2, "m2")])
    read = lake.tables["events"].of_member("m1").read(["event_id", "ts"])
    assert read["event_id"].to_list() == ["e0", "e1", "e3", "e5"]
    lake.seal()
    lake.compact(least=2)
    assert lake.tables["events"].of_member("m1").read().select("event_id", "ts").equals(read)


def test_a_tail_is_sealed_only_where_their_own_part_of_it_is_too_long(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("matinee.lake.table.SEAL_ROWS", 10)
    lake.put([play(n, ("many", "few")[n % 8 == 0]) for n in range(40)])
    table = lake.tables["events"]
    assert ids(table.of_member("few").scan()) == [f"few/e{n}" for n in (0, 16, 24, 32, 8)]
    assert table.waiting() == 40
    assert table.of_member("many").tail.height == 0
    assert ids(table.of_member("many").scan()) == ids(whole(lake, "events", "many"))
    assert len(ids(table.of_member("many").scan())) == 35
    assert table.waiting() == 0


def test_a_decision_is_found_by_its_id_in_every_bucket(lake: Lake) -> None:
    members = [f"m{n}" for n in range(6)]
    lake.put([decision("same", member) for member in members[:3]])
    lake.put([decision("d", "m0", context={"decision_id": "same"}, request_id="same")])
    lake.tables["decisions"].seal(2)
    lake.append("decisions", lake.scan("decisions").collect().drop("known_at", "seq"), source="x")
    lake.put([decision("same", member) for member in members[1:]])
    buckets = lake.tables["decisions"].of_id("decision_id", "same")
    assert [bucket.number for bucket in buckets] == [0, 1, 2, 3]
    assert found(buckets) == [(member, "same") for member in members]
    lake.seal()
    assert found(lake.tables["decisions"].of_id("decision_id", "same")) == found(buckets)
    assert found(lake.tables["decisions"].of_id("decision_id", "sam")) == []


def test_a_table_that_is_not_about_members_has_rows_by_id(lake: Lake) -> None:
    sets = [Eligible(eligible=name, candidates=[name, "heat"]) for name in ("a", "ab", "é")]
    lake.put(sets[:1])
    lake.seal()
    lake.put(sets)
    for name in ("a", "ab", "é", "b"):
        (bucket,) = lake.tables["eligible"].of_id("eligible", name)
        expected = [[name, "heat"]] if name != "b" else []
        assert bucket.read()["candidates"].to_list() == expected


def test_what_cannot_be_asked_is_refused(lake: Lake) -> None:
    for table in ("titles", "eligible", "rules"):
        with pytest.raises(ValueError, match=f"{table} is not about members"):
            lake.tables[table].of_member("m1")
    for table, column in (
        ("decisions", "surface"),
        ("decisions", "nothing"),
        ("windows", "country"),
        ("outcomes", "position"),
    ):
        with pytest.raises(ValueError, match=f"rows of {table} are not found by {column}"):
            lake.tables[table].of_id(column, "*")


@pytest.mark.parametrize("member", ["", "nobody", "m", "m1 ", "M1", "x" * 100_000, "'; --"])
def test_nobody_has_rows(lake: Lake, member: str) -> None:
    assert own(lake, "events", member).height == 0
    lake.append("events", frame([play(1)]), source="log")
    lake.put([play(2)])
    assert own(lake, "events", member).height == 0
    assert lake.tables["events"].of_member(member).read(["ts"]).height == 0


@pytest.mark.parametrize("who", ["m1", "é", "x" * 40])
def test_a_forgotten_member_has_none_and_those_who_name_them_keep_theirs(
    lake: Lake, who: str
) -> None:
    lake.put([decision("d1", who), decision("d2", "other", context={"member_id": who})])
    lake.seal()
    lake.put([decision("d3", who), decision("d4", f"{who}0", subject=who)])
    lake.put([decision("d5", "other", context={"member_id": who})])
    assert own(lake, "decisions", who)["decision_id"].to_list() == ["d1", "d3"]
    assert lake.forget(who)["decisions"] == 2
    assert own(lake, "decisions", who).height == 0
    assert found(lake.tables["decisions"].of_id("decision_id", "d1")) == []
    kept = [row.values["decision_id"] for row in lake.inbox.rows("decisions")]
    assert kept == ["d2", "d4", "d5"]
    assert own(lake, "decisions", "other")["decision_id"].to_list() == ["d2", "d5"]
    lake.put([decision("d1", who)])
    assert own(lake, "decisions", who)["decision_id"].to_list() == ["d1"]


def keep_house(folder: Path, done: Signal) -> None:
    """Seal a few rows at a time, and drop them from the inbox at once, until told to stop."""
    with Lake.open(folder) as lake:
        while not done.is_set():
            for name in ("events", "decisions"):
                lake.tables[name].seal(limit=6)
                lake.inbox.purge(name, before=time.time_ns() // 1_000)


def test_no_row_is_lost_or_twice_while_another_process_seals(lake: Lake) -> None:
    spawn = multiprocessing.get_context("spawn")
    done = spawn.Event()
    sealer = spawn.Process(target=keep_house, args=(lake.folder, done))
    sealer.start()
    events, decisions = lake.tables["events"], lake.tables["decisions"]
    expected: list[str] = []
    try:
        while events.files.snapshot().version < 50:
            assert sealer.is_alive()
            start = len(expected)
            lake.put([play(n, member) for n in range(start, start + 3) for member in ("m1", "m2")])
            lake.put([decision(f"d{start}", "m1"), decision("same", f"s{start}")])
            expected += [f"m1/e{n}" for n in range(start, start + 3)]
            assert ids(events.of_member("m1").scan()) == sorted(expected)
            assert found(decisions.of_id("decision_id", f"d{start}")) == [("m1", f"d{start}")]
            assert len(found(decisions.of_id("decision_id", "same"))) == len(expected) // 3
    finally:
        done.set()
        sealer.join(60)
    assert sealer.exitcode == 0
