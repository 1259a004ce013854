"""What pictures bring, read from a service's log: first choices alone, by who chose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from matinee.errors import MatineeError
from matinee.evaluation.attribution import Attribution, Units, attribution, mean_of
from matinee.evaluation.intervals.base import Interval
from matinee.lake.table import Bucket, collect
from matinee.service.folder import Service
from matinee.service.outcomes import about_subjects
from matinee.surfaces import Surface

READINGS = {"reward": "take fraction", "minutes": "minutes watched"}
"""What is read of each choice: whether the title was taken, and how long it was watched."""
FEWEST = 2
"""Members below which nothing is said."""


@dataclass(frozen=True)
class Arm:
    """What came of the first choices of a version or a holdout: means by reading."""

    name: str
    units: int
    members: int
    means: Mapping[str, Interval]


@dataclass(frozen=True)
class Attributed:
    """What a version's choices bring beside the best single one of each subject, by reading, and
    every version and holdout by itself.
    """

    version: str
    readings: Mapping[str, Attribution]
    arms: tuple[Arm, ...]


def attributed(service: Service, surface: str, version: str | None = None) -> Attributed:
    """The headline of a surface that chooses for subjects, of its champion by default.

    Raises `MatineeError` where there is no champion, or no closed first choice of that version.
    """
    rows = first_choices(service, surface)
    name = version or _champion(service, surface)
    own = rows.filter(pl.col("policy") == name)
    if own["member_id"].n_unique() < FEWEST:
        raise MatineeError(
            f"nothing is known yet of what {name} brings",
            why="no first choice of it has a closed window, or all are of one member",
            next_step="wait for windows to close, then matinee work --once",
        )
    readings = {reading: attribution(_units(own, reading)) for reading in READINGS}
    arms = tuple(_arm(policy, rows.filter(pl.col("policy") == policy)) for policy in _names(rows))
    return Attributed(name, readings, arms)


def first_choices(service: Service, surface: str) -> pl.DataFrame:
    """member_id, subject, action, policy, propensity, reward, minutes: the first choice for each
    member and subject, once its window is closed. Later ones are made for those who did not take
    the first, and say nothing of others.
    """
    where = service.surface(surface)
    if where.unit != "subject":
        raise MatineeError(f"{surface} chooses for members alone: it has no subjects to compare")
    tables = [service.lake.tables[name].buckets() for name in ("decisions", "outcomes", "events")]
    parts = [_first(where, *buckets) for buckets in zip(*tables, strict=True)]
    return pl.concat(parts)


def _first(surface: Surface, decisions: Bucket, outcomes: Bucket, events: Bucket) -> pl.DataFrame:
    mine = pl.col("surface") == surface.name
    ids = ["member_id", "decision_id"]
    made = decisions.scan().filter(mine, pl.col("subject").is_not_null())
    asked = collect(
        made.select(*ids, "subject", "at", "seq", "policy", "propensities"), "decisions"
    )
    first = asked.sort("at", "seq").unique(["member_id", "subject"], keep="first")
    closed = outcomes.scan().filter(mine).select(*ids, "action", "reward")
    answers = about_subjects(events.scan().filter(pl.col("kind") == "play"), asked)
    watched = (
        answers.join(first.lazy().select(*ids, "at"), on=ids)
        .filter(pl.col("ts") < pl.col("at") + surface.window)
        .group_by(ids)
        .agg(minutes=pl.col("value").sum())
    )
    rows = first.lazy().join(closed, on=ids).join(watched, on=ids, how="left")
    return collect(
        rows.select(
            "member_id",
            "subject",
            "action",
            "policy",
            pl.col("propensities").list.first().alias("propensity"),
            "reward",
            pl.col("minutes").fill_null(0.0),
        ).sort("member_id", "subject"),
        "decisions, outcomes or events",
    )


def _units(rows: pl.DataFrame, reading: str) -> Units:
    numbered = rows.select(
        pl.col("member_id", "subject", "action").rank("dense").cast(pl.Int64),
        "propensity",
        pl.col(reading).alias("value"),
    )
    member, title, picture, propensity, value = (column.to_numpy() for column in numbered)
    return Units.of(
        member=member, title=title, picture=picture, propensity=propensity, reward=value
    )


def _arm(policy: str, rows: pl.DataFrame) -> Arm:
    member = rows["member_id"].rank("dense").cast(pl.Int64).to_numpy()
    means = {reading: mean_of(rows[reading].to_numpy(), member) for reading in READINGS}
    return Arm(policy, rows.height, int(np.unique(member).size), means)


def _names(rows: pl.DataFrame) -> list[str]:
    return sorted(rows["policy"].unique())


def _champion(service: Service, surface: str) -> str:
    champion = service.registry.alias(surface, "champion")
    if champion is None:
        raise MatineeError(f"{surface} has no champion", next_step=f"matinee train {surface}")
    return champion.id
