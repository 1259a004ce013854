"""Days that a simulated service lives through: members come, are decided for, and react."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from matinee.demo import artwork
from matinee.lake.records import Decision, Eligible, Event
from matinee.lake.rows import frame_of_records
from matinee.lake.schemas import SCHEMAS
from matinee.service.folder import Service
from matinee.service.runtime import Runtime
from matinee.surfaces import Artwork, Request, Titles
from matinee.world import World


@dataclass
class Coming:
    """Events that have not happened yet: a film that was begun before midnight ends after it."""

    of_member: dict[str, list[Event]] = field(default_factory=lambda: defaultdict(list))

    def add(self, events: Sequence[Event]) -> None:
        """More of them, of any members."""
        for event in events:
            self.of_member[event.member_id].append(event)

    def until(self, at: datetime, members: Sequence[str] | None = None) -> list[Event]:
        """Those of some members, all by default, that happen before a time, in order of time; they
        are no longer to come.
        """
        found = list[Event]()
        for member in list(self.of_member) if members is None else members:
            mine = self.of_member.pop(member, [])
            found += [event for event in mine if event.ts < at]
            if later := [event for event in mine if event.ts >= at]:
                self.of_member[member] = later
        return sorted(found, key=lambda event: (event.ts, event.event_id))


class Living:
    """A service that decides for the members of a world, day after day, as it stood when this was
    made: by its champions, experiments and holdouts, and by histories as they were at each visit.

    What is decided and what comes of it is written when a day is over, dated as it happened.
    `coming` are events of earlier days.
    """

    def __init__(self, service: Service, world: World, coming: Coming) -> None:
        self._service, self._world, self._coming = service, world, coming
        self._runtime = Runtime(service)
        self._runtime.close()  # nobody else changes the service, and its members are told here
        self._seq = service.lake.inbox.last_seq()
        self._pictures = Artwork.name in self._runtime.champions()
        self._happened = list[Event]()

    def day(self, day: int) -> int:
        """Live one day, and write it down; how many came."""
        records, visits = list[Any](), self._world.visits(day)
        for number, visit in enumerate(visits):
            self._tell(visit.at, [visit.member_id])
            request = Request(
                request_id=f"visit-{day:03d}-{number:06d}",
                member_id=visit.member_id,
                at=visit.at,
                country=visit.country,
                device=visit.device,
            )
            decider = self._runtime.deciding(Titles.name, request)
            decision = decider.propose(request)
            shown, drawn = self._shown(request, decision)
            records += [*decider.records([decision]), *drawn]
            self._coming.add(self._answers(decision, shown))
        self._tell(self._start(day + 1), None)
        self._write(records, self._start(day))
        return len(visits)

    def _start(self, day: int) -> datetime:
        return self._world.settings.start + timedelta(days=day)

    def _tell(self, at: datetime, members: Sequence[str] | None) -> None:
        """Let the service know what happened before a time."""
        for event in self._coming.until(at, members):
            self._seq += 1
            self._runtime.members.apply(event, self._seq)
            self._happened.append(event)

    def _shown(self, request: Request, decision: Decision) -> tuple[list[str] | None, list[Any]]:
        """The picture of each title, and what is to be written of those that were drawn."""
        if not self._world.settings.pictures:
            return None, []
        if not self._pictures:  # each member goes on seeing what the log has shown them
            member = decision.member_id
            return [self._world.assigned(member, title) for title in decision.actions], []
        assigner = self._runtime.assigner(Artwork.name, request)
        shown, drawn = artwork.shown(assigner, request, decision.actions)
        for one in drawn:
            self._runtime.choices.note(one)
        return shown, assigner.records(drawn)

    def _answers(self, decision: Decision, pictures: list[str] | None) -> list[Event]:
        return self._world.respond(
            decision.member_id,
            decision.decision_id,
            decision.actions,
            decision.at,
            np.random.default_rng(decision.seed),
            pictures=pictures,
        )

    def _write(self, records: Sequence[Any], known: datetime) -> None:
        write(self._service, records, known)
        write(self._service, self._happened, known)
        self._happened = []


def write(service: Service, records: Sequence[Any], known: datetime) -> None:
    """Decisions, eligible sets and events, each known when it happened; sets at a time."""
    sets = {one.eligible: one for one in records if isinstance(one, Eligible)}
    for table, rows, at in (
        ("eligible", list(sets.values()), known),
        ("decisions", [one for one in records if isinstance(one, Decision)], "at"),
        ("events", [one for one in records if isinstance(one, Event)], "ts"),
    ):
        if rows:
            service.lake.append(table, frame_of_records(rows, SCHEMAS[table], at), source="visits")
