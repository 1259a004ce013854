"""Known answers, by hand: each built-in rule, and each thing that an invoice, an instrument or a
processor forbids by itself.
"""

from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pytest
from payment_rows import (
    START,
    a_card,
    a_processor,
    a_report,
    a_rule,
    after,
    an_invoice,
    at,
    declines,
)

from matinee.lake.billing import Outage
from matinee.lake.records import micros
from matinee.payments.attempts import merged
from matinee.payments.bars import allowed, bars, penalty, processor_bar, promised
from matinee.payments.case import Case, same_card
from matinee.payments.reasons import Reasons
from matinee.payments.rules import RuleBook

BOOK = RuleBook.built_in()
SECOND = 1 / 3600


def kept(reports, *hours, card=None, invoice=None, book=BOOK, same=frozenset(), planned=()):
    """By the name of each rule that takes something away, what it leaves at these hours."""
    case = Case(invoice or an_invoice(), card or a_card(), merged(reports), same)
    found = bars(case, book, np.array(at(*hours)), planned)
    return {bar.name: bar.allowed.tolist() for bar in found}


# The limits of networks


def test_visa_lets_twenty_attempts_be_in_thirty_days():
    nineteen, twenty = declines(*range(19)), declines(*range(20))
    assert kept(nineteen, 100) == {}
    assert kept(twenty, 100) == {"visa-30-days-2025": [False]}
    # the first, sent at hour 0, is out of the window 30 days later to the second
    assert kept(twenty, 720 - SECOND, 720, 900) == {"visa-30-days-2025": [False, True, True]}


def test_visa_let_fifteen_be_until_the_day_of_the_change():
    hours = (datetime(2025, 5, 25, tzinfo=UTC) - START) / timedelta(hours=1)
    reports = declines(*[hours - 48 + one for one in range(15)])
    assert kept(reports, hours - SECOND, hours) == {"visa-30-days-2021": [False, True]}


@pytest.mark.parametrize(
    "code", ["04", "07", "12", "14", "15", "41", "43", "46", "57", "R0", "R1", "R3", "4", "r1"]
)
def test_visa_says_never_after_a_code_of_category_1(code):
    name = "visa-category-1"
    assert kept(declines(0, code=code), 1, 30_000)[name] == [False, False]
    assert name not in kept(declines(0, code=code), 1, card=a_card("amex"))


@pytest.mark.parametrize("code", ["51", "05", "54", "59", "61", "62", "65", "91", "96", "N7", "1A"])
def test_visa_says_nothing_of_never_after_the_others(code):
    assert kept(declines(0, code=code), 1) == {}


def test_visa_says_never_after_category_1_whatever_the_code():
    assert "visa-category-1-reported" in kept(declines(0, code="51", category="1"), 1)
    assert kept(declines(0, code="51", category="2"), 1) == {}


MASTERCARD = a_card("mastercard", issuer_country="NL")


def test_mastercard_lets_ten_attempts_be_in_any_24_hours():
    ten = declines(*[hour / 2 for hour in range(10)], amount=500)
    assert kept(ten[2:], 5, card=MASTERCARD) == {}
    assert kept(ten, 5, 24 - SECOND, 24, card=MASTERCARD) == {
        "mastercard-24-hours": [False, False, True]
    }


def test_mastercard_lets_seven_be_in_brazil():
    seven = declines(*[hour / 2 for hour in range(7)])
    assert kept(seven, 5, 24, card=a_card("mastercard", issuer_country="BR")) == {
        "mastercard-24-hours-br": [False, True]
    }
    assert kept(seven, 5, card=a_card("mastercard")) == {}
    assert "mastercard-24-hours-br" in kept(
        seven, 5, card=a_card("mastercard"), invoice=an_invoice(country="BR")
    )


def test_mastercard_lets_thirty_five_be_of_one_amount_in_thirty_days():
    thirty_five = declines(*[hour * 20 for hour in range(35)])
    assert kept(thirty_five, 719, 720, card=MASTERCARD) == {"mastercard-30-days": [False, True]}
    assert kept(thirty_five, 719, card=MASTERCARD, invoice=an_invoice(amount=998)) == {}
    assert kept(thirty_five, 719, card=MASTERCARD, invoice=an_invoice(currency="USD")) == {}


@pytest.mark.parametrize(
    ("advice", "hours"),
    [("24", 1), ("25", 24), ("26", 48), ("27", 96), ("28", 144), ("29", 192), ("30", 240)],
)
def test_mastercard_says_how_long_to_wait(advice, hours):
    reports = [a_report("a1", after(0), "sent"), a_report("a1", after(2), advice=advice, code="51")]
    until = 2 + hours
    assert kept(reports, 2, until - SECOND, until, card=MASTERCARD) == {
        f"mastercard-wait-{advice}": [False, False, True]
    }
    assert kept(reports, 2) == {}


def test_of_two_waits_the_longer_holds():
    reports = [*declines(0, advice="26"), *declines(1, advice="24")]
    both = kept(reports, 1.5, 2, 47, 48, card=MASTERCARD)
    assert both["mastercard-wait-26"] == [False, False, False, True]
    again = [*declines(0, advice="25"), *declines(1, advice="25")]
    assert kept(again, 24.5, 25, card=MASTERCARD) == {"mastercard-wait-25": [False, True]}


@pytest.mark.parametrize("advice", ["03", "21", "3"])
def test_mastercard_says_never_by_advice(advice):
    found = kept(declines(0, advice=advice), 1, 30_000, card=MASTERCARD)
    assert found["mastercard-advice-never"] == [False, False]


def test_mastercard_says_never_of_prepaid_and_single_use_cards_and_not_of_43():
    for advice in ("40", "41"):
        found = kept(declines(0, advice=advice), 1, card=MASTERCARD)
        assert found["mastercard-advice-prepaid"] == [False]
    for advice in ("43", "01", "02"):
        assert kept(declines(0, advice=advice), 1, card=MASTERCARD) == {}


@pytest.mark.parametrize("network", ["amex", "discover"])
def test_amex_and_discover_are_taken_to_let_twenty_be(network):
    card = a_card(network)
    assert kept(declines(*range(19)), 100, card=card) == {}
    assert kept(declines(*range(20)), 100, 720, card=card) == {f"{network}-30-days": [False, True]}


def test_networks_without_a_rule_have_none():
    assert kept(declines(*range(40), advice="25"), 50, card=a_card("jcb")) == {}


SEPA = a_card("sepa", kind="direct_debit")


@pytest.mark.parametrize("code", ["AC01", "AC04", "AC06", "AG01", "MD01", "MD07", "RC01"])
def test_sepa_says_never_of_the_account(code):
    assert kept(declines(0, code=code, invoice_id="i0"), 1, card=SEPA)["sepa-account"] == [False]


@pytest.mark.parametrize("code", ["MD06", "MS02", "SL01"])
def test_sepa_says_never_of_the_collection_that_the_debtor_refused(code):
    assert kept(declines(0, code=code), 1, card=SEPA) == {"sepa-refused": [False]}
    assert kept(declines(0, code=code, invoice_id="i0"), 1, card=SEPA) == {}


def test_sepa_lets_three_attempts_be_on_an_invoice():
    two, three = declines(0, 100, code="AM04"), declines(0, 100, 200, code="AM04")
    assert kept(two, 300, card=SEPA) == {}
    assert kept(three, 300, 2160, card=SEPA) == {"sepa-invoice": [False, True]}
    assert kept(declines(0, 1, 2, code="AM04", invoice_id="i0"), 300, card=SEPA) == {}


ACH = a_card("ach", kind="direct_debit")


@pytest.mark.parametrize(
    "code", ["R02", "R03", "R04", "R05", "R07", "R08", "R10", "R16", "R20", "R29"]
)
def test_ach_says_never_of_the_account(code):
    assert kept(declines(0, code=code), 1, card=ACH)["ach-account"] == [False]


def test_ach_lets_three_attempts_be_on_an_invoice_in_180_days():
    assert kept(declines(0, 100, code="R01"), 200, card=ACH) == {}
    three = kept(declines(0, 100, 200, code="R09"), 300, 4320, card=ACH)
    assert three == {"ach-180-days": [False, True]}


# What counts, and for whom


def test_what_was_approved_or_seen_by_no_network_does_not_count():
    book = RuleBook([a_rule("limit", most=1, hours=24)])
    for status in ("approved", "failed"):
        reports = [a_report("a1", START, status, invoice_id="i0")]
        assert kept(reports, 1, book=book) == {}
    for status in ("sent", "unknown", "declined"):
        reports = [a_report("a1", START, status, invoice_id="i0")]
        assert kept(reports, 1, book=book) == {"mine": [False]}
    reports = [a_report("a1", START, "failed", invoice_id="i0", code="91")]
    assert kept(reports, 1, book=book) == {"mine": [False]}


def test_the_same_card_counts_under_all_its_ids_and_on_all_invoices():
    twin = a_card(instrument_id="c2", member_id="m2", fingerprint="f1")
    card, other = a_card(fingerprint="f1"), a_card(instrument_id="c3", fingerprint="f3")
    same = same_card(card, [card, twin, other, a_card(instrument_id="c4")])
    assert same == {"c1", "c2"}
    reports = declines(0, code="41", instrument_id="c2", invoice_id="i7")
    assert "visa-category-1" in kept(reports, 1, card=card, same=same)
    assert kept(reports, 1, card=card) == {}
    assert kept(declines(0, code="41", instrument_id="c3"), 1, card=card, same=same) == {}


def test_without_a_fingerprint_a_card_is_only_itself():
    assert same_card(a_card(), [a_card(instrument_id="c2")]) == {"c1"}


def test_a_limit_on_the_invoice_counts_what_was_charged_to_anything():
    book = RuleBook([a_rule("limit", most=2, hours=24, per="invoice")])
    reports = [*declines(0, instrument_id="c1"), *declines(1, instrument_id="c9")]
    assert kept(reports, 2, 24, book=book) == {"mine": [False, True]}
    assert kept(declines(0, 1, invoice_id="i0"), 2, book=book) == {}


def test_a_limit_with_codes_counts_only_those():
    book = RuleBook([a_rule("limit", most=2, hours=24, codes=["61"])])
    assert kept([*declines(0, 1, code="51"), *declines(2, code="61")], 3, book=book) == {}
    assert kept(declines(0, 1, code="61"), 3, 24, book=book) == {"mine": [False, True]}


def test_what_was_said_may_bind_one_amount_or_one_invoice():
    amount = RuleBook([a_rule("never", codes=["51"], per="card_amount")])
    assert kept(declines(0, invoice_id="i0"), 1, book=amount) == {"mine": [False]}
    assert kept(declines(0, amount=500), 1, book=amount) == {}
    invoice = RuleBook([a_rule("wait", codes=["51"], hours=5, per="invoice")])
    assert kept(declines(0), 1, 5, book=invoice) == {"mine": [False, True]}
    assert kept(declines(0, invoice_id="i0"), 1, book=invoice) == {}
    assert kept(declines(0, instrument_id="c2"), 1, book=invoice) == {}


def test_what_was_said_with_an_approval_binds_nothing():
    approved = a_report("a1", START, "approved", invoice_id="i0", advice="25", code="41")
    assert kept([approved], 1, card=MASTERCARD) == {}


def test_a_limit_of_none_forbids_all():
    book = RuleBook([a_rule("limit", most=0, hours=1)])
    assert kept([], 0, 50, book=book) == {"mine": [False, False]}


def test_rules_may_name_our_reasons():
    book = RuleBook([a_rule("wait", hours=72, field="reason", codes=["insufficient_funds"])])
    assert kept(declines(0, code="51"), 71, 72, book=book) == {"mine": [False, True]}
    assert kept(declines(0, code="05"), 71, book=book) == {}
    # the word on record goes before what the mapping reads now
    assert kept(declines(0, code="51", reason="do_not_honor"), 71, book=book) == {}


def test_an_attempt_dated_in_the_future_counts_already():
    book = RuleBook([a_rule("limit", most=1, hours=24)])
    assert kept(declines(5), 0, book=book) == {"mine": [False]}


def test_planned_attempts_count_as_if_they_had_been_declined():
    book = RuleBook([a_rule("limit", most=2, hours=24)])
    asked = {"book": book, "planned": at(30, 10)}
    assert kept([], 9, 10, 30, 33, 34, 53, 54, **asked) == {
        "mine": [True, True, False, False, True, True, True]
    }
    assert kept(declines(0), 9, 10, 24, **asked) == {"mine": [True, False, True]}
    coded = RuleBook([a_rule("limit", most=1, hours=24, codes=["51"])])
    assert kept([], 12, book=coded, planned=at(10)) == {}


def test_a_rule_takes_away_only_while_it_is_in_force():
    rule = a_rule("never", codes=["51"], starts_at=after(10), ends_at=after(20))
    assert kept(declines(0), 9.9, 10, 19.9, 20, book=RuleBook([rule])) == {
        "mine": [True, False, False, True]
    }


def test_what_was_said_of_a_card_stands_until_it_is_approved_again():
    again = a_report("a9", after(5), "approved", invoice_id="i0", initiator="member")
    reports = declines(0, code="R1", invoice_id="i0")
    assert kept([*reports, again], 6) == {}
    assert set(kept(reports, 6)) == {"hard_reason", "visa-category-1"}
    late = [a_report("a1", after(0), "sent", invoice_id="i0"), a_report("a1", after(8), code="R1")]
    assert set(kept([*late, again], 9)) == {"hard_reason", "visa-category-1"}


# What the invoice and the instrument forbid


def test_nothing_is_forbidden_where_nothing_is_known():
    assert kept([], 0, 1, 1000) == {}


@pytest.mark.parametrize("status", ["sent", "unknown"])
def test_one_attempt_is_in_flight_at_a_time(status):
    assert kept([a_report("a1", START, status)], 1, 900) == {"in_flight": [False, False]}
    assert kept([a_report("a1", START, status, invoice_id="i0")], 1) == {}


def test_an_invoice_is_charged_once():
    reports = [a_report("a1", START, "approved", instrument_id="c7"), *declines(1)]
    assert kept(reports, 2) == {"paid": [False]}


def test_a_closed_invoice_is_charged_no_more():
    closed = an_invoice(closed="void", closed_at=START)
    assert kept([], 1, invoice=closed) == {"closed": [False]}


def test_trying_ends_with_the_grace():
    invoice = an_invoice(grace_until=after(48))
    assert kept([], 48 - SECOND, 48, 49, invoice=invoice) == {"grace": [True, False, False]}


def test_a_mandate_that_was_taken_back_is_not_used():
    card = a_card("sepa", kind="direct_debit", revoked_at=after(5))
    assert kept([], 4, 5, 6, card=card) == {"mandate": [True, False, False]}


def test_a_card_is_good_to_the_end_of_its_last_month():
    card = a_card(expires="2026-04")
    end = (datetime(2026, 5, 1, tzinfo=UTC) - START) / timedelta(hours=1)
    assert kept([], end - SECOND, end, card=card) == {"expired": [True, False]}
    december = a_card(expires="2025-12")
    assert kept([], 0, card=december) == {"expired": [False]}
    assert kept([], 0, card=a_card(expires="9999-12")) == {}


def test_a_hard_reason_bars_the_instrument_for_good():
    card = a_card("jcb")
    for more in ({"code": "41"}, {"advice": "21"}, {"reason": "closed_account"}):
        assert kept(declines(0, **more), 1, 30_000, card=card) == {"hard_reason": [False, False]}
    assert kept(declines(0, code="41", instrument_id="c2"), 1, card=card) == {}


def test_the_kind_of_a_reason_is_that_of_the_book():
    own = Reasons.built_in()
    row = own.signals["code", "57"]
    softer = own.extended([msgspec.structs.replace(row, kind="soft")])
    reports = declines(0, code="57")
    assert set(kept(reports, 1, card=a_card("jcb"))) == {"hard_reason"}
    assert kept(reports, 1, card=a_card("jcb"), book=RuleBook(BOOK.rules, softer)) == {}


# Quiet hours

NIGHT = RuleBook([a_rule("quiet", from_hour=22, to_hour=8)])


def in_utc(*times):
    return [(datetime(*time, tzinfo=UTC) - START) / timedelta(hours=1) for time in times]


def test_quiet_hours_are_those_of_the_member_through_the_change_of_clocks():
    invoice = an_invoice(timezone="Europe/Amsterdam")
    # to Sunday 29 March 2026, 01:00 UTC, the clock is one hour ahead, then two
    hours = in_utc(
        (2026, 3, 27, 20, 59), (2026, 3, 27, 21, 0), (2026, 3, 28, 6, 59), (2026, 3, 28, 7, 0),
        (2026, 3, 29, 5, 59), (2026, 3, 29, 6, 0), (2026, 3, 29, 19, 59), (2026, 3, 29, 20, 0),
    )  # fmt: skip
    assert kept([], *hours, book=NIGHT, invoice=invoice) == {
        "mine": [True, False, False, True, False, True, True, False]
    }


def test_quiet_hours_in_a_zone_of_half_hours_and_by_day():
    book = RuleBook([a_rule("quiet", from_hour=9, to_hour=17)])
    hours = in_utc((2026, 3, 2, 3, 29), (2026, 3, 2, 3, 30), (2026, 3, 2, 11, 29), (2026, 3, 2, 12))
    india = kept([], *hours, book=book, invoice=an_invoice(timezone="Asia/Kolkata"))
    assert india == {"mine": [True, False, False, True]}


@pytest.mark.parametrize("zone", [None, "Atlantis", "Europe", "../../etc/passwd", "UTC0x"])
def test_without_a_time_zone_quiet_hours_are_in_utc_and_say_so(zone):
    hours = in_utc((2026, 3, 2, 21, 59), (2026, 3, 2, 22), (2026, 3, 3, 8))
    (bar,) = bars(Case(an_invoice(timezone=zone), a_card()), NIGHT, at(*hours))
    assert bar.allowed.tolist() == [True, False, True]
    assert "UTC, as the time zone" in bar.reason
    assert (zone or "of the member") in bar.reason


# Reasons, and all bars together


def test_each_bar_says_why_in_plain_words():
    invoice = an_invoice(closed="lapsed", grace_until=START, timezone="Europe/Amsterdam")
    card = a_card("mastercard", revoked_at=START, expires="2025-01")
    reports = [
        *declines(*range(10), code="41", advice="25"),
        a_report("x", after(11), "unknown"),
        a_report("y", after(12), "approved", instrument_id="c2"),
    ]
    case = Case(invoice, card, merged(reports))
    found = bars(case, BOOK.extended(NIGHT.rules), at(12.5))
    assert {bar.name: bar.reason for bar in found} == {
        "closed": "the invoice is closed: lapsed",
        "paid": "an attempt on the invoice was approved",
        "in_flight": "an attempt on the invoice has no answer yet",
        "grace": "the grace period is over",
        "mandate": "the member took the mandate back",
        "expired": "the card is good to the end of 2025-01, UTC",
        "hard_reason": "lost_or_stolen: never again with this instrument",
        "mastercard-wait-25": "mastercard: wait 24 hours after advice 25",
        "mastercard-24-hours": "mastercard: no more than 10 attempts in 24 hours "
        "with the same card",
        "mine": "quiet from 22 to 8 o'clock in Europe/Amsterdam",
    }
    assert allowed(found, 1).tolist() == [False]
    assert allowed([], 2).tolist() == [True, True]


def test_no_times_no_bars():
    assert kept(declines(0, code="41")) == {}


# What networks take


def test_too_many_attempts_cost_what_the_network_takes_then():
    case = Case(an_invoice(), MASTERCARD, merged(declines(*[hour / 2 for hour in range(10)])))
    assert {name: fee.tolist() for name, fee in penalty(case, BOOK, at(5, 24)).items()} == {
        "USD": [50, 0]
    }


def test_of_two_fees_of_one_network_the_dearer_counts():
    reports = declines(*[hour / 2 for hour in range(40)])
    case = Case(an_invoice(), MASTERCARD, merged(reports))
    assert penalty(case, BOOK, at(20))["USD"].tolist() == [50]
    mine = a_rule("fee", network="mastercard", codes=["51"], fee=70, currency="USD")
    assert penalty(case, BOOK.extended([mine]), at(20))["USD"].tolist() == [70]
    everyone = a_rule("fee", codes=["51"], fee=7, currency="USD")
    assert penalty(case, BOOK.extended([everyone]), at(20))["USD"].tolist() == [57]


def test_visa_takes_a_fee_after_category_1_and_another_after_three_stops():
    case = Case(an_invoice(), a_card(), merged(declines(0, 1, code="R1")))
    fees = penalty(case, BOOK, at(2))
    assert {name: fee.tolist() for name, fee in fees.items()} == {"USD": [15]}
    case = Case(an_invoice(), a_card(), merged(declines(0, 1, 2, code="R1")))
    hours = (datetime(2026, 4, 25, tzinfo=UTC) - START) / timedelta(hours=1)
    fees = penalty(case, BOOK, at(hours - SECOND, hours))
    assert {name: fee.tolist() for name, fee in fees.items()} == {
        "USD": [15, 25],
        "EUR": [100, 100],
    }


def test_mastercard_takes_a_fee_within_thirty_days_of_advice_03():
    case = Case(an_invoice(), MASTERCARD, merged(declines(0, advice="03")))
    assert penalty(case, BOOK, at(720 - SECOND, 720))["USD"].tolist() == [50, 0]


def test_planned_attempts_cost_too():
    book = RuleBook([a_rule("fee", most=1, hours=24, fee=9, currency="EUR")])
    fees = penalty(Case(an_invoice(), a_card()), book, at(0, 2, 25), planned=at(1))
    assert fees["EUR"].tolist() == [0, 9, 0]


def test_without_fees_there_is_no_currency():
    assert penalty(Case(an_invoice(), a_card("jcb")), BOOK, at(0)) == {}


# Processors


def why(processor, hours=(0, 1, 2, 3), outages=(), **more):
    invoice = an_invoice(**{"country": "NL"} | more)
    bar = processor_bar(processor, invoice, a_card(), outages, at(*hours))
    return None if bar is None else (bar.name, bar.reason, bar.allowed.tolist())


def test_a_processor_that_works_everywhere_has_no_bar():
    assert why(a_processor()) is None
    assert why(a_processor(currencies=["EUR"], countries=["NL"], networks=["visa"])) is None


@pytest.mark.parametrize(
    ("processor", "name", "reason"),
    [
        (a_processor(enabled=False), "disabled", "goldcard is not used"),
        (a_processor(currencies=["USD"]), "currency", "goldcard does not charge EUR"),
        (a_processor(countries=["US"]), "country", "goldcard does not charge in NL"),
        (a_processor(networks=["amex"]), "network", "goldcard reaches no visa"),
    ],
)
def test_what_a_processor_does_not_reach(processor, name, reason):
    assert why(processor) == (name, reason, [False] * 4)


def test_a_country_that_is_not_known_is_not_reached():
    reason = "goldcard does not charge in a country that is not known"
    assert why(a_processor(countries=["US"]), country=None) == ("country", reason, [False] * 4)
    assert why(a_processor(), country=None) is None


def test_outages_end_or_last():
    over = Outage(processor="goldcard", starts_at=after(1), ends_at=after(2))
    lasts = Outage(processor="goldcard", starts_at=after(3))
    others = Outage(processor="silver", starts_at=after(0))
    said = "goldcard does not work"
    assert why(a_processor(), outages=[others]) is None
    assert why(a_processor(), outages=[over]) == ("outage", said, [True, False, True, True])
    both = ("outage", said, [True, False, True, False])
    assert why(a_processor(), outages=[over, others, lasts]) == both


GOLD, SILVER = a_processor("gold", least=1000), a_processor("silver", least=100)
FREE = a_processor("free")
MIDDLE = micros(datetime(2026, 4, 16, tzinfo=UTC))
"""Half of April is over."""


def share(counts, now=MIDDLE, otherwise=(True, True, True), slack=0.1):
    return promised([GOLD, SILVER, FREE], counts, now, otherwise, slack).allowed.tolist()


def test_who_lags_behind_its_promise_goes_first():
    # at half of the month with a slack of 0.1: 1000 * (0.5 - 0.05) = 450, and 45
    assert share({"gold": 450, "silver": 45}) == [True, True, True]
    assert share({"gold": 449, "silver": 45}) == [True, False, False]
    assert share({"gold": 449, "silver": 44}) == [True, True, False]
    assert share({"gold": 499, "silver": 50}, slack=0) == [True, False, False]
    assert share({"gold": 500, "silver": 50}, slack=0) == [True, True, True]


def test_a_promise_yields_where_the_one_that_lags_may_not_be_used():
    assert share({"gold": 0, "silver": 50}, otherwise=(False, True, True)) == [True, True, True]
    assert share({}, otherwise=(False, True, True)) == [True, True, False]


def test_the_slack_is_used_up_at_the_end_of_the_month():
    first = micros(datetime(2026, 4, 1, tzinfo=UTC))
    last = micros(datetime(2026, 5, 1, tzinfo=UTC)) - 1
    assert share({}, now=first) == [True, True, True]
    assert share({"gold": 999, "silver": 100}, now=last) == [True, False, False]
    assert share({"gold": 1000, "silver": 100}, now=last) == [True, True, True]


def test_a_promise_says_who_lags():
    bar = promised([GOLD, SILVER, FREE], {}, MIDDLE, [True] * 3)
    assert bar.reason == "fewer attempts than promised for this part of the month: gold, silver"
    assert promised([], {}, MIDDLE, []).allowed.tolist() == []
