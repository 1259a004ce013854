"""The lake through its public door: what goes in comes out once, as it was known."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from lake_rows import DAY, frame, ids, play

from matinee.errors import MatineeError
from matinee.lake.lake import Lake
from matinee.lake.records import Decision, Event, Masked, Member, Title, Window
from matinee.lake.schemas import SCHEMAS

HOUR = timedelta(hours=1)


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with Lake.create(tmp_path / "lake", buckets=4) as lake:
        yield lake


def read(lake: Lake, table: str = "events", as_of: datetime | None = None) -> pl.DataFrame:
    return pl.concat([bucket.read() for bucket in lake.tables[table].buckets(as_of)])


def test_an_empty_lake_answers_everything(lake: Lake) -> None:
    assert lake.scan("events").collect().schema == pl.Schema(SCHEMAS["events"].stored)
    assert lake.current("titles").height == 0
    assert set(lake.seal().values()) == {0}
    assert lake.compact() == 0
    assert lake.expire(HOUR) == (0, 0)
    assert lake.repair() == []
    assert lake.quarantine().height == 0
    assert set(lake.forget("nobody").values()) == {0}
    assert lake.summary()["rows"].to_list() == [0] * len(SCHEMAS)


def test_one_event(lake: Lake) -> None:
    lake.put([play(1)])
    for _ in range(2):
        (row,) = read(lake).to_dicts()
        assert (row["member_id"], row["ts"], row["seq"]) == ("m1", DAY + timedelta(seconds=1), 1)
        lake.seal()


def test_rows_are_seen_before_during_and_after_sealing(lake: Lake) -> None:
    lake.put([play(n, f"m{n % 5}") for n in range(20)])
    assert lake.tables["events"].seal(limit=7) == 7
    lake.put([play(n, f"m{n % 5}") for n in range(15, 30)])
    expected = sorted(f"m{n % 5}/e{n}" for n in range(30))
    assert ids(lake.scan("events")) == expected
    assert lake.seal()["events"] == 23
    assert lake.seal()["events"] == 0
    assert ids(lake.scan("events")) == expected
    assert lake.compact(least=2) > 0
    assert ids(read(lake)) == expected


def test_a_duplicate_that_comes_after_its_row_was_sealed_and_expired(lake: Lake) -> None:
    lake.put([play(1, value=1.0)])
    lake.seal()
    assert lake.expire(timedelta(0))[0] == 1
    lake.put([play(1, value=2.0)])
    assert read(lake)["value"].to_list() == [1.0]
    lake.seal()
    assert read(lake)["value"].to_list() == [1.0]


def test_appending_twice_adds_nothing(lake: Lake) -> None:
    rows = frame(play(n, f"m{n % 3}") for n in range(50))
    assert lake.append("events", rows, source="log") == (50, 0, 0)
    assert lake.append("events", rows, source="log") == (0, 50, 0)
    assert lake.append("events", pl.concat([rows.head(3)] * 2), source="log") == (0, 6, 0)
    assert lake.append("events", rows.clear(), source="log") == (0, 0, 0)
    assert read(lake).height == 50


def test_append_and_put_know_each_other(lake: Lake) -> None:
    lake.put([play(1, value=1.0)])
    lake.append("events", frame([play(1, value=2.0), play(2, value=2.0)]), source="log")
    lake.put([play(2, value=3.0), play(3, value=3.0)])
    assert read(lake).sort("event_id")["value"].to_list() == [1.0, 2.0, 3.0]
    lake.seal()
    assert read(lake).sort("event_id")["value"].to_list() == [1.0, 2.0, 3.0]


def test_bad_rows_are_kept_with_their_reason(lake: Lake) -> None:
    rows = frame([play(1), play(2, "who@where.example"), play(3, value=-1.0)])
    assert lake.append("events", rows, source="log.csv", first_row=100) == (1, 0, 2)
    assert lake.append("events", rows, source="log.csv", first_row=100) == (0, 1, 2)
    told = lake.quarantine()
    assert told.select("table", "source", "row").rows() == [
        ("events", "log.csv", 102),
        ("events", "log.csv", 103),
    ]
    assert "e-mail" in told["reason"][0]
    assert '"event_id":"e2"' in told["data"][0]


def test_a_record_that_may_not_enter_is_refused_whole(lake: Lake) -> None:
    late = Event(event_id="x", member_id="m", kind="search", ts=datetime(2999, 1, 1, tzinfo=UTC))
    assert lake.check(late) == "ts is in the future"
    with pytest.raises(ValueError, match="future"):
        lake.put([play(1), late])
    assert read(lake).height == 0


def test_strange_ids_survive(lake: Lake) -> None:
    strange = ["O'Brien", 'a"b', "a/../b", "../../etc", "🎬", "a\nb", "a\x00b", "%", "_", "x" * 200]
    events = [play(n, member) for n, member in enumerate(strange)]
    lake.put(events)
    assert set(read(lake)["member_id"]) == set(strange)
    lake.seal()
    assert set(read(lake)["member_id"]) == set(strange)
    for member in strange:
        assert lake.forget(member)["events"] == 1
    assert read(lake).height == 0


def test_every_table_takes_its_records(lake: Lake) -> None:
    decision = Decision(
        decision_id="d", request_id="r", surface="titles", member_id="m1", at=DAY, policy="p@3",
        actions=["t1", "t2"], propensities=[0.5, 0.25], propensity_kind="conditional",
        eligible="hash", removed=[], segment=[0, 2], scores=[1.5, -0.5], seed=2**63 - 1,
        context={"hour": 20, "tags": ["a"]}, masks=[Masked("rights", "no grant", 3)],
    )  # fmt: skip
    lake.put(
        [
            decision,
            Member(member_id="m1", country="NL"),
            Title(title_id="t1", name="Heat", genres=["crime"]),
            Window(title_id="t1", ends_at=DAY),
        ]
    )
    for _ in range(2):
        (row,) = lake.scan("decisions").collect().to_dicts()
        assert (row["seed"], row["scores"], row["segment"]) == (2**63 - 1, [1.5, -0.5], [0, 2])
        assert row["context"] == '{"hour":20,"tags":["a"]}'
        assert row["masks"] == '[{"name":"rights","reason":"no grant","count":3}]'
        (title,) = lake.current("titles").to_dicts()
        assert (title["name"], title["genres"], title["cast"]) == ("Heat", ["crime"], [])
        assert lake.current("windows")["country"].to_list() == ["*"]
        lake.seal()


def test_versions_of_a_row(lake: Lake) -> None:
    moves = ["NL", "US", "US", "NL"]
    for number, country in enumerate(moves):
        lake.put([Member(member_id="m1", country=country)])
        if number % 2:
            lake.seal()
    history = lake.scan("members").sort("seq").collect()
    assert history["country"].to_list() == ["NL", "US", "NL"]
    assert lake.current("members")["country"].to_list() == ["NL"]
    then = history["known_at"][1]
    assert lake.current("members", as_of=then)["country"].to_list() == ["US"]


def test_importing_old_versions_again_adds_nothing(lake: Lake) -> None:
    versions = pl.DataFrame(
        {
            "title_id": ["t", "t", "t"],
            "name": ["Working title", "Heat", "Working title"],
            "known_at": [DAY, DAY + HOUR, DAY + 2 * HOUR],
        }
    )
    assert lake.append("titles", versions, source="catalogue").rows == 3
    assert lake.append("titles", versions, source="catalogue").rows == 0
    assert lake.current("titles", as_of=DAY + HOUR)["name"].to_list() == ["Heat"]
    assert lake.current("titles")["name"].to_list() == ["Working title"]


def test_of_two_rows_of_a_key_in_one_catalogue_the_last_counts(lake: Lake) -> None:
    catalogue = pl.DataFrame({"title_id": ["t", "u", "t"], "name": ["Heat", "Ran", "Heat (1995)"]})
    assert lake.append("titles", catalogue, source="catalogue").rows == 2
    assert lake.append("titles", catalogue, source="catalogue").rows == 0
    assert lake.current("titles")["name"].to_list() == ["Heat (1995)", "Ran"]


def test_as_of_is_the_same_whenever_it_is_asked(lake: Lake) -> None:
    lake.put([play(1, value=1.0), play(2, "m2")])
    lake.append("events", frame([play(3)]), source="log")
    lake.put([play(4)])
    then = datetime.now(UTC)
    before = read(lake, as_of=then)
    assert before.height == 4

    def same() -> bool:
        return read(lake, as_of=then).sort("seq").equals(before.sort("seq"))

    lake.put([play(5)])
    assert same()
    lake.append("events", frame([play(4, value=9.0), play(1, value=9.0), play(6)]), source="log")
    assert same()
    lake.seal()
    assert same()
    lake.compact(least=2)
    assert same()
    lake.expire(timedelta(0))
    assert same()
    assert read(lake).height == 6


def test_as_of_is_the_same_while_rows_arrive(lake: Lake) -> None:
    stop = threading.Event()

    def arrive() -> None:
        number = 0
        while not stop.is_set():
            lake.put([play(number, f"m{number % 9}")])
            number += 1
            if number % 50 == 0:
                lake.append("events", frame([play(number + 10**6)]), source="log")
            if number % 120 == 0:
                lake.tables["events"].seal()

    writer = threading.Thread(target=arrive)
    writer.start()
    moments = []
    for _ in range(15):
        then = datetime.now(UTC)
        moments.append((then, ids(lake.scan("events", as_of=then))))
    stop.set()
    writer.join()
    for then, seen in moments:
        assert ids(lake.scan("events", as_of=then)) == seen
    assert len(moments[0][1]) < len(moments[-1][1])


def test_every_row_is_seen_once_while_files_are_sealed_and_merged(lake: Lake) -> None:
    stop = threading.Event()

    def keep_house() -> None:
        while not stop.is_set():
            lake.tables["events"].seal(limit=25)
            lake.tables["events"].compact(least=2)
            lake.expire(HOUR)

    housekeeper = threading.Thread(target=keep_house)
    housekeeper.start()
    expected: list[str] = []
    try:
        for start in range(0, 400, 20):
            lake.put([play(n, f"m{n % 9}") for n in range(start, start + 20)])
            expected += [f"m{n % 9}/e{n}" for n in range(start, start + 20)]
            assert ids(read(lake)) == sorted(expected)
    finally:
        stop.set()
        housekeeper.join()


def test_a_long_tail_is_sealed_before_it_is_read(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("matinee.lake.table.SEAL_ROWS", 10)
    lake.put([play(n, f"m{n}") for n in range(35)])
    buckets = lake.tables["events"].buckets()
    assert sum(bucket.tail.height for bucket in buckets) <= 10
    assert sum(bucket.read().height for bucket in buckets) == 35


def test_compaction_keeps_every_row_and_sorts(lake: Lake) -> None:
    for start in range(0, 60, 10):
        lake.append(
            "events", frame(play((n * 37) % 60, f"m{n % 4}") for n in range(start, start + 10)),
            source="log",
        )  # fmt: skip
    before = ids(lake.scan("events"))
    lake.compact(least=2)
    assert ids(lake.scan("events")) == before
    for bucket in lake.tables["events"].buckets():
        assert len(bucket.files) <= 1
        rows = bucket.read()
        assert rows.equals(rows.sort("member_id", "ts", "seq"))
    assert lake.summary().filter(table="events")["files"].item() <= 4


def test_a_reader_keeps_its_files_until_they_expire(lake: Lake) -> None:
    for start in (0, 10):
        lake.append("events", frame(play(n) for n in range(start, start + 10)), source="log")
    pinned = lake.tables["events"].buckets()
    lake.compact(least=2)
    assert lake.expire(HOUR) == (0, 0)
    assert sum(bucket.read().height for bucket in pinned) == 20
    assert lake.expire(timedelta(0))[1] == 2
    with pytest.raises(MatineeError, match="cannot be read"):
        [bucket.read() for bucket in pinned]
    assert read(lake).height == 20


def test_a_file_is_kept_from_when_it_was_replaced_not_from_when_it_was_written(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    for start in (0, 10):
        lake.append("events", frame(play(n) for n in range(start, start + 10)), source="log")
    pinned = lake.tables["events"].buckets()
    for bucket in pinned:
        for path in bucket.files:
            os.utime(path, (0, 0))
    lake.compact(least=2)
    lake.expire(HOUR)
    assert sum(bucket.read().height for bucket in pinned) == 20


def test_inbox_rows_are_kept_from_when_they_were_sealed(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as long_ago:
        long_ago.setattr("matinee.lake.inbox.time.time_ns", lambda: 10**15)
        lake.put([play(1)])
    lake.seal()
    assert lake.expire(HOUR) == (0, 0)
    assert len(lake.inbox.rows()) == 1
    assert lake.expire(timedelta(0))[0] == 1
    assert lake.inbox.rows() == []
    assert read(lake).height == 1


def test_rows_that_are_not_sealed_never_expire(lake: Lake) -> None:
    lake.put([play(1), Member(member_id="m1")])
    lake.tables["events"].seal()
    assert lake.expire(timedelta(0))[0] == 1
    assert lake.current("members").height == 1


def test_numbers_stay_unique_when_the_inbox_file_is_lost(tmp_path: Path) -> None:
    with Lake.create(tmp_path / "lake", buckets=2) as lake:
        lake.append("events", frame(play(n) for n in range(10)), source="log")
        lake.put([play(11)])
        lake.seal()
        lake.append("events", frame([play(12)]), source="log")
    for path in (tmp_path / "lake").glob("inbox.db*"):
        path.unlink()
    with Lake.open(tmp_path / "lake") as lake:
        lake.put([play(13)])
        numbers = read(lake)["seq"].to_list()
        assert len(numbers) == len(set(numbers)) == 13


def _bytes_of(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_a_forgotten_member_is_nowhere_to_be_found(lake: Lake) -> None:
    who, other = "member-to-forget", "member-to-keep"
    for start in range(0, 3000, 100):
        lake.put([play(n, (who, other, f"m{n}")[n % 3]) for n in range(start, start + 100)])
    lake.seal()
    lake.append("events", frame(play(n, who) for n in range(5000, 5050)), source="log")
    lake.append("events", frame(play(n, who, value=-1.0) for n in range(200)), source="bad.csv")
    lake.append("members", pl.DataFrame({"member_id": [who, other]}), source="members.csv")
    lake.compact(least=2)
    lake.put([play(9000, who), play(9001, other)])
    assert who.encode() in _bytes_of(lake.folder)
    removed = lake.forget(who)
    assert removed["events"] == 1000 + 50 + 1
    assert removed["members"] == 1
    assert removed["quarantine"] == 200
    assert who.encode() not in _bytes_of(lake.folder)
    assert set(lake.forget(who).values()) == {0}
    assert lake.scan("events").filter(member_id=other).collect().height == 1000 + 1
    lake.seal()
    assert lake.scan("events").filter(member_id=who).collect().height == 0


def test_members_forgotten_one_after_the_other_leave_no_bytes(lake: Lake) -> None:
    members = [f"member-number-{n:02}" for n in range(30)]
    for start in range(0, 3000, 75):
        lake.put([play(n, members[n % 30]) for n in range(start, start + 75)])
    lake.seal()
    lake.expire(timedelta(0))
    for start in range(3000, 4500, 75):
        lake.put([play(n, members[n % 30]) for n in range(start, start + 75)])
    assert all(member.encode() in _bytes_of(lake.folder) for member in members)
    for count, member in enumerate(members[:15], 1):
        lake.forget(member)
        held = _bytes_of(lake.folder)
        assert not [member for member in members[:count] if member.encode() in held]
    assert read(lake)["member_id"].n_unique() == 15


def test_a_member_with_fifty_thousand_events(lake: Lake) -> None:
    many = frame(play(n, "fan") for n in range(50_000))
    assert lake.append("events", many.sample(fraction=1.0, shuffle=True, seed=1), source="x").rows
    lake.put([play(1, "other"), play(7, "fan")])
    (bucket,) = [b for b in lake.tables["events"].buckets() if b.read().height > 1000]
    rows = bucket.read(["member_id", "ts"]).filter(member_id="fan")
    assert rows.height == 50_000
    assert rows["ts"].is_sorted()
    assert lake.forget("fan")["events"] == 50_000
    assert ids(read(lake)) == ["other/e1"]


def test_the_summary_counts(lake: Lake) -> None:
    lake.append("events", frame(play(n, f"m{n % 3}") for n in range(9)), source="log")
    lake.put([play(10, "m9")])
    (events,) = lake.summary().filter(table="events").to_dicts()
    assert (events["rows"], events["members"], events["unsealed"]) == (10, 4, 1)
    assert (events["first"], events["last"]) == (DAY, DAY + timedelta(seconds=10))
    assert events["bytes"] > 0


def test_a_lake_opens_again_with_its_buckets(tmp_path: Path) -> None:
    with Lake.create(tmp_path / "lake", buckets=3) as lake:
        lake.put([play(1)])
    with Lake.open(tmp_path / "lake") as lake:
        assert lake.bucket_count == 3
        assert read(lake).height == 1


def test_folders_that_are_no_lake(tmp_path: Path) -> None:
    with pytest.raises(MatineeError, match="holds no lake"):
        Lake.open(tmp_path)
    Lake.create(tmp_path / "lake").close()
    with pytest.raises(MatineeError, match="is a lake already"):
        Lake.create(tmp_path / "lake")
    (tmp_path / "lake" / "lake.json").write_text('{"format": 99, "buckets": 16}')
    with pytest.raises(MatineeError, match="another version"):
        Lake.open(tmp_path / "lake")
    (tmp_path / "lake" / "lake.json").write_text('{"format":')
    with pytest.raises(MatineeError, match="cannot be read"):
        Lake.open(tmp_path / "lake")
    with pytest.raises(ValueError, match="at least one bucket"):
        Lake.create(tmp_path / "other", buckets=0)


def _create(folder: Path, buckets: int) -> None:
    with suppress(MatineeError):
        Lake.create(folder, buckets).close()


def test_two_processes_create_the_same_lake(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=_create, args=(tmp_path / "lake", n)) for n in (3, 5)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    with Lake.open(tmp_path / "lake") as lake:
        assert lake.bucket_count in {3, 5}
        assert lake.put([play(1)])[0].duplicate is False
