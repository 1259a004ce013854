"""Every executor gives the same bits over the buckets of a lake."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from matinee.engine import Executor, Processes, Serial
from matinee.engine.ray import Ray
from matinee.lake.buckets import bucket_of
from matinee.lake.lake import Lake
from matinee.lake.records import Event
from matinee.lake.table import Bucket

DAY = datetime(2026, 1, 1, tzinfo=UTC)


def checksum(bucket: Bucket, seed: int) -> tuple[int, float, tuple[int, ...]]:
    """Rows, a sum of floats (whose order matters), and the hash of the rows' order."""
    rows = bucket.read()
    order = (rows.select("member_id", "ts", "seq", "value").hash_rows(seed=seed) % 2**31).sum()
    return rows.height, float(rows["value"].sum()), (int(order),)


def add(
    left: tuple[int, float, tuple[int, ...]], right: tuple[int, float, tuple[int, ...]]
) -> tuple[int, float, tuple[int, ...]]:
    return left[0] + right[0], left[1] + right[1], left[2] + right[2]


@pytest.fixture(scope="module")
def buckets(tmp_path_factory: pytest.TempPathFactory) -> list[Bucket]:
    """Eight buckets: files and, in some, a tail that is not sealed yet."""
    events = [
        Event(
            event_id=f"e{n}", member_id=f"m{n % 97}", kind="play", title_id=f"t{n % 11}",
            ts=DAY + timedelta(seconds=n * 7919 % 86_400), value=n / 7,
        )
        for n in range(2_000)
    ]  # fmt: skip
    with Lake.create(tmp_path_factory.mktemp("executors") / "lake", buckets=8) as lake:
        lake.put(events[:1_900])
        lake.seal()
        lake.put(events[1_900:])
        return lake.tables["events"].buckets()


def sum_of(executor: Executor, buckets: list[Bucket]) -> tuple[int, float, tuple[int, ...]]:
    return executor.map_reduce(checksum, buckets, add, 1)


def test_serial_sees_every_row(buckets: list[Bucket]) -> None:
    rows, total, orders = sum_of(Serial(), buckets)
    assert rows == 2_000
    assert total == pytest.approx(sum(n / 7 for n in range(2_000)))
    assert len(orders) == 8


@pytest.mark.parametrize("workers", [1, 3])
def test_processes_agree_to_the_last_bit(buckets: list[Bucket], workers: int) -> None:
    assert sum_of(Processes(workers), buckets) == sum_of(Serial(), buckets)


@pytest.fixture
def ray() -> Iterator[Any]:
    """Ray, with nothing started yet."""
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'matinee[ray]'")
    yield ray
    ray.shutdown()


@pytest.mark.filterwarnings("ignore")
def test_ray_agrees_to_the_last_bit(ray: Any, buckets: list[Bucket]) -> None:
    here = {"PYTHONPATH": str(Path(__file__).parent)}  # where the workers find this kernel
    ray.init(include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": here})
    for ahead in (1, 3, 16):
        assert sum_of(Ray(ahead), buckets) == sum_of(Serial(), buckets)


@pytest.mark.filterwarnings("ignore")
def test_ray_starts_where_nobody_did(ray: Any) -> None:
    members = ["m1", "m2", "m3"]
    there = Ray().map_reduce(bucket_of, members, int.__add__, 16)
    assert there == Serial().map_reduce(bucket_of, members, int.__add__, 16)


def test_ray_says_what_to_install(buckets: list[Bucket], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'matinee\[ray\]'"):
        sum_of(Ray(), buckets)


@pytest.mark.parametrize("executor", [Serial(), Processes(1)])
def test_no_shards_no_sum(executor: Executor) -> None:
    with pytest.raises(ValueError, match="at least one shard"):
        executor.map_reduce(checksum, [], add, 1)


def failing(bucket: Bucket, _: None) -> int:
    raise ArithmeticError(f"bucket {bucket.number}")


@pytest.mark.parametrize("executor", [Serial(), Processes(1)])
def test_a_kernel_that_fails_is_heard(executor: Executor, buckets: list[Bucket]) -> None:
    with pytest.raises(ArithmeticError, match="bucket 0"):
        executor.map_reduce(failing, buckets, int.__add__, None)


def test_partials_are_merged_from_the_left(buckets: list[Bucket]) -> None:
    def number(bucket: Bucket, _: None) -> str:
        return str(bucket.number)

    assert Serial().map_reduce(number, buckets, str.__add__, None) == "01234567"


def test_a_torn_bucket_stops_the_sum_with_the_way_out(tmp_path: Path) -> None:
    with Lake.create(tmp_path / "lake", buckets=1) as lake:
        lake.append(
            "events",
            pl.DataFrame({"event_id": "e", "member_id": "m", "kind": "search", "ts": [DAY]}),
            source="log",
        )
        torn = lake.tables["events"].buckets()
    torn[0].files[0].write_bytes(b"")
    with pytest.raises(Exception, match="matinee repair"):
        sum_of(Processes(1), torn)
