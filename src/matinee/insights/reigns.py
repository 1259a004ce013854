"""Which versions of a surface were its champion, and when."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

import polars as pl

from matinee.insights.rewards import own_decisions
from matinee.lake.table import collect
from matinee.registry import Change
from matinee.service.folder import Service
from matinee.surfaces import Surface

CROWNED = {"promote", "approve", "override", "roll_back"}


def crowned(service: Service, surface: str) -> list[Change]:
    """The changes that made a champion, in the order in which they were made."""
    return [one for one in service.registry.history(surface) if one.action in CROWNED]


def since(service: Service, surface: Surface, changes: Sequence[Change]) -> datetime | None:
    """Since when the champion decides, by all that were `crowned`; `None` where none was.

    What a simulated service has lived was all promoted on the day it was made: there it is since
    the champion's first decision, if that was before.
    """
    if not changes:
        return None
    crowned_at = changes[-1].at
    if not service.simulated:
        return crowned_at
    made = own_decisions(service, surface).filter(pl.col("policy") == changes[-1].new)
    first = collect(made.select(pl.col("at").min()), "decisions").item()
    return min(crowned_at, first or crowned_at)


def reigns(version: str, changes: Sequence[Change]) -> Iterator[tuple[datetime, datetime | None]]:
    """From when until when a version was champion, by all that were `crowned`."""
    ends = [*(one.at for one in changes[1:]), None]
    for change, end in zip(changes, ends, strict=False):  # there may be none
        if change.new == version:
            yield change.at, end
