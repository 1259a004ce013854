"""What was decided for a member of late, and what came of it: read from their bucket alone."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import msgspec
import polars as pl

from matinee.lake.buckets import bucket_of
from matinee.lake.lake import Lake
from matinee.lake.table import collect
from matinee.ready import ready
from matinee.service.folder import Service
from matinee.surfaces import Surface, Titles

LATEST = 10
"""Decisions that are told."""
NAMED = 3
"""What they chose is named of so many slots."""

Kind = TypeVar("Kind", bound=msgspec.Struct)


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


@ready
class _Made(msgspec.Struct, frozen=True, kw_only=True):
    """What is read of a decision."""

    member_id: str
    decision_id: str
    at: datetime
    surface: str
    policy: str
    actions: list[str]
    row: str | None = None
    arm: str | None = None
    subject: str | None = None


@ready
class _Came(msgspec.Struct, frozen=True, kw_only=True):
    """What is read of an outcome."""

    member_id: str
    decision_id: str
    position: int
    reward: float


def lately(service: Service, member_id: str, count: int = LATEST) -> tuple[Lately, ...]:
    """The latest decisions for a member on every surface, newest first."""
    made = _decided(service.lake, member_id, count)
    rewards = _rewards(service.lake, member_id, {one.decision_id for one in made})
    return tuple(_told(service, one, rewards.get(one.decision_id)) for one in made)


def _decided(lake: Lake, member_id: str, count: int) -> list[_Made]:
    sealed, fresh = _own(lake, "decisions", member_id, _Made)
    newest = sealed.sort("at", "decision_id", descending=True).head(count)
    rows = [*_as(_Made, newest), *fresh]
    found = {one.decision_id: one for one in reversed(rows)}.values()
    return sorted(found, key=lambda one: (one.at, one.decision_id), reverse=True)[:count]


def _rewards(lake: Lake, member_id: str, decisions: Collection[str]) -> dict[str, float]:
    """The sum of the rewards of each decision that is closed."""
    if not decisions:
        return {}
    sealed, fresh = _own(lake, "outcomes", member_id, _Came)
    theirs = sealed.filter(pl.col("decision_id").is_in(list(decisions)))
    rows = [*_as(_Came, theirs), *(one for one in fresh if one.decision_id in decisions)]
    found = dict[str, float]()
    for one in {(one.decision_id, one.position): one for one in rows}.values():
        found[one.decision_id] = found.get(one.decision_id, 0.0) + one.reward
    return found


def _own(
    lake: Lake, name: str, member_id: str, kind: type[Kind]
) -> tuple[pl.LazyFrame, list[Kind]]:
    """Of a member's rows in a table what the struct `kind` has: those in files, and those that
    still wait in the inbox.
    """
    table, columns = lake.tables[name], list(kind.__struct_fields__)
    snapshot, until = table.files.snapshot(), lake.inbox.last_seq()
    waiting = lake.inbox.fields(name, kind, after=snapshot.watermark, until=until)
    bucket = table.sealed(bucket_of(member_id, table.bucket_count), snapshot)
    theirs = bucket.scan().filter(pl.col("member_id") == member_id).select(columns)
    return theirs, [one for one in waiting if getattr(one, "member_id", None) == member_id]


def _as(kind: type[Kind], rows: pl.LazyFrame) -> list[Kind]:
    return [kind(**row) for row in collect(rows, "the log").iter_rows(named=True)]


def _told(service: Service, one: _Made, reward: float | None) -> Lately:
    surface = service.surfaces.get(one.surface)
    return Lately(
        one.decision_id,
        one.at,
        one.surface,
        one.row,
        None if one.subject is None else _name(service, one.subject),
        one.policy,
        one.arm,
        len(one.actions),
        tuple(_name(service, action) for action in one.actions[:NAMED]),
        reward,
        _closes(one, surface),
    )


def _closes(one: _Made, surface: Surface | None) -> datetime | None:
    """When its window ends; `None` on a surface that is no more."""
    return None if surface is None else one.at + surface.window


def _name(service: Service, action: str) -> str:
    """The name of a title, or what it is called where it is none."""
    titles = service.surfaces.get(Titles.name)
    return titles.name_of(action) if isinstance(titles, Titles) else action
