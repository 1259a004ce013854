"""What the lake holds is told as it is: rows, days, what waits, what was refused, who is late."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from matinee.errors import MatineeError
from matinee.insights.freshness import freshness
from matinee.insights.inventory import inventory
from matinee.insights.tables import UnknownTableError, table
from matinee.lake.billing import Instrument
from matinee.lake.records import Member, Title, Window
from matinee.lake.schemas import SCHEMAS
from matinee.service.folder import Service
from matinee.service.leases import Leases
from service_rows import AT, decision, log, play

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
NOW = datetime.now(UTC).replace(microsecond=0)
CARD = "4111 1111 1111 1111"


@pytest.fixture
def service(tmp_path):
    with Service.create(tmp_path / "shows", {"lake.buckets": 2}) as made:
        yield made


def of(found, name="events"):
    return next(one for one in found.tables if one.name == name)


def days_of(held):
    return {one.day.date(): one.rows for one in held.days}


def refuse(service, *names, source="bad.csv", **columns):
    """Events whose time is missing and nothing else, unless `columns` says otherwise."""
    good = {"member_id": "m1", "kind": "play", "title_id": "t1", **columns}
    missing = pl.lit(None, pl.Datetime("us", "UTC"))
    rows = pl.DataFrame({"event_id": list(names)}).with_columns(
        **{"ts": missing, **{name: pl.lit(value) for name, value in good.items()}}
    )
    assert service.lake.append("events", rows, source=source).rejected == len(names)


def test_an_empty_lake_has_every_table_and_nothing_in_it(service):
    found = inventory(service)
    assert [one.name for one in found.tables] == list(SCHEMAS)
    for one in found.tables:
        assert (one.rows, one.files, one.bytes, one.version, one.known_at) == (0, 0, 0, None, None)
        assert one.freshness.state == "empty"
        assert one.problem == ""
        assert sum(day.rows for day in one.days) == 0
        assert table(service, one.name).latest == ()
    assert found.refused == found.kinds == 0
    assert all(job.lag is None and not job.late for job in found.work)


def test_a_table_tells_its_rows_its_files_and_its_times(service):
    log(service, *[play(f"e{n}", f"m{n}", AT + n * HOUR) for n in range(8)])
    held = of(inventory(service, AT + DAY))
    stored = list((service.folder / "lake/tables/events").glob("bucket=*/*.parquet"))
    assert (held.rows, held.files, held.buckets) == (8, len(stored), 2)
    assert held.bytes == sum(path.stat().st_size for path in stored)
    assert (
        held.version == len(list((service.folder / "lake/tables/events/_delta_log").glob("0*"))) - 1
    )
    assert held.known_at == held.happened_at == AT + 7 * HOUR


def test_days_are_those_when_rows_were_known_the_last_fourteen(service):
    midnight = datetime(2026, 3, 20, tzinfo=UTC)
    just_before = midnight - timedelta(microseconds=1)
    for name, known in (("a", midnight), ("b", midnight), ("c", just_before)):
        log(service, play(name), known=known)
    log(service, play("d"), known=midnight - 13 * DAY)
    log(service, play("e"), known=midnight - 13 * DAY - HOUR)
    held = of(inventory(service, midnight + 23 * HOUR))
    assert len(held.days) == 14
    assert held.days[-1].day == midnight
    counts = {day: rows for day, rows in days_of(held).items() if rows}
    assert counts == {
        midnight.date(): 2,
        just_before.date(): 1,
        (midnight - 13 * DAY).date(): 1,
    }
    assert held.rows == 5
    assert held.happened_at == AT + HOUR


def test_what_waits_is_counted_with_its_age_and_is_among_the_rows(service):
    log(service, play("sealed"))
    began = datetime.now(UTC)
    service.lake.put([play("w1"), play("w2")])
    service.lake.put([play("w3")])
    held = of(inventory(service, datetime.now(UTC) + 2 * HOUR))
    assert (held.rows, held.waiting.rows, held.files) == (4, 3, 1)
    assert began - timedelta(seconds=1) < held.waiting.since < datetime.now(UTC)
    assert 7200 <= held.waiting.seconds < 7260
    assert held.waiting.stuck
    assert not of(inventory(service)).waiting.stuck
    service.lake.seal()
    held = of(inventory(service))
    assert (held.rows, held.waiting.rows, held.waiting.since) == (4, 0, None)


def test_a_row_that_comes_again_after_it_was_purged_counts_once(service):
    service.lake.put([play("e1")])
    service.lake.seal()
    service.lake.expire(timedelta(0))
    service.lake.put([play("e1")])
    held = of(inventory(service))
    assert (held.rows, held.waiting.rows) == (1, 1)


def test_versioned_tables_happen_at_no_time(service):
    service.lake.put([Title(title_id="heat", name="Heat"), Member(member_id="m1")])
    found = inventory(service)
    assert of(found, "titles").happened_at is None
    assert of(found, "titles").known_at is not None
    assert of(found, "titles").freshness.state == "seldom"
    assert of(found, "titles").buckets == 1


def test_refused_rows_stand_by_reason_with_the_newest(service):
    refuse(service, "a", "b", source="old.csv")
    refuse(service, "c", source="new.csv")
    refuse(service, "d", kind="dance", ts=NOW)
    found = inventory(service)
    assert (found.refused, found.kinds) == (4, 2)
    first, second = found.reasons
    assert (first.table, first.rows, first.source, first.row) == ("events", 3, "new.csv", 1)
    assert (second.rows, second.source) == (1, "bad.csv")
    assert first.reason == "ts is missing"
    assert second.reason.startswith("kind is not one of")
    assert first.latest_at <= second.latest_at <= datetime.now(UTC)
    assert of(found).refused == 4
    assert of(found, "titles").refused == 0


def test_no_number_of_a_card_is_told_wherever_it_stood(service):
    refuse(service, "a", source=f"of {CARD}.csv", title_id=CARD, member_id=CARD)
    log(service, play("b", title=CARD))
    refused = pl.DataFrame({"instrument_id": [CARD], "member_id": ["m1"], "kind": ["card"]})
    service.lake.append("instruments", refused, source="cards.csv")
    told = repr([inventory(service), *(table(service, name) for name in SCHEMAS)])
    assert "4111 11** **** 1111" in told
    assert CARD not in told
    assert "4111111111111111" not in told


def test_a_long_text_is_masked_before_it_is_cut(service):
    refuse(service, "a", title_id="x" * 340 + CARD + "y" * 400)
    (example,) = table(service, "events").examples
    assert len(example.data) == 400
    assert "4111 1111" not in example.data


def test_addresses_in_refused_rows_are_not_told(service):
    addresses = ["ann.lee+tv@example.org", "ann＠example.org", "ann%40example.org"]
    for name, address in zip("abc", addresses, strict=True):
        refuse(service, name, member_id=address)
    told = repr(table(service, "events"))
    assert "…@…" in told
    assert "ann" not in told
    assert "example.org" not in told


def test_ten_thousand_refused_rows_are_counted_and_the_last_are_told(service):
    names = [f"e{number}" for number in range(10_000)]
    refuse(service, *names)
    found = table(service, "events")
    assert (found.holding.refused, found.reasons[0].rows) == (10_000, 10_000)
    assert [one.row for one in found.examples] == list(range(10_000, 9_980, -1))
    assert '"e9999"' in found.examples[0].data


def test_many_reasons_are_told_up_to_a_hundred_the_commonest_first(service, monkeypatch):
    rows = [(NOW, "events", "s", n, f"reason {n // 2 if n < 10 else n}", "{}") for n in range(300)]
    names = ["at", "table", "source", "row", "reason", "data"]
    kept = pl.DataFrame(rows, schema=names, orient="row")
    monkeypatch.setattr(service.lake, "quarantine", lambda: kept)
    found = inventory(service)
    assert (found.refused, found.kinds, len(found.reasons)) == (300, 295, 100)
    assert [one.rows for one in found.reasons[:6]] == [2, 2, 2, 2, 2, 1]


def test_a_table_tells_its_columns_and_what_they_mean(service):
    found = table(service, "events")
    columns = {one.name: one for one in found.columns}
    assert list(columns) == list(SCHEMAS["events"].stored)
    assert columns["kind"].meaning.startswith("one of click, complete, impression, play")
    assert "minutes watched" in columns["value"].meaning
    assert (columns["ts"].type, columns["ts"].required) == ("time, UTC", True)
    assert (columns["country"].type, columns["country"].required) == ("text", False)
    assert found.key == ("member_id", "event_id")
    assert found.order == ("member_id", "ts", "seq")
    assert not found.versioned
    assert found.about[0] == "Something a member did, or was shown."


def test_every_column_of_every_table_has_a_type_and_a_meaning(service):
    for name in SCHEMAS:
        found = table(service, name)
        assert all(one.type and one.meaning for one in found.columns)
        assert not any(mark in said for said in found.about for mark in ("`", "**", ">>>"))
        assert not any("(" in one.type for one in found.columns)


def test_json_and_numbers_are_left_out_of_rows_and_lists_are_cut(service):
    log(service, decision(actions=("a", "b", "c", "d", "e")), decision("d2", actions=()))
    second, first = table(service, "decisions").latest
    assert first["actions"] == "a, b, c, …"
    assert second["actions"] == ""
    assert not {"propensities", "scores", "segment", "removed", "context", "masks"} & set(first)
    assert first["at"] == AT
    assert table(service, "decisions").columns[7].type == "list of numbers"


def test_the_twenty_rows_that_came_last_stand_first_sealed_or_not(service):
    log(service, *[play(f"old{n}", at=AT + n * HOUR) for n in range(30)])
    service.lake.put([play("new", at=AT - DAY), play("long" * 40, at=AT)])
    latest = table(service, "events").latest
    assert [row["event_id"] for row in latest[:3]] == ["long" * 19 + "lon…", "new", "old29"]
    assert len(latest) == 20
    assert len({row["seq"] for row in latest}) == 20


def test_a_table_that_there_is_not_is_an_error(service):
    for name in ("../x", "", "events/", "EVENTS", "a" * 10_000, "<script>", "\0"):
        with pytest.raises(UnknownTableError, match="the tables are members") as told:
            table(service, name)
        assert isinstance(told.value, MatineeError)
        assert len(told.value.what) < 120


def test_a_torn_table_says_so_and_the_others_are_told(service):
    log(service, play())
    service.lake.put([Window(title_id="heat")])
    (path,) = (service.folder / "lake/tables/events").glob("bucket=*/*.parquet")
    path.write_bytes(b"torn")
    found = inventory(service)
    assert "matinee repair" in of(found).problem
    assert of(found).rows == 1
    assert of(found).freshness.state == "empty"
    assert (of(found, "windows").rows, of(found, "windows").problem) == (1, "")
    assert table(service, "events").latest == ()


def test_a_column_that_is_torn_leaves_the_rest_of_a_table_told(service):
    service.lake.put([play(f"e{n}") for n in range(100)])
    service.lake.seal()
    (path,) = (service.folder / "lake/tables/events").glob("bucket=*/*.parquet")
    whole = path.read_bytes()
    path.write_bytes(whole[:4] + bytes(100) + whole[104:])
    held = of(inventory(service))
    assert (held.rows, held.happened_at, held.problem) == (100, AT + HOUR, "")
    found = table(service, "events")
    assert found.latest == ()
    assert "matinee repair" in found.holding.problem
    assert found.holding.rows == 100


def test_jobs_tell_their_last_run_their_lag_and_their_failures(service):
    leases = Leases(service.store)
    with leases.hold("seal"):
        leases.finished("seal", result="3 events", failed=False)
        running = {job.name: job for job in inventory(service).work}["seal"]
    for _ in range(2):
        with leases.hold("compact"):
            leases.finished("compact", result=f"failed: {CARD}", failed=True)
    with leases.hold("gone"):
        leases.finished("gone", result="", failed=False)
    work = {job.name: job for job in inventory(service, datetime.now(UTC) + 5 * HOUR).work}
    assert running.running
    assert running.lag == 0.0
    seal, every = work["seal"], service.settings.lake.seal_every.delta.total_seconds()
    assert (seal.every, seal.failures, seal.result) == (every, 0, "3 events")
    assert seal.lag == pytest.approx(5 * 3600 - every, abs=60)
    assert seal.late
    assert (work["compact"].failures, work["compact"].succeeded_at) == (2, None)
    assert work["compact"].result == "failed: 4111 11** **** 1111"
    assert (work["gone"].every, work["gone"].lag, work["gone"].late) == (None, None, False)
    assert (work["outcomes"].started_at, work["outcomes"].late) == (None, False)


def test_a_job_is_late_after_three_of_its_intervals_and_a_minute(service):
    leases = Leases(service.store)
    with leases.hold("expire"):
        leases.finished("expire", result="", failed=False)
    (done,) = [one.succeeded_at for one in leases.statuses()]
    for after, late in ((3 * HOUR, False), (3 * HOUR + timedelta(seconds=61), True)):
        work = {job.name: job for job in inventory(service, done + after).work}
        assert work["expire"].late is late


def every(days, start=datetime(2026, 1, 5, tzinfo=UTC)):
    return [start + int(day) * DAY for day in days]


def test_a_daily_log_is_late_after_three_days(service):
    days = every(range(30))
    newest = days[-1] + 20 * HOUR
    assert freshness(days, newest, newest + 3 * DAY).state == "on time"
    late = freshness(days, newest, newest + 3 * DAY + HOUR)
    assert (late.state, late.usual) == ("late", 1)
    assert late.silent == pytest.approx(3 + 1 / 24)


def test_a_log_of_weekdays_keeps_its_weekends_and_a_weekly_one_its_weeks():
    weekdays = every(day for day in range(60) if day % 7 < 5)
    monday = weekdays[-1] + 3 * DAY
    assert freshness(weekdays, weekdays[-1], monday + 23 * HOUR).state == "on time"
    weekly = every(range(0, 140, 7))
    assert freshness(weekly, weekly[-1], weekly[-1] + 20 * DAY).state == "on time"
    assert freshness(weekly, weekly[-1], weekly[-1] + 22 * DAY).state == "late"


def test_one_outage_does_not_make_a_rhythm():
    days = every([*range(20), *range(50, 70)])
    assert freshness(days, days[-1], days[-1] + 4 * DAY).state == "late"


def test_bursts_a_month_apart_are_a_rhythm():
    days = every(month * 30 + day for month in range(8) for day in range(3))
    assert freshness(days, days[-1], days[-1] + 80 * DAY).state == "on time"
    assert freshness(days, days[-1], days[-1] + 90 * DAY).state == "late"


def test_what_has_few_days_is_young_and_what_ended_long_ago_has_stopped():
    days = every(range(7))
    assert freshness(days, days[-1], days[-1] + 300 * DAY).state == "young"
    days = every(range(8))
    assert freshness(days, days[-1], days[-1] + 59 * DAY).state == "late"
    assert freshness(days, days[-1], days[-1] + 60 * DAY).state == "stopped"
    assert freshness([], None, NOW).state == "empty"


def test_a_row_that_is_known_a_little_after_now_is_not_late():
    days = every(range(10))
    found = freshness(days, days[-1], days[-1] - HOUR)
    assert (found.state, found.silent) == ("on time", 0.0)


def test_a_log_that_comes_by_chance_is_hardly_ever_called_late():
    chance, looks, wrong = np.random.default_rng(1), 0, 0
    for _ in range(50):
        share = chance.uniform(0.05, 0.95)
        days = every(np.flatnonzero(chance.random(400) < share))
        for count in range(20, len(days) - 1):
            looks += 1
            found = freshness(days[:count], days[count - 1], days[count])
            wrong += found.state not in {"on time", "young"}
    assert looks > 5_000
    assert wrong < 0.005 * looks


def test_what_changes_seldom_is_never_late(service):
    ids, known = [f"x{n}" for n in range(30)], every(range(30))
    written = {
        "members": {"member_id": ids},
        "titles": {"title_id": ids, "name": ids},
        "windows": {"title_id": ids},
        "pictures": {"picture_id": ids, "title_id": ids},
    }
    for name, columns in written.items():
        service.lake.append(name, pl.DataFrame({**columns, "known_at": known}), source="daily")
    for silent in (DAY, 10 * DAY, 400 * DAY):
        found = inventory(service, known[-1] + silent)
        for name in written:
            assert of(found, name).rows == 30
            assert of(found, name).freshness.state == "seldom"


def test_a_daily_log_in_the_lake_is_late_and_its_waiting_rows_make_it_fresh(service):
    start = NOW - 40 * DAY
    for day in range(36):
        log(service, play(f"e{day}", at=start + day * DAY))
    assert of(inventory(service, NOW)).freshness.state == "late"
    service.lake.put([play("now", at=NOW)])
    assert of(inventory(service)).freshness.state == "on time"


def test_nothing_of_it_writes_to_the_lake(service):
    log(service, play())
    service.lake.put([Instrument(instrument_id="i", member_id="m", kind="card", network="visa")])
    before = {path: path.stat().st_mtime_ns for path in service.folder.rglob("*.parquet")}
    versions = [one.version for one in inventory(service).tables]
    for name in SCHEMAS:
        table(service, name)
    assert [one.version for one in inventory(service).tables] == versions
    after = {path: path.stat().st_mtime_ns for path in service.folder.rglob("*.parquet")}
    assert after == before
