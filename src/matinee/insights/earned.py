"""What each surface of a service earned, beside its holdouts and by those who decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import polars as pl

from matinee.evaluation.intervals.base import Interval
from matinee.experiments.arms import Arm
from matinee.experiments.effects import compare
from matinee.experiments.sequential import AsymptoticSequence
from matinee.insights.days import DAY, WEEK, midnight
from matinee.insights.measures import is_share, measures_of, with_measures
from matinee.insights.reigns import crowned, since
from matinee.insights.rewards import own_decisions, rewards
from matinee.lake.table import collect
from matinee.service.folder import Service
from matinee.service.means import mean_by_member
from matinee.service.outcomes import counted
from matinee.service.trying import holdouts_of
from matinee.surfaces import Surface

LOOKS = 30
"""Ends of days at which a difference is looked at, at most, evenly spaced."""
ARMS = 8
"""Of how many of those who decided the values are told, at most: those who decided most."""
ALPHA = 0.05


@dataclass(frozen=True)
class Beside:
    """What a decision brought those for whom the service chooses, less what it did a holdout.

    Since the holdout began: of members who are in no holdout, against those who are in this one.
    `held` is a holdout's own mean, of `members`. `difference` is of one decision, `total` what it
    comes to over the `decisions` of the others. Both hold at every look at the same
    decisions: since launch always, of a week at that week.
    """

    holdout: str
    members: int
    held: float
    decisions: int
    difference: Interval
    total: Interval


@dataclass(frozen=True)
class Earned:
    """What closed decisions brought: how many there were, the mean of one, and all together."""

    decisions: int
    value: float
    total: float
    beside: tuple[Beside, ...] = ()


@dataclass(frozen=True)
class Valued:
    """What one of those who decided earned: a version, or an arm of an experiment."""

    name: str
    decisions: int
    value: Interval


@dataclass(frozen=True)
class Measured:
    """One measure of a surface: its "reward", the "minutes" watched that answered, or the "money".

    week : of decisions that closed today or on the six days before (UTC). looks : the difference
    beside the first holdout since it began, at ends of days, and now.
    """

    measure: str
    week: Earned
    ever: Earned
    looks: tuple[tuple[datetime, Interval], ...] = ()
    arms: tuple[Valued, ...] = ()


@dataclass(frozen=True)
class Standing:
    """A surface: who decides and since when, and what it earned, by each measure."""

    surface: str
    champion: str | None
    since: datetime | None
    measures: tuple[Measured, ...]


def standing(service: Service, surface: Surface, at: datetime) -> Standing:
    """Who decides on a surface, and what it earned, as of a time."""
    champion = service.registry.alias(surface.name, "champion")
    return Standing(
        surface.name,
        champion.id if champion else None,
        since(crowned(service, surface.name)),
        _measures(service, surface, at),
    )


def _measures(service: Service, surface: Surface, at: datetime) -> tuple[Measured, ...]:
    """Each measure of a surface; where there is a holdout, all its intervals share `ALPHA`: those
    of the week, and those of ever.
    """
    rows = _closed(service, surface, at)
    names = measures_of(surface)
    holdouts = [name for name in holdouts_of(service, surface) if (rows["arm"] == name).any()]
    rows = _grouped(rows, [*holdouts, *_released(service)])
    tightest = service.settings.experiments.tightest_at
    share = ALPHA / max(2 * len(names) * len(holdouts), 1)
    sequence = AsymptoticSequence(tightest_at=tightest, alpha=share)
    week = rows.filter(pl.col("closed_at") >= midnight(at) - WEEK + DAY)

    def earned(some: pl.DataFrame, name: str) -> Earned:
        beside = (_beside(some, holdout, name, sequence) for holdout in holdouts)
        return _earned(some, name, tuple(one for one in beside if one is not None))

    found = [Measured(name, earned(week, name), earned(rows, name)) for name in names]
    looks = _looks(rows, holdouts[0], names[0], sequence, at) if holdouts else ()
    found[0] = replace(
        found[0], looks=looks, arms=_arms(rows, names[0], share=is_share(surface, names[0]))
    )
    return tuple(found)


def _closed(service: Service, surface: Surface, at: datetime) -> pl.DataFrame:
    """member_id, arm, policy, decided_at, closed_at, reward and the other measures of each decision
    that is closed; those of others, from a log that was imported say, aside.
    """
    mine = own_decisions(service, surface)
    decisions = counted(mine, surface).select("decision_id", "arm", "policy")
    both = rewards(service, surface, at).join(decisions, on="decision_id")
    return collect(with_measures(service, surface, mine, both), "outcomes")


def _released(service: Service) -> list[str]:
    """Every holdout that ever was."""
    return [step.name for step in service.trials.history() if step.kind == "holdout"]


def _grouped(rows: pl.DataFrame, holdouts: Sequence[str]) -> pl.DataFrame:
    """The rows with the `group` whose they are: a holdout, or "" of members who were in none;
    what was decided otherwise for members of one is of no group.
    """
    held = pl.col("arm").is_in(list(set(holdouts))).fill_null(value=False)
    free = ~held.any().over("member_id")
    group = pl.when(held).then("arm").when(free).then(pl.lit(""))
    return rows.with_columns(group=group)


def _earned(rows: pl.DataFrame, name: str, beside: tuple[Beside, ...]) -> Earned:
    value = rows[name].mean()
    mean = float(value) if isinstance(value, float) else float("nan")
    return Earned(rows.height, mean, float(rows[name].sum()), beside)


def _beside(
    rows: pl.DataFrame, holdout: str, name: str, sequence: AsymptoticSequence
) -> Beside | None:
    """The others beside a holdout, of what was decided since it began; `None` where it has none."""
    held = rows.filter(pl.col("group") == holdout)
    if not held.height:
        return None
    others = rows.filter(pl.col("group") == "", pl.col("decided_at") >= held["decided_at"].min())
    ours, theirs = _arm(others, name), _arm(held, name)
    found, _ = sequence.read(compare(ours, theirs, column=0, per=1))
    size = others.height
    value, low, high = (size * end if size else 0.0 for end in (found.value, found.low, found.high))
    total = replace(found, value=value, low=low, high=high)
    own_mean = float(held[name].sum()) / held.height
    return Beside(holdout, theirs.units, own_mean, size, found, total)


def _arm(rows: pl.DataFrame, name: str) -> Arm:
    """Members with what their decisions brought, and how many these were; in the order of the rows,
    so that the same rows always come to the same to the last bit.
    """
    members = rows.group_by("member_id", maintain_order=True)
    sums = members.agg(pl.col(name).sum(), decisions=pl.len())
    return Arm.of(sums.select(name, "decisions").to_numpy())


def _looks(
    rows: pl.DataFrame, holdout: str, name: str, sequence: AsymptoticSequence, at: datetime
) -> tuple[tuple[datetime, Interval], ...]:
    """The difference beside a holdout at ends of days, as far as it could be told."""
    ends = rows.filter(pl.col("group") == holdout)["closed_at"].dt.date().unique().sort()
    picked = sorted(set(np.linspace(0, max(len(ends) - 1, 0), LOOKS).astype(int).tolist()))
    found = []
    for day in ends.gather(picked).to_list():
        end = datetime(day.year, day.month, day.day, tzinfo=UTC) + DAY
        beside = _beside(rows.filter(pl.col("closed_at") < end), holdout, name, sequence)
        if beside is not None and np.isfinite(beside.difference.low):
            found.append((min(end, at), beside.difference))
    return tuple(found)


def _arms(rows: pl.DataFrame, name: str, *, share: bool) -> tuple[Valued, ...]:
    """What each of those who decided earned, by an interval of one look."""
    named = rows.with_columns(who=pl.coalesce("arm", "policy"))
    parts = named.partition_by("who", as_dict=True)
    most = sorted(parts.items(), key=lambda part: (-part[1].height, str(part[0])))[:ARMS]
    return tuple(
        Valued(str(who), part.height, mean_by_member(part[name], part["member_id"], share=share))
        for (who,), part in most
    )
