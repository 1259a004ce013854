"""Decisions come back from the log with what was known when they were made."""

from datetime import timedelta

import msgspec
import polars as pl
import pytest

from matinee.decisions.sequences import brief
from matinee.lake.records import micros
from matinee.service.folder import Service
from matinee.service.logged import logged, single_choices
from matinee.service.members import Members
from matinee.service.outcomes import GRACE, close_windows
from service_rows import AT, HOUR, decision, log, play

MINUTES = 5.0


@pytest.fixture
def service(tmp_path):
    with Service.create(tmp_path / "shows", {"lake.buckets": 2}) as made:
        yield made


def only(service, since=AT - HOUR):
    (part,) = logged(service.lake, "titles", since, MINUTES)
    return part


def test_a_closed_decision_comes_with_its_rewards_in_order(service):
    log(service, decision(), play(title="b"))
    close_windows(service)
    part = only(service)
    assert [record.decision_id for record in part.records] == ["d1"]
    assert part.rewards[0].tolist() == [0.0, 1.0]
    assert part.closed_at == [micros(AT + timedelta(hours=24) + GRACE)]
    assert part.unwritten == []
    assert part.unlike == 0


@pytest.mark.parametrize(("name", "held"), [("PART", 2), ("CHOICES", 1)])
def test_a_bucket_comes_in_parts(service, name, held, monkeypatch):
    """Three decisions, two at a time or one that could choose from two actions."""
    three = [decision(f"d{hour}", at=AT + hour * HOUR) for hour in range(3)]
    log(service, *[msgspec.structs.replace(one, segment=[0, 1]) for one in three])
    close_windows(service)
    monkeypatch.setattr(f"matinee.service.logged.{name}", held)
    done = []
    found = [
        ([record.decision_id for record in part.records], len(done))
        for part in logged(service.lake, "titles", AT - HOUR, MINUTES, done.append)
    ]
    assert [names for names, _ in found] == [
        ["d0", "d1", "d2"][i : i + held] for i in range(0, 3, held)
    ]
    assert len({before for _, before in found}) == 1
    assert done == [1, 1]  # the empty bucket too


def test_actions_shown_alone_are_those_of_the_policies_asked_for(service):
    single = decision("d1", actions=("b",))
    log(service, single, decision("d2"), decision("d3", actions=("a",), at=AT + HOUR))
    log(service, msgspec.structs.replace(single, decision_id="d4", policy="other", actions=["c"]))
    assert single_choices(service.lake, "titles", AT - HOUR, {"titles@1"}) == ["a", "b"]
    assert single_choices(service.lake, "titles", AT, {"titles@1", "other"}) == ["a"]


def test_a_decision_whose_window_is_open_waits(service):
    log(service, decision())
    part = only(service)
    assert part.records == []
    assert part.unwritten == [("titles@1", micros(AT))]


def test_a_reward_for_some_of_its_positions_is_none(service):
    log(service, decision(), decision("d2", at=AT + HOUR))
    close_windows(service)
    half = (
        service.lake.scan("outcomes")
        .filter(pl.col("decision_id") == "d1", pl.col("position") == 0)
        .collect()
    )
    other = half.with_columns(decision_id=pl.lit("d3"), known_at=pl.col("closed_at")).drop("seq")
    log(service, decision("d3", at=AT + 2 * HOUR))
    service.lake.append("outcomes", other, source="test")
    part = only(service)
    assert [record.decision_id for record in part.records] == ["d1", "d2"]
    assert part.unwritten == [("titles@1", micros(AT + 2 * HOUR))]


def test_rewards_that_arrive_twice_count_once_and_the_first_stands(service):
    log(service, decision(), play(title="b"))
    close_windows(service)
    again = service.lake.scan("outcomes").with_columns(reward=pl.lit(0.5)).collect()
    added = service.lake.append("outcomes", again.drop("seq"), source="test")
    assert (added.rows, added.duplicates) == (0, 2)
    assert only(service).rewards[0].tolist() == [0.0, 1.0]


def test_an_answer_that_comes_after_window_and_grace_does_not_count(service):
    log(service, decision())
    log(service, play(title="b"), known=AT + timedelta(hours=24) + GRACE + timedelta(seconds=1))
    close_windows(service)
    assert only(service).rewards[0].tolist() == [0.0, 0.0]


def test_decisions_up_to_a_time_are_left_out(service):
    log(service, decision("d1"), decision("d2", at=AT + HOUR))
    close_windows(service)
    assert [record.decision_id for record in only(service, since=AT).records] == ["d2"]


def test_the_history_holds_what_had_happened_and_was_known(service):
    before = play("e1", at=AT - HOUR, title="seen", decision_id=None)
    again = play("e2", at=AT - 3 * HOUR, title="seen", decision_id=None)
    first = play("e3", at=AT - 2 * HOUR, title="first", decision_id=None)
    short = play("e4", at=AT - HOUR, title="short", decision_id=None, minutes=1.0)
    late = play("e5", at=AT - HOUR, title="late", decision_id=None)
    log(service, before, again, first, short)
    log(service, late, known=AT + HOUR)
    log(service, decision(), play("e6"))
    close_windows(service)
    (history,) = only(service).histories
    assert history.titles == ("first", "seen")
    assert history.times == (micros(AT - 2 * HOUR), micros(AT - HOUR))


def test_a_history_is_the_one_that_was_served_then(service):
    """At each of three times, from what members had done and the catalogue said by then."""
    events = [
        play(f"e{hour}", at=AT + hour * HOUR, title="abc"[hour % 3], decision_id=None, minutes=45.0)
        for hour in range(9)
    ]
    click = play("c", at=AT + HOUR / 2, title="z", decision_id=None)
    events.insert(1, msgspec.structs.replace(click, kind="click", value=None))
    served = []
    for number, part in enumerate((events[:3], events[3:5], events[5:])):
        at = AT + 10 * number * HOUR + 9 * HOUR
        log(service, *part, known=at - HOUR)
        runtime = pl.DataFrame({"title_id": ["a"], "name": ["A"], "known_at": [at - HOUR],
                                "runtime_minutes": [90.0 * (number + 1)]})  # fmt: skip
        service.lake.append("titles", runtime, source="test")
        history = Members(service.lake, MINUTES).history("m1")
        served.append((history.titles, history.times, history.met))
        told = {"history": brief(history)}
        one = decision(f"d{number}", at=at)
        log(service, msgspec.structs.replace(one, context=told))
    close_windows(service)
    part = only(service)
    assert part.unlike == 0
    assert [(one.titles, one.times, one.met) for one in part.histories] == served
    assert len({one.met.weights[one.met.titles.index("a")] for one in part.histories}) == 3
    assert part.histories[-1].met.titles.index("z") < len(part.histories[-1].titles)


def test_a_record_of_before_there_were_signals_is_read_as_it_was(service):
    """It tells of watches alone, and a click has come since that it does not know of."""
    click = play("e2", at=AT - HOUR, title="b", decision_id=None)
    log(service, play("e1", at=AT - 2 * HOUR, decision_id=None))
    log(service, msgspec.structs.replace(click, kind="click", value=None))
    told = {"history": {"titles": 1, "last": micros(AT - 2 * HOUR)}}
    log(service, msgspec.structs.replace(decision(), context=told))
    more = {"history": {**told["history"], "met": 1}}
    log(service, msgspec.structs.replace(decision("d2"), context=more))
    close_windows(service)
    part = only(service)
    assert [record.decision_id for record in part.records] == ["d1"]
    assert part.unlike == 1


def test_a_member_without_events_has_an_empty_history(service):
    log(service, decision())
    close_windows(service)
    assert only(service).histories[0].titles == ()


def test_a_history_that_is_not_the_one_of_the_record_is_counted_and_left_out(service):
    told = {"history": {"titles": 3, "last": micros(AT - timedelta(days=1))}}
    log(service, msgspec.structs.replace(decision(), context=told), decision("d2"))
    close_windows(service)
    part = only(service)
    assert [record.decision_id for record in part.records] == ["d2"]
    assert part.unlike == 1
