"""Who chooses on a surface, as pages name them: versions and holdouts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from matinee.service.folder import Service

RULES = {"fixed": "always the fixed picture", "uniform": "each picture alike, at random"}
"""What the holdouts of `artwork` do."""


@dataclass(frozen=True)
class Choosers:
    """The versions of a surface with their models, and which one is the champion."""

    models: Mapping[str, str]
    champion: str | None = None

    @classmethod
    def of(cls, service: Service, surface: str) -> Self:
        """Those of a service, now."""
        registry = service.registry
        champion = registry.alias(surface, "champion")
        models = {version.id: version.model for version in registry.versions(surface)}
        return cls(models, champion.id if champion else None)

    def about(self, name: str) -> str:
        """What it is that chose: a version, a holdout, or none of this service's.

        >>> some = Choosers({"artwork@1": "linear"}, "artwork@1")
        >>> some.about("artwork@1"), some.about("artwork@fixed")
        ('linear, the champion', 'always the fixed picture')
        """
        if name in self.models:
            model = self.models[name]
            return f"{model}, the champion" if name == self.champion else model
        return RULES.get(name.partition("@")[2], "no version of this service")
