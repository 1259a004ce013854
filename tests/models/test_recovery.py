"""The value of routes and slots, by hand."""

from dataclasses import replace as replaced
from datetime import UTC, datetime

import numpy as np
import pytest
from msgspec.structs import replace

from matinee.lake.records import micros
from matinee.models import (
    Cascade,
    Context,
    Dataset,
    Histories,
    InMemory,
    Recovery,
    Responses,
    Vocabulary,
)
from matinee.models.recovery.actions import Actions, processors_of
from matinee.payments.actions import HOUR, SLOTS, STOP, slot_id
from matinee.payments.facts import FACTS, Facts, Means, Price, Try

AT = micros(datetime(2026, 3, 2, 9, tzinfo=UTC))
ACTIONS = Vocabulary(sorted(["gold/1", "gold/2", "moon/1", STOP, *map(slot_id, SLOTS)]))
PRICES = {"gold": Price(10, 5, 0.01), "moon": Price(5, 2)}
OPEN = {"1": [(1, 672)], "2": [(1, 672)]}


def facts(step="route", **more):
    told = {
        "at": AT,
        "amount": 1000,
        "currency": "EUR",
        "due_at": AT - 24 * HOUR,
        "grace_until": AT + 27 * 24 * HOUR,
        "means": (Means("visa"), Means("mastercard")),
        "prices": PRICES,
        "open": OPEN,
        "worth": 500,
        "country": "NL",
    }
    return Facts(step, **{**told, **more})


def declined(days=1.0, by="gold", reason="insufficient_funds"):
    return Try(AT - int(days * 24) * HOUR, by, 1, "declined", reason)


def attempts(size=4000, seed=0):
    """Gold approves 80 % of visa and 40 % of mastercard, moon 60 % of both; retries 20 %, on the
    first day of the month 80 %.
    """
    rng = np.random.default_rng(seed)
    rows, told, at, reward = [], [], [], []
    for _ in range(size):
        action = ["gold/1", "gold/2", "moon/1"][rng.integers(3)]
        again = rng.random() < 0.5
        when = AT - int(rng.integers(1, 60 * 24)) * HOUR
        tried = (Try(when - 24 * HOUR, "gold", 1, "declined", "insufficient_funds"),)
        one = facts(
            at=when, due_at=when - 24 * HOUR * again, tried=tried * again, number=int(again)
        )
        day = datetime.fromtimestamp(when / 1e6, UTC).day
        chance = {"gold/1": 0.8, "gold/2": 0.4, "moon/1": 0.6}[action]
        if again:
            chance = 0.8 if day == 1 else 0.2
        rows.append(action)
        at.append(when)
        told.append({FACTS: one.told()})
        reward.append(float(rng.random() < chance))
    context = Context(
        Histories.of([[]] * size, countries=["NL"] * size), np.array(at), (), tuple(told)
    )
    responses = Responses(ACTIONS.encode(rows), np.array(reward), np.ones(size), context)
    return Dataset(ACTIONS, [], AT, responses=[InMemory(responses)])


@pytest.fixture(scope="module")
def model():
    return Recovery(dispute=0.0, effort=0.0).fit(attempts())


def believed(model, one, ids):
    asked = Context(
        Histories.of([[]], countries=["NL"]), np.array([one.at]), (), ({FACTS: one.told()},)
    )
    return model.believe(asked, model.titles.encode(ids)).mean[0]


def test_a_route_is_worth_what_it_brings_less_what_it_costs(model):
    worth = believed(model, facts(), ["gold/1", "gold/2", "moon/1"])
    gain = {"gold": 1000 * 0.99 - 10 + 500, "moon": 1000 - 5 + 500}
    expected = [
        (p * gain[who] - (1 - p) * cost) / 100
        for p, who, cost in ((0.8, "gold", 5), (0.4, "gold", 5), (0.6, "moon", 2))
    ]
    assert worth == pytest.approx(expected, abs=0.7)


def test_what_an_attempt_costs_beside_fees_is_a_share_of_the_amount(model):
    dear = Recovery(dispute=0.0, effort=0.1).fit(attempts())
    ids = ["gold/1", "gold/2", "moon/1"]
    less = believed(model, facts(), ids) - believed(dear, facts(), ids)
    assert less == pytest.approx([1.0, 1.0, 1.0])  # of 10 EUR, approved or not


def test_penalties_of_networks_are_paid_whatever_comes_of_it(model):
    free = believed(model, facts(), ["gold/1", "gold/2"])
    fined = believed(model, facts(penalties=(50.0, 0.0)), ["gold/1", "gold/2"])
    assert free - fined == pytest.approx([0.5, 0.0], abs=1e-9)


def test_what_cannot_be_charged_is_worth_the_least(model):
    one = facts(means=(Means("visa"),), prices={"gold": PRICES["gold"]})
    worth = believed(model, one, ["gold/1", "gold/2", "moon/1", "nobody/1"])
    assert worth[1:].tolist() == [-model.limit] * 3
    assert worth[0] > 0


def test_a_slot_on_pay_day_is_best(model):
    at = micros(datetime(2026, 3, 28, 9, tzinfo=UTC))
    one = facts("when", at=at, tried=(declined(0),), number=model.most - 1)  # one is left
    slots = believed(model, one, list(map(slot_id, SLOTS)))
    first = micros(datetime(2026, 4, 1, tzinfo=UTC))
    best = at // HOUR * HOUR + SLOTS[int(slots.argmax())] * HOUR
    assert first <= best < first + 24 * HOUR
    assert believed(model, one, [STOP])[0] == 0.0


def test_when_all_attempts_are_made_to_stop_is_best():
    model = Recovery(most=2).fit(attempts(400))
    one = facts("when", tried=(declined(3), declined(1)), number=2)
    ids = [*map(slot_id, SLOTS), STOP]
    assert ids[int(believed(model, one, ids).argmax())] == STOP


def test_the_last_attempt_is_planned_with_one_card_or_the_other_not_with_both(model):
    one = facts("when", tried=(declined(),), number=model.most - 1)
    ids = list(map(slot_id, SLOTS))
    alone = [believed(model, replace(one, open={rank: OPEN[rank]}), ids) for rank in ("1", "2")]
    assert believed(model, one, ids) == pytest.approx(np.maximum(*alone))


def test_what_may_come_with_another_card_makes_the_first_attempt_worth_more(model):
    one = facts("when", tried=(declined(),), number=1)
    first, later = {"1": [(1, 1)]}, {"2": [(100, 672)]}
    alone, both = (
        believed(model, replace(one, open=may), [slot_id(1)])[0] for may in (first, first | later)
    )
    assert both > alone + 0.5


def test_without_trust_in_plans_a_slot_is_worth_its_attempt():
    now, later = (
        Recovery(dispute=0.0, effort=0.0, trust=0.0, most=most).fit(attempts(2000))
        for most in (2, 8)
    )
    one = facts("when", tried=(declined(),), number=1)
    ids = list(map(slot_id, SLOTS))
    assert believed(later, one, ids) == pytest.approx(believed(now, one, ids))


def test_attempts_of_a_processor_that_is_not_known_teach_nothing():
    (shard,) = attempts(3000).responses
    seen = shard.load()
    actions, known = seen.actions.copy(), np.flatnonzero(np.arange(3000) % 3)
    actions[::3] = -1
    parts = (seen.actions, seen.rewards, seen.propensities)
    fewer = Responses(*(part[known] for part in parts), seen.context.take(known))
    one = facts(tried=(declined(),), number=1)
    found = [
        Recovery().fit(Dataset(ACTIONS, [], AT, responses=[InMemory(rows)])).approvals(one)
        for rows in (replaced(seen, actions=actions), fewer)
    ]
    assert found[0] == pytest.approx(found[1])


def test_who_knew_no_processor_when_it_learned_finds_no_route_worth_anything():
    slots = Vocabulary(sorted([STOP, *map(slot_id, SLOTS)]))
    model = Recovery().fit(Dataset(slots, [], AT))
    asked = Context(Histories.of([[]]), np.array([AT]), (), ({FACTS: facts().told()},))
    assert (model.believe(asked, np.array([-1, 0], np.int32)).mean == -model.limit).all()


@pytest.mark.parametrize("rank", ["9", "9223372036854775808", "1" * 20])
def test_ranks_that_no_invoice_has_are_no_routes(rank):
    actions = Actions.of([f"gold/{rank}", "gold/2"], processors_of(["gold/2"]))
    assert actions.ranks.tolist()[:2] == [0, 2]


def test_a_bill_that_is_not_worth_the_fee_is_left(model):
    dear = {"gold": Price(0, 500, 0.0)}
    one = facts("when", amount=100, worth=0, prices=dear, tried=(declined(),), number=1)
    ids = [*map(slot_id, SLOTS), STOP]
    assert ids[int(believed(model, one, ids).argmax())] == STOP


def test_hostile_facts_are_refused(model):
    bad = Context(Histories.of([[]]), np.zeros(1), (), ({FACTS: {"step": "route"}},))
    with pytest.raises(ValueError, match="not the facts of an invoice"):
        model.believe(bad)


def test_the_schedule_waits_for_its_days():
    model = Cascade().fit(attempts(400))
    ids = [*map(slot_id, SLOTS), STOP]
    for number, elapsed, day in ((1, 0.01, 1), (2, 1.1, 3), (3, 3.2, 5), (4, 5.5, 7)):
        one = facts("when", due_at=AT - int(elapsed * 24 * HOUR), number=number)
        best = ids[int(believed(model, one, ids).argmax())]
        assert (AT + int(best[1:-1]) * HOUR - one.due_at) / HOUR == pytest.approx(24 * day, abs=1.5)
    over = facts("when", due_at=AT - 8 * 24 * HOUR, number=5)
    assert ids[int(believed(model, over, ids).argmax())] == STOP


def test_the_cascade_goes_down_to_who_has_not_declined():
    model = Cascade().fit(attempts())
    ids = ["gold/1", "moon/1"]
    first = ids[int(believed(model, facts(), ids).argmax())]
    tried = (declined(by=first.split("/")[0]),)
    assert ids[int(believed(model, facts(tried=tried), ids).argmax())] != first


def test_a_window_forgets():
    data = attempts(400)
    loaded = data.responses[0].load()
    order = np.argsort(loaded.context.at)
    rewards = np.zeros(400)
    rewards[order[-100:]] = 1.0  # of late everything is approved
    late = Dataset(
        ACTIONS,
        [],
        AT,
        responses=[
            InMemory(Responses(loaded.actions, rewards, loaded.propensities, loaded.context))
        ],
    )
    whole, short = (Cascade(window=w, strength=1e-9).fit(late) for w in (None, 20))
    assert believed(short, facts(), ["gold/1"])[0] == pytest.approx(1 - 0.001)
    assert believed(whole, facts(), ["gold/1"])[0] < 0.5
    even = Cascade(window=0).fit(late)
    gold, moon = believed(even, facts(), ["gold/1", "moon/1"])
    assert gold == moon


def test_the_cascade_knows_no_member_apart_from_another():
    model = Cascade().fit(attempts())
    asked = Context(Histories.of([[], []], countries=["NL", "US"]), np.zeros(2))
    worth = model.believe(asked, model.titles.encode(["moon/1", STOP])).mean
    assert worth[0].tolist() == worth[1].tolist()
    assert worth[0, 0] > 0.3
