"""Closing attribution windows: what came of each decision, written once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import polars as pl

from matinee.errors import MatineeError
from matinee.lake.records import micros
from matinee.lake.schemas import SCHEMAS
from matinee.lake.table import Bucket, collect
from matinee.service.folder import Service
from matinee.store import Schema, Store
from matinee.surfaces import Surface

GRACE = timedelta(minutes=10)
"""How long after a window an event may still arrive and count: phones report late."""

HELD_ROWS = 250_000
"""How many outcomes are gathered, over several buckets, before they are committed."""

NEVER = 2**62

SUBJECT = {"attempts": "invoice_id"}
"""Which column of a table that surfaces read names the subject of a decision."""

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
        """
        CREATE TABLE outcomes_closed (
            surface TEXT PRIMARY KEY,
            up_to INTEGER NOT NULL
        ) STRICT;
        """,
    ),
)

_DECISION = ["decision_id", "member_id", "surface", "at", "actions", "subject", "context", "seq"]
_IDS = ["member_id", "decision_id"]
_PLACE = ["decision_id", "position"]


class Progress:
    """Up to which decision, by its number of arrival, the windows of each surface are closed.

    One that is missing for a while goes on where it was.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        store.migrate(SCHEMA)

    def of(self, surface: str) -> int:
        """0 at first."""
        rows = self._store.rows("SELECT up_to FROM outcomes_closed WHERE surface = ?", (surface,))
        return int(rows[0]["up_to"]) if rows else 0

    def advance(self, surface: str, up_to: int) -> None:
        """Remember that everything up to that decision is closed."""
        with self._store.transaction() as connection:
            connection.execute(
                "INSERT INTO outcomes_closed VALUES (?, ?)"
                " ON CONFLICT DO UPDATE SET up_to = excluded.up_to",
                (surface, up_to),
            )


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


def close_windows(service: Service, now: datetime | None = None, only: str | None = None) -> str:
    """Write the outcomes of every decision whose window, and the grace after it, have passed; of
    all surfaces, or of one.

    Only events that were known by then count, so that the answer is the same whenever the job
    runs. Each surface goes on after the last decision before the first that is still open; outcomes
    are idempotent, so a run that was cut short is simply done again. An event counts for the
    decision that it names only if that was its own member's; the others are counted as `Unmatched`.

    What is wrong with one surface holds up that one alone, and is told at the end in a
    `MatineeError`. `now` may lie in the past, and not in the future (`ValueError`).
    """
    moment = datetime.now(UTC)
    now = now or moment
    if now > moment:
        raise ValueError(f"now is {now}, in the future: nobody knows what will be reported by then")
    service.lake.inbox.settle(micros(now))
    tables = service.lake.tables
    events, decisions = (tables[name].buckets() for name in ("events", "decisions"))
    progress, written, wrong = Progress(service.store), 0, dict[str, str]()
    surfaces = service.surfaces.values() if only is None else [service.surface(only)]
    for surface in surfaces:
        try:
            answers = events if surface.reads == "events" else tables[surface.reads].buckets()
            written += _close(service, surface, progress, (decisions, answers), now)
        except WrongRewardsError as error:
            wrong[surface.name] = str(error)
    strangers = _count_unmatched(Unmatched(service.store), decisions, events)
    if wrong:
        raise MatineeError(
            f"{', '.join(wrong)}: outcomes cannot be written",
            why="; ".join(wrong.values()),
            next_step="mend its reward(), then matinee work --once",
        )
    said = (
        f"{written} outcomes" if written else "",
        f"{strangers} events without a decision" if strangers else "",
    )
    return ", ".join(filter(None, said))


class WrongRewardsError(ValueError):
    """A surface's rewards are not what its contract says."""


def _close(
    service: Service,
    surface: Surface,
    progress: Progress,
    tables: tuple[Sequence[Bucket], Sequence[Bucket]],
    now: datetime,
) -> int:
    """Close what is due on one surface; how many outcomes were written."""
    since = progress.of(surface.name)
    reached, first_open = since, NEVER
    written, held = 0, list[pl.DataFrame]()
    for mine, theirs in zip(*tables, strict=True):
        rows = mine.scan().filter(pl.col("surface") == surface.name, pl.col("seq") > since)
        asked = collect(rows.select(_DECISION), "decisions")
        is_due = _closes(surface) <= now
        reached = int(asked["seq"].to_numpy().max(initial=reached))
        first_open = int(asked.filter(~is_due)["seq"].to_numpy().min(initial=first_open))
        due = asked.filter(is_due, pl.col("actions").list.len() > 0)
        if due.height:
            held.append(_outcomes(surface, asked, due, theirs))
        if sum(frame.height for frame in held) >= HELD_ROWS:
            written += _write(service, held)
            held = []
    written += _write(service, held)
    progress.advance(surface.name, min(reached, first_open - 1))
    return written


def _outcomes(
    surface: Surface, asked: pl.DataFrame, due: pl.DataFrame, events: Bucket
) -> pl.DataFrame:
    """A row of the table `outcomes` for every position of the decisions that are due, which are
    some of those of the bucket that were `asked` about.
    """
    due = due.with_columns(closed_at=_closes(surface))
    found = events.scan()
    if surface.reads == "events":
        answers = about_subjects(found, asked) if surface.unit == "subject" else found
        meant = due.lazy().select(*_IDS, decided="at", closed="closed_at")
        rows = _in_time(surface, answers.join(meant, on=_IDS), "ts")
    else:
        rows = _after(surface, due.lazy(), found)
    rewards = _rewards(surface, due, collect(rows, surface.reads))
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


def _after(surface: Surface, due: pl.LazyFrame, answers: pl.LazyFrame) -> pl.LazyFrame:
    """The rows about the subject of each decision that followed it, with its id as `answers_to`."""
    meant = due.select(
        "member_id", "subject", decided="at", closed="closed_at", answers_to="decision_id"
    )
    if surface.reads not in SUBJECT:
        raise WrongRewardsError(
            f"{surface.name} reads {surface.reads}, and what these are about is not known; let it "
            f"read events, or one of {', '.join(SUBJECT)}"
        )
    about = ["member_id", SUBJECT[surface.reads]]
    together = answers.join(meant, left_on=about, right_on=["member_id", "subject"])
    return _in_time(surface, together, SCHEMAS[surface.reads].time or "known_at")


def _in_time(surface: Surface, rows: pl.LazyFrame, time: str) -> pl.LazyFrame:
    """Those within the window after a decision (`decided`) that were known when it `closed`."""
    end = pl.col("decided") + surface.window
    return rows.filter(
        pl.col("known_at") <= pl.col("closed"),
        pl.col(time).is_between(pl.col("decided"), end, closed="left"),
    ).drop("decided", "closed")


def about_subjects(events: pl.LazyFrame, asked: pl.DataFrame) -> pl.LazyFrame:
    """Each event about a subject with the id of the decision that stood for it and its member then:
    the latest one before it.
    """
    keys = ["member_id", "subject", "at"]
    stood = asked.lazy().select(*keys, "decision_id", "seq").sort(*keys, "seq")
    return (
        events.drop_nulls("title_id")
        .drop("decision_id")
        .sort("member_id", "title_id", "ts")
        .join_asof(
            stood.drop("seq"),
            left_on="ts",
            right_on="at",
            by_left=["member_id", "title_id"],
            by_right=["member_id", "subject"],
            strategy="backward",
            check_sortedness=False,
        )
        .drop("at", strict=False)
        .drop_nulls("decision_id")
    )


def first_choices(decisions: pl.LazyFrame) -> pl.LazyFrame:
    """Of decisions about subjects the first for each member and subject: later ones depend on what
    came of it.
    """
    about = decisions.filter(pl.col("subject").is_not_null())
    return about.sort("at", "seq").unique(["member_id", "subject"], keep="first")


def counted(decisions: pl.LazyFrame, surface: Surface) -> pl.LazyFrame:
    """Of decisions those whose rewards may be added up: where they are read from other rows than
    events, as of an invoice, later decisions on a subject tell of the same money as the first.
    """
    return decisions if surface.reads == "events" else first_choices(decisions)


def _rewards(surface: Surface, due: pl.DataFrame, answers: pl.DataFrame) -> pl.DataFrame:
    """The rewards, one of each position and all in range, or `WrongRewardsError`."""
    try:
        given = surface.reward(due.drop("closed_at"), answers)
        if not isinstance(given, pl.DataFrame):
            raise TypeError(f"it gave a {type(given).__name__}, not a polars DataFrame")
        rows = given.select(
            "decision_id", pl.col("position").cast(pl.Int64), pl.col("reward").cast(pl.Float64)
        )
    except Exception as failure:  # it may be anyone's code
        raise WrongRewardsError(
            f"reward() of {surface.name} failed: {type(failure).__name__}: {failure}"
        ) from failure
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
    written = service.lake.append("outcomes", pl.concat(frames), source="outcomes")
    if written.rejected:
        raise MatineeError(
            f"{written.rejected} outcomes were refused by the lake and will be written again",
            why="matinee quarantine says why",
        )
    return written.rows


def _count_unmatched(
    unmatched: Unmatched, decisions: Sequence[Bucket], events: Sequence[Bucket]
) -> int:
    since = unmatched.since()
    reached, strangers = since, 0
    for mine, theirs in zip(decisions, events, strict=True):
        rows = theirs.scan().filter(pl.col("seq") > since).select(*_IDS, "seq")
        new = collect(rows, "events")
        reached = int(new["seq"].to_numpy().max(initial=reached))
        named = new.lazy().drop_nulls("decision_id")
        strange = named.join(mine.scan(), on=_IDS, how="anti")
        strangers += collect(strange, "decisions").height
    unmatched.add(strangers, since=since, up_to=reached)
    return strangers


def _closes(surface: Surface) -> pl.Expr:
    return pl.col("at") + surface.window + GRACE
