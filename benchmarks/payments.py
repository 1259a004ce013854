"""Recovering failed renewals in the simulated world: ours, what services do without, and the best.

    python -m benchmarks.payments --seeds 10

Each seed is a world of its own. Its first days are logged by the fixed schedule with a fifth of all
choices drawn evenly; every policy learns from that log alone, and then meets the same failed
renewals of later days with the same luck. All go through the surface `payments` and its rules.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl
from scipy.stats import t as student

from matinee.decisions import Decider
from matinee.lake.billing import Attempt, Invoice
from matinee.lake.records import Decision, micros
from matinee.lake.rows import frame_of_records, records_of
from matinee.lake.schemas import SCHEMAS
from matinee.models import Cascade, Dataset, InMemory, Model, Recovery, Vocabulary
from matinee.payments.actions import hours_of, route_of, slot_at
from matinee.payments.bars import bars
from matinee.payments.ledger import Ledger
from matinee.payments.lessons import LEARNS_IN, lessons
from matinee.policies import EpsilonGreedy, Policy
from matinee.service.charging.deciding import Nobody
from matinee.service.datasets import responses_of
from matinee.surfaces import Payments, Request
from matinee.surfaces.payments import EXPLORE, WHEN
from matinee.world.approval import WORTH_LOST, Standing
from matinee.world.optimum import optimum
from matinee.world.payments import PaymentsWorld
from matinee.world.payments_settings import CENTS, PaymentsSettings
from matinee.world.recovery import Run, Step, run

RATES = {name: cents / (100 if name == "JPY" else 1) for name, cents in CENTS.items()}
MOST = 8
"""Attempts on an invoice after the first."""
LOGGED, JUDGED = 60, 10
"""Days that are logged, and days after them whose renewals are judged, to the end of their grace.
"""


class Through:
    """A model and a policy through the surface, as the simulated world asks them."""

    def __init__(
        self,
        world: PaymentsWorld,
        model: Model | None,
        policy: Policy,
        history: Sequence[Attempt] = (),
        version: str = "payments@1",
    ) -> None:
        invoices, instruments = world.invoices(), world.instruments()
        ledger = Ledger.of([*world.processors(), *instruments, *invoices, *history])
        self.surface = Payments(ledger, rates=RATES, policy=policy)
        self.ledger = ledger
        model = model or self.surface.fallback()[0]
        self.decider = Decider(
            self.surface, model, policy, version=version, histories=Nobody(), salt=b"world"
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

    def routed(self, invoice: Invoice, at: datetime) -> str | None:
        """By which route an invoice is charged the first time."""
        return self._asked(invoice, 0, 0, at, "route")

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
        self.decided(decision)
        return decision.actions[0] if decision.actions else None

    def decided(self, decision: Decision) -> None:
        """Hear of a decision."""

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
    """By the log, what share of the open bills is lost a day, with the `WORTH_LOST` that the world
    counts, and at a decline. A member who left is noticed at the next attempt.
    """
    at = done.attempts.group_by("invoice_id").agg(last=pl.col("at").max(), made=pl.len())
    rows = done.invoices.join(at, on="invoice_id")
    void = rows.filter(pl.col("closed") == "void")
    declined = void.filter(pl.col("closed_at") == pl.col("last")).height
    until = pl.when(pl.col("closed") == "void").then("closed_at").otherwise("last")
    days = rows.select((until - pl.col("due_at")).dt.total_seconds().sum()).item() / 86_400
    return {
        "fading": WORTH_LOST + (void.height - declined) / max(days, 1.0),
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
GREEDY = EpsilonGreedy(epsilon=0.0, segment=1)
OURS = EXPLORE
"""What the surface explores with."""
BASELINES: dict[str, tuple[Cascade, Policy]] = {
    "fixed schedule": (Cascade(window=0), GREEDY),
    "cascade": (Cascade(window=None), GREEDY),
    "window, hedged": (Cascade(window=125), EpsilonGreedy(epsilon=0.05, segment=4)),
}


def once(seed: int, members: int) -> tuple[dict[str, Told], float]:
    """One world: log, learn, judge; and what the best would have brought."""
    world = PaymentsWorld(PaymentsSettings(members=members, days=LOGGED + JUDGED, seed=seed))
    began = time.perf_counter()
    log = run(world, Through(world, None, LOGGER), last=LOGGED, most=MOST, default=None)
    history = records(log)
    data = learned_from(world, history)
    took = time.perf_counter() - began
    print(f"seed {seed}: {log.attempts.height:,} attempts logged, {took:.0f} s")
    policies: dict[str, tuple[Model, Policy]] = {
        **BASELINES,
        "recovery": (Recovery(most=1 + MOST, **leaving(log)), OURS),
    }
    found: dict[str, Told] = {}
    for name, (model, policy) in policies.items():
        through = Through(world, model.fit(data), policy, history)
        last = run(world, through, first=LOGGED, most=MOST)
        found[name] = told(last, through)
        print(f"  {name}: {found[name]}", flush=True)
    optimal = best(world, last)
    print(f"  the best: {optimal:.3f}", flush=True)
    return found, optimal


def told_of_all(all_of_them: Sequence[tuple[dict[str, Told], float]]) -> None:
    """Means over worlds, and the share of the gap that was closed, each with its 95 % interval."""
    for name in all_of_them[0][0]:
        each = [found[name] for found, _ in all_of_them]
        net, tries = mean_of([one.net for one in each]), mean_of([one.per_recovery for one in each])
        broken, fined = sum(one.broken for one in each), sum(one.penalties for one in each)
        print(f"{name}: {net} EUR, {tries} attempts a recovery, {broken} broken, {fined:.0f} EUR")
    closed = []
    for found, optimal in all_of_them:
        baseline = max(found[name].net for name in BASELINES)
        closed.append((found["recovery"].net - baseline) / (optimal - baseline))
    print(f"the best: {mean_of([optimal for _, optimal in all_of_them])} EUR")
    print(f"share of the gap closed: {mean_of(closed)}; each {np.round(closed, 3).tolist()}")


def mean_of(values: Sequence[float]) -> str:
    if len(values) < 2:
        return ", ".join(f"{value:.3f}" for value in values)
    half = student.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return f"{np.mean(values):.3f} ± {half:.3f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--members", type=int, default=40_000)
    given = parser.parse_args()
    told_of_all([once(given.first + n, given.members) for n in range(given.seeds)])
