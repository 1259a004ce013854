"""The sealed files of one table: Parquet under a Delta log, written so that a crash loses nothing.

Delta's writers do not flush data files to a local disk, so the order here is ours: write the
files, flush them and their folders, commit the log entry, flush it. A reader sees a commit whole
or not at all. The watermark of the inbox travels in the same commit as an app transaction.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from pathlib import Path
from shutil import rmtree
from types import MappingProxyType
from typing import Any, NamedTuple
from zlib import crc32

import polars as pl
from deltalake import CommitProperties, DeltaTable, Field, Transaction
from deltalake import Schema as DeltaSchema
from deltalake.exceptions import DeltaError
from deltalake.transaction import AddAction, RemoveAction

from matinee.errors import MatineeError
from matinee.lake.delta_log import mend
from matinee.lake.schemas import Schema
from matinee.store.flush import flush_file, flush_folder

SEALER = "matinee.sealer"
APPENDER = "matinee.appender"
ROW_GROUP = 131_072
CHECKPOINT_COMMITS = 50
"""The commits that one Delta checkpoint sums up: a reader opens at most this many log files."""
LOG_DAYS = 1
"""How long Delta keeps the commits that a checkpoint sums up."""
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


NOTHING = Snapshot(-1, 0, 0, ())
"""Before the first commit, which makes the table."""


class Files:
    """The Delta table of one schema in `folder`."""

    def __init__(self, folder: Path, schema: Schema) -> None:
        self.folder, self.schema = folder, schema
        self._read: tuple[tuple[Any, ...] | None, Snapshot] = None, NOTHING
        self._delta_schema = DeltaSchema.from_arrow(
            pl.Schema({**schema.stored, "bucket": pl.Int32()})
        )

    def _create(self) -> None:
        """Make the empty table, whole or not at all, unless another process is quicker."""
        draft = self.folder.with_name(f"{self.schema.name}.{uuid.uuid4().hex}.draft")
        try:
            DeltaTable.create(
                str(draft),
                schema=self._delta_schema,
                partition_by=["bucket"],
                name=self.schema.name,
                configuration={
                    "delta.checkpointInterval": str(CHECKPOINT_COMMITS),
                    "delta.logRetentionDuration": f"interval {LOG_DAYS} days",
                },
            )
            flush_file(draft / "_delta_log" / f"{0:020}.json")
            flush_folder(draft / "_delta_log")
            flush_folder(draft)
            draft.rename(self.folder)
            flush_folder(self.folder.parent)
        except (OSError, DeltaError) as failure:
            if not self.folder.exists():
                raise _unwritten(self.folder, failure) from failure
        finally:
            rmtree(draft, ignore_errors=True)

    def widen(self) -> None:
        """Give a table that stands the columns that have come since it was made."""
        if not self.folder.exists() or not self._lacking(self._delta()):
            return
        with self.lock():  # another process may be writing, or adding them just now
            delta = self._delta()
            if fresh := self._lacking(delta):
                delta.alter.add_columns(fresh)
                self._flush_log(delta.version())

    def _lacking(self, delta: DeltaTable) -> list[Field]:
        known = {field.name for field in delta.schema().fields}
        return [field for field in self._delta_schema.fields if field.name not in known]

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the table's lock; the kernel lets go of it when the holder dies."""
        with locked(self.folder.parent / f"{self.schema.name}.lock"):
            yield

    def _delta(self) -> DeltaTable:
        try:
            return DeltaTable(str(self.folder))
        except DeltaError as torn:
            if mend(self.folder / "_delta_log"):
                return self._delta()
            raise MatineeError(
                f"the log of {self.schema.name} cannot be read",
                why=str(torn).splitlines()[0],
                next_step=f"restore {self.folder / '_delta_log'} from a copy",
            ) from torn

    def snapshot(self) -> Snapshot:
        """The table as it is now. What a power cut tore in its log is mended first.

        It is read anew where the log has changed, which many ask a few times a second.
        """
        log = self._log()
        if not log or log != self._read[0]:
            self._read = log, self._snapshot()
        return self._read[1]

    def _log(self) -> tuple[Any, ...]:
        """What changes with every commit: the names in the log, and the time of the last one."""
        home = self.folder / "_delta_log"
        try:
            names = sorted(entry.name for entry in home.iterdir())
            last = (home / names[-1]).stat()
        except (FileNotFoundError, IndexError):  # no table yet, or another process cleans up now
            return ()
        return (*names, last.st_size, last.st_mtime_ns)

    def _snapshot(self) -> Snapshot:
        if not self.folder.exists():
            return NOTHING
        delta = self._delta()
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
        written: list[Sealed] = []
        try:
            for bucket, frame in frames.items():
                if frame.height:
                    written.append(self._write_one(bucket, frame))
        except (OSError, pl.exceptions.PolarsError) as failure:
            for file in written:
                file.path.unlink()
            raise _unwritten(self.folder, failure) from failure
        return written

    def _write_one(self, bucket: int, frame: pl.DataFrame) -> Sealed:
        home = self.folder / f"bucket={bucket}"
        if not self.folder.exists():
            self._create()
        if not home.exists():
            home.mkdir()
            flush_folder(self.folder)
        name = uuid.uuid4().hex
        draft = home / f"{name}.draft"
        rows = frame.select(self.schema.stored.keys()).sort(self.schema.order)
        try:
            rows.write_parquet(draft, compression="zstd", row_group_size=ROW_GROUP)
            flush_file(draft)
            path = draft.rename(home / f"{name}-{checksum(draft):08x}.parquet")
        except BaseException:
            draft.unlink(missing_ok=True)
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
        if not self.folder.exists():
            self._create()
        for file in removed:
            if file.path.exists():
                file.path.touch()  # `vacuum` counts from here
        delta = self._delta()
        transactions = [Transaction(name, seq) for name, seq in marks.items()]
        try:
            delta.create_write_transaction(
                [*map(self._add, added), *map(self._remove, removed)],
                mode="append",
                schema=self._delta_schema,
                partition_by=["bucket"],
                commit_properties=CommitProperties(app_transactions=transactions),
            )
            self._flush_log(delta.version() + 1)
        except (OSError, DeltaError) as failure:
            raise _unwritten(self.folder, failure) from failure

    def _flush_log(self, version: int) -> None:
        log = self.folder / "_delta_log"
        flush_file(log / f"{version:020}.json")
        for checkpoint in log.glob(f"{version:020}.checkpoint*"):
            flush_file(checkpoint)
            flush_file(log / "_last_checkpoint")
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
        """Delete files that left the table, or never entered it, before `before` (epoch s).

        Hold the lock, or a file that is just being written may go.
        """
        active = {file.path for file in self.snapshot().files}
        homes = self.folder.glob("bucket=*" if bucket is None else f"bucket={bucket}")
        gone = [
            path
            for home in homes
            for path in home.iterdir()
            if path not in active and path.stat().st_mtime <= before
        ]
        for path in gone:
            path.unlink()
        return len(gone)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of that name, made when missing, against threads and processes."""
    try:
        handle = path.open("w")
    except OSError as error:
        raise MatineeError(
            f"{path} cannot be opened",
            why=error.strerror or str(error),
            next_step="see that the folder may be written",
        ) from error
    with handle:
        flock(handle, LOCK_EX)
        yield


def _unwritten(folder: Path, failure: Exception) -> MatineeError:
    return MatineeError(
        f"{folder.name} could not be written, and nothing acknowledged is lost",
        why=str(failure).splitlines()[0],
        next_step="free disk space or see that the folder may be written; sealing then goes on",
    )


def checksum(path: Path) -> int:
    """CRC-32 of a file's bytes; a data file carries it in its name, as Parquet pages have none."""
    crc = 0
    with path.open("rb") as data:
        while piece := data.read(2**20):
            crc = crc32(piece, crc)
    return crc


def _now_ms() -> int:
    return int(time.time() * 1_000)
