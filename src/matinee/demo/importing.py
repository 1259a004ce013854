"""What was there before the service decided: its catalogue, its members, and the world's log."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from matinee.console import progress, say
from matinee.demo import artwork
from matinee.lake.records import Event
from matinee.lake.rows import frame_of_records, records_of
from matinee.lake.schemas import SCHEMAS
from matinee.service.folder import Service
from matinee.service.outcomes import close_windows
from matinee.world import Day, World


def import_world(service: Service, world: World, until: datetime | None = None) -> list[Event]:
    """Import a world with its log, and what came of it; with `until` only what had happened by
    then, and the events of the log that were still to come.
    """
    lake = service.lake
    for table, records in (
        ("members", world.members()),
        ("titles", world.titles()),
        ("windows", world.windows()),
    ):
        frame = frame_of_records(records, SCHEMAS[table], world.settings.start)
        lake.append(table, frame, source="world")
    artwork.bring(service, world)
    service.refresh()
    say(f"Importing {world.settings.days} days of its log ...")
    watching, coming = artwork.Watching(service), list[Event]()
    with progress("Importing days", world.settings.days, "days") as advance:
        for day in world.days():
            coming += _import_day(service, day, watching, until)
            advance(1)
    lake.compact(least=2)
    say(f"What came of those decisions: {close_windows(service, until)}")
    return coming


def _import_day(
    service: Service, day: Day, watching: artwork.Watching, until: datetime | None
) -> list[Event]:
    """A day of the log, and what of it was still to come."""
    source, late = f"world day {day.day}", pl.lit(value=False)
    if until is not None:
        late = pl.col("ts") >= until
    for table, frame, known in (
        ("eligible", day.eligible, None),
        ("decisions", day.decisions, "at"),
        ("decisions", watching.told(day.assignments, day.events), "at"),
        ("events", day.events.filter(~late), "ts"),
    ):
        rows = frame if known is None else frame.with_columns(known_at=pl.col(known))
        service.lake.append(table, rows, source=source)
    coming: list[Event] = records_of(day.events.filter(late), SCHEMAS["events"])
    return coming
