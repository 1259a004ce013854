"""What exploring costs the surfaces of a service, and what it buys."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from matinee.errors import MatineeError
from matinee.insights.bought import Bought, bought
from matinee.insights.spent import Spent, spent_and_left
from matinee.service.folder import Service


@dataclass(frozen=True)
class Explored:
    """What exploring cost a surface, and what it bought, as it was known at a time."""

    surface: str
    spent: Spent
    bought: Bought
    at: datetime


def explored(service: Service, at: datetime) -> tuple[Explored, ...]:
    """What exploring cost and bought, as of a time, on each surface that has a champion; but for
    one whose policy cannot be read.
    """
    found = []
    for surface in service.surfaces:
        with suppress(MatineeError):
            cost, left = spent_and_left(service, surface, at)
            if cost is not None:
                found.append(Explored(surface, cost, bought(service, surface, left), at))
    return tuple(found)
