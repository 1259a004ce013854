"""A disk that is full: nothing acknowledged is lost, and work goes on when there is room."""

from __future__ import annotations

import multiprocessing
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lake_rows import frame, ids, play

from matinee.errors import MatineeError
from matinee.lake.lake import Lake


@contextmanager
def no_room_beyond(size: int) -> Iterator[None]:
    """Let no file grow beyond `size` bytes; a write past it fails as on a full disk."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


def fails(work: Callable[[], object]) -> bool:
    try:
        work()
    except MatineeError as error:
        assert "free disk space" in str(error)  # noqa: PT017 - it may also succeed
        return True
    return False


def in_a_process(test: Callable[[Path], None], folder: Path) -> None:
    """The limit holds for a whole process, so it gets one of its own."""
    process = multiprocessing.get_context("spawn").Process(target=_limited, args=(test, folder))
    process.start()
    process.join()
    assert process.exitcode == 0


def _limited(test: Callable[[Path], None], folder: Path) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    test(folder)


def _put(folder: Path) -> None:
    with Lake.create(folder / "lake", buckets=2) as lake:
        acknowledged = [play(0)]
        lake.put(acknowledged)
        log = folder / "lake" / "inbox.db-wal"
        failures = 0
        for round_ in range(10):
            batch = [play(n, "x" * 150) for n in range(1 + 200 * round_, 201 + 200 * round_)]
            with no_room_beyond(log.stat().st_size + 4096 * round_):
                failed = fails(lambda batch=batch: lake.put(batch))
            failures += failed
            if not failed:
                acknowledged += batch
        assert failures >= 5
        lake.put([play(10_000)])
        acknowledged.append(play(10_000))
        expected = sorted(f"{event.member_id}/{event.event_id}" for event in acknowledged)
        assert ids(lake.scan("events")) == expected
    with Lake.open(folder / "lake") as lake:
        assert ids(lake.scan("events")) == expected
        lake.seal()
        assert ids(lake.scan("events")) == expected


def test_put_on_a_full_disk(tmp_path: Path) -> None:
    in_a_process(_put, tmp_path)


def _seal(folder: Path) -> None:
    with Lake.create(folder / "lake", buckets=2) as lake:
        expected: list[str] = []
        failures = 0
        for round_, size in enumerate((0, 1, 500, 1_000, 2_000, 3_000, 4_000, 8_000, 16_000)):
            batch = [play(n, f"m{n}") for n in range(round_ * 100, round_ * 100 + 100)]
            lake.put(batch)
            expected = sorted(
                [*expected, *(f"m{n}/e{n}" for n in range(len(expected), len(expected) + 100))]
            )
            with no_room_beyond(size):
                failures += fails(lake.seal)
                assert ids(lake.scan("events")) == expected
            if round_ % 2:
                lake.seal()
                assert (
                    lake.inbox.count(
                        "events", after=lake.tables["events"].files.snapshot().watermark
                    )
                    == 0
                )
        assert failures >= 4
        lake.seal()
        assert ids(lake.scan("events")) == expected
        assert lake.repair() == []
        with no_room_beyond(1_000):
            assert fails(lambda: lake.compact(least=2))
            assert ids(lake.scan("events")) == expected
        lake.compact(least=2)
        assert ids(lake.scan("events")) == expected


def test_seal_and_compact_on_a_full_disk(tmp_path: Path) -> None:
    in_a_process(_seal, tmp_path)


def _append(folder: Path) -> None:
    rows = frame(play(n, f"m{n}") for n in range(500))
    with Lake.create(folder / "lake", buckets=2) as lake:
        with no_room_beyond(2_000):
            assert fails(lambda: lake.append("events", rows, source="log"))
        assert ids(lake.scan("events")) == []
        assert lake.append("events", rows, source="log").rows == 500


def test_append_on_a_full_disk(tmp_path: Path) -> None:
    in_a_process(_append, tmp_path)
