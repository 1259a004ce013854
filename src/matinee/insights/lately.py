"""What was decided for a member of late, and what came of it: read from their rows alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from matinee.lake.lake import Lake
from matinee.lake.table import collect
from matinee.service.folder import Service
from matinee.service.outcomes import GRACE
from matinee.surfaces import Titles

LATEST = 10
"""Decisions that are told."""
NAMED = 3
"""What they chose is named of so many slots."""
COLUMNS = ["decision_id", "at", "surface", "row", "subject", "policy", "arm", "actions"]
"""What is read of a decision."""


@dataclass(frozen=True)
class Lately:
    """A decision and what came of it.

    `named` are the first of `slots` that it filled, titles by name, and `about` is its subject.
    `reward` is the sum over its slots, `None` before `closes`, and until it was counted then.
    """

    decision_id: str
    at: datetime
    surface: str
    row: str | None
    about: str | None
    policy: str
    arm: str | None
    slots: int
    named: tuple[str, ...]
    reward: float | None
    closes: datetime | None


def lately(service: Service, member_id: str, count: int = LATEST) -> tuple[Lately, ...]:
    """The latest decisions for a member on every surface, newest first."""
    made = _decided(service.lake, member_id, count)
    rewards = _rewards(service.lake, member_id, [one["decision_id"] for one in made])
    return tuple(_told(service, one, rewards.get(one["decision_id"])) for one in made)


def _decided(lake: Lake, member_id: str, count: int) -> list[dict[str, Any]]:
    """`COLUMNS` of the newest decisions, the newest first."""
    rows = lake.tables["decisions"].of_member(member_id).scan().select(COLUMNS)
    newest = rows.sort("at", "decision_id", descending=True).head(count)
    return collect(newest, "decisions").to_dicts()


def _rewards(lake: Lake, member_id: str, decisions: Collection[str]) -> dict[str, float]:
    """The sum of the rewards of each decision that is closed."""
    if not decisions:
        return {}
    rows = lake.tables["outcomes"].of_member(member_id).scan()
    theirs = rows.filter(pl.col("decision_id").is_in(list(decisions)))
    sums = theirs.group_by("decision_id").agg(pl.col("reward").sum())
    return dict(collect(sums, "outcomes").iter_rows())


def _told(service: Service, one: Mapping[str, Any], reward: float | None) -> Lately:
    """A decision from its `COLUMNS`; `closes` is `None` on a surface that is no more."""
    surface, about = service.surfaces.get(one["surface"]), one["subject"]
    return Lately(
        one["decision_id"],
        one["at"],
        one["surface"],
        one["row"],
        None if about is None else _name(service, about),
        one["policy"],
        one["arm"],
        len(one["actions"]),
        tuple(_name(service, action) for action in one["actions"][:NAMED]),
        reward,
        None if surface is None else one["at"] + surface.window + GRACE,
    )


def _name(service: Service, action: str) -> str:
    """The name of a title, or what it is called where it is none."""
    titles = service.surfaces.get(Titles.name)
    return titles.name_of(action) if isinstance(titles, Titles) else action
