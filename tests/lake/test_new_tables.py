"""A table is made with its first rows, whole or not at all, by one of several processes."""

import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import polars as pl
import pytest

from matinee.errors import MatineeError
from matinee.lake import files
from matinee.lake.lake import Lake
from matinee.lake.records import Event


def play(number):
    return Event(
        event_id=f"e{number}",
        member_id=f"m{number}",
        kind="play",
        title_id="heat",
        ts=datetime(2026, 1, 1, tzinfo=UTC),
    )


def tables(lake):
    return sorted(path.name for path in (lake.folder / "tables").iterdir() if path.is_dir())


def test_only_what_has_rows_has_a_folder(tmp_path):
    with Lake.create(tmp_path / "lake") as lake:
        assert tables(lake) == []
        assert lake.scan("events").collect().height == 0
        lake.put([play(1)])
        lake.seal()
        assert tables(lake) == ["events"]
        assert lake.scan("events").collect()["event_id"].to_list() == ["e1"]
    with Lake.open(tmp_path / "lake") as again:
        assert again.scan("events").collect().height == 1
        assert again.summary().filter(pl.col("table") == "titles")["rows"].item() == 0


def seal_in(folder, number):
    with Lake.open(folder) as lake:
        lake.append("events", pl.DataFrame([{"member_id": f"m{number}", **rest()}]), source="x")


def rest():
    return {
        "event_id": "e",
        "kind": "play",
        "title_id": "t",
        "ts": datetime(2026, 1, 1, tzinfo=UTC),
    }


def test_several_processes_make_one_table(tmp_path):
    Lake.create(tmp_path / "lake").close()
    fork = multiprocessing.get_context("spawn")
    processes = [fork.Process(target=seal_in, args=(tmp_path / "lake", n)) for n in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    with Lake.open(tmp_path / "lake") as lake:
        assert sorted(lake.scan("events").collect()["member_id"]) == ["m0", "m1", "m2"]
        assert tables(lake) == ["events"]


def test_what_cannot_be_made_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with Lake.create(tmp_path / "lake") as lake:
        lake.put([play(1)])
        monkeypatch.setattr(files, "flush_folder", full)
        with pytest.raises(MatineeError, match="nothing acknowledged is lost"):
            lake.seal()
        monkeypatch.undo()
        assert tables(lake) in ([], ["events"])
        lake.seal()
        assert lake.scan("events").collect().height == 1


def test_threads_make_one_table(tmp_path):
    with Lake.create(tmp_path / "lake") as lake, ThreadPoolExecutor(8) as pool:
        frames = [pl.DataFrame([{"member_id": f"m{n}", **rest()}]) for n in range(8)]
        list(pool.map(lambda frame: lake.append("events", frame, source="x"), frames))
        assert lake.scan("events").collect().height == 8
