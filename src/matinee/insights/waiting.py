"""What waits for a person: versions and experiments that may be approved, and the first steps."""

from __future__ import annotations

from collections.abc import Iterator

from matinee.insights.notes import Note, link
from matinee.registry import Approvals
from matinee.service.folder import Service


def waiting(service: Service) -> Iterator[Note]:
    """What a person may approve; where nothing was learned yet, what comes first."""
    if not service.registry.surfaces():
        yield _first_step(service)
    approvals = Approvals(service.registry)
    for surface in service.surfaces:
        where = link("/desk/surface", {"name": surface})
        champion = service.registry.alias(surface, "champion")
        if champion is None:
            made = service.registry.versions(surface)
            if made:
                last = made[-1].id
                said = f"{last} waits to be the first"
                yield Note(surface, said, f"matinee promote {last}", where, ("promote", last))
            continue
        for passed in approvals.passed(surface):
            name = passed.candidate
            step = f"matinee approve {name} --reason '...'"
            yield Note(name, passed.reasons[0], step, where, ("approve", name))
    for reading in service.trials.won():
        step = f"matinee experiments win {reading.name} --reason '...'"
        where = link("/desk/experiment", {"name": reading.name})
        yield Note(reading.name, reading.body["reasons"][0], step, where, ("win", reading.name))


def _first_step(service: Service) -> Note:
    """What makes a new service decide."""
    heard = service.lake.scan("events").select("event_id").head(1).collect().height
    name = next(iter(service.surfaces))
    if heard:
        said = "nothing decides yet: no model has learned from what was imported"
        return Note(name, said, f"matinee train {name}", link("/desk/surface", {"name": name}))
    lacks = "what members watch" if service.lake.current("titles").height else "titles and members"
    said = f"nothing is known yet of {lacks}"
    return Note(service.name, said, "matinee import SOURCE", link("/desk/data"))
