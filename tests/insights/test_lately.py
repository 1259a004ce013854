"""What was decided for a member of late: read from a log that was written by hand."""

from datetime import UTC, datetime, timedelta

import pytest

from matinee.insights.lately import lately
from matinee.lake.records import Decision, Outcome, Title
from matinee.service.folder import Service
from matinee.service.outcomes import GRACE
from visits import append

NOW = datetime.now(UTC).replace(microsecond=0)
ODD = 'a/b "c" <i>é🎬</i>\'..'


@pytest.fixture
def service(tmp_path):
    with Service.create(tmp_path / "shows", {"lake.buckets": 2}) as made:
        append(made, "titles", [Title(title_id=f"t{n}", name=f"Number {n}") for n in range(9)], NOW)
        yield made


def decision(name, hours=1, member="m1", **changed):
    values = {
        "decision_id": name,
        "request_id": "r",
        "surface": "titles",
        "member_id": member,
        "at": NOW - timedelta(hours=hours),
        "policy": "titles@1",
        "actions": ["t1"],
        "propensities": [0.5],
        "propensity_kind": "conditional",
        "eligible": "all",
        "removed": [],
        "segment": [],
        "scores": [],
        "seed": 1,
    }
    return Decision(**{**values, **changed})


def outcome(one, position, reward):
    return Outcome(
        decision_id=one.decision_id,
        member_id=one.member_id,
        surface=one.surface,
        position=position,
        action=one.actions[position],
        reward=reward,
        decided_at=one.at,
        closed_at=NOW,
    )


def ids(found):
    return [one.decision_id for one in found]


def test_the_newest_come_first_wherever_they_lie(service):
    append(service, "decisions", [decision("old", 9), decision("older", 10)], NOW)
    service.lake.put([decision("new", 2), decision("between", 9.5)])
    assert ids(lately(service, "m1")) == ["new", "old", "between", "older"]
    service.lake.seal()
    assert ids(lately(service, "m1")) == ["new", "old", "between", "older"]


def test_no_more_than_wanted(service):
    append(service, "decisions", [decision(f"d{n:02d}", 1 + n) for n in range(14)], NOW)
    service.lake.put([decision(f"e{n}", 0.1 + n) for n in range(3)])
    assert ids(lately(service, "m1")) == [
        "e0", "d00", "e1", "d01", "e2", "d02", "d03", "d04", "d05", "d06"
    ]  # fmt: skip


def test_of_equal_times_the_order_is_always_the_same(service):
    append(service, "decisions", [decision(name) for name in "bca"], NOW)
    assert ids(lately(service, "m1", 2)) == ["c", "b"]


@pytest.mark.parametrize("member", ["m2", ODD, "..", "m1'", "x" * 200])
def test_only_those_of_the_member(service, member):
    append(service, "decisions", [decision("mine"), decision("theirs", member=member)], NOW)
    assert ids(lately(service, "m1")) == ["mine"]
    assert ids(lately(service, member)) == ["theirs"]


def test_nobody_has_none(service):
    assert lately(service, "nobody") == ()


def test_what_came_of_them_is_the_sum_over_their_slots(service):
    three = decision("three", actions=["t1", "t2", "t3"], propensities=[0.5] * 3)
    lost, waits = decision("lost", 2), decision("waits", 3)
    append(service, "decisions", [three, lost, waits], NOW)
    append(service, "outcomes", [outcome(three, 0, 1.0), outcome(lost, 0, 0.0)], NOW)
    service.lake.put([outcome(three, 2, 1.0)])
    found = lately(service, "m1")
    assert [one.reward for one in found] == [2.0, 0.0, None]
    assert found[2].closes == NOW - timedelta(hours=3) + service.surfaces["titles"].window + GRACE


def test_titles_are_named_and_others_called_by_their_ids(service):
    many = [f"t{n}" for n in range(8)]
    shown = decision("shown", 1, actions=many, propensities=[0.5] * 8, row="picks", arm="x:y")
    drawn = decision("drawn", 2, surface="artwork", actions=[ODD], subject="t4")
    gone = decision("gone", 3, surface="gone", actions=[], propensities=[])
    append(service, "decisions", [shown, drawn, gone], NOW)
    found = lately(service, "m1")
    assert [one.named for one in found] == [("Number 0", "Number 1", "Number 2"), (ODD,), ()]
    assert [one.slots for one in found] == [8, 1, 0]
    assert [one.about for one in found] == [None, "Number 4", None]
    assert (found[0].row, found[0].arm) == ("picks", "x:y")
    assert found[2].closes is None


def test_a_forgotten_member_has_none(service):
    append(service, "decisions", [decision("sealed")], NOW)
    service.lake.put([decision("fresh", 0.5)])
    service.lake.forget("m1")
    assert lately(service, "m1") == ()
