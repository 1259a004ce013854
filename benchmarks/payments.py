"""Recovering failed renewals in the simulated world: ours, what services do without, and the best.

    python -m benchmarks.payments --seeds 10

Each seed is a world of its own. Its first days are logged by the fixed schedule with a fifth of all
choices drawn evenly; every policy learns from that log alone, and then meets the same failed
renewals of later days with the same luck. All go through the surface `payments` and its rules.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from matinee.decisions import Decider
from matinee.lake.billing import Attempt, Invoice
from matinee.lake.records import micros
from matinee.lake.rows import frame_of_records, records_of
from matinee.lake.schemas import SCHEMAS
from matinee.models import Cascade, Dataset, InMemory, Model, Recovery, Vocabulary
from matinee.payments.actions import hours_of, route_of, slot_at
from matinee.payments.bars import bars
from matinee.payments.ledger import Ledger
from matinee.payments.lessons import LEARNS_IN, lessons
from matinee.policies import EpsilonGreedy, InverseGap, Policy
from matinee.service.charging.deciding import Nobody
from matinee.service.datasets import responses_of
from matinee.surfaces import Payments, Request
from matinee.surfaces.payments import WHEN
from matinee.world.approval import Standing
from matinee.world.optimum import optimum
from matinee.world.payments import PaymentsWorld
from matinee.world.payments_settings import CENTS, PaymentsSettings
from matinee.world.recovery import Run, Step, run

RATES = {name: cents / (100 if name == "JPY" else 1) for name, cents in CENTS.items()}
MOST = 8
"""Attempts on an invoice after the first."""
LOGGED, JUDGED = 60, 60
"""Days that are logged, and days after them that are judged."""


class Through:
    """A model and a policy through the surface, as the simulated world asks them."""

    def __init__(self, world: PaymentsWorld, model: Model | None, policy: Policy) -> None:
        invoices, instruments = world.invoices(), world.instruments()
        ledger = Ledger.of([*world.processors(), *instruments, *invoices])
        self.surface = Payments(ledger, rates=RATES, policy=policy)
        self.ledger = ledger
        model = model or self.surface.fallback()[0]
        self.decider = Decider(
            self.surface, model, policy, version="payments@1", histories=Nobody(), salt=b"world"
        )
        self.broken, self.decisions, self.seconds = 0, 0, 0.0

    def next(
        self, invoice: Invoice, tried: Sequence[Attempt], now: datetime, rng: np.random.Generator
    ) -> Step | None:
        at = now + timedelta(seconds=1)
        for turn in range(3):  # a slot in which nobody can charge it is followed by another
            chosen = self._asked(invoice, len(tried), turn, at, "when")
            hours = hours_of(chosen) if chosen else None
            if hours is None:
                return None
            at = slot_at(at, hours)
            route = self._asked(invoice, len(tried), turn, at, "route")
            if route:
                processor, rank = route_of(route)
                self._check(invoice, rank, at)
                return Step(at, processor, rank)
        return None

    def saw(self, attempt: Attempt) -> None:
        self.ledger.take(attempt)

    def _asked(
        self, invoice: Invoice, number: int, turn: int, at: datetime, step: str
    ) -> str | None:
        request = Request(
            request_id=f"{invoice.invoice_id}:{number}:{turn}:{step}",
            member_id=invoice.member_id,
            at=at,
            subject=invoice.invoice_id,
            country=invoice.country,
            features={"step": step},
        )
        began = time.perf_counter()
        decision = self.decider.propose(request)
        self.seconds += time.perf_counter() - began
        self.decisions += 1
        return decision.actions[0] if decision.actions else None

    def _check(self, invoice: Invoice, rank: int, at: datetime) -> None:
        account = self.ledger.account(invoice.member_id, invoice.invoice_id)
        assert account is not None
        case = account.cases[rank - 1]
        assert case is not None
        self.broken += bool(bars(case, self.surface.book, [micros(at)]))


def tables(world: PaymentsWorld, attempts: Sequence[Attempt]) -> dict[str, pl.LazyFrame]:
    """A log as the lake would hold it."""
    rows = {
        "invoices": world.invoices(),
        "instruments": world.instruments(),
        "attempts": attempts,
        "outages": world.outages(),
        "decisions": [],
    }
    at = world.settings.start
    return {
        name: frame_of_records(rows[name], SCHEMAS[name], at)
        .with_columns(seq=pl.int_range(pl.len(), dtype=pl.Int64))
        .lazy()
        for name in LEARNS_IN
    }


def learned_from(world: PaymentsWorld, attempts: Sequence[Attempt]) -> Dataset:
    """What models learn from a log."""
    rows = lessons(tables(world, attempts))
    routes = [f"{one.processor}/{rank}" for one in world.processors() for rank in (1, 2, 3)]
    actions = Vocabulary(sorted({*routes, *WHEN.ids}))
    as_of = int(rows["at"].dt.epoch("us").max()) + 1  # type: ignore[arg-type]
    return Dataset(actions, [], as_of, responses=[InMemory(responses_of(rows, actions))])


def leaving(done: Run) -> dict[str, float]:
    """How many of those whose bill is open leave a day, and how many at a decline: by the log."""
    at = done.attempts.group_by("invoice_id").agg(last=pl.col("at").max(), made=pl.len())
    rows = done.invoices.join(at, on="invoice_id")
    void = rows.filter(pl.col("closed") == "void")
    declined = void.filter(pl.col("closed_at") == pl.col("last")).height
    days = (rows["closed_at"] - rows["due_at"]).dt.total_seconds().sum() / 86_400
    return {
        "fading": (void.height - declined) / max(days, 1.0),
        "annoyed": declined / max(int(rows["made"].sum()), 1),
    }


def records(done: Run) -> list[Attempt]:
    """The attempts of a run."""
    return records_of(done.attempts, SCHEMAS["attempts"])


@dataclass(frozen=True)
class Told:
    """What a policy did with the failed renewals of a world."""

    net: float
    recovered: float
    attempts: float
    per_recovery: float
    penalties: float
    broken: int
    milliseconds: float


def told(done: Run, through: Through | None = None) -> Told:
    failed = done.invoices
    paid = int((failed["closed"] == "paid").sum())
    return Told(
        float(failed["net"].mean()) / 100,  # type: ignore[arg-type]
        paid / failed.height,
        float(failed["attempts"].mean()),  # type: ignore[arg-type]
        int(failed["attempts"].sum()) / max(paid, 1),
        float(failed["penalties"].sum()) / 100,
        through.broken if through else 0,
        1000 * through.seconds / max(through.decisions, 1) if through else 0.0,
    )


def best(world: PaymentsWorld, done: Run) -> float:
    """What the best plan that knows the truth brings for the failed renewals of a run, EUR each."""
    failed = set(done.invoices["invoice_id"])
    first: dict[str, Attempt] = {}
    for attempt in records(done):
        first.setdefault(attempt.invoice_id, attempt)
    mine = [first[one] for one in sorted(failed)]
    each = [world.standing(one.invoice_id, [one]) for one in mine]
    parts = [[int(part) for part in one] for one in each]
    standing = Standing(*np.array(parts).T)
    now = np.array([world.settings.seconds(one.at) for one in mine])
    return float(optimum(world.truth, standing, now, MOST).value.mean()) / 100


LOGGER = EpsilonGreedy(epsilon=0.2, segment=120)
OURS: dict[str, Policy] = {
    "recovery, best first": EpsilonGreedy(epsilon=0.0, segment=1),
    "recovery": InverseGap(gamma=500.0, epsilon=0.02, segment=48),
}
BASELINES: dict[str, tuple[Cascade, Policy]] = {
    "fixed schedule": (Cascade(window=0), EpsilonGreedy(epsilon=0.0, segment=1)),
    "cascade": (Cascade(window=None), EpsilonGreedy(epsilon=0.0, segment=1)),
    "window, hedged": (Cascade(window=125), EpsilonGreedy(epsilon=0.05, segment=4)),
}


def once(seed: int, members: int, say: Any = print) -> dict[str, Told]:
    """One world: log, learn, judge."""
    world = PaymentsWorld(PaymentsSettings(members=members, days=LOGGED + JUDGED, seed=seed))
    began = time.perf_counter()
    log = run(world, Through(world, None, LOGGER), last=LOGGED, most=MOST, default=None)
    data = learned_from(world, records(log))
    took = time.perf_counter() - began
    say(f"seed {seed}: {log.attempts.height:,} attempts logged, {took:.0f} s")
    found: dict[str, Told] = {}
    for name, (model, policy) in BASELINES.items():
        through = Through(world, model.fit(data), policy)
        last = run(world, through, first=LOGGED, most=MOST)
        found[name] = told(last, through)
        say(f"  {name}: {found[name]}")
    say(f"  the best: {best(world, last):.3f}")
    ours = Recovery(most=1 + MOST, **leaving(log)).fit(data)
    say(f"  by the log: {leaving(log)}")
    for name, policy in OURS.items():
        through = Through(world, ours, policy)
        found[name] = told(run(world, through, first=LOGGED, most=MOST), through)
        say(f"  {name}: {found[name]}")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--members", type=int, default=4_000)
    given = parser.parse_args()
    for seed in range(given.first, given.first + given.seeds):
        once(seed, given.members)
        sys.stdout.flush()
