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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple, TypeVar

import msgspec

from matinee.errors import MatineeError
from matinee.lake.rows import Row, row_key
from matinee.lake.schemas import SCHEMAS, TABLE_OF
from matinee.lake.sqlite import connect, empty_log, transaction

_TABLES = """
CREATE TABLE IF NOT EXISTS inbox (
    seq INTEGER PRIMARY KEY,
    kind INTEGER NOT NULL,
    known_at INTEGER NOT NULL,
    key BLOB UNIQUE,
    row BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS inbox_kind ON inbox (kind);
CREATE TABLE IF NOT EXISTS sealed (
    kind INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (kind, seq)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS clock (
    id INTEGER PRIMARY KEY CHECK (id = 0),
    seq INTEGER NOT NULL,
    known_at INTEGER NOT NULL
);
INSERT OR IGNORE INTO clock VALUES (0, 0, 0);
"""
_KIND = {name: number for number, name in enumerate(SCHEMAS)}
_NAME = dict(enumerate(SCHEMAS))
_CHECK = {record: msgspec.msgpack.Decoder(record) for record in TABLE_OF}
GROUP_ROWS = 20_000
"""The most rows that one group commit takes."""
BATCH_ROWS = 10_000
"""The rows that a reader decodes, or a purge deletes, at a time."""


Fields = TypeVar("Fields", bound=msgspec.Struct)


class Receipt(NamedTuple):
    """The answer to one row: where it stands, and whether it had been there before.

    `record` is the row that stands: the first one received when this one is a duplicate.
    """

    seq: int
    duplicate: bool
    record: msgspec.Struct


class Having(NamedTuple):
    r"""What rows must have: this text, in a column that each of them names.

    >>> Having("member_id", "m1").encoded
    b'\xa9member_id\xa2m1'
    """

    column: str
    text: str

    @property
    def encoded(self) -> bytes:
        """How a row that has it holds it. Others may have the same bytes within a value."""
        return b"".join(map(msgspec.msgpack.encode, self))

    def holds(self, row: Row) -> bool:
        return bool(row.values[self.column] == self.text)


class _Prepared(NamedTuple):
    kind: int
    key: bytes | None
    row: bytes
    record: msgspec.Struct


class _Waiting(NamedTuple):
    rows: list[_Prepared]
    answer: Future[list[Receipt]]


class Inbox:
    """Durable, idempotent arrival of rows. Safe for threads and for several processes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reading, self._door = threading.Lock(), threading.Lock()
        self._reader = connect(path)
        self._reader.executescript(_TABLES)
        self._encoder = msgspec.msgpack.Encoder()
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._writer: threading.Thread | None = None
        self._closed = False

    def submit(self, records: Sequence[msgspec.Struct]) -> Future[list[Receipt]]:
        """Queue records for the next group commit; the future resolves once they are durable.

        Raises `ValueError` for a record whose values are not of its type.
        """
        waiting = _Waiting([self._prepare(record) for record in records], Future())
        with self._door:
            if self._closed:
                raise MatineeError("the lake is closed", next_step="open it again, then send again")
            if self._writer is None:
                connection = connect(self.path)
                self._writer = threading.Thread(
                    target=self._write, args=(connection,), name="inbox", daemon=True
                )
                self._writer.start()
            self._queue.put(waiting)
        return waiting.answer

    def put(self, records: Sequence[msgspec.Struct]) -> list[Receipt]:
        """Make records durable, together or not at all, and return a receipt for each.

        Raises `MatineeError` (a full disk, say) with nothing written.
        """
        return self.submit(records).result()

    def close(self) -> None:
        """Commit what waits and stop the writer."""
        with self._door:
            self._closed = True
            self._queue.put(None)
        if self._writer is not None:
            self._writer.join()
        self._reader.close()

    def _prepare(self, record: msgspec.Struct) -> _Prepared:
        table = TABLE_OF[type(record)]
        try:
            row = self._encoder.encode(record)
            _CHECK[type(record)].decode(row)
            return _Prepared(_KIND[table], row_key(SCHEMAS[table], record), row, record)
        except (msgspec.MsgspecError, TypeError, UnicodeError, OverflowError) as wrong:
            raise ValueError(f"not a row of {table}: {wrong}") from wrong

    def _write(self, connection: sqlite3.Connection) -> None:
        open_ = True
        while open_:
            group, open_ = self._gather()
            _commit_group(connection, group)
        connection.close()

    def _gather(self) -> tuple[list[_Waiting], bool]:
        """What waits, in order, at least one thing; and whether more may come."""
        group: list[_Waiting] = []
        rows = 0
        while not group or (rows < GROUP_ROWS and not self._queue.empty()):
            waiting = self._queue.get()
            if waiting is None:
                return group, False
            if waiting.answer.set_running_or_notify_cancel():
                group.append(waiting)
                rows += len(waiting.rows)
        return group, True

    def reserve(self, rows: int) -> tuple[int, int]:
        """Claim `rows` sequence numbers: the first of them, and the time of the claim (us)."""
        with self._transaction() as connection:
            return tick(connection, rows)

    def last_seq(self) -> int:
        """The last sequence number that was given out."""
        return self._clock()[0]

    def advance_to(self, seq: int) -> None:
        """Never give out a number up to `seq`: a lake may outlive the file of its inbox."""
        if self.last_seq() < seq:
            with self._transaction() as connection:
                connection.execute("UPDATE clock SET seq = max(seq, ?)", (seq,))

    def settle(self, known_at: int) -> None:
        """Let every later row be known after `known_at` (us), or after now if that is earlier."""
        through = min(known_at, time.time_ns() // 1_000)
        if self._clock()[1] < through:
            with self._transaction() as connection:
                connection.execute("UPDATE clock SET known_at = max(known_at, ?)", (through,))

    def rows(
        self,
        table: str | None = None,
        *,
        after: int = -1,
        until: int = 2**62,
        limit: int = -1,
    ) -> list[Row]:
        """Rows with ``after < seq <= until`` in order of arrival, of one table or of all."""
        where: dict[str, Any] = {"seq > ?": after, "seq <= ?": until}
        return self._rows(where if table is None else {"kind = ?": _KIND[table], **where}, limit)

    def fields(self, table: str, kind: type[Fields], *, after: int, until: int) -> list[Fields]:
        """Of the rows of a table with ``after < seq <= until``, in order of arrival, the fields
        that the struct `kind` has: much quicker than whole rows.
        """
        found = self._select(
            "SELECT row FROM inbox WHERE kind = ? AND seq > ? AND seq <= ? ORDER BY seq",
            (_KIND[table], after, until),
        )
        decode = msgspec.msgpack.Decoder(kind).decode
        return [decode(row) for (row,) in found]

    def batches(
        self,
        table: str,
        *,
        after: int = -1,
        until: int = 2**62,
        limit: int = 2**62,
        having: Having | None = None,
    ) -> Iterator[list[Row]]:
        """The same rows of one table, up to `BATCH_ROWS` at a time and `limit` in all.

        Where only those `having` something are wanted, the others are searched for its bytes and
        not decoded.
        """
        where = {**_where(table, having), "seq <= ?": until}
        while limit > 0:
            size = min(limit, BATCH_ROWS)
            found = self._rows({**where, "seq > ?": after}, size)
            if rows := [row for row in found if having is None or having.holds(row)]:
                yield rows
            if len(found) < size:
                return
            after, limit = found[-1].seq, limit - len(rows)

    def count(self, table: str, *, after: int = -1, having: Having | None = None) -> int:
        """How many rows of a table have a number above `after`; those `having` something, and
        perhaps a few more, where that is given.
        """
        where, values = _sql({**_where(table, having), "seq > ?": after})
        ((rows,),) = self._select(f"SELECT count(*) FROM inbox WHERE {where}", values)  # noqa: S608
        return int(rows)

    def mark_sealed(self, table: str, seq: int) -> None:
        """Note that the table holds the rows up to `seq` from now on."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO sealed VALUES (?, ?, ?)",
                (_KIND[table], seq, time.time_ns() // 1_000),
            )

    def purge(self, table: str, *, before: int) -> int:
        """Drop the rows that were sealed before `before` (us); how many went."""
        kind, gone, batch = _KIND[table], 0, -1
        ((through,),) = self._select(
            "SELECT coalesce(max(seq), -1) FROM sealed WHERE kind = ? AND at < ?", (kind, before)
        )
        with self._transaction() as connection:  # first, and the last one stays: see `gone`
            connection.execute("DELETE FROM sealed WHERE kind = ? AND seq < ?", (kind, through))
        while batch:  # in small steps: whoever writes meanwhile waits for one step only
            with self._transaction() as connection:
                batch = connection.execute(
                    "DELETE FROM inbox WHERE seq IN"
                    " (SELECT seq FROM inbox WHERE kind = ? AND seq <= ? LIMIT ?)",
                    (kind, through, BATCH_ROWS),
                ).rowcount
                gone += batch
        return gone

    def gone(self, tables: Iterable[str]) -> int:
        """The number up to which rows of these tables may have been purged: who has followed them
        to there has missed none.
        """
        first = "SELECT coalesce(min(seq), 0) FROM sealed WHERE kind = ?"
        return max(int(self._select(first, (_KIND[table],))[0][0]) for table in tables)

    def delete(self, seqs: Iterable[int]) -> None:
        """Remove rows so that their bytes cannot be read back from the file."""
        with self._transaction() as connection:
            connection.executemany("DELETE FROM inbox WHERE seq = ?", ((seq,) for seq in seqs))
        empty_log(self.path)

    def _rows(self, conditions: Mapping[str, Any], limit: int) -> list[Row]:
        where, values = _sql(conditions)
        found = self._select(
            f"SELECT seq, kind, known_at, row FROM inbox WHERE {where}"  # noqa: S608 - our words
            " ORDER BY seq LIMIT ?",
            (*values, limit),
        )
        decode = msgspec.msgpack.decode
        return [Row(seq, _NAME[kind], known_at, decode(row)) for seq, kind, known_at, row in found]

    def _clock(self) -> tuple[int, int]:
        ((seq, known_at),) = self._select("SELECT seq, known_at FROM clock")
        return seq, known_at

    def _select(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        with self._reading:
            return self._reader.execute(sql, parameters).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = connect(self.path)
        try:
            with transaction(connection):
                yield connection
        finally:
            connection.close()


def _where(table: str, having: Having | None) -> dict[str, Any]:
    """The conditions that rows of a table meet, by their SQL; with `having` a few others do too."""
    of = {"kind = ?": _KIND[table]}
    return of if having is None else {**of, "instr(row, ?)": having.encoded}


def _sql(conditions: Mapping[str, Any]) -> tuple[str, tuple[Any, ...]]:
    """All of them as one, and the values in it."""
    return " AND ".join(conditions), tuple(conditions.values())


def _commit_group(connection: sqlite3.Connection, group: list[_Waiting]) -> None:
    try:
        receipts = iter(_insert(connection, [row for waiting in group for row in waiting.rows]))
    except BaseException as failure:  # whoever waits must hear of it
        for waiting in group:
            waiting.answer.set_exception(failure)
    else:
        for waiting in group:
            waiting.answer.set_result(list(islice(receipts, len(waiting.rows))))


def _insert(connection: sqlite3.Connection, rows: list[_Prepared]) -> list[Receipt]:
    with transaction(connection):
        first, known_at = tick(connection, len(rows))
        before = connection.total_changes
        connection.executemany(
            "INSERT OR IGNORE INTO inbox VALUES (?, ?, ?, ?, ?)",
            ((seq, row.kind, known_at, row.key, row.row) for seq, row in enumerate(rows, first)),
        )
        if connection.total_changes - before == len(rows):
            return [Receipt(seq, False, row.record) for seq, row in enumerate(rows, first)]
        return [_receipt(connection, seq, row) for seq, row in enumerate(rows, first)]


def _receipt(connection: sqlite3.Connection, seq: int, row: _Prepared) -> Receipt:
    if row.key is None:
        return Receipt(seq, False, row.record)
    stands, kept = connection.execute(
        "SELECT seq, row FROM inbox WHERE key = ?", (row.key,)
    ).fetchone()
    if stands == seq:
        return Receipt(seq, False, row.record)
    return Receipt(stands, True, _CHECK[type(row.record)].decode(kept))


def tick(connection: sqlite3.Connection, rows: int) -> tuple[int, int]:
    """Advance the lake's clock: the first of `rows` numbers, and a time that only goes forward."""
    last, known_at = connection.execute(
        "UPDATE clock SET seq = seq + ?, known_at = max(known_at + 1, ?) RETURNING seq, known_at",
        (rows, time.time_ns() // 1_000),
    ).fetchone()
    return last - rows + 1, known_at
