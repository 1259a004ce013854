from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from matinee.lake.billing import Attempt, Invoice, Outage
from matinee.world.answers import Answer, penalty
from matinee.world.declines import CAUSES, OUTCOMES
from matinee.world.payments import PaymentsWorld
from matinee.world.payments_settings import CENTS, NEVER, PENALTIES, PaymentsSettings
from matinee.world.processors import NAMES

SETTINGS = PaymentsSettings(members=800, days=60, seed=11)


@pytest.fixture(scope="module")
def world() -> PaymentsWorld:
    return PaymentsWorld(SETTINGS)


def where(world: PaymentsWorld, **wanted: int) -> list[Invoice]:
    """Invoices whose first card is as wanted in the columns of the bills."""
    bills = world.bills
    fits = np.ones(len(bills), np.bool_)
    for name, value in wanted.items():
        fits &= getattr(bills, name)[:, 0] == value
    return [bills.invoice(int(row)) for row in np.flatnonzero(fits)]


def tried(
    invoice: Invoice, number: int, at: datetime, code: str | None = "05", **what: object
) -> Attempt:
    fields = {
        "attempt_id": f"{invoice.invoice_id}-{number}",
        "member_id": invoice.member_id,
        "invoice_id": invoice.invoice_id,
        "instrument_id": invoice.instruments[0],
        "processor": "alder",
        "status": "failed" if code is None else "approved" if code == "00" else "declined",
        "at": at,
        "amount": invoice.amount,
        "currency": invoice.currency,
        "code": code,
        **what,
    }
    return Attempt(**fields)  # type: ignore[arg-type]


def ask(world: PaymentsWorld, invoice: Invoice, at: datetime, count: int) -> list[Answer]:
    charge = (invoice.invoice_id, invoice.instruments[0], "birch", at)
    return [world.answer(*charge, attempt_id=f"f{at:%j%H}-{n}") for n in range(count)]


@pytest.mark.parametrize(
    "wanted",
    [
        {"cause": 0, "means": 0, "suspicion": 0},
        {"cause": 0, "means": 1, "suspicion": 0},
        {"cause": 0, "means": 0, "suspicion": 1},
        {"cause": 0, "means": 1, "suspicion": 1},
    ],
)
def test_answers_are_as_frequent_as_their_odds(
    world: PaymentsWorld, wanted: dict[str, int]
) -> None:
    count = 1_500
    invoice = where(world, **wanted)[0]
    at = invoice.due_at
    odds = world.odds(invoice.invoice_id, invoice.instruments[0], "birch", at)
    answers = ask(world, invoice, at, count)
    for outcome in OUTCOMES:
        share, wanted_share = np.mean([a.outcome == outcome for a in answers]), odds[outcome]
        error = np.sqrt(wanted_share * (1 - wanted_share) / count)
        assert abs(share - wanted_share) <= 4 * error
    assert sum(odds.values()) == pytest.approx(1.0, abs=1e-12)


def test_chance_is_the_odds_of_approval_on_a_grid(world: PaymentsWorld) -> None:
    invoice = where(world, cause=0, means=1, suspicion=1)[0]
    before = [tried(invoice, 1, invoice.due_at)]
    at = [invoice.due_at + timedelta(hours=h) for h in (1, 7, 30, 200)]
    card = invoice.instruments[0]
    chances = world.chance(invoice.invoice_id, card, NAMES, at, before)
    assert chances.shape == (4, 4)
    for p, name in enumerate(NAMES):
        for h, time in enumerate(at):
            odds = world.odds(invoice.invoice_id, card, name, time, before)
            assert chances[p, h] == odds["approved"]


def test_the_same_key_gets_the_same_answer_whatever_else_is_asked(world: PaymentsWorld) -> None:
    first, second = world.invoices()[:2]
    one = world.answer(
        first.invoice_id, first.instruments[0], "alder", first.due_at, attempt_id="k"
    )
    other = world.answer(
        second.invoice_id, second.instruments[0], "birch", second.due_at, attempt_id="k"
    )
    assert one is other
    fresh = PaymentsWorld(SETTINGS)
    charge = (first.invoice_id, first.instruments[0], "alder", first.due_at)
    own = [tried(first, 1, first.due_at, attempt_id="k")]
    assert fresh.answer(*charge, attempt_id="k", tried=own) == one


def test_hard_declines_never_recover(world: PaymentsWorld) -> None:
    for cause in range(1, len(CAUSES)):
        invoice = where(world, cause=cause)[0]
        hours = [invoice.due_at + timedelta(hours=h) for h in range(0, 28 * 24, 5)]
        chances = world.chance(invoice.invoice_id, invoice.instruments[0], NAMES, hours)
        assert not chances.any()
        said = {a.code for a in ask(world, invoice, invoice.due_at, 40) if a.outcome == "dead"}
        assert len(said) == 1
        assert said <= {*NEVER, "54", "79"}


def test_what_is_down_fails_there_and_works_elsewhere_at_once(world: PaymentsWorld) -> None:
    invoice = where(world, cause=0, means=0, suspicion=0)[0]
    start = invoice.due_at - timedelta(hours=1)
    outage = Outage(processor="alder", starts_at=start, ends_at=start + timedelta(hours=3))
    asked = (invoice.invoice_id, invoice.instruments[0])
    hours = [start + timedelta(hours=h) for h in (-1, 0, 2, 3)]
    for down in (
        world.with_outage(outage),
        PaymentsWorld(replace(SETTINGS, outages=(outage,))),
    ):
        assert outage in down.outages()
        usually, then = world.chance(*asked, NAMES, hours), down.chance(*asked, NAMES, hours)
        np.testing.assert_array_equal(usually[1:], then[1:])
        np.testing.assert_array_equal(usually[0, [0, 3]], then[0, [0, 3]])
        np.testing.assert_allclose(then[0, [1, 2]], 0.02 * usually[0, [1, 2]])
        answers = [
            down.answer(*asked, "alder", invoice.due_at, attempt_id=f"o{n}") for n in range(200)
        ]
        failed = [a for a in answers if a.outcome == "technical"]
        assert len(failed) >= 188
        assert all(a.status == "failed" and a.code is None and not a.penalty for a in failed)
    assert outage not in world.outages()


def test_a_planned_outage_of_an_issuer_declines_everywhere(world: PaymentsWorld) -> None:
    for issuer, start, end in world.issuer_outages():
        for invoice in where(world, cause=0, means=0, suspicion=0):
            card = world.card(world.row(invoice.invoice_id), 0)
            if card.issuer == issuer and start > SETTINGS.start:
                middle = start + (end - start) / 2
                charge = (invoice.invoice_id, card.instrument_id)
                odds = world.odds(*charge, "alder", middle)
                assert odds["issuer_down"] == pytest.approx(0.95 * (1 - odds["technical"]))
                assert world.odds(*charge, "alder", end)["issuer_down"] < 0.002
                return
    pytest.fail("no issuer was ever down")


def test_a_soft_decline_is_mostly_said_again_until_the_next_bank_day(world: PaymentsWorld) -> None:
    invoice = where(world, cause=0, means=1, suspicion=1)[0]
    card, clock = invoice.instruments[0], world.truth.local
    row = np.array(world.row(invoice.invoice_id))
    noon = int(np.array(world.settings.seconds(invoice.due_at)) // 86_400 + 2) * 86_400
    first = noon - int(clock(row, np.array(noon)) - noon) + 12 * 3_600  # noon on the member's clock
    at = [world.settings.time(first + h * 3_600) for h in (1, 17, 18)]  # 13:00, 05:00, 06:00
    past = [tried(invoice, 1, invoice.due_at, None)]
    none = world.chance(invoice.invoice_id, card, ["birch"], at, [*past, past[0]])[0]
    for code, least in (("51", 0.1), ("05", None)):
        last = tried(invoice, 2, world.settings.time(first), code)
        then = world.chance(invoice.invoice_id, card, ["birch"], at, [last])[0]
        assert then[2] == none[2]
        assert (then[:2] < none[:2]).all()
        if least:
            np.testing.assert_allclose(then[:2], least * none[:2])


def test_earlier_attempts_make_the_issuer_less_willing(world: PaymentsWorld) -> None:
    invoice = where(world, cause=0, means=0, suspicion=1)[0]
    at = invoice.due_at + timedelta(days=9)
    chances = [
        world.chance(
            invoice.invoice_id,
            invoice.instruments[0],
            ["birch"],
            [at],
            [tried(invoice, n, invoice.due_at + timedelta(days=n)) for n in range(count)],
        )[0, 0]
        for count in range(8)
    ]
    assert chances == sorted(chances, reverse=True)
    reported_twice = [tried(invoice, 0, invoice.due_at), tried(invoice, 0, at - timedelta(days=8))]
    once = world.chance(invoice.invoice_id, invoice.instruments[0], ["birch"], [at], reported_twice)
    assert once[0, 0] == chances[1]


NOW = datetime(2025, 2, 1, tzinfo=UTC)


def history(
    world: PaymentsWorld, hours: list[float], code: str = "05", advice: str | None = None
) -> list[Attempt]:
    invoice = world.invoices()[0]
    return [
        tried(invoice, n, NOW - timedelta(hours=h), code, advice=advice)
        for n, h in enumerate(hours)
    ]


@pytest.mark.parametrize(
    ("network", "hours", "said", "cents"),
    [
        ("visa", [], ("05", None), 0),
        ("visa", [float(h) for h in range(1, 20)], ("05", None), 0),
        ("visa", [float(h) for h in range(1, 21)], ("05", None), 10),
        ("visa", [*map(float, range(1, 20)), 720.0], ("05", None), 0),
        ("visa", [*map(float, range(1, 20)), 719.9], ("05", None), 10),
        ("visa", [50.0], ("41", None), 10),
        ("visa", [50.0, 60.0], ("R1", None), 10),
        ("visa", [float(h) for h in range(1, 21)], ("14", None), 20),
        ("visa", [1.0], ("41", "03"), 10),
        ("mastercard", [1.0], ("41", "03"), 50),
        ("mastercard", [1.0], ("51", "02"), 0),
        ("mastercard", [h / 1.0 for h in range(1, 11)], ("51", "02"), 50),
        ("mastercard", [25.0 + h for h in range(10)], ("51", "02"), 0),
        ("mastercard", [0.5 * h for h in range(1, 36)], ("51", "02"), 100),
        ("amex", [float(h) for h in range(1, 40)], ("41", "03"), 0),
    ],
)
def test_networks_charge_exactly_what_the_settings_say(
    world: PaymentsWorld, network: str, hours: list[float], said: tuple[str, str], cents: int
) -> None:
    assert penalty(PENALTIES, network, NOW, history(world, hours, *said)) == cents


def test_what_did_not_reach_the_network_is_not_counted(world: PaymentsWorld) -> None:
    invoice = world.invoices()[0]
    lost = [tried(invoice, n, NOW - timedelta(hours=1), None) for n in range(40)]
    twice = history(world, [float(h) for h in range(1, 20)]) * 2
    assert penalty(PENALTIES, "visa", NOW, lost) == 0
    assert penalty(PENALTIES, "visa", NOW, twice) == 0


def test_a_penalty_counts_the_card_wherever_it_is_on_file(world: PaymentsWorld) -> None:
    found = [card for card in world.instruments() if card.network == "visa"]
    for taker in found:
        owners = [c for c in found if c.fingerprint == taker.fingerprint]
        others = [c for c in owners if c.member_id != taker.member_id]
        if others:
            break
    invoices = {i.instruments[0]: i for i in reversed(world.invoices())}
    mine, theirs = invoices[taker.instrument_id], invoices[others[0].instrument_id]
    stolen = tried(theirs, 1, mine.due_at - timedelta(hours=2), "43")
    for number in range(20):
        answer = world.answer(
            mine.invoice_id,
            mine.instruments[0],
            "alder",
            mine.due_at,
            attempt_id=f"shared-{number}",
            tried=[stolen],
        )
        wanted = 0 if answer.status == "failed" else round(10 / CENTS[mine.currency])
        assert answer.penalty == wanted


def test_a_member_who_has_left_takes_the_mandate_back(world: PaymentsWorld) -> None:
    left = 0
    for invoice in where(world, cause=0, means=0, suspicion=0):
        leaves = world.leaves_at(invoice.invoice_id)
        if leaves + timedelta(days=1) < invoice.grace_until:
            left += 1
            charge = (invoice.invoice_id, invoice.instruments[0], "alder")
            answer = world.answer(*charge, leaves, attempt_id=f"{invoice.invoice_id}-left")
            assert answer.outcome in {"dead", "technical"}
            assert answer.code in {"R1", "79", None}
    assert left > 100


def test_members_leave_and_return_at_their_rates(world: PaymentsWorld) -> None:
    bills, payers = world.bills, world.payers
    days = (bills.leaves - bills.due) / 86_400 * payers.leaves[bills.member]
    assert days.mean() == pytest.approx(1.0, abs=4 / np.sqrt(len(days)))
    invoices = world.invoices()
    back = [world.returns_at(i.invoice_id) for i in invoices]
    wanted = payers.returns[bills.member].mean()
    error = np.sqrt(wanted * (1 - wanted) / len(back))
    assert np.mean([b is not None for b in back]) == pytest.approx(wanted, abs=4 * error)
    for invoice, time in zip(invoices, back, strict=True):
        assert time is None or time >= invoice.grace_until


def test_fees_are_those_of_the_processors_rows(world: PaymentsWorld) -> None:
    for invoice in world.invoices()[:60]:
        for row in world.processors():
            charge = (invoice.invoice_id, invoice.instruments[0], row.processor, invoice.due_at)
            answer = world.answer(*charge, attempt_id=f"{invoice.invoice_id}-{row.processor}")
            cents = row.fee_approved if answer.status == "approved" else row.fee_declined
            share = row.fee_share * invoice.amount if answer.status == "approved" else 0.0
            assert answer.fee == round(cents / CENTS[invoice.currency] + share)


def test_value_is_the_amount_and_the_worth_less_fee_and_dispute(world: PaymentsWorld) -> None:
    """By hand, for cents of EUR: 1199 + worth e^-0.1 - fee - 2 * 0.002 (1 + 10/7) (1199 + 1500)."""
    for invoice in world.invoices():
        if invoice.currency == "EUR" and invoice.amount == 1199 and len(invoice.instruments) > 1:
            break
    at = invoice.due_at + timedelta(days=10)
    said = world.value(invoice.invoice_id, invoice.instruments[1], "birch", at)
    kept = invoice.worth * np.exp(-0.1)
    fee = round(12 + 0.019 * 1199)
    assert said == pytest.approx(1199 + kept - fee - 0.004 * (1 + 10 / 7) * 2699, abs=1e-9)
    sooner = world.value(invoice.invoice_id, invoice.instruments[1], "birch", invoice.due_at)
    first = world.value(invoice.invoice_id, invoice.instruments[0], "birch", invoice.due_at)
    assert said < sooner < first


def test_what_is_approved_is_captured_and_sometimes_disputed(world: PaymentsWorld) -> None:
    late, seen, mean = timedelta(days=20), 0, 0.0
    invoices = world.invoices()
    for invoice in invoices:
        attempt = tried(invoice, 1, invoice.due_at + late, "00")
        settled = world.settlements(attempt)
        assert settled == world.settlements(attempt)
        assert [s.kind for s in settled] in (["capture"], ["capture", "chargeback"])
        assert all(s.amount == invoice.amount and s.at > attempt.at for s in settled)
        seen += len(settled) - 1
        mean += 0.002 * (1 + 20 / 7)
    assert abs(seen - mean) <= 4 * np.sqrt(mean)
    assert world.settlements(tried(invoices[0], 1, invoices[0].due_at)) == []


def test_what_cannot_be_asked_is_refused(world: PaymentsWorld) -> None:
    one, two = world.invoices()[:2]
    at = one.due_at
    with pytest.raises(ValueError, match="no invoice 'v0'"):
        world.odds("v0", one.instruments[0], "alder", at)
    with pytest.raises(ValueError, match="is no card for"):
        world.odds(one.invoice_id, two.instruments[0], "alder", at)
    with pytest.raises(ValueError, match="no processor 'elm'"):
        world.odds(one.invoice_id, one.instruments[0], "elm", at)
    with pytest.raises(ValueError, match="needs a time zone"):
        world.odds(one.invoice_id, one.instruments[0], "alder", at.replace(tzinfo=None))
    for far in (datetime(1970, 1, 1, tzinfo=UTC), datetime(2999, 1, 1, tzinfo=UTC)):
        with pytest.raises(ValueError, match="too far"):
            world.odds(one.invoice_id, one.instruments[0], "alder", far)
