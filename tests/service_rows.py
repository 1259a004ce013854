"""Decisions and plays of a small service, and a way to log them."""

from datetime import UTC, datetime, timedelta

from matinee.lake.records import Decision, Event
from matinee.lake.rows import frame_of_records
from matinee.lake.schemas import SCHEMAS

AT = datetime(2026, 3, 1, 20, tzinfo=UTC)
HOUR = timedelta(hours=1)


def decision(name="d1", member="m1", at=AT, actions=("a", "b"), surface="titles"):
    return Decision(
        decision_id=name,
        request_id=name,
        surface=surface,
        member_id=member,
        at=at,
        policy="titles@1",
        actions=list(actions),
        propensities=[0.5] * len(actions),
        propensity_kind="conditional",
        eligible="all",
        removed=[],
        segment=[],
        scores=[],
        seed=1,
    )


def play(name="e1", member="m1", at=AT + HOUR, *, title="a", decision_id="d1", minutes=60.0):
    return Event(
        event_id=name,
        member_id=member,
        kind="play",
        ts=at,
        title_id=title,
        value=minutes,
        decision_id=decision_id,
    )


def log(service, *records, known=None):
    """Rows that were known when they happened, or at `known`."""
    for record in records:
        table, time = ("decisions", "at") if isinstance(record, Decision) else ("events", "ts")
        frame = frame_of_records([record], SCHEMAS[table], known or time)
        added = service.lake.append(table, frame, source="test")
        assert added.rejected == 0
