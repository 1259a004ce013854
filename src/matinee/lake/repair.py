"""Torn files: a bucket is rebuilt from everything that still knows its rows.

What knows a row: the other files of the bucket, the files that compaction replaced and `expire`
has not dropped yet, and the inbox. When these together hold fewer rows than the log counts, the
rest is lost; that is said, and the torn file is set aside, never dropped.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import polars as pl

from matinee.lake.files import Sealed, checksum
from matinee.lake.quarantine import Quarantine
from matinee.lake.rows import frame_of
from matinee.lake.table import Table


class Repaired(NamedTuple):
    """A bucket that was rebuilt: how many rows it holds now, and how many could not be found."""

    table: str
    bucket: int
    rows: int
    lost: int


def repair(table: Table, quarantine: Quarantine) -> list[Repaired]:
    """Rebuild every bucket of a table that has a torn file."""
    repaired = []
    with table.files.lock():
        for number in range(table.bucket_count):
            files = table.files.snapshot().of(number)
            torn = [file for file in files if not _whole(file.path)]
            if torn:
                repaired.append(_rebuild(table, number, files, torn, quarantine))
    return repaired


def _rebuild(
    table: Table,
    number: int,
    files: tuple[Sealed, ...],
    torn: list[Sealed],
    quarantine: Quarantine,
) -> Repaired:
    found = [
        pl.read_parquet(path, hive_partitioning=False)
        for path in table.files.on_disk(number)
        if _whole(path)
    ]
    known = pl.concat([*found, _arrived(table, number)], how="vertical").sort("seq")
    rows = table.distinct(known.unique("seq", keep="first", maintain_order=True))
    table.rewrite(number, rows)
    lost = max(0, sum(file.rows for file in files) - rows.height)
    for file in torn:
        _set_aside(table, file, lost, quarantine)
    return Repaired(table.schema.name, number, rows.height, lost)


def _arrived(table: Table, number: int) -> pl.DataFrame:
    """The bucket's rows that the inbox still holds and the table has sealed."""
    empty = pl.DataFrame(schema=table.schema.stored)
    batches = table.inbox.batches(table.schema.name, until=table.files.snapshot().watermark)
    parts = (table.bucketed(frame_of(rows, table.schema)).get(number, empty) for rows in batches)
    return pl.concat([empty, *parts])


def _set_aside(table: Table, file: Sealed, lost: int, quarantine: Quarantine) -> None:
    if lost:
        if file.path.exists():
            home = _torn(table, file.bucket)
            home.mkdir(parents=True, exist_ok=True)
            file.path.rename(home / file.path.name)
        reason = f"{lost} rows of bucket {file.bucket} could not be rebuilt; import them again"
        note = pl.DataFrame({"source_row": [0], "reason": [reason], "rows": [lost]})
        quarantine.add(table.schema.name, file.path.name, note)
    else:
        file.path.unlink(missing_ok=True)


def discard_torn(table: Table, number: int) -> None:
    """Delete the torn files of a bucket that `repair` set aside."""
    for path in _torn(table, number).glob("*.parquet"):
        path.unlink()


def _torn(table: Table, number: int) -> Path:
    return table.files.folder.parent.parent / "torn" / table.schema.name / f"bucket={number}"


def _whole(path: Path) -> bool:
    """Whether a data file still has the bytes that were written."""
    try:
        return checksum(path) == int(path.stem.rpartition("-")[2], 16)
    except FileNotFoundError:
        return False
