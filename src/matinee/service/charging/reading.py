"""Open invoices and what belongs to them, read from the sealed and unsealed rows of the lake."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

import polars as pl

from matinee.lake.billing import Attempt, Instrument, Invoice
from matinee.lake.buckets import bucket_of
from matinee.lake.lake import Lake
from matinee.lake.records import from_micros
from matinee.lake.rows import records_of
from matinee.lake.schemas import SCHEMAS
from matinee.lake.table import Bucket, collect, latest
from matinee.payments.attempts import OPEN
from matinee.service.charging.bill import Bill, asked_of, name_of

SURFACE = "payments"
TABLES = ("invoices", "instruments", "decisions", "attempts")
FEW = 4
"""Up to so many members are read one by one: of what is not sealed, no other rows are decoded."""

Key = tuple[str, str]
"""A member, and the name of an invoice."""
_INVOICE = ["member_id", "invoice_id"]


def key_of(record: Invoice | Attempt) -> Key:
    """Under which key an invoice stands, or that of an attempt."""
    return record.member_id, name_of(record.invoice_id)


class Read(NamedTuple):
    """What was found in a bucket."""

    bills: dict[Key, Bill]
    instruments: list[Instrument]


def read_bills(lake: Lake, members: Collection[str] | None = None) -> Iterator[Read]:
    """The invoices that are not done with, bucket by bucket, or of a few members one by one: open
    ones, those with an attempt of ours in flight, and those that lapsed though the money came; of
    some members, or of all.
    """
    if members is not None and len(members) <= FEW:
        for member in sorted(members):
            yield _read({table: lake.tables[table].of_member(member) for table in TABLES}, [member])
        return
    buckets = {table: lake.tables[table].buckets() for table in TABLES}
    numbers = (
        range(lake.bucket_count)
        if members is None
        else sorted({bucket_of(member, lake.bucket_count) for member in members})
    )
    for number in numbers:
        yield _read({table: all_[number] for table, all_ in buckets.items()}, members)


def _read(bucket: Mapping[str, Bucket], members: Collection[str] | None) -> Read:
    rows = {table: one.scan() for table, one in bucket.items()}
    if members is not None:
        mine = pl.col("member_id").is_in(list(members))
        rows = {table: found.filter(mine) for table, found in rows.items()}
    invoices = _wanted(rows["invoices"], rows["attempts"])
    bills = {
        key_of(invoice): Bill(invoice) for invoice in records_of(invoices, SCHEMAS["invoices"])
    }
    keys = invoices.lazy().select(_INVOICE)
    tried = collect(rows["attempts"].join(keys, on=_INVOICE, how="semi").sort("seq"), "attempts")
    for attempt in records_of(tried, SCHEMAS["attempts"]):
        bills[key_of(attempt)].report(attempt)
    if members is None or tried.height:  # before its first attempt a decision is simply asked again
        _decide(bills, rows["decisions"].join(keys, on="member_id", how="semi"))
    held = rows["instruments"].join(keys, on="member_id", how="semi")
    instruments = collect(latest(held, SCHEMAS["instruments"]), "instruments")
    return Read(bills, records_of(instruments, SCHEMAS["instruments"]))


def _wanted(invoices: pl.LazyFrame, attempts: pl.LazyFrame) -> pl.DataFrame:
    """The latest rows of the invoices that are not done with."""
    came = attempts.group_by(*_INVOICE, "attempt_id").agg(
        flies=pl.col("status").is_in(list(OPEN)).all()
        & (pl.col("attempt_id") == pl.col("decision_id")).any(),
        approved=(pl.col("status") == "approved").any(),
    )
    ended = came.group_by(_INVOICE).agg(pl.col("flies", "approved").any())
    found = latest(invoices, SCHEMAS["invoices"]).join(ended, on=_INVOICE, how="left")
    lapsed_though_paid = (pl.col("closed") == "lapsed") & pl.col("approved")
    wanted = found.filter(pl.col("closed").is_null() | pl.col("flies") | lapsed_though_paid)
    return collect(wanted, "invoices")


def _decide(bills: Mapping[Key, Bill], decisions: pl.LazyFrame) -> None:
    """Put the decisions on invoices with them, in the order in which they were made."""
    columns = ["decision_id", "request_id", "member_id", "actions"]
    at = pl.col("at").dt.epoch("us")
    ours = decisions.filter(pl.col("surface") == SURFACE).sort("seq").select(*columns, at)
    for *told, us in collect(ours, "decisions").iter_rows():
        decision_id, request_id, member_id, actions = told
        if found := asked_of(decision_id, request_id, actions, from_micros(us)):
            name, number, made = found
            if bill := bills.get((member_id, name)):
                bill.decided(number, made)
