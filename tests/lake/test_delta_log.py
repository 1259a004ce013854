"""What a power cut leaves in the Delta log is mended, and nothing sealed is lost by it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from deltalake import DeltaTable
from lake_rows import frame, ids, play

from matinee.errors import MatineeError
from matinee.lake.files import CHECKPOINT_COMMITS
from matinee.lake.lake import Lake

COMMITS = CHECKPOINT_COMMITS + 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with more commits than one checkpoint sums up."""
    folder = tmp_path_factory.mktemp("log") / "lake"
    with Lake.create(folder, buckets=1) as lake:
        for n in range(COMMITS):
            lake.append("events", frame([play(n)]), source="log")
    return folder


@pytest.fixture
def lake(folder: Path, tmp_path: Path) -> Iterator[Lake]:
    with Lake.open(shutil.copytree(folder, tmp_path / "lake")) as lake:
        yield lake


def log_of(lake: Lake) -> Path:
    return lake.folder / "tables" / "events" / "_delta_log"


@pytest.mark.parametrize("torn", [bytes, lambda size: b"PAR1" + bytes(size - 4), lambda _: b""])
def test_a_torn_checkpoint(lake: Lake, torn: Callable[[int], bytes]) -> None:
    before = ids(lake.scan("events"))
    (checkpoint,) = log_of(lake).glob("*.checkpoint*.parquet")
    checkpoint.write_bytes(torn(checkpoint.stat().st_size))
    assert ids(lake.scan("events")) == before
    assert lake.append("events", frame([play(1), play(500)]), source="log") == (1, 1, 0)
    with Lake.open(lake.folder) as again:
        assert len(ids(again.scan("events"))) == len(before) + 1


@pytest.mark.parametrize("left", [b"", b'{"add":', bytes(100)])
def test_a_torn_commit_that_was_never_acknowledged(lake: Lake, left: bytes) -> None:
    lake.put([play(500)])
    before = ids(lake.scan("events"))
    last = sorted(log_of(lake).glob("*.json"))[-1]
    (log_of(lake) / f"{int(last.stem) + 1:020}.json").write_bytes(left)
    assert ids(lake.scan("events")) == before
    assert lake.seal()["events"] == 1
    assert ids(lake.scan("events")) == before
    assert lake.inbox.count("events", after=lake.tables["events"].files.snapshot().watermark) == 0


def test_a_log_that_is_gone_is_said_to_be(lake: Lake) -> None:
    for path in log_of(lake).iterdir():
        path.unlink()
    with pytest.raises(MatineeError, match="the log of events cannot be read"):
        lake.scan("events")


def test_other_delta_readers_see_the_sealed_rows(lake: Lake) -> None:
    table = DeltaTable(lake.folder / "tables" / "events")
    assert table.count() == COMMITS
    assert table.metadata().partition_columns == ["bucket"]
