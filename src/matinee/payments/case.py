"""An invoice, an instrument that might be charged for it, and what was tried: as rules count it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from matinee.lake.billing import Instrument, Invoice
from matinee.payments.attempts import Tried, is_on
from matinee.payments.reasons import Reasons, plain
from matinee.payments.rules import ALWAYS, Term

Times = NDArray[np.int64]


@dataclass(frozen=True)
class Case:
    """What is known when it is asked whether an instrument may be charged for an invoice.

    `tried` holds the attempts on the invoice, and all on the same card for any other invoice;
    further ones are ignored. `card` names the instruments that are that card (`same_card`); this
    one always is.
    """

    invoice: Invoice
    instrument: Instrument
    tried: Sequence[Tried] = ()
    card: frozenset[str] = frozenset()

    @property
    def country(self) -> str | None:
        """Of the issuer, or of the invoice where that is not known."""
        return self.instrument.issuer_country or self.invoice.country

    @property
    def on_invoice(self) -> list[Tried]:
        return [one for one in self.tried if is_on(one, self.invoice)]

    @property
    def on_card(self) -> list[Tried]:
        ids = self.card | {self.instrument.instrument_id}
        return [one for one in self.tried if one.held.instrument_id in ids]


def same_card(instrument: Instrument, others: Iterable[Instrument]) -> frozenset[str]:
    """The ids of the instruments that are the same card: of one fingerprint; without one only the
    instrument itself.
    """
    alike = {
        one.instrument_id
        for one in others
        if one.fingerprint is not None and one.fingerprint == instrument.fingerprint
    }
    return frozenset(alike | {instrument.instrument_id})


class Counted:
    """The attempts of a case, ready to be counted at many times.

    What a network said of a card stands until an attempt that was sent after it is approved there.
    """

    def __init__(self, case: Case, reasons: Reasons) -> None:
        self.case, self.reasons = case, reasons
        self.on_invoice, self.on_card = case.on_invoice, case.on_card
        approved = [one.sent_at for one in self.on_card if one.status == "approved"]
        since = max(approved, default=ALWAYS.min)
        self._standing = [
            one for one in self.on_card if one.status != "approved" and _answered(one) >= since
        ]
        self._said: dict[str, dict[str, list[Tried]]] = {}
        self._sent: dict[str, Times] = {}

    def reason(self, one: Tried) -> str | None:
        """The word on record for an attempt, or what the mapping reads it as."""
        return one.held.reason or self.reasons.of(one.held)

    def words(self) -> set[str]:
        """The words for what stands against the card."""
        return {word for one in self._standing if (word := self.reason(one))}

    def refusals(self, term: Term) -> list[int]:
        """When one of a rule's codes was answered on this card; `per` narrows it to the same
        amount, or to this invoice.
        """
        if term.rule.field not in self._said:
            self._said[term.rule.field] = self._by_value(term.rule.field)
        said = self._said[term.rule.field]
        found = [one for code in term.codes for one in said.get(code, ())]
        if found and term.rule.per == "invoice":
            found = [one for one in found if is_on(one, self.case.invoice)]
        if found and term.rule.per == "card_amount":
            found = [one for one in found if self._alike(one)]
        return [_answered(one) for one in found]

    def reached(self, term: Term, at: Times, planned: Times) -> NDArray[np.bool_] | None:
        """Whether a rule's `most` attempts, or one where it names none, lie in its window before
        each time [H]: what was sent exactly `hours` ago is out of it. `None`: before none of them.

        Those on the card count, or all on the invoice, charged to whatever; with codes the answers
        that were one of them. Attempts `planned`, ascending, count where there are no codes.
        """
        times = self._times(term.rule.per)
        if term.codes:
            times, planned = np.array(sorted(self.refusals(term)), np.int64), planned[:0]
        most = 1 if term.rule.most is None else term.rule.most
        if times.size + planned.size < most:
            return None
        counts = np.full(at.shape, times.size)
        if planned.size:
            counts += np.searchsorted(planned, at, "right")
        if term.window is not None:
            left = at - term.window
            counts -= np.searchsorted(times, left, "right")
            counts -= np.searchsorted(planned, left, "right")
        reached: NDArray[np.bool_] = counts >= most
        return reached

    def _times(self, per: str) -> Times:
        """When the attempts went out that count together, ascending."""
        if per not in self._sent:
            pool = self.on_invoice if per == "invoice" else self.on_card
            alike = [one for one in pool if per != "card_amount" or self._alike(one)]
            sent = [one.sent_at for one in alike if one.counts]
            self._sent[per] = np.sort(np.array(sent, np.int64))
        return self._sent[per]

    def _by_value(self, name: str) -> dict[str, list[Tried]]:
        found: dict[str, list[Tried]] = {}
        for one in self._standing:
            said = self.reason(one) if name == "reason" else getattr(one.held, name)
            if said:
                found.setdefault(plain(said), []).append(one)
        return found

    def _alike(self, one: Tried) -> bool:
        invoice = self.case.invoice
        return (one.held.amount, one.held.currency) == (invoice.amount, invoice.currency)


def _answered(one: Tried) -> int:
    return one.sent_at if one.answered_at is None else one.answered_at
