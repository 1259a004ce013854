"""MovieLens folders: 1M, 10M, 20M, 25M, 32M, latest and small, as GroupLens packed them.

F. M. Harper and J. A. Konstan. The MovieLens Datasets: History and Context. ACM Transactions on
Interactive Intelligent Systems 5(4), 2015.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Self

import polars as pl

from matinee.errors import MatineeError
from matinee.lake.importers.base import BATCH_ROWS, Batch
from matinee.lake.importers.cells import read_cells
from matinee.lake.importers.files import readable, table_file
from matinee.lake.schemas import TIME

NAMES: dict[str, tuple[str, ...]] = {
    "ratings": ("user", "movie", "rating", "timestamp"),
    "movies": ("movie", "title", "genres"),
    "users": ("user",),
}
"""The columns needed of each file; a `.dat` file has them in this order."""

SPELLINGS: dict[str, str] = {
    "userid": "user",
    "user": "user",
    "movieid": "movie",
    "itemid": "movie",
    "movie": "movie",
    "item": "movie",
    "title": "title",
    "name": "title",
    "genres": "genres",
    "genre": "genres",
    "rating": "rating",
    "timestamp": "timestamp",
}
"""What a column is, by its name in small letters without underscores."""


class MovieLens:
    """Reads ``ratings``, ``movies`` and, where there, ``users`` (`.dat`, `.csv` or `.parquet`).

    A rating is an event of kind "rating" with its stars, known when it was given; file order is
    kept. Its id is ``ml:user:movie:timestamp``. "Toy Story (1995)" becomes a name and a year; a
    title that is rated but not named is called "Movie 100123". Gender, age, occupation and
    postcode are personal and stay outside: a member is an id.

    The catalogue has no dates of its own, so titles and members are known from the first rating
    on.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        found = {name: _find(folder, name) for name in NAMES}
        self._users = found["users"]
        if found["ratings"] is None or found["movies"] is None:
            lacking = "ratings" if found["ratings"] is None else "movies"
            raise MatineeError(
                f"{folder} is not a MovieLens folder",
                why=f"it has no {lacking}.dat, {lacking}.csv or {lacking}.parquet",
                next_step="unpack ml-1m.zip or another of grouplens.org/datasets/movielens there",
            )
        self._ratings, self._movies = found["ratings"], found["movies"]

    @classmethod
    def recognise(cls, folder: Path) -> Self | None:
        """An importer of `folder` if it looks like MovieLens."""
        files = (_find(folder, "ratings"), _find(folder, "movies"))
        return None if None in files else cls(folder)

    @property
    def notes(self) -> tuple[str, ...]:
        return ("Titles and members count as known from the first rating on.",)

    def total(self) -> int:
        titles, members = self._titles.height, self._members.height
        with readable(self._ratings):
            ratings = _scan(self._ratings, "ratings").select(pl.len()).collect().item()
        return int(titles + members + ratings)

    def batches(self) -> Iterator[Batch]:
        since = [] if self._first_rating is None else [self._first_rating]
        yield Batch("titles", self._titles.with_columns(since), self._movies.name, 0)
        yield Batch("members", self._members.with_columns(since), self._ratings.name, 0)
        first_row = 0
        ratings = _scan(self._ratings, "ratings")
        with readable(self._ratings):
            for raw in ratings.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True):
                yield Batch("events", _events(raw), self._ratings.name, first_row)
                first_row += raw.height

    @cached_property
    def _first_rating(self) -> pl.Expr | None:
        """The time of the first rating, as `known_at`; `None` without ratings."""
        seconds = pl.col("timestamp").cast(pl.Int64, strict=False)
        first = _scan(self._ratings, "ratings").select(seconds.filter(seconds >= 0).min())
        with readable(self._ratings):
            second = first.collect(engine="streaming").item()
        if second is None:
            return None
        return pl.lit(second * 1_000_000, pl.Int64).cast(TIME).alias("known_at")

    @cached_property
    def _titles(self) -> pl.DataFrame:
        rated = self._distinct("movie").select(title_id="movie")
        named = _titles(_read(self._movies, "movies"))
        plain = rated.join(named, on="title_id", how="anti").with_columns(
            name=pl.lit("Movie ") + pl.col("title_id")
        )
        return pl.concat([named, plain], how="diagonal")

    @cached_property
    def _members(self) -> pl.DataFrame:
        members = self._distinct("user").select(member_id="user")
        if self._users is not None:
            registered = _read(self._users, "users").select(member_id="user")
            members = pl.concat([members, registered]).unique(maintain_order=True)
        return members

    def _distinct(self, column: str) -> pl.DataFrame:
        """Every id of a column of the ratings once, numbers in their order."""
        ids = _scan(self._ratings, "ratings").select(pl.col(column).drop_nulls().unique())
        with readable(self._ratings):
            return ids.collect(engine="streaming").sort(
                pl.col(column).cast(pl.Int64, strict=False), column
            )


def _find(folder: Path, name: str) -> Path | None:
    candidates = (folder / f"{name}.{ending}" for ending in ("dat", "csv", "parquet"))
    return next((path for path in candidates if path.is_file()), None)


def _scan(path: Path, name: str) -> pl.LazyFrame:
    """The needed columns as text under their plain names."""
    if path.suffix == ".dat":
        return _scan_dat(path, NAMES[name])
    columns = {SPELLINGS.get(_plain(column)): column for column in table_file(path).columns()}
    for needed in NAMES[name]:
        if needed not in columns:
            spelt = " or ".join(known for known, plain in SPELLINGS.items() if plain == needed)
            raise MatineeError(
                f"{path} has no column for the {needed}",
                why=f"it has {', '.join(columns.values())}",
                next_step=f"name that column {spelt} (underscores and capitals do not matter)",
            )
    scanned = (
        pl.scan_parquet(path, glob=False)
        if path.suffix == ".parquet"
        else pl.scan_csv(path, infer_schema=False, glob=False)
    )
    return scanned.select(
        pl.col(columns[needed]).cast(pl.String).alias(needed) for needed in NAMES[name]
    )


def _scan_dat(path: Path, names: tuple[str, ...]) -> pl.LazyFrame:
    """A ``::`` separated file: as if ``:`` separated it, with an empty column after each."""
    spaced = [part for name in names for part in (name, f"after {name}")][:-1]
    return pl.scan_csv(
        path,
        separator=":",
        has_header=False,
        quote_char=None,
        schema=dict.fromkeys(spaced, pl.String()),
        truncate_ragged_lines=True,
        glob=False,
    ).select(names)


def _read(path: Path, name: str) -> pl.DataFrame:
    """A small file whole. Titles hold colons, and the older files are Latin-1."""
    if path.suffix != ".dat":
        with readable(path):
            return _scan(path, name).collect()
    with readable(path):
        content = path.read_bytes()
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    width = len(NAMES[name])
    rows = [line.split("::")[:width] for line in text.splitlines() if line]
    whole = [row + [None] * (width - len(row)) for row in rows]
    return pl.DataFrame(whole, schema=dict.fromkeys(NAMES[name], pl.String()), orient="row")


def _plain(column: str) -> str:
    return column.lower().replace("_", "").strip()


def _titles(movies: pl.DataFrame) -> pl.DataFrame:
    """Names, years and genres.

    >>> _titles(pl.DataFrame({"movie": ["1"], "title": ["Toy Story (1995)"],
    ...                       "genres": ["Animation|Comedy"]})).rows()
    [('1', 'Toy Story', 1995, ['Animation', 'Comedy'])]
    """
    title = pl.col("title").str.strip_chars()
    named = title.str.extract(r"^(.*\S)\s*\(\d{4}[^()]*\)$")
    genres = pl.col("genres").replace("(no genres listed)", "").str.split("|")
    return movies.select(
        title_id="movie",
        name=pl.coalesce(named, title, pl.lit("Movie ") + pl.col("movie")),
        year=title.str.extract(r"\((\d{4})[^()]*\)$").cast(pl.Int64),
        genres=genres.list.eval(pl.element().filter(pl.element() != "")),
    )


def _events(ratings: pl.DataFrame) -> pl.DataFrame:
    stars = read_cells(ratings["rating"], pl.Float64).given
    ts = read_cells(ratings["timestamp"], TIME, "s")
    return ratings.select(
        event_id=pl.format("ml:{}:{}:{}", "user", "movie", "timestamp"),
        member_id="user",
        kind=pl.lit("rating"),
        title_id="movie",
        ts=ts.given,
        value=stars,
        known_at=ts.values,
    )
