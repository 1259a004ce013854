"""Decisions on payments over HTTP: rules, and an answer in time whatever the champion does."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from matinee.api.app import WAITING
from matinee.lake.billing import Attempt, Instrument, Invoice, Processor
from matinee.models import Cascade
from matinee.registry import against_champion
from matinee.service import training
from matinee.service.folder import Service
from matinee.surfaces import Request
from waiting import DEADLINE, eventually

NOW = datetime.now(UTC)
PROCESSORS = [Processor(processor=name, currency="EUR") for name in ("gold", "moon")]
CARD = Instrument(instrument_id="c1", member_id="ann", kind="card", network="visa")
INVOICE = Invoice(
    invoice_id="i1",
    member_id="ann",
    amount=999,
    currency="EUR",
    due_at=NOW - timedelta(days=1),
    grace_until=NOW + timedelta(days=27),
    instruments=["c1"],
)
STAYS = {"surfaces.payments.answer_within_ms": 60_000}


def attempt(number=1, status="declined", **more):
    told = {
        "attempt_id": f"a{number}",
        "member_id": "ann",
        "invoice_id": "i1",
        "instrument_id": "c1",
        "processor": "gold",
        "amount": 999,
        "currency": "EUR",
        "at": NOW - timedelta(hours=3 + number),
    }
    return Attempt(status=status, **{**told, **more})


@pytest.fixture
def service(tmp_path: Path):
    with Service.create(tmp_path / "shows", STAYS) as service:
        service.lake.put([*PROCESSORS, CARD, INVOICE, *(attempt(n, code="51") for n in range(3))])
        yield service


@pytest.fixture
def client(service, client_of):
    return client_of(service)


def ask(client, request="r1", step="route", **more):
    body = {"request_id": request, "member_id": "ann", "subject": "i1", "features": {"step": step}}
    return client.post("/v1/decide/payments", json={**body, **more})


def promoted(service) -> str:
    (version,) = training.train(service, ["recovery"], surface="payments", by="test")
    service.registry.promote("payments", version.id, by="test", reason="")
    return version.id


def test_without_a_champion_the_schedule_answers_and_says_so(client, service):
    answer = ask(client)
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert said["policy"] == "payments@fallback"
    assert said["actions"][0] in {"gold/1", "moon/1"}
    row = service.lake.scan("decisions").collect().row(0, named=True)
    assert (row["subject"], row["policy"]) == ("i1", "payments@fallback")


def test_a_champion_learned_from_attempts_answers(service, client_of):
    version = promoted(service)
    client = client_of(service)
    said = ask(client).json()
    assert said["policy"] == version
    assert 0 < said["propensities"][0] <= 1
    slot = ask(client, "r2", "when").json()
    assert slot["policy"] == version
    assert slot["actions"][0] == "stop" or slot["actions"][0].startswith("+")


@pytest.mark.parametrize("trouble", ["slow", "failed"])
def test_a_champion_in_trouble_holds_up_no_payment(trouble, service, client_of, monkeypatch):
    promoted(service)
    client = client_of(service)
    decider = client.api.runtime.champion("payments")
    decider.surface.within = timedelta(milliseconds=50)

    def propose(*_):
        if trouble == "failed":
            raise FloatingPointError("no number")
        time.sleep(1)

    monkeypatch.setattr(decider, "propose", propose)
    said = ask(client).json()
    assert said["policy"] == "payments@fallback"
    assert f'matinee_fallbacks_total{{surface="payments",why="{trouble}"}} 1.0' in (
        client.get("/metrics").text
    )


def test_those_who_come_to_a_busy_champion_are_answered_at_once(service, client_of, monkeypatch):
    version = promoted(service)
    client = client_of(service)
    decider = client.api.runtime.champion("payments")
    propose, free = decider.propose, threading.Event()

    def held(asked):
        assert free.wait(DEADLINE)
        return propose(asked)

    monkeypatch.setattr(decider, "propose", held)
    with ThreadPoolExecutor(WAITING) as pool:
        waiting = [pool.submit(ask, client, f"w{number}") for number in range(WAITING)]
        assert eventually(lambda: client.api._turns._value == 0)
        said = ask(client, "late").json()
        assert said["policy"] == "payments@fallback"
        free.set()
        assert {one.result().json()["policy"] for one in waiting} == {version}
    assert eventually(lambda: client.api._turns._value == WAITING)
    assert 'why="busy"} 1.0' in client.get("/metrics").text


def test_where_the_champion_cannot_be_read_the_schedule_answers(service, client_of):
    promoted(service)
    (file,) = service.folder.rglob("model.npz")
    file.chmod(0o644)
    file.write_bytes(file.read_bytes()[:100])
    assert ask(client_of(service)).json()["policy"] == "payments@fallback"


def test_nobody_waits_for_a_champion_that_is_stuck(service, client_of, monkeypatch):
    promoted(service)
    client = client_of(service)
    decider = client.api.runtime.champion("payments")
    decider.surface.within = timedelta(milliseconds=50)
    propose, free = decider.propose, threading.Event()

    def held(asked):
        assert free.wait(DEADLINE)
        return propose(asked)

    monkeypatch.setattr(decider, "propose", held)
    assert ask(client, "first").json()["policy"] == "payments@fallback"
    assert ask(client, "second").json()["policy"] == "payments@fallback"
    told = client.get("/metrics").text
    assert 'why="slow"} 1.0' in told
    assert 'why="busy"} 1.0' in told
    free.set()
    assert eventually(
        lambda: ask(client, str(time.monotonic())).json()["policy"] == decider.version
    )


def test_what_is_no_payment_is_refused_with_what_to_do(client):
    for more, words in (
        ({"subject": "i9"}, "has no invoice"),
        ({"subject": None}, "for an invoice"),
        ({"features": {"step": "dance"}}, "no step"),
        ({"member_id": "ben"}, "has no invoice"),
    ):
        answer = ask(client, **more)
        assert answer.status_code == 422
        assert words in answer.text


def test_an_attempt_in_flight_is_seen_at_once_by_the_next_decision(service, client_of):
    client = client_of(service)
    receipts = service.lake.put([attempt(9, "sent")])
    client.api.runtime.arrived(receipts)
    said = ask(client).json()
    assert said["actions"] == []
    assert "no answer yet" in said["reason"]


def test_models_of_payments_are_named_and_usual(service):
    usual = [model.name for model in training.make_models(service, surface="payments")]
    assert usual == ["recovery", "cascade"]
    assert isinstance(training.make_models(service, ["cascade"], "payments")[0], Cascade)


@pytest.mark.parametrize("trouble", ["failed", "unreadable"])
def test_what_a_treatment_fails_at_stays_in_its_arm(trouble, service, client_of, monkeypatch):
    promoted(service)
    (other,) = training.train(service, ["recovery"], surface="payments", by="test")
    one = against_champion("try", "payments", other.id, share=0.999)
    service.trials.start(one, "ann", "")
    if trouble == "unreadable":
        (file,) = (service.folder / "models" / "payments" / "2").rglob("model.npz")
        file.chmod(0o644)
        file.write_bytes(file.read_bytes()[:100])
    client = client_of(service)
    if trouble == "failed":
        asked = Request(request_id="r", member_id="ann", at=datetime.now(UTC), subject="i1")
        decider = client.api.runtime.deciding("payments", asked)
        assert decider.arm == "try:treatment"

        def broken(*_):
            raise FloatingPointError("no number")

        monkeypatch.setattr(decider, "propose", broken)
    said = ask(client).json()
    row = service.lake.scan("decisions").collect().row(0, named=True)
    if trouble == "failed":
        assert (said["policy"], row["arm"]) == ("payments@fallback", "try:treatment")
    else:  # arms are compared, or there is none
        assert (said["policy"], row["arm"]) == ("payments@1", None)
