"""Torn files: what can be rebuilt is, and what cannot is said."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from lake_rows import frame, ids, play

from matinee.errors import MatineeError
from matinee.lake.lake import Lake
from matinee.lake.repair import Repaired


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def zeroed(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def zeroed_inside(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:8] + bytes(len(data) // 2) + data[8 + len(data) // 2 :])


def deleted(path: Path) -> None:
    path.unlink()


def one_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[40] ^= 1
    path.write_bytes(bytes(data))


TEARS = [truncated, zeroed, zeroed_inside, deleted]


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with Lake.create(tmp_path / "lake", buckets=2) as lake:
        yield lake


def a_file(lake: Lake) -> Path:
    return lake.tables["events"].buckets()[0].files[0]


@pytest.mark.parametrize("tear", TEARS)
def test_a_torn_file_is_named_with_the_way_out(lake: Lake, tear: Callable[[Path], None]) -> None:
    lake.put([play(n, f"m{n}") for n in range(100)])
    lake.seal()
    tear(a_file(lake))
    with pytest.raises(MatineeError, match=r"bucket 0 of events .* Next: matinee repair"):
        lake.tables["events"].buckets()[0].read()
    assert lake.tables["events"].buckets()[1].read().height > 0
    with pytest.raises(MatineeError, match=r"events cannot be read"):
        lake.summary()


@pytest.mark.parametrize("tear", [*TEARS, one_bit])
def test_rebuilt_from_the_inbox(lake: Lake, tear: Callable[[Path], None]) -> None:
    lake.put([play(n, f"m{n}") for n in range(60)])
    lake.seal()
    lake.put([play(n, f"m{n}") for n in range(50, 120)])
    lake.seal()
    lake.put([play(n, f"m{n}") for n in range(110, 130)])
    before = lake.scan("events").collect().sort("seq")
    tear(a_file(lake))
    (done,) = lake.repair()
    assert (done.table, done.bucket, done.lost) == ("events", 0, 0)
    assert lake.scan("events").collect().sort("seq").equals(before)
    assert lake.repair() == []
    assert lake.quarantine().height == 0


@pytest.mark.parametrize("tear", TEARS)
def test_rebuilt_from_the_files_that_compaction_replaced(
    lake: Lake, tear: Callable[[Path], None]
) -> None:
    for start in range(0, 90, 30):
        rows = frame(play(n, f"m{n}") for n in range(start, start + 30))
        lake.append("events", rows, source="log")
    lake.compact(least=2)
    before = lake.scan("events").collect().sort("seq")
    tear(a_file(lake))
    (done,) = lake.repair()
    assert done.lost == 0
    assert lake.scan("events").collect().sort("seq").equals(before)


@pytest.mark.parametrize("tear", TEARS)
def test_what_nothing_knows_any_more_is_said_to_be_lost(
    lake: Lake, tear: Callable[[Path], None]
) -> None:
    for start in (0, 50):
        lake.put([play(n, f"m{n}") for n in range(start, start + 50)])
        lake.seal()
    lake.expire(timedelta(0))
    torn, kept = lake.tables["events"].buckets()[0].files
    lost, stays = pl.read_parquet(torn).height, pl.read_parquet(kept)
    other = lake.tables["events"].buckets()[1].read()
    tear(torn)
    assert lake.repair() == [Repaired("events", 0, stays.height, lost)]
    assert ids(lake.scan("events")) == ids(pl.concat([stays, other]))
    (note,) = lake.quarantine().to_dicts()
    assert (note["table"], note["source"]) == ("events", torn.name)
    assert note["reason"] == f"{lost} rows of bucket 0 could not be rebuilt; import them again"
    assert lake.repair() == []
    again = lake.append("events", frame(play(n, f"m{n}") for n in range(100)), source="log")
    assert again.rows == lost


def test_a_torn_file_is_set_aside_until_its_members_are_forgotten(lake: Lake) -> None:
    lake.put([play(n, "only-member") for n in range(50)])
    lake.seal()
    lake.expire(timedelta(0))
    (path,) = [path for bucket in lake.tables["events"].buckets() for path in bucket.files]
    truncated(path)
    lake.repair()
    torn = list((lake.folder / "torn").rglob("*.parquet"))
    assert [file.name for file in torn] == [path.name]
    lake.forget("only-member")
    assert not torn[0].exists()


def test_versions_are_rebuilt_too(lake: Lake) -> None:
    for name in ("Working title", "Heat"):
        lake.append("titles", pl.DataFrame({"title_id": ["t"], "name": [name]}), source="x")
    lake.compact(least=2)
    before = lake.scan("titles").collect().sort("seq")
    truncated(lake.tables["titles"].buckets()[0].files[0])
    assert [done.lost for done in lake.repair()] == [0]
    assert lake.scan("titles").collect().sort("seq").equals(before)


def test_nothing_forgotten_comes_back_with_a_repair(lake: Lake) -> None:
    lake.put([play(n, f"m{n % 4}") for n in range(40)])
    lake.seal()
    lake.compact(least=1)
    lake.forget("m1")
    for bucket in lake.tables["events"].buckets():
        for path in bucket.files:
            truncated(path)
    assert sum(done.lost for done in lake.repair()) == 0
    rows = lake.scan("events").collect()
    assert (rows.height, set(rows["member_id"])) == (30, {"m0", "m2", "m3"})
