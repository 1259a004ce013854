"""Members of the small trained service came back two hours ago, and the service decided."""

from datetime import UTC, datetime, timedelta

from matinee.lake.records import Eligible
from matinee.lake.rows import frame_of_records
from matinee.lake.schemas import SCHEMAS
from matinee.service.runtime import Runtime
from matinee.surfaces import Request

VISITED = datetime.now(UTC) - timedelta(hours=2)
SHORT_WINDOW = '[surfaces.titles]\nwindow = "1h"\n'
"""Settings with which what came of those decisions is known by now."""


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
