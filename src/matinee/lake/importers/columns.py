"""Any CSV, JSONL or Parquet file, through a mapping of its columns.

A mapping stands in the settings of a service, under the name that `matinee import` takes::

    [import.plays]
    file = "exports/plays-*.csv"
    table = "events"
    columns = { member_id = "user", title_id = "video", ts = "started", value = "minutes" }
    constants = { kind = "play" }
    time_format = "ms"
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import polars as pl
from msgspec import Meta

from matinee.errors import MatineeError
from matinee.lake.importers.base import Batch
from matinee.lake.importers.cells import Cells, TimeFormat, as_text, read_cells
from matinee.lake.importers.files import Jsonl, TableFile, table_file
from matinee.lake.schemas import SCHEMAS, TIME


class Mapping(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the columns of a file become the columns of a table."""

    file: Annotated[
        str,
        Meta(
            min_length=1,
            description="the file, or a pattern such as plays-*.csv; .csv, .tsv, .jsonl, .ndjson "
            "or .parquet; relative to the service folder",
        ),
    ]
    table: Annotated[
        Literal[
            "members",
            "titles",
            "windows",
            "events",
            "invoices",
            "instruments",
            "attempts",
            "settlements",
            "processors",
            "outages",
            "rules",
        ],
        Meta(description="the table that the rows enter"),
    ]
    columns: Annotated[
        dict[str, str],
        Meta(description="column of the table = column of the file; none: those of equal name"),
    ] = {}
    constants: Annotated[
        dict[str, str | int | float],
        Meta(description="column of the table = its value in every row"),
    ] = {}
    time_format: Annotated[
        TimeFormat,
        Meta(description="how times stand in the file: iso, or s, ms, us since 1970"),
    ] = "iso"
    list_separator: Annotated[
        str, Meta(min_length=1, description="what stands between the parts of a list, as genres")
    ] = "|"


class Columns:
    """Reads the files of a `Mapping`.

    Events need an id, so that importing twice adds nothing. Where the mapping names no `event_id`,
    it is ``row:`` and the BLAKE2b hash of the row's own content, whatever file it stands in and
    however that writes its numbers and times. Rows of one file that are equal in every mapped
    column are taken for several events: the second gets the suffix ``:2`` and so on. Finding them
    takes a first pass over the file and some 40 bytes of memory a row.

    Events, attempts and settlements without a mapped `known_at` were known when they happened;
    rows of other tables are known now. A file of attempts or settlements must have their ids.
    """

    def __init__(self, name: str, mapping: Mapping, folder: Path) -> None:
        self.name, self.mapping, self.folder = name, mapping, folder
        self.schema = SCHEMAS[mapping.table]
        self._dtypes = {**self.schema.columns, "known_at": TIME}
        self._check_targets()

    @property
    def notes(self) -> tuple[str, ...]:
        return ()

    def total(self) -> int:
        return sum(file.total() for file in self._files)

    def batches(self) -> Iterator[Batch]:
        for file in self._files:
            counts = self._occurrences(file) if self._needs_ids else None
            first_row = 0
            for values, given in self._read(file):
                added = []
                if self._needs_ids:
                    nth = None if counts is None else counts.slice(first_row, values.height)
                    added.append(content_ids(values, nth))
                if self.schema.time is not None:
                    added.append(_known_at(values, given, self.schema.time))
                frame = given.with_columns(added)
                yield Batch(self.mapping.table, frame, file.path.name, first_row)
                first_row += values.height

    @property
    def _needs_ids(self) -> bool:
        return self.mapping.table == "events" and "event_id" not in self._sources

    @cached_property
    def _files(self) -> list[TableFile]:
        literal = self.folder / self.mapping.file
        if literal.exists() or not any(magic in self.mapping.file for magic in "*?["):
            return [table_file(literal)]
        base = Path(literal.anchor) if Path(self.mapping.file).is_absolute() else self.folder
        pattern = self.mapping.file.removeprefix(literal.anchor)
        paths = sorted(base.glob(pattern))
        if not paths:
            raise MatineeError(
                f"[import.{self.name}] finds no file", why=f"nothing matches {literal}"
            )
        return [table_file(path) for path in paths]

    @cached_property
    def _sources(self) -> dict[str, str]:
        """Column of the file by column of the table; every file is known to have them."""
        have = {file.path: self._columns_of(file) for file in self._files}
        first = next(iter(have.values())) or []
        wanted = self.mapping.columns or {
            column: column
            for column in self._dtypes
            if column in first and column not in self.mapping.constants
        }
        for path, columns in have.items():
            for target, source in wanted.items():
                if columns is not None and source not in columns:
                    raise MatineeError(
                        f"{path} has no column {source!r}",
                        why=nearest(source, columns),
                        next_step=f"mend columns.{target} of [import.{self.name}] in matinee.toml",
                    )
        if any(columns is not None for columns in have.values()):
            self._check_required(wanted)
        return wanted

    def _columns_of(self, file: TableFile) -> list[str] | None:
        """The columns to look for in a file; `None` for JSONL without rows, which has no names.

        A key that no line of a JSONL file has may stand in another file of the same pattern.
        """
        if not isinstance(file, Jsonl):
            return file.columns()
        lines = [other for other in self._files if isinstance(other, Jsonl)]
        return list(dict.fromkeys(name for other in lines for name in other.columns())) or None

    def _check_targets(self) -> None:
        for target in [*self.mapping.columns, *self.mapping.constants]:
            if target not in self._dtypes:
                raise MatineeError(
                    f"table {self.schema.name} has no column {target!r}",
                    why=nearest(target, list(self._dtypes)),
                    next_step=f"mend [import.{self.name}] in matinee.toml "
                    f"(see: matinee tables {self.schema.name})",
                )
            if target in self.mapping.columns and target in self.mapping.constants:
                raise MatineeError(
                    f"[import.{self.name}] fills {target} twice",
                    why="it stands under columns and under constants",
                    next_step="take one of them out of matinee.toml",
                )

    def _check_required(self, wanted: dict[str, str]) -> None:
        given = {*wanted, *self.mapping.constants, "event_id"}
        for column in self.schema.columns:
            if column in self.schema.required - given:
                raise MatineeError(
                    f"[import.{self.name}] does not say where {column} comes from",
                    why=f"every row of {self.schema.name} needs it",
                    next_step=f'columns = {{ {column} = "COLUMN OF THE FILE", ... }} or '
                    f'constants = {{ {column} = "VALUE", ... }}',
                )

    def _occurrences(self, file: TableFile) -> pl.Series | None:
        """The how-manieth of its kind each row is, from 1; `None` where all rows differ."""
        hashes = [
            values.drop("known_at", strict=False).hash_rows() for values, _ in self._read(file)
        ]
        if not hashes:
            return None
        rows = pl.DataFrame({"row": pl.concat(hashes)})
        if rows["row"].n_unique() == rows.height:
            return None
        return rows.select(nth=pl.int_range(1, pl.len() + 1).over("row"))["nth"]

    def _read(self, file: TableFile) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
        """Batches of a file in the table's columns: what was understood, and what to hand on."""
        for raw in file.batches(list(dict.fromkeys(self._sources.values()))):
            cells = [
                self._cells(raw[source].alias(target)) for target, source in self._sources.items()
            ]
            for target, value in self.mapping.constants.items():
                cells.append(self._cells(pl.Series(target, [str(value)] * raw.height, pl.String)))
            yield (
                pl.DataFrame([column.values for column in cells]),
                pl.DataFrame([column.given for column in cells]),
            )

    def _cells(self, raw: pl.Series) -> Cells:
        mapping, dtype = self.mapping, self._dtypes[raw.name]
        if raw.dtype == pl.Binary or (raw.dtype.is_nested() and not isinstance(dtype, pl.List)):
            source = self._sources.get(raw.name, raw.name)
            raise MatineeError(
                f"column {source!r} of {mapping.file} cannot become {raw.name}",
                why=f"it holds {raw.dtype}",
                next_step=f"map another column in [import.{self.name}] of matinee.toml",
            )
        return read_cells(raw, dtype, mapping.time_format, mapping.list_separator)


def nearest(name: str, names: Sequence[str]) -> str:
    """A hint at the name that was probably meant.

    >>> nearest("userid", ["user_id", "movie_id"])
    "did you mean 'user_id'; there are 'user_id', 'movie_id'"
    """
    close = get_close_matches(name.lower(), [known.lower() for known in names], 1)
    meant = [known for known in names if known.lower() in close][:1]
    hint = f"did you mean {meant[0]!r}; " if meant else ""
    return hint + "there are " + ", ".join(repr(known) for known in names)


def content_ids(values: pl.DataFrame, nth: pl.Series | None = None) -> pl.Series:
    """An id [N] for each row, from what the row says; `nth` above 1 is put behind it.

    >>> content_ids(pl.DataFrame({"member_id": ["a", "b", "a"]}), pl.Series([1, 1, 2])).to_list()
    ['row:...', 'row:...', 'row:...:2']
    """
    columns = sorted(set(values.columns) - {"known_at"})
    plain = values.select(
        pl.col(name).to_physical().cast(pl.String)
        if values.schema[name] == TIME
        else pl.col(name).cast(pl.String)
        for name in columns
    )
    texts = plain.select(
        pl.concat_str(
            (
                pl.when(pl.col(name).is_not_null()).then(pl.struct(name).struct.json_encode())
                for name in columns
            ),
            ignore_nulls=True,
        ).alias("content")
    )["content"]
    ids = pl.Series(
        "event_id",
        ["row:" + blake2b(text.encode(), digest_size=16).hexdigest() for text in texts],
        pl.String,
    )
    if nth is None:
        return ids
    suffix = nth.cast(pl.String).set(nth == 1, None)
    return ids + (":" + suffix).fill_null("")


def _known_at(values: pl.DataFrame, given: pl.DataFrame, time: str) -> pl.Series:
    """When each row was known: as mapped, and otherwise when it happened."""
    happened = values[time].alias("known_at")
    if "known_at" not in given.columns:
        return happened
    known = given["known_at"]
    return known.fill_null(happened if known.dtype == TIME else as_text(happened))
