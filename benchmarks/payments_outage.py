"""The best processor fails in a billing run: how long until it is left, and taken back.

    python -m benchmarks.payments_outage --seeds 5

The renewals of one day go out in an hour, evenly, each by the route that the champion decides on
when it is due; a fifth into it the processor that takes most of them stops working, for twenty
minutes. What failed is tried again as the champion plans. Beside it the same day with the same luck
and no outage. Nobody tells the service of it: it has the answers alone.

Then two champions are trained, on the log with the outage and on that without, and asked about the
same renewals: how far their chances of approval by that processor lie apart, and how far those of a
model that takes failures for declines do.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

import msgspec
import numpy as np

from benchmarks.payments import (
    LOGGED,
    LOGGER,
    MOST,
    OURS,
    Through,
    learned_from,
    leaving,
    records,
)
from matinee.lake.billing import Attempt, Invoice, Outage
from matinee.lake.records import micros
from matinee.models import Recovery
from matinee.payments.actions import route_of
from matinee.payments.facts import Facts
from matinee.world.payments import PaymentsWorld
from matinee.world.payments_settings import PaymentsSettings
from matinee.world.recovery import run

HOUR, BEGINS, LASTS = timedelta(hours=1), timedelta(minutes=12), timedelta(minutes=20)
PEAK = 18
"""O'clock, UTC, on the day after the log."""


@dataclass
class Day:
    """What became of the renewals of the day: who was asked first, and what was paid."""

    first: list[Attempt]
    made: list[Attempt]
    paid: set[str]


def lived(world: PaymentsWorld, through: Through, due: Sequence[Invoice], start: datetime) -> Day:
    """Charge every renewal when its turn comes, and what fails as the policy plans, in order of
    time.
    """
    day, rng = Day([], [], set()), np.random.default_rng(0)
    turns = [(start + HOUR * n / len(due), n, invoice, None) for n, invoice in enumerate(due)]
    tried: dict[str, list[Attempt]] = {}
    while turns:
        at, number, invoice, step = turns.pop(0)
        mine = tried.setdefault(invoice.invoice_id, [])
        if world.leaves_at(invoice.invoice_id) <= at:
            continue
        if step is None:
            route = through.routed(invoice, at)
            if route is None:
                continue
            processor, rank = route_of(route)
        else:
            processor, rank = step.processor, step.rank
        name, card = f"{invoice.invoice_id}-{len(mine) + 1}", invoice.instruments[rank - 1]
        answer = world.answer(invoice.invoice_id, card, processor, at, attempt_id=name, tried=mine)
        attempt = answer.attempt(invoice, rank - 1, processor, name, at)
        through.saw(attempt)
        mine.append(attempt)
        day.made.append(attempt)
        if step is None:
            day.first.append(attempt)
        if attempt.status == "approved":
            day.paid.add(invoice.invoice_id)
        elif not answer.leaves and len(mine) <= MOST:
            following = through.next(invoice, mine, attempt.at, rng)
            if following:
                turns.append((following.at, number, invoice, following))
                turns.sort(key=lambda turn: turn[:2])
    return day


def once(seed: int, members: int) -> None:
    world = PaymentsWorld(PaymentsSettings(members=members, days=LOGGED + 40, seed=seed))
    log = run(world, Through(world, None, LOGGER), last=LOGGED, most=MOST, default=None)
    history = records(log)
    model = Recovery(most=1 + MOST, **leaving(log)).fit(learned_from(world, history))
    due = world.invoices(LOGGED, LOGGED + 1)
    start = world.settings.start + timedelta(days=LOGGED, hours=PEAK)
    due = [msgspec.structs.replace(one, due_at=start) for one in due]

    def through(where: PaymentsWorld) -> Through:
        found = Through(where, model, OURS, history)
        for invoice in due:
            found.ledger.take(invoice)
        return found

    usual = lived(world, through(world), due, start)
    best = Counter(one.processor for one in usual.first).most_common(1)[0][0]
    begins = start + BEGINS
    outage = Outage(processor=best, starts_at=begins, ends_at=begins + LASTS, source="simulated")
    broken = PaymentsWorld(world.settings).with_outage(outage)  # which gave no answers yet
    day = lived(broken, through(broken), due, start)
    found = Found(outage, usual, day)
    print(f"seed {seed}: {found.told(len(due))}", flush=True)
    harmed(world, history, found)


@dataclass
class Found:
    """A day with an outage, and the same without."""

    outage: Outage
    usual: Day
    day: Day

    def told(self, due: int) -> str:
        best, begins, ends = self.outage.processor, self.outage.starts_at, self.outage.ends_at
        assert ends is not None
        mine = [one.at for one in self.day.first if one.processor == best]
        share = sum(one.processor == best for one in self.usual.first) / due
        inside = [at for at in mine if begins <= at < ends]
        # Left: at the first pause of more than a minute; what comes after it are probes.
        pauses = (at for at, then in pairwise(inside) if then - at > timedelta(minutes=1))
        gone = next(pauses, inside[-1] if inside else ends)
        # Back: at the first of five attempts that lie at most three times as far apart as usual.
        after, usually = [at for at in mine if at >= ends], 12 * HOUR / due / share
        back = next((at for at, n in zip(after, after[4:], strict=False) if n - at < usually), None)
        waited = (back - ends).total_seconds() if back else float("nan")
        asked, probes = sum(at <= gone for at in inside), sum(at > gone for at in inside)
        paid, without = self.day.paid, self.usual.paid
        return (
            f"{due} renewals in an hour, {share:.0%} by {best}; left after "
            f"{(gone - begins).total_seconds():.0f} s and {asked} attempts, {probes} probes; back "
            f"{waited:.0f} s after its end; {len(paid)} paid, {len(without)} without an outage "
            f"({len(without - paid)} lost, {len(paid - without)} won)"
        )


def harmed(world: PaymentsWorld, history: Sequence[Attempt], found: Found) -> None:
    """How far chances lie apart, of models that saw the outage and of one that did not."""
    best, begins = found.outage.processor, found.outage.starts_at
    declined = [
        msgspec.structs.replace(one, status="declined", code="05")
        if one.status == "failed" and one.processor == best and one.at >= begins
        else one
        for one in found.day.made
    ]
    models = [
        Recovery(most=1 + MOST).fit(learned_from(world, [*history, *made]))
        for made in (found.usual.made, found.day.made, declined)
    ]
    cards = {one.instrument_id: one for one in world.instruments(LOGGED + 1, LOGGED + 3)}
    asked = [
        Facts.of("route", micros(one.due_at), one, list(map(cards.get, one.instruments)))
        for one in world.invoices(LOGGED + 1, LOGGED + 3)
    ]
    chances = np.array([[chance_of(model, one, best) for one in asked] for model in models])
    apart = np.abs(chances[1:] - chances[0]).mean(axis=1)
    less = (chances[1:] - chances[0]).mean(axis=1)
    print(
        f"  the next model: chances by {best} {apart[0]:.4f} apart from those without an outage "
        f"({less[0]:+.4f}); had failures been taken for declines {apart[1]:.4f} ({less[1]:+.4f})",
        flush=True,
    )


def chance_of(model: Recovery, facts: Facts, processor: str) -> float:
    """Of approval of the preferred card, now."""
    place = int(model.approval.titles.encode([processor])[0])
    return float(model.approvals(facts)[0, place])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--members", type=int, default=20_000)
    given = parser.parse_args()
    for seed in range(given.first, given.first + given.seeds):
        once(seed, given.members)
