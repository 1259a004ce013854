"""What is unwell in a service: jobs, champions, propensities, logs, experiments, processors."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import polars as pl

from matinee.errors import MatineeError
from matinee.insights.days import DAY, HOUR, WEEK
from matinee.insights.drift import Moved, drift
from matinee.insights.holding import unsealed_since
from matinee.insights.notes import Note, link
from matinee.insights.propensities import propensities
from matinee.insights.reigns import crowned
from matinee.insights.rewards import own_decisions
from matinee.lake.records import micros
from matinee.lake.table import collect
from matinee.payments.lessons import is_out
from matinee.service.folder import Service
from matinee.service.leases import Leases
from matinee.service.outcomes import GRACE, Progress
from matinee.service.trying import holdouts_of
from matinee.surfaces import Payments, Surface

STALE = timedelta(days=30)
"""Age of what a champion learned from, after which it is called stale."""
FALLBACK, ENOUGH = 0.05, 20
"""The share of a day's decisions, of so many at least, from which on the fallback is told of."""
USUAL = 4
"""On how many of seven days a surface decides for which a day without a decision is unusual."""


def unwell(service: Service, at: datetime) -> Iterator[Note]:
    """What is not as it should be, as of a time."""
    for job in Leases(service.store).statuses():
        if job.failures:
            said = f"failed {job.failures} times: {job.result}"
            yield Note(f"job {job.name}", said, "matinee work", link("/desk/data"))
    for surface in service.surfaces.values():
        yield from _of_surface(service, surface, at)
    yield from _experiments(service)
    if Payments.name in service.surfaces:
        yield from _processors(service, at)
    yield from _inbox(service, at)
    rows = service.lake.quarantine().height
    if rows:
        yield Note(
            "quarantine", f"{rows:,} rows were refused", "matinee quarantine", link("/desk/data")
        )


def _of_surface(service: Service, surface: Surface, at: datetime) -> Iterator[Note]:
    """What is unwell of one surface: its champion, its propensities, its log."""
    name, where = surface.name, link("/desk/surface", {"name": surface.name})
    champion = service.registry.alias(name, "champion")
    if champion is not None and at - champion.data_as_of > STALE:
        days = (at - champion.data_as_of).days
        said = f"learned from what is {days} days old"
        yield Note(champion.id, said, f"matinee train {name}", where)
    try:
        yield from _propensities(service, name, at)
    except MatineeError as error:
        yield Note(name, error.what, error.next_step or "", where)
    for moved in drift(service, name, at):
        yield Note(name, _moved_words(moved), "", where)
    yield from _silence(service, surface, at)


def _propensities(service: Service, surface: str, at: datetime) -> Iterator[Note]:
    found = propensities(service, surface, at)
    if found is None or not found.broken:
        return
    step = f"look at them: no verdict on {surface} can be trusted until that is mended"
    if found.wrong:
        said = (
            f"propensities of {len(found.wrong)} of the latest {found.rebuilt} decisions cannot be "
            f"rebuilt: {', '.join(found.wrong[:3])}"
        )
        yield Note(found.version, said, step, link("/desk/decision", {"id": found.wrong[0]}))
    else:
        said = f"the latest {found.tested:,} choices were not drawn as their propensities say"
        yield Note(found.version, said, step, link("/desk/log", {"policy": found.version}))


def _moved_words(moved: Moved) -> str:
    """What moved, from what to what.

    >>> from matinee.insights.drift import Value
    >>> _moved_words(Moved("country", (Value("NL", 0.1, 0.2),), 0.1))
    'country in the last week, beside the four before: NL from 10.0% to 20.0%'
    >>> _moved_words(Moved("volume", (Value("volume", 200.0, 100.0),), 0.5))
    'decisions a day in the last week, beside the four before: from 200 to 100'
    """
    when = "in the last week, beside the four before"
    if moved.what in {"reward", "volume"}:
        what = {"reward": "the mean reward of a decision", "volume": "decisions a day"}[moved.what]
        (one,) = moved.values
        return f"{what} {when}: from {one.before:.4g} to {one.now:.4g}"
    what = "what is shown" if moved.what == "action" else moved.what
    told = (f"{one.name} from {one.before:.1%} to {one.now:.1%}" for one in moved.values)
    return f"{what} {when}: {', '.join(told)}"


def _silence(service: Service, surface: Surface, at: datetime) -> Iterator[Note]:
    """No decision for a day, none that closes, or too many of the fallback."""
    name, where = surface.name, link("/desk/surface", {"name": surface.name})
    rows = own_decisions(service, surface).filter(pl.col("at") <= at)
    columns = ["decision_id", "at", "seq", "policy", "arm"]
    slots = pl.col("actions").list.len()
    made = collect(rows.select(*columns, slots=slots), "decisions")
    last = made["at"].max()
    if not isinstance(last, datetime):
        return
    if at - last > DAY and _daily(made["at"], last):
        yield Note(name, f"no decision for {_for(at - last)}", "matinee serve", where)
    due = made.filter(
        pl.col("seq") > Progress(service.store).of(name),
        pl.col("at") < at - surface.window - GRACE - HOUR,
        pl.col("slots") > 0,
    )
    if due.height:  # those behind one that is still open may be written
        told = service.lake.scan("outcomes").filter(pl.col("surface") == name)
        written = collect(told.select("decision_id"), "outcomes")
        due = due.join(written, on="decision_id", how="anti")
    if due.height:
        said = f"{due.height:,} decisions are over, and what came of them is not written"
        yield Note(name, said, "matinee work --once", where)
    others = made.filter(pl.col("policy") != f"{name}@fallback")["at"]
    could = [*(one.at for one in crowned(service, name)), *others.sort().head(1)]
    if could and min(could) <= at:  # before, nobody else could decide
        since = max(at - DAY, min(could))
        yield from _fallback(service, surface, made.filter(pl.col("at") >= since))


def _daily(times: pl.Series, last: datetime) -> bool:
    """Whether a surface decided on most days of the week until its last decision."""
    return times.filter(times > last - WEEK).dt.date().n_unique() >= USUAL


def _for(time: timedelta) -> str:
    """
    >>> _for(timedelta(hours=30)), _for(timedelta(days=3, hours=2))
    ('30 hours', '3 days')
    """
    return f"{time // HOUR} hours" if time < 2 * DAY else f"{time.days} days"


def _fallback(service: Service, surface: Surface, made: pl.DataFrame) -> Iterator[Note]:
    """Whether the fallback decides too often where a champion should."""
    if service.registry.alias(surface.name, "champion") is None:
        return
    free = made.filter(~pl.col("arm").is_in(holdouts_of(service, surface)).fill_null(value=False))
    often = free.filter(pl.col("policy") == f"{surface.name}@fallback").height
    if free.height >= ENOUGH and often > FALLBACK * free.height:
        said = f"the fallback made {often / free.height:.0%} of the last day's decisions"
        step = "see whether the champion fails, or is too slow"
        yield Note(surface.name, said, step, link("/desk/surface", {"name": surface.name}))


def _experiments(service: Service) -> Iterator[Note]:
    """What is halted, or was not run as it was planned."""
    for one in service.trials.plan().experiments:
        latest = service.trials.latest(one.name)
        broken = latest is not None and latest.reason == "broken"
        said = latest.body["reasons"][0] if latest and broken else f"halted: {one.halted}"
        if one.halted or broken:
            step = f"matinee experiments end {one.name} --reason '...'"
            yield Note(
                one.name,
                said,
                step,
                link("/desk/experiment", {"name": one.name}),
                ("end", one.name),
            )


def _inbox(service: Service, at: datetime) -> Iterator[Note]:
    """Whether rows wait in the inbox longer than they should."""
    for name, table in service.lake.tables.items():
        since = unsealed_since(table, table.files.snapshot().watermark)
        if since is not None and at - since > HOUR:
            said = f"rows wait to be sealed, the oldest for {_for(at - since)}"
            yield Note(name, said, "matinee work", link("/desk/data"))


def _processors(service: Service, at: datetime) -> Iterator[Note]:
    ledger = service.ledger
    ledger.follow()
    for name in ledger.processors:
        known = is_out([one for one in ledger.outages if one.processor == name], micros(at))
        if known or ledger.down(name, micros(at)):
            said = "an outage is known" if known else "its latest answers failed"
            said = f"the processor does not work: {said}"
            yield Note(name, said, "matinee payments report", link("/desk/payments"))
