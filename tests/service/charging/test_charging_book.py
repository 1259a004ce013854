"""What others do to an invoice meanwhile is seen: by the inbox, in bulk, or when it comes back."""

from datetime import timedelta

import pytest
from charging_service import (
    DUE,
    HOUR,
    attempt,
    claims_of,
    closed,
    first,
    instruments,
    invoice,
    new_charger,
    statuses,
)

from fake_processor import DECLINED
from matinee.lake.rows import frame_of_records
from matinee.lake.schemas import SCHEMAS
from matinee.service.charging import book as book_module
from matinee.service.charging.tally import Charged
from matinee.service.forgetting import forget


def test_an_approval_after_a_decline_stops_what_was_planned(service, processor, gateways, clock):
    processor.answer = lambda body: DECLINED
    charger = new_charger(service, gateways, clock)
    charger.charge_due()
    (ours,) = processor.posts()
    service.lake.put([attempt(ours, "approved")])
    clock.go(HOUR)
    done = charger.charge_due()
    assert (done.paid, done.sent) == (1, 0)


def test_an_approval_after_all_was_over_makes_it_paid(service, processor, gateways, clock):
    processor.answer = lambda body: DECLINED
    charger = new_charger(
        service, gateways, clock, lambda s, *_: first(s, *_) if s == "route" else "stop"
    )
    assert charger.charge_due().lapsed == 1
    (ours,) = processor.posts()
    service.lake.put([attempt(ours, "approved", at=DUE + HOUR)])
    assert charger.charge_due().paid == 1
    assert closed(service) == {"i1": "paid"}
    assert new_charger(service, gateways, clock).charge_due() == Charged()


def test_a_member_who_pays_meanwhile_is_not_charged(service, processor, gateways, clock):
    """Between the decision and the last look inside the claim."""

    def choose(step, *_):
        service.lake.put([attempt("app-1", "approved", decision_id=None)])
        return "goldcard/1"

    charger = new_charger(service, gateways, clock, choose)
    done = charger.charge_due()
    assert (done.sent, done.paid) == (0, 1)
    assert processor.requests == []


def test_an_attempt_of_others_in_flight_is_waited_for(service, processor, gateways, clock):
    service.lake.put([attempt("app-1", "sent", processor="checkout", decision_id=None)])
    charger = new_charger(service, gateways, clock)
    assert charger.charge_due().in_flight == 1
    service.lake.put([attempt("app-1", "declined", processor="checkout", decision_id=None)])
    assert charger.charge_due().asked == 1
    clock.go(HOUR)
    assert charger.charge_due().paid == 1
    assert len(processor.posts()) == 1


def test_two_approvals_are_told(service, processor, gateways, clock, caplog):
    service.lake.put([attempt("a1", "approved"), attempt("a2", "approved")])
    assert new_charger(service, gateways, clock).charge_due().twice == 1
    assert "i1 was charged twice" in caplog.text


def test_a_round_reads_only_what_is_new(service, processor, gateways, clock, monkeypatch):
    charger = new_charger(service, gateways, clock)
    read, real = [], book_module.read_bills

    def listen(lake, members=None):
        read.append(members)
        return real(lake, members)

    monkeypatch.setattr(book_module, "read_bills", listen)
    charger.charge_due()
    assert read == []
    service.lake.put([*instruments(2), invoice(2, due_at=DUE + HOUR)])
    charger.charge_due()
    assert read == []
    clock.go(HOUR)
    assert charger.charge_due().paid == 1
    assert read == [{"m2"}]


def test_what_an_invoice_that_comes_back_has_behind_it_is_known(
    service, processor, gateways, clock
):
    """The app opens a paid one again, by mistake."""
    charger = new_charger(service, gateways, clock)
    assert charger.charge_due().paid == 1
    service.lake.seal()
    service.lake.put([invoice()])
    done = charger.charge_due()
    assert (done.sent, done.paid) == (0, 1)


def test_invoices_that_come_in_bulk_are_seen(service, processor, gateways, clock):
    charger = new_charger(service, gateways, clock)
    charger.charge_due()
    for records in ([*instruments(2), *instruments(3)], [invoice(2), invoice(3)]):
        table = "invoices" if records[0].__class__.__name__ == "Invoice" else "instruments"
        service.lake.append(table, frame_of_records(records, SCHEMAS[table], DUE), source="test")
    assert charger.charge_due().paid == 2


def test_an_approval_that_comes_in_bulk_is_seen(service, processor, gateways, clock):
    processor.answer = lambda body: DECLINED
    charger = new_charger(service, gateways, clock)
    charger.charge_due()
    late = [attempt("app-1", "approved", decision_id=None)]
    frame = frame_of_records(late, SCHEMAS["attempts"], DUE)
    service.lake.append("attempts", frame, source="test")
    clock.go(HOUR)
    assert charger.charge_due().paid == 1
    assert len(processor.posts()) == 1


def test_a_forgotten_member_is_not_charged(service, processor, gateways, clock):
    processor.fault = lambda method, key: "drop"
    charger = new_charger(service, gateways, clock)
    charger.charge_due()
    forget(service, "m1")
    processor.fault = lambda method, key: ""
    assert charger.charge_due() == Charged()
    assert claims_of(service) == []
    assert service.lake.scan("attempts").collect().height == 0


def test_an_attempt_of_others_is_found_and_never_sent_from_here(
    service, processor, gateways, clock
):
    """The app put it on record and has not sent it yet."""
    theirs = attempt("app-1", "sent", decision_id=None)
    service.lake.put([theirs])
    charger = new_charger(service, gateways, clock)
    for _ in range(3):
        assert charger.charge_due().in_flight == 1
    assert processor.posts() == []
    assert statuses(service) == [["sent"]]
    gateways["goldcard"].charge(theirs, instruments()[0])
    assert charger.charge_due().paid == 1
    assert statuses(service) == [["sent", "approved"]]


def test_an_attempt_of_others_that_never_arrives_is_given_up(service, processor, gateways, clock):
    service.lake.put([attempt("app-1", "sent", decision_id=None)])
    charger = new_charger(service, gateways, clock)
    charger.charge_due()
    clock.go(HOUR)
    assert charger.charge_due().failed == 1
    clock.go(HOUR)
    assert charger.charge_due().paid == 1


def test_a_claim_for_an_attempt_of_others_goes_with_the_invoice(service, gateways, clock):
    service.lake.put([attempt("app-1", "sent", processor="checkout", decision_id=None)])
    charger = new_charger(service, gateways, clock)
    assert charger.charge_due().in_flight == 1
    service.lake.put([invoice(closed="void", closed_at=DUE)])
    assert charger.charge_due() == Charged()
    assert claims_of(service) == []


def test_one_that_slept_while_the_inbox_was_emptied_reads_anew(service, processor, gateways, clock):
    processor.answer = lambda body: DECLINED
    charger = new_charger(service, gateways, clock)
    charger.charge_due()
    service.lake.put([attempt("app-1", "approved", decision_id=None)])
    service.lake.seal()
    service.lake.expire(timedelta(seconds=-60))
    assert service.lake.inbox.rows("attempts") == []
    clock.go(HOUR)
    done = charger.charge_due()
    assert (done.sent, done.paid) == (0, 1)


def test_rows_that_were_followed_may_go(service, processor, gateways, clock, monkeypatch):
    charger = new_charger(service, gateways, clock)
    service.lake.put([*instruments(2), invoice(2, due_at=DUE + HOUR)])
    for _ in range(2):  # what it writes itself it follows in the next
        charger.charge_due()
    service.lake.seal()
    service.lake.expire(timedelta(seconds=-60))
    monkeypatch.setattr(book_module, "read_bills", lambda lake, members=None: pytest.fail("anew"))
    assert charger.charge_due() == Charged(open=1)
