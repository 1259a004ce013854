"""A table of the lake: sealed files and the unsealed tail, read as one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import polars as pl

from matinee.errors import MatineeError
from matinee.lake.buckets import bucket_of, with_bucket
from matinee.lake.files import APPENDER, SEALER, Files, Sealed, Snapshot
from matinee.lake.inbox import Having, Inbox
from matinee.lake.records import micros
from matinee.lake.rows import frame_of
from matinee.lake.schemas import SCHEMAS, TIME, Schema

SMALL_FILE = 32 * 2**20
"""Bytes; compaction merges files below this into one."""
SEAL_ROWS = 250_000
"""The most rows that one commit seals, and that a reader takes from the inbox."""


@dataclass(frozen=True)
class Bucket:
    """The rows of some members, pinned to a snapshot: what a kernel gets. Cheap to send.

    Where it is one `having` something, no other row is in it.
    """

    table: str
    number: int
    files: tuple[Path, ...]
    tail: pl.DataFrame
    as_of: datetime | None = None
    having: Having | None = None

    @property
    def schema(self) -> Schema:
        return SCHEMAS[self.table]

    def scan(self) -> pl.LazyFrame:
        """The rows in no particular order."""
        parts = [scan(self.files, self.schema)] if self.files else []
        if self.tail.height or not parts:
            parts.append(self.tail.lazy())
        rows = pl.concat(parts)
        if self.having is not None:
            rows = rows.filter(pl.col(self.having.column) == self.having.text)
        return rows if self.as_of is None else rows.filter(pl.col("known_at") <= self.as_of)

    def read(self, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """The rows sorted by member, time and order of arrival (`Schema.order`).

        A compacted bucket lies on disk in that order and is not sorted again. Raises
        `MatineeError` where a file is torn.
        """
        rows = self.scan()
        if len(self.files) + bool(self.tail.height) > 1:
            rows = rows.sort(self.schema.order)
        return collect(
            rows if columns is None else rows.select(columns),
            f"bucket {self.number} of {self.table}",
        )


class Table:
    """One table: `append`, `scan` and `compact`, and the sealer that moves the inbox into it."""

    def __init__(self, files: Files, inbox: Inbox, buckets: int) -> None:
        self.files, self.inbox = files, inbox
        self.schema = files.schema
        self.bucket_count = buckets if self.schema.bucketed else 1

    def buckets(self, as_of: datetime | None = None) -> list[Bucket]:
        """Every bucket at this moment, sealed rows and tail together, each row once.

        With `as_of`, only what was known by then: the same answer whenever it is asked, unless
        rows are appended later whose source says that they were known before. A tail that is too
        long to hold is sealed first. Waits for a commit that is under way.
        """
        return self._now(range(self.bucket_count), as_of)

    def of_member(self, member_id: str, as_of: datetime | None = None) -> Bucket:
        """One member's rows, the same as in `buckets`: of the tail, only theirs are decoded.

        Raises `ValueError` for a table that is not about members.
        """
        if not self.schema.bucketed:
            raise ValueError(f"{self.schema.name} is not about members")
        number = bucket_of(member_id, self.bucket_count)
        (own,) = self._now([number], as_of, Having("member_id", member_id))
        return own

    def of_id(self, column: str, text: str, as_of: datetime | None = None) -> list[Bucket]:
        """The rows with this text in a column of the key, whose members need not be known.

        They are those of all `buckets`; of the tail, only these are decoded. Raises `ValueError`
        for a column that may be left out, holds no text or is not of the key.
        """
        named = self.schema.required.intersection(self.schema.key)
        if column not in named or self.schema.columns[column] != pl.String:
            raise ValueError(f"rows of {self.schema.name} are not found by {column}")
        return self._now(range(self.bucket_count), as_of, Having(column, text))

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
        return collect(latest(self.scan(as_of), self.schema), self.schema.name)

    def append(self, rows: pl.DataFrame) -> int:
        """Commit valid rows at once, without the inbox; how many were new.

        `rows` has the schema's columns and may have `known_at`, which otherwise is now. Rows that
        stand already are left out, so that appending twice adds nothing. Their order is kept.
        What waits in the inbox is sealed first: it came first, and an answer as of a time before
        this append must not change.
        """
        if not rows.height:
            return 0
        with self.files.lock():
            first, now = self.inbox.reserve(rows.height)
            self.drain()
            known = self._known(rows, now)
            numbers = pl.int_range(first, first + known.height, dtype=pl.Int64, eager=True)
            stamped = known.with_columns(seq=numbers).select(self.schema.stored.keys())
            return self._commit(stamped, self.files.snapshot(), {APPENDER: numbers[-1]})

    def seal(self, limit: int = SEAL_ROWS) -> int:
        """Move up to `limit` rows from the inbox into the table, exactly once; how many were read.

        The watermark is part of the commit: whoever comes next, also after a crash, starts behind
        the rows that are in.
        """
        with self.files.lock():
            return self._seal(limit)

    def waiting(self) -> int:
        """How many rows the inbox holds that are not sealed yet."""
        return self.inbox.count(self.schema.name, after=self.files.snapshot().watermark)

    def drain(self) -> None:
        """Seal everything that waits. Hold the lock."""
        while self._seal(SEAL_ROWS):
            pass

    def compact(self, *, least: int = 2) -> int:
        """Merge the small files of each bucket that has `least` of them or more; files saved.

        One bucket is in memory at a time.
        """
        saved, name = 0, self.schema.name
        for number in range(self.bucket_count):
            with self.files.lock():
                small = [f for f in self.files.snapshot().of(number) if f.size < SMALL_FILE]
                if len(small) >= least:
                    merged = collect(
                        scan((f.path for f in small), self.schema), f"bucket {number} of {name}"
                    )
                    self.files.commit(self.files.write({number: merged}), small)
                    saved += len(small) - 1
        return saved

    def rewrite(self, number: int, rows: pl.DataFrame) -> None:
        """Replace a whole bucket. Hold the lock."""
        replaced = self.files.snapshot().of(number)
        self.files.commit(self.files.write({number: rows}), replaced)

    def _now(
        self, numbers: Iterable[int], as_of: datetime | None, having: Having | None = None
    ) -> list[Bucket]:
        """These buckets at this moment, as far as their rows are `having` something."""
        with self.files.lock():
            if as_of is not None:
                self.inbox.settle(micros(as_of))
            snapshot = self.files.snapshot()
            if self._long(snapshot, having):
                self.drain()
                snapshot = self.files.snapshot()
            tails = self.bucketed(self._unsealed(snapshot, having=having))
        buckets = (self.sealed(each, snapshot, tails.get(each), as_of) for each in numbers)
        return [replace(bucket, having=having) for bucket in buckets]

    def _long(self, snapshot: Snapshot, having: Having | None) -> bool:
        """Whether what waits is too long to hold. Those `having` something are only counted among
        many: for that all of them are read.
        """
        name, after = self.schema.name, snapshot.watermark
        counts = (self.inbox.count(name, after=after, having=of) for of in (None, having))
        return all(rows > SEAL_ROWS for rows in counts)

    def _seal(self, limit: int) -> int:
        snapshot = self.files.snapshot()
        rows = self._unsealed(snapshot, limit)
        if rows.height:
            last = int(rows["seq"][-1])
            self._commit(rows, snapshot, {SEALER: last})
            self.inbox.mark_sealed(self.schema.name, last)
        return rows.height

    def _unsealed(
        self, snapshot: Snapshot, limit: int = 2**62, having: Having | None = None
    ) -> pl.DataFrame:
        batches = self.inbox.batches(
            self.schema.name, after=snapshot.watermark, limit=limit, having=having
        )
        empty = pl.DataFrame(schema=self.schema.stored)
        return pl.concat([empty, *(frame_of(rows, self.schema) for rows in batches)])

    def _known(self, rows: pl.DataFrame, now: int) -> pl.DataFrame:
        """The rows with their `known_at`; of changes that are known at once the last one counts."""
        if "known_at" in rows.columns:
            return rows
        if self.schema.versioned:
            rows = rows.unique(list(self.schema.key), keep="last", maintain_order=True)
        return rows.with_columns(known_at=pl.lit(now, pl.Int64).cast(TIME))

    def _commit(self, rows: pl.DataFrame, snapshot: Snapshot, marks: Mapping[str, int]) -> int:
        fresh = {
            number: self._fresh(part, snapshot.of(number))
            for number, part in self.bucketed(rows).items()
        }
        added = self.files.write(fresh)
        if added or SEALER in marks:
            self.files.commit(added, marks=marks)
        return sum(file.rows for file in added)

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
        unique, key = self.distinct(rows), list(self.schema.key)
        if not sealed:
            return unique
        standing = scan((file.path for file in sealed), self.schema)
        if self.schema.versioned:
            same_keys = rows.lazy().select(key).unique()
            before = standing.join(same_keys, on=key, how="semi", nulls_equal=True)
            return _changes(rows, collect(before, self.schema.name), self.schema)
        standing = standing.select(key)
        narrowed = pl.col(key[0]).is_in(unique[key[0]].unique().implode())
        known = collect(standing.filter(narrowed), self.schema.name)
        return unique.join(known, on=key, how="anti", maintain_order="left")

    def distinct(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows in order of arrival without those that repeat an earlier one."""
        if self.schema.versioned:
            return _changes(rows, rows.clear(), self.schema)
        return rows.unique(list(self.schema.key), keep="first", maintain_order=True)


def scan(paths: Iterable[Path], schema: Schema) -> pl.LazyFrame:
    """The rows of data files; a column that came later than a file is empty in it."""
    return pl.scan_parquet(
        list(paths),
        schema=pl.Schema(schema.stored),
        missing_columns="insert",
        hive_partitioning=False,
    )


def collect(rows: pl.LazyFrame, what: str) -> pl.DataFrame:
    """The rows in memory. Raises `MatineeError` where a data file of `what` is torn."""
    try:
        return rows.collect(engine="streaming")
    except (pl.exceptions.PolarsError, OSError) as torn:
        raise MatineeError(
            f"{what} cannot be read",
            why=str(torn).splitlines()[0],
            next_step="matinee repair, then try again",
        ) from torn


def latest(rows: pl.LazyFrame, schema: Schema) -> pl.LazyFrame:
    """The last known row of every key, ordered by key."""
    key = list(schema.key)
    return rows.sort("known_at", "seq").unique(key, keep="last").sort(key)


def _changes(rows: pl.DataFrame, before: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """The rows of a versioned table that differ from the row of their key known before them."""
    content = pl.struct(schema.columns.keys()).struct.json_encode()
    return (
        pl.concat([before.with_columns(new=False), rows.with_columns(new=True)])
        .sort("known_at", "seq")
        .with_columns(content=content)
        .filter(pl.col("content").ne_missing(pl.col("content").shift(1).over(list(schema.key))))
        .filter("new")
        .drop("new", "content")
    )
