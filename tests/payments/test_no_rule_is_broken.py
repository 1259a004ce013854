"""Whatever is proposed: what the bars let through breaks no rule that is in force at its time.

The checker below is written apart from the bars, with loops over all reports. It is asked both
ways: what is let through breaks nothing, and nothing else is taken away.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import product
from random import Random
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from payment_rows import a_card, a_report, a_rule, an_invoice

from matinee.lake.billing import Attempt, Instrument, Invoice, NetworkRule
from matinee.lake.records import micros
from matinee.payments.attempts import merged
from matinee.payments.bars import bars
from matinee.payments.case import Case
from matinee.payments.rules import RuleBook

START = datetime(2026, 3, 27, 18, 0, tzinfo=UTC)
"""Two days before the clocks of Europe change."""


def hours(count: float) -> timedelta:
    return timedelta(hours=count)


# The checker

HARD = {
    "never_approved", "revoked_mandate", "lost_or_stolen", "closed_account", "pick_up_card",
    "single_use_card", "stop_payment", "invalid_account", "not_permitted",
}  # fmt: skip
BY_ADVICE = {"03": "never_approved", "3": "never_approved", "21": "revoked_mandate"}
BY_CODE = {
    "51": "insufficient_funds", "41": "lost_or_stolen", "4": "pick_up_card", "04": "pick_up_card",
    "R1": "revoked_mandate", "AC04": "closed_account", "MS02": "refused_by_holder",
    "91": "issuer_unavailable",
}  # fmt: skip


def word_of(row: Attempt) -> str | None:
    if row.reason is not None or row.status in ("sent", "approved"):
        return row.reason
    weak = "try_again_later" if row.advice == "25" or row.category == "2" else None
    generic = "do_not_honor" if row.code in ("05", "5") else None
    nothing = "processor_error" if row.status == "failed" else "unknown"
    never = "never_approved" if row.category == "1" else None
    said = [BY_ADVICE.get(row.advice), never, BY_CODE.get(row.code), weak, generic, nothing]
    return next(word for word in said if word is not None)


def alike(one: str, other: str) -> bool:
    if one.isdigit() and other.isdigit():
        return int(one) == int(other)
    return one.upper() == other.upper()


@dataclass
class Seen:
    """One attempt, as the checker sees it."""

    row: Attempt
    sent: datetime
    answered: datetime

    @property
    def counts(self) -> bool:
        row = self.row
        if row.status == "approved":
            return False
        silent = row.code is None and row.category is None and row.advice is None
        return not (row.status == "failed" and silent)


def seen(reports: list[Attempt]) -> list[Seen]:
    found = []
    for name in {row.attempt_id for row in reports}:
        rows = [row for row in reports if row.attempt_id == name]
        sent = min([row.at for row in rows if row.status == "sent"] or [row.at for row in rows])
        for status in ("approved", "declined", "failed", "unknown", "sent"):
            here = [row for row in rows if row.status == status]
            if here:
                answer = sent if status in ("sent", "unknown") else max(sent, here[-1].at)
                found.append(Seen(here[-1], sent, answer))
                break
    return found


class Checker:
    """All that an attempt would break, by the reports that are known."""

    def __init__(self, invoice: Invoice, card: Instrument, same: set[str], reports: list[Attempt]):
        self.invoice, self.card, self.same = invoice, card, same
        self.attempts = seen(reports)
        self.standing = [one for one in self.attempts if self.stands(one)]

    def stands(self, one: Seen) -> bool:
        if one.row.instrument_id not in self.same or one.row.status == "approved":
            return False
        for other in self.attempts:
            again = other.row.instrument_id in self.same and other.row.status == "approved"
            if again and other.sent > one.answered:
                return False
        return True

    def broken(self, rules: list[NetworkRule], when: datetime) -> set[str]:
        return (
            self.of_invoice(when)
            | self.of_card(when)
            | {rule.rule_id for rule in rules if self.holds(rule, when) and self.breaks(rule, when)}
        )

    def of_invoice(self, when: datetime) -> set[str]:
        wrong = set()
        for one in self.attempts:
            if one.row.invoice_id == self.invoice.invoice_id:
                if one.row.status in ("sent", "unknown"):
                    wrong.add("in_flight")
                if one.row.status == "approved":
                    wrong.add("paid")
        if self.invoice.closed:
            wrong.add("closed")
        if when >= self.invoice.grace_until:
            wrong.add("grace")
        return wrong

    def of_card(self, when: datetime) -> set[str]:
        wrong = set()
        if self.card.revoked_at is not None and when >= self.card.revoked_at:
            wrong.add("mandate")
        if self.card.expires is not None:
            year, month = self.card.expires.split("-")
            if (when.year, when.month) > (int(year), int(month)):
                wrong.add("expired")
        if any(word_of(one.row) in HARD for one in self.standing):
            wrong.add("hard_reason")
        return wrong

    def holds(self, rule: NetworkRule, when: datetime) -> bool:
        country = self.card.issuer_country or self.invoice.country
        if rule.network not in ("*", self.card.network) or rule.region not in ("*", country):
            return False
        if rule.starts_at is not None and when < rule.starts_at:
            return False
        return rule.ends_at is None or when < rule.ends_at

    def breaks(self, rule: NetworkRule, when: datetime) -> bool:
        if rule.kind == "quiet":
            return self.is_quiet(rule, when)
        times = self.answers(rule) if rule.codes else self.sendings(rule)
        if rule.kind == "never":
            return len(times) > 0
        if rule.kind == "wait":
            return any(when < one + hours(rule.hours) for one in times)
        if rule.kind == "limit":
            inside = [one for one in times if one > when - hours(rule.hours)]
            return len(inside) + 1 > rule.most
        return False

    def is_quiet(self, rule: NetworkRule, when: datetime) -> bool:
        known = self.invoice.timezone not in (None, "Atlantis")
        local = when.astimezone(ZoneInfo(self.invoice.timezone)) if known else when
        hour = rule.from_hour
        while hour != rule.to_hour:
            if local.hour == hour:
                return True
            hour = (hour + 1) % 24
        return False

    def answers(self, rule: NetworkRule) -> list[datetime]:
        times = []
        for one in self.standing:
            said = word_of(one.row) if rule.field == "reason" else getattr(one.row, rule.field)
            if said is None or not any(alike(said, code) for code in rule.codes):
                continue
            if rule.per == "invoice" and one.row.invoice_id != self.invoice.invoice_id:
                continue
            if rule.per == "card_amount" and one.row.amount != self.invoice.amount:
                continue
            times.append(one.answered)
        return times

    def sendings(self, rule: NetworkRule) -> list[datetime]:
        times = []
        for one in self.attempts:
            if rule.per == "invoice":
                mine = one.row.invoice_id == self.invoice.invoice_id
            else:
                mine = one.row.instrument_id in self.same
            if rule.per == "card_amount" and one.row.amount != self.invoice.amount:
                mine = False
            if mine and one.counts:
                times.append(one.sent)
        return times


# What is proposed, and what happens

CARDS = [
    a_card(instrument_id="c1", fingerprint="f1", issuer_country="NL", expires="2026-04"),
    a_card(instrument_id="c2", fingerprint="f1", member_id="m2"),
    a_card("mastercard", instrument_id="c3", issuer_country="BR"),
    a_card("sepa", instrument_id="c4", kind="direct_debit", revoked_at=START + hours(300)),
]
SAME = {"c1": {"c1", "c2"}, "c2": {"c1", "c2"}, "c3": {"c3"}, "c4": {"c4"}}
ZONES = ["Europe/Amsterdam", "America/Sao_Paulo", "Asia/Kolkata", None, "Atlantis"]
STEPS = (0.0, 0.0, 1e-6 / 3600, 0.5, 0.5, 1.0, 5.0, 23.5, 24.0, 240.0)
MOMENTS = st.none() | st.integers(-24, 400).map(lambda count: START + hours(count))


@st.composite
def own_rules(draw, name):
    kind = draw(st.sampled_from(["limit", "limit", "limit", "wait", "never", "quiet"]))
    starts, ends = draw(MOMENTS), draw(MOMENTS)
    if starts is not None and ends is not None and starts >= ends:
        starts, ends = (ends, starts) if starts > ends else (None, None)
    which = draw(st.sampled_from(["code", "advice", "category", "reason"]))
    codes = {
        "code": ["51", "5", "AC04"],
        "advice": ["25", "03"],
        "category": ["2"],
        "reason": ["insufficient_funds", "do_not_honor", "processor_error", "strange"],
    }[which]
    picked = draw(st.lists(st.sampled_from(codes), min_size=1, unique=True))
    first, last = draw(st.lists(st.integers(0, 23), min_size=2, max_size=2, unique=True))
    needs = {
        "limit": {"codes": picked if draw(st.integers(0, 3)) == 0 else []},
        "wait": {"codes": picked},
        "never": {"codes": picked},
        "quiet": {"from_hour": first, "to_hour": last},
    }[kind]
    return a_rule(
        kind,
        rule_id=name,
        network=draw(st.sampled_from(["*", "*", "visa", "mastercard"])),
        region=draw(st.sampled_from(["*", "*", "NL", "BR"])),
        starts_at=starts,
        ends_at=ends,
        field=which,
        per=draw(st.sampled_from(["card", "card_amount", "invoice"])),
        most=draw(st.integers(0 if kind == "wait" else 1, 4)),
        hours=draw(st.sampled_from([0.5, 1.0, 24.0, 48.0, 300.0])),
        **needs,
    )


BOOKS = st.lists(st.sampled_from("abcde"), unique=True, min_size=1, max_size=5).flatmap(
    lambda names: st.tuples(*[own_rules(name) for name in names])
)


def an_answer(code=None, advice=None, category=None, reason=None, status="declined"):
    return {
        "status": status, "code": code, "advice": advice, "category": category, "reason": reason
    }  # fmt: skip


MILD = [an_answer("51"), an_answer("05"), an_answer("51", "25"), an_answer("51", category="2")]
ANSWERS = [
    *MILD,
    an_answer(),
    an_answer(advice="43"),
    an_answer("05", "25", reason="insufficient_funds"),
    an_answer("51", reason="strange"),
    an_answer("91", status="failed"),
    an_answer(status="failed"),
    an_answer("51", "25", status="failed"),
    an_answer("MS02"),
    an_answer("5", status="unknown"),
    an_answer(status="unknown"),
    an_answer(status="approved"),
    an_answer("00", "25", status="approved"),
    an_answer("41"),
    an_answer("4"),
    an_answer("R1", "21"),
    an_answer("51", "3"),
    an_answer("AC04"),
    an_answer("51", category="1"),
    an_answer("51", reason="lost_or_stolen"),
]
PROPOSE = list(product(["propose"], range(3), [0, 0, 0, 1, 2, 2, 3], STEPS))
ANSWER = list(product(["answer"], range(3), MILD * 4 + ANSWERS, STEPS))
OTHER = [
    *product(["late"], range(3), ANSWERS, STEPS),
    *product(["arrive"], range(3), [None] * len(ANSWERS), STEPS),
    *product(["close"], range(3), [None] * 4, STEPS),
]
DECK = Random(1)
EVENTS = [DECK.choice(DECK.choice([PROPOSE, PROPOSE, ANSWER, OTHER])) for _ in range(5_000)]
"""Proposals by invoice and card; answers, at once or kept back until they arrive; the clock's next
step after each.
"""


@dataclass
class Run:
    """A service whose policy proposes anything, and that does what the bars let it."""

    book: RuleBook
    invoices: list[Invoice]
    now: datetime = START
    known: list[Attempt] = field(default_factory=list)
    under_way: list[Attempt] = field(default_factory=list)
    held_back: list[Attempt] = field(default_factory=list)
    own: tuple[NetworkRule, ...] = ()
    done: int = 0
    refused: int = 0

    def propose(self, which: int, with_: int) -> None:
        invoice, card = self.invoices[which], CARDS[with_]
        same = SAME[card.instrument_id]
        whens = [self.now, *self.moments(invoice, card)]
        case = Case(invoice, card, merged(self.known), frozenset(same))
        found = bars(case, self.book, np.array([micros(one) for one in whens]))
        checker = Checker(invoice, card, same, self.known)
        for place, when in enumerate(whens):
            taken = {bar.name for bar in found if not bar.allowed[place]}
            assert taken == checker.broken(list(self.book.rules), when)
        if all(bar.allowed[0] for bar in found):
            name = f"a{self.done}"
            row = a_report(
                name, self.now, "sent", invoice_id=invoice.invoice_id,
                instrument_id=card.instrument_id, amount=invoice.amount,
            )  # fmt: skip
            self.known.append(row)
            self.under_way.append(row)
            self.done += 1
        else:
            self.refused += 1

    def moments(self, invoice: Invoice, card: Instrument) -> list[datetime]:
        """Times at which what is allowed may change, of the rules that are the test's own."""
        if not self.own:
            return []
        edges = [invoice.grace_until, card.revoked_at, self.now + hours(13.25)]
        for rule in self.own:
            edges += [rule.starts_at, rule.ends_at]
            edges += [row.at + hours(rule.hours) for row in self.known[-3:]]
        return [one for one in edges if one is not None]

    def answered(self, which: int, answer: dict) -> Attempt | None:
        if not self.under_way:
            return None
        row = self.under_way[which % len(self.under_way)]
        if answer["status"] != "unknown":
            self.under_way.remove(row)
        elif any(one.attempt_id == row.attempt_id and one.status == "unknown" for one in self.all):
            return None
        return msgspec.structs.replace(row, at=self.now, **answer)

    @property
    def all(self) -> list[Attempt]:
        return self.known + self.held_back

    def answer(self, which: int, answer: dict) -> None:
        row = self.answered(which, answer)
        self.known += [row, row] if row else []

    def late(self, which: int, answer: dict) -> None:
        row = self.answered(which, answer)
        self.held_back += [row] if row else []

    def arrive(self, which: int, _: object) -> None:
        if self.held_back:
            self.known.insert(0, self.held_back.pop(which % len(self.held_back)))

    def close(self, which: int, _: object) -> None:
        if which == 2 and self.done > 1:
            self.invoices[2] = msgspec.structs.replace(self.invoices[2], closed="lapsed")


def invoices(zone: str | None) -> list[Invoice]:
    return [
        an_invoice(
            invoice_id=name,
            amount=amount,
            timezone=zone,
            country=country,
            grace_until=START + grace,
        )
        for name, amount, country, grace in (
            ("i1", 999, "NL", hours(2_000)),
            ("i2", 999, None, hours(500)),
            ("i3", 500, "BR", hours(2_000)),
        )
    ]


PROPOSALS = (
    BOOKS,
    st.sampled_from(ZONES),
    st.booleans(),
    st.lists(st.integers(0, len(EVENTS) - 1), min_size=15, max_size=60),
)


@given(*PROPOSALS)
@settings(max_examples=60, deadline=None)
def test_no_rule_in_force_is_broken_whatever_is_proposed(own, zone, built_in, events):
    happens(own, zone, built_in, events)


@pytest.mark.slow
@given(*PROPOSALS)
@settings(max_examples=600, deadline=None)
def test_no_rule_in_force_is_broken_in_many_more_tries(own, zone, built_in, events):
    happens(own, zone, built_in, events)


def happens(own, zone, built_in, events):
    book = (RuleBook.built_in() if built_in else RuleBook([])).extended(own)
    run = Run(book, invoices(zone), own=own)
    for name, *arguments, step in (EVENTS[one] for one in events):
        getattr(run, name)(*arguments)
        run.now += hours(step)
    event(f"done {min(run.done, 10) // 2 * 2} or more")
    event("some refused" if run.refused else "none refused")


@pytest.mark.parametrize(
    ("card", "tries", "through"),
    [("c2", 744, 40), ("c3", 24, 7), ("c3", 120, 35), ("c4", 300, 3)],
)
def test_a_policy_that_tries_every_hour_is_held_to_the_limits(card, tries, through):
    run = Run(RuleBook.built_in(), invoices("Europe/Amsterdam"))
    place = [one.instrument_id for one in CARDS].index(card)
    for _ in range(tries):
        run.propose(0, place)
        run.answer(0, {"status": "declined", "code": "AM04" if card == "c4" else "51"})
        run.now += hours(1)
    assert run.done == through
