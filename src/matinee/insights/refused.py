"""Rows that a lake refused: why, how many, and what they look like."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from matinee.lake.cards import masked, masked_json

REASONS = 100
"""Reasons for refusal that are told apart, those with most rows first."""
TOLD = 400
"""Characters of a refused row, or of a reason, that are shown."""

_ADDRESS = re.compile(r"[^\s\"'<>(),;:@＠]{1,64}(?:[@＠]|%40)[^\s\"'<>(),;:]*")


@dataclass(frozen=True)
class Refused:
    """Rows refused by a table for one reason, and of the newest when, and where it came from."""

    table: str
    reason: str
    rows: int
    latest_at: datetime
    source: str
    row: int


@dataclass(frozen=True)
class Example:
    """A refused row: where it came from, why it was refused, and its data as JSON text, cut, with
    numbers of cards and addresses masked.
    """

    at: datetime
    source: str
    row: int
    reason: str
    data: str


def reasons(bad: pl.DataFrame) -> tuple[Refused, ...]:
    """By table and reason, those with most rows first; of each the row that was refused last."""
    groups = bad.group_by("table", "reason", maintain_order=True).agg(
        pl.len().alias("rows"), pl.col("at", "source", "row").last()
    )
    return tuple(
        Refused(name, cut(reason, TOLD), rows, at, cut(source, TOLD), row)
        for name, reason, rows, at, source, row in groups.sort(
            "rows", "at", descending=True, maintain_order=True
        )
        .head(REASONS)
        .iter_rows()
    )


def example(row: dict[str, Any]) -> Example:
    """Addresses are masked too: a row may be refused because it has one in place of an id."""
    data = _ADDRESS.sub("…@…", masked_json(row["data"]))
    reason, source = cut(row["reason"], TOLD), cut(row["source"], TOLD)
    return Example(row["at"], source, row["row"], reason, cut(data, TOLD))


def cut(text: str, longest: int) -> str:
    """The beginning of a text, numbers of cards masked before it is cut.

    >>> cut("4111 1111 1111 1111 and so on", 12)
    '4111 11** *…'
    """
    text = masked(text)
    return text if len(text) <= longest else text[: longest - 1] + "…"
