"""What became of failed renewals: how many were recovered, how soon, and for how much."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from matinee.errors import MatineeError
from matinee.evaluation.attribution import mean_of
from matinee.evaluation.intervals.base import Interval
from matinee.lake.billing import STATUSES, Attempt
from matinee.lake.lake import Lake
from matinee.lake.rows import records_of
from matinee.lake.schemas import SCHEMAS
from matinee.lake.table import collect
from matinee.payments.money import unit
from matinee.payments.reasons import Reasons
from matinee.service.folder import Service
from matinee.service.means import mean_by_member, numbers

SOON = timedelta(days=10)
GROUPS = ("processor", "country", "reason")
"""By what the report tells invoices apart: of the first attempt who made it and why it failed."""
ALL = "all"
FAILED = pl.col("first").is_in(["declined", "failed", "unknown"])
_PAID = pl.col("paid") == 1.0
_ELSEWHERE = ~_PAID & (pl.col("closed") == "paid").fill_null(value=False)
STEPS: tuple[tuple[str, str, pl.Expr], ...] = (
    ("due", "", pl.col("money") >= 0),
    ("tried", "due", pl.col("first").is_not_null()),
    ("approved", "tried", pl.col("first") == "approved"),
    ("unanswered", "tried", pl.col("first") == "sent"),
    ("failed", "tried", FAILED),
    ("retried", "failed", FAILED & (pl.col("attempts") > 0)),
    ("soon", "retried", FAILED & (pl.col("soon") == 1.0)),
    ("recovered", "retried", FAILED & _PAID),
    ("elsewhere", "failed", FAILED & _ELSEWHERE),
    ("lost", "failed", FAILED & pl.col("over") & ~_PAID & ~_ELSEWHERE),
    ("open", "failed", FAILED & ~pl.col("over")),
)
"""Steps of the funnel: its name, the step that it is a share of, and which renewals came there.
*elsewhere* are those that were closed as paid, and by no attempt that was reported.
"""
_INVOICE, _ATTEMPT = ["member_id", "invoice_id"], ["member_id", "attempt_id"]
_SIGNALS = ["status", "code", "category", "advice", "processor_code"]


@dataclass(frozen=True)
class Line:
    """Failed renewals that have something in common. Intervals are clustered by member.

    soon : the share that was paid within ten days of when it was due, of those due ten days ago.
    final : the share that was paid at all, of those whose grace is over. attempts : those after the
    first, for each that was paid. Money is that of the service: brought, less what was refunded or
    charged back; fees, of processors; penalties, of networks; net, all that for each failed
    renewal. open : those not over yet.
    """

    group: str
    name: str
    failed: int
    members: int
    open: int
    soon: Interval
    final: Interval
    attempts: Interval
    brought: float
    fees: float
    penalties: float
    net: Interval


@dataclass(frozen=True)
class Recovered:
    """All lines, the first of all failed renewals together; of those due `since` until `at`."""

    since: datetime | None
    at: datetime
    invoices: int
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Step:
    """How far renewals came: `count` of them, and what they were for in the service's money.

    `share` is that of the step `of`, NaN where that has none.
    """

    name: str
    count: int
    money: float
    of: str
    share: float


def recovered(
    service: Service, since: datetime | None = None, now: datetime | None = None
) -> Recovered:
    """The failed renewals that were due from `since` on, as known `now`: those whose first attempt
    brought no money.

    Raises `MatineeError` where none is known, or a currency has no rate.
    """
    at = now or datetime.now(UTC)
    due = renewals(service, tried(service.lake, at), since, at)
    found = summed(due, since, at)
    if found is None:
        raise MatineeError(
            "no renewal has failed yet, as far as is known",
            why=f"{due.height:,} invoices are due, and the first attempt on each was approved or "
            "is open"
            if due.height
            else "no invoice is due",
            next_step="report attempts by POST /v1/payments, or matinee import",
        )
    return found


def summed(due: pl.DataFrame, since: datetime | None, at: datetime) -> Recovered | None:
    """What came of those of the `renewals` that failed; `None` where none has."""
    bills = due.filter(FAILED)
    if bills.is_empty():
        return None
    lines = [_line(ALL, ALL, bills), *_lines(bills)]
    return Recovered(since, at, due.height, tuple(lines))


def funnel(due: pl.DataFrame) -> tuple[Step, ...]:
    """How far `renewals` came, step by step. The last four are all that became of those that
    failed at first.
    """
    found: dict[str, Step] = {}
    for name, of, which in STEPS:
        there = due.filter(which.fill_null(value=False))
        whole = found[of].count if of else 0
        share = there.height / whole if whole else float("nan")
        found[name] = Step(name, there.height, float(there["money"].sum()), of, share)
    return tuple(found.values())


def _lines(bills: pl.DataFrame) -> Iterator[Line]:
    for group in GROUPS:
        named = bills.with_columns(pl.col(group).fill_null("unknown"))
        parts = named.group_by(group)
        for (name,), rows in sorted(parts, key=lambda part: (-part[1].height, str(part[0]))):
            yield _line(group, str(name), rows)


def _line(group: str, name: str, rows: pl.DataFrame) -> Line:
    net = rows["brought"] - rows["fees"] - rows["penalties"]
    settled = rows.filter(pl.col("told_soon"))
    over, told = rows.filter(pl.col("over")), rows.filter(pl.col("told"))
    return Line(
        group,
        name,
        rows.height,
        rows["member_id"].n_unique(),
        rows.height - over.height,
        mean_by_member(settled["soon"], settled["member_id"]),
        mean_by_member(told["paid"], told["member_id"]),
        _ratio(told["attempts"], told["paid"], told["member_id"]),
        float(rows["brought"].sum()),
        float(rows["fees"].sum()),
        float(rows["penalties"].sum()),
        mean_by_member(net, rows["member_id"], share=False),
    )


def renewals(
    service: Service, tries: pl.DataFrame, since: datetime | None, at: datetime
) -> pl.DataFrame:
    """A row for each renewal that was due from `since` to `at`: what came of the first attempt on
    it, and of those after it. `tries` are all attempts, as `tried` has them.

    Raises `MatineeError` where a currency has no rate.
    """
    invoices = service.lake.current("invoices").filter(pl.col("due_at") <= at)
    if since is not None:
        invoices = invoices.filter(pl.col("due_at") >= since)
    first = tries.sort("sent_at", "attempt_id").unique(_INVOICE, keep="first")
    later = tries.join(first.select(_ATTEMPT), on=_ATTEMPT, how="anti")
    whole = later.group_by(_INVOICE).agg(
        attempts=pl.len(),
        paid_at=pl.col("sent_at").filter(pl.col("status") == "approved").min(),
        charged=pl.col("amount").filter(pl.col("status") == "approved").sum(),
        fee=pl.col("fee").sum(),
        penalty=pl.col("penalty").sum(),
        back=pl.col("back").sum(),
    )
    found = (
        invoices.join(
            first.select(*_INVOICE, "processor", "reason", first="status"), on=_INVOICE, how="left"
        )
        .join(whole, on=_INVOICE, how="left")
        .with_columns(worth_of(invoices["currency"], service.settings.surfaces.payments.rates))
    )
    paid = pl.col("paid_at").is_not_null()
    ended = (pl.col("grace_until") <= at) | pl.col("closed").is_not_null() | paid
    soon = pl.col("paid_at") < pl.col("due_at") + SOON
    return found.select(
        *("member_id", "processor", "country", "reason", "first", "closed"),
        money=pl.col("amount") * pl.col("unit"),
        paid=paid.cast(pl.Float64),
        soon=soon.fill_null(value=False).cast(pl.Float64),
        told_soon=pl.col("due_at") + SOON <= at,
        told=pl.col("grace_until") <= at,
        over=ended,
        attempts=pl.col("attempts").fill_null(0).cast(pl.Float64),
        brought=(pl.col("charged") - pl.col("back")).fill_null(0) * pl.col("unit"),
        fees=pl.col("fee").fill_null(0) * pl.col("unit"),
        penalties=pl.col("penalty").fill_null(0) * pl.col("unit"),
    )


def tried(lake: Lake, at: datetime) -> pl.DataFrame:
    """A row for each attempt until a time: what all reports on it say, why it failed, what was paid
    back.
    """
    order = {status: place for place, status in enumerate(STATUSES)}
    until = pl.col("at") <= at
    reports = collect(lake.scan("attempts").filter(until), "attempts").with_columns(
        rank=pl.col("status").replace_strict(order, return_dtype=pl.Int64)
    )
    held = reports.sort("rank", "at").unique(_ATTEMPT, keep="last")
    sums = reports.group_by(_ATTEMPT).agg(
        sent_at=pl.col("at").min(), fee=pl.col("fee").max(), penalty=pl.col("penalty").max()
    )
    back = (
        collect(lake.scan("settlements").filter(until), "settlements")
        .filter(pl.col("kind") != "capture")
        .group_by(_ATTEMPT)
        .agg(back=pl.col("amount").sum() + pl.col("fee").sum())
    )
    return (
        held.drop("fee", "penalty", "reason")
        .join(_said(held), on=_SIGNALS, how="left", nulls_equal=True)
        .with_columns(reason=pl.coalesce("said", "status"))
        .join(sums, on=_ATTEMPT)
        .join(back, on=_ATTEMPT, how="left")
    )


def _said(held: pl.DataFrame) -> pl.DataFrame:
    """What each combination of signals is read as."""
    kinds, reasons = held.unique(_SIGNALS), Reasons.built_in()
    rows: list[Attempt] = records_of(kinds, SCHEMAS["attempts"])
    said = pl.Series("said", [reasons.of(row) for row in rows], dtype=pl.String)
    return kinds.select(_SIGNALS).with_columns(said)


def worth_of(found: pl.Series, rates: Mapping[str, float]) -> pl.Expr:
    """What a minor unit of each row is worth, as `unit`, where these currencies are `found`.

    Raises `MatineeError` where one has no rate.
    """
    currencies = found.unique().sort().to_list()
    if not rates and len(currencies) > 1:
        raise MatineeError(
            f"invoices are in {', '.join(currencies)}",
            why="nobody said what each is worth",
            next_step=f"add [surfaces.payments.rates] to matinee.toml, with {currencies[0]} = ... "
            "and so on",
        )
    try:
        known = {currency: unit(currency, rates) for currency in currencies}
    except KeyError as missing:
        raise MatineeError(
            f"nobody said what {missing.args[0]} is worth",
            next_step=f"add {missing.args[0]} = ... to [surfaces.payments.rates] in matinee.toml",
        ) from None
    return (
        pl.col("currency").replace_strict(known, return_dtype=pl.Float64, default=0.0).alias("unit")
    )


def _ratio(above: pl.Series, below: pl.Series, members: pl.Series) -> Interval:
    """The attempts for each that was paid, with its interval by the delta method, which does not
    begin below one attempt.
    """
    counts, paid = above.to_numpy(), below.to_numpy()
    if not paid.sum():
        return mean_of(np.zeros(0), np.zeros(0, np.int64))
    ratio = counts.sum() / paid.sum()
    found = mean_of(ratio + (counts - ratio * paid) / paid.mean(), numbers(members))
    return replace(found, low=min(max(found.low, 1.0), found.value))
