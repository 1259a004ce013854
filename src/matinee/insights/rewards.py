"""What a service decided itself on a surface, and what decisions brought once they were closed."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from matinee.service.folder import Service
from matinee.surfaces import Surface


def own(service: Service, surface: Surface) -> list[str]:
    """Who decides for a surface of the service itself, and not in a log that was imported."""
    versions = [version.id for version in service.registry.versions(surface.name)]
    return [*versions, *(f"{surface.name}@{name}" for name in ("fallback", *surface.holdouts()))]


def own_decisions(service: Service, surface: Surface) -> pl.LazyFrame:
    """The decisions on a surface by those who decide for it of the service itself."""
    return service.lake.scan("decisions").filter(
        pl.col("surface") == surface.name, pl.col("policy").is_in(own(service, surface))
    )


def rewards(service: Service, surface: Surface, at: datetime, *where: pl.Expr) -> pl.LazyFrame:
    """decision_id, reward, closed_at, decided_at and member_id of each decision on a surface whose
    window is closed as of a time; the reward is the sum over its positions. `where` leaves out
    outcomes that are not asked for.
    """
    return (
        service.lake.scan("outcomes")
        .filter(pl.col("surface") == surface.name, pl.col("closed_at") <= at, *where)
        .group_by("decision_id")
        .agg(
            pl.col("reward").sum(),
            pl.col("closed_at").max(),
            pl.col("decided_at", "member_id").first(),
        )
    )
