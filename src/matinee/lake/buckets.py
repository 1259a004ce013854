"""Which bucket a member's rows live in."""

from __future__ import annotations

from zlib import crc32

import polars as pl


def bucket_of(member_id: str, buckets: int) -> int:
    """The bucket of one member: CRC-32 of the id's UTF-8 bytes, modulo the number of buckets.

    >>> bucket_of("m00042", 16)
    7
    """
    return crc32(member_id.encode()) % buckets


def with_bucket(frame: pl.DataFrame, buckets: int) -> pl.DataFrame:
    """The frame with a column `bucket`; each distinct member is hashed once."""
    members = frame.select(pl.col("member_id").unique())
    homes = members.with_columns(
        bucket=pl.Series(
            [bucket_of(member, buckets) for member in members["member_id"]], dtype=pl.Int32
        )
    )
    return frame.join(homes, on="member_id", how="left", maintain_order="left")
