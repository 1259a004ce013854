"""What an experiment shows: its arms, what each treatment brought beside the control, a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import inf, nan
from typing import Any

import msgspec
import numpy as np

from matinee.engine import Serial
from matinee.errors import MatineeError
from matinee.evaluation.intervals.base import Interval
from matinee.experiments.plan import NEVER, Experiment, Plan
from matinee.experiments.sample_ratio import sample_ratio_anytime
from matinee.experiments.segments import Heterogeneity
from matinee.registry.trials import Outcome
from matinee.service.folder import Service
from matinee.service.tallies import Asked, Span, Tally, tally
from matinee.service.treated import NOWHERE, Guardrail, Metric, Rules, Secondary, Treated, treated
from matinee.service.verdicts import verdict

__all__ = [
    "Guardrail",
    "Metric",
    "Reading",
    "Secondary",
    "Side",
    "Treated",
    "on_record",
    "read",
    "watch",
]

LOOKS = 60
"""Looks that are kept, at most, evenly spaced."""
INFINITE = {"low": -inf, "high": inf}


@dataclass(frozen=True)
class Side:
    """An arm: what it serves, the share it was to have, who is in it, and what was decided."""

    name: str
    serves: str
    share: float
    members: int
    decisions: int


@dataclass(frozen=True)
class Reading:
    """An experiment at a time, its first side the control, and each of the others beside it.

    `left_out` members were seen in two arms, or are held out now. `evenness` is a p-value that
    holds at every look. `best` is the treatment that did best of those that beat the control, where
    there is one.
    """

    experiment: Experiment
    at: datetime
    sides: tuple[Side, ...]
    left_out: int
    evenness: float
    treatments: tuple[Treated, ...]
    outcome: Outcome
    reasons: tuple[str, ...]
    next_steps: tuple[str, ...]
    breached: bool = False
    best: str | None = None

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Those of the first treatment, which is the only one of two arms."""
        return self.treatments[0].metrics

    @property
    def looks(self) -> tuple[tuple[datetime, int, Interval], ...]:
        """Those of the first treatment."""
        return self.treatments[0].looks

    @property
    def countries(self) -> Heterogeneity:
        """Those of the first treatment."""
        return self.treatments[0].countries

    def remember(self, service: Service, by: str) -> None:
        """Put it on record, all but looks and countries."""
        more = {
            "at": self.at,
            "members": {side.name: side.members for side in self.sides},
            "decisions": {side.name: side.decisions for side in self.sides},
            "left_out": self.left_out,
            "evenness": self.evenness,
            "metrics": self.metrics,
            "treatments": [replace(one, looks=(), countries=NOWHERE) for one in self.treatments],
            "next_steps": self.next_steps,
            "breached": self.breached,
            "best": self.best,
        }
        service.trials.read(
            self.experiment.name,
            self.outcome,
            by,
            champion=self.experiment.arms[0].serves,
            reasons=self.reasons,
            more=more,
        )


def read(
    service: Service, name: str, *, now: datetime | None = None, alpha: float = 0.05
) -> Reading:
    """Read an experiment: what a member's decisions brought since they entered, as far as windows
    are closed, and what they watched while it ran and was not halted.

    A member enters with their first decision whose window is closed. What they watched in the 28
    days before takes variance away (CUPED). Where rewards tell of a subject, as those of payments
    of an invoice, the first decision on it counts and no later one, which tells of the same money.
    Everything may be read every day: see
    :class:`~matinee.experiments.sequential.AsymptoticSequence`. Treatments share `alpha`, and of
    the share of one the metrics have it between them, the countries once more, and those metrics
    that decide nothing once more. Where a metric falls by more than `experiments.tolerance`, the
    guardrail is breached.

    The log is read bucket by bucket: in memory are the rows of one, sums, and one number of each
    member, for the median. Raises `MatineeError` where there is no such experiment.
    """
    one, now = service.trials.get(name), now or datetime.now(UTC)
    asked = _asked(service, one, now)
    sums = _tallied(service, asked)
    last, (control, *others) = len(asked.ends) - 1, one.arms
    sides = tuple(
        Side(
            arm.name,
            arm.serves,
            arm.share,
            sums.at(arm.name, last).units,
            sums.decided.get(arm.name, 0),
        )
        for arm in one.arms
    )
    sizes = [side.members for side in sides]
    evenness = sample_ratio_anytime(sizes, [side.share for side in sides])
    rules = _rules(service, asked, alpha)
    treatments = tuple(treated(sums, control.name, arm.name, arm.serves, rules) for arm in others)
    found = verdict(one, sizes, evenness, treatments)
    return Reading(one, now, sides, sums.left_out, evenness, treatments, *found)


def on_record(service: Service, name: str) -> Reading | None:
    """The latest reading of an experiment as it stands on record, without looks and countries;
    `None` where there is none, or only its outcome stands.
    """
    step = service.trials.latest(name)
    if step is None or not (step.body.get("treatments") or step.body.get("metrics")):
        return None
    one, body = service.trials.get(name), step.body
    counts = [body.get(what) or {} for what in ("members", "decisions")]
    sides = tuple(
        Side(arm.name, arm.serves, arm.share, *(int(each.get(arm.name, 0)) for each in counts))
        for arm in one.arms
    )
    return Reading(
        one,
        msgspec.convert(body["at"], datetime),
        sides,
        int(body.get("left_out", 0)),
        float(body["evenness"]),
        _treatments(one, body),
        msgspec.convert(step.reason, Outcome),
        tuple(body["reasons"]),
        tuple(body.get("next_steps", ())),
        breached=bool(body.get("breached", False)),
        best=body.get("best"),
    )


def watch(service: Service) -> str:
    """Read every experiment that runs, and halt those that were not run as planned or hurt a
    guardrail; what was halted, in a few words. One that cannot be read keeps no other from it.
    """
    halted, failed, now = list[str](), list[str](), datetime.now(UTC)
    for one in service.trials.plan().experiments:
        if one.halted or not one.runs(now):
            continue
        try:
            found = read(service, one.name, now=now)
            found.remember(service, by="matinee")
            if found.breached or found.outcome == "broken":
                service.trials.halt(one.name, by="matinee", reason=found.reasons[0])
                halted.append(one.name)
        except MatineeError as error:  # it ended just now, say
            failed.append(f"{one.name}: {error.what}")
    if failed:
        raise MatineeError("an experiment could not be read", why="; ".join(failed))
    return f"halted {', '.join(halted)}" if halted else ""


def _asked(service: Service, one: Experiment, now: datetime) -> Asked:
    return Asked(
        one,
        service.surface(one.surface),
        tuple(_ends(one, now)),
        min(now, one.until),
        _halted(service, one),
        Plan(holdouts=service.trials.plan().holdouts),
        service.salt(),
    )


def _halted(service: Service, one: Experiment) -> tuple[Span, ...]:
    """The stretches from and before which it was halted."""
    spans, since = list[Span](), None
    for step in service.trials.history(one.name, readings=False):
        halted = step.kind == "experiment" and step.body["halted"] is not None
        if halted and since is None:
            since = step.at
        elif since is not None and step.kind == "experiment" and not halted:
            spans.append((since, step.at))
            since = None
    return (*spans, (since, NEVER)) if since else tuple(spans)


def _tallied(service: Service, asked: Asked) -> Tally:
    """The sums over all members."""
    tables = (service.lake.tables[name].buckets() for name in ("decisions", "outcomes", "events"))
    return Serial().map_reduce(tally, list(zip(*tables, strict=True)), Tally.__add__, asked)


def _rules(service: Service, asked: Asked, alpha: float) -> Rules:
    """Watching has nothing to do with what is charged."""
    settings, one = service.settings.experiments, asked.experiment
    return Rules(
        asked.ends,
        treatments=len(one.arms) - 1,
        alpha=alpha,
        tightest_at=settings.tightest_at,
        tolerance=settings.tolerance,
        minutes=one.surface != "payments",
    )


def _ends(one: Experiment, now: datetime) -> list[datetime]:
    """The ends of days at which it is looked at, the latest one now."""
    days = max((now - one.start) // timedelta(days=1), 0)
    picked = sorted(set(np.linspace(1, days, min(days, LOOKS)).astype(int).tolist()))
    ends = [one.start + timedelta(days=day) for day in picked]
    return [*(end for end, later in pairwise([*ends, now]) if end < later), now]


def _treatments(one: Experiment, body: Mapping[str, Any]) -> tuple[Treated, ...]:
    """Those of a record; one of before there were several has the metrics of the only one."""
    first = {"arm": one.arms[1].name, "serves": one.arms[1].serves}
    told = body.get("treatments") or [{**first, "metrics": body["metrics"]}]
    return msgspec.convert(_numbers(told), tuple[Treated, ...])


def _numbers(told: Any) -> Any:
    """What was told, with the numbers that JSON does not know.

    >>> _numbers([{"value": None, "low": None, "high": 1.0}])
    [{'value': nan, 'low': -inf, 'high': 1.0}]
    """
    if isinstance(told, dict):
        return {
            name: INFINITE.get(name, nan) if value is None else _numbers(value)
            for name, value in told.items()
        }
    return [_numbers(each) for each in told] if isinstance(told, list) else told
