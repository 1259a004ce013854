"""The inbox: rows are durable here before anyone hears that they arrived.

One SQLite file in WAL mode with ``synchronous=FULL``. A writer thread commits everything that
waits in one transaction (group commit), so a thousand callers pay for one disk flush. Several
processes may write to the same inbox; SQLite serialises their transactions.

A row stays here after it has been sealed, until it is older than the lake's retention: readers on
an older snapshot still find it, and a torn table file can be rebuilt from it.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

import msgspec
import polars as pl

from matinee.errors import MatineeError
from matinee.lake.schemas import SCHEMAS, TABLE_OF, Schema

_TABLES = """
CREATE TABLE IF NOT EXISTS inbox (
    seq INTEGER PRIMARY KEY,
    kind INTEGER NOT NULL,
    known_at INTEGER NOT NULL,
    key BLOB UNIQUE,
    row BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS clock (
    id INTEGER PRIMARY KEY CHECK (id = 0),
    seq INTEGER NOT NULL,
    known_at INTEGER NOT NULL
);
INSERT OR IGNORE INTO clock VALUES (0, 0, 0);
"""
_KIND = {name: number for number, name in enumerate(SCHEMAS)}
_NAME = dict(enumerate(SCHEMAS))
GROUP_ROWS = 20_000
"""The most rows that one group commit takes."""


class Receipt(NamedTuple):
    """The answer to one row: where it stands, and whether it had been there before.

    `record` is the row that stands: the first one received when this one is a duplicate.
    """

    seq: int
    duplicate: bool
    record: msgspec.Struct


class Row(NamedTuple):
    """A row as it lies in the inbox."""

    seq: int
    table: str
    known_at: int
    values: list[Any]


class _Waiting(NamedTuple):
    records: Sequence[msgspec.Struct]
    answer: Future[list[Receipt]]


def connect(path: Path) -> sqlite3.Connection:
    """Open the file with the durability that an acknowledgement promises."""
    connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    return connection


class Inbox:
    """Durable, idempotent arrival of rows. Thread-safe; use as a context manager or `close`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._reader = connect(path)
        self._reader.executescript(_TABLES)
        self._encoder = msgspec.msgpack.Encoder()
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._writer: threading.Thread | None = None

    def submit(self, records: Sequence[msgspec.Struct]) -> Future[list[Receipt]]:
        """Queue records for the next group commit; the future resolves once they are durable."""
        answer: Future[list[Receipt]] = Future()
        self._start()
        self._queue.put(_Waiting(records, answer))
        return answer

    def put(self, records: Sequence[msgspec.Struct]) -> list[Receipt]:
        """Make records durable, together or not at all, and return a receipt for each.

        Raises `sqlite3.Error` (a full disk, say) with nothing written.
        """
        return self.submit(records).result()

    def close(self) -> None:
        """Commit what waits and stop the writer."""
        with self._lock:
            writer, self._writer = self._writer, None
        if writer is not None:
            self._queue.put(None)
            writer.join()
        self._reader.close()

    def _start(self) -> None:
        if self._writer is None:
            with self._lock:
                if self._writer is None:
                    self._writer = threading.Thread(target=self._write, name="inbox", daemon=True)
                    self._writer.start()

    def _write(self) -> None:
        connection = connect(self.path)
        try:
            while (first := self._queue.get()) is not None:
                group, last = self._gather(first)
                self._commit_group(connection, group)
                if last:
                    return
        finally:
            connection.close()

    def _gather(self, first: _Waiting) -> tuple[list[_Waiting], bool]:
        group, rows = [first], len(first.records)
        while rows < GROUP_ROWS and not self._queue.empty():
            waiting = self._queue.get()
            if waiting is None:
                return group, True
            group.append(waiting)
            rows += len(waiting.records)
        return group, False

    def _commit_group(self, connection: sqlite3.Connection, group: list[_Waiting]) -> None:
        records = [record for waiting in group for record in waiting.records]
        try:
            receipts = self._insert(connection, records)
        except Exception as failure:
            for waiting in group:
                waiting.answer.set_exception(failure)
            return
        position = 0
        for waiting in group:
            end = position + len(waiting.records)
            waiting.answer.set_result(receipts[position:end])
            position = end

    def _insert(
        self, connection: sqlite3.Connection, records: list[msgspec.Struct]
    ) -> list[Receipt]:
        prepared = [self._prepare(record) for record in records]
        with transaction(connection):
            first, known_at = tick(connection, len(records))
            rows = [
                (seq, kind, known_at, key, row)
                for seq, (kind, key, row) in enumerate(prepared, first)
            ]
            before = connection.total_changes
            connection.executemany("INSERT OR IGNORE INTO inbox VALUES (?, ?, ?, ?, ?)", rows)
            if connection.total_changes - before == len(rows):
                return [Receipt(seq, False, record) for seq, record in enumerate(records, first)]
            return [
                self._receipt(connection, row, record)
                for row, record in zip(rows, records, strict=True)
            ]

    def _prepare(self, record: msgspec.Struct) -> tuple[int, bytes | None, bytes]:
        table = TABLE_OF[type(record)]
        values = msgspec.structs.astuple(record)
        return _KIND[table], row_key(SCHEMAS[table], record), self._encoder.encode(values)

    def _receipt(
        self, connection: sqlite3.Connection, row: tuple[Any, ...], record: msgspec.Struct
    ) -> Receipt:
        seq, _, _, key, _ = row
        if key is None:
            return Receipt(seq, False, record)
        stands, payload = connection.execute(
            "SELECT seq, row FROM inbox WHERE key = ?", (key,)
        ).fetchone()
        if stands == seq:
            return Receipt(seq, False, record)
        return Receipt(stands, True, decode_record(type(record), msgspec.msgpack.decode(payload)))

    def reserve(self, rows: int) -> tuple[int, int]:
        """Claim `rows` sequence numbers: the first of them, and the time of the claim (us)."""
        connection = connect(self.path)
        try:
            with transaction(connection):
                return tick(connection, rows)
        finally:
            connection.close()

    def last_seq(self) -> int:
        with self._lock:
            (seq,) = self._reader.execute("SELECT seq FROM clock").fetchone()
        return int(seq)

    def advance_to(self, seq: int) -> None:
        """Never give out a number up to `seq`: a lake may outlive the file of its inbox."""
        with self._lock, transaction(self._reader):
            self._reader.execute("UPDATE clock SET seq = max(seq, ?)", (seq,))

    def rows(
        self,
        table: str | None = None,
        *,
        after: int = -1,
        until: int | None = None,
        limit: int = -1,
    ) -> list[Row]:
        """Rows with ``after < seq <= until`` in order of arrival, of one table or of all."""
        with self._lock:
            found = self._reader.execute(
                "SELECT seq, kind, known_at, row FROM inbox WHERE seq > ? AND seq <= ?"
                " AND (? IS NULL OR kind = ?) ORDER BY seq LIMIT ?",
                (
                    after,
                    2**62 if until is None else until,
                    *(2 * (None if table is None else _KIND[table],)),
                    limit,
                ),
            ).fetchall()
        decode = msgspec.msgpack.decode
        return [Row(seq, _NAME[kind], known_at, decode(row)) for seq, kind, known_at, row in found]

    def count(self, table: str, *, after: int = -1) -> int:
        """How many rows of a table have a number above `after`."""
        with self._lock:
            (rows,) = self._reader.execute(
                "SELECT count(*) FROM inbox WHERE kind = ? AND seq > ?", (_KIND[table], after)
            ).fetchone()
        return int(rows)

    def delete(self, seqs: Iterable[int]) -> None:
        """Remove rows so that their bytes cannot be read back from the file."""
        connection = connect(self.path)
        try:
            connection.execute("PRAGMA secure_delete=ON")
            with transaction(connection):
                connection.executemany("DELETE FROM inbox WHERE seq = ?", ((seq,) for seq in seqs))
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            connection.close()

    def purge(self, table: str, *, through: int, before: int) -> int:
        """Drop sealed rows (seq <= `through`) that arrived before `before` (us); how many went."""
        with self._lock, transaction(self._reader):
            return self._reader.execute(
                "DELETE FROM inbox WHERE kind = ? AND seq <= ? AND known_at < ?",
                (_KIND[table], through, before),
            ).rowcount


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing, with the write lock taken at the start."""
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as busy:
        raise MatineeError(
            "the inbox could not be written",
            why=str(busy),
            next_step="free disk space or end the process that holds it, then send again",
        ) from busy
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def tick(connection: sqlite3.Connection, rows: int) -> tuple[int, int]:
    """Advance the lake's clock: the first of `rows` numbers, and a time that never goes back."""
    last, known_at = connection.execute(
        "UPDATE clock SET seq = seq + ?, known_at = max(known_at, ?) RETURNING seq, known_at",
        (rows, time.time_ns() // 1_000),
    ).fetchone()
    return last - rows + 1, known_at


def row_key(schema: Schema, record: msgspec.Struct) -> bytes | None:
    """The idempotency key of a log's row; a versioned row has none, as every change counts."""
    if schema.versioned:
        return None
    parts = [str(getattr(record, name)) for name in schema.key]
    text = "\x1f".join([schema.name, *(f"{len(part)}:{part}" for part in parts)])
    return blake2b(text.encode(), digest_size=16).digest()


def decode_record(kind: type[msgspec.Struct], values: Sequence[Any]) -> msgspec.Struct:
    """A record from the values that the inbox holds."""
    names = kind.__struct_fields__
    return msgspec.convert(dict(zip(names, values, strict=True)), kind)


def frame_of(rows: Sequence[Row], schema: Schema) -> pl.DataFrame:
    """Inbox rows of one table as a frame in the lake's columns."""
    columns = {
        name: [row.values[position] for row in rows] for position, name in enumerate(schema.columns)
    }
    for name in schema.nested:
        columns[name] = [msgspec.json.encode(value).decode() for value in columns[name]]
    columns["known_at"] = [row.known_at for row in rows]
    columns["seq"] = [row.seq for row in rows]
    return pl.DataFrame(columns, schema=schema.stored)
