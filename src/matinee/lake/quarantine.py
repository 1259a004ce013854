"""Rows that could not enter, kept with the reason so that their source can be mended."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

import polars as pl

from matinee.lake.cards import masked, masked_json
from matinee.lake.sqlite import connect, empty_log, transaction

_TABLE = """
CREATE TABLE IF NOT EXISTS quarantine (
    id INTEGER PRIMARY KEY,
    key BLOB UNIQUE,
    at INTEGER NOT NULL,
    tbl TEXT NOT NULL,
    source TEXT NOT NULL,
    row INTEGER NOT NULL,
    reason TEXT NOT NULL,
    member_id TEXT,
    data TEXT NOT NULL
)
"""
COLUMNS = {
    "at": pl.Datetime("us", "UTC"),
    "table": pl.String(),
    "source": pl.String(),
    "row": pl.Int64(),
    "reason": pl.String(),
    "data": pl.String(),
}


class Quarantine:
    """The list of refused rows. Refusing the same row of the same source again adds nothing.

    Numbers of cards are masked in all that it keeps (`matinee.lake.cards`).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._open() as connection:
            connection.execute(_TABLE)

    def add(self, table: str, source: str, bad: pl.DataFrame) -> None:
        """Keep `bad` rows: columns `source_row`, `reason`, and the data as it was given."""
        data = bad.drop("source_row", "reason")
        texts = data.select(data=pl.struct(pl.all()).struct.json_encode())["data"]
        members = (
            bad["member_id"].cast(pl.String, strict=False)
            if "member_id" in bad.columns
            else [None] * bad.height
        )
        now, source = time.time_ns() // 1_000, masked(source)
        rows = [
            (_key(table, source, row, reason, text), now, table, source, row, reason, member, text)
            for row, reason, member, text in zip(
                bad["source_row"],
                map(masked, bad["reason"]),
                map(_masked_id, members),
                map(masked_json, texts),
                strict=True,
            )
        ]
        with self._open() as connection, transaction(connection):
            connection.executemany(
                "INSERT OR IGNORE INTO quarantine"
                " (key, at, tbl, source, row, reason, member_id, data)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                rows,
            )

    def read(self) -> pl.DataFrame:
        """All refused rows: at, table, source, row, reason, data (JSON text)."""
        with self._open() as connection:
            rows = connection.execute(
                "SELECT at, tbl, source, row, reason, data FROM quarantine ORDER BY id"
            ).fetchall()
        return pl.DataFrame(rows, schema=COLUMNS, orient="row")

    def forget(self, member_id: str) -> int:
        """Remove every refused row of a member, also from the file's bytes; how many."""
        with self._open() as connection:
            with transaction(connection):
                gone = connection.execute(
                    "DELETE FROM quarantine WHERE member_id = ?", (masked(member_id),)
                ).rowcount
            connection.execute("VACUUM")
        empty_log(self.path)
        return gone

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        connection = connect(self.path)
        try:
            yield connection
        finally:
            connection.close()


def _masked_id(member_id: str | None) -> str | None:
    return None if member_id is None else masked(member_id)


def _key(*parts: object) -> bytes:
    return blake2b(repr(parts).encode(), digest_size=16).digest()
