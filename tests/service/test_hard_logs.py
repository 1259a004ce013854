"""Logs that could mislead: each gets a clear verdict, and no number without support."""

from datetime import timedelta

import msgspec
import numpy as np
import polars as pl
import pytest

from matinee.desk import proof
from matinee.errors import MatineeError
from matinee.evaluation.gate import Rules
from matinee.evaluation.intervals.difference import PairedDifference
from matinee.lake.records import Outcome
from matinee.policies import EpsilonGreedy
from matinee.service.judging import judge
from matinee.service.outcomes import GRACE, close_windows
from notes import ACTIONS, START, WORTH, Notes, append, champion, decided, version, written

EXPLORES, KEEN = EpsilonGreedy(epsilon=0.3), EpsilonGreedy(epsilon=0.05)
BOLD = EpsilonGreedy(epsilon=0.9)
LOOSE = Rules(least_effective=100)


@pytest.fixture
def service(notes_service):
    return notes_service


def logged(service, policy=EXPLORES, count=400, **kinds):
    """The champion's decisions in the log, with their outcomes."""
    decisions = decided(service, champion(service, policy), count, **kinds)
    written(service, *decisions)
    close_windows(service)
    return decisions


def outcome(decision, reward, closed_at=None):
    return Outcome(
        decision_id=decision.decision_id,
        member_id=decision.member_id,
        surface="notes",
        position=0,
        action=decision.actions[0],
        reward=reward,
        decided_at=decision.at,
        closed_at=closed_at or decision.at + Notes.window + GRACE,
    )


def without_a_number(found):
    """The reasons and steps of a judgement that gives no number anywhere."""
    assert found.verdict.outcome == "insufficient support", found.verdict.reasons
    assert found.verdict.estimate is None
    assert found.values == {}
    assert found.looks == ()
    assert not any("difference" in name for name in found.measured)
    assert "candidate less champion" not in proof.page(found, "Shows")
    return " | ".join(found.verdict.reasons), " | ".join(found.verdict.next_steps)


def test_a_sound_log_of_one_slot_is_judged_doubly_robustly(service):
    logged(service, BOLD, 3000)
    found = judge(service, version(service, "finale", EXPLORES).id, by="ann")
    assert found.verdict.outcome == "passes", found.verdict.reasons
    # 0.9 and 0.3 are spread evenly over three actions
    mean = np.mean([*WORTH.values()])
    own = 0.1 * WORTH["none"] + 0.9 * mean
    truth = 0.7 * WORTH["finale"] + 0.3 * mean - own
    assert found.verdict.estimate.low < truth < found.verdict.estimate.high
    plain = PairedDifference(alpha=found.verdict.alpha)
    both = found.comparison.candidate, found.comparison.champion
    longer = plain.add(*both).interval()
    estimate = found.verdict.estimate
    assert estimate.high - estimate.low < longer.high - longer.low
    assert np.allclose(found.comparison.largest, 0.8 / 0.3)
    assert [name.rsplit("(")[-1] for name in found.values] == [
        "champion, its own mean",
        "IPS)",
        "SNIPS)",
        "DR)",
    ]
    assert all(one.low < truth + own < one.high for one in list(found.values.values())[1:])


def test_a_logger_that_never_explores_supports_no_other_choice(service):
    logged(service, EpsilonGreedy(epsilon=0.0))
    reasons, steps = without_a_number(judge(service, version(service, "finale", KEEN).id, by="ann"))
    assert "98.3% of what the candidate would choose was never possible" in reasons
    assert "most of all finale (96.7%), season (1.7%)" in steps
    assert "with 10% of its decisions drawn from the candidate, 10000 decisions" in steps


def test_a_logger_of_slates_that_never_explores_supports_no_other(service):
    logged(service, EpsilonGreedy(epsilon=0.0), slots=2)
    found = judge(service, version(service, "finale", KEEN).id, by="ann")
    reasons, steps = without_a_number(found)
    assert "of what the candidate would choose was never possible" in reasons
    assert found.verdict.outside > 0.9
    assert "most of all finale" in steps


def test_slates_of_a_logger_that_seldom_explores_are_judged(service):
    """Each slot's chance is simulated, and is above 0 for what was shown."""
    logged(service, EpsilonGreedy(epsilon=0.05), slots=2)
    same = judge(service, version(service, "none", EpsilonGreedy(epsilon=0.05)).id, by="ann")
    assert same.verdict.outside == 0
    assert same.diagnostics.drifted == ()
    assert same.diagnostics.support.mean == pytest.approx(1.0, abs=0.05)


def test_the_logger_s_own_choice_is_no_better_than_itself(service):
    logged(service, EpsilonGreedy(epsilon=0.0))
    same = version(service, "none", EpsilonGreedy(epsilon=0.0))
    found = judge(service, same.id, by="ann", rules=LOOSE)
    assert found.verdict.outcome == "fails"
    assert found.verdict.estimate.value == pytest.approx(0.0, abs=1e-12)
    assert "no better shown yet" in found.verdict.reasons[0]


def test_actions_that_were_never_logged_are_named(service):
    logged(service, EpsilonGreedy(epsilon=0.3, segment=2))
    reasons, steps = without_a_number(judge(service, version(service, "season", KEEN).id, by="ann"))
    assert "96.7% of what the candidate would choose" in reasons
    assert "most of all season (96.7%)" in steps


def test_rewards_that_are_all_the_same_tell_nothing(service):
    logged(service, worth=dict.fromkeys(ACTIONS, 1.0))
    reasons, steps = without_a_number(judge(service, version(service, "finale", KEEN).id, by="ann"))
    assert "every reward in the log is the same" in reasons
    assert "id of the decision" in steps


def test_one_decision_is_no_proof(service):
    logged(service, count=1)
    reasons, _ = without_a_number(judge(service, version(service, "finale", KEEN).id, by="ann"))
    assert "below the floor of 1000" in reasons


def test_no_decision_at_all_is_said_and_nothing_else(service):
    champion(service, EXPLORES)
    found = judge(service, version(service, "finale", KEEN).id, by="ann")
    reasons, steps = without_a_number(found)
    assert reasons == "there is no decision to judge on"
    assert "let the champion decide" in steps
    assert dict(proof.facts(found)) == {
        "decisions judged on": "0",
        "still open": "0 decisions, their attribution window is not over",
        "without a reward": "0 decisions, though their window is over",
        "made by others": "0 decisions, left out",
        "history no longer the same": "0 decisions, left out",
        "chance of error spent": "none",
    }


@pytest.mark.parametrize("policy", [EXPLORES, EpsilonGreedy(epsilon=3e-12)])
def test_one_weight_of_1e12_is_one_decision(service, policy):
    """A propensity of 1e-12, once against the policy that logged it and once its own."""
    decisions = decided(service, champion(service, policy), 400)
    rare = msgspec.structs.replace(decisions[-1], actions=["finale"], propensities=[1e-12])
    written(service, *decisions[:-1], rare)
    close_windows(service)
    found = judge(service, version(service, "finale", KEEN).id, by="ann")
    reasons, _ = without_a_number(found)
    assert "worth 1 effective ones" in reasons
    assert found.diagnostics.support.largest == pytest.approx(1e12, rel=0.05)


@pytest.mark.parametrize("reward", [7.0, -0.5])
def test_a_reward_outside_its_range_is_refused(service, reward):
    decisions = decided(service, champion(service, EXPLORES), 20)
    written(service, *decisions)
    append(service, "outcomes", [outcome(one, reward) for one in decisions])
    with pytest.raises(MatineeError, match="cannot be judged on") as told:
        judge(service, version(service, "finale", KEEN).id, by="ann")
    assert f"its reward in position 0 is {reward}" in told.value.why
    assert "rewards lie in [0, 1]" in told.value.why


def test_a_reward_that_is_no_number_never_enters_and_leaves_a_gap(service):
    decisions = decided(service, champion(service, EXPLORES), 400)
    written(service, *decisions)
    answers = [outcome(one, Notes.answers[one.decision_id]) for one in decisions]
    answers[7] = outcome(decisions[7], float("nan"))
    assert append(service, "outcomes", answers).rejected == 1
    found = judge(service, version(service, "finale", KEEN).id, by="ann")
    reasons, steps = without_a_number(found)
    assert "some decisions have no reward though later ones have" in reasons
    assert "matinee work" in steps
    assert found.weighings.unwritten == 1


def test_a_reward_that_comes_late_closes_the_gap_and_twice_counts_once(service):
    decisions = decided(service, champion(service, BOLD), 600)
    candidate = version(service, "finale", EXPLORES).id
    written(service, *decisions)
    answers = [outcome(one, Notes.answers[one.decision_id]) for one in decisions]
    append(service, "outcomes", answers[1:])
    without_a_number(judge(service, candidate, by="ann", rules=LOOSE))
    append(service, "outcomes", answers[:1])
    first = judge(service, candidate, by="ann", rules=LOOSE).verdict
    assert first.estimate is not None
    again = [msgspec.structs.replace(one, reward=1.0 - one.reward) for one in answers]
    assert append(service, "outcomes", again).duplicates == 600
    assert judge(service, candidate, by="ann", rules=LOOSE).verdict == first


def test_a_reward_that_is_still_open_is_waited_for(service):
    logged(service)
    candidate = version(service, "finale", KEEN).id
    early = START + timedelta(hours=20)
    reasons, steps = without_a_number(judge(service, candidate, by="ann", now=early))
    assert "some rewards are still open" in reasons
    assert "wait" in steps


def test_propensities_shifted_by_a_tenth_are_found(service):
    decisions = decided(service, champion(service, EXPLORES), 6000)
    shifted = [
        msgspec.structs.replace(one, propensities=[0.9 * one.propensities[0]]) for one in decisions
    ]
    written(service, *shifted)
    close_windows(service)
    found = judge(service, version(service, "none", KEEN).id, by="ann")
    reasons, _ = without_a_number(found)
    assert "the logged propensities are not the chances" in reasons


def test_a_day_with_propensities_of_another_is_named(service):
    decisions = decided(service, champion(service, EXPLORES), 3000, days=3)
    day = START.date() + timedelta(days=1)
    other = [
        msgspec.structs.replace(one, actions=["finale"], propensities=[0.1])
        if one.at.date() == day and number % 5 == 0
        else one
        for number, one in enumerate(decisions)
    ]
    written(service, *other)
    close_windows(service)
    found = judge(service, version(service, "finale", KEEN).id, by="ann")
    reasons, _ = without_a_number(found)
    assert found.diagnostics.drifted == (str(day),)
    assert f"the mean weight is not 1 on {day}" in reasons


def test_a_propensity_of_nothing_is_refused(service):
    decisions = decided(service, champion(service, EXPLORES), 20)
    written(service, msgspec.structs.replace(decisions[0], propensities=[0.0]), *decisions[1:])
    close_windows(service)
    with pytest.raises(MatineeError, match="cannot be judged on") as told:
        judge(service, version(service, "finale", KEEN).id, by="ann")
    assert "a chance above 0" in told.value.why


def test_weights_that_leave_the_range_of_numbers_are_refused(service):
    decisions = decided(service, champion(service, EXPLORES), 20, slots=2)
    tiny = msgspec.structs.replace(decisions[0], propensities=[1e-200, 1e-200])
    written(service, tiny, *decisions[1:])
    close_windows(service)
    with pytest.raises(MatineeError, match="cannot be weighed") as told:
        judge(service, version(service, "finale", KEEN).id, by="ann")
    assert "propensity must be" in told.value.why


def test_other_surfaces_in_the_lake_change_nothing(service):
    logged(service)
    candidate = version(service, "finale", KEEN).id
    before = judge(service, candidate, by="ann").verdict
    many = pl.DataFrame({"eligible": ["x"], "candidates": [[f"t{i}" for i in range(1000)]]})
    service.lake.append("eligible", many, source="test")
    assert judge(service, candidate, by="ann").verdict == before
