"""What pictures bring, read from a service's log: first choices alone, by who chose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl

from matinee.errors import MatineeError
from matinee.evaluation.attribution import Attribution, Units, attribution
from matinee.evaluation.intervals.base import Interval
from matinee.lake.table import Bucket, collect
from matinee.models import Vocabulary
from matinee.service.folder import Service
from matinee.service.logged import eligible_sets
from matinee.service.means import at_every_look, mean_by_member, numbers
from matinee.service.outcomes import about_subjects, first_choices
from matinee.surfaces import Surface

READINGS = {"reward": "take fraction", "minutes": "minutes watched"}
"""What is read of each choice: whether the title was taken, and how long it was watched."""
_POSSIBLE = "eligible", "removed"
FEWEST = 2
"""Members below which nothing is said."""
ALPHA = 0.05
"""The chance that an interval of a difference is ever wrong, of all readings together."""


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

    The intervals of the differences hold at every look, all readings together 95 % of the time: a
    page is looked at again and again. Those of means are of one look.
    """

    version: str
    readings: Mapping[str, Attribution]
    arms: tuple[Arm, ...]


def attributed(service: Service, surface: str, version: str | None = None) -> Attributed:
    """The headline of a surface that chooses for subjects, of its champion by default.

    Raises `MatineeError` where there is no champion, or where too few first choices of that version
    are closed to be compared.
    """
    rows = first_units(service, surface)
    name = version or _champion(service, surface)
    own = rows.filter(pl.col("policy") == name)
    if own["member_id"].n_unique() < FEWEST:
        why = "no first choice of it has a closed window, or all are of one member"
        raise _nothing_known(service, surface, name, rows, why)
    units = _units(own, eligible_sets(service.lake, surface))
    size = service.settings.experiments.tightest_at
    readings = {
        reading: _at_every_look(attribution(replace(units, reward=own[reading].to_numpy())), size)
        for reading in READINGS
    }
    if not readings["reward"].members:
        why = "no two of the members that are to be compared were given a choice of one title"
        raise _nothing_known(service, surface, name, rows, why)
    arms = tuple(_arm(policy, rows.filter(pl.col("policy") == policy)) for policy in _names(rows))
    return Attributed(name, readings, arms)


def _nothing_known(
    service: Service, surface: str, name: str, rows: pl.DataFrame, why: str
) -> MatineeError:
    versions = [one.id for one in service.registry.versions(surface)]
    others = [one for one in _names(rows) if one in versions and one != name]
    return MatineeError(
        f"nothing is known yet of what {name} brings",
        why=why,
        next_step=f"matinee {surface} report {others[-1]}, which has chosen before"
        if others
        else "wait for windows to close, then matinee work --once",
    )


def _at_every_look(found: Attribution, size: float) -> Attribution:
    each = at_every_look(found.difference, found.members, size, ALPHA / len(READINGS))
    return replace(found, difference=each)


def first_units(service: Service, surface: str) -> pl.DataFrame:
    """member_id, subject, action, policy, propensity, reward, minutes, eligible, removed: the first
    choice for each member and subject, once its window is closed. Later ones depend on what came of
    the first.
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
        made.select(*ids, "subject", "at", "seq", "policy", "propensities", *_POSSIBLE), "decisions"
    )
    first = collect(first_choices(asked.lazy()), "decisions")
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
            *_POSSIBLE,
        ).sort("member_id", "subject"),
        "decisions, outcomes or events",
    )


def _units(rows: pl.DataFrame, sets: Mapping[str, Sequence[str]]) -> Units:
    """First choices as numbers; `sets` has the candidates of each eligible set. Of one that the log
    lacks, what was chosen from it could be.
    """
    kinds = rows.select("eligible", "removed").unique(maintain_order=True)
    seen = dict(rows.group_by("eligible").agg(pl.col("action").unique()).iter_rows())
    listed = [
        [one for place, one in enumerate(sets[name]) if place not in removed]
        if name in sets
        else seen[name]
        for name, removed in kinds.iter_rows()
    ]
    ids = Vocabulary(sorted({one for each in listed for one in each}))
    choice = rows.join(kinds.with_row_index("choice"), on=["eligible", "removed"], how="left")
    return Units.of(
        member=numbers(rows["member_id"]),
        title=numbers(rows["subject"]),
        picture=ids.encode(rows["action"]),
        propensity=rows["propensity"].to_numpy(),
        reward=rows["reward"].to_numpy(),
        choice=choice["choice"].to_numpy(),
        sets=[ids.encode(each) for each in listed],
    )


def _arm(policy: str, rows: pl.DataFrame) -> Arm:
    members = rows["member_id"]
    means = {
        reading: mean_by_member(rows[reading], members, share=reading == "reward")
        for reading in READINGS
    }
    return Arm(policy, rows.height, members.n_unique(), means)


def _names(rows: pl.DataFrame) -> list[str]:
    return sorted(rows["policy"].unique())


def _champion(service: Service, surface: str) -> str:
    champion = service.registry.alias(surface, "champion")
    if champion is None:
        raise MatineeError(f"{surface} has no champion", next_step=f"matinee train {surface}")
    return champion.id
