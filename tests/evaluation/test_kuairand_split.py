"""The split of the benchmark on KuaiRand-Pure learns from nothing that comes later."""

import os
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import polars as pl
import pytest

from matinee.evaluation import Split
from matinee.lake.importers.kuairand import HISTORIES, TEST, VALIDATION, KuaiRand

DATA = Path(os.environ.get("MATINEE_DATA", "")) / "kuairand-pure"

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(
        not os.environ.get("MATINEE_DATA") or not DATA.is_dir(),
        reason="no kuairand-pure in MATINEE_DATA",
    ),
]


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2])
        return import_module("benchmarks.kuairand")


@pytest.fixture(scope="module")
def plays(benchmark: ModuleType) -> pl.DataFrame:
    return benchmark.plays(KuaiRand(DATA))


@pytest.fixture(scope="module")
def begins() -> int:
    return pl.read_parquet(DATA / TEST)["time_ms"].min()


@pytest.fixture(scope="module")
def long_views(benchmark: ModuleType, plays: pl.DataFrame, begins: int) -> Split:
    return benchmark.split(plays, begins, "long")


def test_nothing_learned_or_known_is_from_the_test(long_views: Split, begins: int) -> None:
    (shard,) = long_views.train.shards
    assert shard.load().times.max() < begins * 1000
    assert long_views.test.context.histories.times.max() < begins * 1000
    assert (long_views.test.context.at == begins * 1000).all()
    assert long_views.test.targets.times.min() >= begins * 1000


def test_training_holds_every_play_of_before(long_views: Split, begins: int) -> None:
    seen = pl.read_parquet(DATA / HISTORIES)
    pairs = [
        seen.select("user_id", video_id=name).explode("video_id").drop_nulls()
        for name in ("watch_seq", "long_watch_seq")
    ]
    validation = pl.read_parquet(DATA / VALIDATION).filter(
        pl.col("time_ms") < begins, pl.col("play_time_ms") > 0
    )
    impressions = validation.unique(["user_id", "video_id", "time_ms"]).height
    (shard,) = long_views.train.shards
    assert len(shard.load().titles) == pl.concat(pairs).unique().height + impressions


def test_asked_are_all_members_with_a_new_long_view(
    long_views: Split, plays: pl.DataFrame, begins: int
) -> None:
    test = pl.read_parquet(DATA / TEST).filter(pl.col("long_view") == 1, pl.col("play_time_ms") > 0)
    before = plays.filter(pl.col("time_ms") < begins)
    pair = ["user_id", "video_id"]
    fresh = test.select(pair).unique().join(before, on=pair, how="anti")
    assert len(long_views.test.targets.titles) == fresh.height
    assert set(long_views.test.members) == set(fresh["user_id"].cast(pl.String))
    without = np.diff(long_views.test.context.histories.offsets) == 0
    assert without.sum() == len(set(fresh["user_id"]) - set(before["user_id"]))


def test_histories_end_at_their_last_time(benchmark: ModuleType) -> None:
    histories = benchmark.histories(DATA).group_by("user_id").agg(pl.col("time_ms").max())
    ends = pl.read_parquet(DATA / HISTORIES).select("user_id", time_ms="last_time_ms")
    assert histories.sort("user_id").equals(ends.sort("user_id"))
