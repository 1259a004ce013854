"""How a service does today: what it earned, what waits for a person, and what is unwell."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from matinee.insights.earned import Standing, standing
from matinee.insights.exploration import Explored
from matinee.insights.measures import currency
from matinee.insights.notes import Note
from matinee.insights.unwell import unwell
from matinee.insights.waiting import waiting
from matinee.service.folder import Service


@dataclass(frozen=True)
class Today:
    """All of it, as it was known at a time. `currency` is the money of the service, where known;
    `explored` is what exploring cost and bought, once it is worked out.
    """

    at: datetime
    currency: str | None
    standings: tuple[Standing, ...]
    waiting: tuple[Note, ...]
    unwell: tuple[Note, ...]
    explored: tuple[Explored, ...] | None = None


def today(service: Service, now: datetime | None = None) -> Today:
    """Read it from the log, the registry, the experiments and the jobs; all but what exploring cost
    and bought, which takes longer.
    """
    at = now or datetime.now(UTC)
    return Today(
        at,
        currency(service),
        tuple(standing(service, surface, at) for surface in service.surfaces.values()),
        tuple(waiting(service)),
        tuple(unwell(service, at)),
    )
