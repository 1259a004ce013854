"""Charging what is due, over real HTTP, by clocks that the test moves."""

import threading
from datetime import timedelta

import polars as pl
import pytest
from charging_service import (
    DAY,
    DUE,
    GRACE,
    HOUR,
    Clock,
    claims_of,
    closed,
    decision,
    instruments,
    invoice,
    new_charger,
    new_service,
    statuses,
)

from fake_processor import APPROVED, DECLINED, FAILED
from matinee.errors import MatineeError
from matinee.service.charging.deciding import Charging
from matinee.service.charging.http_gateway import HttpGateway
from matinee.service.charging.settings import PaymentsSettings
from matinee.service.charging.tally import Charged
from matinee.service.duration import Duration
from matinee.service.folder import Service


def test_a_due_invoice_is_charged_once_and_closed(service, processor, gateways, clock):
    charger = new_charger(service, gateways, clock)
    done = charger.charge_due()
    assert (done.asked, done.sent, done.approved, done.paid) == (1, 1, 1, 1)
    assert str(done) == "1 asked, 1 sent, 1 approved, 1 paid"
    assert statuses(service) == [["sent", "approved"]]
    (ours,) = processor.posts()
    answered = service.lake.scan("attempts").filter(pl.col("status") == "approved").collect()
    row = answered.to_dicts()[0]
    assert (row["attempt_id"], row["decision_id"], row["amount"]) == (ours, ours, 1000)
    assert (row["code"], row["fee"], row["at"]) == ("00", 12, DUE)
    current = service.lake.current("invoices").to_dicts()[0]
    assert (current["closed"], current["closed_at"]) == ("paid", DUE)
    clock.go(30 * DAY)
    assert charger.charge_due() == Charged()
    assert claims_of(service) == []


def test_nothing_is_tried_before_it_is_due(service, processor, gateways, clock):
    clock.at = DUE - HOUR
    charger = new_charger(service, gateways, clock)
    assert charger.charge_due() == Charged(open=1)
    clock.at = DUE
    assert charger.charge_due().approved == 1


def test_after_a_decline_it_is_charged_in_the_slot_that_was_chosen(
    service, processor, gateways, clock
):
    processor.answer = lambda body: DECLINED
    charger = new_charger(service, gateways, clock)
    done = charger.charge_due()
    assert (done.asked, done.declined, done.open) == (2, 1, 1)
    row = service.lake.scan("attempts").filter(pl.col("status") == "declined").collect().to_dicts()
    assert [(one["reason"], one["mapping"] is None) for one in row] == [
        ("insufficient_funds", False)
    ]
    clock.go(HOUR - timedelta(seconds=1))
    assert charger.charge_due() == Charged(open=1)
    processor.answer = lambda body: APPROVED
    clock.go(timedelta(seconds=1))
    assert charger.charge_due().paid == 1
    assert statuses(service) == [["sent", "declined"], ["sent", "approved"]]
    assert charger._decide.asked == ["i1:after0:route", "i1:after1:when", "i1:after1:route"]


def test_a_processor_that_fails_surely_is_like_a_decline(service, processor, gateways, clock):
    processor.answer = lambda body: FAILED
    charger = new_charger(service, gateways, clock)
    assert charger.charge_due().failed == 1
    clock.go(HOUR)
    assert charger.charge_due().failed == 1
    assert len(statuses(service)) == 2


@pytest.mark.parametrize("action", ["stop", None])
def test_it_ends_when_it_is_decided_or_grace_does(service, processor, gateways, clock, action):
    processor.answer = lambda body: DECLINED
    choose = lambda step, *_: "goldcard/1" if step == "route" else action  # noqa: E731
    charger = new_charger(service, gateways, clock, choose)
    assert charger.charge_due().lapsed == (action == "stop")
    clock.go(14 * DAY)
    charger.charge_due()
    assert closed(service) == {"i1": "lapsed"}
    ended = service.lake.current("invoices")["closed_at"][0]
    assert ended == (DUE if action == "stop" else GRACE)
    assert len(processor.posts()) == 1


def test_a_new_start_goes_on_where_the_last_ended(service, processor, gateways, clock):
    processor.answer = lambda body: DECLINED
    new_charger(service, gateways, clock).charge_due()
    charger = new_charger(service, gateways, clock)
    assert charger.charge_due() == Charged(open=1)
    clock.go(HOUR)
    service.lake.seal()
    charger = new_charger(service, gateways, clock)
    assert charger.charge_due().declined == 1
    assert charger._decide.asked == ["i1:after1:route", "i1:after2:when"]


def test_a_decision_that_has_grown_old_is_made_anew(service, processor, gateways, clock):
    charger = new_charger(service, gateways, clock)
    charger._decide("i1:after0:route", invoice(), "route", DUE)
    clock.go(HOUR)
    assert charger.charge_due().approved == 1
    assert charger._decide.asked[1:] == ["i1:after0:route.1"]
    again = decision("i1:after0:route.1", "m1", None).decision_id
    assert processor.posts() == [again]


def test_a_decision_of_just_now_is_carried_out_after_a_crash(service, processor, gateways, clock):
    made = new_charger(service, gateways, clock)._decide("i1:after0:route", invoice(), "route", DUE)
    charger = new_charger(service, gateways, clock)
    assert charger.charge_due().asked == 0
    assert processor.posts() == [made.decision_id]


@pytest.mark.parametrize(
    ("action", "told"),
    [
        ("goldcard/3", "the invoice has no such instrument"),
        ("goldcard/0", "the invoice has no such instrument"),
        ("silver/1", "there is no gateway silver"),
        ("goldcard/2", "the instrument is not known"),
        ("goldcard/1", "a rule says so"),
    ],
)
def test_what_may_not_be_carried_out_waits_for_another_time(tmp_path, processor, action, told):
    clock, gateways = Clock(), {"goldcard": HttpGateway("goldcard", processor.url)}
    with new_service(tmp_path / "shows") as service:
        service.lake.put([instruments()[0], invoice()])
        wrong = [action]
        choose = lambda step, *_: wrong[0] if step == "route" else "+002h"  # noqa: E731
        rule = lambda *_: "a rule says so" if clock.at < DUE + 2 * HOUR else None  # noqa: E731
        charger = new_charger(service, gateways, clock, choose, still_allowed=rule)
        done = charger.charge_due()
        assert (done.refused, done.sent, done.asked) == ({told: 1}, 0, 2)
        assert (claims_of(service), processor.requests, statuses(service)) == ([], [], [])
        clock.go(HOUR)
        assert charger.charge_due() == Charged(open=1)
        clock.go(HOUR)
        wrong[0] = "goldcard/1"
        assert charger.charge_due().paid == 1


def test_the_rules_are_asked_about_what_is_sent(service, processor, gateways, clock):
    heard = []
    charger = new_charger(service, gateways, clock, still_allowed=lambda *told: heard.append(told))
    charger.charge_due()
    assert heard == [(invoice(), instruments()[0], "goldcard", DUE, *processor.posts())]


def test_the_amount_of_the_last_look_is_charged(service, processor, gateways, clock):
    def choose(step, *_):
        service.lake.put([invoice(amount=500)])
        return "goldcard/1"

    new_charger(service, gateways, clock, choose).charge_due()
    ((_, body),) = processor.charges.items()
    assert body["amount"] == 500


def test_what_goes_wrong_with_one_invoice_stops_no_other(tmp_path, processor, gateways, clock):
    def choose(step, invoice, rng):
        if invoice.invoice_id == "i2":
            raise MatineeError("there is no champion", next_step="matinee promote")
        return {"i3": "nonsense", "i4": "goldcard/x"}.get(invoice.invoice_id, "goldcard/1")

    with new_service(tmp_path / "shows", *range(1, 6)) as service:
        charger = new_charger(service, gateways, clock, choose)
        done = charger.charge_due()
        assert (done.paid, done.errors, done.open) == (2, 3, 3)
        assert charger.charge_due().errors == 3
        assert processor.approved() == {"i1": 1, "i5": 1}


def test_a_decider_in_circles_is_left_alone(service, gateways, clock):
    """What it answers is about another request: nothing comes of it."""
    charger = new_charger(service, gateways, clock)
    charger._decide = lambda *_: decision("r1", "m1", "goldcard/1")
    done = charger.charge_due()
    assert (done.asked, done.sent) == (6, 0)


def test_a_round_ends_in_time(tmp_path, processor, gateways, clock):
    """What was not begun comes first in the next."""
    with new_service(tmp_path / "shows", *range(1, 9)) as service:
        slow = PaymentsSettings(round=Duration("0s"), ask_every=Duration("0s"))
        done = new_charger(service, gateways, clock, settings=slow).charge_due()
        assert (done.left, done.sent, done.open) == (8, 0, 8)
        charger = new_charger(service, gateways, clock)
        assert charger.charge_due().paid == 8


def test_many_invoices_are_charged_at_once(tmp_path, processor, gateways, clock):
    """As many as are allowed, and no more."""
    under_way, most = [], []
    entered = threading.Semaphore(0)

    def choose(step, invoice, rng):
        under_way.append(invoice.invoice_id)
        most.append(len(under_way))
        entered.release()
        if len(most) <= 3:
            assert all(entered.acquire(timeout=60) for _ in range(1))
        under_way.remove(invoice.invoice_id)
        return "goldcard/1"

    settings = PaymentsSettings(concurrency=3, ask_every=Duration("0s"))
    with new_service(tmp_path / "shows", *range(1, 13)) as service:
        charger = new_charger(service, gateways, clock, choose, settings=settings)
        assert charger.charge_due().paid == 12
        assert max(most) <= 3


def test_a_gateway_that_cannot_be_used_fails_the_job(service):
    file = service.folder / "matinee.toml"
    file.write_text('[payments.gateways.goldcard]\nurl = "http://pay.example"\n')
    with Service.open(service.folder) as opened, pytest.raises(MatineeError, match="is not https"):
        Charging()(opened)
