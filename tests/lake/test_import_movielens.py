import os
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from matinee.errors import MatineeError
from matinee.lake.importers import MovieLens, Tally, load, recognise
from matinee.lake.lake import Lake

DATA = os.environ.get("MATINEE_DATA", "")

MOVIES = [
    ("1", "Toy Story (1995)", "Animation|Children's|Comedy"),
    ("6", "Heat (1995)", "(no genres listed)"),
    ("9", "M: Eine Stadt (M, Le) (1931)", "Crime"),
    ("12", "Léon", "Drama"),
]
RATINGS = [("7", "6", "4", "978300760"), ("7", "1", "3.5", "978300760"), ("8", "100123", "5", "1")]


def write_dat(folder: Path, encoding: str = "latin-1") -> Path:
    for name, rows in (("movies", MOVIES), ("ratings", RATINGS), ("users", [("9", "F", "1")])):
        text = "".join("::".join(row) + "\n" for row in rows)
        (folder / f"{name}.dat").write_bytes(text.encode(encoding))
    return folder


def write_csv(folder: Path, user: str = "userId", movie: str = "movieId") -> Path:
    schema = [user, movie, "rating", "timestamp"]
    pl.DataFrame(RATINGS, schema=schema, orient="row").write_csv(folder / "ratings.csv")
    schema = [movie, "title", "genres"]
    pl.DataFrame(MOVIES, schema=schema, orient="row").write_csv(folder / "movies.csv")
    return folder


def write_parquet(folder: Path) -> Path:
    write_csv(folder, "UserID", "MovieID")
    for name in ("ratings", "movies"):
        pl.read_csv(folder / f"{name}.csv").write_parquet(folder / f"{name}.parquet")
        (folder / f"{name}.csv").unlink()
    return folder


def imported(folder: Path, lake: Lake) -> dict[str, Tally]:
    importer = recognise(folder)
    assert isinstance(importer, MovieLens)
    tallies = load(importer, lake)
    assert sum(t.rows + t.duplicates + t.rejected for t in tallies.values()) == importer.total()
    return tallies


@pytest.fixture
def lake(tmp_path: Path):
    with Lake.create(tmp_path / "lake", buckets=2) as made:
        yield made


@pytest.mark.parametrize(
    "write",
    [write_dat, lambda folder: write_dat(folder, "utf-8"), write_csv, write_parquet],
    ids=["dat latin-1", "dat utf-8", "csv", "parquet"],
)
def test_every_packing_gives_the_same_lake(tmp_path: Path, lake: Lake, write) -> None:
    imported(write(tmp_path), lake)
    titles = lake.current("titles").select("title_id", "name", "year", "genres").rows()
    assert titles == [
        ("1", "Toy Story", 1995, ["Animation", "Children's", "Comedy"]),
        ("100123", "Movie 100123", None, []),
        ("12", "Léon", None, ["Drama"]),
        ("6", "Heat", 1995, []),
        ("9", "M: Eine Stadt (M, Le)", 1931, ["Crime"]),
    ]
    events = lake.scan("events").sort("seq").select("event_id", "value", "ts").collect().rows()
    assert events == [
        ("ml:7:6:978300760", 4.0, datetime(2000, 12, 31, 22, 12, 40, tzinfo=UTC)),
        ("ml:7:1:978300760", 3.5, datetime(2000, 12, 31, 22, 12, 40, tzinfo=UTC)),
        ("ml:8:100123:1", 5.0, datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)),
    ]


def test_members_are_ids_and_nothing_more(tmp_path: Path, lake: Lake) -> None:
    imported(write_dat(tmp_path), lake)
    members = lake.current("members").select("member_id", "country", "joined_at").rows()
    assert members == [("7", None, None), ("8", None, None), ("9", None, None)]


def test_the_catalogue_is_known_from_the_first_rating_on(tmp_path: Path, lake: Lake) -> None:
    imported(write_csv(tmp_path), lake)
    assert lake.current("titles", as_of=datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)).height == 5
    assert lake.current("titles", as_of=datetime(1970, 1, 1, tzinfo=UTC)).height == 0


def test_bad_ratings_are_refused_and_the_rest_stand(tmp_path: Path, lake: Lake) -> None:
    write_csv(tmp_path)
    bad = ["7,6,9,978300760", "7,6,nan,978300761", "7,6,many,978300762", "7,6,3,soon", "7,6,3,-4"]
    with (tmp_path / "ratings.csv").open("a") as ratings:
        ratings.write("\n".join(bad) + "\n")
    assert imported(tmp_path, lake)["events"] == Tally(rows=3, rejected=5)
    assert lake.quarantine().select("row", "reason").rows() == [
        (4, "value is out of range for its kind"),
        (5, "value is not finite"),
        (6, "value has the wrong type"),
        (7, "ts has the wrong type"),
        (8, "ts is before 1970"),
    ]


def test_no_ratings_at_all(tmp_path: Path, lake: Lake) -> None:
    write_csv(tmp_path)
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating,timestamp\n")
    tallies = imported(tmp_path, lake)
    assert (tallies["titles"], tallies["members"]) == (Tally(rows=4), Tally())


def test_one_title_and_one_rating(tmp_path: Path, lake: Lake) -> None:
    (tmp_path / "movies.csv").write_text("movieId,title,genres\n1,Heat (1995),\n")
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,1,4,1\n")
    assert set(imported(tmp_path, lake).values()) == {Tally(rows=1)}


def test_a_column_that_is_not_there(tmp_path: Path) -> None:
    write_csv(tmp_path, user="viewer")
    with pytest.raises(MatineeError, match="no column for the user: it has viewer, movieId"):
        MovieLens(tmp_path).total()


def test_folders_that_are_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(MatineeError, match="no data set that Matinee knows"):
        recognise(tmp_path)
    with pytest.raises(MatineeError, match=r"it has no ratings\.dat"):
        MovieLens(tmp_path)


@pytest.mark.data
@pytest.mark.skipif(
    not (Path(DATA) / "ml-1m").is_dir() or not DATA, reason="no ml-1m in MATINEE_DATA"
)
def test_movielens_1m_twice(lake: Lake) -> None:
    folder = Path(DATA) / "ml-1m"
    expected = {"titles": 4_000, "members": 6_040, "events": 1_000_209}
    assert imported(folder, lake) == {name: Tally(rows=n) for name, n in expected.items()}
    assert imported(folder, lake) == {name: Tally(duplicates=n) for name, n in expected.items()}
    ratings = pl.read_parquet(folder / "ratings.parquet").cast(pl.String)
    events = lake.scan("events").sort("seq").select("member_id", "title_id").collect()
    assert events["member_id"].to_list() == ratings["user_id"].to_list()
    assert events["title_id"].to_list() == ratings["movie_id"].to_list()


@pytest.mark.data
@pytest.mark.skipif(
    not DATA or not (Path(DATA) / "ml-latest-small").is_dir(),
    reason="no ml-latest-small in MATINEE_DATA",
)
def test_movielens_small_has_half_stars(lake: Lake) -> None:
    tallies = imported(Path(DATA) / "ml-latest-small", lake)
    assert {name: tally.rejected for name, tally in tallies.items()} == dict.fromkeys(tallies, 0)
    stars = lake.scan("events").select(pl.col("value").unique().sort()).collect()["value"]
    assert stars.to_list() == [half / 2 for half in range(1, 11)]
