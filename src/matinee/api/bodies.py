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
from matinee.ready import ready
from matinee.surfaces import Choice

MOST_SUBJECTS = 1_000
Slots = Annotated[int, Meta(ge=1, le=100, description="how many titles are wanted")]


@ready
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
    subject: (
        Annotated[Id, Meta(description="what the choice is about: an invoice, for payments")] | None
    ) = None
    subjects: Annotated[
        list[Id],
        Meta(max_length=MOST_SUBJECTS, description="titles, where a surface chooses for each"),
    ] = []


@ready
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


@ready
class EventsBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A batch of events, decoded one by one so that a bad one does not spoil the others."""

    events: list[msgspec.Raw]


@ready
class PaymentsBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rows of payments by table, decoded one by one so that a bad one does not spoil the others."""

    invoices: list[msgspec.Raw] = []
    instruments: list[msgspec.Raw] = []
    attempts: list[msgspec.Raw] = []
    settlements: list[msgspec.Raw] = []
    processors: list[msgspec.Raw] = []
    outages: list[msgspec.Raw] = []


class TableCount(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the rows of one table. Accepted ones are durable; duplicates had been before,
    and so had an invoice, instrument, processor or outage that says nothing new.
    """

    accepted: int = 0
    duplicates: int = 0


class PaymentError(msgspec.Struct, frozen=True):
    """Why a row was refused; `row` counts from 0 in its table."""

    table: str
    row: int
    reason: str


class PaymentsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the rows, by table, and which of the accepted attempts are odd: those that
    name a decision which their member never had, that answer one never reported as sent, and that
    come after a later status. Of several statuses of an attempt the last one of sent, unknown,
    failed, declined, approved holds, whatever the order they come in.
    """

    tables: dict[str, TableCount]
    unknown_decisions: int = 0
    unknown_attempts: int = 0
    out_of_order: int = 0
    errors: list[PaymentError] = []


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
    "PaymentError",
    "PaymentsAnswer",
    "PaymentsBody",
    "PreviewQuery",
    "TableCount",
]
