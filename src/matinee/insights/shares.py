"""How often each action of a subject is chosen, and what came of it: read from a service's log."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from matinee.evaluation.intervals.base import Interval
from matinee.lake.table import Bucket, collect
from matinee.service.folder import Service
from matinee.service.means import mean_by_member

IDS = ["member_id", "decision_id"]


@dataclass(frozen=True)
class Share:
    """How often an action was chosen for its subject, and what came of it.

    drawn : choices of it. share : of all choices for the subject, in [0, 1]. closed : those whose
    window is closed. taken : the sum of their rewards.
    """

    drawn: int
    share: float
    closed: int
    taken: float

    @property
    def rate(self) -> float | None:
        """The mean reward of the closed choices, `None` where there is none."""
        return self.taken / self.closed if self.closed else None


@dataclass(frozen=True)
class Measured:
    """The same with an interval: the mean reward of the closed choices, clustered by member."""

    drawn: int
    share: float
    reward: Interval | None


@dataclass(frozen=True)
class Subject:
    """What is chosen for one subject, by action: by all who choose together, and by each."""

    together: Mapping[str, Measured]
    arms: Mapping[str, Mapping[str, Measured]]


def shares(service: Service, surface: str) -> dict[str, dict[str, Share]]:
    """The shares on a surface that chooses for subjects, by subject and action; of all versions and
    holdouts together. One pass over the log, one bucket in memory at a time.
    """
    buckets = (service.lake.tables[name].buckets() for name in ("decisions", "outcomes"))
    parts = [_counted(surface, *pair) for pair in zip(*buckets, strict=True)]
    rows = pl.concat(parts).group_by("subject", "action").sum()
    share = pl.col("drawn") / pl.col("drawn").sum().over("subject")
    columns = rows.select("subject", "action", "drawn", share.alias("share"), "closed", "taken")
    found: dict[str, dict[str, Share]] = defaultdict(dict)
    for subject, action, *counts in columns.rows():
        found[subject][action] = Share(*counts)
    return dict(found)


def shares_of(service: Service, surface: str, subject: str) -> Subject:
    """The shares of one subject, with intervals, and by who chose."""
    buckets = (service.lake.tables[name].buckets() for name in ("decisions", "outcomes"))
    pairs = zip(*buckets, strict=True)
    parts = [_chosen(surface, made, closed, subject) for made, closed in pairs]
    rows = collect(pl.concat(parts), "decisions or outcomes")
    arms = {str(name): part for (name,), part in rows.partition_by("policy", as_dict=True).items()}
    return Subject(_measured(rows), {name: _measured(arms[name]) for name in sorted(arms)})


def _counted(surface: str, decisions: Bucket, outcomes: Bucket) -> pl.DataFrame:
    """How often each action was chosen in a bucket, and what came of it."""
    counts = (
        _chosen(surface, decisions, outcomes)
        .group_by("subject", "action")
        .agg(
            drawn=pl.len().cast(pl.Int64),
            closed=pl.col("reward").count().cast(pl.Int64),
            taken=pl.col("reward").sum(),
        )
    )
    return collect(counts, "decisions or outcomes")


def _chosen(
    surface: str, decisions: Bucket, outcomes: Bucket, subject: str | None = None
) -> pl.LazyFrame:
    """member_id, subject, policy, action, reward: the choices of a bucket; no reward while the
    window is open.
    """
    mine, about = pl.col("surface") == surface, pl.col("subject")
    wanted = about.is_not_null() if subject is None else about == subject
    made = decisions.scan().filter(mine, wanted)
    closed = outcomes.scan().filter(mine).select(*IDS, "reward")
    chosen = made.select(*IDS, "subject", "policy", action=pl.col("actions").list.first())
    return chosen.join(closed, on=IDS, how="left").drop("decision_id")


def _measured(rows: pl.DataFrame) -> dict[str, Measured]:
    """Choices for one subject, by action."""
    by_action = rows.partition_by("action", as_dict=True)
    return {
        str(action): Measured(part.height, part.height / rows.height, _reward(part))
        for (action,), part in by_action.items()
    }


def _reward(rows: pl.DataFrame) -> Interval | None:
    closed = rows.drop_nulls("reward")
    if not closed.height:
        return None
    return mean_by_member(closed["reward"], closed["member_id"])
