"""Routers that learn from what they chose themselves: generations of log, train, gate, deploy.

    python -m benchmarks.payments_generations --generations 20

A service whose champion decides on failed renewals for two weeks and logs it; a candidate trained
on all that was known before then is held against it by the gate, on that log, and follows it where
it passes; with `--deploy all` it follows whatever the gate says. Each generation meets other months
of the same members, and beside it the fixed schedule the same renewals with the same luck. Without
exploration (`--still`) the gate has to say why it refuses.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from benchmarks.payments import GREEDY, LOGGER, MOST, RATES, Through, mean_of, records
from matinee.lake.billing import Attempt
from matinee.lake.records import Decision
from matinee.lake.rows import frame_of_records
from matinee.lake.schemas import SCHEMAS
from matinee.registry import Approvals
from matinee.service import training
from matinee.service.folder import Service
from matinee.service.judging import judge
from matinee.service.outcomes import close_windows
from matinee.world.payments import PaymentsWorld
from matinee.world.payments_settings import PaymentsSettings
from matinee.world.recovery import Run, run

APART, DUE = timedelta(days=70), 14
"""How far generations lie apart, so that all windows are closed, and how many days are due."""
SHOWN = "explore by gap"
NEVER = {"surfaces.payments.gamma": 1e9, "surfaces.payments.epsilon": 0.0}


class Logged(Through):
    """The same, and what was decided, as a version that is deployed logs it."""

    def __init__(self, world: PaymentsWorld, service: Service, version: str) -> None:
        model, policy = service.registry.load(version)
        super().__init__(world, model, policy, version=version)
        self.start, self.log = world.settings.start, list[Decision]()

    def decided(self, decision: Decision) -> None:
        self.log.append(decision)

    def written(self, service: Service) -> None:
        """Put what was decided into the lake."""
        both = self.decider.records(self.log)
        sets = [one for one in both if not isinstance(one, Decision)]
        for name, rows in (("eligible", sets), ("decisions", self.log)):
            at: datetime | str = self.start if name == "eligible" else "at"
            service.lake.append(name, frame_of_records(rows, SCHEMAS[name], at), source="-")


def world_of(seed: int, members: int, generation: int, start: datetime) -> PaymentsWorld:
    first = start + generation * APART
    return PaymentsWorld(PaymentsSettings(members=members, days=DUE, seed=seed, start=first))


def written(service: Service, world: PaymentsWorld, attempts: Sequence[Attempt]) -> None:
    """Invoices, cards and attempts of a generation, each known when it was."""
    start = world.settings.start
    for name, rows, known in (
        ("invoices", world.invoices(), start),
        ("instruments", world.instruments(), start),
        ("attempts", attempts, "at"),
    ):
        service.lake.append(name, frame_of_records(rows, SCHEMAS[name], known), source="-")


def lived(given: argparse.Namespace) -> None:
    seed, members, exploring = given.seed, given.members, not given.still
    generations = 2 if given.still else given.generations
    start = (datetime.now(UTC) - (generations + 1) * APART).replace(
        hour=0, minute=0, second=0, microsecond=0
    )
    settings = {"surfaces.payments.rates": RATES, **({} if exploring else NEVER)}
    gains, verdicts = [], []
    with (
        tempfile.TemporaryDirectory() as temporary,
        Service.create(Path(temporary) / "shows", settings) as service,
    ):
        world = world_of(seed, members, 0, start)
        rows = frame_of_records(world.processors(), SCHEMAS["processors"], world.settings.start)
        service.lake.append("processors", rows, source="-")
        log = run(world, Through(world, None, LOGGER), most=MOST, default=None)
        written(service, world, records(log))
        champion = trained(service, start + APART)
        service.registry.promote("payments", champion, by="benchmark", reason="the first")
        for generation in range(1, generations + 1):
            world = world_of(seed, members, generation, start)
            candidate = trained(service, world.settings.start)
            through = Logged(world, service, champion)
            ours = run(world, through, most=MOST)
            theirs = run(world, Through(world, None, GREEDY), most=MOST)
            written(service, world, records(ours))
            through.written(service)
            gains.append(gain(ours, theirs))
            end = world.settings.start + APART
            close_windows(service, end, only="payments")
            found = judge(service, candidate, by="benchmark", now=end)
            verdicts.append(found.verdict.outcome)
            print(
                f"generation {generation}: {champion} {gains[-1]:+.2f} EUR a failed invoice beside "
                f"the schedule, {len(through.log):,} decisions; {candidate} "
                f"{found.verdict.outcome}: {'; '.join(found.verdict.reasons)}",
                flush=True,
            )
            approvals, who = Approvals(service.registry), ("payments", candidate, "benchmark")
            if found.verdict.outcome == "passes":
                approvals.approve(*who, reason="passed")
            elif given.deploy == "all":
                approvals.override(*who, reason="every one is deployed")
            else:
                continue
            champion = candidate
    half = generations // 2
    print(
        f"beside the schedule: first half {mean_of(gains[:half])}, second {mean_of(gains[half:])}"
    )
    slope = np.polyfit(range(generations), gains, 1)[0]
    print(f"a generation {slope:+.3f} EUR; passed {verdicts.count('passes')} of {generations}")


def trained(service: Service, as_of: datetime) -> str:
    (version,) = training.train(
        service, ["recovery"], surface="payments", policy=SHOWN, as_of=as_of, by="benchmark"
    )
    return version.id


def gain(ours: Run, theirs: Run) -> float:
    """EUR a failed invoice more than the other run brought."""
    both = ours.invoices.join(theirs.invoices, on="invoice_id", suffix="_other")
    return float((both["net"] - both["net_other"]).mean()) / 100  # type: ignore[arg-type]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--generations", type=int, default=20)
    parser.add_argument("--members", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--still", action="store_true", help="without exploration, two generations")
    parser.add_argument("--deploy", choices=["passed", "all"], default="passed")
    lived(parser.parse_args())
