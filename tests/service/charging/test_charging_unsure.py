"""When nobody knows what came of a charge: it is found out, and nothing else is tried before."""

import threading
from concurrent.futures import ThreadPoolExecutor

import polars as pl
import pytest
from charging_service import (
    DAY,
    DUE,
    GRACE,
    HOUR,
    QUICK,
    Odd,
    attempt,
    closed,
    instruments,
    invoice,
    new_charger,
    new_service,
    statuses,
)

from matinee.errors import MatineeError
from matinee.service.charging.claims import Claims
from matinee.service.charging.gateway import Answer, NoAnswerError
from matinee.service.charging.sender import NEVER_RECEIVED
from matinee.service.charging.settings import PaymentsSettings
from matinee.service.charging.tally import Charged
from matinee.service.duration import Duration
from matinee.service.folder import Service


def test_while_nobody_knows_nothing_else_is_tried(service, processor, gateways, clock):
    processor.fault = lambda method, key: "drop" if method == "POST" else "busy"
    charger = new_charger(service, gateways, clock)
    assert charger.charge_due().in_flight == 1
    for _ in range(3):
        clock.go(5 * DAY)
        done = charger.charge_due()
        assert (done.sent, done.unknown, done.in_flight, done.lapsed) == (0, 1, 1, 0)
    assert clock.at > GRACE
    processor.fault = lambda method, key: ""
    assert charger.charge_due().paid == 1
    assert statuses(service) == [["sent", "unknown", "approved"]]
    assert processor.approved() == {"i1": 1}


def test_what_never_arrived_is_sent_again_under_the_same_key(service, processor, gateways, clock):
    processor.fault = lambda method, key: "refuse" if len(processor.requests) < 3 else ""
    charger = new_charger(service, gateways, clock)
    assert charger.charge_due().unknown == 1
    assert charger.charge_due().unknown == 1  # the question was not answered either
    done = charger.charge_due()
    assert (done.sent, done.paid) == (1, 1)
    assert [method for method, _ in processor.requests] == ["POST", "GET", "GET", "POST"]
    assert len(set(processor.posts())) == 1


def test_what_never_arrives_is_given_up_after_a_while(service, processor, gateways, clock):
    processor.fault = lambda method, key: "refuse" if method == "POST" else ""
    charger = new_charger(service, gateways, clock)
    for _ in range(12):
        charger.charge_due()
    assert len(processor.posts()) == QUICK.sends
    clock.seconds += QUICK.abandon_after.seconds - 1
    assert charger.charge_due().in_flight == 1
    clock.seconds += 1
    assert charger.charge_due().failed == 1
    assert statuses(service) == [["sent", "unknown", "failed"]]
    row = service.lake.scan("attempts").filter(pl.col("status") == "failed").collect()
    assert row["processor_code"].to_list() == [NEVER_RECEIVED]
    processor.fault = lambda method, key: ""
    clock.go(HOUR)
    assert charger.charge_due().paid == 1


def test_what_never_arrived_is_not_sent_after_grace(service, processor, gateways, clock):
    processor.fault = lambda method, key: "refuse"
    charger = new_charger(service, gateways, clock)
    charger.charge_due()
    processor.fault = lambda method, key: ""
    clock.go(14 * DAY)
    done = charger.charge_due()
    assert (done.sent, done.failed, done.lapsed) == (0, 1, 1)
    assert processor.approved() == {}


def test_what_may_not_be_sent_any_more_is_given_up(service, processor, gateways, clock):
    """By a rule, or because the invoice was voided meanwhile."""
    rule = []
    processor.fault = lambda method, key: "late" if method == "POST" else ""
    charger = new_charger(service, gateways, clock, still_allowed=lambda *_: next(iter(rule), None))
    charger.charge_due()
    rule.append("the mandate was revoked")
    charger.charge_due()
    service.lake.put([invoice(closed="void", closed_at=DUE)])
    charger.charge_due()
    assert len(processor.posts()) == 1
    assert charger.charge_due().in_flight == 1
    processor.deliver_late()
    done = charger.charge_due()
    assert (done.approved, done.paid, done.in_flight) == (1, 0, 0)
    assert closed(service) == {"i1": "void"}


@pytest.mark.parametrize(
    "told",
    [
        {"code": "not a code"},
        {"code": ""},
        {"processor_code": "x" * 41},
        {"processor_code": "4111111111111111"},
        {"fee": -1},
        {"penalty": 10**13},
        {"fee": 2**70},
        {"fee": float("nan")},
    ],
)
def test_an_answer_with_odd_codes_stands_without_them(service, clock, told):
    odd = Odd(Answer(status="approved", **told))
    done = new_charger(service, {"goldcard": odd}, clock).charge_due()
    assert (done.paid, done.errors) == (1, 0)
    assert statuses(service) == [["sent", "approved"]]
    assert len(odd.charged) == 1


@pytest.mark.parametrize("failure", [NoAnswerError("cut"), ValueError("a bug"), OSError()])
def test_whatever_a_gateway_raises_it_may_have_been_charged(service, clock, failure):
    charger = new_charger(service, {"goldcard": Odd(failure)}, clock)
    for _ in range(3):
        assert charger.charge_due().in_flight == 1
    assert statuses(service) == [["sent", "unknown"]]


def test_trouble_is_put_off_longer_each_time(service, clock):
    odd = Odd(NoAnswerError("cut"))
    patient = PaymentsSettings(ask_every=Duration("10s"))
    charger = new_charger(service, {"goldcard": odd}, clock, settings=patient)
    asked = []
    for second in range(120):
        clock.seconds = 2_000.0 + second
        if charger.charge_due().unknown:
            asked.append(second)
    assert asked == [0, 10, 30, 70]


def test_news_about_what_was_put_off_counts_at_once(service, clock):
    patient = PaymentsSettings(ask_every=Duration("1h"))
    odd = Odd(NoAnswerError("cut"))
    charger = new_charger(service, {"goldcard": odd}, clock, settings=patient)
    charger.charge_due()
    service.lake.put([attempt(odd.charged[0], "approved")])
    assert charger.charge_due().paid == 1
    assert len(odd.charged) == 1


def test_two_schedulers_at_once_send_one_attempt(tmp_path, processor, gateways, clock):
    """The first is held at the processor while the second looks."""
    with new_service(tmp_path / "shows", 1) as service, Service.open(service.folder) as other:
        one, two = (new_charger(each, gateways, clock) for each in (service, other))
        with processor.holding("after") as (came, go), ThreadPoolExecutor(1) as pool:
            first_round = pool.submit(one.charge_due)
            assert came.wait(60)
            done = two.charge_due()
            assert (done.sent, done.busy, done.in_flight) == (0, 1, 1)
            go.set()
            assert first_round.result().paid == 1
        assert two.charge_due() == Charged()
    assert len(processor.requests) == 1


def test_a_scheduler_that_lost_its_claim_sends_nothing(tmp_path, processor, gateways, clock):
    """It stood still after its last look until another had settled the attempt."""
    with new_service(tmp_path / "shows", 1) as service, Service.open(service.folder) as other:
        stands, go = threading.Event(), threading.Event()

        def stand_still(*_):
            stands.set()
            go.wait(60)

        one = new_charger(service, gateways, clock, still_allowed=stand_still)
        two = new_charger(other, gateways, clock)
        with ThreadPoolExecutor(1) as pool:
            slow = pool.submit(one.charge_due)
            assert stands.wait(60)
            clock.seconds += 1_000
            assert two.charge_due().paid == 1
            go.set()
            done = slow.result()
        assert (done.sent, done.busy) == (0, 1)
        assert one.charge_due() == two.charge_due() == Charged()
    assert len(processor.posts()) == 1


def test_a_claim_that_was_never_used_is_let_go(service, processor, gateways, clock):
    """As after a crash between the claim and the record."""
    made = new_charger(service, gateways, clock)._decide("i1:after0:route", invoice(), "route", DUE)
    Claims(service.store, clock=clock.up).take(attempt(made.decision_id))
    charger = new_charger(service, gateways, clock)
    assert charger.charge_due().busy == 1
    clock.seconds += 1_000
    assert charger.charge_due().paid == 1
    assert [method for method, _ in processor.requests] == ["POST"]


def test_an_attempt_whose_claim_is_lost_is_found(service, processor, gateways, clock):
    """The store was restored from an older copy, the lake was not."""
    processor.fault = lambda method, key: "drop"
    new_charger(service, gateways, clock).charge_due()
    with service.store.transaction() as connection:
        connection.execute("DELETE FROM charging_claims")
    processor.fault = lambda method, key: ""
    assert new_charger(service, gateways, clock).charge_due().paid == 1
    assert [method for method, _ in processor.requests] == ["POST", "GET"]


def test_a_claim_whose_record_is_lost_is_found(service, processor, gateways, clock):
    """The lake was restored from an older copy, the store was not."""
    sent = attempt("d1")
    claims = Claims(service.store, clock=clock.up)
    mine = claims.take(sent)
    claims.stamp(mine)
    claims.leave(mine)
    gateways["goldcard"].charge(sent, instruments()[0])
    assert new_charger(service, gateways, clock).charge_due().paid == 1
    assert processor.approved() == {"i1": 1}


def test_a_store_or_lake_that_cannot_be_written_loses_nothing(
    service, processor, gateways, clock, monkeypatch
):
    """The answer came and could not be put on record: it is asked for again."""
    charger = new_charger(service, gateways, clock)
    put = service.lake.put

    def full(records):
        if getattr(records[0], "status", "") == "approved":
            raise MatineeError("the disk is full")
        return put(records)

    with monkeypatch.context() as patch:
        patch.setattr(service.lake, "put", full)
        assert charger.charge_due().errors == 1
    assert charger.charge_due().busy == 1
    clock.seconds += 1_000
    assert charger.charge_due().paid == 1
    assert [method for method, _ in processor.requests] == ["POST", "GET"]
