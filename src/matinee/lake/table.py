"""A table of the lake: sealed files and the unsealed tail, read as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from matinee.errors import MatineeError
from matinee.lake.buckets import with_bucket
from matinee.lake.files import APPENDER, SEALER, Files, Sealed, Snapshot
from matinee.lake.inbox import Inbox, frame_of
from matinee.lake.schemas import SCHEMAS, Schema

SMALL_FILE = 32 * 2**20
"""Bytes; compaction merges files below this into one."""


@dataclass(frozen=True)
class Bucket:
    """The rows of some members, pinned to a snapshot: what a kernel gets. Cheap to send."""

    table: str
    number: int
    files: tuple[Path, ...]
    tail: pl.DataFrame
    as_of: datetime | None = None

    @property
    def schema(self) -> Schema:
        return SCHEMAS[self.table]

    def scan(self) -> pl.LazyFrame:
        """The rows in no particular order."""
        parts = [pl.scan_parquet(list(self.files), hive_partitioning=False)] if self.files else []
        if self.tail.height or not parts:
            parts.append(self.tail.lazy())
        rows = pl.concat(parts)
        return rows if self.as_of is None else rows.filter(pl.col("known_at") <= self.as_of)

    def read(self, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """The rows sorted by member, time and order of arrival (`Schema.order`).

        A compacted bucket lies on disk in that order and is not sorted again. Raises
        `MatineeError` where a file is torn.
        """
        rows = self.scan()
        if len(self.files) + bool(self.tail.height) > 1:
            rows = rows.sort(self.schema.order)
        try:
            return (rows if columns is None else rows.select(columns)).collect(engine="streaming")
        except (pl.exceptions.ComputeError, OSError) as torn:
            raise MatineeError(
                f"bucket {self.number} of {self.table} cannot be read",
                why=str(torn).splitlines()[0],
                next_step="matinee repair",
            ) from torn


class Table:
    """One table: `append`, `scan` and `compact`, and the sealer that moves the inbox into it."""

    def __init__(self, files: Files, inbox: Inbox, buckets: int) -> None:
        self.files, self.inbox = files, inbox
        self.schema = files.schema
        self.bucket_count = buckets if self.schema.bucketed else 1

    def buckets(self, as_of: datetime | None = None) -> list[Bucket]:
        """Every bucket at this moment, sealed rows and tail together, each row once.

        With `as_of`, only what was known by then: the same answer whenever it is asked.
        """
        snapshot = self.files.snapshot()
        tails = self.bucketed(self._tail(snapshot))
        return [
            self.sealed(number, snapshot, tails.get(number), as_of)
            for number in range(self.bucket_count)
        ]

    def sealed(
        self,
        number: int,
        snapshot: Snapshot,
        tail: pl.DataFrame | None = None,
        as_of: datetime | None = None,
    ) -> Bucket:
        """One bucket of a snapshot, with those rows of `tail` that it does not hold yet."""
        files = snapshot.of(number)
        rows = pl.DataFrame(schema=self.schema.stored) if tail is None else self._fresh(tail, files)
        return Bucket(self.schema.name, number, tuple(f.path for f in files), rows, as_of)

    def scan(self, as_of: datetime | None = None) -> pl.LazyFrame:
        """All rows, lazily: sealed and not yet sealed, each once, in no particular order."""
        return pl.concat([bucket.scan() for bucket in self.buckets(as_of)])

    def current(self, as_of: datetime | None = None) -> pl.DataFrame:
        """A versioned table's latest known row of every key, by key."""
        return latest(self.scan(as_of), self.schema).collect()

    def append(self, rows: pl.DataFrame) -> int:
        """Commit valid rows at once, without the inbox; how many were new.

        `rows` has the schema's columns and may have `known_at`, which otherwise is now. Rows that
        stand already are left out, so that appending twice adds nothing. Their order is kept.
        """
        with self.files.lock():
            first, now = self.inbox.reserve(rows.height)
            stamped = rows.with_columns(
                seq=pl.int_range(first, first + rows.height, dtype=pl.Int64, eager=True)
            )
            if "known_at" not in rows.columns:
                stamped = stamped.with_columns(
                    known_at=pl.lit(now, pl.Int64).cast(self.schema.stored["known_at"])
                )
            last = first + rows.height - 1
            return self._commit(
                stamped.select(self.schema.stored.keys()), self.files.snapshot(), {APPENDER: last}
            )

    def seal(self, limit: int = 250_000) -> int:
        """Move up to `limit` rows from the inbox into the table, exactly once; how many were read.

        The watermark is part of the commit: whoever comes next, also after a crash, starts behind
        the rows that are in.
        """
        with self.files.lock():
            snapshot = self.files.snapshot()
            rows = self.inbox.rows(self.schema.name, after=snapshot.watermark, limit=limit)
            if rows:
                self._commit(frame_of(rows, self.schema), snapshot, {SEALER: rows[-1].seq})
            return len(rows)

    def compact(self, *, least: int = 2) -> int:
        """Merge the small files of each bucket that has `least` of them or more; files saved.

        One bucket is in memory at a time.
        """
        saved = 0
        for number in range(self.bucket_count):
            with self.files.lock():
                small = [f for f in self.files.snapshot().of(number) if f.size < SMALL_FILE]
                if len(small) >= least:
                    merged = pl.read_parquet([file.path for file in small], hive_partitioning=False)
                    self.files.commit(self.files.write({number: merged}), small)
                    saved += len(small) - 1
        return saved

    def rewrite(self, number: int, rows: pl.DataFrame) -> None:
        """Replace a whole bucket. Hold the lock."""
        replaced = self.files.snapshot().of(number)
        self.files.commit(self.files.write({number: rows}), replaced)

    def _commit(self, rows: pl.DataFrame, snapshot: Snapshot, marks: Mapping[str, int]) -> int:
        fresh = {
            number: self._fresh(part, snapshot.of(number))
            for number, part in self.bucketed(rows).items()
        }
        added = self.files.write(fresh)
        if added or SEALER in marks:
            self.files.commit(added, marks=marks)
        return sum(file.rows for file in added)

    def _tail(self, snapshot: Snapshot) -> pl.DataFrame:
        rows = self.inbox.rows(self.schema.name, after=snapshot.watermark)
        return frame_of(rows, self.schema)

    def bucketed(self, rows: pl.DataFrame) -> dict[int, pl.DataFrame]:
        """Rows by bucket, each part in the order given."""
        if not rows.height:
            return {}
        if not self.schema.bucketed:
            return {0: rows}
        parts = with_bucket(rows, self.bucket_count).partition_by(
            "bucket", as_dict=True, include_key=False, maintain_order=True
        )
        return {int(number): part for (number,), part in sorted(parts.items())}

    def _fresh(self, rows: pl.DataFrame, sealed: Sequence[Sealed]) -> pl.DataFrame:
        """The rows that add something to what a bucket holds already."""
        paths = [file.path for file in sealed]
        if self.schema.versioned:
            before = (
                latest(pl.scan_parquet(paths, hive_partitioning=False), self.schema).collect()
                if paths
                else None
            )
            return _changes(rows, before, self.schema)
        unique, key = self.distinct(rows), list(self.schema.key)
        if not paths:
            return unique
        standing = pl.scan_parquet(paths, hive_partitioning=False).select(key)
        narrowed = pl.col(key[0]).is_in(unique[key[0]].unique().implode())
        known = standing.filter(narrowed).collect(engine="streaming")
        return unique.join(known, on=key, how="anti", maintain_order="left")

    def distinct(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows in order of arrival without those that repeat an earlier one."""
        if self.schema.versioned:
            return _changes(rows, None, self.schema)
        return rows.unique(list(self.schema.key), keep="first", maintain_order=True)


def latest(rows: pl.LazyFrame, schema: Schema) -> pl.LazyFrame:
    """The last known row of every key, ordered by key."""
    key = list(schema.key)
    return rows.sort("known_at", "seq").unique(key, keep="last").sort(key)


def _changes(rows: pl.DataFrame, before: pl.DataFrame | None, schema: Schema) -> pl.DataFrame:
    """The rows of a versioned table that differ from the row of their key before them."""
    content = pl.struct(schema.columns.keys()).struct.json_encode()
    parts = [rows.with_columns(new=True)]
    if before is not None:
        parts.insert(0, before.with_columns(new=False))
    return (
        pl.concat(parts)
        .with_columns(content=content)
        .filter(pl.col("content").ne_missing(pl.col("content").shift(1).over(list(schema.key))))
        .filter("new")
        .drop("new", "content")
    )
