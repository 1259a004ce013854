"""A surface at a glance: its versions and where they come from, who decides for how many, what that
brings, what the gate said, and what may be changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from math import isfinite
from typing import Any, Literal

import polars as pl

from matinee.evaluation.intervals.base import Interval
from matinee.insights.audit import Line, audit
from matinee.insights.days import WEEK, midnight
from matinee.insights.measures import is_share
from matinee.insights.reigns import crowned, reigns, since
from matinee.insights.rewards import own_decisions, rewards
from matinee.lake.table import collect
from matinee.registry import Approvals, Change, Judged, Version
from matinee.registry.changes import reigns_of
from matinee.service.changes import Name
from matinee.service.folder import Service
from matinee.service.means import mean_by_member
from matinee.service.outcomes import GRACE, counted
from matinee.service.training import THROUGH
from matinee.service.trying import GOING, Trying, trying
from matinee.surfaces import Surface

DAYS = 30
"""Days that are told one by one."""

State = Literal["champion", "challenger", "was champion", "never champion"]


@dataclass(frozen=True)
class Said:
    """What the gate said of a version: when, against which champion, and why."""

    at: datetime
    by: str
    champion: str
    outcome: str
    turn: int
    alpha: float
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Known:
    """A version: what it is, what it comes from, when it was champion, and what may be done with
    it. `metrics` are those of its model when that was last evaluated before, by name: fitted there
    on what was not asked for, and so not the fit of this version.
    """

    id: str
    model: str
    policy: str
    parent: str | None
    data_as_of: datetime
    registered_at: datetime
    by: str
    state: State
    reigns: tuple[tuple[datetime, datetime | None], ...]
    verdicts: tuple[Said, ...]
    metrics: dict[str, float]
    can: tuple[Name, ...]


@dataclass(frozen=True)
class Traffic:
    """What one policy decided in an arm in the last seven days: how much of all, for how many
    members, and what its decisions whose windows are closed brought on the mean, clustered by
    member.
    """

    policy: str
    arm: str | None
    decisions: int
    share: float
    members: int
    value: Interval


@dataclass(frozen=True)
class Day:
    """A day (UTC): how much each policy decided, and what a decision brought, where known."""

    day: date
    decisions: dict[str, int]
    value: Interval


@dataclass(frozen=True)
class Overview:
    """A surface as it was known at a time; `can` is what may be done with all of it."""

    surface: str
    at: datetime
    unit: str
    window: timedelta
    slots: int
    champion: str | None
    since: datetime | None
    challenger: str | None
    versions: tuple[Known, ...]
    traffic: tuple[Traffic, ...]
    days: tuple[Day, ...]
    tried: Trying
    changes: tuple[Line, ...]
    can: tuple[Name, ...]


def overview(service: Service, name: str, now: datetime | None = None) -> Overview:
    """All of a surface; raises `MatineeError` where there is none of that name."""
    surface, at = service.surface(name), now or datetime.now(UTC)
    registry = service.registry
    champion, challenger = registry.alias(name, "champion"), registry.alias(name, "challenger")
    crownings = crowned(service, name)
    tried = trying(service, name, at)
    decided, share = _decided(service, surface, at), is_share(surface, "reward")
    can: list[Name] = ["roll_back"] if len(reigns_of(service.store, name)) > 1 else []
    if any(one.state in GOING for one in tried.experiments):
        can.append("stop")
    return Overview(
        name,
        at,
        surface.unit,
        surface.window,
        surface.slots,
        champion.id if champion else None,
        since(crownings),
        challenger.id if challenger else None,
        tuple(_versions(service, name, crownings, tried)),
        tuple(_traffic(decided, at - WEEK, share=share)),
        tuple(_days(decided, at, share=share)),
        tried,
        audit(service, surface=name),
        tuple(can),
    )


def _versions(
    service: Service, surface: str, crownings: Sequence[Change], tried: Trying
) -> Iterator[Known]:
    """The versions, the newest first."""
    champion = service.registry.alias(surface, "champion")
    challenger = service.registry.alias(surface, "challenger")
    approvals = Approvals(service.registry)
    verdicts = approvals.verdicts(surface)
    passed = {one.candidate for one in approvals.passed(surface)}
    for one in reversed(service.registry.versions(surface)):
        reigned = tuple(reigns(one.id, crownings))
        yield Known(
            one.id,
            one.model,
            one.policy,
            one.parent,
            one.data_as_of,
            one.registered_at,
            one.by,
            _state(one, champion, challenger, reigned=bool(reigned)),
            reigned,
            tuple(_said(each) for each in reversed(verdicts) if each.candidate == one.id),
            _numbers(one.metrics),
            _can(one, champion, passed=one.id in passed, taken=tried.taking is not None),
        )


def _can(
    version: Version, champion: Version | None, *, passed: bool, taken: bool
) -> tuple[Name, ...]:
    if champion is None:
        return ("promote",)
    if version.id == champion.id:
        return ()
    can: list[Name] = ["approve"] if passed else []
    return (*can, *(() if taken else ("start",)))


def _state(
    version: Version, champion: Version | None, challenger: Version | None, *, reigned: bool
) -> State:
    if champion and version.id == champion.id:
        return "champion"
    if challenger and version.id == challenger.id:
        return "challenger"
    return "was champion" if reigned else "never champion"


def _said(one: Judged) -> Said:
    return Said(one.at, one.by, one.champion, one.outcome, one.turn, one.alpha, one.reasons)


def _numbers(metrics: dict[str, Any]) -> dict[str, float]:
    """The plain numbers of what it was scored, or the values of its estimates; how far in the log
    its training came is no score.
    """
    found = {
        name: one.get("value") if isinstance(one, dict) else one
        for name, one in metrics.items()
        if name != THROUGH
    }
    return {
        name: float(one)
        for name, one in found.items()
        if isinstance(one, int | float) and isfinite(one)
    }


def _decided(service: Service, surface: Surface, at: datetime) -> pl.DataFrame:
    """member_id, at, policy, arm, reward of the decisions of the last days; reward is null while a
    window is open, or where an earlier decision tells of the same money.
    """
    first = min(midnight(at) - timedelta(days=DAYS - 1), at - WEEK - surface.window - GRACE)
    own = own_decisions(service, surface)
    decisions = own.filter(pl.col("at").is_between(first, at))
    outcomes = rewards(service, surface, at, pl.col("decided_at") >= first)
    told = counted(own, surface).select("decision_id").with_columns(counts=True)
    known = (
        decisions.select("decision_id", "member_id", "at", "policy", "arm")
        .join(outcomes.select("decision_id", "reward", "closed_at"), on="decision_id", how="left")
        .join(told, on="decision_id", how="left")
        .with_columns(reward=pl.when(pl.col("counts")).then(pl.col("reward")))
    )
    return collect(known, "decisions").drop("decision_id", "counts")


def _traffic(decided: pl.DataFrame, since: datetime, *, share: bool) -> Iterator[Traffic]:
    """By policy and arm, the most first."""
    late = decided.filter(pl.col("at") > since)
    closed = decided.filter(pl.col("closed_at") > since)
    parts = late.group_by("policy", "arm")
    for (policy, arm), rows in sorted(parts, key=lambda part: (-part[1].height, str(part[0]))):
        yield Traffic(
            str(policy),
            None if arm is None else str(arm),
            rows.height,
            rows.height / late.height,
            rows["member_id"].n_unique(),
            _value(
                closed.filter(
                    pl.col("policy") == policy, pl.col("arm").eq_missing(pl.lit(arm, pl.String))
                ),
                share=share,
            ),
        )


def _days(decided: pl.DataFrame, at: datetime, *, share: bool) -> Iterator[Day]:
    """The last days in order, from the first that had decisions on."""
    dated = decided.with_columns(day=pl.col("at").dt.date())
    parts = {day: rows for (day,), rows in dated.partition_by("day", as_dict=True).items()}
    shown = [(midnight(at) - timedelta(days=back)).date() for back in reversed(range(DAYS))]
    for day in shown[next((n for n, day in enumerate(shown) if day in parts), DAYS) :]:
        rows = parts.get(day, dated.clear())
        counts = rows.group_by("policy").len().sort("policy")
        yield Day(day, dict(counts.iter_rows()), _value(rows, share=share))


def _value(rows: pl.DataFrame, *, share: bool) -> Interval:
    """The mean reward of the decisions that have one."""
    known = rows.filter(pl.col("reward").is_not_null())
    return mean_by_member(known["reward"], known["member_id"], share=share)
