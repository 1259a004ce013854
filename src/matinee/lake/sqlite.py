"""SQLite with the durability that an acknowledgement promises."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from matinee.errors import MatineeError

LOG_PAGES = 16_384
"""Pages (64 MiB) of write-ahead log at which a commit stops to copy them into the file. The sealer
does it long before, in its own process, so that no answer waits for it.
"""


def connect(path: Path) -> sqlite3.Connection:
    """Open the file in WAL mode; a commit is on the disk when it returns.

    Deleted rows are overwritten, so that a forgotten member cannot be read from the free space.
    """
    try:
        connection = sqlite3.connect(
            path, timeout=30, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA journal_mode=WAL")
    except sqlite3.Error as error:
        raise MatineeError(
            f"{path} cannot be opened",
            why=str(error),
            next_step="see that the folder and its files may be written, or restore them",
        ) from error
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA secure_delete=ON")
    connection.execute(f"PRAGMA wal_autocheckpoint={LOG_PAGES}")
    return connection


def checkpoint(path: Path) -> None:
    """Copy what can be copied of the write-ahead log into the file, without making anyone wait."""
    connection = connect(path)
    try:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
    finally:
        connection.close()


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing, with the write lock taken at the start."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("COMMIT")
    except BaseException as failure:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        if isinstance(failure, sqlite3.OperationalError):
            raise MatineeError(
                "the lake's inbox could not be written, and nothing was",
                why=str(failure),
                next_step="free disk space or end the process that holds it, then send again",
            ) from failure
        raise


def empty_log(path: Path) -> None:
    """Copy SQLite's write-ahead log into its file and cut it, so that deleted bytes are gone."""
    connection = connect(path)
    try:
        (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        connection.close()
    if busy:
        raise MatineeError(
            f"{path.name}-wal still holds what was deleted",
            why="another process is reading the file",
            next_step="do it again when that process is done",
        )
