"""Who did what, when and why: versions, experiments, holdouts and people in one trail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from matinee.service.folder import Service

MOST = 500
"""Lines that are told at once, the newest."""


@dataclass(frozen=True)
class Line:
    """One change: `about` is what it was done to, `kind` what that is, `detail` what it was before
    or is since. `surface` is where it counts: "" nowhere, `None` everywhere.
    """

    at: datetime
    by: str
    action: str
    kind: str
    about: str
    detail: str
    reason: str
    surface: str | None


def audit(service: Service, about: str = "", by: str = "", surface: str = "") -> tuple[Line, ...]:
    """The newest changes first: those whose `about` and `by` hold a text, of any case, and that
    count on a surface.

    Nothing here can be changed: each is a line of a history that only grows.
    """
    lines = [*_versions(service), *_trials(service), *_people(service)]
    found = [
        line
        for line in lines
        if about.casefold() in line.about.casefold()
        and by.casefold() in line.by.casefold()
        and (not surface or line.surface in {surface, None})
    ]
    return tuple(sorted(found, key=lambda line: line.at, reverse=True)[:MOST])


def _versions(service: Service) -> Iterator[Line]:
    for surface in service.registry.surfaces():
        for one in service.registry.history(surface):
            detail = f"before: {one.old}" if one.old and one.old != one.new else ""
            yield Line(one.at, one.by, one.action, "version", one.new, detail, one.reason, surface)


def _trials(service: Service) -> Iterator[Line]:
    for step in service.trials.history(readings=False):
        body = step.body if isinstance(step.body, dict) else {}
        served, where = _served(body), body.get("surface", "")
        yield Line(step.at, step.by, step.action, step.kind, step.name, served, step.reason, where)


def _served(body: Mapping[str, Any]) -> str:
    """What an experiment or a holdout gives, of what it was from then on."""
    arms = body.get("arms") or [body]
    return ", ".join(str(arm["serves"]) for arm in arms if "serves" in arm)


def _people(service: Service) -> Iterator[Line]:
    for one in service.people.history():
        yield Line(one.at, one.by, one.action, "person", one.name, one.role or "", one.reason, "")
