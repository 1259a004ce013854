"""What the registry knows of one version."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from matinee.errors import MatineeError

_SURFACE = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_VERSION = re.compile(rf"({_SURFACE.pattern})@([1-9][0-9]{{0,8}})")


@dataclass(frozen=True)
class Version:
    """One trained model with the policy that acts on it.

    `data_as_of` is the time after which nothing was known to it, tuning included; `code` the
    version of Matinee that made it; `settings` and `metrics` what it was trained with and scored.

    >>> from datetime import UTC
    >>> time = datetime(2026, 1, 1, tzinfo=UTC)
    >>> Version("titles", 3, "ease", "plackett_luce", time, "0.1.0", {}, {}, "ann", time, None).id
    'titles@3'
    """

    surface: str
    number: int
    model: str
    policy: str
    data_as_of: datetime
    code: str
    settings: dict[str, Any]
    metrics: dict[str, Any]
    by: str
    registered_at: datetime
    parent: str | None

    @property
    def id(self) -> str:
        return f"{self.surface}@{self.number}"


def check_surface(name: str) -> str:
    """`name`, if it may name a surface: it becomes the name of a folder.

    >>> check_surface("titles")
    'titles'
    """
    if not _SURFACE.fullmatch(name):
        raise MatineeError(
            f"{name!r} cannot name a surface",
            why="a name is 1 to 40 of a-z, 0-9, '_' and '-', and starts with a letter",
            next_step="choose a name such as 'titles'",
        )
    return name


def parse_version(version: str) -> tuple[str, int]:
    """The surface and the number of a version id.

    >>> parse_version("titles@3")
    ('titles', 3)
    """
    match = _VERSION.fullmatch(version)
    if match is None:
        raise MatineeError(f"{version!r} is not a version", why="a version looks like titles@3")
    return match[1], int(match[2])
