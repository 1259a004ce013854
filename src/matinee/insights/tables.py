"""One table of a lake: its columns, the rows that came last, and those that it refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import polars as pl

from matinee.errors import MatineeError
from matinee.insights.described import Column, about, columns
from matinee.insights.holding import Holding, holding
from matinee.insights.refused import Example, Refused, cut, example, reasons
from matinee.lake.schemas import SCHEMAS
from matinee.lake.table import Table as Stored
from matinee.lake.table import collect
from matinee.service.folder import Service

LATEST = 20
"""Rows of a table that are shown, and refused rows of it."""
LONGEST, FIRST = 80, 3
"""Characters of a text, and entries of a list, that are shown."""

Cell = str | int | float | bool | datetime | None


class UnknownTableError(MatineeError):
    """The lake has no table of that name."""


@dataclass(frozen=True)
class Table:
    """One table: what makes a row the same row (`key`), how rows are sorted in a file (`order`),
    its columns, the rows that came last, first the newest, with columns that are short, and the
    rows that it refused.
    """

    at: datetime
    holding: Holding
    about: tuple[str, ...]
    versioned: bool
    key: tuple[str, ...]
    order: tuple[str, ...]
    columns: tuple[Column, ...]
    latest: tuple[dict[str, Cell], ...]
    reasons: tuple[Refused, ...]
    examples: tuple[Example, ...]


def table(service: Service, name: str, now: datetime | None = None) -> Table:
    """Read one table. Raises `UnknownTableError` where the lake has none of that name."""
    if name not in SCHEMAS:
        raise UnknownTableError(
            f"there is no table {name[:LONGEST]!r}", why=f"the tables are {', '.join(SCHEMAS)}"
        )
    at, schema = now or datetime.now(UTC), SCHEMAS[name]
    bad = service.lake.quarantine().filter(pl.col("table") == name)
    held, latest = holding(service, name, at, bad.height), list[dict[str, Cell]]()
    try:
        latest += [] if held.problem else _latest(service.lake.tables[name])
    except MatineeError as torn:  # in a column that the days did not need
        held = replace(held, problem=str(torn))
    return Table(
        at,
        held,
        about(schema),
        schema.versioned,
        schema.key,
        tuple(schema.order),
        tuple(columns(schema)),
        tuple(latest),
        reasons(bad),
        tuple(map(example, bad.tail(LATEST).reverse().iter_rows(named=True))),
    )


def _latest(stored: Stored) -> Iterator[dict[str, Cell]]:
    """The rows that came last. Of their columns those are read that are short: no JSON and no lists
    of numbers, and of lists of texts the first entries.
    """
    rows, schema = stored.scan(), stored.schema
    newest = collect(rows.select("seq").top_k(LATEST, by="seq"), schema.name)["seq"]
    short = [
        pl.col(name).list.head(FIRST + 1) if dtype == pl.List(pl.String) else pl.col(name)
        for name, dtype in schema.stored.items()
        if name not in schema.nested and dtype not in (pl.List(pl.Int32), pl.List(pl.Float64))
    ]
    found = collect(rows.filter(pl.col("seq").is_in(newest.implode())).select(short), schema.name)
    for row in found.sort("seq", descending=True).iter_rows(named=True):
        yield {name: _cell(value) for name, value in row.items()}


def _cell(value: Any) -> Cell:
    if isinstance(value, list):
        more = ["…"] if len(value) > FIRST else []
        return ", ".join([*(cut(str(one), LONGEST) for one in value[:FIRST]), *more])
    cell: Cell = cut(value, LONGEST) if isinstance(value, str) else value
    return cell
