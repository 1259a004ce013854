"""One decision of the log whole, with what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import numpy as np
import polars as pl

from matinee.decisions.rebuild import preference_of, rebuild
from matinee.errors import MatineeError
from matinee.insights.propensities import policy_of
from matinee.insights.searching import names_of
from matinee.lake.billing import Attempt
from matinee.lake.buckets import bucket_of
from matinee.lake.records import Decision, Event, Masked
from matinee.lake.rows import records_of
from matinee.lake.schemas import SCHEMAS
from matinee.lake.table import collect
from matinee.policies import Policy
from matinee.service.folder import Service
from matinee.service.outcomes import GRACE, about_subjects
from matinee.surfaces import Surface

SHOWN = 200
"""The most candidates, and answers, of a decision that are given."""
NEAR = 1e-6
"""How far a propensity may lie from the one that is rebuilt."""
NOWHERE = -1
"""The place of an action that was no candidate."""


@dataclass(frozen=True)
class Chosen:
    """What stands in a position of a decision.

    `propensity` is `None` where the whole list has one. `rank` is its place in what the policy drew
    from, 1 the best, and `logit` its own there. `reward` is `None` while the window is open.
    """

    position: int
    action: str
    propensity: float | None
    rank: int | None
    logit: float | None
    reward: float | None


@dataclass(frozen=True)
class Alternatives:
    """What it was chosen from: how many candidates, and the first 200 of them by id; `None` and
    none where the log does not have the set. Masks took some away, and the draw was made from some.
    """

    candidates: int | None
    removed: int
    drawn_from: int
    first: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """An event that answers to a decision, and whether it came in time to count, if one knows."""

    event: Event
    known_at: datetime
    in_time: bool | None


@dataclass(frozen=True)
class Rebuilt:
    """Whether the propensities follow from the record's own logits by the policy of its version,
    to 1e-6, and whether its seed draws the same actions once more; `None` where nobody can tell,
    and `why`. `propensities` are those that the policy gives its actions.
    """

    agrees: bool | None
    redrawn: bool | None
    why: str = ""
    propensities: tuple[float, ...] = ()


@dataclass(frozen=True)
class Whole:
    """All that is known of a decision.

    `closes_at` is when its window, and the grace after it, are over, by the settings of today;
    `closed_at` when they were, once that is written down. `answers` are 200 at most; where a choice
    is for a subject they are what the member did with it while this one stood. `names` are those of
    titles by id.
    """

    record: Decision
    known_at: datetime
    chosen: tuple[Chosen, ...]
    alternatives: Alternatives
    rebuilt: Rebuilt
    closes_at: datetime | None
    closed_at: datetime | None
    answers: tuple[Answer, ...]
    attempts: tuple[Attempt, ...]
    names: dict[str, str]


class UnknownDecisionError(MatineeError):
    """The log has no such decision."""


def one(service: Service, decision_id: str, member: str | None = None) -> Whole:
    """A decision by its id, of one member where that is given: then their rows alone are read.

    Raises `UnknownDecisionError` where there is none, `MatineeError` where several members have one
    of that id, as they may in a log that was imported.
    """
    row = _row(service, decision_id, member)
    record, surface = _record(row), service.surfaces.get(row["surface"])
    candidates = _candidates(service, record.eligible)
    first = tuple((candidates or ())[:SHOWN])
    closes_at = record.at + surface.window + GRACE if surface else None
    rewards, closed_at = _outcome(service, record)
    answers = tuple(_answers(service, record, surface))
    told = [answer.event.title_id for answer in answers]
    return Whole(
        record,
        row["known_at"],
        tuple(_chosen(record, candidates or (), rewards)),
        Alternatives(
            None if candidates is None else len(candidates),
            len(record.removed),
            len(record.segment),
            first,
        ),
        _rebuilt(service, record, surface, candidates or ()),
        closes_at,
        closed_at,
        answers,
        _attempts(service, record),
        names_of(service, (*record.actions, record.subject, *first, *told)),
    )


def _row(service: Service, decision_id: str, member: str | None) -> dict[str, Any]:
    """The row of a decision: its member is found by the ids alone, then their bucket is read."""
    table, this = service.lake.tables["decisions"], pl.col("decision_id") == decision_id
    asked = table.of_id("decision_id", decision_id) if member is None else [table.of_member(member)]
    named = pl.concat([bucket.scan() for bucket in asked]).filter(this).select("member_id")
    found = collect(named, "decisions")["member_id"].to_list()
    if not found:
        raise UnknownDecisionError(
            f"there is no decision {decision_id[:60]!r}",
            why=f"the log has none of {member[:60]!r} with this id" if member else "",
            next_step="look for it in the log by its member or its time",
        )
    if len(found) > 1:
        raise MatineeError(
            f"{len(found)} members have a decision {decision_id[:60]!r}",
            why="the log was imported with ids that are not unique",
            next_step=f"name the member too: {', '.join(sorted(found)[:3])}, say",
        )
    home = asked[bucket_of(found[0], len(asked))]  # of one alone, that one
    whole = home.scan().filter(this, pl.col("member_id") == found[0])
    return collect(whole, "decisions").row(0, named=True)


def _record(row: Mapping[str, Any]) -> Decision:
    """The decision of a row. Of a log that was imported, the nested parts may be any text."""
    context: Any = {"text": row["context"]}
    masks: list[Masked] = []
    with suppress(msgspec.DecodeError):
        context = msgspec.json.decode(row["context"], type=dict[str, Any])
    with suppress(msgspec.DecodeError):
        masks = msgspec.json.decode(row["masks"], type=list[Masked])
    fields = {name: row[name] for name in Decision.__struct_fields__}
    return Decision(**{**fields, "context": context, "masks": masks})


def _rows(service: Service, table: str, record: Decision) -> pl.LazyFrame:
    """The rows of a table that are the member's own."""
    return service.lake.tables[table].of_member(record.member_id).scan()


def _candidates(service: Service, eligible: str) -> list[str] | None:
    """The set of that hash, ascending by id, if the log has it."""
    (sets,) = service.lake.tables["eligible"].of_id("eligible", eligible)
    found = collect(sets.scan().select("candidates").head(1), "eligible")["candidates"].to_list()
    return found[0] if found else None


def _outcome(service: Service, record: Decision) -> tuple[dict[int, float], datetime | None]:
    """The rewards by position, and when they were final; none while the window is open."""
    mine = _rows(service, "outcomes", record).filter(pl.col("decision_id") == record.decision_id)
    found = collect(mine.select("position", "reward", "closed_at"), "outcomes").to_dict()
    rewards = dict(zip(found["position"], found["reward"], strict=True))
    return rewards, max(found["closed_at"], default=None)


def _answers(service: Service, record: Decision, surface: Surface | None) -> Iterator[Answer]:
    """The events that name the decision; or those about its subject while it stood."""
    events = _rows(service, "events", record)
    if surface is not None and surface.unit == "subject":
        stood = _rows(service, "decisions", record).filter(pl.col("surface") == record.surface)
        stood = stood.filter(pl.col("subject") == record.subject)
        keys = stood.select("member_id", "subject", "at", "decision_id", "seq")
        events = about_subjects(events, collect(keys, "decisions"))
    mine = events.filter(pl.col("decision_id") == record.decision_id).sort("ts", "seq").head(SHOWN)
    frame = collect(mine, "events")
    known = frame["known_at"].to_list()
    for event, known_at in zip(records_of(frame, SCHEMAS["events"]), known, strict=True):
        yield Answer(event, known_at, _in_time(event.ts, known_at, record.at, surface))


def _in_time(
    at: datetime, known_at: datetime, decided: datetime, surface: Surface | None
) -> bool | None:
    """Whether what happened, and when that was known, is early enough to count for a decision."""
    if surface is None:
        return None
    end = decided + surface.window
    return decided <= at < end and known_at <= end + GRACE


def _attempts(service: Service, record: Decision) -> tuple[Attempt, ...]:
    """The reports on attempts to charge that name the decision."""
    mine = _rows(service, "attempts", record).filter(pl.col("decision_id") == record.decision_id)
    found = collect(mine.sort("at", "seq").head(SHOWN), "attempts")
    return tuple(records_of(found, SCHEMAS["attempts"]))


def _chosen(
    record: Decision, candidates: Sequence[str], rewards: Mapping[int, float]
) -> Iterator[Chosen]:
    """Each position, with where its action stands in what the policy drew from."""
    whole = record.propensity_kind == "joint" or len(record.propensities) != len(record.actions)
    drawn = zip(record.segment, record.scores, strict=False)
    ranks = {
        candidates[place]: (rank, logit)
        for rank, (place, logit) in enumerate(drawn, 1)
        if place < len(candidates)
    }
    for position, action in enumerate(record.actions):
        propensity = None if whole else record.propensities[position]
        rank, logit = ranks.get(action, (None, None))
        yield Chosen(position, action, propensity, rank, logit, rewards.get(position))


def _rebuilt(
    service: Service, record: Decision, surface: Surface | None, candidates: Sequence[str]
) -> Rebuilt:
    """By the policy of the version alone, which takes no model."""
    if not candidates:
        return Rebuilt(None, None, "the log does not have what it was chosen from")
    try:
        policy = _policy(service, record, surface)
        return _compared(record, policy, surface, candidates)
    except MatineeError as error:
        return Rebuilt(None, None, str(error))
    except Exception as failure:  # the policy may be anyone's code, the record from any log
        return Rebuilt(None, None, f"the policy failed: {type(failure).__name__}: {failure}")


def _compared(
    record: Decision, policy: Policy, surface: Surface | None, candidates: Sequence[str]
) -> Rebuilt:
    unit = surface.unit if surface else "member"
    try:
        slate = rebuild(record, policy, unit)
        redrawn = [candidates[place] for place in slate.actions.tolist()] == record.actions
    except ValueError:
        redrawn = False
    if record.propensity_kind != "conditional":
        return Rebuilt(redrawn, redrawn)
    known = {candidate: place for place, candidate in enumerate(candidates)}
    places = np.array([known.get(action, NOWHERE) for action in record.actions], np.int32)
    again = policy.propensities(preference_of(record), places)
    agrees = len(again) == len(record.propensities)
    agrees = agrees and bool(np.allclose(again, record.propensities, rtol=0, atol=NEAR))
    return Rebuilt(agrees, redrawn, propensities=tuple(again.tolist()))


def _policy(service: Service, record: Decision, surface: Surface | None) -> Policy:
    """The policy of a record's version, of a holdout or of the fallback."""
    if surface is not None:
        name = record.policy.removeprefix(f"{surface.name}@")
        if holdout := surface.holdouts().get(name):
            return holdout.policy
        if name == "fallback" and (fallback := surface.fallback()):
            return fallback[1]
    return policy_of(service, service.registry.get(record.policy))
