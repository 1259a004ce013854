import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from matinee.errors import MatineeError
from matinee.lake.importers import KuaiRand, Tally, load, recognise
from matinee.lake.importers.kuairand import HISTORIES, TEST, VALIDATION, VIDEOS
from matinee.lake.lake import Lake

DATA = Path(os.environ.get("MATINEE_DATA", "")) / "kuairand-pure"
LAST = 1_650_615_878_629
MILLISECOND = timedelta(milliseconds=1)


def impressions(*rows: tuple[int, int, int, int, int, int]) -> pl.DataFrame:
    names = ["user_id", "video_id", "time_ms", "is_click", "play_time_ms", "duration_ms"]
    return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.Int64), orient="row")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    here = tmp_path / "kuairand"
    here.mkdir()
    histories = {"user_id": [3], "last_time_ms": [LAST], "watch_seq": [[9, 8, 9]]}
    pl.DataFrame(histories).write_parquet(here / HISTORIES)
    t = LAST + 10_000
    impressions(
        (3, 8, t, 1, 30_000, 60_000),
        (3, 8, t, 1, 31_000, 60_000),
        (4, 9, t + 1, 0, 0, 60_000),
        (4, 8, t + 999, 1, 1_000, 60_000),
    ).write_parquet(here / VALIDATION)
    impressions((3, 9, t + 500, 0, 600_000, 60_000), (4, 7, t + 600, 0, 2_000, 0)).write_parquet(
        here / TEST
    )
    (here / VIDEOS).write_text(
        "video_id,upload_dt,video_duration,tag\n7,2022-04-09,,\n"
        '8,2022-04-10,60000.0,"39,68"\n9,2022-04-11,60000.0,2\n'
    )
    return here


@pytest.fixture
def lake(tmp_path: Path):
    with Lake.create(tmp_path / "lake", buckets=2) as made:
        yield made


def test_videos_are_titles_known_from_their_upload(folder: Path, lake: Lake) -> None:
    load(recognise(folder), lake)
    rows = lake.current("titles").select("name", "genres", "runtime_minutes", "known_at").rows()
    assert rows == [
        ("Video 7", [], None, datetime(2022, 4, 8, 16, tzinfo=UTC)),
        ("Video 8", ["tag 39", "tag 68"], 1.0, datetime(2022, 4, 9, 16, tzinfo=UTC)),
        ("Video 9", ["tag 2"], 1.0, datetime(2022, 4, 10, 16, tzinfo=UTC)),
    ]


def test_histories_keep_their_order_and_are_known_at_their_end(folder: Path, lake: Lake) -> None:
    load(KuaiRand(folder), lake)
    history = pl.col("event_id").str.contains("history")
    plays = lake.scan("events").filter(history).sort("ts").collect()
    last = datetime.fromtimestamp(LAST // 1000, UTC) + LAST % 1000 * MILLISECOND
    assert plays["title_id"].to_list() == ["9", "8", "9"]
    assert plays["ts"].to_list() == [last - 2 * MILLISECOND, last - MILLISECOND, last]
    assert plays["known_at"].to_list() == [last] * 3
    assert plays["value"].null_count() == 3


def test_impressions_become_events(folder: Path, lake: Lake) -> None:
    tallies = load(KuaiRand(folder), lake)
    timed = ~pl.col("event_id").str.contains("history")
    events = lake.scan("events").filter(timed).sort("seq").collect()
    assert events.select("member_id", "title_id", "kind", "value").rows() == [
        ("3", "8", "impression", None),
        ("3", "8", "click", None),
        ("3", "8", "play", 0.5),
        ("4", "9", "impression", None),
        ("3", "9", "impression", None),
        ("3", "9", "play", 5.0),
        ("3", "9", "complete", 1.0),
        ("4", "7", "impression", None),
        ("4", "7", "play", pytest.approx(1 / 30)),
    ]
    assert tallies["events"] == Tally(rows=12, duplicates=3)
    known_after = (events["known_at"] - events["ts"]).dt.total_milliseconds().to_list()
    assert known_after == [0, 0, 30_000, 0, 0, 300_000, 300_000, 0, 2_000]


def test_importing_twice_adds_nothing_and_total_is_kept(folder: Path, lake: Lake) -> None:
    importer = KuaiRand(folder)
    first = load(importer, lake)
    again = load(importer, lake)
    assert sum(tally.rows for tally in again.values()) == 0
    for tallies in (first, again):
        counted = sum(t.rows + t.duplicates + t.rejected for t in tallies.values())
        assert counted == importer.total()


def test_a_file_that_is_missing_is_named(folder: Path) -> None:
    (folder / TEST).unlink()
    with pytest.raises(MatineeError, match=TEST):
        recognise(folder)


def test_a_torn_file_is_named(folder: Path, lake: Lake) -> None:
    (folder / TEST).write_bytes((folder / TEST).read_bytes()[:-9])
    with pytest.raises(MatineeError, match="not a whole Parquet file"):
        load(KuaiRand(folder), lake)


@pytest.mark.data
@pytest.mark.skipif(
    not os.environ.get("MATINEE_DATA") or not DATA.is_dir(),
    reason="no kuairand-pure in MATINEE_DATA",
)
def test_kuairand_pure_twice(lake: Lake) -> None:
    importer = KuaiRand(DATA)
    tallies = load(importer, lake)
    assert sum(t.rejected for t in tallies.values()) == 0
    assert (tallies["titles"].rows, tallies["members"].rows) == (7_583, 27_077)
    kinds = dict(lake.scan("events").group_by("kind").len().collect().iter_rows())
    test = pl.read_parquet(DATA / TEST)
    validation = pl.read_parquet(DATA / VALIDATION).filter(
        pl.col("time_ms") < test["time_ms"].min()
    )
    shown = pl.concat([validation, test]).unique(["user_id", "video_id", "time_ms"], keep="first")
    assert kinds["impression"] == shown.height
    assert sum(tally.rows for tally in load(importer, lake).values()) == 0
