"""Sending attempts: one at a time for an invoice, each charged once, whatever fails on the way.

In this order: the invoice is claimed in the store; what forbids the charge is looked at again; the
attempt is on record as *sent*, under the decision's id; the claim is stamped; the processor is
asked, with that id as idempotency key; its answer is on record; the claim goes. Whoever finds a
claim that was left on the way asks the processor what came of it before anything else is tried, and
sends the same attempt again, under the same key, only where it never arrived.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple, TypeVar

import msgspec

from matinee.lake.billing import Attempt, Instrument, Invoice
from matinee.lake.lake import Lake
from matinee.payments.actions import route_of
from matinee.payments.attempts import OPEN
from matinee.payments.reasons import Reasons
from matinee.service.charging.bill import Carry, Made, hindrance, is_ours
from matinee.service.charging.book import Book
from matinee.service.charging.claims import Claim, Claims
from matinee.service.charging.gateway import Answer, Gateway
from matinee.service.charging.reading import Key
from matinee.service.charging.settings import PaymentsSettings
from matinee.service.charging.tally import Tally

StillAllowed = Callable[[Invoice, Instrument, str, datetime, str], str | None]
"""(invoice, instrument, processor, at, attempt_id) -> why it may not be charged now, or `None`. An
attempt that never arrived is on record already when it is sent again: it is not in its own way.
"""
Row = TypeVar("Row", bound=msgspec.Struct)

NEVER_RECEIVED = "never_received"
"""The processor's code of an attempt that was given up."""

replace = msgspec.structs.replace
log = logging.getLogger("matinee.charging")


def allow(*asked: object) -> str | None:
    """Allows everything."""
    return None


def wall_clock() -> datetime:
    """Now, UTC."""
    return datetime.now(UTC)


class Terms(NamedTuple):
    """By what an attempt may be sent. `clock` is that of `Claims`."""

    settings: PaymentsSettings
    still_allowed: StillAllowed = allow
    reasons: Reasons | None = None
    now: Callable[[], datetime] = wall_clock
    clock: Callable[[], float] = time.monotonic


class Sender:
    """Carries out routes and settles what is in flight. Its methods say whether the invoice may be
    looked at again at once; otherwise it has to wait.
    """

    def __init__(
        self,
        lake: Lake,
        book: Book,
        claims: Claims,
        *,
        gateways: Mapping[str, Gateway],
        terms: Terms,
        tally: Tally,
    ) -> None:
        self._lake, self._book, self._claims = lake, book, claims
        self._gateways, self._terms, self._tally = gateways, terms, tally
        self._reasons = terms.reasons or Reasons.built_in()
        self._age = terms.settings.decision_age.delta

    def carry_out(self, key: Key, made: Made) -> bool:
        """Charge by a route, unless something has come between."""
        bill = self._book.bill(key)
        if bill is None or made.action is None:
            return True
        invoice, route = bill.invoice, route_of(made.action)
        if not 1 <= route.rank <= len(invoice.instruments):
            return self._refuse(key, made, "the invoice has no such instrument")
        attempt = Attempt(
            attempt_id=made.decision_id,
            member_id=invoice.member_id,
            invoice_id=invoice.invoice_id,
            instrument_id=invoice.instruments[route.rank - 1],
            processor=route.processor,
            status="sent",
            at=self._terms.now(),
            amount=invoice.amount,
            currency=invoice.currency,
            decision_id=made.decision_id,
        )
        claim = self._claims.take(attempt)
        if claim is None:
            return self._busy()
        try:
            if not self._stands(key, invoice, made):
                self._claims.release(claim)
                return True
            reason = self._forbidden(invoice, attempt)
            if reason is None:
                claim = claim._replace(attempt=self.write(attempt))
        except Exception:  # nothing was sent
            self._claims.release(claim)
            raise
        if reason is not None:
            self._claims.release(claim)
            return self._refuse(key, made, reason)
        return self._charge(claim)

    def resolve(self, key: Key, attempt: Attempt) -> bool:
        """Find out what came of an attempt in flight; send it again if it never arrived."""
        claim = self._claims.take(replace(attempt, status="sent"), sent=True)
        if claim is None:
            return self._busy()
        self._book.follow_inbox()
        if not self._is_awaited(key, claim):
            self._claims.release(claim)
            return True
        try:
            if attempt.processor not in self._gateways:
                raise LookupError(f"there is no gateway {attempt.processor}")
            answer = self._gateways[attempt.processor].find(attempt.attempt_id)
        except Exception as failure:  # it may be anyone's code
            return self._unknown(claim, failure)
        if answer is not None:
            return self._settle(claim, answer)
        return self._never_arrived(key, claim)

    def write(self, record: Row) -> Row:
        """Make a row durable; the one that stands."""
        (receipt,) = self._lake.put([record])
        self._book.note(receipt.record)
        return receipt.record  # type: ignore[return-value] # of the same table

    def _stands(self, key: Key, invoice: Invoice, made: Made) -> bool:
        """Whether, with all that is known inside the claim, the route is still what comes next."""
        self._book.follow_inbox()
        bill = self._book.bill(key)
        step = self._book.next_step(key, self._terms.now(), self._age)
        return bill is not None and bill.invoice == invoice and step == Carry(made)

    def _forbidden(self, invoice: Invoice, attempt: Attempt) -> str | None:
        """Why an attempt may not go out now, or `None`."""
        if attempt.processor not in self._gateways:
            return f"there is no gateway {attempt.processor}"
        instrument = self._book.instrument(attempt.member_id, attempt.instrument_id)
        if instrument is None:
            return "the instrument is not known"
        return self._terms.still_allowed(
            invoice, instrument, attempt.processor, self._terms.now(), attempt.attempt_id
        )

    def _charge(self, claim: Claim) -> bool:
        """Send an attempt that is claimed, allowed and on record."""
        attempt = claim.attempt
        instrument = self._book.instrument(attempt.member_id, attempt.instrument_id)
        if instrument is None or not self._claims.stamp(claim):
            return self._busy()
        self._tally.count("sent")
        try:
            answer = self._gateways[attempt.processor].charge(attempt, instrument)
        except Exception as failure:  # it may be anyone's code
            return self._unknown(claim, failure)
        return self._settle(claim, answer)

    def _settle(self, claim: Claim, answer: Answer) -> bool:
        """Put an answer on record, without its codes where the lake refuses them."""
        told = msgspec.structs.asdict(answer)
        try:
            self.write(self._noted(claim.attempt, **told))
        except ValueError as wrong:
            log.warning("an answer of %s stands without codes: %s", claim.attempt.processor, wrong)
            self.write(self._noted(claim.attempt, status=answer.status))
        self._claims.release(claim)
        self._tally.count(answer.status)
        return True

    def _unknown(self, claim: Claim, failure: Exception) -> bool:
        log.warning("nobody knows what came of %s: %s", claim.attempt.attempt_id, failure)
        self._claims.leave(claim)
        self._tally.count("unknown")
        if is_ours(claim.attempt):
            self.write(self._noted(claim.attempt, status="unknown"))
        return False

    def _noted(self, attempt: Attempt, **changed: object) -> Attempt:
        report = replace(attempt, at=self._terms.now(), **changed)
        return self._reasons.noted(report)

    def _is_awaited(self, key: Key, claim: Claim) -> bool:
        """Whether it matters still what came of an attempt: ours once it was sent, whatever became
        of the invoice; one of others as long as it is in the way.
        """
        bill, attempt_id = self._book.bill(key), claim.attempt.attempt_id
        known = None if bill is None else bill.attempts.get(attempt_id)
        if bill is None or known is None:
            return claim.sends > 0 and is_ours(claim.attempt)
        return known.status in OPEN and (is_ours(known) or bill.in_flight() is known)

    def _never_arrived(self, key: Key, claim: Claim) -> bool:
        """Send again what a processor never heard of, if it may be; else give it up in time."""
        reason = self._not_again(key, claim)
        if reason is None:
            return self._charge(claim._replace(attempt=self.write(claim.attempt)))
        settings = self._terms.settings
        if self._claims.passed(claim.sent_at) >= settings.abandon_after.seconds:
            return self._settle(claim, Answer(status="failed", processor_code=NEVER_RECEIVED))
        self._claims.leave(claim)
        return False

    def _not_again(self, key: Key, claim: Claim) -> str | None:
        bill, attempt = self._book.bill(key), claim.attempt
        if not is_ours(attempt):
            return "others have sent it"
        if claim.sends >= self._terms.settings.sends:
            return "it was sent often enough"
        reason = hindrance(bill, attempt, self._terms.now(), self._age)
        if reason is not None or bill is None:
            return reason
        return self._forbidden(bill.invoice, attempt)

    def _refuse(self, key: Key, made: Made, reason: str) -> bool:
        """Let another time be chosen for what may not be carried out."""
        log.info("decision %s is not carried out: %s", made.decision_id, reason)
        self._tally.refuse(reason)
        self._book.refuse(key, made.decision_id)
        return True

    def _busy(self) -> bool:
        self._tally.count("busy")
        return False
