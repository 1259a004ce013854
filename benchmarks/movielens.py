"""MovieLens-1M as it was published, the order of its rows included.

    MATINEE_DATA=... python -m benchmarks.movielens

Half of the ratings bear the same second as the one before, 42 % of the last ones among them, so the
order of rows decides what leave-one-out asks for. Copies of the file in other formats have lost it.
It can be made again: the published file lists each member's titles as a hash of Perl 5.6 gave them
back that was filled in the order of their numbers, and that depends on nothing but the numbers and
the size of the hash. The 216 rows of members 7, 8 and 9 stand exactly so in the published file; of
member 1, while whose 53 titles the hash still grew, all but neighbours in one bucket do.

So the order among equal times is the same for all members, and a model can learn it: an artefact
in every figure that was got from that file by a stable sort. `in_file_order=False` takes the rows
as the copy has them.
"""

import os
from functools import reduce
from pathlib import Path

import numpy as np
import polars as pl


def interactions(folder: Path, *, in_file_order: bool = True) -> pl.DataFrame:
    """The ratings: member_id, title_id, ts in microseconds, and seq, which orders equal times."""
    ratings = pl.read_parquet(folder / "ml-1m" / "ratings.parquet")
    if in_file_order:
        ratings = published(ratings)
    return ratings.with_row_index("seq").select(
        pl.col("user_id").cast(pl.String).alias("member_id"),
        pl.col("movie_id").cast(pl.String).alias("title_id"),
        (pl.col("timestamp") * 1_000_000).alias("ts"),
        "seq",
    )


def published(ratings: pl.DataFrame) -> pl.DataFrame:
    """The rows of one member after the other, as a hash gives them back that grows with its keys
    and is kept for the next: by bucket, and in a bucket the last first.
    """
    keys = ratings.group_by("user_id").len().sort("user_id")
    doubled = 2 ** np.ceil(np.log2(keys["len"].to_numpy() + 1)).astype(np.int64)
    sizes = keys.select("user_id", size=pl.Series(np.maximum.accumulate(doubled)))
    titles = ratings.select(pl.col("movie_id").unique())
    hashes = titles.with_columns(
        hash=pl.col("movie_id").map_elements(lambda title: hashed(str(title)), pl.Int64)
    )
    return (
        ratings.join(sizes, on="user_id")
        .join(hashes, on="movie_id")
        .sort("user_id", pl.col("hash") & (pl.col("size") - 1), -pl.col("movie_id"))
        .select(ratings.columns)
    )


def hashed(key: str) -> int:
    """PERL_HASH of Perl 5.6, hv.h: times 33 and the byte, in 32 bits, its upper bits folded in.

    >>> rows = [2268, 1466, 1393, 861, 1682, 3717, 508, 3793]  # the first of member 9 in the file
    >>> sorted(rows, key=lambda title: (hashed(str(title)) & 255, -title)) == rows
    True
    """
    value = reduce(lambda value, byte: (value * 33 + byte) & 0xFFFFFFFF, key.encode(), 0)
    return (value + (value >> 5)) & 0xFFFFFFFF


def equal_times(frame: pl.DataFrame, least: int = 10) -> dict[str, float]:
    """Shares in the order of `seq`: of ratings at the second of the one before, of members' last
    ones at it, and, of pairs of titles that follow each other so `least` times, of meetings that
    are in the order that is the pair's commoner one.
    """
    rows = frame.sort("member_id", "ts", "seq").with_columns(
        before=pl.col("title_id").shift().over("member_id"),
        equal=(pl.col("ts") == pl.col("ts").shift().over("member_id")).fill_null(value=False),
    )
    last = rows.group_by("member_id", maintain_order=True).last()
    pairs = (
        rows.filter("equal")
        .group_by(
            first=pl.min_horizontal("before", "title_id"),
            second=pl.max_horizontal("before", "title_id"),
        )
        .agg(forward=(pl.col("before") < pl.col("title_id")).sum(), meetings=pl.len())
        .filter(pl.col("meetings") >= least)
        .with_columns(common=pl.max_horizontal("forward", pl.col("meetings") - pl.col("forward")))
    )
    return {
        "of ratings": rows["equal"].mean(),
        "of last ratings": last["equal"].mean(),
        "of meetings the same way round": pairs["common"].sum() / pairs["meetings"].sum(),
    }


def main() -> int:
    if "MATINEE_DATA" not in os.environ:
        print("set MATINEE_DATA to the folder that holds ml-1m/ratings.parquet")
        return 2
    for name, in_file_order in (("as published", True), ("as copied", False)):
        frame = interactions(Path(os.environ["MATINEE_DATA"]), in_file_order=in_file_order)
        found = ", ".join(f"{share:.1%} {what}" for what, share in equal_times(frame).items())
        print(f"{name}: {found}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
