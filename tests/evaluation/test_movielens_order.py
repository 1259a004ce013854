"""The benchmark on MovieLens-1M puts the rows in the order of the published file."""

from importlib import import_module
from pathlib import Path
from types import ModuleType

import polars as pl
import pytest

HEAD = [2268, 1466, 1393, 861, 1682, 3717, 508, 3793, 720, 367]
"""The first titles of member 9 in the published file, whose hash had 256 buckets by then."""


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2])
        return import_module("benchmarks.movielens")


def ratings(folder: Path) -> Path:
    """A member with 198 titles, then member 9 with its titles in the order of their numbers."""
    rows = [(5, title, 3, 100) for title in range(1, 199)]
    rows += [(9, title, 3, 200) for title in sorted(HEAD)]
    names = ["user_id", "movie_id", "rating", "timestamp"]
    (folder / "ml-1m").mkdir()
    pl.DataFrame(rows, names, orient="row").write_parquet(folder / "ml-1m" / "ratings.parquet")
    return folder


def ordered(frame: pl.DataFrame, member: str) -> list[int]:
    own = frame.filter(pl.col("member_id") == member).sort("ts", "seq")
    return own["title_id"].cast(pl.Int64).to_list()


def test_titles_of_one_time_stand_as_they_were_published(
    benchmark: ModuleType, tmp_path: Path
) -> None:
    frame = benchmark.interactions(ratings(tmp_path))
    assert ordered(frame, "9") == HEAD
    assert sorted(ordered(frame, "5")) == list(range(1, 199))


def test_the_order_of_the_copy_can_be_kept(benchmark: ModuleType, tmp_path: Path) -> None:
    frame = benchmark.interactions(ratings(tmp_path), in_file_order=False)
    assert ordered(frame, "9") == sorted(HEAD)
    assert ordered(frame, "5") == list(range(1, 199))
