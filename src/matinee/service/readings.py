"""What an experiment shows: its arms, its metrics at every look, its segments, and a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from matinee.errors import MatineeError
from matinee.evaluation.gate import needed
from matinee.evaluation.intervals.base import Interval
from matinee.experiments.arms import Arm
from matinee.experiments.effects import Effect, compare
from matinee.experiments.plan import Experiment
from matinee.experiments.sample_ratio import sample_ratio_anytime
from matinee.experiments.segments import Heterogeneity, by_segment
from matinee.experiments.sequential import AsymptoticSequence
from matinee.lake.table import collect
from matinee.registry.trials import Outcome
from matinee.service.arms import Arms, arm_name
from matinee.service.folder import Service
from matinee.service.outcomes import counted

BEFORE = timedelta(days=28)
"""How far back what a member watched before they entered is looked at."""
UNEVEN = 0.001
"""A sample ratio less likely than this is not bad luck."""
LOOKS = 60
"""Looks that are kept, at most, evenly spaced."""
REWARD, MINUTES, PREVIOUS, NEW = range(4)
COLUMNS = {REWARD: "reward", MINUTES: "minutes watched"}

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Metric:
    """One metric, a member: the means of both arms, and the treatment less the control.

    `removed` is the share of the variance that what was known before took away; `relative` the
    difference as a share of the control's. Intervals and the p-value hold at every look.
    """

    name: str
    treatment: float
    control: float
    difference: Interval
    relative: Interval
    pvalue: float
    removed: float


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
    """An experiment at a time, its first arm the control. `looks` are the difference in the first
    metric at the end of days, with the members until then; `left_out` members were seen in two
    arms, or are held out now. `evenness` is a p-value that holds at every look.
    """

    experiment: Experiment
    at: datetime
    sides: tuple[Side, ...]
    left_out: int
    evenness: float
    metrics: tuple[Metric, ...]
    looks: tuple[tuple[datetime, int, Interval], ...]
    countries: Heterogeneity
    outcome: Outcome
    reasons: tuple[str, ...]
    next_steps: tuple[str, ...]
    breached: bool = False

    def remember(self, service: Service, by: str) -> None:
        """Put it on record."""
        more = {
            "at": self.at,
            "members": {side.name: side.members for side in self.sides},
            "evenness": self.evenness,
            "metrics": self.metrics,
        }
        service.trials.read(
            self.experiment.name,
            self.outcome,
            by,
            champion=self.experiment.arms[0].serves,
            reasons=self.reasons,
            more=more,
        )


class _Units(NamedTuple):
    """Members: their numbers [N, 4], in the order of REWARD to NEW, and whose they are."""

    rows: Floats
    treated: NDArray[np.bool_]
    country: NDArray[np.object_]

    def take(self, which: NDArray[np.bool_]) -> _Units:
        return _Units(self.rows[which], self.treated[which], self.country[which])

    def effect(self, column: int, *, relative: bool = False) -> Effect:
        arms = (Arm.of(self.rows[self.treated]), Arm.of(self.rows[~self.treated]))
        return compare(*arms, column=column, relative=relative, adjust=(PREVIOUS, NEW))


def read(
    service: Service, name: str, *, now: datetime | None = None, alpha: float = 0.05
) -> Reading:
    """Read an experiment of two arms: what a member's decisions brought since they entered, as far
    as windows are closed, and what they watched while it ran.

    A member enters with their first decision whose window is closed. What they watched in the 28
    days before takes variance away (CUPED). Where rewards tell of a subject, as those of payments
    of an invoice, the first decision on it counts and no later one, which tells of the same money.
    Everything may be read every day: see
    :class:`~matinee.experiments.sequential.AsymptoticSequence`. Countries share `alpha` between
    them, and so do the metrics. Where one falls by more than `experiments.tolerance`, the guardrail
    is breached.

    Raises `MatineeError` where there is no such experiment, or it has more than two arms.
    """
    one, now = service.trials.get(name), now or datetime.now(UTC)
    if len(one.arms) != 2:
        raise MatineeError(
            f"{name!r} cannot be read",
            why="it does not compare one version with the champion",
            next_step="start one with two arms",
        )
    members, closed, left_out, decided = _logged(service, one, now)
    sides = tuple(
        Side(
            arm.name,
            arm.serves,
            arm.share,
            members.filter(pl.col("arm") == arm.name).height,
            decided.get(arm.name, 0),
        )
        for arm in one.arms
    )
    evenness = sample_ratio_anytime(
        [side.members for side in sides], [side.share for side in sides]
    )
    members = _watched(service, members, _until(service, one, now))
    asked, treatment = service.settings.experiments, one.arms[1].name
    sequence = AsymptoticSequence(tightest_at=asked.tightest_at, alpha=alpha / len(COLUMNS))
    units = _units(members, closed, now, treatment)
    metrics = tuple(_metric(units, column, sequence) for column in _told(one.surface))
    looks = tuple(
        (end, len(seen.rows), sequence.read(seen.effect(REWARD))[0])
        for end in _ends(one, now)
        if len((seen := _units(members, closed, end, treatment)).rows)
    )
    by_country = {
        country: units.take(units.country == country).effect(REWARD)
        for country in sorted(set(units.country.tolist()))
    }
    countries = by_segment(
        by_country,
        alpha,
        read=lambda effect, share: replace(sequence, alpha=share).read(effect),
    )
    found = _verdict(one, sides, evenness, metrics, asked.tolerance)
    return Reading(one, now, sides, left_out, evenness, metrics, looks, countries, *found)


def watch(service: Service) -> str:
    """Read every experiment that runs, and halt those that were not run as planned or hurt a
    guardrail; what was halted, in a few words. One that cannot be read keeps no other from it.
    """
    halted, failed, now = list[str](), list[str](), datetime.now(UTC)
    for one in service.trials.plan().experiments:
        if one.halted or not one.runs(now) or len(one.arms) != 2:
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


def _until(service: Service, one: Experiment, now: datetime) -> datetime:
    """Until when members had their arms."""
    halts = [step.at for step in service.trials.history(one.name) if step.action == "halt"]
    return min([now, one.until, *(halts[-1:] if one.halted else [])])


def _told(surface: str) -> tuple[int, ...]:
    """What is told of a surface: watching has nothing to do with what is charged."""
    return (REWARD,) if surface == "payments" else (REWARD, MINUTES)


def _logged(
    service: Service, one: Experiment, now: datetime
) -> tuple[pl.DataFrame, pl.DataFrame, int, dict[str, int]]:
    """Members by arm with when they entered; what their closed decisions brought; how many were in
    two arms or are held out; and decisions by arm.
    """
    arms = {arm_name(one.name, arm.name): arm.name for arm in one.arms}
    logged = service.lake.scan("decisions").filter(
        pl.col("surface") == one.surface,
        pl.col("at") >= one.start,
        pl.col("arm").is_in(list(arms)),
    )
    mine = counted(logged, service.surface(one.surface)).select(
        "decision_id", "member_id", "at", "context", arm=pl.col("arm").replace(arms)
    )
    outcomes = (
        service.lake.scan("outcomes")
        .filter(
            pl.col("surface") == one.surface,
            pl.col("decided_at") >= one.start,
            pl.col("closed_at") <= now,
        )
        .join(mine.select("decision_id"), on="decision_id", how="semi")
        .group_by("decision_id")
        .agg(reward=pl.col("reward").sum(), closed_at=pl.col("closed_at").max())
    )
    closed = collect(mine.join(outcomes, on="decision_id"), "decisions").sort("at", "decision_id")
    members = closed.group_by("member_id", maintain_order=True).agg(
        pl.col("arm").first(),
        arms=pl.col("arm").n_unique(),
        country=pl.col("context").first().str.json_path_match("$.country").fill_null("none"),
        entered_at=pl.col("at").first(),
        seen_at=pl.col("closed_at").first(),
    )
    plan = Arms(service)
    held = [plan.holds(one.surface, member, now) for member in members["member_id"]]
    stays = (members["arms"] == 1) & ~pl.Series(held, dtype=pl.Boolean)
    decided = collect(mine.group_by("arm").agg(decisions=pl.len()), "decisions")
    return (
        members.filter(stays).drop("arms"),
        closed.select("member_id", "closed_at", "reward"),
        int((~stays).sum()),
        dict(decided.iter_rows()),
    )


def _watched(service: Service, members: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """The members with minutes watched since they entered and in the weeks before, and whether they
    were `new`, without any of those.
    """
    first = min(members["entered_at"].to_list(), default=now)
    plays = (
        service.lake.scan("events")
        .filter(pl.col("kind") == "play", pl.col("ts").is_between(first - BEFORE, now))
        .select("member_id", "ts", minutes=pl.col("value").fill_null(0.0))
    )
    known = collect(plays, "events").join(members.select("member_id", "entered_at"), on="member_id")
    since = pl.col("ts") >= pl.col("entered_at")
    earlier = ~since & (pl.col("ts") >= pl.col("entered_at") - BEFORE)
    minutes = known.group_by("member_id").agg(
        minutes=pl.col("minutes").filter(since).sum(),
        previous=pl.col("minutes").filter(earlier).sum(),
        new=(~earlier.any()).cast(pl.Float64),
    )
    return members.join(minutes, on="member_id", how="left").with_columns(
        pl.col("minutes", "previous").fill_null(0.0), pl.col("new").fill_null(1.0)
    )


def _units(members: pl.DataFrame, closed: pl.DataFrame, at: datetime, treatment: str) -> _Units:
    """The members who had entered by a time, with what their decisions had brought then."""
    brought = (
        closed.filter(pl.col("closed_at") <= at)
        .group_by("member_id")
        .agg(reward=pl.col("reward").sum())
    )
    rows = members.filter(pl.col("seen_at") <= at).join(brought, on="member_id")
    return _Units(
        rows.select("reward", "minutes", "previous", "new").to_numpy(),
        (rows["arm"] == treatment).to_numpy(),
        rows["country"].to_numpy().astype(object),
    )


def _metric(units: _Units, column: int, sequence: AsymptoticSequence) -> Metric:
    effect = units.effect(column)
    difference, pvalue = sequence.read(effect)
    relative, _ = sequence.read(units.effect(column, relative=True))
    treatment, control = (
        float(units.rows[which, column].mean()) if which.any() else float("nan")
        for which in (units.treated, ~units.treated)
    )
    removed = effect.removed
    return Metric(COLUMNS[column], treatment, control, difference, relative, pvalue, removed)


def _ends(one: Experiment, now: datetime) -> list[datetime]:
    """The ends of days at which it is looked at, the latest one now."""
    days = max((now - one.start) // timedelta(days=1), 0)
    picked = sorted(set(np.linspace(1, days, min(days, LOOKS)).astype(int).tolist()))
    ends = [one.start + timedelta(days=day) for day in picked]
    return [*(end for end, later in pairwise([*ends, now]) if end < later), now]


def _verdict(
    one: Experiment,
    sides: Sequence[Side],
    evenness: float,
    metrics: Sequence[Metric],
    tolerance: float,
) -> tuple[Outcome, tuple[str, ...], tuple[str, ...], bool]:
    """What all of it comes to, why, what to do next, and whether a guardrail is breached."""
    ended = (f"matinee experiments end {one.name} --reason '...'",)
    if evenness < UNEVEN:
        found = " and ".join(f"{side.members:,} in {side.name}" for side in sides)
        reason = f"something beside chance chose who is where: {found} (p = {evenness:.2g})"
        step = "find out what, then start another experiment: this one cannot be read"
        return "broken", (reason,), (step,), False
    worse = [
        metric for metric in metrics if metric.difference.high < -tolerance * abs(metric.control)
    ]
    if worse:
        said = tuple(
            f"{metric.name} falls by more than {tolerance:.0%}: at best by "
            f"{-metric.difference.high:.4g} of {metric.control:.4g}"
            for metric in worse
        )
        return "worse", said, ended, True
    first = metrics[0]
    ends = f"{first.difference.low:+.4g} to {first.difference.high:+.4g}"
    if first.difference.low > 0:
        reason = f"the treatment is better: {first.name} of a member {ends}"
        return "better", (reason,), (f"matinee experiments win {one.name} --reason '...'",), False
    if first.difference.high < 0:
        reason = f"the treatment is worse: {first.name} of a member {ends}"
        return "worse", (reason,), ended, False
    return "open", (f"nothing shown yet: {first.name} of a member {ends}",), _more(first), False


def _more(metric: Metric) -> tuple[str, ...]:
    """How much longer it may take."""
    width, value = metric.difference.high - metric.difference.value, abs(metric.difference.value)
    if not np.isfinite(width) or not value > 0 or width > 100 * value:
        return ("let it run",)
    times = needed(100, width, value) / 100
    return (f"let it run to some {max(times, 1.1):.1f} times its members, were it as it looks now",)
