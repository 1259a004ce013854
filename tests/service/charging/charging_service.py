"""A service with invoices, a decider of its own, and clocks that tests move."""

import atexit
import random
import shutil
import tempfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from matinee.decisions.ids import decision_id
from matinee.lake.billing import Attempt, Instrument, Invoice
from matinee.lake.records import Decision
from matinee.lake.rows import records_of
from matinee.lake.schemas import SCHEMAS
from matinee.payments.actions import STOP, Route, route_id, slot_id
from matinee.payments.attempts import merged
from matinee.service.charging.charger import Charger
from matinee.service.charging.sender import Terms
from matinee.service.charging.settings import PaymentsSettings
from matinee.service.duration import Duration
from matinee.service.folder import Service

DUE = datetime(2026, 3, 1, 9, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
GRACE = DUE + 14 * DAY
PROCESSORS = ("goldcard", "uk-card", "simple")
QUICK = PaymentsSettings(ask_every=Duration("0s"))
"""Nothing is put off."""


class Clock:
    """A wall clock, and one of seconds since the machine started, that a test moves."""

    def __init__(self, at=DUE):
        self.at, self.seconds = at, 1_000.0

    def now(self):
        return self.at

    def up(self):
        return self.seconds

    def go(self, delta):
        """Let time pass."""
        self.at += delta
        self.seconds += delta.total_seconds()

    def jump(self, delta):
        """Set the wall clock, while no time passes."""
        self.at += delta


def invoice(number=1, **changed):
    told = {
        "invoice_id": f"i{number}",
        "member_id": f"m{number}",
        "amount": 999 + number,
        "currency": "EUR",
        "due_at": DUE,
        "grace_until": GRACE,
        "instruments": [f"c{number}a", f"c{number}b"],
    }
    return Invoice(**{**told, **changed})


def instruments(number=1):
    return [
        Instrument(
            instrument_id=f"c{number}{rank}", member_id=f"m{number}", kind="card", network="visa"
        )
        for rank in "ab"
    ]


def attempt(attempt_id="d1", status="sent", number=1, at=DUE, **changed):
    told = {
        "attempt_id": attempt_id,
        "member_id": f"m{number}",
        "invoice_id": f"i{number}",
        "instrument_id": f"c{number}a",
        "processor": "goldcard",
        "status": status,
        "at": at,
        "amount": 999 + number,
        "currency": "EUR",
        "decision_id": attempt_id,
    }
    return Attempt(**{**told, **changed})


def decision(request_id, member, action, at=DUE, subject=None):
    return Decision(
        decision_id=decision_id("payments", member, request_id),
        request_id=request_id,
        surface="payments",
        member_id=member,
        at=at,
        policy="payments@1",
        actions=[] if action is None else [action],
        propensities=[] if action is None else [1.0],
        propensity_kind="joint",
        eligible="all",
        removed=[],
        segment=[],
        scores=[],
        seed=1,
        subject=subject,
    )


class Decider:
    """Decides by `choose(step, invoice, rng)`; the first decision stands. `asked` are requests."""

    def __init__(self, lake, choose):
        self.lake, self.choose, self.asked = lake, choose, []

    def __call__(self, request_id, invoice, step, at):
        self.asked.append(request_id)
        rng = random.Random(f"{invoice.member_id}/{request_id}")
        action = self.choose(step, invoice, rng)
        made = decision(request_id, invoice.member_id, action, at, invoice.invoice_id)
        (receipt,) = self.lake.put([made])
        return receipt.record


def first(step, invoice, rng):
    """The preferred instrument at goldcard, and again after an hour."""
    return route_id(Route("goldcard", 1)) if step == "route" else slot_id(1)


def anywhere(step, invoice, rng):
    """Any of three processors, with any instrument; now or later, and now and then no more."""
    if step == "route":
        return route_id(Route(rng.choice(PROCESSORS), rng.randint(1, 2)))
    return STOP if rng.random() < 0.15 else slot_id(rng.choice([1, 2, 6, 24, 49]))


@cache
def _empty():
    """A service that is only copied."""
    home = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, home)
    with Service.create(home / "shows", {"lake.buckets": 2}) as made:
        assert made.store is not None
    return home / "shows"


def new_service(folder, *numbers, **changed):
    """A service with these invoices and their instruments."""
    shutil.copytree(_empty(), folder)
    service = Service.open(folder)
    records = [[*instruments(number), invoice(number, **changed)] for number in numbers]
    service.lake.put([record for one in records for record in one])
    return service


def new_charger(service, gateways, clock, choose=first, **terms):
    terms = {"settings": QUICK, "now": clock.now, "clock": clock.up, **terms}
    return Charger(service, Decider(service.lake, choose), gateways, Terms(**terms))


def closed(service):
    """How each invoice ended."""
    rows = service.lake.current("invoices")
    return dict(zip(rows["invoice_id"], rows["closed"], strict=True))


def statuses(service, invoice_id="i1"):
    """The statuses of each attempt on an invoice, in the order in which they were reported."""
    found = {}
    rows = service.lake.scan("attempts").sort("seq").collect()
    for row in rows.iter_rows(named=True):
        if row["invoice_id"] == invoice_id:
            found.setdefault(row["attempt_id"], []).append(row["status"])
    return list(found.values())


def claims_of(service):
    """The claims that stand."""
    return service.store.rows("SELECT * FROM charging_claims")


def check_truth(service, *processors):
    """At the processors every invoice was charged at most once; the lake knows of every charge, and
    of nothing else; nothing is open.
    """
    charged = Counter(name for one in processors for name in one.approved().elements())
    assert set(charged.values()) <= {1}
    reports = records_of(service.lake.scan("attempts").collect(), SCHEMAS["attempts"])
    tried = merged(reports)
    assert not [one.attempt_id for one in tried if one.in_flight]
    approved = {one.attempt_id for one in tried if one.status == "approved"}
    assert approved == {key for one in processors for key in one.approved_keys()}
    ended = closed(service)
    assert {name for name, how in ended.items() if how == "paid"} == set(charged)
    assert set(ended.values()) <= {"paid", "lapsed"}
    assert claims_of(service) == []


class Odd:
    """A gateway of someone's own, that answers always the same, or raises it."""

    def __init__(self, answer):
        self.answer, self.charged = answer, []

    def charge(self, attempt, instrument):
        self.charged.append(attempt.attempt_id)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def find(self, attempt_id):
        return self.charge(attempt(attempt_id), None)
