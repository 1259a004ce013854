"""CSV, JSONL and Parquet files as batches of columns, with errors that say where to look."""

from __future__ import annotations

import csv
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from matinee.errors import MatineeError
from matinee.lake.importers.base import BATCH_ROWS


@dataclass(frozen=True)
class TableFile(ABC):
    """A file of named columns, too long to read at once."""

    path: Path

    @abstractmethod
    def columns(self) -> list[str]:
        """The names of the columns that the file has."""

    @abstractmethod
    def total(self) -> int:
        """How many data rows the file has."""

    @abstractmethod
    def batches(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """The named columns in the order of the file, `BATCH_ROWS` rows at a time."""


def table_file(path: Path) -> TableFile:
    """The reader for `path`, by its ending."""
    readers: dict[str, Callable[[Path], TableFile]] = {
        ".csv": Csv,
        ".tsv": Csv,
        ".jsonl": Jsonl,
        ".ndjson": Jsonl,
        ".parquet": Parquet,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise MatineeError(
            f"cannot read {path}",
            why="its name ends in none of .csv, .tsv, .jsonl, .ndjson, .parquet",
            next_step="save it as one of these, in UTF-8",
        )
    return reader(path)


class _Scanned(TableFile):
    """A file that Polars can scan."""

    @abstractmethod
    def _scan(self) -> pl.LazyFrame: ...

    def columns(self) -> list[str]:
        with readable(self.path):
            return self._scan().collect_schema().names()

    def total(self) -> int:
        with readable(self.path):
            return int(self._scan().select(pl.len()).collect().item())

    def batches(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        wanted = self._scan().select(columns)
        with readable(self.path):
            yield from wanted.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True)


class Csv(_Scanned):
    """Comma-separated text (tabs in a `.tsv`) with a header; every column is read as text."""

    def _scan(self) -> pl.LazyFrame:
        separator = "\t" if self.path.suffix.lower() == ".tsv" else ","
        return pl.scan_csv(self.path, separator=separator, infer_schema=False, glob=False)


class Parquet(_Scanned):
    """Apache Parquet."""

    def _scan(self) -> pl.LazyFrame:
        return pl.scan_parquet(self.path, glob=False)


class Jsonl(TableFile):
    """One JSON object a line; a key that a line lacks is null there."""

    @cached_property
    def _looked_through(self) -> tuple[list[str], int]:
        names: dict[str, None] = {}
        rows = 0
        for row in self._rows():
            names.update(dict.fromkeys(row))
            rows += 1
        return list(names), rows

    def columns(self) -> list[str]:
        return self._looked_through[0]

    def total(self) -> int:
        return self._looked_through[1]

    def batches(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        rows = self._rows()
        while batch := list(islice(rows, BATCH_ROWS)):
            yield pl.DataFrame([_json_column(name, batch) for name in columns])

    def _rows(self) -> Iterator[dict[str, Any]]:
        decode = msgspec.json.Decoder(dict[str, Any]).decode
        with readable(self.path), self.path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.isspace():
                    try:
                        yield decode(line)
                    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                        raise _broken_line(self.path, number, error) from error


def _json_column(name: str, rows: Sequence[dict[str, Any]]) -> pl.Series:
    """Lists of text where the column holds nothing else, otherwise text."""
    cells = [row.get(name) for row in rows]
    kinds = {type(cell) for cell in cells} - {type(None)}
    if kinds == {list}:
        lists = [None if cell is None else [_json_text(part) for part in cell] for cell in cells]
        return pl.Series(name, lists, pl.List(pl.String))
    return pl.Series(name, [_json_text(cell) for cell in cells], pl.String)


def _json_text(cell: Any) -> str | None:
    if cell is None or isinstance(cell, str):
        return cell
    return msgspec.json.encode(cell).decode()


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what can go wrong in reading `path` into a `MatineeError`."""
    try:
        yield
    except pl.exceptions.PolarsError as error:
        raise _explained(path, error) from error
    except OSError as error:
        why = error.strerror or str(error)
        raise MatineeError(
            f"cannot read {path}", why=why, next_step="check the name and who may read it"
        ) from error


def _explained(path: Path, error: pl.exceptions.PolarsError) -> MatineeError:
    if path.stat().st_size == 0:
        return MatineeError(
            f"{path} is empty",
            why="it has no bytes, so no header",
            next_step="export it again; a log without rows still needs its header",
        )
    if path.suffix.lower() == ".parquet":
        return MatineeError(
            f"{path} is not a whole Parquet file",
            why=str(error).splitlines()[0],
            next_step="copy or write it again: its end, where the index stands, may be missing",
        )
    return _not_utf8(path) or _ragged(path) or MatineeError(f"cannot read {path}", why=str(error))


def _not_utf8(path: Path) -> MatineeError | None:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                return _broken_line(path, number, error)
    return None


def _broken_line(path: Path, number: int, error: Exception) -> MatineeError:
    if isinstance(error, UnicodeDecodeError):
        byte = error.object[error.start]
        return MatineeError(
            f"{path}, line {number} is not UTF-8",
            why=f"byte 0x{byte:02x} stands where no such byte can",
            next_step=f"iconv -f LATIN1 -t UTF-8 {path.name} > utf8-{path.name}",
        )
    return MatineeError(
        f"{path}, line {number} is not a JSON object",
        why=str(error),
        next_step="mend or remove that line and import again: nothing is added twice",
    )


def _ragged(path: Path) -> MatineeError | None:
    """The first line with more fields than the header."""
    with path.open(encoding="utf-8", newline="") as text:
        rows = csv.reader(text, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
        header = next(rows, [])
        for row in rows:
            if len(row) > len(header):
                return MatineeError(
                    f"{path}, line {rows.line_num} has {len(row)} fields",
                    why=f"the header names {len(header)}",
                    next_step='put fields that contain a separator in "double quotes"',
                )
    return None
