"""A surface at a glance: numbers worked out by hand, and what may be done when."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from matinee.decisions import Decider
from matinee.errors import MatineeError
from matinee.evaluation.gate import Verdict
from matinee.evaluation.intervals.base import Interval
from matinee.insights.bought import bought
from matinee.insights.overview import overview
from matinee.policies import EpsilonGreedy
from matinee.registry import Approvals, against_champion
from matinee.service.changes import Change, change
from matinee.service.folder import Service
from matinee.service.outcomes import close_windows
from matinee.surfaces import Request
from notes import START, WORTH, Nobody, Notes, champion, decided, version, written

ALWAYS = EpsilonGreedy(epsilon=0.0)
NOW = START + timedelta(days=3)
PASS = Verdict(
    "passes", ("it is better",), (), 0.03, 9000, 4000.0, 0.0, Interval(0.03, 0.01, 0.05, 0.97, "n")
)


@pytest.fixture
def service(notes_service):
    return notes_service


def asked(service, made, member, hours, *, answered):
    """A decision of a version, so long after the start, and whether it was answered."""
    model, policy = service.registry.load(made.id)
    decider = Decider(Notes(), model, policy, version=made.id, histories=Nobody(), salt=bytes(32))
    request = Request(
        request_id=f"{member}-{hours}", member_id=member, at=START + timedelta(hours=hours)
    )
    found = decider.propose(request)
    Notes.answers[found.decision_id] = float(answered)
    return found


def passes(service, candidate, against):
    Approvals(service.registry).record_verdict(
        "notes", candidate, PASS, champion=against, turn=1, anytime=True, by="ann"
    )


def act(service, action, about):
    return change(service, Change(action=action, about=about, reason="because"), "ann")


def of(found, name):
    return next(one for one in found.versions if one.id == name)


def test_traffic_and_days_are_counted_by_policy(service):
    first = champion(service, ALWAYS)
    second = version(service, "finale", ALWAYS)
    decisions = [
        *(asked(service, first, f"m{n}", 1, answered=n < 1) for n in range(4)),
        *(asked(service, second, f"m{n}", 30, answered=True) for n in range(2)),
    ]
    written(service, *decisions)
    close_windows(service)
    found = overview(service, "notes", NOW)
    told = {one.policy: one for one in found.traffic}
    assert {name: (one.decisions, one.members) for name, one in told.items()} == {
        first.id: (4, 4),
        second.id: (2, 2),
    }
    assert told[first.id].share == pytest.approx(4 / 6)
    assert told[first.id].value.value == pytest.approx(0.25)
    assert told[second.id].value.value == pytest.approx(1.0)
    assert [day.decisions for day in found.days] == [{first.id: 4}, {second.id: 2}, {}, {}]
    later = overview(service, "notes", START + timedelta(days=8))
    assert [(one.policy, one.decisions) for one in later.traffic] == [(second.id, 2)]


def test_what_is_not_closed_counts_as_decided_but_brought_nothing_yet(service):
    made = champion(service, ALWAYS)
    written(service, *decided(service, made, 8, worth=dict.fromkeys(WORTH, 1.0)))
    found = overview(service, "notes", NOW)
    assert found.traffic[0].decisions == 8
    assert found.traffic[0].value.value != found.traffic[0].value.value  # nan: nothing is known


def test_how_far_in_the_log_a_training_came_is_no_score(service):
    model, policy = service.registry.load(version(service, "none", ALWAYS).id)
    metrics = {"report": "one", "ndcg@10": 0.25, "through": 575_300}
    made = {"data_as_of": START, "settings": {}, "metrics": metrics, "by": "test"}
    scored = service.registry.register("notes", model, policy, **made)
    assert of(overview(service, "notes"), scored.id).metrics == {"ndcg@10": 0.25}


def test_reigns_and_lineage(service):
    first, second = champion(service, ALWAYS), version(service, "finale", ALWAYS)
    Approvals(service.registry).override("notes", second.id, "ann", "a try")
    service.registry.roll_back("notes", "ann", "it was not")
    found = overview(service, "notes")
    assert found.champion == first.id
    history = [one for one in service.registry.history("notes") if one.action != "register"]
    (came, went), (again, still) = of(found, first.id).reigns
    assert (came, went) == (history[-3].at, history[-2].at)
    assert (again, still) == (history[-1].at, None)
    assert of(found, second.id).reigns == ((history[-2].at, history[-1].at),)
    assert of(found, second.id).state == "was champion"
    assert [line.action for line in found.changes[:2]] == ["roll_back", "override"]


def test_a_simulated_past_has_the_same_dates_wherever_they_stand(service, monkeypatch):
    """A champion is one since it first decided for everyone; who goes back does so now."""
    monkeypatch.setattr(Service, "simulated", True)
    first, second = champion(service, ALWAYS), version(service, "finale", ALWAYS)
    held = replace(asked(service, first, "held", 31, answered=False), arm="before")
    tried = replace(asked(service, second, "tried", 2, answered=False), arm="fresh:treatment")
    early = asked(service, first, "m1", 1, answered=False)
    later = asked(service, second, "m1", 30, answered=False)
    written(service, held, tried, early, later)
    passes(service, second.id, first.id)
    Approvals(service.registry).approve("notes", second.id, "ann", "it passed")
    found = overview(service, "notes")
    assert found.since == later.at
    assert of(found, first.id).reigns == ((early.at, later.at),)
    assert of(found, second.id).reigns == ((later.at, None),)
    assert [one.at for one in bought(service, "notes").promotions] == [later.at]
    service.registry.roll_back("notes", "ann", "it was not")
    assert overview(service, "notes").since == service.registry.history("notes")[-1].at


def test_who_decides_for_a_moment_longer_is_not_champion_again(service, monkeypatch):
    """A server follows within a second; a champion that comes back later does so then."""
    monkeypatch.setattr(Service, "simulated", True)
    first, second = champion(service, ALWAYS), version(service, "finale", ALWAYS)
    written(service, asked(service, first, "m1", 1, answered=False))
    Approvals(service.registry).override("notes", second.id, "ann", "a try")
    after = service.registry.history("notes")[-1].at + timedelta(microseconds=1)
    late = asked(service, first, "m2", (after - START) / timedelta(hours=1), answered=False)
    written(service, replace(late, at=after))
    service.registry.roll_back("notes", "ann", "it was not")
    assert overview(service, "notes").since == service.registry.history("notes")[-1].at


def test_what_may_be_done_follows_what_was_done(service):
    first = version(service, "none", ALWAYS)
    assert of(overview(service, "notes"), first.id).can == ("promote",)
    act(service, "promote", first.id)
    second = version(service, "finale", ALWAYS)
    found = overview(service, "notes")
    assert (of(found, first.id).can, of(found, second.id).can) == ((), ("start",))
    assert found.can == ()
    assert act(service, "start", second.id) == "notes-2 compares notes@2 with notes@1"
    found = overview(service, "notes")
    assert of(found, second.id).can == ()
    assert found.can == ("stop",)
    assert act(service, "stop", "notes") == "halted on notes: notes-2"
    assert overview(service, "notes").can == ()
    passes(service, second.id, first.id)
    assert of(overview(service, "notes"), second.id).can == ("approve",)  # its members stay in it
    act(service, "approve", second.id)
    found = overview(service, "notes")
    assert (found.champion, found.can) == (second.id, ("roll_back",))
    assert act(service, "roll_back", "notes") == "notes@1 is the champion of notes again"
    assert overview(service, "notes").can == ()


def test_nothing_is_offered_for_a_try_while_members_are_in_an_experiment(service):
    first = champion(service, ALWAYS)
    second, third = version(service, "finale", ALWAYS), version(service, "finale", ALWAYS)
    act(service, "start", second.id)
    for state in ("runs", "halted"):
        found = overview(service, "notes")
        assert found.tried.experiments[0].state == state
        assert [of(found, one.id).can for one in (first, second, third)] == [(), (), ()]
        with pytest.raises(MatineeError, match="go together"):
            act(service, "start", third.id)
        act(service, "halt", "notes-2")
    act(service, "end", "notes-2")
    assert of(overview(service, "notes"), third.id).can == ("start",)


def test_a_version_can_be_tried_again_under_another_name(service):
    champion(service, ALWAYS)
    second = version(service, "finale", ALWAYS)
    for name in ("notes-2", "notes-2-b", "notes-2-c"):
        assert act(service, "start", second.id).startswith(f"{name} compares")
        act(service, "end", name)


def test_changes_that_cannot_be_are_refused_and_leave_no_trace(service):
    first, second = champion(service, ALWAYS), version(service, "finale", ALWAYS)
    before = service.registry.generation(), service.trials.generation()
    for action, about in (
        ("promote", second.id),
        ("approve", second.id),
        ("approve", first.id),
        ("approve", "notes@99"),
        ("approve", "../../etc"),
        ("roll_back", "notes"),
        ("roll_back", "nowhere"),
        ("stop", "notes"),
        ("win", "none"),
        ("halt", "none"),
    ):
        with pytest.raises(MatineeError):
            act(service, action, about)
    assert (service.registry.generation(), service.trials.generation()) == before


def test_one_stop_halts_all_that_run_and_those_to_come(service):
    champion(service, ALWAYS)
    second = version(service, "finale", ALWAYS)
    for name, part in (("left", (0.0, 0.5)), ("right", (0.5, 1.0))):
        one = against_champion(name, "notes", second.id, to=part)
        service.trials.start(one, "ann", "")
    act(service, "stop", "notes")
    states = {one.name: one.state for one in overview(service, "notes").tried.experiments}
    assert states == {"left": "halted", "right": "halted"}


def test_there_is_no_such_surface(service):
    with pytest.raises(MatineeError, match="there is no surface"):
        overview(service, "../notes")


def test_what_others_decided_is_not_shown_as_the_services_own(service):
    """A log that was imported, say; and days without a decision have their place."""
    made = champion(service, ALWAYS)
    mine = [asked(service, made, f"m{n}", 1, answered=True) for n in range(5)]
    last = asked(service, made, "m9", 49, answered=True)
    theirs = [asked(service, made, f"x{n}", 2, answered=False) for n in range(15)]
    others = [replace(one, policy="notes@world") for one in theirs]
    written(service, *mine, *others, last)
    close_windows(service)
    found = overview(service, "notes", NOW)
    assert [(one.policy, one.share) for one in found.traffic] == [(made.id, 1.0)]
    assert found.traffic[0].value.value == 1.0
    assert [sum(day.decisions.values()) for day in found.days] == [5, 0, 1, 0]
