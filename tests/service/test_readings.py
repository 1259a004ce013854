"""What an experiment shows: known effects, none, and arms that chance did not draw."""

from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import polars as pl
import pytest
from notes import COUNTRIES, START, WORTH, Nobody, Notes, append, champion, version, written

from matinee.decisions import Decider
from matinee.errors import MatineeError
from matinee.experiments.plan import Arm, Experiment, Holdout, Layer, Plan
from matinee.lake.records import Event, Outcome
from matinee.policies import EpsilonGreedy
from matinee.registry import against_champion
from matinee.service.arms import Arms
from matinee.service.outcomes import close_windows
from matinee.service.readings import read, watch
from matinee.surfaces import Request

KEEN, REWARD = EpsilonGreedy(epsilon=0.1), Notes.reward
MEMBERS = 1_500
"""By .2 and .6 of answers they show an effect of .36 a decision at once; by equal ones none."""


@pytest.fixture
def service(notes_service):
    Notes.answers.clear()
    return notes_service


def run(service, *, best="finale", members=MEMBERS, lost=0.0, visits=2):
    """An experiment that ran for four days: a member came `visits` times. Of the treated a share
    `lost` of members is missing from the log.
    """
    control = champion(service, KEEN)
    other = version(service, best, KEEN)
    service.trials.start(against_champion("best", "notes", other.id, start=START), "ann", "")
    arms, chance, deciders, decisions = Arms(service), np.random.default_rng(5), {}, []
    gone = {f"m{number}" for number in range(members) if chance.random() < lost}
    for number in range(members * visits):
        member = f"m{number % members}"
        asked = Request(
            request_id=str(number),
            member_id=member,
            at=START + number * timedelta(days=3) / (members * visits),
            country=COUNTRIES[number % members % 2],
        )
        serves = arms.of("notes", asked)
        if serves.arm == "best:treatment" and member in gone:
            continue
        if serves not in deciders:
            name = serves.version or control.id
            model, policy = service.registry.load(name)
            deciders[serves] = Decider(
                Notes(),
                model,
                policy,
                version=name,
                histories=Nobody(),
                salt=bytes(32),
                arm=serves.arm,
            )
        decisions.append(deciders[serves].propose(asked))
        answered = float(chance.random() < WORTH[decisions[-1].actions[0]])
        Notes.answers[decisions[-1].decision_id] = answered
    written(service, *decisions)
    close_windows(service)
    return decisions


def test_a_better_treatment_is_called_so_with_an_effect_of_the_right_size(service):
    run(service)
    found = read(service, "best")
    assert found.outcome == "better", found.reasons
    (reward, minutes) = found.metrics
    # of two decisions, nine in ten by the best and one in ten by chance
    expected = 2 * 0.9 * (WORTH["finale"] - WORTH["none"])
    assert reward.difference.low < expected < reward.difference.high
    assert reward.difference.high - reward.difference.low < 0.4
    assert reward.pvalue < 1e-6
    assert minutes.treatment == minutes.control == 0.0
    assert {segment.name for segment in found.countries.segments} == set(COUNTRIES)
    assert found.evenness > 0.001
    assert sum(side.members for side in found.sides) == MEMBERS
    assert sum(side.decisions for side in found.sides) == 2 * MEMBERS


def test_looks_are_one_a_day_with_the_members_until_then(service):
    run(service)
    found = read(service, "best")
    reward = found.metrics[0].difference
    ends, sizes, intervals = zip(*found.looks, strict=True)
    assert list(ends) == sorted(ends)
    assert list(sizes) == sorted(sizes)
    assert sizes[-1] == MEMBERS
    assert 4 <= len(ends) <= 5
    assert intervals[-1].value == pytest.approx(reward.value)
    assert intervals[-1].low == pytest.approx(reward.low)


def test_versions_that_are_alike_show_nothing(service):
    run(service, best="none")
    found = read(service, "best")
    assert found.outcome == "open"
    assert found.metrics[0].difference.low < 0 < found.metrics[0].difference.high
    assert watch(service) == ""
    assert service.trials.latest("best").reason == "open"


def test_arms_that_chance_did_not_draw_are_not_read_and_are_halted(service):
    run(service, best="none", lost=0.5)
    found = read(service, "best")
    assert found.outcome == "broken"
    assert "beside chance" in found.reasons[0]
    assert watch(service) == "halted best"
    assert "beside chance" in service.trials.get("best").halted
    assert watch(service) == ""


def test_a_member_in_two_arms_is_left_out_and_counted(service):
    decisions = run(service, members=200)
    first = decisions[0]
    other = {"best:control": "best:treatment", "best:treatment": "best:control"}[first.arm]
    stray = msgspec.structs.replace(
        first, decision_id="stray", request_id="stray", arm=other, at=first.at + timedelta(hours=1)
    )
    Notes.answers["stray"] = 1.0
    append(service, "decisions", [stray])
    close_windows(service)
    found = read(service, "best")
    assert found.left_out == 1
    assert sum(side.members for side in found.sides) == 199


def test_a_treatment_that_costs_minutes_is_halted_though_it_earns_more(service):
    decisions, chance = run(service), np.random.default_rng(6)
    plays = [
        Event(
            event_id=f"{number}-{when}",
            member_id=decision.member_id,
            kind="play",
            title_id="t",
            ts=decision.at + hours,
            value=chance.uniform(30, 90)
            * (0.5 if when == "after" and decision.arm == "best:treatment" else 1.0),
        )
        for number, decision in enumerate(decisions)
        for when, hours in (("before", timedelta(days=-8)), ("after", timedelta(hours=2)))
    ]
    append(service, "events", plays, known="ts")
    found = read(service, "best")
    assert (found.outcome, found.breached) == ("worse", True)
    assert "minutes watched falls" in found.reasons[0]
    assert watch(service) == "halted best"


def test_where_rewards_are_costs_a_smaller_one_is_better(service, monkeypatch):
    monkeypatch.setattr(Notes, "reward_range", (-1.0, 0.0))
    monkeypatch.setattr(
        Notes,
        "reward",
        lambda self, decisions, events: REWARD(self, decisions, events).with_columns(
            reward=pl.col("reward") - 1
        ),
    )
    run(service)
    found = read(service, "best")
    assert found.metrics[0].control < found.metrics[0].treatment < 0
    assert (found.outcome, found.breached) == ("better", False)


def test_who_is_held_out_later_is_left_out(service):
    run(service, members=400)
    held = Holdout(name="before", share=0.5, surface="notes", serves="notes@1")
    service.trials.hold(held, "ann", "")
    found = read(service, "best")
    assert 150 < found.left_out < 250
    assert sum(side.members for side in found.sides) == 400 - found.left_out


def test_a_name_that_begins_alike_is_another_experiment(service):
    decisions = run(service, members=200)
    others = [
        msgspec.structs.replace(
            one, decision_id=f"o{number}", request_id="o", arm=f"best two:{arm}"
        )
        for number, (one, arm) in enumerate(
            zip(decisions, ["control", "treatment"] * 200, strict=True)
        )
    ]
    append(service, "decisions", others)
    close_windows(service)
    found = read(service, "best")
    assert found.left_out == 0
    assert sum(side.decisions for side in found.sides) == 400


def test_what_is_watched_after_a_halt_says_nothing_of_the_arms(service):
    run(service, members=400)
    service.trials.halt("best", "ann", "complaints")
    before = read(service, "best").metrics[1]
    later = [
        Event(
            event_id=f"later-{number}",
            member_id=f"m{number}",
            kind="play",
            title_id="t",
            ts=datetime.now(UTC) + timedelta(minutes=1),
            value=30.0 + number % 7,
        )
        for number in range(400)
    ]
    append(service, "events", later, known="ts")
    after = read(service, "best", now=datetime.now(UTC) + timedelta(minutes=2)).metrics[1]
    assert (after.treatment, after.control) == (before.treatment, before.control) == (0.0, 0.0)


def test_of_an_invoice_only_the_first_decision_counts(service, monkeypatch):
    """Later ones tell of the same money, so a version that needs more of them would look better."""
    monkeypatch.setattr(Notes, "reads", "attempts")
    monkeypatch.setattr("matinee.service.outcomes.SUBJECT", {"attempts": "invoice_id"})
    control = champion(service, KEEN)
    other = version(service, "finale", KEEN)
    service.trials.start(against_champion("best", "notes", other.id, start=START), "ann", "")
    arms, decisions, outcomes = Arms(service), [], []
    model, policy = service.registry.load(control.id)
    for number in range(400):
        asked = Request(request_id="r", member_id=f"m{number}", at=START, subject="i1")
        serves = arms.of("notes", asked)
        decider = Decider(
            Notes(), model, policy, version=control.id, histories=Nobody(), salt=b"", arm=serves.arm
        )
        tries = 3 if serves.arm == "best:treatment" else 1
        for turn in range(tries):
            at = START + turn * timedelta(hours=1)
            again = msgspec.structs.replace(asked, request_id=f"r{turn}", at=at)
            one = decider.propose(again)
            decisions.append(one)
            outcomes.append(
                Outcome(
                    decision_id=one.decision_id,
                    member_id=one.member_id,
                    surface="notes",
                    position=0,
                    action=one.actions[0],
                    reward=float(number % 2),
                    decided_at=at,
                    closed_at=at + timedelta(hours=2),
                )
            )
    written(service, *decisions)
    append(service, "outcomes", outcomes)
    reward = read(service, "best").metrics[0]
    assert reward.treatment == pytest.approx(0.5, abs=0.1)
    assert reward.difference.low < 0 < reward.difference.high


def test_one_that_cannot_be_read_keeps_no_other_from_it(service, monkeypatch):
    run(service, best="none", lost=0.5)
    three = read(service, "best").experiment
    monkeypatch.setattr(
        "matinee.registry.trials.Trials.plan",
        lambda self: Plan(
            experiments=(
                msgspec.structs.replace(three, name="gone", slice=(0.0, 0.5)),
                msgspec.structs.replace(three, slice=(0.5, 1.0)),
            ),
            layers=(Layer(name=three.layer),),
        ),
    )
    with pytest.raises(MatineeError, match="gone"):
        watch(service)
    assert "beside chance" in service.trials.get("best").halted


def test_without_members_nothing_is_shown_and_nothing_fails(service):
    champion(service, KEEN)
    other = version(service, "finale", KEEN)
    service.trials.start(against_champion("best", "notes", other.id), "ann", "")
    found = read(service, "best")
    assert found.outcome == "open"
    assert [side.members for side in found.sides] == [0, 0]
    with pytest.raises(MatineeError, match="no experiment"):
        read(service, "worst")


def test_an_experiment_of_three_arms_is_not_read_as_one_of_two(service):
    champion(service, KEEN)
    arms = [
        Arm(name=name, share=share, serves=serves)
        for name, share, serves in (
            ("a", 0.5, "champion"),
            ("b", 0.25, version(service, "finale", KEEN).id),
            ("c", 0.25, version(service, "season", KEEN).id),
        )
    ]
    one = Experiment(
        name="three",
        surface="notes",
        layer="notes",
        slice=(0.0, 1.0),
        start=datetime.now(UTC),
        arms=tuple(arms),
    )
    service.trials.start(one, "ann", "")
    with pytest.raises(MatineeError, match="two arms"):
        read(service, "three")
