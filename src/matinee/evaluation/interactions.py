"""Interactions: who met which title when, in a frame.

A Polars frame with `member_id`, `title_id` (text), `ts` (a time, or microseconds since 1970) and
`seq` (which of two events at the same `ts` came first); `country`, `weight`, `signals` and `device`
are optional and mean what they do in `Histories`. A row of weight 0 was met and not watched.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from matinee.models.data import Indices, Vocabulary

COLUMNS = ("member_id", "title_id", "ts", "seq")

OPTIONAL: dict[str, tuple[Any, type[pl.DataType]]] = {
    "weight": (1.0, pl.Float32),
    "signals": (0, pl.UInt8),
    "device": (None, pl.String),
}
"""What a row has where its column is not there, and its type."""


def ordered(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame by (member, ts, seq), with `ts` in microseconds and all optional columns.

    Raises `ValueError`, saying why, for a frame that is none of interactions.
    """
    missing = [column for column in COLUMNS if column not in frame.columns]
    if missing:
        raise ValueError(
            f"interactions lack the columns {', '.join(missing)}; "
            f"they need {', '.join(COLUMNS)}, this frame has {', '.join(frame.columns)}"
        )
    whole = (*COLUMNS, "weight", "signals")
    blank = [name for name in whole if name in frame.columns and frame[name].null_count()]
    if blank:
        raise ValueError(
            f"interactions have empty cells in {', '.join(blank)}; drop or fill those rows first"
        )
    if frame.is_empty():
        raise ValueError("there are no interactions to split; import events first")
    time = pl.col("ts")
    if isinstance(frame.schema["ts"], pl.Datetime):
        time = time.dt.timestamp("us")
    elif not frame.schema["ts"].is_integer():
        raise ValueError(f"ts is {frame.schema['ts']}; give times, or microseconds since 1970")
    text = pl.col("member_id", "title_id").cast(pl.String)
    optional = [
        (pl.col(name) if name in frame.columns else pl.lit(value)).cast(dtype).alias(name)
        for name, (value, dtype) in OPTIONAL.items()
    ]
    return frame.with_columns(text, time.cast(pl.Int64), *optional).sort(
        "member_id", "ts", "seq", maintain_order=True
    )


def coded(ids: pl.Series, vocabulary: Vocabulary) -> Indices:
    """The indices [N] of ids, -1 where there is none."""
    columns = {"id": pl.String, "code": pl.Int32}
    index = pl.DataFrame({"id": vocabulary.ids, "code": range(len(vocabulary))}, schema=columns)
    codes = ids.to_frame("id").join(index, on="id", how="left", maintain_order="left")["code"]
    return codes.fill_null(-1).to_numpy()


def countries(rows: pl.DataFrame) -> NDArray[np.object_]:
    """The last country that is known of each member, in their order."""
    column = pl.col("country") if "country" in rows.columns else pl.lit(None, pl.String)
    last = rows.group_by("member_id", maintain_order=True).agg(
        column.drop_nulls().last().alias("country")
    )
    found = np.empty(last.height, np.object_)
    found[:] = last["country"].to_list()
    return found


def fingerprint(frame: pl.DataFrame) -> str:
    """SHA-256 of who watched what, when and in which order; the order of the rows is nothing.

    Weight, signals and device are part of it where rows differ in them.

    >>> frame = pl.DataFrame({"member_id": ["a", "b"], "title_id": ["x", "y"],
    ...                       "ts": [1, 2], "seq": [0, 1]})
    >>> fingerprint(frame) == fingerprint(frame.reverse())
    True
    """
    return digest(ordered(frame))


def digest(rows: pl.DataFrame) -> str:
    """The fingerprint of a frame that is `ordered`."""
    told = sha256(_text(rows["member_id"]) + _text(rows["title_id"]) + _numbers(rows["ts"], "<i8"))
    optional = {
        "weight": _numbers(rows["weight"], "<f4"),
        "signals": _numbers(rows["signals"], "u1"),
        "device": _text(rows["device"].fill_null("")),
    }
    for name, content in optional.items():
        if rows[name].n_unique() > 1:
            told.update(name.encode() + content)
    return told.hexdigest()


def _text(column: pl.Series) -> bytes:
    lengths = column.str.len_bytes().cast(pl.Int64)
    return _numbers(lengths, "<i8") + "".join(column.to_list()).encode()


def _numbers(column: pl.Series, dtype: str) -> bytes:
    return column.to_numpy().astype(dtype).tobytes()
