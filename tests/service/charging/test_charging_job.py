"""From what is due to what was charged: the service's own rules and policies, over real HTTP."""

from datetime import UTC, datetime, timedelta

import pytest

from fake_processor import APPROVED, DECLINED, FakeProcessor
from matinee.cli import run
from matinee.insights.recovered import recovered
from matinee.lake.billing import Instrument, Invoice, NetworkRule, Outage, Processor
from matinee.lake.rows import records_of
from matinee.lake.schemas import SCHEMAS
from matinee.models import MODELS, Cascade, Vocabulary
from matinee.payments.attempts import merged
from matinee.policies import EpsilonGreedy
from matinee.registry import against_champion
from matinee.service.charging.deciding import Charging
from matinee.service.folder import Service
from matinee.service.jobs import Worker, jobs

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


def invoice(number, **more):
    told = {
        "invoice_id": f"i{number}",
        "member_id": f"m{number}",
        "amount": 999,
        "currency": "EUR",
        "due_at": NOW - timedelta(hours=1),
        "grace_until": NOW + 28 * DAY,
        "instruments": [f"c{number}"],
    }
    return Invoice(**{**told, **more})


def card(number):
    return Instrument(
        instrument_id=f"c{number}", member_id=f"m{number}", kind="card", network="visa"
    )


@pytest.fixture
def processors():
    with FakeProcessor(name="gold") as gold, FakeProcessor(name="moon") as moon:
        yield gold, moon


@pytest.fixture
def service(tmp_path, processors):
    gateways = {"payments.gateways": {one.name: {"url": one.url} for one in processors}}
    with Service.create(tmp_path / "shows", gateways) as service:
        service.lake.put([Processor(processor=one.name, currency="EUR") for one in processors])
        yield service


def work(service):
    """One round of the job, as the worker does it."""
    (todo,) = [job for job in jobs(service) if job.name == "charge"]
    return Worker(service, [todo]).run_once()["charge"]


def attempts(service):
    return records_of(service.lake.scan("attempts").collect(), SCHEMAS["attempts"])


def charged(processors):
    return sum(len(one.approved_keys()) for one in processors)


def test_what_is_due_is_charged_once_by_a_decision_of_the_log(service, processors):
    service.lake.put([invoice(1), card(1)])
    charge = Charging()
    for _ in range(3):
        charge(service)
    assert charged(processors) == 1
    (held,) = merged(attempts(service))
    assert held.status == "approved"
    decision = service.lake.scan("decisions").collect().row(0, named=True)
    assert decision["decision_id"] == held.attempt_id
    assert (decision["surface"], decision["policy"]) == ("payments", "payments@fallback")
    closed = service.lake.current("invoices")["closed"].to_list()
    assert closed == ["paid"]


def test_a_decline_is_followed_by_a_slot_and_not_by_a_second_charge(service, processors):
    for one in processors:
        one.answer = lambda body: DECLINED
    service.lake.put([invoice(1), card(1)])
    charge = Charging()
    for _ in range(3):
        charge(service)
    assert sum(map(len, (one.charges for one in processors))) == 1
    steps = service.lake.scan("decisions").collect()["actions"].list.first().to_list()
    assert sorted(step[0] for step in steps) == ["+", "g"]
    assert recovered(service).lines[0].failed == 1


def test_a_processor_in_an_outage_is_left_alone(service, processors):
    gold, moon = processors
    service.lake.put([invoice(1), card(1), Outage(processor="gold", starts_at=NOW - DAY)])
    Charging()(service)
    assert (len(gold.charges), len(moon.charges)) == (0, 1)


def test_what_a_rule_of_the_lake_forbids_for_ever_is_never_sent(service, processors):
    never = NetworkRule(
        rule_id="none", network="visa", kind="limit", source="us", most=0, hours=1.0, per="card"
    )
    service.lake.put([invoice(1), card(1), never])
    charge = Charging()
    for _ in range(3):
        charge(service)
    assert charged(processors) == 0
    assert service.lake.current("invoices")["closed"].to_list() == ["lapsed"]
    masks = service.lake.scan("decisions").collect()["masks"].to_list()
    assert all('"none"' in one for one in masks)


def test_there_is_no_job_without_gateways(tmp_path):
    with Service.create(tmp_path / "plain") as plain:
        assert "charge" not in {job.name for job in jobs(plain)}


def test_the_worker_of_the_command_line_charges(service, processors):
    processors[0].answer = lambda body: APPROVED
    service.lake.put([invoice(1), card(1)])
    assert work(service)
    service.lake.put([invoice(2), card(2)])
    assert run(["work", "--once", "--service", str(service.folder)]) == 0
    assert charged(processors) == 2


class Breaking(Cascade):
    """Fails whenever it is asked."""

    name = "breaking"

    def _scores(self, context, candidates):
        raise FloatingPointError("no number")


@pytest.mark.parametrize("trouble", ["failed", "unreadable"])
def test_an_arm_in_trouble_is_charged_by_the_schedule_and_says_its_arm(
    service, processors, monkeypatch, trouble
):
    """What a treatment fails at is its own: left out, it would look better than it is."""
    monkeypatch.setitem(MODELS, Breaking.name, Breaking)
    actions = Vocabulary(sorted(service.surfaces["payments"].actions(service.lake)))
    for kind in (Cascade, Breaking):
        model = kind.of(actions, {"gold": 0.0, "moon": 0.0})
        service.registry.register(
            "payments",
            model,
            EpsilonGreedy(),
            data_as_of=NOW,
            settings={},
            metrics={},
            by="test",
        )
    service.registry.promote("payments", "payments@1", "test", "")
    one = against_champion("try", "payments", "payments@2", share=0.999)
    service.trials.start(one, "ann", "")
    if trouble == "unreadable":
        monkeypatch.delitem(MODELS, Breaking.name)
    service.lake.put([invoice(1), card(1)])
    Charging()(service)
    assert charged(processors) == 1
    decision = service.lake.scan("decisions").collect().row(0, named=True)
    assert (decision["policy"], decision["arm"]) == ("payments@fallback", "try:treatment")
