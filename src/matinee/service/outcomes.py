"""Closing attribution windows: what came of each decision, written once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import polars as pl

from matinee.errors import MatineeError
from matinee.lake.records import micros
from matinee.lake.table import Bucket
from matinee.service.folder import Service
from matinee.service.leases import Leases
from matinee.store import Schema, Store
from matinee.surfaces import Surface

GRACE = timedelta(minutes=10)
"""How long after a window an event may still arrive and count: phones report late."""

HELD_ROWS = 250_000
"""How many outcomes are gathered, over several buckets, before they are committed."""

NEVER = 2**62

SCHEMA = Schema(
    "outcomes",
    (
        """
        CREATE TABLE outcomes_unmatched (
            id INTEGER PRIMARY KEY CHECK (id = 0),
            events INTEGER NOT NULL,
            up_to INTEGER NOT NULL
        ) STRICT;
        INSERT INTO outcomes_unmatched VALUES (0, 0, 0);
        """,
    ),
)

_DECISION = ["decision_id", "member_id", "surface", "at", "actions", "seq"]
_IDS = ["member_id", "decision_id"]
_PLACE = ["decision_id", "position"]


class Unmatched:
    """How many events name a decision that their member never got: counted, never credited."""

    def __init__(self, store: Store) -> None:
        self._store = store
        store.migrate(SCHEMA)

    def count(self) -> int:
        """All of them so far."""
        return self._row()[0]

    def since(self) -> int:
        """Events up to this number of arrival are counted."""
        return self._row()[1]

    def add(self, events: int, *, since: int, up_to: int) -> None:
        """Count those that arrived in ``since < seq <= up_to``, unless another run has."""
        with self._store.transaction() as connection:
            connection.execute(
                "UPDATE outcomes_unmatched SET events = events + ?, up_to = ? WHERE up_to = ?",
                (events, up_to, since),
            )

    def _row(self) -> tuple[int, int]:
        (row,) = self._store.rows("SELECT events, up_to FROM outcomes_unmatched")
        return int(row["events"]), int(row["up_to"])


def close_windows(service: Service, now: datetime | None = None) -> str:
    """Write the outcomes of every decision whose window, and the grace after it, have passed.

    Only events that were known by then count, so that the answer is the same whenever the job
    runs. The checkpoint is the last decision before the first that is still open; outcomes are
    idempotent, so a run that was cut short is simply done again. An event counts for the decision
    that it names only if that was its own member's; the others are counted as `Unmatched`.
    """
    now = now or datetime.now(UTC)
    service.lake.inbox.settle(micros(now))
    events = service.lake.tables["events"].buckets()
    decisions = service.lake.tables["decisions"].buckets()
    written = _close(service, decisions, events, now)
    strangers = _count_unmatched(Unmatched(service.store), decisions, events)
    said = (
        f"{written} outcomes" if written else "",
        f"{strangers} events without a decision" if strangers else "",
    )
    return ", ".join(filter(None, said))


def _close(
    service: Service, decisions: Sequence[Bucket], events: Sequence[Bucket], now: datetime
) -> int:
    leases = Leases(service.store)
    since = leases.checkpoint("outcomes")
    reached, first_open = since, NEVER
    written, held, wrong = 0, list[pl.DataFrame](), dict[str, str]()
    for mine, theirs in zip(decisions, events, strict=True):
        new = mine.scan().filter(pl.col("seq") > since).select(_DECISION).collect()
        reached = int(new["seq"].to_numpy().max(initial=reached))
        for surface in service.surfaces.values():
            asked = new.filter(pl.col("surface") == surface.name)
            is_due = _closes(surface) <= now
            still_open = asked.filter(~is_due)["seq"].to_numpy()
            first_open = int(still_open.min(initial=first_open))
            if (due := asked.filter(is_due)).height:
                try:
                    held.append(_outcomes(surface, due, theirs))
                except WrongRewardsError as error:  # they stay due; other surfaces go on
                    wrong[surface.name] = str(error)
                    first_open = min(first_open, int(due["seq"].to_numpy().min()))
        if sum(frame.height for frame in held) >= HELD_ROWS:
            written += _write(service, held)
            held = []
    written += _write(service, held)
    leases.advance("outcomes", min(reached, first_open - 1))
    if wrong:
        raise MatineeError(
            f"{', '.join(wrong)}: outcomes cannot be written",
            why="; ".join(wrong.values()),
            next_step="mend its reward(), then matinee work --once",
        )
    return written


class WrongRewardsError(ValueError):
    """A surface's rewards are not what its contract says."""


def _outcomes(surface: Surface, due: pl.DataFrame, events: Bucket) -> pl.DataFrame:
    """A row of the table `outcomes` for every position of the decisions that are due."""
    due = due.with_columns(closed_at=_closes(surface))
    answers = (
        events.scan()
        .join(due.lazy().select(*_IDS, "at", "closed_at"), on=_IDS)
        .filter(
            pl.col("known_at") <= pl.col("closed_at"),
            pl.col("ts").is_between(pl.col("at"), pl.col("at") + surface.window, closed="left"),
        )
        .drop("at", "closed_at")
        .collect()
    )
    rewards = _checked(surface, due, surface.reward(due.drop("closed_at"), answers))
    return rewards.join(due, on="decision_id").select(
        "decision_id",
        "member_id",
        "surface",
        "position",
        pl.col("actions").list.get(pl.col("position")).alias("action"),
        "reward",
        pl.col("at").alias("decided_at"),
        "closed_at",
        pl.col("closed_at").alias("known_at"),
    )


def _checked(surface: Surface, due: pl.DataFrame, rewards: pl.DataFrame) -> pl.DataFrame:
    """The rewards, one of each position and all in range, or `WrongRewardsError`."""
    rows = rewards.select(
        "decision_id", pl.col("position").cast(pl.Int64), pl.col("reward").cast(pl.Float64)
    )
    expected = due.select("decision_id", position=pl.int_ranges(pl.col("actions").list.len()))
    places = expected.explode("position", empty_as_null=False)
    if rows.height != places.height or places.join(rows, on=_PLACE, how="anti").height:
        raise WrongRewardsError(
            f"reward() of {surface.name} gave {rows.height} rows for {places.height} positions; "
            "give one row (decision_id, position, reward) for each"
        )
    low, high = surface.reward_range
    bad = rows.filter(~pl.col("reward").is_between(low, high).fill_null(value=False))
    if bad.height:
        raise WrongRewardsError(
            f"reward() of {surface.name} gave {bad['reward'][0]} for position "
            f"{bad['position'][0]} of {bad['decision_id'][0]}, outside its range {low} to {high}"
        )
    return rows


def _write(service: Service, frames: Sequence[pl.DataFrame]) -> int:
    if not frames:
        return 0
    return service.lake.append("outcomes", pl.concat(frames), source="outcomes").rows


def _count_unmatched(
    unmatched: Unmatched, decisions: Sequence[Bucket], events: Sequence[Bucket]
) -> int:
    since = unmatched.since()
    reached, strangers = since, 0
    for mine, theirs in zip(decisions, events, strict=True):
        new = theirs.scan().filter(pl.col("seq") > since).select(*_IDS, "seq").collect()
        reached = int(new["seq"].to_numpy().max(initial=reached))
        named = new.lazy().drop_nulls("decision_id")
        strangers += named.join(mine.scan(), on=_IDS, how="anti").collect().height
    unmatched.add(strangers, since=since, up_to=reached)
    return strangers


def _closes(surface: Surface) -> pl.Expr:
    return pl.col("at") + surface.window + GRACE
