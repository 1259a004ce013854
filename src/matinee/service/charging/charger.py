"""Charging what is due, round after round."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from queue import Empty, SimpleQueue

import msgspec

from matinee.lake.billing import Attempt, Invoice
from matinee.lake.records import Decision
from matinee.payments.actions import Step
from matinee.service.charging.bill import Ask, Carry, Close, Done, Resolve, Wait
from matinee.service.charging.book import Book
from matinee.service.charging.claims import LEASE_SECONDS, Claims
from matinee.service.charging.gateway import Gateway
from matinee.service.charging.reading import Key, key_of
from matinee.service.charging.sender import Sender, Terms
from matinee.service.charging.tally import Charged, Tally
from matinee.service.folder import Service
from matinee.service.forgetting import tombstones

Decide = Callable[[str, Invoice, Step, datetime], Decision]
"""(request_id, invoice, step, at) -> the durable decision; the same again for the same request."""
Work = SimpleQueue[tuple[Key, Attempt | None]]

STEPS = 6
"""The most that is done about one invoice in a round."""
LONGEST = 600.0
"""Seconds that an invoice is put off at most when something goes wrong with it."""

log = logging.getLogger("matinee.charging")


class Charger:
    """Carries out decisions on the invoices of a service. Several may run at once, in any process.

    `decide` and what the terms hold are called from several threads. By the wall clock of the terms
    invoices are due and grace ends; only by the other one, which nobody sets, does an attempt grow
    old enough to be given up. An invoice is charged at most once as long as processors keep their
    word about keys (`Gateway`), and what was sent arrives within `abandon_after` or never.
    """

    def __init__(
        self,
        service: Service,
        decide: Decide,
        gateways: Mapping[str, Gateway],
        terms: Terms | None = None,
    ) -> None:
        terms = terms or Terms(service.settings.payments)
        self._decide, self._settings = decide, terms.settings
        self._now, self._clock = terms.now, terms.clock
        lease = LEASE_SECONDS + 2 * terms.settings.timeout.seconds
        self._claims = Claims(service.store, lease, terms.clock)
        self._book = Book(service.lake, lambda: tombstones(service.store))
        self._tally = Tally()
        self._sender = Sender(
            service.lake,
            self._book,
            self._claims,
            gateways=gateways,
            terms=terms,
            tally=self._tally,
        )
        self._later: dict[Key, tuple[float, float]] = {}
        self._told: set[str] = set()

    def charge_due(self) -> Charged:
        """One round: settle what is in flight, then charge what is due.

        New work is begun for `settings.round` and no longer; a charge under way is waited for.
        """
        self._told.clear()
        self._book.follow()
        work = self._work()
        threads = min(self._settings.concurrency, work.qsize())
        if threads:
            until = time.monotonic() + self._settings.round.seconds
            with ThreadPoolExecutor(threads, "charging") as pool:
                list(pool.map(lambda _: self._run(work, until), range(threads)))
        for bill in self._book.twice():
            attempts = ", ".join(attempt.attempt_id for attempt in bill.approved())
            log.error("invoice %s was charged twice: %s", bill.invoice.invoice_id, attempts)
            self._tally.count("twice")
        return self._tally.charged(in_flight=self._book.in_flight(), open_=len(self._book))

    def _work(self) -> Work:
        """The invoices to look at, each once: with an attempt that a scheduler left behind, put off
        for long enough, or due or changed.
        """
        left = {key_of(claim.attempt): claim.attempt for claim in self._claims.unheld()}
        due = dict.fromkeys(self._book.due(self._now()))
        work = Work()
        for key in dict.fromkeys([*left, *self._later, *due]):
            if key in due or self._later.get(key, (0.0, 0.0))[0] <= self._clock():
                work.put((key, left.get(key)))
        return work

    def _run(self, work: Work, until: float) -> None:
        while True:
            try:
                key, left = work.get_nowait()
            except Empty:
                return
            if time.monotonic() > until:
                self._book.wait(key)
                self._tally.count("left")
                continue
            try:
                go_on = self._look(key, left)
            except Exception as failure:  # the other invoices go on
                self._complain(failure)
                go_on = False
            if go_on:
                self._later.pop(key, None)
            else:
                self._put_off(key)

    def _look(self, key: Key, left: Attempt | None) -> bool:
        """Do what an invoice needs, first about the attempt that was `left`; false where something
        is in the way, so that it has to be put off.
        """
        go_on = left is None or self._sender.resolve(key, left)
        for _ in range(STEPS):
            if not go_on:
                return False
            match self._book.next_step(key, self._now(), self._settings.decision_age.delta):
                case Wait(until):
                    self._book.wait(key, until)
                    return True
                case Done():
                    return True
                case Ask(request_id, step):
                    self._ask(key, request_id, step)
                case Close(how, at):
                    self._close(key, how, at)
                case Resolve(attempt):
                    go_on = self._sender.resolve(key, attempt)
                case Carry(made):
                    go_on = self._sender.carry_out(key, made)
        log.error("the decisions on invoice %s go in circles", key[1])
        return False

    def _ask(self, key: Key, request_id: str, step: Step) -> None:
        if bill := self._book.bill(key):
            self._book.note(self._decide(request_id, bill.invoice, step, self._now()))
            self._tally.count("asked")

    def _close(self, key: Key, how: str, at: datetime) -> None:
        if bill := self._book.bill(key):
            closed = msgspec.structs.replace(bill.invoice, closed=how, closed_at=at)
            self._sender.write(closed)
            self._tally.count(how)

    def _complain(self, failure: Exception) -> None:
        """Count what went wrong, and tell it once a round."""
        self._tally.count("errors")
        if str(failure) not in self._told:
            self._told.add(str(failure))
            log.error("an invoice is looked at again later: %s", failure, exc_info=failure)

    def _put_off(self, key: Key) -> None:
        """Look at an invoice later, each time twice as long, whatever this look has changed."""
        self._book.rest(key)
        _, before = self._later.get(key, (0.0, 0.0))
        delay = min(2 * before or float(self._settings.ask_every.seconds), LONGEST)
        self._later[key] = self._clock() + delay, delay
