"""What the schemas of a lake say of its tables, in words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from inspect import getdoc
from typing import Any

import polars as pl

from matinee.lake.schemas import TIME, Schema

_NAMES: dict[Any, str] = {
    pl.String: "text",
    pl.Int64: "whole number",
    pl.Float64: "number",
    pl.Boolean: "true or false",
    TIME: "time, UTC",
    pl.List(pl.String): "list of texts",
    pl.List(pl.Int32): "list of whole numbers",
    pl.List(pl.Float64): "list of numbers",
}


@dataclass(frozen=True)
class Column:
    """A column: its type in words, whether a row must have it, and what it means."""

    name: str
    type: str
    required: bool
    meaning: str


def about(schema: Schema) -> tuple[str, ...]:
    """What a table is about: the paragraphs of its record, without marks and examples."""
    said = (getdoc(schema.record) or "").partition("\n\n>>>")[0]
    paragraphs = [" ".join(part.split()) for part in said.split("\n\n")]
    return tuple(re.sub(r"[`*]+", "", part) for part in paragraphs)


def columns(schema: Schema) -> Iterator[Column]:
    """The columns of a table as they are stored, in order."""
    for name, dtype in schema.stored.items():
        words = schema.choices.get(name)
        said = [schema.units[name], f"one of {', '.join(words)}" if words else ""]
        kind = "JSON" if name in schema.nested else _NAMES.get(dtype, str(dtype))
        yield Column(name, kind, name in schema.required, "; ".join(filter(None, said)))
