"""The payments of the demonstration: renewals that fall due, and are charged as decided."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any, Literal, NamedTuple

import msgspec
import polars as pl

from matinee.console import say, working
from matinee.decisions import Decider
from matinee.demo.calendar import Calendar
from matinee.experiments.plan import Holdout
from matinee.lake.billing import Attempt, Invoice, Outage
from matinee.lake.records import Decision
from matinee.lake.rows import frame_of_records
from matinee.lake.schemas import SCHEMAS, TABLE_OF
from matinee.payments.actions import STOP, Step, hours_of, route_of, slot_at
from matinee.payments.reasons import Reasons
from matinee.service import training
from matinee.service.arms import THE_CHAMPION, Arms, Serves
from matinee.service.charging.bill import request_id
from matinee.service.charging.deciding import Nobody
from matinee.service.folder import Service
from matinee.surfaces import Payments, Request
from matinee.surfaces.payments import STEP
from matinee.world import World
from matinee.world.payments import PaymentsWorld
from matinee.world.payments_settings import CENTS, PaymentsSettings

SURFACE = Payments.name
RATES = {name: cents / (100 if name == "JPY" else 1) for name, cents in CENTS.items()}
"""What a whole unit of each currency is worth in EUR, as the world counts."""
BY = "demo"
HOLDOUT, HELD = "schedule", 0.2
"""Members who keep the fixed schedule, and their share."""
BILLED_BEFORE = timedelta(days=3)
"""How long before it is due an invoice is reported."""
LASTS, KNOWN_AFTER = timedelta(hours=20), timedelta(hours=8)
"""How long the outage lasts, and how long until somebody says that there is one."""

SAID = ("code", "category", "advice", "processor_code")
"""What an attempt has once it is answered."""

replace = msgspec.structs.replace
What = Literal["route", "answer", "left", "lapse", "outage", "told"]


@dataclass
class Bill:
    """A renewal on its way: what was tried, and how often each step was asked since then."""

    invoice: Invoice
    tried: list[Attempt] = field(default_factory=list)
    asked: Counter[tuple[int, Step]] = field(default_factory=Counter)

    def request_id(self, step: Step) -> str:
        """The id of the next request for a decision, as the job that charges names it."""
        number = len(self.tried)
        again = self.asked[number, step]
        self.asked[number, step] += 1
        return request_id(self.invoice.invoice_id, number, step, again)


class Turn(NamedTuple):
    """Something that happens at a time: turns of one time come in the order of their numbers."""

    at: datetime
    number: int
    what: What
    bill: Bill | None = None
    said: Any = None


class Billing:
    """Charges the renewals of a world as the service decides, in order of time, dated as it
    happened: what `matinee work` does where processors are real.
    """

    def __init__(self, service: Service, world: PaymentsWorld, outage_at: datetime) -> None:
        self._service, self._world = service, world
        self._numbers, self._turns = count(), list[Turn]()
        self._rows: dict[str, list[tuple[datetime, Any]]] = defaultdict(list)
        self._reasons, self._sent = Reasons.built_in(), list[tuple[datetime, str]]()
        self._begin()
        self._push(outage_at, "outage")
        for invoice in world.invoices():
            self._push(invoice.due_at, "route", Bill(invoice))

    def until(self, at: datetime) -> None:
        """Live until a time, as the service stands now, and write down what happened."""
        self._deciders: dict[Serves, Decider[Any]] = {}
        self._arms = Arms(self._service)
        self._champion = self._service.registry.alias(SURFACE, "champion")
        while self._turns and self._turns[0].at < at:
            self._take(heappop(self._turns))
        for turn in [turn for turn in self._turns if turn.what == "answer"]:  # seconds later
            self._turns.remove(turn)
            heapify(self._turns)
            self._take(turn)
        self._write()

    def _begin(self) -> None:
        """Report processors, invoices and what these may be charged to."""
        start, known = self._world.settings.start, set[str]()
        for processor in self._world.processors():
            self._note(processor, start)
        for row in self._world.rows().tolist():
            invoice = self._world.bills.invoice(row)
            told = invoice.due_at - BILLED_BEFORE
            for place in range(len(invoice.instruments)):
                card = self._world.card(row, place)
                if card.instrument_id not in known:
                    known.add(card.instrument_id)
                    self._note(card, told)
            self._note(invoice, told)
        self._write()
        self._ledger.load()
        self._surface.follow()

    @property
    def _surface(self) -> Payments:
        found = self._service.surface(SURFACE)
        assert isinstance(found, Payments)  # noqa: S101
        return found

    @property
    def _ledger(self) -> Any:
        return self._surface.ledger

    def _push(self, at: datetime, what: What, bill: Bill | None = None, said: Any = None) -> None:
        heappush(self._turns, Turn(at, next(self._numbers), what, bill, said))

    def _note(self, row: Any, known: datetime) -> None:
        """A row that is known from a time on, to the service and later to its lake."""
        self._rows[TABLE_OF[type(row)]].append((known, row))

    def _tell(self, row: Any, known: datetime) -> None:
        self._note(row, known)
        self._ledger.take(row)

    def _take(self, turn: Turn) -> None:
        match turn.what:
            case "outage":
                self._break(turn.at)
            case "told":
                self._tell(turn.said, turn.at)
            case _ if turn.bill is None or turn.bill.invoice.closed:
                return
            case "route":
                self._route(turn.bill, turn.at)
            case "answer":
                self._answered(turn.bill, turn.at, turn.said)
            case "left" | "lapse":
                self._close(turn.bill, "void" if turn.what == "left" else "lapsed", turn.at)

    def _route(self, bill: Bill, at: datetime) -> None:
        """Charge it now, or find out when else."""
        decision = self._decided(bill, "route", at)
        if not decision.actions or decision.actions[0] == STOP:
            self._when(bill, at)
            return
        processor, rank = route_of(decision.actions[0])
        card, name = bill.invoice.instruments[rank - 1], decision.decision_id
        answer = self._world.answer(
            bill.invoice.invoice_id, card, processor, at, attempt_id=name, tried=bill.tried
        )
        made = answer.attempt(bill.invoice, rank - 1, processor, name, at)
        made = replace(made, decision_id=name)
        sent = replace(made, status="sent", fee=0, penalty=0, **dict.fromkeys(SAID))
        self._tell(sent, at)
        self._sent.append((at, processor))
        then = at + timedelta(seconds=answer.latency)
        self._push(then, "answer", bill, (replace(made, at=then), answer.leaves))

    def _answered(self, bill: Bill, at: datetime, said: tuple[Attempt, bool]) -> None:
        attempt, leaves = self._reasons.noted(said[0]), said[1]
        self._tell(attempt, at)
        bill.tried.append(attempt)
        if attempt.status == "approved":
            self._close(bill, "paid", at)
            for row in self._world.settlements(attempt):
                self._push(row.at, "told", said=row)
        elif leaves:
            self._close(bill, "void", at)
        else:
            if len(bill.tried) == 1:
                invoice = bill.invoice
                self._push(self._world.leaves_at(invoice.invoice_id), "left", bill)
                self._push(invoice.grace_until, "lapse", bill)
            self._when(bill, at)

    def _when(self, bill: Bill, at: datetime) -> None:
        """Plan the next attempt, or give it up."""
        decision = self._decided(bill, "when", at)
        if not decision.actions:
            return  # nothing is open until the grace ends
        hours = hours_of(decision.actions[0])
        if hours is None:
            self._close(bill, "lapsed", at)
            return
        self._push(max(slot_at(at, hours), bill.invoice.due_at), "route", bill)

    def _close(self, bill: Bill, how: Literal["paid", "lapsed", "void"], at: datetime) -> None:
        bill.invoice = replace(bill.invoice, closed=how, closed_at=at)
        self._tell(bill.invoice, at)

    def _break(self, at: datetime) -> None:
        """The processor that most attempts of the last week went to stops working."""
        late = Counter(who for when, who in self._sent if when > at - timedelta(days=7))
        who = max(late, key=lambda name: (late[name], name), default="alder")
        ends = at + LASTS
        over = Outage(processor=who, starts_at=at, ends_at=ends, source="simulated")
        self._world = self._world.with_outage(over)
        self._push(at + KNOWN_AFTER, "told", said=replace(over, ends_at=None))
        self._push(ends, "told", said=over)

    def _decided(self, bill: Bill, step: Step, at: datetime) -> Decision:
        invoice = bill.invoice
        request = Request(
            request_id=bill.request_id(step),
            member_id=invoice.member_id,
            at=at,
            subject=invoice.invoice_id,
            country=invoice.country,
            features={STEP: step},
        )
        champion = self._champion is not None
        decider = self._decider(self._arms.of(SURFACE, request) if champion else THE_CHAMPION)
        decision = decider.propose(request)
        for row in decider.records([decision]):
            self._note(row, at)
        return decision

    def _decider(self, serves: Serves) -> Decider[Any]:
        """By the champion, an arm's version or the schedule."""
        if serves not in self._deciders:
            version = serves.version or (self._champion.id if self._champion else None)
            if version is None or serves.rule:
                version = f"{SURFACE}@fallback"
                model, policy = self._surface.fallback()
            else:
                model, policy = self._service.registry.load(version)
            self._deciders[serves] = Decider(
                self._surface,
                model,
                policy,
                version=version,
                histories=Nobody(),
                salt=self._service.salt(),
                arm=serves.arm,
            )
        return self._deciders[serves]

    def _write(self) -> None:
        for table, rows in self._rows.items():
            _write(self._service, table, rows)
        self._rows.clear()


def _write(service: Service, table: str, rows: Sequence[tuple[datetime, Any]]) -> None:
    """Put rows into the lake, each known at its time."""
    if table == "eligible":
        sets = {one.eligible: (known, one) for known, one in reversed(rows)}
        rows = list(sets.values())
    known, records = zip(*sorted(rows, key=lambda row: row[0]), strict=True)
    frame = frame_of_records(records, SCHEMAS[table], known[0])
    times = pl.Series("known_at", known, dtype=frame.schema["known_at"])
    service.lake.append(table, frame.with_columns(times), source="payments")


def learn(service: Service, as_of: datetime) -> None:
    """Learn how renewals are recovered, and let that decide, but not for all members."""
    with working("Learning payments"):
        (made,) = training.train(service, ["recovery"], surface=SURFACE, as_of=as_of, by=BY)
    reason = "learned from what the fixed schedule brought"
    service.registry.promote(SURFACE, made.id, by=BY, reason=reason)
    say(f"{made.id} ({made.model}) charges renewals: {reason}")
    held = Holdout(name=HOLDOUT, share=HELD, surface=SURFACE)
    service.trials.hold(held, BY, "what is recovered is read off beside the fixed schedule")


def world_of(world: World, days: Calendar) -> PaymentsWorld:
    """The payments of the members of a world who were there from its start."""
    billed = tuple(one for one in world.members() if one.joined_at and one.joined_at < days.start)
    return PaymentsWorld(
        PaymentsSettings(
            members=len(billed),
            billed=billed,
            days=days.days,
            seed=world.settings.seed,
            start=days.start,
            outages_a_month=0.0,
        )
    )
