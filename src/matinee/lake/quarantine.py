"""Rows that could not enter, kept with the reason so that their source can be mended."""

from __future__ import annotations

import time
from pathlib import Path

import polars as pl

from matinee.lake.inbox import connect, transaction

_TABLE = """
CREATE TABLE IF NOT EXISTS quarantine (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    tbl TEXT NOT NULL,
    source TEXT NOT NULL,
    row INTEGER NOT NULL,
    reason TEXT NOT NULL,
    member_id TEXT,
    data TEXT NOT NULL,
    UNIQUE (tbl, source, row, reason, data)
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
    """The list of refused rows. Refusing the same row of the same source again adds nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        connection = connect(path)
        connection.execute(_TABLE)
        connection.close()

    def add(self, table: str, source: str, bad: pl.DataFrame) -> None:
        """Keep `bad` rows: columns `source_row`, `reason`, and the data as it was given."""
        data = bad.drop("source_row", "reason")
        texts = data.select(data=pl.struct(pl.all()).struct.json_encode())["data"]
        members = (
            bad["member_id"].cast(pl.String, strict=False)
            if "member_id" in bad.columns
            else pl.Series([None] * bad.height, dtype=pl.String)
        )
        now = time.time_ns() // 1_000
        rows = [
            (now, table, source, row, reason, member, text)
            for row, reason, member, text in zip(
                bad["source_row"], bad["reason"], members, texts, strict=True
            )
        ]
        connection = connect(self.path)
        try:
            with transaction(connection):
                connection.executemany(
                    "INSERT OR IGNORE INTO quarantine"
                    " (at, tbl, source, row, reason, member_id, data) VALUES (?, ?, ?, ?, ?, ?, ?)",
                    rows,
                )
        finally:
            connection.close()

    def read(self) -> pl.DataFrame:
        """All refused rows: at, table, source, row, reason, data (JSON text)."""
        connection = connect(self.path)
        try:
            rows = connection.execute(
                "SELECT at, tbl, source, row, reason, data FROM quarantine ORDER BY id"
            ).fetchall()
        finally:
            connection.close()
        return pl.DataFrame(rows, schema=COLUMNS, orient="row")

    def forget(self, member_id: str) -> int:
        """Remove every refused row of a member; how many."""
        connection = connect(self.path)
        try:
            connection.execute("PRAGMA secure_delete=ON")
            with transaction(connection):
                return connection.execute(
                    "DELETE FROM quarantine WHERE member_id = ?", (member_id,)
                ).rowcount
        finally:
            connection.close()
