"""When to try again: known answers, and every plan there is tried on small instances."""

from datetime import UTC, datetime
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from matinee.models.recovery.hazard import Hazard
from matinee.models.recovery.plan import Slots, Stakes

DAYS = 4
HOURS = np.arange(DAYS) * 24 + 12


def chance(base, number, since, before, slots):
    """Some chances that hang on the slot, how many came before, and how long ago the last was."""
    return np.clip(base[slots] - 0.07 * number + 0.002 * since, 0.0, 1.0)


def best_plan(base, gain, cost, attempts, start):
    """The value of a first attempt in slot `start` and the best of all ways to go on."""
    later = [slot for slot in range(DAYS) if slot > start]
    values = []
    for count in range(min(attempts - 1, len(later)) + 1):
        for plan in combinations(later, count):
            value, left, last = base[start] * gain, 1 - base[start], start
            value -= left * cost
            for number, slot in enumerate(plan, start=1):
                since = np.array([float(HOURS[slot] - HOURS[last])])
                p = chance(base, number, since, None, np.array([slot]))[0]
                value += left * (p * gain - (1 - p) * cost)
                left, last = left * (1 - p), slot
            values.append(value)
    return max(values)


def even(gain, cost, slots=DAYS):
    return Stakes(np.full(slots, gain), np.full(slots, cost))


def slots_of(base, stakes, allowed=None, hours=HOURS):
    return Slots(hours, np.ones(len(base), bool) if allowed is None else allowed, base, stakes)


def worth(slots, later, attempts):
    return slots.worth(slots.after(later, attempts - 1))


@given(
    st.lists(st.floats(0, 1), min_size=DAYS, max_size=DAYS),
    st.floats(0, 100),
    st.floats(0, 20),
    st.integers(1, DAYS),
)
def test_no_plan_is_better(chances, gain, cost, attempts):
    base = np.array(chances)
    found = worth(slots_of(base, even(gain, cost)), lambda *asked: chance(base, *asked), attempts)
    for start in range(DAYS):
        assert found[start] == pytest.approx(best_plan(base, gain, cost, attempts, start), abs=1e-9)


def test_slots_where_nothing_is_allowed_are_not_planned_on():
    base, allowed = np.array([0.1, 0.9, 0.9, 0.9]), np.array([True, False, False, False])
    alone = slots_of(base, even(10.0, 1.0), allowed)
    found = worth(alone, lambda *asked: chance(base, *asked), 3)
    assert found[0] == pytest.approx(0.1 * 10 - 0.9 * 1)
    assert (found[1:] == -np.inf).all()


def test_of_one_day_the_likeliest_slot_is_planned_on():
    hours, asked = np.array([1, 12, 23, 30]), []

    def later(more, since, before, places):
        asked.extend(places.tolist())
        return np.full(len(places), 0.5)

    slots_of(np.array([0.2, 0.8, 0.5, 0.6]), even(10.0, 1.0), hours=hours).after(later, 1)
    assert set(asked) == {1, 3}


def test_what_is_begun_after_a_slot_is_the_best_attempt_that_is_left_or_none():
    slots = slots_of(np.array([0.9, 0.1, 0.5, 0.01]), even(10.0, 1.0))
    assert slots.begun(np.zeros(DAYS)) == pytest.approx([4.5, 4.5, 0.0, 0.0])


def test_what_fades_is_tried_sooner_and_what_annoys_is_tried_less():
    base = np.array([0.5, 0.55, 0.55, 0.55])

    def later(*asked):
        return chance(base, *asked)

    patient = worth(slots_of(base, even(10.0, 0.1)), later, 3)
    fading = np.exp(-0.2 * HOURS / 24)
    hasty = worth(slots_of(base, Stakes(10.0 * fading, 0.1 * fading)), later, 3)
    assert hasty.argmax() == 0
    assert (hasty[1:] - hasty[0] < patient[1:] - patient[0]).all()
    annoyed = worth(slots_of(base, Stakes(np.full(DAYS, 10.0), np.full(DAYS, 0.1), 0.5)), later, 3)
    assert (annoyed[:-1] < patient[:-1]).all()
    assert annoyed[-1] == pytest.approx(patient[-1])  # nothing comes after the last


def attempts(seed=3, size=5_000):
    """Attempts of which all that a hazard looks at is known."""
    rng = np.random.default_rng(seed)
    date = rng.integers(20_000, 20_400, size)
    since = rng.uniform(0, 600, size)
    columns = {
        "date": date,
        "day": dom(date),
        "fortnight": date % 14,
        "hour": rng.integers(0, 24, size),
        "number": rng.integers(1, 6, size),
        "tried": rng.integers(0, 4, size),
        "since_last": since,
        "nights": np.rint(since / 24),
        "reason": rng.choice(["low", "risk"], size).tolist(),
        "issuer_country": rng.choice(["DE", "US"], size).tolist(),
        "processor": rng.choice(["gold", "moon"], size).tolist(),
    }
    odds = columns["number"] / 4 - 2 + (columns["day"] < columns["nights"])
    return columns, rng.random(size) < expit(odds)


def dom(date):
    return np.array([datetime.fromtimestamp(day * 86_400, UTC).day for day in date.tolist()])


def test_what_is_ahead_are_the_chances_of_the_next_attempt_and_of_those_after_it():
    hazard = Hazard.fitted(*attempts())
    date = np.arange(20_500, 20_540)
    now = {"reason": "risk", "issuer_country": "DE", "processor": "gold", "hour": 7.0}
    slots = {**now, "date": date, "day": dom(date), "fortnight": date % 14}
    first = {"number": 2, "tried": 1, "nights": date - 20_490, "since_last": 24.0 * (date - 20_490)}
    ahead = hazard.ahead({**slots, **first})
    assert expit(ahead.next) == pytest.approx(hazard.chances({**slots, **first}))
    before, places = np.array([0, 0, 5]), np.array([3, 31, 18])
    nights = places - before
    moved = {name: slots[name][places] for name in ("date", "day", "fortnight")}
    later = {"number": 4, "tried": 3, "nights": nights, "since_last": 24.0 * nights}
    expected = hazard.chances({**now, **moved, **later})
    since = 24.0 * nights
    assert ahead.chances(np.array([[2]]), since, before, places)[0] == pytest.approx(expected)
    eighth = {name: float(value[7]) for name, value in {**slots, **first}.items() if np.ndim(value)}
    assert hazard.now({**slots, **first, **eighth}, ["gold"]) == pytest.approx(ahead.next[[7]])
    surer = ahead.plus(1.0)
    assert surer.next == pytest.approx(ahead.next + 1.0)
    assert (surer.chances(np.array([[2]]), since, before, places)[0] > expected).all()


def test_money_that_comes_on_a_day_is_there_after_it():
    rng = np.random.default_rng(8)
    date, nights = rng.integers(20_000, 20_400, 20_000), rng.integers(1, 15, 20_000)
    passed = np.array(
        [25 in dom(np.arange(d - n + 1, d + 1)) for d, n in zip(date, nights, strict=True)]
    )
    columns = {"date": date, "day": dom(date), "nights": nights, "reason": ["low"] * 20_000}
    hazard = Hazard.fitted(columns, rng.random(20_000) < np.where(passed, 0.6, 0.1))
    there = np.array([(datetime(2026, 3, 28, tzinfo=UTC).timestamp()) // 86_400], np.int64)
    asked = {"date": there, "day": [28], "reason": "low"}
    assert hazard.chances({**asked, "nights": [5]}) == pytest.approx([0.6], abs=0.07)
    assert hazard.chances({**asked, "nights": [2]}) == pytest.approx([0.1], abs=0.07)


def paydays(seed=0, size=20_000):
    """Attempts of two countries, whose pay-day is the 25th of one and the 1st of the other."""
    rng = np.random.default_rng(seed)
    country = rng.choice(["DE", "US"], size)
    day = rng.integers(1, 29, size)
    paid = np.where(country == "DE", 25, 1)
    p = np.where(day == paid, 0.7, 0.15)
    columns = {"issuer_country": country.tolist(), "day": day, "reason": ["low"] * size}
    return columns, rng.random(size) < p


def test_pay_days_of_countries_are_told_apart():
    hazard = Hazard.fitted(*paydays())
    asked = {"issuer_country": ["DE", "DE", "US", "US"], "day": [25, 1, 25, 1], "reason": "low"}
    assert hazard.chances(asked) == pytest.approx([0.7, 0.15, 0.15, 0.7], abs=0.06)


def test_chances_are_calibrated_on_other_attempts():
    hazard = Hazard.fitted(*paydays(size=60_000))
    found = hazard.chances(paydays(seed=1)[0])
    for low, high, truth in ((0.0, 0.3, 0.15), (0.3, 1.0, 0.7)):
        some = (found >= low) & (found < high)
        assert found[some].mean() == pytest.approx(truth, abs=0.02)


def test_what_was_never_met_is_none_and_finite():
    hazard = Hazard.fitted(*paydays())
    strange = hazard.chances(
        {"issuer_country": ["XX", None], "day": [99, -5], "since_last": [1e12, -1e12]}
    )
    assert np.isfinite(strange).all()
    none = Hazard.fitted({}, np.zeros(0, bool))
    assert none.chances({"day": np.array([1.0])}) == pytest.approx([0.5])


def test_processors_are_told_apart_by_whom_they_ask():
    rng = np.random.default_rng(5)
    by, issuer = rng.choice(["gold", "moon"], 20_000), rng.choice(["bank-1", "bank-2"], 20_000)
    good = (by == "gold") == (issuer == "bank-1")
    columns = {"processor": by.tolist(), "issuer": issuer.tolist()}
    hazard = Hazard.fitted(columns, rng.random(20_000) < np.where(good, 0.8, 0.3))
    names = ["gold", "moon", "nobody"]
    for which, expected in (("bank-1", [0.8, 0.3]), ("bank-2", [0.3, 0.8])):
        ahead = hazard.ahead({"issuer": which, "hour": np.zeros(1)})
        found = expit(ahead.next + hazard.processors({"issuer": which}, names))
        assert found[:2] == pytest.approx(expected, abs=0.03)
        assert 0.3 < found[2] < 0.8
