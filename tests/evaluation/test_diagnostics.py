"""Weights, drift, closed rewards, many tests at once."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matinee.evaluation.off_policy.closed import closed
from matinee.evaluation.off_policy.drift import Drift
from matinee.evaluation.off_policy.multiple import holm
from matinee.evaluation.off_policy.weights import Weights


def test_weights_by_hand():
    support = Weights.none().add([1.0, 2.0, 3.0], outside=[0.0, 0.3, 0.3]).result()
    assert support.decisions == 3
    assert support.effective == pytest.approx(36 / 14)
    assert support.largest == pytest.approx(3.0)
    assert support.mean == pytest.approx(2.0)
    assert support.error == pytest.approx(1 / np.sqrt(3))
    assert support.outside == pytest.approx(0.2)


def test_decisions_of_one_member_are_no_independent_weights():
    alone = Weights.none().add([0.0, 0.0, 2.0, 2.0]).result()
    together = Weights.none().add([0.0, 0.0, 2.0, 2.0], cluster=[1, 1, 2, 2]).result()
    assert together.error > alone.error
    assert together.effective == alone.effective
    with pytest.raises(ValueError, match="cluster must be a whole number"):
        Weights.none().add([0.0, 2.0], cluster=[0.2, 0.9])


def test_no_decisions_and_no_weight_are_worth_nothing():
    assert Weights.none().result().effective == 0.0
    assert np.isnan(Weights.none().result().mean)
    nothing = Weights.none().add([0.0, 0.0]).result()
    assert (nothing.effective, nothing.largest, nothing.mean) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("huge", [1e12, 1e300])
def test_one_huge_weight_is_one_effective_decision(huge):
    support = Weights.none().add([huge, *np.ones(99)]).result()
    assert support.effective == pytest.approx(1.0)
    assert support.largest == pytest.approx(huge)


@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=40),
    st.integers(0, 40),
    st.booleans(),
)
def test_shards_of_weights_give_the_whole(weights, cut, swap):
    parts = [weights[:cut], weights[cut:]]
    one, two = (Weights.none().add(part) for part in (parts[::-1] if swap else parts))
    merged, whole = (one + two).result(), Weights.none().add(weights).result()
    assert merged.decisions == whole.decisions
    for name in ("effective", "largest", "mean"):
        assert getattr(merged, name) == pytest.approx(getattr(whole, name), rel=1e-12, abs=1e-300)
    assert merged.effective <= merged.decisions * (1 + 1e-12)


def test_holm_by_hand():
    # 0.01 <= 0.05 / 4 and 0.013 <= 0.05 / 3, but 0.03 > 0.05 / 2: it and all after it stand
    assert holm([0.03, 0.01, 0.04, 0.013], 0.05).tolist() == [False, True, False, True]
    assert holm([], 0.05).tolist() == []


def test_the_shares_and_the_mean_weight_of_each_day():
    drift = Drift().add(
        ["d1", "d1", "d2", "d2"], ["a", "b", "b", "b"], [1.5, 0.5, 1.0, 0.5], [0.0, 0.0, 0.0, 0.5]
    )
    first, second = drift.result()
    assert (first.day, first.decisions, dict(first.shares)) == ("d1", 2, {"a": 0.5, "b": 0.5})
    assert first.weight == pytest.approx(1.0)
    assert first.error == pytest.approx(0.5)
    assert first.moved == pytest.approx(0.25)
    assert dict(second.shares) == {"b": 1.0}
    assert second.weight == pytest.approx(1.0)
    assert not first.wrong
    assert not second.wrong


def test_a_day_whose_propensities_are_not_its_own_is_found():
    random = np.random.default_rng(3)
    days, right, wrong = np.repeat(["d1", "d2", "d3"], 5000), [0.2, 0.8], [0.5, 0.5]
    shown = np.concatenate([random.random(5000) < p for p in (0.2, 0.5, 0.2)]).astype(int)
    weight = np.array(wrong)[1 - shown] / np.array(right)[1 - shown]
    found = Drift().add(days, np.full(15000, "titles@1"), weight).result()
    assert [day.wrong for day in found] == [False, True, False]


def test_a_true_log_seldom_drifts():
    random = np.random.default_rng(5)
    alarms = 0
    for _ in range(200):
        shown = random.random(4000) < 0.2
        weight = np.where(shown, 0.5 / 0.2, 0.5 / 0.8)
        days = np.repeat(np.arange(8).astype(str), 500)
        alarms += any(day.wrong for day in Drift().add(days, days, weight).result())
    assert alarms <= 7  # above which a share of 1 % has a chance below 1 % of 1 %


def test_weights_too_large_to_be_squared_say_nothing_of_their_day():
    days, who = np.full(500, "mon"), np.full(500, "titles@1")
    (day,) = Drift().add(days, who, [*np.ones(499), 1e200]).result()
    assert not day.wrong


def test_rare_actions_that_were_not_drawn_yet_are_no_drift():
    chance, wanted = np.array([0.9998, 0.0002]), np.array([0.7, 0.3])
    weight = np.full(2000, 0.7 / 0.9998)
    known = np.full(2000, wanted**2 @ (1 / chance) - 1)
    days, who = np.full(2000, "mon"), np.full(2000, "titles@1")
    (seen,) = Drift().add(days, who, weight).result()
    (day,) = Drift().add(days, who, weight, variance=known).result()
    assert seen.wrong
    assert not day.wrong
    assert day.error == pytest.approx(np.sqrt(known[0] / 2000), rel=1e-3)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xy")), max_size=20))
def test_shards_of_days_in_any_order_give_the_whole(rows):
    def of(part):
        days, versions = [day for day, _ in part], [version for _, version in part]
        return Drift().add(days, versions, np.full(len(part), 1.5))

    whole, merged = of(rows).result(), (of(rows[1::2]) + of(rows[::2])).result()
    assert [(day.day, day.shares) for day in merged] == [(day.day, day.shares) for day in whole]
    for one, other in zip(merged, whole, strict=True):
        assert (one.moved, one.weight) == (other.moved, other.weight)
        assert one.error == pytest.approx(other.error, nan_ok=True)


def test_rewards_are_closed_when_window_and_grace_are_over():
    decided = datetime(2026, 3, 1, tzinfo=UTC)
    micros = int(decided.timestamp() * 1e6)
    hours = {"window": timedelta(hours=24), "grace": timedelta(hours=2)}
    at = decided + timedelta(hours=26)
    assert closed([micros, micros - 5], now=at, **hours).all
    early = closed([micros, micros - 5], now=at - timedelta(microseconds=1), **hours)
    assert (early.decisions, early.open, early.last) == (2, 1, at)
    assert closed([], now=at, **hours).all
