"""How a service does today: what it earned, what waits for a person, and what is unwell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from matinee.evaluation.intervals.base import Interval
from matinee.experiments.arms import Arm
from matinee.experiments.effects import compare
from matinee.experiments.sequential import AsymptoticSequence
from matinee.lake.records import micros
from matinee.lake.table import collect
from matinee.payments.lessons import is_out
from matinee.registry import Approvals
from matinee.service.folder import Service
from matinee.service.leases import Leases
from matinee.service.outcomes import counted
from matinee.surfaces import Payments, Surface

WEEK = timedelta(days=7)
STALE = timedelta(days=30)
"""Age of what a champion learned from, after which it is called stale."""
CROWNED = {"promote", "approve", "override", "roll_back"}


@dataclass(frozen=True)
class Earned:
    """What decisions of a surface brought, each on the mean, beside those of a holdout.

    Of decisions whose windows are closed: those of the last seven days, or all. `beside` is what
    the others brought less what the holdout did; it holds at every look.
    """

    decisions: int
    value: float
    holdout: str | None = None
    held: float = float("nan")
    beside: Interval | None = None


@dataclass(frozen=True)
class Standing:
    """A surface: who decides and since when, and what it earned this week and since its start."""

    surface: str
    champion: str | None
    since: datetime | None
    week: Earned
    ever: Earned


@dataclass(frozen=True)
class Note:
    """Something that a person should know: about what, what it is, and what to type."""

    about: str
    what: str
    step: str = ""


@dataclass(frozen=True)
class Today:
    """All of it, as it was known at a time."""

    at: datetime
    standings: tuple[Standing, ...]
    waiting: tuple[Note, ...]
    unwell: tuple[Note, ...]


def today(service: Service, now: datetime | None = None) -> Today:
    """Read it from the log, the registry, the experiments and the jobs."""
    at = now or datetime.now(UTC)
    return Today(
        at,
        tuple(_standing(service, surface, at) for surface in service.surfaces.values()),
        tuple(_waiting(service)),
        tuple(_unwell(service, at)),
    )


def _standing(service: Service, surface: Surface, at: datetime) -> Standing:
    champion = service.registry.alias(surface.name, "champion")
    crowned = [one for one in service.registry.history(surface.name) if one.action in CROWNED]
    rows = _rewards(service, surface, at)
    return Standing(
        surface.name,
        champion.id if champion else None,
        crowned[-1].at if crowned else None,
        _earned(service, surface, rows.filter(pl.col("decided_at") > at - WEEK)),
        _earned(service, surface, rows),
    )


def _rewards(service: Service, surface: Surface, at: datetime) -> pl.DataFrame:
    """member_id, arm, decided_at, reward of each decision that is closed; those of others, from a
    log that was imported say, aside.
    """
    outcomes = (
        service.lake.scan("outcomes")
        .filter(pl.col("surface") == surface.name, pl.col("closed_at") <= at)
        .group_by("decision_id")
        .agg(pl.col("reward").sum(), pl.col("decided_at", "member_id").first())
    )
    own = [
        *(version.id for version in service.registry.versions(surface.name)),
        *(f"{surface.name}@{name}" for name in ("fallback", *surface.holdouts())),
    ]
    decisions = service.lake.scan("decisions").filter(
        pl.col("surface") == surface.name, pl.col("policy").is_in(own)
    )
    arms = counted(decisions, surface).select("decision_id", "arm")
    both = collect(outcomes.join(arms, on="decision_id"), "outcomes")
    return both.select("member_id", "arm", "decided_at", "reward")


def _earned(service: Service, surface: Surface, rows: pl.DataFrame) -> Earned:
    value = rows["reward"].mean()
    mean = float(value) if isinstance(value, float) else float("nan")
    names = [
        *surface.holdouts(),
        *(
            one.name
            for one in service.trials.plan().holdouts
            if one.surface in {None, surface.name}
        ),
    ]
    found = [name for name in names if (rows["arm"] == name).any()]
    if not found:
        return Earned(rows.height, mean)
    name = found[0]
    members = rows.group_by("member_id", held=pl.col("arm").eq(name).fill_null(value=False)).agg(
        pl.col("reward").sum(), decisions=pl.len()
    )
    others, held = (
        Arm.of(members.filter(pl.col("held") == which).select("reward", "decisions").to_numpy())
        for which in (False, True)
    )
    sequence = AsymptoticSequence(tightest_at=service.settings.experiments.tightest_at)
    effect = compare(others, held, column=0, per=1)
    own = float(held.means[0] / held.means[1]) if held.units else float("nan")
    return Earned(rows.height, mean, name, own, sequence.read(effect)[0])


def _waiting(service: Service) -> Iterator[Note]:
    """What a person may approve."""
    approvals = Approvals(service.registry)
    for surface in service.surfaces:
        champion = service.registry.alias(surface, "champion")
        if champion is None:
            made = service.registry.versions(surface)
            if made:
                yield Note(
                    surface,
                    f"{made[-1].id} waits to be the first",
                    f"matinee promote {made[-1].id}",
                )
            continue
        for passed in approvals.passed(surface):
            step = f"matinee approve {passed.candidate} --reason '...'"
            yield Note(passed.candidate, passed.reasons[0], step)
    for reading in service.trials.won():
        step = f"matinee experiments win {reading.name} --reason '...'"
        yield Note(reading.name, reading.body["reasons"][0], step)


def _unwell(service: Service, at: datetime) -> Iterator[Note]:
    """What is not as it should be."""
    for job in Leases(service.store).statuses():
        if job.failures:
            yield Note(
                f"job {job.name}", f"failed {job.failures} times: {job.result}", "matinee work"
            )
    for surface in service.surfaces:
        champion = service.registry.alias(surface, "champion")
        if champion is not None and at - champion.data_as_of > STALE:
            days = (at - champion.data_as_of).days
            yield Note(
                champion.id, f"learned from what is {days} days old", f"matinee train {surface}"
            )
    for one in service.trials.plan().experiments:
        if one.halted:
            step = f"matinee experiments end {one.name} --reason '...'"
            yield Note(one.name, f"halted: {one.halted}", step)
    if Payments.name in service.surfaces:
        yield from _processors(service, at)
    rows = service.lake.quarantine().height
    if rows:
        yield Note("quarantine", f"{rows:,} rows were refused", "matinee quarantine")


def _processors(service: Service, at: datetime) -> Iterator[Note]:
    ledger = service.ledger
    ledger.follow()
    for name in ledger.processors:
        known = is_out([one for one in ledger.outages if one.processor == name], micros(at))
        if known or ledger.down(name, micros(at)):
            said = "an outage is known" if known else "its latest answers failed"
            yield Note(name, f"the processor does not work: {said}", "matinee payments report")
