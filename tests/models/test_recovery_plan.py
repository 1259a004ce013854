"""When to try again: known answers, and every plan there is tried on small instances."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matinee.models.recovery.hazard import Hazard
from matinee.models.recovery.plan import Slots, Stakes

DAYS = 4
HOURS = np.arange(DAYS) * 24 + 12


def chance(base, number, since, slots):
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
                p = chance(base, number, since, np.array([slot]))[0]
                value += left * (p * gain - (1 - p) * cost)
                left, last = left * (1 - p), slot
            values.append(value)
    return max(values)


def even(gain, cost, slots=DAYS):
    return Stakes(np.full(slots, gain), np.full(slots, cost))


@given(
    st.lists(st.floats(0, 1), min_size=DAYS, max_size=DAYS),
    st.floats(0, 100),
    st.floats(0, 20),
    st.integers(1, DAYS),
)
def test_no_plan_is_better(chances, gain, cost, attempts):
    base, stakes = np.array(chances), even(gain, cost)
    slots = Slots(HOURS, np.ones(DAYS, bool), base)
    worth = slots.worth(lambda *asked: chance(base, *asked), stakes, attempts)
    for start in range(DAYS):
        assert worth[start] == pytest.approx(best_plan(base, gain, cost, attempts, start), abs=1e-9)


def test_slots_where_nothing_is_allowed_are_not_planned_on():
    base, stakes = np.array([0.1, 0.9, 0.9, 0.9]), even(10.0, 1.0)
    alone = Slots(HOURS, np.array([True, False, False, False]), base)
    worth = alone.worth(lambda *asked: chance(base, *asked), stakes, 3)
    assert worth[0] == pytest.approx(0.1 * 10 - 0.9 * 1)


def test_without_attempts_left_a_further_one_is_a_loss():
    slots = Slots(HOURS, np.ones(DAYS, bool), np.full(DAYS, 0.9))
    assert (slots.worth(lambda *_: np.zeros(0), even(10.0, 1.0), 0) < 0).all()


def test_of_one_day_the_likeliest_slot_is_planned_on():
    hours = np.array([1, 12, 23, 30])
    slots = Slots(hours, np.array([True, True, True, True]), np.array([0.2, 0.8, 0.5, 0.6]))
    asked = []

    def later(number, since, places):
        asked.extend(places.tolist())
        return np.full(len(places), 0.5)

    slots.worth(later, even(10.0, 1.0), 2)
    assert set(asked) == {1, 3}


def test_what_fades_is_tried_sooner_and_what_annoys_is_tried_less():
    base = np.array([0.5, 0.55, 0.55, 0.55])
    slots = Slots(HOURS, np.ones(DAYS, bool), base)

    def later(*asked):
        return chance(base, *asked)

    patient = slots.worth(later, even(10.0, 0.1), 3)
    fading = np.exp(-0.2 * HOURS / 24)
    hasty = slots.worth(later, Stakes(10.0 * fading, 0.1 * fading), 3)
    assert hasty.argmax() == 0
    assert (hasty[1:] - hasty[0] < patient[1:] - patient[0]).all()
    annoyed = slots.worth(later, Stakes(np.full(DAYS, 10.0), np.full(DAYS, 0.1), 0.5), 3)
    assert (annoyed[:-1] < patient[:-1]).all()
    assert annoyed[-1] == pytest.approx(patient[-1])  # nothing comes after the last


def test_chances_after_another_attempt_are_those_of_its_delay_and_number():
    rng = np.random.default_rng(3)
    size = 5_000
    columns = {
        "day": rng.integers(1, 29, size),
        "number": rng.integers(1, 6, size),
        "tried": rng.integers(0, 4, size),
        "since_last": rng.uniform(0, 200, size),
        "reason": rng.choice(["low", "risk"], size).tolist(),
    }
    columns["nights"] = np.rint(columns["since_last"] / 24)
    hazard = Hazard.fitted(columns, rng.random(size) < 0.1 * columns["number"])
    slots = {"day": np.arange(1, 20), "reason": "risk", "number": 2}
    again = hazard.repeated(slots)
    since, places = np.array([1.0, 24.0, 100.0]), np.array([3, 0, 18])
    moved = {"day": slots["day"][places], "reason": "risk", "number": 4, "since_last": since}
    whole = hazard.chances({**moved, "tried": 2, "nights": np.rint(since / 24)})
    assert again.chances(2, since, places) == pytest.approx(whole)


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
    hazard = Hazard.fitted(*paydays(), strength=0.5)
    columns, approved = paydays(seed=1)
    found = hazard.chances(columns)
    for low, high in ((0.0, 0.3), (0.3, 1.0)):
        some = (found >= low) & (found < high)
        assert found[some].mean() == pytest.approx(approved[some].mean(), abs=0.02)


def test_what_was_never_met_is_none_and_finite():
    hazard = Hazard.fitted(*paydays())
    strange = hazard.chances(
        {"issuer_country": ["XX", None], "day": [99, -5], "since_last": [1e12, -1e12]}
    )
    assert np.isfinite(strange).all()
    none = Hazard.fitted({}, np.zeros(0, bool))
    assert none.chances({"day": np.array([1.0])}) == pytest.approx([0.5])
