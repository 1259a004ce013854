"""The page of all surfaces: who decides on each, and what waits there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from matinee.desk.views import View, anew
from matinee.registry import Approvals
from matinee.service.folder import Service
from matinee.service.trying import trying


@dataclass(frozen=True)
class Brief:
    """A surface: its champion and since when that was learned, how many versions it has, how many
    passed the gate and wait, and which experiments run on it.
    """

    name: str
    champion: str | None
    model: str | None
    data_as_of: datetime | None
    challenger: str | None
    versions: int
    passed: int
    running: tuple[str, ...]


def surfaces_view(service: Service) -> View[tuple[Brief, ...]]:
    """All surfaces of a service."""
    return View(
        "/desk/surfaces",
        "surfaces.html",
        anew(lambda _: tuple(_brief(service, name) for name in service.surfaces)),
        lambda found: {"surfaces": found},
    )


def _brief(service: Service, name: str) -> Brief:
    champion = service.registry.alias(name, "champion")
    challenger = service.registry.alias(name, "challenger")
    return Brief(
        name,
        champion.id if champion else None,
        champion.model if champion else None,
        champion.data_as_of if champion else None,
        challenger.id if challenger else None,
        len(service.registry.versions(name)),
        len(Approvals(service.registry).passed(name)),
        tuple(one.name for one in trying(service, name).experiments if one.state == "runs"),
    )
