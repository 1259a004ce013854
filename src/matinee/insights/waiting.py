"""What waits for a person: versions and experiments that may be approved."""

from __future__ import annotations

from collections.abc import Iterator

from matinee.insights.notes import Note, link
from matinee.registry import Approvals
from matinee.service.folder import Service


def waiting(service: Service) -> Iterator[Note]:
    """What a person may approve."""
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
