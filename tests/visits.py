"""Members of the small trained service came back two hours ago, and the service decided."""

from datetime import UTC, datetime, timedelta

import numpy as np

from matinee.lake.records import Eligible, Event
from matinee.lake.rows import frame_of_records
from matinee.lake.schemas import SCHEMAS
from matinee.policies import PlackettLuce
from matinee.service.folder import Service
from matinee.service.outcomes import close_windows
from matinee.service.runtime import Runtime
from matinee.surfaces import Request

VISITED = datetime.now(UTC) - timedelta(hours=2)
SHORT_WINDOW = '[surfaces.titles]\nwindow = "1h"\n'
"""Settings with which what came of those decisions is known by now."""
PLAYED = VISITED + timedelta(minutes=5)
POLICIES = (
    PlackettLuce(temperature=0.1, epsilon=0.05, segment=100),
    PlackettLuce(temperature=0.3, epsilon=0.3, segment=100),
)
"""titles@3 keeps closer to the best than the champion, titles@4 explores more; all one model."""


def append(service, table, records, known=VISITED):
    added = service.lake.append(
        table, frame_of_records(records, SCHEMAS[table], known), source="test"
    )
    assert added.rejected == 0


def decide(service, version, members=10_000, visits=1, slots=1):
    """What a version chose for so many members: the decisions and their candidate sets, logged."""
    with Runtime(service) as runtime:
        decider = runtime.decider(version)
        requests = [
            Request(request_id=f"r{visit}", member_id=member, at=VISITED, slots=slots)
            for member in service.lake.current("members")["member_id"].head(members)
            for visit in range(visits)
        ]
        decisions = [decider.propose(runtime.located(request)) for request in requests]
        sets = [one for one in decider.records(decisions) if isinstance(one, Eligible)]
    append(service, "eligible", sets)
    append(service, "decisions", decisions)
    return decisions, sets


def visited(folder, visits, slots):
    """The service in `folder` after every member came back `visits` times.

    What its model likes best is played nine times out of ten, everything else once in fifty.
    """
    (folder / "matinee.toml").write_text(SHORT_WINDOW)
    (folder / "salt").write_bytes(bytes(32))  # the same draws in each run
    service = Service.open(folder)
    model, _ = service.registry.load("titles@2")
    earlier = {"data_as_of": VISITED - timedelta(hours=1), "settings": {}, "metrics": {}}
    decisions, sets = decide(service, "titles@2", visits=visits, slots=slots)
    ids = {one.eligible: one.candidates for one in sets}
    chance = np.random.default_rng(0)
    plays = [
        Event(
            event_id=f"{decision.decision_id}-{position}",
            member_id=decision.member_id,
            kind="play",
            ts=PLAYED,
            title_id=title,
            value=30.0,
            decision_id=decision.decision_id,
            position=position,
        )
        for decision in decisions
        for position, title in enumerate(decision.actions)
        if chance.random() < (0.9 if title == ids[decision.eligible][decision.segment[0]] else 0.02)
    ]
    append(service, "events", plays, PLAYED)
    close_windows(service)
    for policy in POLICIES:
        service.registry.register("titles", model, policy, by="test", **earlier)
    return service
