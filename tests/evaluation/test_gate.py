"""Verdicts of the gate and its budget of error."""

import json
from dataclasses import asdict, replace
from math import inf, nan

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matinee.evaluation.budget import spent
from matinee.evaluation.gate import Evidence, Guardrail, Rules, Verdict, judge, needed
from matinee.evaluation.intervals.base import Interval
from matinee.evaluation.lacking import MIXED

RULES = Rules(guardrails=(Guardrail("coverage", least=0.2), Guardrail("p99", most=60.0)))


def interval(value, low, high=inf, level=0.95) -> Interval:
    return Interval(value, low, high, level, "normal")


GOOD = Evidence(
    interval(0.03, 0.01, 0.05),
    0.05,
    decisions=9000,
    effective=4000.0,
    outside=0.0,
    calibrated=True,
    closed=True,
    later=True,
    guardrails={"coverage": 0.3, "p99": 40.0},
)


def test_a_candidate_that_is_better_passes_and_waits_for_a_person():
    verdict = judge(GOOD, RULES)
    assert verdict.outcome == "passes"
    assert verdict.estimate == GOOD.difference
    assert "0.01" in verdict.reasons[0]
    assert verdict.next_steps == (
        "let a person approve it: matinee approve VERSION",
        "or see it on members first: matinee experiments start NAME VERSION --reason '...'",
    )
    named = judge(replace(GOOD, candidate="titles@3"), RULES)
    assert named.next_steps == (
        "let a person approve it: matinee approve titles@3",
        "or see it on members first: matinee experiments start NAME titles@3 --reason '...'",
    )


@pytest.mark.parametrize(
    ("change", "reason", "step"),
    [
        ({"later": False}, "not later than the candidate's own data", "data_as_of"),
        ({"closed": False}, "still open", "wait"),
        ({"calibrated": False}, "not the chances", "mend"),
        ({"calibrated": None}, "could not be checked", "more decisions"),
        ({"outside": 0.12}, "12.0% of what the candidate", "explore"),
        ({"outside": nan}, "nan", "explore"),
        ({"effective": 100.0}, "worth 100 effective ones", "about 81,000 decisions more"),
        ({"effective": 0.0}, "worth 0 effective ones", "nothing that the candidate would choose"),
        ({"effective": nan}, "effective", "explore"),
        ({"effective": 950.0}, "worth 950 effective ones", "log about 474 decisions more"),
        ({"effective": 100.0}, "worth 100 effective ones", "10% of its decisions drawn from"),
        ({"outside": 0.12, "missing": (("heat", 0.08),)}, "12.0%", "heat (8.0%)"),
        ({"decisions": 0, "effective": 0.0}, "there is no decision", "let the champion decide"),
        ({"whole": False}, "no reward though later ones have", "matinee work"),
        ({"varied": False}, "every reward in the log is the same", "id of the decision"),
        ({"drifted": ("mon", "tue")}, "not 1 on mon, tue", "judge on other days"),
        ({"drifted": tuple("abcde")}, "not 1 on a, b, c and 2 days more", "other days"),
        ({"difference": interval(nan, nan, nan)}, "no lower end", "more decisions"),
        ({"difference": interval(0.1, -inf)}, "no lower end", "more decisions"),
        ({"guardrails": {"coverage": 0.3}}, "p99 was not measured", "measure p99"),
        ({"guardrails": {"coverage": nan, "p99": 4.0}}, "coverage was not measured", "measure"),
    ],
)
def test_what_lacks_support_gives_no_number(change, reason, step):
    verdict = judge(replace(GOOD, **change), RULES)
    assert verdict.outcome == "insufficient support"
    assert verdict.estimate is None
    assert len(verdict.reasons) == 1
    assert reason in verdict.reasons[0]
    assert step in verdict.next_steps[0]


def test_everything_that_is_lacking_is_said_at_once():
    bad = replace(GOOD, later=False, closed=False, calibrated=False, outside=0.5, effective=1.0)
    verdict = judge(replace(bad, guardrails={}), RULES)
    assert len(verdict.reasons) == 7


def test_worse_and_no_better_shown_are_told_apart():
    worse = judge(replace(GOOD, difference=interval(-0.03, -0.05, -0.01)), RULES)
    unclear = judge(replace(GOOD, difference=interval(0.01, -0.01, 0.03)), RULES)
    level = judge(replace(GOOD, difference=interval(0.0, -0.01, 0.01)), RULES)
    near = judge(replace(GOOD, difference=interval(1e-300, -0.01, 0.01)), RULES)
    assert {worse.outcome, unclear.outcome, level.outcome, near.outcome} == {"fails"}
    assert "worse" in worse.reasons[0]
    assert "no better shown yet" in unclear.reasons[0]
    # half the interval, 0.02, must come to 0.01: four times the decisions, three times as many more
    assert "about 27,000 decisions more (an estimate" in unclear.next_steps[0]
    assert "train another" in level.next_steps[0]
    assert "no log in reach" in near.next_steps[0]


def test_a_bound_on_the_margin_is_not_above_it():
    at = replace(GOOD, difference=interval(0.03, 0.02))
    assert judge(at, replace(RULES, margin=0.02)).outcome == "fails"
    assert judge(at, replace(RULES, margin=0.0199)).outcome == "passes"


def test_a_breached_guardrail_fails_what_is_better():
    verdict = judge(replace(GOOD, guardrails={"coverage": 0.1, "p99": 75.0}), RULES)
    assert verdict.outcome == "fails"
    assert verdict.estimate == GOOD.difference
    assert "coverage is 0.1, below its floor of 0.2" in verdict.reasons[0]
    assert "p99 is 75, above its ceiling of 60" in verdict.reasons[1]


def test_guardrails_of_the_usual_rules_must_be_measured():
    verdict = judge(replace(GOOD, guardrails={}))
    assert verdict.outcome == "insufficient support"
    assert len(verdict.reasons) == 4


def test_no_verdict_without_support_can_carry_a_number():
    with pytest.raises(ValueError, match="gives no number"):
        Verdict("insufficient support", ("why",), (), 0.05, 1, 1.0, 0.0, GOOD.difference)
    with pytest.raises(ValueError, match="gives the number"):
        Verdict("passes", ("why",), (), 0.05, 1, 1.0, 0.0)
    with pytest.raises(ValueError, match="reasons"):
        Verdict("fails", (), (), 0.05, 1, 1.0, 0.0, GOOD.difference)


def test_an_interval_at_another_level_is_not_judged():
    third = replace(GOOD, alpha=spent(0.05, 3))
    with pytest.raises(ValueError, match="make it at 1 - alpha"):
        judge(third, RULES)
    level = 1 - spent(0.05, 3)
    assert judge(replace(third, difference=interval(0.03, 0.01, level=level)), RULES)
    with pytest.raises(ValueError, match="more than the rules spend"):
        judge(replace(GOOD, alpha=0.1), RULES)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"alpha": 0.0}, "alpha must be above 0 and below 1, got 0.0"),
        ({"alpha": -0.01}, "alpha must be above 0 and below 1, got -0.01"),
        ({"alpha": nan}, "alpha must be above 0"),
        ({"decisions": -1}, "decisions must be 0 or above, got -1"),
        ({"decisions": 10}, r"effective must be in \[0, 10\], got 4000.0"),
        ({"effective": inf}, "effective must be in"),
        ({"effective": -1.0}, "effective must be in"),
        ({"outside": 1.1}, r"outside must be in \[0, 1\], got 1.1"),
        ({"outside": -0.1}, "outside must be in"),
    ],
)
def test_evidence_that_no_log_could_give_is_refused(change, told):
    with pytest.raises(ValueError, match=told):
        replace(GOOD, **change)


def test_evidence_that_is_off_by_the_rounding_of_sums_is_taken():
    rounded = replace(GOOD, decisions=4000, effective=np.nextafter(4000.0, 1e9), outside=-1e-17)
    assert judge(rounded, RULES).outcome == "passes"


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ({"level": 95}, "level must be above 0 and below 1, such as 0.95, got 95"),
        ({"level": 0.0}, "level must be above 0"),
        ({"level": nan}, "level must be above 0"),
        ({"margin": nan}, "margin must be finite, got nan"),
        ({"margin": -inf}, "margin must be finite, got -inf"),
        ({"least_effective": nan}, "least_effective must be 0 or above"),
        ({"least_effective": -1.0}, "least_effective must be 0 or above"),
        ({"most_outside": 1.5}, r"most_outside must be in \[0, 1\], got 1.5"),
        ({"most_outside": nan}, "most_outside must be in"),
    ],
)
def test_rules_that_ask_for_what_cannot_be_are_refused(rule, told):
    with pytest.raises(ValueError, match=told):
        Rules(**rule)


@pytest.mark.parametrize("bounds", [{"least": nan}, {"most": nan}, {"least": 2.0, "most": 1.0}])
def test_a_guardrail_has_a_floor_below_its_ceiling(bounds):
    with pytest.raises(ValueError, match="the floor of p99 must be at most its ceiling"):
        Guardrail("p99", **bounds)


@given(
    st.lists(st.floats(0.01, 1.0), min_size=2, max_size=6),
    st.lists(st.floats(0.0, 1.0), min_size=2, max_size=6),
)
def test_what_is_drawn_from_the_candidate_has_the_support_that_is_promised(champion, candidate):
    """The step's promise: of n such decisions at least n MIXED are effective."""
    size = min(len(champion), len(candidate))
    own, wanted = (np.array(one[:size]) + 1e-3 for one in (champion, candidate))
    own, wanted = own / own.sum(), wanted / wanted.sum()
    mixture = (1 - MIXED) * own + MIXED * wanted
    assert 1 / (wanted**2 / mixture).sum() >= MIXED - 1e-12


@given(st.floats(-1, 1), st.floats(0, 1), st.floats(-0.5, 0.5))
def test_only_a_lower_bound_above_the_margin_passes(value, half, margin):
    difference = interval(value, value - half, value + half)
    verdict = judge(replace(GOOD, difference=difference), replace(RULES, margin=margin))
    assert (verdict.outcome == "passes") == (value - half > margin)


def test_a_verdict_is_plain_json():
    verdict = judge(replace(GOOD, difference=interval(0.03, 0.01)), RULES)
    told = json.loads(msgspec.json.encode(asdict(verdict)))
    assert told["estimate"]["low"] == 0.01
    assert told["estimate"]["high"] is None
    lacking = judge(replace(GOOD, closed=False), RULES)
    assert json.loads(msgspec.json.encode(asdict(lacking)))["estimate"] is None


def test_widths_fall_with_the_square_root():
    assert needed(100, 0.3, 0.1) == 900
    assert needed(100, 0.1, 0.1) == 100


@pytest.mark.parametrize(
    "arguments", [(1000, 0.2, 0.0), (1000, 0.2, -0.1), (1000, nan, 0.1), (-1, 0.2, 0.1)]
)
def test_what_no_number_of_decisions_does_is_refused(arguments):
    with pytest.raises(ValueError, match="cannot narrow an interval"):
        needed(*arguments)


def test_all_turns_together_spend_the_budget_and_no_more():
    total = sum(spent(0.05, turn) for turn in range(1, 10_001))
    assert 0.0499 < total < 0.05
    for alpha, turn in ((0.0, 1), (1.0, 1), (0.05, 0)):
        with pytest.raises(ValueError, match="turn at least 1"):
            spent(alpha, turn)


def test_bounds_that_cross_are_no_ground_to_judge_on():
    verdict = judge(replace(GOOD, difference=replace(GOOD.difference, void=True)), RULES)
    assert verdict.outcome == "insufficient support"
    assert "bounds of the difference cross" in verdict.reasons[0]
    assert "mend how propensities are logged" in verdict.next_steps[0]
