"""The sealed files of one table: Parquet under a Delta log, written so that a crash loses nothing.

Delta's writers do not flush data files to a local disk, so the order here is ours: write the
files, flush them and their folders, commit the log entry, flush it. A reader sees a commit whole
or not at all. The watermark of the inbox travels in the same commit as an app transaction.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_UN, flock
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import polars as pl
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake import Schema as DeltaSchema
from deltalake.transaction import AddAction, RemoveAction

from matinee.lake.schemas import Schema

SEALER = "matinee.sealer"
APPENDER = "matinee.appender"
ROW_GROUP = 131_072
NO_MARKS: Mapping[str, int] = MappingProxyType({})


class Sealed(NamedTuple):
    """One active data file: its path, its bucket, and what the Delta log says of it."""

    path: Path
    bucket: int
    rows: int
    size: int


class Snapshot(NamedTuple):
    """A version of the table: its files, the number up to which it holds the inbox, and the last
    number that came by `Table.append`, past the inbox.
    """

    version: int
    watermark: int
    appended: int
    files: tuple[Sealed, ...]

    def of(self, bucket: int) -> tuple[Sealed, ...]:
        return tuple(file for file in self.files if file.bucket == bucket)


class Files:
    """The Delta table of one schema in `folder`."""

    def __init__(self, folder: Path, schema: Schema) -> None:
        self.folder, self.schema = folder, schema
        self._delta_schema = DeltaSchema.from_arrow(
            pl.Schema({**schema.stored, "bucket": pl.Int32()})
        )

    def create(self) -> None:
        """Make the empty table; nothing happens where it stands already."""
        if not DeltaTable.is_deltatable(str(self.folder)):
            DeltaTable.create(
                str(self.folder),
                schema=self._delta_schema,
                partition_by=["bucket"],
                mode="ignore",
                name=self.schema.name,
            )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the table's write lock; the kernel lets go of it when the holder dies."""
        with (self.folder.parent / f"{self.schema.name}.lock").open("w") as handle:
            flock(handle, LOCK_EX)
            try:
                yield
            finally:
                flock(handle, LOCK_UN)

    def snapshot(self) -> Snapshot:
        delta = DeltaTable(str(self.folder))
        adds = pl.DataFrame(delta.get_add_actions(flatten=True))
        files = (
            (
                Sealed(self.folder / path, int(bucket), rows or 0, size)
                for path, bucket, rows, size in adds.select(
                    "path", "partition.bucket", "num_records", "size_bytes"
                )
                .sort("path")
                .iter_rows()
            )
            if adds.height
            else ()
        )
        return Snapshot(
            delta.version(),
            delta.transaction_version(SEALER) or 0,
            delta.transaction_version(APPENDER) or 0,
            tuple(files),
        )

    def write(self, frames: Mapping[int, pl.DataFrame]) -> list[Sealed]:
        """Write a sorted, flushed file for each bucket with rows; not yet part of the table."""
        written = []
        for bucket, frame in frames.items():
            if frame.height:
                written.append(self._write_one(bucket, frame))
        return written

    def _write_one(self, bucket: int, frame: pl.DataFrame) -> Sealed:
        home = self.folder / f"bucket={bucket}"
        if not home.exists():
            home.mkdir()
            flush_folder(self.folder)
        path = home / f"{uuid.uuid4().hex}.parquet"
        rows = frame.select(self.schema.stored.keys()).sort(self.schema.order)
        try:
            rows.write_parquet(path, compression="zstd", row_group_size=ROW_GROUP)
            flush_file(path)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        flush_folder(home)
        return Sealed(path, bucket, frame.height, path.stat().st_size)

    def commit(
        self,
        added: Sequence[Sealed],
        removed: Sequence[Sealed] = (),
        marks: Mapping[str, int] = NO_MARKS,
    ) -> None:
        """Make `added` part of the table and `removed` not, in one version. Hold the lock.

        `marks` are written in the same version: sequence numbers of `SEALER` and `APPENDER`.
        """
        delta = DeltaTable(str(self.folder))
        delta.create_write_transaction(
            [*map(self._add, added), *map(self._remove, removed)],
            mode="append",
            schema=self._delta_schema,
            partition_by=["bucket"],
            commit_properties=CommitProperties(
                app_transactions=[Transaction(name, seq) for name, seq in marks.items()]
            ),
        )
        log = self.folder / "_delta_log"
        flush_file(log / f"{delta.version() + 1:020}.json")
        flush_folder(log)

    def _add(self, file: Sealed) -> AddAction:
        return AddAction(
            path=self._relative(file),
            size=file.size,
            partition_values={"bucket": str(file.bucket)},
            modification_time=_now_ms(),
            data_change=True,
            stats=json.dumps({"numRecords": file.rows}),
        )

    def _remove(self, file: Sealed) -> RemoveAction:
        return RemoveAction(
            path=self._relative(file),
            data_change=True,
            deletion_timestamp=_now_ms(),
            partition_values={"bucket": str(file.bucket)},
            size=file.size,
        )

    def _relative(self, file: Sealed) -> str:
        return file.path.relative_to(self.folder).as_posix()

    def on_disk(self, bucket: int) -> list[Path]:
        """Every data file of a bucket that lies on the disk, part of the table or not."""
        return sorted((self.folder / f"bucket={bucket}").glob("*.parquet"))

    def vacuum(self, *, before: float, bucket: int | None = None) -> int:
        """Delete files that no version needs any more, last touched before `before` (epoch s).

        Hold the lock, or a file that is just being written may go.
        """
        active = {file.path for file in self.snapshot().files}
        homes = self.folder.glob("bucket=*" if bucket is None else f"bucket={bucket}")
        gone = [
            path
            for home in homes
            for path in home.glob("*.parquet")
            if path not in active and path.stat().st_mtime <= before
        ]
        for path in gone:
            path.unlink()
        return len(gone)


def _now_ms() -> int:
    return int(time.time() * 1_000)


def flush_file(path: Path) -> None:
    """Ask the disk to keep the file's bytes."""
    _flush(path, os.O_RDONLY)


def flush_folder(path: Path) -> None:
    """Ask the disk to keep the folder's entries."""
    _flush(path, os.O_RDONLY | os.O_DIRECTORY)


def _flush(path: Path, flags: int) -> None:
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
