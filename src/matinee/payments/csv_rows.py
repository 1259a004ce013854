"""Rows of a CSV file as records, with errors that say where and what to write."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import inspect

from matinee.errors import MatineeError

Row = TypeVar("Row", bound=msgspec.Struct)

DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
BOOL = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


def read_rows(
    source: Path | Iterable[str],
    kind: type[Row],
    name: str = "",
    check: Callable[[Row], None] | None = None,
) -> list[Row]:
    """The rows of a CSV file, or of its lines, as structs of a `kind`, one a line under a header.

    An empty cell is left out. A list stands with blanks between its parts, a bare date is its
    beginning in UTC. `check` may raise `MatineeError` on a row.

    Raises
    ------
    MatineeError
        Naming file, line and column, and what to write there.

    >>> class Price(msgspec.Struct):
    ...     name: str
    ...     cents: int
    >>> read_rows(["name,cents", "tea,250"], Price)
    [Price(name='tea', cents=250)]
    >>> read_rows(["name,cents", "tea,much"], Price, "menu.csv")
    Traceback (most recent call last):
    matinee.errors.MatineeError: menu.csv, line 2: 'much' in the column 'cents' does not fit:
    expected `int`. Next: write a whole number
    """
    if isinstance(source, Path):
        source, name = _lines(source), str(source)
    lines = csv.reader(source, strict=True)
    try:
        header = [column.strip() for column in next(lines, [])]
        _check(header, kind, name)
        return [
            _row(line, header, kind, f"{name}, line {lines.line_num}", check)
            for line in lines
            if line
        ]
    except csv.Error as wrong:
        raise MatineeError(
            f"{name}, line {lines.line_num}: this is no row of a CSV file",
            why=str(wrong),
            next_step="put cells with commas or quotes in them in double quotes",
        ) from wrong


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines(keepends=True)
    except (OSError, UnicodeDecodeError) as wrong:
        raise MatineeError(
            f"{path} cannot be read", why=str(wrong), next_step="give the path of a CSV file"
        ) from wrong


def _check(header: list[str], kind: type[Row], name: str) -> None:
    fields = {field.name: field.required for field in msgspec.structs.fields(kind)}
    for column in header:
        if column not in fields or header.count(column) > 1:
            close = [one for one in get_close_matches(column, fields, 1) if one not in header]
            raise MatineeError(
                f"{name}, line 1: {column!r} is no column, or stands there twice",
                why=f"the columns are {', '.join(fields)}",
                next_step=f"write {close[0]!r}" if close else "take it out",
            )
    for column, required in fields.items():
        if required and column not in header:
            raise MatineeError(
                f"{name}, line 1: the column {column!r} is missing",
                next_step=f"write {','.join([*header, column])} and fill it in below",
            )


def _row(
    line: list[str],
    header: list[str],
    kind: type[Row],
    where: str,
    check: Callable[[Row], None] | None,
) -> Row:
    if len(line) != len(header):
        raise MatineeError(
            f"{where} has {len(line)} cells",
            why=f"the first line names {len(header)} columns",
            next_step="count its commas; cells with commas in them stand in double quotes",
        )
    cells = {column: cell.strip() for column, cell in zip(header, line, strict=True)}
    types = {field.name: _type(field.type) for field in msgspec.structs.fields(kind)}
    told = {column: _value(cell, types[column]) for column, cell in cells.items() if cell}
    try:
        row = msgspec.convert(told, kind, strict=False)
        if check is not None:
            check(row)
        return row
    except MatineeError as wrong:
        raise MatineeError(
            f"{where}: {wrong.what}", why=wrong.why, next_step=wrong.next_step
        ) from wrong
    except msgspec.ValidationError as wrong:
        why, _, place = str(wrong).partition(" - at `$.")
        column = re.match(r"\w*", place).group()  # type: ignore[union-attr]  # it matches anything
        why = re.sub(r"( \| null)?`, got `\w+`$", "`", why[:1].lower() + why[1:])
    if column not in types:
        raise MatineeError(f"{where}: {why}", next_step="fill in that cell")
    raise MatineeError(
        f"{where}: {cells[column]!r} in the column {column!r} does not fit",
        why=why,
        next_step=_advice(types[column]),
    )


def _type(given: object) -> inspect.Type:
    """What a field holds, when it holds anything."""
    told = inspect.type_info(given)
    if isinstance(told, inspect.UnionType):
        told = next(one for one in told.types if not isinstance(one, inspect.NoneType))
    return told.type if isinstance(told, inspect.Metadata) else told


def _value(cell: str, expected: inspect.Type) -> object:
    match expected:
        case inspect.ListType():
            return cell.split()
        case inspect.BoolType():
            return BOOL.get(cell.casefold(), cell)
        case inspect.DateTimeType() if DATE.fullmatch(cell):
            return f"{cell}T00:00:00Z"
        case inspect.DateTimeType() if not DATE.match(cell):
            return [cell]  # else a bare number would be seconds since 1970
    return cell


def _advice(expected: inspect.Type) -> str:
    match expected:
        case inspect.LiteralType():
            return f"write one of {', '.join(map(str, expected.values))}"
        case inspect.DateTimeType():
            return "write a date or a time with its offset: 2026-04-18, 2026-04-18T09:00:00Z"
        case inspect.BoolType():
            return "write yes or no"
        case inspect.IntType():
            return "write a whole number"
        case inspect.FloatType():
            return "write a number"
    return "mend that cell"
