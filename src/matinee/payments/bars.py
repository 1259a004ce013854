"""What may not be done, and when: the rules that take times from an instrument or a processor.

Each is asked for all candidate times at once. It answers as of each of them: windows roll on,
so that an attempt may be barred now and allowed tomorrow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from matinee.lake.billing import Instrument, Invoice, NetworkRule, Outage, Processor
from matinee.lake.records import micros
from matinee.payments.case import Case, Counted, Times
from matinee.payments.local_time import local_hours, zone_of
from matinee.payments.rules import ALWAYS, RuleBook, Term

Allowed = NDArray[np.bool_]

WORDS = {
    "card": "with the same card",
    "card_amount": "with the same card and amount",
    "invoice": "on the same invoice",
}


@dataclass(frozen=True, eq=False)
class Bar:
    """A rule that takes something away: its name, why in plain words, and what it leaves,
    bool [H].
    """

    name: str
    reason: str
    allowed: Allowed


def bars(case: Case, book: RuleBook, at: ArrayLike, planned: Sequence[int] = ()) -> list[Bar]:
    """The rules by which an instrument may not be charged for an invoice at some of the times `at`,
    int64 [H], microseconds since 1970.

    The invoice: open, none of its attempts approved or in flight, and its grace not over. The
    instrument: not revoked, not expired, no reason that is hard. The rules of the book that are in
    force at that time, counted as of it. Attempts that are `planned` with this instrument, at or
    before a time, count towards limits as if they had been declined.

    >>> from datetime import UTC, datetime, timedelta
    >>> from matinee.lake.billing import Instrument, Invoice
    >>> due = datetime(2026, 1, 1, tzinfo=UTC)
    >>> invoice = Invoice(invoice_id="i1", member_id="m1", amount=999, currency="EUR", due_at=due,
    ...                   grace_until=due + timedelta(hours=2), instruments=["c1"])
    >>> card = Instrument(instrument_id="c1", member_id="m1", kind="card", network="visa")
    >>> at = [micros(due + timedelta(hours=hours)) for hours in range(4)]
    >>> for bar in bars(Case(invoice, card), RuleBook.built_in(), at):
    ...     print(bar.name, bar.allowed.tolist(), bar.reason)
    grace [True, True, False, False] the grace period is over
    """
    times = np.asarray(at, np.int64)
    counted = Counted(case, book.reasons)
    found = (
        *_of_invoice(case, counted, times),
        *_of_instrument(case, counted, times),
        *_of_rules(counted, book, times, np.sort(np.asarray(planned, np.int64))),
    )
    return [bar for bar in found if not bar.allowed.all()]


def allowed(found: Iterable[Bar], size: int) -> Allowed:
    """What all bars leave of that many times, bool [H].

    >>> allowed([Bar("a", "", np.array([True, False])), Bar("b", "", np.array([True, True]))], 2)
    array([ True, False])
    """
    left = np.ones(size, bool)
    for bar in found:
        left &= bar.allowed
    return left


def penalty(
    case: Case, book: RuleBook, at: ArrayLike, planned: Sequence[int] = ()
) -> dict[str, NDArray[np.int64]]:
    """What networks would take for an attempt at each time, by currency: minor units, int64 [H].
    Only currencies in which something is due at one of the times.

    Of several fees of one network in one currency the dearest counts: Mastercard does not take both
    that of the day and that of the month (TabaPay, 2024; Shift4, undated).
    """
    times, plans = np.asarray(at, np.int64), np.sort(np.asarray(planned, np.int64))
    counted = Counted(case, book.reasons)
    dearest: dict[tuple[str, str], NDArray[np.int64]] = {}
    for term in book.of(case.instrument.network, case.country):
        rule = term.rule
        if rule.kind != "fee" or rule.currency is None:
            continue
        due = counted.reached(term, times, plans)
        if due is None:
            continue
        due = due & term.in_force(times)
        if due.any():
            key, fee = (rule.network, rule.currency), due * rule.fee
            dearest[key] = np.maximum(dearest[key], fee) if key in dearest else fee
    total: dict[str, NDArray[np.int64]] = {}
    for (_, currency), fee in dearest.items():
        total[currency] = total.get(currency, 0) + fee
    return total


def processor_bar(
    processor: Processor,
    invoice: Invoice,
    instrument: Instrument,
    outages: Iterable[Outage],
    at: ArrayLike,
) -> Bar | None:
    """Why a processor cannot charge an instrument for an invoice at some of the times `at`,
    int64 [H], microseconds since 1970; `None` where it always can.

    It is disabled, does not reach the currency, the country or the network, or does not work then.
    Where it lists countries and that of the invoice is not known, it does not reach it.
    """
    times = np.asarray(at, np.int64)
    lacks = _lacking(processor, invoice, instrument)
    if lacks is not None:
        name, said = lacks
        return Bar(name, f"{processor.processor} {said}", np.zeros(times.shape, bool))
    out = [one for one in outages if one.processor == processor.processor]
    if not out:
        return None
    works: Allowed = np.ones(times.shape, bool)
    for one in out:
        starts = micros(one.starts_at)
        ends = ALWAYS.max if one.ends_at is None else micros(one.ends_at)
        works &= (times < starts) | (times >= ends)
    return None if works.all() else Bar("outage", f"{processor.processor} does not work", works)


def promised(
    processors: Sequence[Processor],
    counts: Mapping[str, int],
    at: int,
    otherwise: Sequence[bool] | NDArray[np.bool_],
    slack: float = 0.1,
) -> Bar:
    """Which of P processors may be used, bool [P], so that each gets the attempts that it was
    promised this month (UTC); `counts` says how many each had, `otherwise` [P] what other rules
    leave.

    A processor is behind when it had fewer than ``least * (f - slack * (1 - f))``, where `f` is the
    part of the month that is over: it may lag by `slack` of its promise at first, and by nothing in
    the end. While one that is behind may be used otherwise, only those that are behind may be.

    >>> goldcard = Processor(processor="goldcard", currency="EUR", least=1_000)
    >>> other = Processor(processor="other", currency="EUR")
    >>> day = 24 * 3_600_000_000
    >>> promised([goldcard, other], {"goldcard": 400}, 16 * day, [True, True]).allowed.tolist()
    [True, False]
    >>> promised([goldcard, other], {"goldcard": 500}, 16 * day, [True, True]).allowed.tolist()
    [True, True]
    """
    past = _past(at)
    due = past - slack * (1 - past)
    behind = np.array([counts.get(one.processor, 0) < one.least * due for one in processors], bool)
    usable = behind & np.asarray(otherwise, bool)
    names = [one.processor for one, is_so in zip(processors, usable.tolist(), strict=True) if is_so]
    if not names:
        return Bar("promise", "no processor lags behind its promise", np.ones(len(behind), bool))
    told = f"fewer attempts than promised for this part of the month: {', '.join(names)}"
    return Bar("promise", told, behind)


def _of_invoice(case: Case, counted: Counted, at: Times) -> Iterator[Bar]:
    none = np.zeros(at.shape, bool)
    statuses = {one.status for one in counted.on_invoice}
    if case.invoice.closed is not None:
        yield Bar("closed", f"the invoice is closed: {case.invoice.closed}", none)
    if "approved" in statuses:
        yield Bar("paid", "an attempt on the invoice was approved", none)
    if statuses & {"sent", "unknown"}:
        yield Bar("in_flight", "an attempt on the invoice has no answer yet", none)
    yield Bar("grace", "the grace period is over", at < micros(case.invoice.grace_until))


def _of_instrument(case: Case, counted: Counted, at: Times) -> Iterator[Bar]:
    one = case.instrument
    if one.revoked_at is not None:
        yield Bar("mandate", "the member took the mandate back", at < micros(one.revoked_at))
    if one.expires is not None:
        month = np.datetime64(one.expires, "M") + 1
        end = int(month.astype("datetime64[us]").astype(np.int64))
        yield Bar("expired", f"the card is good to the end of {one.expires}, UTC", at < end)
    hard = sorted(word for word in counted.words() if counted.reasons.kind(word) == "hard")
    if hard:
        said = f"{' and '.join(hard)}: never again with this instrument"
        yield Bar("hard_reason", said, np.zeros(at.shape, bool))


def _of_rules(counted: Counted, book: RuleBook, at: Times, planned: Times) -> Iterator[Bar]:
    case = counted.case
    for term in book.of(case.instrument.network, case.country):
        broken = _broken(term, counted, at, planned)
        if broken is not None:
            broken &= term.in_force(at)
            if broken.any():
                yield Bar(term.rule.rule_id, _told(term.rule, case), ~broken)


def _broken(term: Term, counted: Counted, at: Times, planned: Times) -> Allowed | None:
    """Whether an attempt at each time would break a rule, in force or not; `None`: none would."""
    match term.rule.kind:
        case "limit":
            return counted.reached(term, at, planned)
        case "never" | "wait":
            answers = counted.refusals(term)
            if not answers:
                return None
            if term.rule.kind == "never" or term.window is None:
                return np.ones(at.shape, bool)
            return at < max(answers) + term.window
        case "quiet":
            return _quiet(term.rule, counted.case, at)
    return None


def _quiet(rule: NetworkRule, case: Case, at: Times) -> Allowed:
    first, last = rule.from_hour or 0, rule.to_hour or 0
    hours = local_hours(at, zone_of(case.invoice.timezone))
    quiet: Allowed = (hours - first) % 24 < (last - first) % 24
    return quiet


def _told(rule: NetworkRule, case: Case) -> str:
    network = "" if rule.network == "*" else f"{rule.network}: "
    codes = f"{rule.field} {', '.join(rule.codes)}"
    match rule.kind:
        case "never":
            return f"{network}never again after {codes}"
        case "wait":
            return f"{network}wait {rule.hours:g} hours after {codes}"
        case "limit":
            after = f" after {codes}" if rule.codes else ""
            counted = f"{rule.most} attempts in {rule.hours:g} hours{after}"
            return f"{network}no more than {counted} {WORDS[rule.per]}"
    name = case.invoice.timezone
    where = name if zone_of(name) else f"UTC, as the time zone {name or 'of the member'} is unknown"
    return f"{network}quiet from {rule.from_hour} to {rule.to_hour} o'clock in {where}"


def _lacking(
    processor: Processor, invoice: Invoice, instrument: Instrument
) -> tuple[str, str] | None:
    """What a processor lacks to charge an instrument for an invoice at all, and that in words."""
    if not processor.enabled:
        return "disabled", "is not used"
    if processor.currencies and invoice.currency not in processor.currencies:
        return "currency", f"does not charge {invoice.currency}"
    if processor.countries and invoice.country not in processor.countries:
        return "country", f"does not charge in {invoice.country or 'a country that is not known'}"
    if processor.networks and instrument.network not in processor.networks:
        return "network", f"reaches no {instrument.network}"
    return None


def _past(at: int) -> float:
    """The part of its calendar month (UTC) that is over at a time."""
    now = np.datetime64(at, "us")
    month = now.astype("datetime64[M]")
    first, last = month.astype("datetime64[us]"), (month + 1).astype("datetime64[us]")
    return float((now - first) / (last - first))
