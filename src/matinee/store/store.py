"""One SQLite file for everything that is not an event: versions, aliases, jobs, assignments.

A room keeps its tables as a :class:`Schema` beside the code that uses them and calls
:meth:`Store.migrate` when it opens; the store knows no room.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from weakref import WeakSet

from matinee.errors import MatineeError

BUSY_SECONDS = 30.0
"""How long a write waits for another process before it gives up."""

_MIGRATIONS = """
CREATE TABLE IF NOT EXISTS migrations (
    schema TEXT NOT NULL,
    step INTEGER NOT NULL,
    applied_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ')),
    PRIMARY KEY (schema, step)
) STRICT
"""


@dataclass(frozen=True)
class Schema:
    """The tables of one room: SQL scripts in the order they were written, numbered from 1.

    A script that has been released never changes; what comes later is a new script at the end.
    Table names start with the schema's name, so that rooms cannot collide.
    """

    name: str
    steps: tuple[str, ...]


def append_only(table: str) -> str:
    """The statements after which no row of a table can be changed, deleted or replaced; its key is
    `id`.

    >>> append_only("notes_history").count("CREATE TRIGGER")
    3
    """
    refused = "BEGIN SELECT raise(ABORT, 'the history is append-only'); END;"
    return f"""
        CREATE TRIGGER {table}_is_not_changed BEFORE UPDATE ON {table}
        {refused}
        CREATE TRIGGER {table}_is_not_deleted BEFORE DELETE ON {table}
        {refused}
        CREATE TRIGGER {table}_is_not_replaced BEFORE INSERT ON {table}
        WHEN EXISTS (SELECT 1 FROM {table} WHERE id = new.id)
        {refused}
        """  # noqa: S608 - our words


class Store:
    """The file at `path`, made when missing. Safe for threads and for several processes.

    Each thread has a connection of its own (WAL, ``synchronous=FULL``, foreign keys on); a
    transaction is durable once its block ends. A forked process opens a store of its own. Raises
    `MatineeError` where the folder is missing or the file is no SQLite database.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> notes = Schema("notes", ("CREATE TABLE notes (body TEXT NOT NULL) STRICT",))
    >>> with Store(Path(folder.name) / "matinee.db") as store:
    ...     store.migrate(notes)
    ...     with store.transaction() as connection:
    ...         _ = connection.execute("INSERT INTO notes VALUES (?)", ("hello",))
    ...     [row["body"] for row in store.rows("SELECT body FROM notes")]
    ['hello']
    >>> folder.cleanup()
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._thread = threading.local()
        self._connections: WeakSet[_Connection] = WeakSet()
        if not self.path.parent.is_dir():
            raise MatineeError(
                f"{self.path} cannot be opened",
                why=f"there is no folder {self.path.parent}",
                next_step=f"matinee init {self.path.parent}",
            )
        with self.transaction() as connection:
            connection.execute(_MIGRATIONS)

    def migrate(self, schema: Schema) -> None:
        """Apply the steps of `schema` that this file lacks, each together with its record.

        Raises `MatineeError` where the file was written by a newer version than this code.
        """
        for number in range(self._step(schema) + 1, len(schema.steps) + 1):
            with self.transaction() as connection:
                if self._step(schema) < number:  # another process may have been quicker
                    for statement in _statements(schema.steps[number - 1]):
                        connection.execute(statement)
                    connection.execute(
                        "INSERT INTO migrations (schema, step) VALUES (?, ?)", (schema.name, number)
                    )

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, with the write lock taken at the start: what is read stays true."""
        connection = self._connection()
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """All rows of a query, by name or by position."""
        return self._connection().execute(sql, parameters).fetchall()

    def close(self) -> None:
        """Close the connections of every thread."""
        for connection in list(self._connections):
            connection.close()
        self._thread = threading.local()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _step(self, schema: Schema) -> int:
        (row,) = self.rows(
            "SELECT coalesce(max(step), 0) AS step FROM migrations WHERE schema = ?", (schema.name,)
        )
        if row["step"] > len(schema.steps):
            raise MatineeError(
                f"{self.path} was written by a newer Matinee",
                why=f"its {schema.name} tables are at step {row['step']}"
                f" and this version knows {len(schema.steps)}",
                next_step="pip install --upgrade matinee",
            )
        return int(row["step"])

    def _connection(self) -> _Connection:
        if not hasattr(self._thread, "connection"):
            self._thread.connection = _open(self.path)
            self._connections.add(self._thread.connection)
        connection: _Connection = self._thread.connection
        return connection


class _Connection(sqlite3.Connection):
    """One that a `WeakSet` can hold, so that a thread's connection ends with the thread."""


def _open(path: Path) -> _Connection:
    connection = sqlite3.connect(
        path,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        factory=_Connection,
    )
    connection.row_factory = sqlite3.Row
    try:
        _use_wal(connection)
    except sqlite3.DatabaseError as error:
        connection.close()
        step = f"restore {path.name} from a copy, or move it away and start anew"
        if isinstance(error, sqlite3.OperationalError):  # nothing is wrong with what is in it
            step = "see that the folder and its files may be written, and that the disk has room"
        raise MatineeError(f"{path} cannot be opened", why=str(error), next_step=step) from error
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    return connection


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch a new file to WAL; SQLite answers "locked" at once if two processes do it together."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _statements(script: str) -> Iterator[str]:
    """The statements of a script; `executescript` would commit the open transaction."""
    statement = ""
    for piece in script.split(";"):
        statement += piece + ";"
        if sqlite3.complete_statement(statement):
            if statement.strip(" \n;"):
                yield statement
            statement = ""
