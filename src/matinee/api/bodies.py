"""What the endpoints take and give: one msgspec struct each."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from matinee.decisions import HomePage
from matinee.lake.records import (
    Country,
    Decision,
    Device,
    Id,
    MemberId,
    Probability,
    from_micros,
)
from matinee.surfaces import Choice

MOST_SUBJECTS = 1_000
Slots = Annotated[int, Meta(ge=1, le=100, description="how many titles are wanted")]


class DecideBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request for a decision.

    The same `request_id` of a member gets the same decision again; the country is the member's
    own unless given.
    """

    request_id: Id
    member_id: MemberId
    slots: Slots | None = None
    country: Country | None = None
    device: Device | None = None
    features: dict[str, Any] = {}
    subjects: Annotated[
        list[Id],
        Meta(max_length=MOST_SUBJECTS, description="titles, where a surface chooses for each"),
    ] = []


class PreviewQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may stand after the `?` of a preview; `policy` is a version such as titles@3."""

    policy: str | None = None
    slots: Slots | None = None
    country: Country | None = None
    device: Device | None = None


class DecisionAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A decision, durable in the log. `reason` says why `actions` is empty where it is.

    Echo `decision_id` and the position (0 is the first) in the events that answer to it.
    """

    decision_id: str
    request_id: str
    surface: str
    member_id: str
    at: datetime
    policy: str
    actions: list[str]
    propensities: list[Probability]
    propensity_kind: str
    duplicate: bool = False
    reason: str = ""

    @classmethod
    def of(cls, decision: Decision, *, duplicate: bool) -> DecisionAnswer:
        empty = not decision.actions
        return cls(
            decision_id=decision.decision_id,
            request_id=decision.request_id,
            surface=decision.surface,
            member_id=decision.member_id,
            at=decision.at,
            policy=decision.policy,
            actions=decision.actions,
            propensities=decision.propensities,
            propensity_kind=decision.propensity_kind,
            duplicate=duplicate,
            reason="; ".join(mask.reason for mask in decision.masks) if empty else "",
        )


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """What stands for a member and a subject, durable in the log, since `at`."""

    subject: str
    action: str
    decision_id: str
    at: datetime
    policy: str
    propensity: Probability

    @classmethod
    def of(cls, subject: str, choice: Choice) -> Assignment:
        return cls(
            subject=subject,
            action=choice.action,
            decision_id=choice.decision_id,
            at=from_micros(choice.at),
            policy=choice.policy,
            propensity=choice.propensity,
        )


class AssignmentsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What stands for each subject, in the order asked; none for one with nothing to show."""

    request_id: str
    surface: str
    member_id: str
    assignments: list[Assignment]


class EventError(msgspec.Struct, frozen=True):
    """Why one event of a batch was refused; `row` counts from 0."""

    row: int
    reason: str


class EventsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a batch. Accepted events are durable; duplicates had been before."""

    accepted: int
    duplicates: int
    errors: list[EventError]


class EventsBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A batch of events, decoded one by one so that a bad one does not spoil the others."""

    events: list[msgspec.Raw]


class Health(msgspec.Struct, frozen=True):
    """Whether the server lives, or is ready to decide on each surface."""

    status: str
    champions: dict[str, str] = {}


__all__ = [
    "Assignment",
    "AssignmentsAnswer",
    "DecideBody",
    "DecisionAnswer",
    "EventError",
    "EventsAnswer",
    "EventsBody",
    "Health",
    "HomePage",
    "PreviewQuery",
]
