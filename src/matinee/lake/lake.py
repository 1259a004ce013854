"""The lake: every table, one inbox, one order of arrival."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Self

import msgspec
import polars as pl

from matinee.errors import MatineeError
from matinee.lake.buckets import bucket_of
from matinee.lake.files import Files, locked
from matinee.lake.inbox import Having, Inbox, Receipt
from matinee.lake.quarantine import Quarantine
from matinee.lake.repair import Repaired, discard_torn, repair
from matinee.lake.rows import records_of
from matinee.lake.schemas import SCHEMAS, TABLE_OF, TIME
from matinee.lake.sqlite import checkpoint
from matinee.lake.table import Table, collect
from matinee.lake.validate import problem, split
from matinee.store.flush import flush_file, flush_folder

FORMAT = 1


class Appended(NamedTuple):
    """What became of the rows of one append."""

    rows: int
    duplicates: int
    rejected: int


class _Layout(msgspec.Struct, forbid_unknown_fields=True):
    format: int
    buckets: int


class Lake:
    """Everything that happened, in one folder. Open it from as many processes as you like.

    >>> import tempfile; from matinee.lake.records import Event
    >>> folder = Path(tempfile.mkdtemp()) / "lake"
    >>> with Lake.create(folder) as lake:
    ...     play = Event(event_id="e1", member_id="m1", kind="play", title_id="heat",
    ...                  ts=datetime(2026, 1, 1, tzinfo=UTC))
    ...     [receipt.duplicate for receipt in lake.put([play, play])]
    [False, True]
    """

    def __init__(self, folder: Path, buckets: int) -> None:
        self.folder, self.bucket_count = folder, buckets
        self.inbox = Inbox(folder / "inbox.db")
        self._quarantine = Quarantine(folder / "quarantine.db")
        self.tables: Mapping[str, Table] = MappingProxyType(
            {
                name: Table(Files(folder / "tables" / name, schema), self.inbox, buckets)
                for name, schema in SCHEMAS.items()
            }
        )
        snapshots = [table.files.snapshot() for table in self.tables.values()]
        self.inbox.advance_to(max(max(s.watermark, s.appended) for s in snapshots))

    @classmethod
    def create(cls, folder: Path, buckets: int = 16) -> Self:
        """Make an empty lake. `buckets` is fixed for its life: 16 serves up to some ten million
        members, 64 or more beyond.
        """
        if buckets < 1:
            raise ValueError(f"a lake needs at least one bucket, not {buckets}")
        (folder / "tables").mkdir(parents=True, exist_ok=True)
        with locked(folder / "lake.lock"):
            if (folder / "lake.json").exists():
                raise MatineeError(
                    f"{folder} is a lake already", next_step="open it, or name another folder"
                )
            lake = cls(folder, buckets)
            draft = folder / "lake.json.draft"
            draft.write_bytes(msgspec.json.encode(_Layout(FORMAT, buckets)))
            flush_file(draft)
            draft.rename(folder / "lake.json")
            flush_folder(folder)
        return lake

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open a lake that `create` made."""
        try:
            layout = msgspec.json.decode((folder / "lake.json").read_bytes(), type=_Layout)
        except FileNotFoundError as missing:
            raise MatineeError(
                f"{folder} holds no lake", why="it has no lake.json", next_step="matinee init DIR"
            ) from missing
        except (msgspec.MsgspecError, OSError) as broken:
            raise MatineeError(
                f"{folder / 'lake.json'} cannot be read",
                why=str(broken),
                next_step="restore it from a copy; it is one line that `matinee init` wrote",
            ) from broken
        if layout.format != FORMAT:
            raise MatineeError(
                f"{folder} was written by another version of Matinee",
                why=f"its format is {layout.format}, this version reads {FORMAT}",
                next_step="pip install --upgrade matinee",
            )
        with locked(folder / "lake.lock"):
            for name, schema in SCHEMAS.items():
                Files(folder / "tables" / name, schema).widen()
        return cls(folder, layout.buckets)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Commit what waits in the inbox and let go of the files."""
        self.inbox.close()

    def check(self, record: msgspec.Struct) -> str | None:
        """Why a record may not enter, or `None`."""
        return problem(record, SCHEMAS[TABLE_OF[type(record)]], datetime.now(UTC))

    def put(self, records: Sequence[msgspec.Struct]) -> list[Receipt]:
        """Make records durable, together or not at all; a receipt for each. See `Inbox.put`.

        Raises `ValueError` for a record that `check` refuses.
        """
        return self.submit(records).result()

    def submit(self, records: Sequence[msgspec.Struct]) -> Future[list[Receipt]]:
        """`put` without waiting: the future resolves when the records are durable."""
        now = datetime.now(UTC)
        for record in records:
            if wrong := problem(record, SCHEMAS[TABLE_OF[type(record)]], now):
                raise ValueError(wrong)
        return self.inbox.submit(records)

    def append(
        self, table: str, frame: pl.DataFrame, *, source: str, first_row: int = 0
    ) -> Appended:
        """Commit the good rows of a frame exactly once and quarantine the others.

        For files and other bulk: no inbox, one commit. `source` names where the rows come from,
        `first_row` is the number of rows before them there. Raises `ValueError` for a column that
        the table does not have.
        """
        schema = SCHEMAS[table]
        good, bad = split(frame, schema, datetime.now(UTC), first_row)
        if bad.height:
            self._quarantine.add(table, source, bad)
        added = self.tables[table].append(good)
        return Appended(added, good.height - added, bad.height)

    def scan(self, table: str, *, as_of: datetime | None = None) -> pl.LazyFrame:
        """All rows of a table, sealed or not, as known at `as_of` (now by default)."""
        return self.tables[table].scan(as_of)

    def current(self, table: str, *, as_of: datetime | None = None) -> pl.DataFrame:
        """The latest known row of every key of a versioned table."""
        return self.tables[table].current(as_of)

    def records(self, table: str, *, as_of: datetime | None = None) -> list[Any]:
        """The same as records."""
        return records_of(self.current(table, as_of=as_of), SCHEMAS[table])

    def appended(self, tables: Iterable[str]) -> tuple[int, ...]:
        """The last number that came to each of these tables by `append`, past the inbox: who
        follows the inbox reads anew where they change.
        """
        return tuple(self.tables[name].files.snapshot().appended for name in tables)

    def seal(self) -> dict[str, int]:
        """Move the inbox into the tables; rows moved, by table."""
        moved = dict.fromkeys(self.tables, 0)
        for name, table in self.tables.items():
            while rows := table.seal():
                moved[name] += rows
        checkpoint(self.inbox.path)
        return moved

    def compact(self, *, least: int = 8) -> int:
        """Merge small files in every table; how many files fewer there are."""
        return sum(table.compact(least=least) for table in self.tables.values())

    def expire(self, keep: timedelta) -> tuple[int, int]:
        """Drop inbox rows sealed and files replaced more than `keep` ago: (rows, files).

        Until then they serve readers of older snapshots and the repair of torn files.
        """
        before = time.time() - keep.total_seconds()
        rows = files = 0
        for name, table in self.tables.items():
            rows += self.inbox.purge(name, before=int(before * 1e6))
            with table.files.lock():
                files += table.files.vacuum(before=before)
        return rows, files

    def repair(self) -> list[Repaired]:
        """Find torn files and rebuild their buckets from what is still known of them."""
        return [done for table in self.tables.values() for done in repair(table, self._quarantine)]

    def quarantine(self) -> pl.DataFrame:
        """Refused rows: at, table, source, row, reason, data (JSON text)."""
        return self._quarantine.read()

    def forget(self, member_id: str) -> dict[str, int]:
        """Remove one member from every table, the inbox and the quarantine; rows removed, by place.

        Old file versions of the member's buckets are deleted at once, so that nothing can be
        restored from them. A source that is imported again brings the member back: mend it first.
        """
        removed = {}
        for name, table in self.tables.items():
            if table.schema.bucketed:
                removed[name] = _forget(table, member_id)
        removed["quarantine"] = self._quarantine.forget(member_id)
        return removed

    def summary(self) -> pl.DataFrame:
        """One row a table: rows, members, first and last time, unsealed rows, files, bytes."""
        facts = [_summary(table) for table in self.tables.values()]
        return pl.DataFrame(facts, schema_overrides={"first": TIME, "last": TIME})


def _forget(table: Table, member_id: str) -> int:
    number = bucket_of(member_id, table.bucket_count)
    with table.files.lock():
        table.drain()
        sealed = table.sealed(number, table.files.snapshot()).read()
        kept = sealed.filter(pl.col("member_id") != member_id)
        if kept.height < sealed.height:
            table.rewrite(number, kept)
        table.files.vacuum(before=time.time(), bucket=number)
        discard_torn(table, number)
        inbox = [
            row.seq
            for rows in table.inbox.batches(
                table.schema.name, having=Having("member_id", member_id)
            )
            for row in rows
        ]
        table.inbox.delete(inbox)
        return sealed.height - kept.height


def _summary(table: Table) -> dict[str, object]:
    snapshot = table.files.snapshot()
    at = pl.col(table.schema.time or "known_at")
    members = pl.col("member_id").n_unique() if table.schema.bucketed else pl.lit(None, pl.UInt32)
    facts = table.scan().select(rows=pl.len(), members=members, first=at.min(), last=at.max())
    return {
        "table": table.schema.name,
        **collect(facts, table.schema.name).to_dicts()[0],
        "unsealed": table.inbox.count(table.schema.name, after=snapshot.watermark),
        "files": len(snapshot.files),
        "bytes": sum(file.size for file in snapshot.files),
    }
