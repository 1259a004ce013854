"""The rows of the inbox: their idempotency keys, and their way into frames and records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Any, NamedTuple, TypeVar

import msgspec
import polars as pl

from matinee.lake.records import micros
from matinee.lake.schemas import Schema

Record = TypeVar("Record", bound=msgspec.Struct)


class Row(NamedTuple):
    """A row as it lies in the inbox; `values` lacks what the record leaves at its default."""

    seq: int
    table: str
    known_at: int
    values: dict[str, Any]


def row_key(schema: Schema, record: msgspec.Struct) -> bytes | None:
    """The idempotency key of a log's row; a versioned row has none, as every change counts."""
    if schema.versioned:
        return None
    parts = [schema.name, *(getattr(record, name) for name in schema.key)]
    return blake2b(msgspec.msgpack.encode(parts), digest_size=16).digest()


def decode_record(kind: type[Record], values: Mapping[str, Any]) -> Record:
    """A record from the values that the inbox holds."""
    return msgspec.convert(values, kind)


def frame_of(rows: Sequence[Row], schema: Schema) -> pl.DataFrame:
    """Inbox rows of one table as a frame in the lake's columns."""
    columns: dict[str, list[Any]] = {
        name: [row.values.get(name, default) for row in rows]
        for name, default in schema.defaults.items()
    }
    for name in schema.nested:
        columns[name] = [msgspec.json.encode(value).decode() for value in columns[name]]
    columns["known_at"] = [row.known_at for row in rows]
    columns["seq"] = [row.seq for row in rows]
    return pl.DataFrame(columns, schema=schema.stored)


def records_of(frame: pl.DataFrame, schema: Schema) -> list[Any]:
    """The rows of one table as its records, in order."""
    rows = frame.select(schema.columns.keys()).iter_rows(named=True)
    decode = msgspec.json.decode
    return [
        schema.record(**{**row, **{name: decode(row[name]) for name in schema.nested}})
        for row in rows
    ]


def frame_of_records(
    records: Sequence[msgspec.Struct], schema: Schema, known: datetime | str
) -> pl.DataFrame:
    """Records of one table as `Lake.append` takes them, known at a time, or at that of a field."""
    rows = [
        Row(
            0,
            schema.name,
            micros(known if isinstance(known, datetime) else getattr(record, known)),
            msgspec.structs.asdict(record),
        )
        for record in records
    ]
    return frame_of(rows, schema).drop("seq")
