"""What a service's lake holds: its tables, the jobs that keep it well, and what was refused."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from matinee.insights.holding import Holding, holding
from matinee.insights.refused import Refused, reasons
from matinee.insights.working import Work, working
from matinee.lake.schemas import SCHEMAS
from matinee.service.folder import Service


@dataclass(frozen=True)
class Inventory:
    """All of it as it was known at a time. `reasons` are the most frequent of `kinds`."""

    at: datetime
    tables: tuple[Holding, ...]
    work: tuple[Work, ...]
    refused: int
    reasons: tuple[Refused, ...]
    kinds: int


def inventory(service: Service, now: datetime | None = None) -> Inventory:
    """Read it: one pass over the times of each table; what else is told stands in the Delta logs,
    the inbox, the quarantine and the store. A table that is torn keeps no other from it.
    """
    at = now or datetime.now(UTC)
    bad = service.lake.quarantine()
    kinds = bad.select("table", "reason").n_unique()
    counts = dict(bad.group_by("table").len().iter_rows())
    tables = tuple(holding(service, name, at, counts.get(name, 0)) for name in SCHEMAS)
    work = tuple(working(service, at))
    return Inventory(at, tables, work, bad.height, reasons(bad), kinds)
