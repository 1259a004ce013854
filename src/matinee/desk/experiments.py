"""Experiments: lines of text, and the pages that show them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from typing import Any

from matinee.console import say, show
from matinee.desk.views import NotFoundError, View, anew, kept
from matinee.errors import MatineeError
from matinee.evaluation import plots
from matinee.evaluation.intervals.base import Interval
from matinee.experiments.plan import Experiment
from matinee.registry.trials import Step
from matinee.service.changes import ACTIONS, Name
from matinee.service.folder import Service
from matinee.service.readings import Metric, Reading, read
from matinee.service.trying import Trying, state_of, trying

ARMS = ("arm", "serves", "planned", "members", "decisions")
METRICS = ("of a member", "control", "treatment", "difference", "of the control's", "variance less")
SEGMENTS = ("country", "difference in the first metric", "")


def state_said(one: Experiment, now: datetime) -> str:
    """Whether it is to come, runs, is halted, or is over, in words."""
    state = state_of(one, now)
    if state == "over":
        return f"over since {one.until:%Y-%m-%d %H:%M}"
    if state == "halted":
        return f"halted: {one.halted}"
    return "runs" if state == "runs" else f"from {one.start:%Y-%m-%d %H:%M}"


def show_reading(found: Reading) -> None:
    """Print all of it."""
    say(f"{found.experiment.name}: {found.outcome}", "bold")
    for reason in found.reasons:
        say(f"  {reason}")
    show(ARMS, arms(found))
    say(evenness(found))
    show(METRICS, [cells(metric) for metric in found.metrics])
    if found.countries.segments:
        show(SEGMENTS, segments(found))
    for step in found.next_steps:
        say(f"next: {step}")


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
    said = f"sizes of the arms as planned, at every look: p = {found.evenness:.3g}"
    if found.left_out:
        said += f"; {found.left_out:,} members were seen in both, or are held out, and left out"
    return said


def cells(metric: Metric) -> tuple[str, ...]:
    """A row of the metrics."""
    return (
        metric.name,
        f"{metric.control:.4g}",
        f"{metric.treatment:.4g}",
        between(metric.difference),
        between(metric.relative, percent=True),
        f"{max(metric.removed, 0.0):.0%}",
    )


def segments(found: Reading) -> list[tuple[str, ...]]:
    """A row for each country."""
    return [
        *(
            (one.name, between(one.interval), "differs from the rest" if one.differs else "")
            for one in found.countries.segments
        ),
        *((name, "too few members", "") for name in found.countries.too_small),
    ]


def between(one: Interval, *, percent: bool = False) -> str:
    """
    >>> between(Interval(0.02, -0.01, 0.05, level=0.95, method="normal"))
    '+0.02 (-0.01 to +0.05)'
    >>> between(Interval(0.02, float("-inf"), float("inf"), level=0.95, method="normal"))
    'too few members yet'
    """
    if not isfinite(one.value) or not (isfinite(one.low) and isfinite(one.high)):
        return "too few members yet"
    if percent:
        return f"{one.value:+.1%} ({one.low:+.1%} to {one.high:+.1%})"
    return f"{one.value:+.4g} ({one.low:+.4g} to {one.high:+.4g})"


@dataclass(frozen=True)
class Experimented:
    """An experiment: what it shows now, or why that cannot be read, and what was done with it."""

    name: str
    reading: Reading | None
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
    """One by name, read at most once a minute, and after every change."""
    return View(
        "/desk/experiment",
        "experiment.html",
        kept(lambda name: _experimented(service, name), "name", stamp=service.trials.generation),
        _shown,
    )


def _experimented(service: Service, name: str) -> Experimented:
    one = next((one for one in service.trials.all() if one.name == name), None)
    if one is None:
        raise NotFoundError(
            f"there is no experiment {name!r}", next_step="matinee experiments list"
        )
    reading, unread = None, ""
    try:
        reading = read(service, name)
    except MatineeError as error:
        unread = str(error)
    steps = tuple(reversed(service.trials.history(name, readings=False)))
    return Experimented(name, reading, unread, steps, tuple(_can(service, one)))


def _can(service: Service, one: Experiment) -> Iterator[Name]:
    """What may be done with an experiment now."""
    state = state_of(one, datetime.now(UTC))
    if state == "over":
        return
    if any(step.name == one.name for step in service.trials.won()):
        yield "win"
    yield "resume" if state == "halted" else "halt"
    yield "end"


def _shown(found: Experimented) -> dict[str, Any]:
    values = shown(found.reading) if found.reading else {"state": "", "tables": [], "plot": ""}
    return {"found": found, "actions": ACTIONS, **values}


def shown(found: Reading) -> dict[str, Any]:
    """What the template of one experiment shows."""
    looks = [(end, one) for end, _, one in found.looks if isfinite(one.low + one.high)]
    ends, intervals = [end for end, _ in looks], [one for _, one in looks]
    label = f"{found.metrics[0].name} of a member"
    return {
        "state": state_said(found.experiment, found.at),
        "tables": [
            ("Who is in it", ARMS, arms(found), evenness(found)),
            (
                "What came of it",
                METRICS,
                [cells(metric) for metric in found.metrics],
                "Intervals hold however often one looks. What a member watched in the four weeks "
                "before they entered takes variance away (CUPED).",
            ),
            (
                "By country",
                SEGMENTS,
                segments(found),
                "All of these hold at once. Where the effects differ more than chance explains, "
                "the country is named.",
            ),
        ],
        "plot": plots.over_time(ends, intervals, label) if looks else "",
    }
