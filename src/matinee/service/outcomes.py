"""Closing attribution windows: what came of each decision, written once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl

from matinee.lake.table import Bucket
from matinee.service.folder import Service
from matinee.service.leases import Leases
from matinee.surfaces import Surface

GRACE = timedelta(minutes=10)
"""How long after a window an event may still arrive and count: phones report late."""

_DECISION = ["decision_id", "member_id", "surface", "at", "actions", "seq"]


def close_windows(service: Service, now: datetime | None = None) -> str:
    """Write the outcomes of every decision whose window, and the grace after it, have passed.

    Only events that were known by then count, so that the answer is the same whenever the job
    runs. The checkpoint is the last decision before the first that is still open; outcomes are
    idempotent, so a run that was cut short is simply done again.
    """
    now = now or datetime.now(UTC)
    leases = Leases(service.store)
    since = leases.checkpoint("outcomes")
    decisions = service.lake.tables["decisions"].buckets()
    events = service.lake.tables["events"].buckets()
    written, first_open, last = 0, None, since
    for mine, theirs in zip(decisions, events, strict=True):
        new = mine.scan().filter(pl.col("seq") > since).select(_DECISION).collect()
        if new.is_empty():
            continue
        last = max(last, int(new["seq"].max()))  # type: ignore[arg-type]
        for surface in service.surfaces.values():
            asked = new.filter(pl.col("surface") == surface.name)
            due = asked.filter(pl.col("at") + surface.window + GRACE <= now)
            written += _write(service, surface, due, theirs)
            still_open = asked.join(due, on="seq", how="anti")["seq"].min()
            if still_open is not None:
                first_open = min(first_open or 2**62, int(still_open))  # type: ignore[arg-type]
    leases.advance("outcomes", last if first_open is None else first_open - 1)
    return f"{written} outcomes" if written else ""


def _write(service: Service, surface: Surface, due: pl.DataFrame, events: Bucket) -> int:
    if due.is_empty():
        return 0
    closes = pl.col("at") + surface.window + GRACE
    answers = (
        events.scan()
        .filter(pl.col("decision_id").is_not_null())
        .join(due.lazy().select("decision_id", closed_at=closes), on="decision_id")
        .filter(pl.col("known_at") <= pl.col("closed_at"))
        .drop("closed_at")
        .collect()
    )
    rewards = surface.reward(due, answers)
    outcomes = rewards.join(due, on="decision_id").select(
        "decision_id",
        "member_id",
        "surface",
        "position",
        pl.col("actions").list.get(pl.col("position")).alias("action"),
        "reward",
        pl.col("at").alias("decided_at"),
        closes.alias("closed_at"),
        closes.alias("known_at"),
    )
    return service.lake.tables["outcomes"].append(outcomes)
