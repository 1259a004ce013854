"""Experiments: lines of text, and the pages that show them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from math import isfinite
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from matinee.console import say, show
from matinee.desk.kept import LOOK_AGAIN, PATIENCE, Kept
from matinee.errors import MatineeError
from matinee.evaluation import plots
from matinee.evaluation.intervals.base import Interval
from matinee.experiments.plan import Experiment
from matinee.service.readings import Metric, Reading, read
from matinee.service.runtime import Runtime

ARMS = ("arm", "serves", "planned", "members", "decisions")
METRICS = ("of a member", "control", "treatment", "difference", "of the control's", "variance less")
SEGMENTS = ("country", "difference in the first metric", "")


def state_of(one: Experiment, now: datetime) -> str:
    """Whether it is to come, runs, is halted, or is over."""
    if now >= one.until:
        return f"over since {one.until:%Y-%m-%d %H:%M}"
    if one.halted:
        return f"halted: {one.halted}"
    return "runs" if now >= one.start else f"from {one.start:%Y-%m-%d %H:%M}"


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


class ExperimentPages:
    """All experiments of one runtime, and each by itself, read at most once a minute; `show` makes
    pages of templates.
    """

    def __init__(self, runtime: Runtime, show: Callable[..., Response]) -> None:
        self.runtime, self._show = runtime, show
        self._read: dict[str, Kept[Reading | MatineeError]] = {}

    async def experiments(self, request: Request) -> Response:
        """All of them, or the one that `name` names."""
        if name := request.query_params.get("name"):
            return await self._one(name)
        return await asyncio.to_thread(self._all)

    def _all(self) -> Response:
        trials, now = self.runtime.service.trials, datetime.now(UTC)
        return self._show(
            "experiments.html",
            experiments=[
                {
                    "name": one.name,
                    "surface": one.surface,
                    "arms": ", ".join(f"{arm.serves} {arm.share:.0%}" for arm in one.arms),
                    "since": f"{one.start:%Y-%m-%d}",
                    "state": state_of(one, now),
                    "shows": latest.reason if (latest := trials.latest(one.name)) else "not read",
                }
                for one in reversed(trials.all())
            ],
            holdouts=trials.plan().holdouts,
        )

    async def _one(self, name: str) -> Response:
        known = {one.name for one in await asyncio.to_thread(self.runtime.service.trials.all)}
        if name not in known:
            error = MatineeError(
                f"there is no experiment {name!r}", next_step="matinee experiments list"
            )
            return self._show("problem.html", 404, error=error)
        kept = self._read.setdefault(name, Kept(partial(self._reading, name)))
        found = await kept.get(PATIENCE)
        if isinstance(found, MatineeError):
            return self._show("problem.html", 404, error=found)
        values = {"again": LOOK_AGAIN} if found is None else await asyncio.to_thread(shown, found)
        steps = await asyncio.to_thread(self.runtime.service.trials.history, name)
        told = [step for step in reversed(steps) if step.action != "read"]
        return self._show("experiment.html", name=name, steps=told, found=found, **values)

    def _reading(self, name: str) -> Reading | MatineeError:
        try:
            return read(self.runtime.service, name)
        except MatineeError as error:
            return error


def shown(found: Reading) -> dict[str, Any]:
    """What the template of one experiment shows."""
    looks = [(end, one) for end, _, one in found.looks if isfinite(one.low + one.high)]
    ends, intervals = [end for end, _ in looks], [one for _, one in looks]
    label = f"{found.metrics[0].name} of a member"
    return {
        "again": 0,
        "state": state_of(found.experiment, found.at),
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
