"""Who did what, when and why: versions, experiments, holdouts and people in one trail."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from matinee.service.folder import Service

MOST = 500
"""Lines that are told at once, the newest."""


@dataclass(frozen=True)
class Line:
    """One change: `about` is what it was done to, `kind` what that is, `detail` what it was before
    or is since.
    """

    at: datetime
    by: str
    action: str
    kind: str
    about: str
    detail: str
    reason: str


def audit(service: Service, about: str = "", by: str = "") -> tuple[Line, ...]:
    """The newest changes first; those whose `about` or `by` holds a text, of any case.

    Nothing here can be changed: each is a line of a history that only grows.
    """
    lines = [*_versions(service), *_trials(service), *_people(service)]
    found = [
        line
        for line in lines
        if about.casefold() in line.about.casefold() and by.casefold() in line.by.casefold()
    ]
    return tuple(sorted(found, key=lambda line: line.at, reverse=True)[:MOST])


def _versions(service: Service) -> Iterator[Line]:
    for surface in service.registry.surfaces():
        for one in service.registry.history(surface):
            detail = f"before: {one.old}" if one.old and one.old != one.new else ""
            yield Line(one.at, one.by, one.action, "version", one.new, detail, one.reason)


def _trials(service: Service) -> Iterator[Line]:
    for step in service.trials.history(readings=False):
        yield Line(
            step.at, step.by, step.action, step.kind, step.name, _served(step.body), step.reason
        )


def _served(body: object) -> str:
    """What an experiment or a holdout gives, of what it was from then on."""
    if not isinstance(body, dict):
        return ""
    arms = body.get("arms") or [body]
    return ", ".join(str(arm["serves"]) for arm in arms if "serves" in arm)


def _people(service: Service) -> Iterator[Line]:
    for one in service.people.history():
        yield Line(one.at, one.by, one.action, "person", one.name, one.role or "", one.reason)
