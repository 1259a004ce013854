"""Which versions of a surface were its champion, and when."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

import polars as pl

from matinee.insights.rewards import own_decisions
from matinee.lake.records import EPOCH
from matinee.lake.table import collect
from matinee.registry import Change
from matinee.service.arms import arm_name
from matinee.service.folder import Service

CROWNED = {"promote", "approve", "override", "roll_back"}


def recorded(service: Service, surface: str) -> list[Change]:
    """The changes that made a champion as they stand in the registry, in their order."""
    return [one for one in service.registry.history(surface) if one.action in CROWNED]


def crowned(service: Service, surface: str) -> list[Change]:
    """The changes that were `recorded`, as they were lived.

    What a simulated service has lived was all promoted on the day it was made: there a champion is
    one since it first decided as such, where that was before.
    """
    made = recorded(service, surface)
    return list(_as_lived(service, surface, made)) if service.simulated else made


def since(changes: Sequence[Change]) -> datetime | None:
    """Since when the champion decides, by all that were `crowned`; `None` where none was."""
    return changes[-1].at if changes else None


def _as_lived(service: Service, surface: str, changes: Sequence[Change]) -> Iterator[Change]:
    """The same, each since the first decision of its version after the one before; those apart
    that it made for a holdout, or as what was tried, and those that came after the first promotion:
    they are no past that was made up.
    """
    if not changes:
        return
    controls = [arm_name(one.name, one.arms[0].name) for one in service.trials.all()]
    everyone = pl.col("arm").is_null() | pl.col("arm").is_in(controls)
    own = own_decisions(service, service.surface(surface)).filter(
        everyone, pl.col("at") < changes[0].at
    )
    made = collect(own.select("policy", "at"), "decisions")
    before = EPOCH
    for one in changes:
        mine = made.filter(pl.col("policy") == one.new, pl.col("at") > before)
        first = mine["at"].min()
        before = min(one.at, first) if isinstance(first, datetime) else one.at
        yield replace(one, at=before)


def reigns(version: str, changes: Sequence[Change]) -> Iterator[tuple[datetime, datetime | None]]:
    """From when until when a version was champion, by all that were `crowned`."""
    ends = [*(one.at for one in changes[1:]), None]
    for change, end in zip(changes, ends, strict=False):  # there may be none
        if change.new == version:
            yield change.at, end
