"""Shares of pictures, counted on a log that was written by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from matinee.insights.shares import Share, shares, shares_of
from matinee.lake.records import Decision, Outcome
from matinee.service.folder import Service
from visits import append

AT = datetime(2026, 3, 1, 20, tzinfo=UTC)
ODD = 'a/b "c" é'


def decision(member: str, action: str, subject: str | None, **changed: object) -> Decision:
    values = {
        "decision_id": f"{member}-{action}-{subject}",
        "request_id": "r",
        "surface": "artwork",
        "member_id": member,
        "at": AT,
        "policy": "artwork@1",
        "actions": [action],
        "propensities": [0.5],
        "propensity_kind": "conditional",
        "eligible": "all",
        "removed": [],
        "segment": [],
        "scores": [],
        "seed": 1,
        "subject": subject,
    }
    return Decision(**{**values, **changed})


def outcome(one: Decision, reward: float) -> Outcome:
    return Outcome(
        decision_id=one.decision_id,
        member_id=one.member_id,
        surface=one.surface,
        position=0,
        action=one.actions[0],
        reward=reward,
        decided_at=AT,
        closed_at=AT + timedelta(days=1),
    )


@pytest.fixture
def service(tmp_path):
    with Service.create(tmp_path / "shows", {"lake.buckets": 3}) as made:
        yield made


@pytest.fixture
def logged(service):
    """Of heat ten choices: six of its picture 1, three of them taken; one of 2 is still open."""
    first = [decision(f"m{n}", "heat.1", "heat") for n in range(6)]
    second = [decision(f"m{n}", "heat.2", "heat", policy="artwork@uniform") for n in range(6, 9)]
    still_open = decision("m9", "heat.2", "heat", policy="artwork@uniform")
    odd = decision("m0", ODD, ODD)
    others = [decision("m0", "t", None, surface="titles"), decision("m0", "x", "heat", surface="o")]
    closed = [*zip(first, [1, 1, 1, 0, 0, 0], strict=True), *((one, 0) for one in second), (odd, 1)]
    append(service, "decisions", [*first, *second, still_open, odd, *others], AT)
    append(service, "outcomes", [outcome(one, float(reward)) for one, reward in closed], AT)
    return service


def test_every_choice_is_counted_once(logged):
    assert shares(logged, "artwork") == {
        "heat": {"heat.1": Share(6, 0.6, 6, 3.0), "heat.2": Share(4, 0.4, 3, 0.0)},
        ODD: {ODD: Share(1, 1.0, 1, 1.0)},
    }


def test_a_rate_is_of_what_is_closed():
    assert Share(6, 0.6, 4, 1.0).rate == 0.25
    assert Share(6, 0.6, 0, 0.0).rate is None


def test_of_one_subject_by_who_chose(logged):
    found = shares_of(logged, "artwork", "heat")
    assert {name: one.drawn for name, one in found.together.items()} == {"heat.1": 6, "heat.2": 4}
    assert list(found.arms) == ["artwork@1", "artwork@uniform"]
    assert found.arms["artwork@1"].keys() == {"heat.1"}
    by_chance = found.arms["artwork@uniform"]["heat.2"]
    assert (by_chance.drawn, by_chance.share) == (4, 1.0)
    reward = found.together["heat.1"].reward
    assert reward.value == 0.5
    assert reward.low < 0.5 < reward.high


def test_intervals_are_by_member(service):
    """Ten choices for one of two members are worth no more than two members are."""
    often = [decision("a", "p", "t", decision_id=f"a{n}") for n in range(10)]
    append(service, "decisions", [*often, decision("b", "p", "t")], AT)
    append(service, "outcomes", [outcome(one, 1.0) for one in often], AT)
    append(service, "outcomes", [outcome(decision("b", "p", "t"), 0.0)], AT)
    reward = shares_of(service, "artwork", "t").together["p"].reward
    assert reward.value == pytest.approx(10 / 11)
    assert reward.high - reward.low > 0.3


def test_what_is_not_closed_has_no_reward(service):
    append(service, "decisions", [decision("a", "p", "t")], AT)
    assert shares_of(service, "artwork", "t").together["p"].reward is None
    assert shares(service, "artwork")["t"]["p"].rate is None


def test_rows_that_are_not_sealed_yet_count_too(logged):
    logged.lake.put([decision("late", "heat.2", "heat")])
    assert shares(logged, "artwork")["heat"]["heat.2"].drawn == 5
    assert shares_of(logged, "artwork", "heat").together["heat.2"].drawn == 5


def test_an_empty_log_has_no_shares(service):
    assert shares(service, "artwork") == {}
    found = shares_of(service, "artwork", "heat")
    assert (found.together, found.arms) == ({}, {})
