"""What an importer is, and how its rows enter a lake."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import polars as pl

BATCH_ROWS = 200_000
"""Rows read, checked and committed together: what bounds the memory of an import."""


class Batch(NamedTuple):
    """Rows of one table, in the order of their file.

    `source` is the file's name, `first_row` the number of data rows before these in it.
    """

    table: str
    frame: pl.DataFrame
    source: str
    first_row: int


class Importer(Protocol):
    """Reads files from outside, batch by batch.

    Importing the same files again yields the same keys in the same order, so the lake adds
    nothing. A cell that does not fit its column is passed on as text: the lake quarantines that
    row, with its reason and number. `notes` says what a reader of the data should know.
    """

    @property
    def notes(self) -> tuple[str, ...]: ...

    def total(self) -> int:
        """How many rows `batches` will yield."""

    def batches(self) -> Iterator[Batch]: ...


class Counted(Protocol):
    """What a lake answers to an append."""

    @property
    def rows(self) -> int: ...
    @property
    def duplicates(self) -> int: ...
    @property
    def rejected(self) -> int: ...


class Appendable(Protocol):
    """A lake, as importers see it."""

    def append(
        self, table: str, frame: pl.DataFrame, *, source: str, first_row: int = 0
    ) -> Counted: ...


@dataclass(frozen=True)
class Tally:
    """Rows that were added, were there already, or went to quarantine."""

    rows: int = 0
    duplicates: int = 0
    rejected: int = 0

    def __add__(self, other: Counted) -> Tally:
        return Tally(
            self.rows + other.rows,
            self.duplicates + other.duplicates,
            self.rejected + other.rejected,
        )


def load(
    importer: Importer, lake: Appendable, advance: Callable[[int], None] = lambda rows: None
) -> dict[str, Tally]:
    """Append every batch of `importer` to `lake`; the counts by table.

    `advance` hears the size of each batch once it is committed. An import that stops half-way is
    taken up by running it again: what is there already counts as duplicates.
    """
    tallies: dict[str, Tally] = {}
    for batch in importer.batches():
        appended = lake.append(
            batch.table, batch.frame, source=batch.source, first_row=batch.first_row
        )
        tallies[batch.table] = tallies.get(batch.table, Tally()) + appended
        advance(batch.frame.height)
    return tallies
