"""What is to be learned from attempts: what was known of each, by which route, and what came."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import polars as pl

from matinee.lake.billing import Attempt, Instrument, Invoice, Outage
from matinee.lake.records import from_micros, micros
from matinee.lake.rows import records_of
from matinee.lake.schemas import SCHEMAS, TIME
from matinee.lake.table import collect, latest
from matinee.payments.actions import Route, route_id
from matinee.payments.attempts import Tried, merged
from matinee.payments.facts import FACTS, RANKS, Facts, Try
from matinee.payments.reasons import Reasons

LEARNS_IN = ("invoices", "instruments", "attempts", "decisions", "outages")
COLUMNS: dict[str, pl.DataType | type[pl.DataType]] = {
    "action": pl.String,
    "reward": pl.Float64,
    "propensity": pl.Float64,
    "at": TIME,
    "context": pl.String,
}


def lessons(tables: Mapping[str, pl.LazyFrame]) -> pl.DataFrame:
    """A row for each attempt that was approved (reward 1) or declined (0), as `Surface.lessons` has
    them: the facts of its invoice just before it was sent, its route, and its propensity: 1 where
    no decision is behind it.

    Attempts that failed, or went unanswered, tell of the processor and not of the issuer, and those
    in an outage of theirs of neither: all are left out, so that one bad Tuesday does not teach that
    Tuesdays are bad. So are those on instruments that are not the invoice's.
    """
    attempts = records_of(collect(tables["attempts"], "attempts"), SCHEMAS["attempts"])
    invoices = {(one.member_id, one.invoice_id): one for one in _latest(tables, "invoices")}
    instruments = {one.instrument_id: one for one in _latest(tables, "instruments")}
    chances = _propensities(tables["decisions"])
    outages = _by_processor(records_of(tables["outages"].collect(), SCHEMAS["outages"]))
    by_invoice: dict[tuple[str, str], list[Attempt]] = defaultdict(list)
    for report in attempts:
        by_invoice[report.member_id, report.invoice_id].append(report)
    rows = [
        (row["action"], row["reward"], chances.get(who, 1.0), row["at"], row["context"])
        for whose, reports in sorted(by_invoice.items())
        if (invoice := invoices.get(whose))
        for who, row in _of_invoice(invoice, instruments, merged(reports), outages)
    ]
    return pl.DataFrame(rows, schema=COLUMNS, orient="row").sort("at", maintain_order=True)


def _of_invoice(
    invoice: Invoice,
    instruments: Mapping[str, Instrument],
    tried: Sequence[Tried],
    outages: Mapping[str, Sequence[Outage]],
) -> Iterator[tuple[str | None, dict[str, Any]]]:
    """The decision behind each attempt, if any, and its row."""
    reasons = Reasons.built_in()
    known = [instruments.get(one) for one in invoice.instruments]
    earlier: list[Try] = []
    for one in tried:
        this, who = Try.of(one, invoice, reasons), one.held.processor
        answered = one.status in {"approved", "declined"}
        if answered and 0 < this.rank <= RANKS and not is_out(outages.get(who, ()), this.at):
            facts = Facts.of("route", one.sent_at, invoice, known, earlier)
            yield (
                one.held.decision_id,
                {
                    "action": route_id(Route(who, this.rank)),
                    "reward": float(one.status == "approved"),
                    "at": from_micros(one.sent_at),
                    "context": msgspec.json.encode(
                        {"country": invoice.country, "features": {FACTS: facts.told()}}
                    ).decode(),
                },
            )
        earlier.append(this)


def _latest(tables: Mapping[str, pl.LazyFrame], name: str) -> list[Any]:
    return records_of(collect(latest(tables[name], SCHEMAS[name]), name), SCHEMAS[name])


def _propensities(decisions: pl.LazyFrame) -> dict[str | None, float]:
    """How likely each route was that was decided on."""
    routes = decisions.filter(
        pl.col("surface") == "payments", pl.col("propensities").list.len() == 1
    ).select("decision_id", pl.col("propensities").list.first())
    return dict(collect(routes, "decisions").iter_rows())


def _by_processor(outages: Sequence[Outage]) -> dict[str, list[Outage]]:
    found: dict[str, list[Outage]] = defaultdict(list)
    for one in outages:
        found[one.processor].append(one)
    return found


def is_out(outages: Sequence[Outage], at: int) -> bool:
    """Whether one of these outages of a processor covers a time, microseconds since 1970."""
    return any(
        micros(one.starts_at) <= at and (one.ends_at is None or at < micros(one.ends_at))
        for one in outages
    )
