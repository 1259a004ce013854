"""What is called money is money, and what is called unwell is."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from matinee.insights.earned import standing
from matinee.insights.unwell import unwell
from matinee.lake.billing import Attempt
from matinee.lake.records import Outcome
from matinee.service.folder import Service
from matinee.service.outcomes import close_windows
from notes import append
from service_rows import decision

NOW = datetime.now(UTC).replace(microsecond=0)
MADE = NOW - timedelta(days=40)
FACTS = {"features": {"payment": {"worth": 5_000, "unit": 0.01}}}


@pytest.fixture
def service(tmp_path):
    with Service.create(tmp_path / "shows", {"surfaces.payments.rates": {"EUR": 1.0}}) as made:
        yield made


def made(number, at=MADE):
    """The schedule's decision on an invoice of a member whose staying is worth 50 EUR."""
    one = decision(f"d{number}", f"m{number}", at, ("route:acme",), "payments")
    return replace(one, policy="payments@fallback", subject=f"i{number}", context=FACTS)


def brought(number, reward):
    return Outcome(
        decision_id=f"d{number}",
        member_id=f"m{number}",
        surface="payments",
        position=0,
        action="route:acme",
        decided_at=MADE,
        closed_at=NOW - timedelta(days=1),
        reward=reward,
    )


def approved(number, at=MADE + timedelta(days=1)):
    return Attempt(
        attempt_id=f"a{number}",
        invoice_id=f"i{number}",
        member_id=f"m{number}",
        instrument_id="c1",
        processor="acme",
        status="approved",
        amount=999,
        currency="EUR",
        at=at,
    )


def test_what_a_member_is_to_bring_later_is_no_money_yet(service):
    append(service, "decisions", [made(1), made(2)])
    append(service, "attempts", [approved(1)], approved(1).at)
    append(service, "outcomes", [brought(1, 59.99), brought(2, -0.1)])
    money, reward = standing(service, service.surface("payments"), NOW).measures
    assert (money.measure, reward.measure) == ("money", "reward")
    assert money.ever.total == pytest.approx(9.99 - 0.1)
    assert reward.ever.total == pytest.approx(59.99 - 0.1)


def test_money_is_what_came_in_where_what_is_to_come_is_more_than_an_invoice_may_count_for(service):
    rich = {"features": {"payment": {"worth": 6_000_000, "unit": 0.01}}}
    append(service, "decisions", [replace(made(1), context=rich), made(2)])
    append(service, "attempts", [approved(1), approved(2)], approved(1).at)
    close_windows(service)
    money, reward = standing(service, service.surface("payments"), NOW).measures
    each = 9.99 * (1 - service.settings.surfaces.payments.dispute)
    assert reward.ever.total == pytest.approx(10_000 + each + 50.0)
    assert money.ever.total == pytest.approx(2 * each)


def test_what_was_paid_after_the_window_did_not_count_and_takes_nothing_away(service):
    late = MADE + service.surface("payments").window + timedelta(days=1)
    append(service, "decisions", [made(1)])
    append(service, "attempts", [approved(1, late)], late)
    append(service, "outcomes", [brought(1, -0.1)])
    money, _ = standing(service, service.surface("payments"), NOW).measures
    assert money.ever.total == pytest.approx(-0.1)


def test_the_schedule_is_not_unwell_for_what_it_did_before_there_was_a_champion(service):
    append(service, "decisions", [made(n, NOW - timedelta(hours=2)) for n in range(30)])
    model, policy = service.surface("payments").fallback()
    version = service.registry.register(
        "payments", model, policy, data_as_of=NOW, settings={}, metrics={}, by="ann"
    )
    service.registry.promote("payments", version.id, "ann", "the first")
    later = datetime.now(UTC)
    assert not [note for note in unwell(service, later) if "fallback" in note.what]
    append(service, "decisions", [made(100 + n, later) for n in range(30)])
    soon = later + timedelta(minutes=1)
    assert [note for note in unwell(service, soon) if "fallback" in note.what]
