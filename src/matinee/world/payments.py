"""A simulated world of payments with known truth. Nothing in it ever happened.

See :mod:`matinee.world.approval` for the truth's formulas.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from datetime import datetime, timedelta
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from matinee.lake.billing import Attempt, Instrument, Invoice, Outage, Processor, Settlement
from matinee.lake.records import Member
from matinee.world.answers import Answer, Answers, luck
from matinee.world.approval import DISPUTE_FEE, Charges, Standing, Truth
from matinee.world.bills import Bills
from matinee.world.declines import OF_CODE, OUTCOMES, drawn
from matinee.world.paydays import Floats
from matinee.world.payers import Payers
from matinee.world.payments_settings import CENTS, DAY, PaymentsSettings
from matinee.world.processors import (
    ISSUERS,
    PROCESSORS,
    Spans,
    issuer_spans,
    number_of,
    outage_spans,
    planned_outages,
)


class PaymentsWorld:
    """A simulated world of payments: renewals that fall due, and processors that answer.

    Members are billed every month for what they have on file, one to three cards. A renewal fails
    for want of money until the next pay-day, on an issuer's suspicion, on a dead card, or on a
    fault. Each day that a bill stays open the member may leave, and what the member would have
    brought shrinks.

    >>> world = PaymentsWorld(PaymentsSettings(members=50, days=30))
    >>> invoice = world.invoices()[0]
    >>> charge = (invoice.invoice_id, invoice.instruments[0], "alder", invoice.due_at)
    >>> world.answer(*charge, attempt_id="a1") == world.answer(*charge, attempt_id="a1")
    True
    >>> odds = world.odds(*charge)
    >>> round(sum(odds.values()), 12), list(odds)
    (1.0, ['approved', 'technical', 'issuer_down', 'dead', 'funds', 'refused'])
    """

    def __init__(self, settings: PaymentsSettings | None = None) -> None:
        self.settings = settings or PaymentsSettings()
        self.payers = Payers(self.settings)
        self.bills = Bills(self.settings, self.payers)
        self._outages = planned_outages(self.settings)
        self._issuer_outages = issuer_spans(self.settings)
        down = outage_spans(self.settings, self._outages)
        self.truth = Truth(self.settings, self.bills, down, Spans(self._issuer_outages))
        self.answers = Answers(self.settings, self.truth)
        self._given: dict[str, Answer] = {}

    def members(self) -> list[Member]:
        """The simulated members, under pseudonymous ids."""
        return self.payers.members()

    def processors(self) -> list[Processor]:
        """The processors and their fees; the first reaches everybody."""
        return list(PROCESSORS)

    def outages(self) -> list[Outage]:
        """When processors are down, in order of time: the truth, which a service has to notice."""
        return list(self._outages)

    def issuer_outages(self) -> list[tuple[str, datetime, datetime]]:
        """When issuers are down: the issuer, from when on, and from when on no longer."""
        time = self.settings.time
        return [(ISSUERS[key], time(start), time(end)) for key, start, end in self._issuer_outages]

    def invoices(self, first: int = 0, last: int | None = None) -> list[Invoice]:
        """The renewals due on days `first` to `last` - 1, in order of time."""
        return [self.bills.invoice(int(row)) for row in self.rows(first, last)]

    def instruments(self, first: int = 0, last: int | None = None) -> list[Instrument]:
        """The cards that those renewals may be charged to, each once, in the same order."""
        found: dict[str, Instrument] = {}
        for row in self.rows(first, last).tolist():
            for place in range(self.payers.cards[self.bills.member[row]]):
                card = self.card(row, place)
                found.setdefault(card.instrument_id, card)
        return list(found.values())

    def rows(self, first: int = 0, last: int | None = None) -> NDArray[np.int64]:
        """The numbers of the renewals due on days `first` to `last` - 1."""
        ends = [first * DAY, self.settings.days * DAY if last is None else last * DAY]
        return np.arange(*np.searchsorted(self.bills.due, ends))

    def card(self, row: int, place: int) -> Instrument:
        """The card in a place (from 0) among those of a renewal."""
        bills = self.bills
        return self.payers.instrument(int(bills.member[row]), place, int(bills.month[row]))

    def row(self, invoice_id: str) -> int:
        """The number of a renewal; `ValueError` if there is no such."""
        try:
            return self._rows[invoice_id]
        except KeyError:
            raise ValueError(f"the simulated service has no invoice {invoice_id!r}") from None

    @cached_property
    def _rows(self) -> Mapping[str, int]:
        return {self.bills.invoice_id(row): row for row in range(len(self.bills))}

    def place(self, row: int, instrument_id: str) -> int:
        """The place (from 0) of a card among those of a renewal; `ValueError` if it is not one."""
        member, month = int(self.bills.member[row]), int(self.bills.month[row])
        for place in range(self.payers.cards[member]):
            if self.payers.instrument_id(member, place, month) == instrument_id:
                return place
        raise ValueError(f"{instrument_id!r} is no card for invoice {self.bills.invoice_id(row)!r}")

    def standing(self, invoice_id: str, tried: Sequence[Attempt]) -> Standing:
        """How far an invoice has come by these attempts; those on other invoices are left out."""
        ours = [attempt for attempt in tried if attempt.invoice_id == invoice_id]
        soft = [a for a in ours if a.status == "declined" and a.code in OF_CODE]
        row, outcome, place, second = self.row(invoice_id), 0, 0, 0
        if soft:
            last = max(soft, key=lambda attempt: attempt.at)
            outcome, place = OF_CODE[last.code or ""], self.place(row, last.instrument_id)
            second = self.settings.seconds(last.at)
        earlier = len({attempt.attempt_id for attempt in ours})
        return Standing(*map(np.array, (row, earlier, outcome, place, second)))

    def odds(
        self,
        invoice_id: str,
        instrument_id: str,
        processor: str,
        at: datetime,
        tried: Sequence[Attempt] = (),
    ) -> dict[str, float]:
        """The true probability of each of `OUTCOMES`, if the member has not left.

        `tried` are attempts so far; those on the invoice count. Raises `ValueError` for an unknown
        invoice or processor, a card that the invoice may not be charged to, and a time without zone
        or far from the days of the world.
        """
        charge = self.charges(invoice_id, instrument_id, [processor], [at])
        odds = self.truth.odds(charge, self.standing(invoice_id, tried))[0, 0]
        return dict(zip(OUTCOMES, odds.tolist(), strict=True))

    def chance(
        self,
        invoice_id: str,
        instrument_id: str,
        processors: Sequence[str],
        at: Sequence[datetime],
        tried: Sequence[Attempt] = (),
    ) -> Floats:
        """The true probability [P, H] of approval by each processor at each time; as `odds`."""
        charge = self.charges(invoice_id, instrument_id, processors, at)
        return self.truth.odds(charge, self.standing(invoice_id, tried))[..., 0]

    def charges(
        self,
        invoice_id: str,
        instrument_id: str,
        processors: Sequence[str],
        at: Sequence[datetime],
    ) -> Charges:
        """Attempts by each of P processors at each of H times as numbers, that broadcast [P, H]."""
        row = self.row(invoice_id)
        numbers = np.array([number_of(name) for name in processors], np.int64)[:, None]
        seconds = np.array([self._second(time) for time in at], np.int64)
        return Charges(np.array(row), np.array(self.place(row, instrument_id)), numbers, seconds)

    def answer(
        self,
        invoice_id: str,
        instrument_id: str,
        processor: str,
        at: datetime,
        *,
        attempt_id: str,
        tried: Sequence[Attempt] = (),
    ) -> Answer:
        """What the processor answers to an attempt at a time; as `odds`, which it is drawn from.

        `tried` are attempts so far, on this card wherever it is on file: penalties count them. The
        draw is of (seed, attempt_id) alone. A processor asked again under the same `attempt_id`
        gives its first answer, whatever else is asked.
        """
        if attempt_id in self._given:
            return self._given[attempt_id]
        charge = self.charges(invoice_id, instrument_id, [processor], [at])
        others = [attempt for attempt in tried if attempt.attempt_id != attempt_id]
        draws = luck(self.settings.seed, "answer", [attempt_id])
        odds = self.truth.odds(charge, self.standing(invoice_id, others))
        outcome, one = drawn(odds[0], draws[:, 0])[0], Charges(*map(np.squeeze, charge))
        card = self.payers.fingerprint(instrument_id)
        same = [a for a in others if self.payers.fingerprint(a.instrument_id) == card]
        answer = self.answers.told(one, int(outcome), draws[0], same)
        self._given[attempt_id] = answer
        return answer

    def value(self, invoice_id: str, instrument_id: str, processor: str, at: datetime) -> float:
        """What it brings, in cents of EUR, to be approved at a time, net and on the mean.

        amount + worth exp(-0.01 d) - fee - P(dispute) (amount + 1500 cents), d days after it was
        due; P(dispute) = 0.002 (1 + d / 7), twice that on a card that is not the preferred one. The
        fees and penalties of attempts that failed before are not in it.
        """
        charge = self.charges(invoice_id, instrument_id, [processor], [at])
        return float(self.truth.value(charge)[0, 0])

    def leaves_at(self, invoice_id: str) -> datetime:
        """When the member leaves of their own accord if the bill is still open then.

        Exponential from when it was due, at the member's own rate a day. A service learns of it at
        once, and the invoice is void. An attempt after it is told that the mandate is revoked.
        """
        return self.settings.time(int(self.bills.leaves[self.row(invoice_id)]))

    def returns_at(self, invoice_id: str) -> datetime | None:
        """When the member comes back if the service goes off at the end of the grace, or `None`.

        With the member's own probability, on the mean 60 days later. What a member who returns
        brings is taken off the worth of an invoice already.
        """
        row = self.row(invoice_id)
        draws = luck(self.settings.seed, "returns", [invoice_id])[0]
        if draws[0] >= self.payers.returns[self.bills.member[row]]:
            return None
        wait = int(-np.log1p(-draws[1]) * 60 * DAY)
        return self.settings.time(int(self.bills.grace[row]) + wait)

    def settlements(self, attempt: Attempt) -> list[Settlement]:
        """What follows an approved attempt: a capture two days later, and perhaps a chargeback.

        By the seed and the attempt's id alone; nothing for an attempt that was not approved.
        """
        if attempt.status != "approved":
            return []
        what = attempt.invoice_id, attempt.instrument_id
        charge = self.charges(*what, [attempt.processor], [attempt.at])
        draws = luck(self.settings.seed, "settlements", [attempt.attempt_id])[0]
        days = {"capture": 2.0, "chargeback": 15.0 + 45.0 * float(draws[1])}
        if draws[0] >= self.truth.dispute(charge)[0]:
            del days["chargeback"]
        fee = round(DISPUTE_FEE / CENTS[attempt.currency])
        return [
            Settlement(
                settlement_id=f"{attempt.attempt_id}-{kind}",
                member_id=attempt.member_id,
                attempt_id=attempt.attempt_id,
                kind=kind,  # type: ignore[arg-type]
                amount=attempt.amount,
                currency=attempt.currency,
                at=attempt.at + timedelta(days=after),
                fee=fee if kind == "chargeback" else 0,
            )
            for kind, after in days.items()
        ]

    def with_outage(self, outage: Outage) -> PaymentsWorld:
        """The same world with one more outage of a processor; answers given already stand.

        >>> world = PaymentsWorld(PaymentsSettings(members=50, days=30))
        >>> invoice = world.invoices()[0]
        >>> down = Outage(processor="alder", starts_at=world.settings.start)
        >>> charge = (invoice.invoice_id, invoice.instruments[0], "alder", invoice.due_at)
        >>> [round(w.odds(*charge)["technical"], 2) for w in (world, world.with_outage(down))]
        [0.0, 0.98]
        """
        world = copy(self)
        world._outages = sorted([*self._outages, outage], key=lambda row: row.starts_at)
        world.truth = copy(self.truth)
        world.truth.outages = outage_spans(self.settings, world._outages)
        world.answers = Answers(self.settings, world.truth)
        world._given = dict(self._given)
        return world

    def _second(self, at: datetime) -> int:
        second = self.settings.seconds(at)
        if not self.truth.clock.covers(np.array(second)):
            raise ValueError(f"{at} is too far from the days of the simulated world")
        return second
