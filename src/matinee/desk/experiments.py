"""Experiments: lines of text, and the pages that show them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from math import isfinite
from typing import Any, NamedTuple

from matinee.console import say, show
from matinee.desk.kept import LOOK_AGAIN
from matinee.desk.numbers import between, figure, figure_signed
from matinee.desk.views import NotFoundError, Query, View, anew, kept, once
from matinee.errors import MatineeError
from matinee.evaluation import plots
from matinee.experiments.plan import Experiment
from matinee.registry.trials import Step
from matinee.service.changes import ACTIONS, Name
from matinee.service.folder import Service
from matinee.service.readings import Guardrail, Metric, Reading, Secondary, Treated, on_record, read
from matinee.service.trying import Trying, state_of, trying

ARMS = ("arm", "serves", "planned", "members", "all decisions")
METRICS = ("of a member", "control", "treatment", "difference", "of the control's", "variance less")
SECONDARY = ("metric", "control", "treatment", "difference")
GUARDRAILS = ("of a member", "may fall by", "that is", "difference", "left until then", "")
SEGMENTS = ("country", "difference in the first metric", "")
STATES = {
    "breached": "falls by more",
    "kept": "does not fall by more",
    "open": "not shown yet",
}
SIGNED, SHARE = figure_signed, "{:+.1%}".format
HALTED = "resume it, or end it: all its members have the champion now"
SOON = 0.1
"""Seconds that a page waits for what an experiment shows now, where a reading is on record."""


def state_said(one: Experiment, now: datetime) -> str:
    """Whether it is to come, runs, is halted, or is over, in words."""
    state = state_of(one, now)
    if state == "over":
        return f"over since {one.until:%Y-%m-%d %H:%M}"
    if state == "halted":
        return f"halted: {one.halted}"
    return "runs" if state == "runs" else f"from {one.start:%Y-%m-%d %H:%M}"


class Table(NamedTuple):
    """What stands in a table, and what is said of it."""

    title: str
    heads: tuple[str, ...]
    lines: list[tuple[str, ...]]
    note: str


class Plot(NamedTuple):
    """An SVG with its caption."""

    caption: str
    svg: str


def show_reading(found: Reading) -> None:
    """Print all of it."""
    say(f"{found.experiment.name}: {found.outcome}", "bold")
    for reason in found.reasons:
        say(f"  {reason}")
    for table in tables(found):
        if table.lines:
            say(table.title, "bold")
            show(table.heads, table.lines)
            say(table.note)
    for step in found.next_steps:
        say(f"next: {step}")


def tables(found: Reading) -> list[Table]:
    """The numbers of a reading, in the order in which they are asked for."""
    return [
        Table("Who is in it", ARMS, arms(found), evenness(found)),
        Table("What came of it", METRICS, list(_metrics(found)), _metrics_said(found)),
        Table("What else came of it", SECONDARY, list(_secondary(found)), _secondary_said(found)),
        Table(
            "Guardrails",
            GUARDRAILS,
            list(_guardrails(found)),
            "What is left is from the upper end of the interval to the bound: where all of it lies "
            "below, the experiment is halted.",
        ),
        Table(
            "By country",
            SEGMENTS,
            list(_segments(found)),
            "All of these hold at once. Where the effects differ more than chance explains, the "
            "country is named.",
        ),
    ]


def arms(found: Reading) -> list[tuple[str, ...]]:
    """A row for each arm."""
    return [
        (
            side.name,
            side.serves,
            f"{side.share:.1%}",
            f"{side.members:,}",
            f"{side.decisions:,}",
        )
        for side in found.sides
    ]


def evenness(found: Reading) -> str:
    """How the arms' sizes go with their shares, in words."""
    said = f"Sizes of the arms as planned, at every look: p = {found.evenness:.3g}"
    if found.left_out:
        said += f"; {found.left_out:,} members were seen in two arms, or are held out, and left out"
    return f"{said}."


def _of(found: Reading, one: Treated, what: str) -> str:
    """What a line is about: with the arm, where there are several beside the control."""
    return what if len(found.treatments) == 1 else f"{one.arm}: {what}"


def _metrics(found: Reading) -> Iterator[tuple[str, ...]]:
    """A row for each metric that decides."""
    for one in found.treatments:
        for metric in one.metrics:
            yield (
                _of(found, one, metric.name),
                *_values(metric),
                between(metric.difference, SIGNED),
                between(metric.relative, SHARE) if metric.control > 0 else "",
                f"{max(metric.removed, 0.0):.0%}" if isfinite(metric.removed) else "",
            )


def _metrics_said(found: Reading) -> str:
    levels = [metric.difference.level for one in found.treatments for metric in one.metrics]
    return (
        f"Intervals hold however often one looks, each at {100 * min(levels):.4g} %. What a member "
        "watched in the four weeks before they entered takes variance away (CUPED)."
    )


def _secondary(found: Reading) -> Iterator[tuple[str, ...]]:
    """A row for each metric that does not."""
    for one in found.treatments:
        for metric in one.secondary:
            yield _of(found, one, metric.name), *_values(metric), between(metric.difference, SIGNED)


def _secondary_said(found: Reading) -> str:
    levels = [metric.difference.level for one in found.treatments for metric in one.secondary]
    return (
        "These decide nothing, and have a chance of error of their own: each interval holds at "
        f"{100 * min(levels, default=0.0):.4g} %, however often one looks."
    )


def _values(metric: Metric | Secondary) -> tuple[str, str]:
    """The control's and the treatment's; empty of no members."""
    control, treatment = (
        figure(value) if isfinite(value) else "" for value in (metric.control, metric.treatment)
    )
    return control, treatment


def _guardrails(found: Reading) -> Iterator[tuple[str, ...]]:
    """A row for each metric that may not fall."""
    for one in found.treatments:
        for rail in one.guardrails:
            yield _of(found, one, rail.metric), *_railed(rail)


def _railed(rail: Guardrail) -> tuple[str, ...]:
    return (
        f"{100 * rail.tolerance:.3g}%",
        figure(rail.bound) if isfinite(rail.bound) else "",
        between(rail.difference, SIGNED),
        figure_signed(rail.room) if isfinite(rail.room) else "",
        STATES[rail.state],
    )


def _segments(found: Reading) -> Iterator[tuple[str, ...]]:
    """A row for each country."""
    for one in found.treatments:
        for segment in one.countries.segments:
            differs = "differs from the rest" if segment.differs else ""
            yield _of(found, one, segment.name), between(segment.interval, SIGNED), differs
        for name in one.countries.too_small:
            yield _of(found, one, name), "too few members", ""


@dataclass(frozen=True)
class Experimented:
    """An experiment: what it shows, or why that cannot be read, and what was done with it.

    The reading is the one of now, unless it is `recorded`: then that of now is being read.
    """

    name: str
    reading: Reading | None
    recorded: bool
    unread: str
    steps: tuple[Step, ...]
    can: tuple[Name, ...]


def experiments_view(service: Service) -> View[Trying]:
    """All of them, and who is held out."""
    return View(
        "/desk/experiments",
        "experiments.html",
        anew(lambda _: trying(service)),
        lambda found: {"found": found},
    )


def experiment_view(service: Service) -> View[Experimented]:
    """One by name, read at most once a minute, and after every change; until then as it stands on
    record.
    """
    drawn = once(_plots)
    return View(
        "/desk/experiment",
        "experiment.html",
        partial(
            _at_hand,
            service,
            kept(partial(_live, service), "name", stamp=service.trials.generation),
        ),
        partial(_shown, drawn),
    )


async def _at_hand(
    service: Service, live: Callable[[Query], Awaitable[Experimented | None]], query: Query
) -> Experimented | None:
    """What an experiment shows now if that is there soon, else what stands on record, if any."""
    found = None
    with suppress(TimeoutError):
        found = await asyncio.wait_for(live(query), SOON)
    if found is None:
        found = await asyncio.to_thread(_recorded, service, query.get("name", ""))
    return found or await live(query)


def _live(service: Service, name: str) -> Experimented:
    one = next((one for one in service.trials.all() if one.name == name), None)
    if one is None:
        raise NotFoundError(
            f"there is no experiment {name!r}", next_step="matinee experiments list"
        )
    try:
        return _experimented(service, one, read(service, name))
    except MatineeError as error:
        return _experimented(service, one, None, unread=str(error))


def _recorded(service: Service, name: str) -> Experimented | None:
    found = on_record(service, name)
    return _experimented(service, found.experiment, found, recorded=True) if found else None


def _experimented(
    service: Service,
    one: Experiment,
    reading: Reading | None,
    *,
    recorded: bool = False,
    unread: str = "",
) -> Experimented:
    steps = tuple(reversed(service.trials.history(one.name, readings=False)))
    return Experimented(one.name, reading, recorded, unread, steps, tuple(_can(service, one)))


def _can(service: Service, one: Experiment) -> Iterator[Name]:
    """What may be done with an experiment now."""
    state = state_of(one, datetime.now(UTC))
    if state == "over":
        return
    if any(step.name == one.name for step in service.trials.won()):
        yield "win"
    yield "resume" if state == "halted" else "halt"
    yield "end"


def _shown(draw: Callable[[Reading], list[Plot]], found: Experimented) -> dict[str, Any]:
    """What the template of one experiment shows."""
    values: dict[str, Any] = {"found": found, "actions": ACTIONS, "again": 0}
    reading = found.reading
    if reading is None:
        return {**values, "state": "", "tables": [], "plots": ()}
    now = datetime.now(UTC)
    steps = {"halted": (HALTED,), "over": ()}.get(state_of(reading.experiment, now))
    return {
        **values,
        "again": LOOK_AGAIN if found.recorded else 0,
        "state": state_said(reading.experiment, now),
        "steps": reading.next_steps if steps is None else steps,
        "tables": [table for table in tables(reading) if table.lines],
        "plots": draw(reading),
    }


def _plots(found: Reading) -> list[Plot]:
    """The first metric of each treatment over time, where there are members enough."""
    drawn = []
    for one in found.treatments:
        looks = [(end, held) for end, _, held in one.looks if isfinite(held.low + held.high)]
        if looks:
            ends, intervals = [end for end, _ in looks], [held for _, held in looks]
            caption = (
                f"{_of(found, one, one.metrics[0].name)} of a member, less the control's, at the "
                "end of each day; the band holds however often one looks"
            )
            svg = plots.over_time(ends, intervals, f"{one.metrics[0].name} of a member")
            drawn.append(Plot(caption, svg))
    return drawn
