"""What exploring costs is what the best first would bring more; and what it bought is on record."""

from datetime import UTC, datetime, timedelta
from itertools import permutations

import numpy as np
import pytest

from matinee.decisions.rebuild import preference_of
from matinee.evaluation.gate import Verdict
from matinee.evaluation.intervals.base import Interval
from matinee.insights.bought import bought
from matinee.insights.exploration import explored
from matinee.insights.spent import spent
from matinee.lake.records import Outcome
from matinee.policies import EpsilonGreedy, InverseGap, PlackettLuce
from matinee.registry import Approvals, against_champion
from matinee.service.outcomes import close_windows
from notes import ACTIONS, START, WORTH, Notes, append, champion, decided, version, written

NOW = datetime.now(UTC)
SHOWN = {("finale", 0): 0.6, ("season", 0): 0.3, ("none", 0): 0.1}
SHOWN |= {("finale", 1): 0.5, ("season", 1): 0.4, ("none", 1): 0.2}
"""The chance of a reward of an action in a slot."""
GAIN = Interval(0.03, 0.01, 0.05, 0.97, "n")


def verdict(outcome, effective=400.0):
    gain = None if outcome == "insufficient support" else GAIN
    return Verdict(outcome, ("so it is",), (), 0.03, 1_000, effective, 0.0, gain)


@pytest.fixture
def service(notes_service):
    return notes_service


def lived(service, policy, count, *, best="finale", days=3):
    made = champion(service, policy, best=best)
    written(service, *decided(service, made, count, days=days))
    close_windows(service)
    return made


def test_what_is_drawn_evenly_costs_its_share_of_the_difference(service):
    """Three of ten are drawn evenly, and bring 0.4 on the mean instead of 0.6."""
    made = lived(service, EpsilonGreedy(epsilon=0.3), 6_000)
    found = spent(service, "notes", NOW)
    truth = 0.3 * (WORTH["finale"] - sum(WORTH.values()) / 3)
    assert found.version == made.id
    assert (found.decisions, found.judged) == (6_000, 6_000)
    assert found.each.low < truth < found.each.high
    assert found.each.high - found.each.low < 0.06
    for end in ("value", "low", "high"):
        assert getattr(found.total, end) == pytest.approx(6_000 * getattr(found.each, end))


def test_drawing_from_a_wrong_belief_brings_something(service):
    """It holds the worst for the best: what it draws beside that is better."""
    lived(service, EpsilonGreedy(epsilon=0.3), 6_000, best="none")
    found = spent(service, "notes", NOW)
    assert found.each.high < 0
    assert found.each.low < 0.3 * (WORTH["none"] - 0.4) < found.each.high


def test_it_holds_at_every_look_at_a_log_that_grows(service):
    made = champion(service, EpsilonGreedy(epsilon=0.5), best="finale")
    truth = 0.5 * (WORTH["finale"] - 0.4)
    decisions = decided(service, made, 10_000, days=3)
    written(service, *decisions)
    close_windows(service)
    for part in range(20):
        at = START + timedelta(days=3) * (part + 1) / 20 + Notes.window + timedelta(minutes=11)
        each = spent(service, "notes", at).each
        assert each.low <= truth <= each.high


@pytest.mark.parametrize(
    "policy",
    [
        PlackettLuce(temperature=1.0, epsilon=0.2),
        EpsilonGreedy(epsilon=0.4),
        InverseGap(gamma=2.0, epsilon=0.1),
    ],
)
def test_of_slates_it_is_known_from_all_that_could_be_drawn(service, policy):
    made = champion(service, policy, best="season")
    decisions = decided(service, made, 8_000, days=3, slots=2)
    written(service, *decisions)
    _answer(service, decisions)
    found = spent(service, "notes", NOW)
    truth = _truth(service, made)
    assert found.each.low < truth < found.each.high
    assert found.each.high - found.each.low < 0.2


def _answer(service, decisions):
    """What each slot of each decision brought, as outcomes."""
    rng = np.random.default_rng(5)
    rows = [
        Outcome(
            decision_id=one.decision_id,
            member_id=one.member_id,
            surface="notes",
            position=slot,
            action=action,
            reward=float(rng.random() < SHOWN[action, slot]),
            decided_at=one.at,
            closed_at=one.at + timedelta(hours=1),
        )
        for one in decisions
        for slot, action in enumerate(one.actions)
    ]
    assert append(service, "outcomes", rows).rejected == 0


def _truth(service, made):
    """What the best first brings more than the policy, over all slates of two."""
    _, policy = service.registry.load(made.id)
    (record,) = decided(service, made, 1)
    preference_ids = [ACTIONS[place] for place in record.segment]
    preference, drawn = preference_of(record), 0.0
    for slate in permutations(range(3), 2):
        places = preference.segment[list(slate)]
        chance = policy.propensities(preference, places).prod()
        drawn += chance * sum(SHOWN[preference_ids[p], k] for k, p in enumerate(slate))
    best = sum(SHOWN[preference_ids[slot], slot] for slot in range(2))
    return best - drawn


def test_without_chance_there_is_nothing_to_pay_and_nothing_left_to_learn(service):
    lived(service, EpsilonGreedy(epsilon=0.0), 1_000)
    (found,) = [one for one in explored(service, NOW) if one.surface == "notes"]
    assert found.spent.each.value == 0.0
    assert (found.spent.each.low, found.spent.each.high) == (0.0, 0.0)
    assert found.bought.uniform == pytest.approx(1.0)


def test_what_is_left_for_even_draws_is_its_effective_share(service):
    """Of three actions with chances 0.8, 0.1 and 0.1: 1 over the mean of (1/3)^2 / p."""
    lived(service, EpsilonGreedy(epsilon=0.3), 6_000)
    (found,) = explored(service, NOW)
    expected = 1 / ((1 / 9) * (1 / 0.8 + 2 / 0.1))
    assert found.bought.uniform == pytest.approx(expected, rel=0.1)


def test_of_too_few_there_is_no_number(service):
    lived(service, EpsilonGreedy(epsilon=0.3), 60)
    found = spent(service, "notes", NOW)
    assert found.each is None
    assert found.total is None
    assert found.why.startswith("insufficient support")


def test_of_few_members_there_is_no_number_however_much_they_did(service):
    made = champion(service, EpsilonGreedy(epsilon=0.3), best="finale")
    rows = [one for one in decided(service, made, 4_000, days=3) if int(one.member_id[1:]) < 50]
    written(service, *rows)
    close_windows(service)
    found = spent(service, "notes", NOW)
    assert found.each is None
    assert found.why == "insufficient support: 50 members"


def test_what_is_open_or_of_others_does_not_count(service):
    made = champion(service, EpsilonGreedy(epsilon=0.3))
    written(service, *decided(service, made, 100))
    found = spent(service, "notes", NOW)
    assert (found.decisions, found.judged, found.each) == (100, 0, None)
    assert found.why == "no decision of it is closed yet"
    assert spent(service, "titles", NOW) is None


def test_judgements_and_promotions_are_told_with_what_they_measured(service):
    made = champion(service, EpsilonGreedy(epsilon=0.3))
    others = [version(service, best, EpsilonGreedy(epsilon=0.3)) for best in ACTIONS[:2]]
    approvals = Approvals(service.registry)
    kinds = {"champion": made.id, "anytime": True, "by": "ann"}
    approvals.record_verdict("notes", others[0].id, verdict("fails"), turn=1, **kinds)
    lacking = verdict("insufficient support", 20.0)
    approvals.record_verdict("notes", others[1].id, lacking, turn=2, **kinds)
    approvals.record_verdict("notes", others[1].id, verdict("passes"), turn=2, **kinds)
    approvals.approve("notes", others[1].id, "bob", "read it")
    found = bought(service, "notes")
    assert (found.judged, found.passed, found.failed, found.lacking) == (2, 1, 1, 1)
    assert (found.latest, found.left) == (others[1].id, 0.4)
    (promotion,) = found.promotions
    assert (promotion.version, promotion.unit) == (others[1].id, "decision")
    assert (promotion.gain.low, promotion.gain.high) == (0.01, 0.05)


def test_a_version_that_won_an_experiment_is_told_with_its_reading(service):
    made = champion(service, EpsilonGreedy(epsilon=0.3))
    other = version(service, "finale", EpsilonGreedy(epsilon=0.3))
    service.trials.start(against_champion("best", "notes", other.id), "ann", "")
    gain = {"value": 2.0, "low": 1.0, "high": 3.0, "level": 0.95, "method": "n"}
    more = {"metrics": [{"difference": gain}]}
    kinds = {"champion": made.id, "reasons": ["better"], "more": more}
    service.trials.read("best", "better", "ann", **kinds)
    service.trials.win("best", "bob", "read it")
    (promotion,) = bought(service, "notes").promotions
    assert (promotion.version, promotion.unit) == (other.id, "member")
    assert promotion.gain.high == 3.0


def test_a_surface_whose_policy_cannot_be_read_keeps_no_other_from_being_told(service):
    made = lived(service, EpsilonGreedy(epsilon=0.3), 200)
    (service.registry.folder / "notes" / str(made.number) / "policy.json").write_text("{")
    assert explored(service, NOW) == ()
