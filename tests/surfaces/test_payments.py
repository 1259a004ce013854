"""Payments: what is asked, what rules take away, what comes of it, and what is learned."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import polars as pl
import pytest

from matinee.decisions import Decider
from matinee.errors import MatineeError
from matinee.lake.billing import Attempt, Instrument, Invoice, NetworkRule, Outage, Processor
from matinee.lake.lake import Lake
from matinee.lake.records import micros
from matinee.lake.rows import frame_of_records
from matinee.lake.schemas import SCHEMAS
from matinee.payments.actions import HOUR, STOP, hours_of, route_of, slot_at
from matinee.payments.facts import FACTS, Facts
from matinee.payments.lessons import LEARNS_IN, lessons
from matinee.service.charging.deciding import Nobody
from matinee.surfaces import Payments, Request, Situation, check

NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
DUE = NOW - timedelta(days=2)
DAY = timedelta(days=1)
PROCESSORS = [
    Processor(processor="gold", currency="EUR", fee_approved=10, fee_declined=5, fee_share=0.01),
    Processor(processor="moon", currency="EUR", fee_approved=5, networks=["visa"]),
]
CARDS = [
    Instrument(instrument_id="c1", member_id="ann", kind="card", network="visa", issuer="bank"),
    Instrument(instrument_id="c2", member_id="ann", kind="card", network="mastercard"),
]
INVOICE = Invoice(
    invoice_id="i1",
    member_id="ann",
    amount=999,
    currency="EUR",
    due_at=DUE,
    grace_until=DUE + 28 * DAY,
    instruments=["c1", "c2"],
    country="NL",
    timezone="Europe/Amsterdam",
    worth=4000,
)


@pytest.fixture
def lake(tmp_path):
    with Lake.create(tmp_path / "lake") as lake:
        lake.put([*PROCESSORS, *CARDS, INVOICE])
        yield lake


def attempt(number=1, status="declined", hours=1.0, **more):
    told = {
        "attempt_id": f"a{number}",
        "member_id": "ann",
        "invoice_id": "i1",
        "instrument_id": "c1",
        "processor": "gold",
        "amount": 999,
        "currency": "EUR",
        "at": NOW - timedelta(hours=hours),
    }
    return Attempt(status=status, **{**told, **more})


def asked(step="route", **more):
    told = {"request_id": "r", "member_id": "ann", "at": NOW, "subject": "i1"}
    return Request(features={"step": step}, **{**told, **more})


def decide(lake, surface, request):
    model, policy = surface.fallback()
    decider = Decider(
        surface, model, policy, version="payments@fallback", histories=Nobody(), salt=b""
    )
    return decider.decide(request, lake)


def left(surface, request):
    """What masks leave, and the names of those that took something."""
    candidates, situation = surface.eligible(request), Situation(request)
    masks = surface.masks(situation)
    kept = [
        one
        for place, one in enumerate(candidates.ids)
        if all(mask.allowed(situation, candidates)[place] for mask in masks)
    ]
    return kept, {mask.name for mask in masks}


def test_it_is_a_surface(lake):
    check(Payments.open(lake))


def test_a_route_is_any_processor_that_reaches_the_instrument(lake):
    kept, names = left(Payments.open(lake), asked())
    assert kept == ["gold/1", "gold/2", "moon/1"]
    assert names == {"network", "instrument"}


def test_the_decision_says_what_was_known_and_what_rules_took_away(lake):
    lake.put([attempt(code="51")])
    decision = decide(lake, Payments.open(lake), asked())
    assert decision.subject == "i1"
    assert route_of(decision.actions[0]).rank == 1
    assert {mask.name for mask in decision.masks} == {"network", "instrument"}
    facts = Facts.read(decision.context["features"][FACTS])
    assert (facts.step, facts.amount, facts.worth, facts.number) == ("route", 999, 4000, 1)
    assert facts.tried[0].reason == "insufficient_funds"
    assert facts.prices["gold"].share == 0.01


def test_the_first_retry_waits_for_the_schedule(lake):
    lake.put([attempt(code="51", hours=47)])
    decision = decide(lake, Payments.open(lake), asked("when"))
    slot = slot_at(decision.at, hours_of(decision.actions[0]))
    assert abs(slot - (DUE + 3 * DAY)) <= timedelta(hours=1)  # the first day is over


@pytest.mark.parametrize(
    ("row", "name"),
    [
        (attempt(status="sent"), "in_flight"),
        (attempt(status="unknown"), "in_flight"),
        (attempt(status="approved"), "paid"),
        (msgspec.structs.replace(INVOICE, closed="void"), "closed"),
        (msgspec.structs.replace(INVOICE, grace_until=NOW), "grace"),
    ],
)
def test_what_ends_an_invoice_leaves_no_route_and_only_the_stop(lake, row, name):
    lake.put([row])
    surface = Payments.open(lake)
    kept, names = left(surface, asked())
    assert kept == []
    assert name in names
    assert left(surface, asked("when"))[0] == [STOP]
    decision = decide(lake, surface, asked(request_id="other"))
    assert decision.actions == []
    assert name in {mask.name for mask in decision.masks}


def test_what_bars_one_instrument_leaves_the_other(lake):
    lake.put([attempt(code="43")])  # stolen
    kept, _ = left(Payments.open(lake), asked())
    assert kept == ["gold/2"]
    slots, names = left(Payments.open(lake), asked("when"))
    assert len(slots) > 200
    assert "hard_reason" not in names  # the second card may be charged then


def test_a_processor_in_an_outage_is_not_used_and_waited_for(lake):
    lake.put([Outage(processor="gold", starts_at=NOW - DAY)])
    surface = Payments.open(lake)
    assert left(surface, asked())[0] == ["moon/1"]
    assert len(left(surface, asked("when"))[0]) > 200
    lake.put([Outage(processor="gold", starts_at=NOW - DAY, ends_at=NOW)])
    surface.follow()
    assert "gold/1" in left(surface, asked())[0]


def test_a_processor_that_fails_of_late_is_left_alone_until_a_probe_is_due(lake):
    lake.put([attempt(n, "failed", hours=n / 3600) for n in (3, 2, 1)])
    surface = Payments.open(lake)
    kept, names = left(surface, asked())
    assert kept == ["moon/1"]
    assert "down" in names
    later = asked(at=NOW + timedelta(minutes=5))
    assert "gold/1" in left(surface, later)[0]


def test_rules_of_the_lake_come_on_top(lake):
    rule = NetworkRule(
        rule_id="own", network="visa", kind="limit", source="us", most=1, hours=24.0, per="card"
    )
    lake.put([rule, attempt(code="51", hours=2)])
    kept, names = left(Payments.open(lake), asked())
    assert kept == ["gold/2"]
    assert "own" in names
    slots, _ = left(Payments.open(lake), asked("when"))
    assert min(hours_of(one) for one in slots if one != STOP) == 1  # by the second card
    facts = Payments.open(lake).told(Situation(asked("when")))[FACTS]
    assert facts["open"]["1"][0][0] == 22


def test_who_was_promised_attempts_gets_them_first(lake):
    lake.put([msgspec.structs.replace(PROCESSORS[1], least=10**9)])
    kept, names = left(Payments.open(lake), asked(at=NOW.replace(day=28)))
    assert kept == ["moon/1"]
    assert "promise" in names


def test_what_is_reported_later_counts_at_once(lake):
    surface = Payments.open(lake)
    assert left(surface, asked())[0]
    lake.put([attempt(status="sent")])
    assert not surface.follow()  # the routes are the same
    assert left(surface, asked(request_id="r2"))[0] == []


def test_an_unknown_invoice_or_step_is_said_so(lake):
    surface = Payments.open(lake)
    for request, words in (
        (asked(subject="i9"), "has no invoice"),
        (asked(subject=None), "for an invoice"),
        (asked("never"), "no step 'never'"),
        (asked(member_id="ben"), "has no invoice"),
    ):
        with pytest.raises(MatineeError, match=words):
            decide(lake, surface, request)


def test_a_currency_needs_a_rate_where_there_are_several(lake):
    surface = Payments.open(lake, rates={"USD": 0.9})
    with pytest.raises(MatineeError, match=r"nobody said what EUR is worth"):
        decide(lake, surface, asked())


def test_the_reward_is_what_the_invoice_brought_afterwards(lake):
    surface = Payments.open(lake, dispute=0.0)
    decision = decide(lake, surface, asked())
    rows = [
        attempt(1, "sent"),
        attempt(1, "declined", fee=5, penalty=10),
        attempt(2, "approved", fee=10),
    ]
    context = msgspec.json.encode(decision.context).decode()
    decisions = pl.DataFrame({"decision_id": ["d", "none"], "context": [context, context]})
    events = pl.DataFrame(
        [{"answers_to": "d", **{name: getattr(row, name) for name in ROW}} for row in rows]
    )
    rewards = dict(surface.reward(decisions, events).select("decision_id", "reward").iter_rows())
    assert rewards == {"d": pytest.approx((999 + 4000 - 5 - 10 - 10) / 100), "none": 0.0}


ROW = ("attempt_id", "status", "amount", "fee", "penalty")


def taught(lake):
    tables = {name: lake.scan(name) for name in LEARNS_IN}
    return lessons(tables)


def test_attempts_teach_what_was_known_before_they_were_sent(lake):
    lake.put(
        [
            attempt(1, "sent", hours=30),
            attempt(1, "declined", hours=29.9, code="51"),
            attempt(2, "approved", hours=5, processor="moon"),
            attempt(3, "failed", hours=4),
            attempt(4, "sent", hours=3),
        ]
    )
    rows = taught(lake)
    assert rows["action"].to_list() == ["gold/1", "moon/1"]
    assert rows["reward"].to_list() == [0.0, 1.0]
    told = [msgspec.json.decode(one)["features"][FACTS] for one in rows["context"]]
    first, second = map(Facts.read, told)
    assert (first.number, second.number) == (0, 1)
    assert second.tried[0].reason == "insufficient_funds"
    assert second.at - first.at == 25 * HOUR


def test_a_bad_tuesday_teaches_nothing_of_tuesdays(lake):
    lake.put([attempt(1, "declined", hours=30), attempt(2, "declined", hours=5)])
    start = NOW - timedelta(hours=31)
    lake.put([Outage(processor="gold", starts_at=start, ends_at=start + timedelta(hours=2))])
    assert taught(lake)["at"].to_list() == [NOW - timedelta(hours=5)]


def test_serving_and_learning_know_the_same(lake):
    lake.put([attempt(1, "declined", hours=30, code="51"), attempt(2, "declined", hours=0)])
    (_, row) = taught(lake)["context"].to_list()
    learned = Facts.read(msgspec.json.decode(row)["features"][FACTS])
    told = Facts.read(Payments.open(lake).told(Situation(asked()))[FACTS])
    served = msgspec.structs.replace(
        told, tried=told.tried[:1], number=1, prices={}, penalties=(), open={}
    )
    assert served == learned
    assert micros(NOW) == served.at


def test_an_instrument_that_was_not_reported_keeps_its_rank(lake):
    lake.put([msgspec.structs.replace(INVOICE, instruments=["lost", "c1"])])
    surface = Payments.open(lake)
    assert left(surface, asked())[0] == ["gold/2", "moon/2"]
    facts = Facts.read(surface.told(Situation(asked("when")))[FACTS])
    assert facts.means[0].network == "unknown"
    assert set(facts.open) == {"2"}
    lake.put([msgspec.structs.replace(INVOICE, instruments=["lost"])])
    surface.follow()
    assert left(surface, asked("when")) == ([STOP], {"instrument"})


def test_a_new_processor_and_what_comes_in_bulk_are_followed(lake, monkeypatch):
    monkeypatch.setattr("matinee.payments.ledger.BULK_SECONDS", 0.0)
    surface = Payments.open(lake)
    lake.put([Processor(processor="dusk", currency="EUR")])
    assert surface.follow()
    assert "dusk/1" in left(surface, asked())[0]
    other = msgspec.structs.replace(INVOICE, invoice_id="i2", instruments=["c2"])
    frame = frame_of_records([other], SCHEMAS["invoices"], NOW)
    surface = Payments.open(lake)
    lake.append("invoices", frame, source="file")
    assert not surface.follow()
    assert left(surface, asked(subject="i2"))[0] == ["dusk/1", "gold/1"]
