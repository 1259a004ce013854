"""Simulated numbers as rows: events and decisions with the columns of the record types.

Nested values (`context` and `masks`) are JSON text, as in the lake's own tables.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from matinee.lake.records import Event, Kind, from_micros
from matinee.world.behaviour import Reaction
from matinee.world.logging_policy import NAME, EligibleSet, Slates, content_hash

TIME = pl.Datetime("us", "UTC")
EVENTS = pl.Schema(
    {
        "event_id": pl.String(),
        "member_id": pl.String(),
        "kind": pl.String(),
        "ts": TIME,
        "title_id": pl.String(),
        "value": pl.Float64(),
        "decision_id": pl.String(),
        "position": pl.Int64(),
        "country": pl.String(),
        "device": pl.String(),
    }
)
DECISIONS = pl.Schema(
    {
        "decision_id": pl.String(),
        "request_id": pl.String(),
        "surface": pl.String(),
        "member_id": pl.String(),
        "at": TIME,
        "policy": pl.String(),
        "actions": pl.List(pl.String()),
        "propensities": pl.List(pl.Float64()),
        "propensity_kind": pl.String(),
        "eligible": pl.String(),
        "removed": pl.List(pl.Int32()),
        "segment": pl.List(pl.Int32()),
        "scores": pl.List(pl.Float64()),
        "seed": pl.Int64(),
        "row": pl.String(),
        "arm": pl.String(),
        "subject": pl.String(),
        "context": pl.String(),
        "context_hash": pl.String(),
        "masks": pl.String(),
    }
)
ELIGIBLE = pl.Schema({"eligible": pl.String(), "candidates": pl.List(pl.String())})

KINDS: tuple[Kind, ...] = ("impression", "play", "complete", "thumb")
IMPRESSION_GAP = 0.1
"""Seconds from one slot's impression to the next."""


@dataclass(frozen=True)
class Day:
    """One simulated day: what the app logged about the decisions made on it.

    `events` and `decisions` have the columns of `Event` and `Decision`, in order of time. A film
    begun before midnight is still an event of this day. `eligible` has the columns of `Eligible`
    and holds each set that these decisions and assignments name, once. `assignments` are decisions
    too: which picture a member sees for a title, from the first time that it was shown.
    """

    day: int
    events: pl.DataFrame
    decisions: pl.DataFrame
    eligible: pl.DataFrame
    assignments: pl.DataFrame


class Visit(NamedTuple):
    """A member opens the service."""

    member_id: str
    at: datetime
    country: str
    device: str


@dataclass(frozen=True)
class Sessions:
    """B sessions of one decision each: `at` int64 [B] is in microseconds since 1970."""

    decision_ids: Sequence[str]
    member_ids: Sequence[str]
    at: NDArray[np.int64]
    country: Sequence[str]
    device: Sequence[str]


@dataclass(frozen=True)
class Happenings:
    """N things that happened in B sessions, as equally long columns.

    `session` and `slot` say where, `kind` is a position in `KINDS`, `delay` is in microseconds
    after the decision, and `value` is in the unit of its kind (NaN for an impression).
    """

    session: NDArray[np.int64]
    slot: NDArray[np.int64]
    kind: NDArray[np.int64]
    delay: NDArray[np.int64]
    value: NDArray[np.float64]


def happenings(reaction: Reaction, runtime: NDArray[np.float64]) -> Happenings:
    """All that members did with slates [B, K] of titles of some runtime (minutes) [B, K].

    Impressions follow one another down the slate. A play is reported when its playback stops; a
    second later whether it was complete, and then the thumb.
    """
    shown = np.ones_like(reaction.played)
    gaps = IMPRESSION_GAP * np.arange(1, shown.shape[1] + 1)
    parts = (
        (shown, np.broadcast_to(gaps, shown.shape), np.full(shown.shape, np.nan)),
        (reaction.played, reaction.stopped, reaction.share * runtime),
        (reaction.finished, reaction.stopped + 1.0, reaction.share),
        (
            reaction.played & (reaction.thumb != 0),
            reaction.stopped + 5.0,
            reaction.thumb.astype(np.float64),
        ),
    )
    where = [np.nonzero(mask) for mask, _, _ in parts]
    return Happenings(
        np.concatenate([rows for rows, _ in where]),
        np.concatenate([slots for _, slots in where]),
        np.repeat(np.arange(len(KINDS)), [len(rows) for rows, _ in where]),
        np.rint(
            1e6
            * np.concatenate([delay[at] for (_, delay, _), at in zip(parts, where, strict=True)])
        ).astype(np.int64),
        np.concatenate([value[at] for (_, _, value), at in zip(parts, where, strict=True)]),
    )


def event_records(sessions: Sessions, titles: Sequence[str], did: Happenings) -> list[Event]:
    """The happenings of one session with one slate of titles [K] as records, in order of time."""
    order = np.argsort(did.delay, kind="stable")
    decision, at = sessions.decision_ids[0], int(sessions.at[0])
    return [
        Event(
            event_id=f"{decision}-{KINDS[kind]}-{slot}",
            member_id=sessions.member_ids[0],
            kind=KINDS[kind],
            ts=from_micros(at + delay),
            title_id=titles[slot],
            value=None if kind == 0 else value,
            decision_id=decision,
            position=slot,
            country=sessions.country[0],
            device=sessions.device[0],
        )
        for slot, kind, delay, value in zip(
            did.slot[order].tolist(),
            did.kind[order].tolist(),
            did.delay[order].tolist(),
            did.value[order].tolist(),
            strict=True,
        )
    ]


def event_frame(
    sessions: Sessions, titles: NDArray[np.int64], ids: Sequence[str], did: Happenings
) -> pl.DataFrame:
    """Happenings with slates of title numbers [B, K] as a frame; `ids` names the titles."""

    def of_session(words: Sequence[str]) -> pl.Series:
        return pl.Series(words, dtype=pl.String).gather(did.session)

    return pl.DataFrame(
        {
            "member_id": of_session(sessions.member_ids),
            "kind": pl.Series(KINDS).gather(did.kind),
            "ts": pl.Series(sessions.at[did.session] + did.delay).cast(TIME),
            "title_id": pl.Series(ids, dtype=pl.String).gather(titles[did.session, did.slot]),
            "value": pl.Series(did.value).fill_nan(None),
            "decision_id": of_session(sessions.decision_ids),
            "position": pl.Series(did.slot),
            "country": of_session(sessions.country),
            "device": of_session(sessions.device),
        }
    ).select(
        pl.concat_str("decision_id", "kind", "position", separator="-").alias("event_id"),
        *EVENTS.names()[1:],
    )


@lru_cache
def context_of(country: str, device: str, epsilon: float) -> tuple[str, str]:
    """The context of a simulated decision as JSON text, and its hash."""
    context = {"country": country, "device": device, "epsilon": epsilon, "simulated": True}
    return json.dumps(context, separators=(",", ":")), content_hash(context)


def decision_frame(
    sessions: Sessions, slates: Slates, eligible: EligibleSet, ids: Sequence[str], epsilon: float
) -> pl.DataFrame:
    """Decisions with the columns of `Decision`; all sessions share one eligible set."""
    contexts = [
        context_of(country, device, epsilon)
        for country, device in zip(sessions.country, sessions.device, strict=True)
    ]
    slots = slates.titles.shape[1]
    actions = pl.Series(ids, dtype=pl.String).gather(slates.titles.ravel())
    return pl.DataFrame(
        {
            "decision_id": sessions.decision_ids,
            "request_id": sessions.decision_ids,
            "member_id": sessions.member_ids,
            "at": pl.Series(sessions.at).cast(TIME),
            "actions": actions.reshape((-1, slots)).arr.to_list(),
            "propensities": pl.Series(slates.propensities).arr.to_list(),
            "segment": pl.Series(slates.segment.astype(np.int32)).arr.to_list(),
            "scores": pl.Series(slates.logits).arr.to_list(),
            "context": [text for text, _ in contexts],
            "context_hash": [digest for _, digest in contexts],
        }
    ).select(
        "decision_id",
        "request_id",
        pl.lit("titles").alias("surface"),
        "member_id",
        "at",
        pl.lit(NAME).alias("policy"),
        "actions",
        "propensities",
        pl.lit("conditional").alias("propensity_kind"),
        pl.lit(eligible.eligible).alias("eligible"),
        pl.lit([], dtype=pl.List(pl.Int32)).alias("removed"),
        "segment",
        "scores",
        pl.lit(0, pl.Int64).alias("seed"),
        pl.lit(None, pl.String).alias("row"),
        pl.lit(None, pl.String).alias("arm"),
        pl.lit(None, pl.String).alias("subject"),
        "context",
        "context_hash",
        pl.lit("[]").alias("masks"),
    )


def eligible_frame(sets: Mapping[str, Sequence[str]]) -> pl.DataFrame:
    """Sets of candidates by content hash, with the columns of `Eligible`."""
    return pl.DataFrame(
        {"eligible": list(sets), "candidates": list(sets.values())}, schema=ELIGIBLE
    )


def stack(parts: Iterable[pl.DataFrame], schema: pl.Schema, time: str) -> pl.DataFrame:
    """The frames below one another in order of time; an empty one of the schema if none."""
    return pl.concat([schema.to_frame(), *parts]).sort(time, "decision_id", maintain_order=True)
