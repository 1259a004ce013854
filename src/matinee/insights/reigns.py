"""Which versions of a surface were its champion, and when."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from matinee.registry import Change
from matinee.service.folder import Service

CROWNED = {"promote", "approve", "override", "roll_back"}


def crowned(service: Service, surface: str) -> list[Change]:
    """The changes that made a champion, in the order in which they were made."""
    return [one for one in service.registry.history(surface) if one.action in CROWNED]


def since(changes: Sequence[Change]) -> datetime | None:
    """Since when the champion is, by all that were `crowned`; `None` where none was."""
    return changes[-1].at if changes else None


def reigns(version: str, changes: Sequence[Change]) -> Iterator[tuple[datetime, datetime | None]]:
    """From when until when a version was champion, by all that were `crowned`."""
    ends = [*(one.at for one in changes[1:]), None]
    for change, end in zip(changes, ends, strict=False):  # there may be none
        if change.new == version:
            yield change.at, end
