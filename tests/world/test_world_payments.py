from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest

from matinee.lake.billing import NetworkRule, Outage
from matinee.world.paydays import BEFORE, PAID_AT, SCHEDULES, ZONE_NAMES, Clock, Paydays, usual
from matinee.world.payments import PaymentsWorld
from matinee.world.payments_settings import DAY, HOUR, PENALTIES, PaymentsSettings
from matinee.world.processors import LANDS, NETWORKS, PROCESSORS, Spans

SMALL = PaymentsSettings(members=600, days=100, seed=3)


@pytest.fixture(scope="module")
def world() -> PaymentsWorld:
    return PaymentsWorld(SMALL)


def test_equal_settings_give_equal_worlds_and_another_seed_another(world: PaymentsWorld) -> None:
    again, other = PaymentsWorld(SMALL), PaymentsWorld(replace(SMALL, seed=4))
    for part in ("members", "invoices", "instruments", "outages", "issuer_outages"):
        assert getattr(world, part)() == getattr(again, part)()
        if part != "members":
            assert getattr(world, part)() != getattr(other, part)()
    invoice = world.invoices()[0]
    charge = (invoice.invoice_id, invoice.instruments[0], "birch", invoice.due_at)
    answers = [[w.answer(*charge, attempt_id=f"a{n}") for n in range(50)] for w in (world, again)]
    assert answers[0] == answers[1]
    assert world.odds(*charge) == again.odds(*charge)


def test_a_day_is_the_same_however_many_days_there_are(world: PaymentsWorld) -> None:
    short = PaymentsWorld(replace(SMALL, days=40))
    assert short.invoices() == world.invoices(0, 40)
    assert short.instruments() == world.instruments(0, 40)
    assert world.invoices(0, 40) + world.invoices(40) == world.invoices()
    for invoice in short.invoices()[:200]:
        charge = (invoice.invoice_id, invoice.instruments[0], "alder", invoice.due_at)
        assert short.odds(*charge) == world.odds(*charge)
        assert short.leaves_at(invoice.invoice_id) == world.leaves_at(invoice.invoice_id)


def test_every_record_keeps_its_own_rules(world: PaymentsWorld) -> None:
    tables = (
        world.members(),
        world.invoices(),
        world.instruments(),
        world.processors(),
        world.outages(),
    )
    for records in tables:
        assert records
        for record in records:
            assert msgspec.json.decode(msgspec.json.encode(record), type=type(record)) == record


def test_invoices_come_in_order_of_time_and_never_two_of_a_member_at_once(
    world: PaymentsWorld,
) -> None:
    invoices, cards = world.invoices(), {card.instrument_id for card in world.instruments()}
    assert len({invoice.invoice_id for invoice in invoices}) == len(invoices)
    assert [i.due_at for i in invoices] == sorted(i.due_at for i in invoices)
    until: dict[str, datetime] = {}
    for invoice in invoices:
        assert until.get(invoice.member_id, SMALL.start) <= invoice.due_at
        assert invoice.grace_until - invoice.due_at == timedelta(days=28)
        assert 1 <= len(invoice.instruments) <= 3
        assert cards.issuperset(invoice.instruments)
        until[invoice.member_id] = invoice.grace_until
    counts = np.bincount([len(i.instruments) for i in world.invoices(0, 28)])
    assert counts[1] > counts[2] > counts[3] > 0


def test_currency_and_clock_are_those_of_the_country(world: PaymentsWorld) -> None:
    seen = {(i.country, i.currency, (i.timezone or "").split("/")[0]) for i in world.invoices()}
    assert seen == {
        ("US", "USD", "America"),
        ("NL", "EUR", "Europe"),
        ("BR", "BRL", "America"),
        ("IN", "INR", "Asia"),
        ("JP", "JPY", "Asia"),
    }
    only = PaymentsWorld(PaymentsSettings(members=30, days=31, countries=(("JP", 1.0),)))
    assert {i.timezone for i in only.invoices()} == {"Asia/Tokyo"}


def test_some_cards_are_on_file_with_two_members_and_agree(world: PaymentsWorld) -> None:
    holders = defaultdict(set)
    facts = defaultdict(set)
    for card in world.instruments():
        holders[card.fingerprint].add(card.member_id)
        facts[card.fingerprint].add(
            (card.network, card.issuer, card.funding, card.expires, card.tokenised)
        )
    shared = sum(len(members) > 1 for members in holders.values())
    assert 0.005 < shared / len(world.members()) < 0.04
    assert all(len(one) == 1 for one in facts.values())


def test_a_dead_card_is_another_one_next_month_and_a_living_one_the_same(
    world: PaymentsWorld,
) -> None:
    bills, last, replaced = world.bills, {}, 0
    for row in range(len(bills)):
        member = int(bills.member[row])
        card = world.card(row, 0)
        if member in last:
            before, was = last[member]
            died = bills.cause[was, 0] != 0
            replaced += died
            assert (card.instrument_id != before.instrument_id) == died
            assert (card.fingerprint != before.fingerprint) == died
            assert died or card == before
        last[member] = card, row
        due = f"{world.settings.time(bills.due[row]):%Y-%m}"
        assert ((card.expires or "") < due) == (bills.cause[row, 0] == 6)
    assert replaced > 10


@pytest.mark.parametrize(
    ("schedule", "day", "paid", "following"),
    [
        ((25,), datetime(2025, 5, 24), datetime(2025, 5, 23), datetime(2025, 6, 25)),  # a Sunday
        ((31,), datetime(2025, 2, 28), datetime(2025, 2, 28), datetime(2025, 3, 31)),
        ((31,), datetime(2025, 5, 31), datetime(2025, 5, 30), datetime(2025, 6, 30)),
        ((15, 31), datetime(2025, 1, 20), datetime(2025, 1, 15), datetime(2025, 1, 31)),
        ((1,), datetime(2025, 2, 1), datetime(2025, 1, 31), datetime(2025, 2, 28)),  # Saturdays
    ],
)
def test_pay_days_follow_the_calendar(
    schedule: tuple[int, ...], day: datetime, paid: datetime, following: datetime
) -> None:
    start = datetime(2025, 1, 1)
    paydays = Paydays(start.replace(tzinfo=UTC), 200)
    local = np.array(((day - start).days * DAY) + 12 * HOUR)
    number = np.array(SCHEDULES.index(schedule))
    cycle = (following - paid) / timedelta(days=1)
    passed = (day - paid) / timedelta(days=1) + 0.25
    assert paydays.phase(number, local) == pytest.approx(passed / cycle, abs=1e-12)


def test_fortnightly_wages_come_on_alternate_fridays() -> None:
    start = datetime(2025, 1, 1, tzinfo=UTC)
    paydays = Paydays(start, 60)
    days = np.arange(60)
    zero = [
        {int(d) for d in days if paydays.phase(np.array(s), d * DAY + PAID_AT) == 0.0}
        for s in (11, 12)
    ]
    for one in zero:
        assert {(start + timedelta(days=d)).weekday() for d in one} == {4}
        assert {b - a for a, b in zip(sorted(one), sorted(one)[1:], strict=False)} == {14}
    assert not zero[0] & zero[1]


@pytest.mark.parametrize("zone", ZONE_NAMES)
def test_clocks_show_what_the_time_zone_says(zone: str) -> None:
    start, rng = datetime(2025, 1, 1, tzinfo=UTC), np.random.default_rng(1)
    clock = Clock(start, 300)
    seconds = rng.integers(-(BEFORE - 1) * DAY, 370 * DAY, 200)
    local = clock.local(np.array(ZONE_NAMES.index(zone)), seconds)
    for second, shown in zip(seconds.tolist(), local.tolist(), strict=True):
        wall = (start + timedelta(seconds=second)).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        assert start.replace(tzinfo=None) + timedelta(seconds=shown) == wall


def test_money_comes_at_six_on_the_members_clock_on_pay_day() -> None:
    """In Amsterdam on 24 July 2025, a Thursday: at 04:00 UTC, and not an hour later."""
    settings = PaymentsSettings(
        members=400, days=30, countries=(("NL", 1.0),), start=datetime(2025, 7, 1, tzinfo=UTC)
    )
    world = PaymentsWorld(settings)
    tight = [
        row
        for row in range(len(world.bills))
        if SCHEDULES[world.payers.schedule[world.bills.member[row]]] == (24,)
        and world.bills.means[row, 0] == 1
        and world.bills.cause[row, 0] == 0
    ]
    assert tight
    six = datetime(2025, 7, 24, 4, tzinfo=UTC)
    for row in tight:
        invoice = world.bills.invoice(row)
        asked = (invoice.invoice_id, invoice.instruments[0], "alder")
        before, after = (
            world.odds(*asked, at)["funds"] for at in (six - timedelta(seconds=1), six)
        )
        assert before > 0.8
        assert after < 0.1


def test_shares_of_pay_days_sum_to_one_and_wages_cover_the_tables() -> None:
    for land in LANDS:
        shares = usual(land)
        assert shares.min() >= 0.0
        assert shares.sum() == pytest.approx(1.0)


def test_the_best_processor_differs_by_who_issued_the_card_and_by_network() -> None:
    """Over ten seeds: in each several processors are best somewhere, and by a margin."""
    for seed in range(10):
        added = PaymentsWorld(PaymentsSettings(members=1, days=1, seed=seed)).truth.curves.added
        best = added.argmax(axis=0)
        shares = np.bincount(best.ravel(), minlength=len(PROCESSORS)) / best.size
        assert (shares > 0.05).sum() >= 3
        ranked = np.sort(added, axis=0)
        assert 0.1 < (ranked[-1] - ranked[-2]).mean() < 1.5


def test_processors_reach_whom_their_rows_say(world: PaymentsWorld) -> None:
    reach = world.truth.curves.reach
    for number, row in enumerate(world.processors()):
        for country, land in enumerate(LANDS):
            for network, name in enumerate(NETWORKS):
                says = (not row.countries or land in row.countries) and (
                    not row.networks or name in row.networks
                )
                assert reach[number, country, network] == says
    assert reach[0].all()


def test_spans_agree_with_asking_each_span() -> None:
    rng = np.random.default_rng(5)
    raw = [(int(k), int(s), int(s + d)) for k, s, d in rng.integers(1, 60, (40, 3))]
    key, second = rng.integers(0, 61, 3_000), rng.integers(-20, 140, 3_000)
    said = Spans(raw).cover(key, second)
    wanted = [
        any(k == a and s <= t < e for a, s, e in raw) for k, t in zip(key, second, strict=True)
    ]
    assert said.tolist() == wanted
    assert not Spans([]).cover(key, second).any()


LIMITLESS = NetworkRule(rule_id="x", network="visa", kind="fee", source="s", fee=1, currency="EUR")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"members": 0}, "members must be at least 1"),
        ({"days": 0}, "days must lie in"),
        ({"days": 366}, "days must lie in"),
        ({"seed": -1}, "seed must not be negative"),
        ({"start": datetime(2025, 1, 1)}, "midnight in UTC"),
        ({"start": datetime(2025, 1, 1, 3, tzinfo=UTC)}, "midnight in UTC"),
        ({"start": datetime(2025, 1, 1, tzinfo=timezone(timedelta(hours=1)))}, "midnight in UTC"),
        ({"countries": (("DE", 1.0),)}, "some of US, NL"),
        ({"countries": (("NL", 0.5), ("NL", 0.5))}, "distinct"),
        ({"countries": (("NL", 0.5), ("US", 0.4))}, "sum to 1"),
        ({"countries": (("NL", 1.5), ("US", -0.5))}, "not be negative"),
        ({"countries": ()}, "sum to 1"),
        ({"penalties": (LIMITLESS,)}, "'x' cannot be read"),
        ({"penalties": (msgspec.structs.replace(PENALTIES[0], currency="USD"),)}, "cannot be read"),
        ({"penalties": (msgspec.structs.replace(PENALTIES[0], kind="limit"),)}, "cannot be read"),
    ],
)
def test_settings_that_make_no_world_are_refused(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        PaymentsSettings(**wrong)


def test_an_outage_of_an_unknown_processor_is_refused() -> None:
    outage = Outage(processor="elm", starts_at=SMALL.start)
    with pytest.raises(ValueError, match="no processor 'elm'"):
        PaymentsWorld(replace(SMALL, members=2, outages=(outage,)))
