"""The lake beside plain Polars and plain SQLite, doing the same work on the same rows.

    python benchmarks/lake.py                      # 10 million events: some minutes
    python benchmarks/lake.py --events 1000000     # a quick look

Every measure is taken beside its peer in one process, turn by turn, and the best of `runs` counts;
memory is the peak of a fresh process. Both sides must give the same checksum.
"""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cyclopts
import msgspec
import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table as Grid

from matinee.engine import Serial
from matinee.lake.buckets import with_bucket
from matinee.lake.lake import Lake
from matinee.lake.point_in_time import as_of_join
from matinee.lake.records import Event, micros
from matinee.lake.schemas import TIME
from matinee.lake.table import Bucket

app = cyclopts.App(help=__doc__)
START = datetime(2025, 1, 1, tzinfo=UTC)
HISTORY = ["member_id", "ts", "seq", "title_id", "value"]
YEAR_US = 365 * 86_400 * 1_000_000


def members_of(events: int, rng: np.random.Generator) -> np.ndarray:
    """A member for every event: about 71 events each, log-normal, at most some 6,000."""
    members = max(1, events // 71)
    weights = np.minimum(rng.lognormal(0.0, 1.35, members), 60.0)
    return rng.choice(members, size=events, p=weights / weights.sum())


def event_log(events: int) -> pl.DataFrame:
    """A year of events in order of time, known when they happened."""
    rng = np.random.default_rng(7)
    ts = np.sort(rng.integers(0, YEAR_US, events)) + micros(START)
    numbers = {
        "number": np.arange(events),
        "member": members_of(events, rng),
        "title": rng.integers(0, 4_000, events),
        "value": rng.uniform(0, 120, events).round(1),
        "ts": ts,
    }
    return pl.DataFrame(numbers).select(
        event_id=pl.format("play-{}", "number"),
        member_id=pl.format("m{}", "member"),
        kind=pl.lit("play"),
        ts=pl.col("ts").cast(TIME),
        title_id=pl.format("t{}", "title"),
        value="value",
        known_at=pl.col("ts").cast(TIME),
    )


def fill(folder: Path, events: int, buckets: int) -> tuple[Path, Path]:
    """The same rows as a compacted lake and as one Parquet file in order of time."""
    log = event_log(events)
    with Lake.create(folder / "lake", buckets) as lake:
        for batch in log.iter_slices(1_000_000):
            lake.append("events", batch, source="benchmark")
        lake.compact(least=2)
        lake.scan("events").sort("seq").sink_parquet(folder / "events.parquet")
    return folder / "lake", folder / "events.parquet"


def histories_of(rows: pl.LazyFrame) -> pl.LazyFrame:
    """One row a member: times, titles and minutes in the order of the rows."""
    return rows.group_by("member_id").agg("ts", "seq", "title_id", "value")


def bucket_histories(bucket: Bucket, _: None) -> list[pl.DataFrame]:
    return [histories_of(bucket.read(HISTORY).lazy()).collect(engine="streaming")]


def our_histories(lake: Lake) -> pl.DataFrame:
    buckets = lake.tables["events"].buckets()
    parts = Serial().map_reduce(bucket_histories, buckets, list.__add__, None)
    return pl.concat(parts)


def plain_histories(path: Path) -> pl.DataFrame:
    """The file is in order of time already, so grouping is enough: the fastest way we know."""
    return histories_of(pl.scan_parquet(path).select(HISTORY)).collect(engine="streaming")


def history_checksum(histories: pl.DataFrame) -> int:
    """Depends on every value and on its place in its member's history."""
    place = pl.int_range(pl.len(), dtype=pl.Int64).over("member_id") + 1
    rows = histories.explode("ts", "seq", "title_id", "value")
    key = pl.struct("member_id", "ts", "seq", "title_id", "value").hash(seed=1) % 1_000_003
    return int(rows.select((key.cast(pl.Int64) * place).sum()).item())


def labels_of(events: int, labels: int) -> pl.DataFrame:
    rng = np.random.default_rng(11)
    at = rng.integers(0, YEAR_US, labels) + micros(START)
    return pl.DataFrame({"member": members_of(events, rng)[:labels], "at": at}).select(
        member_id=pl.format("m{}", "member"), at=pl.col("at").cast(TIME)
    )


def our_join(lake: Lake, labels: pl.DataFrame) -> pl.DataFrame:
    numbered = with_bucket(labels.with_row_index("label"), lake.bucket_count)
    asked = numbered.partition_by("bucket", as_dict=True, include_key=False)
    parts = [
        as_of_join(asked[bucket.number,], bucket.read([*HISTORY, "known_at"]))
        for bucket in lake.tables["events"].buckets()
        if (bucket.number,) in asked
    ]
    return pl.concat(parts).sort("label")


def plain_join(path: Path, labels: pl.DataFrame) -> pl.DataFrame:
    events = pl.scan_parquet(path).select(HISTORY).sort("member_id", "ts", "seq")
    asked = labels.with_row_index("label").lazy().sort("member_id", "at")
    joined = asked.join_asof(
        events,
        left_on="at",
        right_on="ts",
        by="member_id",
        allow_exact_matches=False,
        check_sortedness=False,
        coalesce=False,
    )
    return joined.collect(engine="streaming").sort("label")


def join_checksum(joined: pl.DataFrame) -> int:
    columns = ["label", "member_id", "at", "ts", "seq", "title_id", "value"]
    return int(joined.select(pl.struct(columns).hash(seed=1).sum()).item())


def batches_of(count: int) -> Iterator[list[Event]]:
    rng = np.random.default_rng(3)
    for batch in range(count):
        yield [
            Event(
                event_id=f"{batch:06}-{number:04}-{rng.integers(2**32):08x}",
                member_id=f"m{rng.integers(140_000)}",
                kind="play",
                ts=START + timedelta(seconds=int(rng.integers(31_000_000))),
                title_id=f"t{rng.integers(4_000)}",
                value=float(rng.integers(1_200)) / 10,
                country="NL",
                device="tv",
            )
            for number in range(1_000)
        ]


def our_appends(folder: Path, bodies: list[bytes]) -> float:
    """Seconds from JSON bytes to durable rows: decode, validate, put; one commit per 1,000."""
    decoder = msgspec.json.Decoder(list[Event])
    with Lake.create(folder) as lake:
        start = time.perf_counter()
        for body in bodies:
            lake.put(decoder.decode(body))
        return time.perf_counter() - start


def bare_appends(path: Path, batches: list[list[tuple[Any, ...]]]) -> float:
    """Seconds to insert ready tuples into plain columns; one commit per 1,000."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute(
        "CREATE TABLE events (member_id TEXT, event_id TEXT, kind TEXT, ts INTEGER, title_id TEXT,"
        " value REAL, decision_id TEXT, position INTEGER, country TEXT, device TEXT,"
        " known_at INTEGER, UNIQUE (member_id, event_id))"
    )
    start = time.perf_counter()
    for batch in batches:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT OR IGNORE INTO events VALUES (?,?,?,?,?,?,?,?,?,?,?)", batch)
        connection.execute("COMMIT")
    seconds = time.perf_counter() - start
    connection.close()
    return seconds


def plain_row(event: Event) -> tuple[Any, ...]:
    at = micros(event.ts)
    return (event.member_id, event.event_id, event.kind, at, event.title_id, event.value,
            event.decision_id, event.position, event.country, event.device, at)  # fmt: skip


def timed(work: Callable[[], pl.DataFrame], checksum: Callable[[pl.DataFrame], int]) -> Any:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, checksum(result)


def beside(
    ours: Callable[[], pl.DataFrame],
    plain: Callable[[], pl.DataFrame],
    checksum: Callable[[pl.DataFrame], int],
    runs: int,
) -> tuple[float, float]:
    """Best seconds of both, turn by turn; their checksums must agree."""
    best = [float("inf"), float("inf")]
    for _ in range(runs):
        sums = []
        for side, work in enumerate((ours, plain)):
            seconds, total = timed(work, checksum)
            best[side] = min(best[side], seconds)
            sums.append(total)
        assert sums[0] == sums[1], "the two sides disagree"
    return best[0], best[1]


def row_count(bucket: Bucket, _: None) -> int:
    return int(bucket_histories(bucket, None)[0]["ts"].list.len().sum())


@app.command
def peak(side: str, path: Path) -> None:
    """Peak memory of making all histories, in MiB: `side` is lake or polars."""
    if side == "lake":
        with Lake.open(path) as lake:
            buckets = lake.tables["events"].buckets()
            rows = Serial().map_reduce(row_count, buckets, int.__add__, None)
    else:
        rows = plain_histories(path)["ts"].list.len().sum()
    status = Path("/proc/self/status").read_text()
    (kib,) = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
    print(rows, int(kib) / 1024)


def peak_of(side: str, path: Path) -> float:
    command = [sys.executable, __file__, "peak", side, str(path)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return float(told[1])


@app.default
def main(*, events: int = 10_000_000, labels: int = 1_000_000, runs: int = 3) -> None:
    """Measure everything and print a table."""
    console = Console(width=110)
    cores = len(os.sched_getaffinity(0))
    console.print(
        f"{platform.machine()}, {cores} cores, Python {platform.python_version()}, "
        f"Polars {pl.__version__}; {events:,} events, {labels:,} labels, best of {runs}"
    )
    grid = Grid("measure", "lake", "plain", "ratio", "bar")

    def line(name: str, ours: float, plain: float, unit: str, bar: str) -> None:
        grid.add_row(
            name, f"{ours:,.2f} {unit}", f"{plain:,.2f} {unit}", f"{ours / plain:.2f}", bar
        )

    with tempfile.TemporaryDirectory() as home:
        start = time.perf_counter()
        folder, path = fill(Path(home), events, buckets=16)
        console.print(f"lake filled and compacted in {time.perf_counter() - start:.0f} s")
        with Lake.open(folder) as lake:
            pair = beside(
                lambda: our_histories(lake), lambda: plain_histories(path), history_checksum, runs
            )
            line("histories", *pair, "s", "<= 1.5")
            asked = labels_of(events, labels)
            pair = beside(
                lambda: our_join(lake, asked), lambda: plain_join(path, asked), join_checksum, runs
            )
            line("as-of join", *pair, "s", "<= 1.5")
        line("peak memory", peak_of("lake", folder), peak_of("polars", path), "MiB", "")
    peaks = []
    for share, buckets in ((events // 4, 16), (events, 64)):
        with tempfile.TemporaryDirectory() as home:
            folder, _ = fill(Path(home), share, buckets)
            peaks.append(peak_of("lake", folder))
    line("peak, 4x the log in buckets of the same size", peaks[1], peaks[0], "MiB", "about 1")
    with tempfile.TemporaryDirectory() as home:
        made = list(batches_of(100))
        bodies, plain = [msgspec.json.encode(b) for b in made], [[*map(plain_row, b)] for b in made]
        ours_s = bare_s = float("inf")
        for run in range(runs):
            ours_s = min(ours_s, our_appends(Path(home) / f"lake-{run}", bodies))
            bare_s = min(bare_s, bare_appends(Path(home) / f"bare-{run}.db", plain))
        line("appends, thousands of events", 100 / ours_s, 100 / bare_s, "k/s", ">= 0.6")
    console.print(grid)


if __name__ == "__main__":
    app()
