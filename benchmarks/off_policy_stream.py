"""A long log through the off-policy estimators in bounded memory, and 16 shards beside the whole.

    python -m benchmarks.off_policy_stream [--rows N]

Writes N made decisions (50 million by default) to Parquet in a temporary folder and reads them a
file at a time, so that what is held does not grow with N. Bars: 16 accumulators merged give the
one that saw all to 1e-12 relative, values and errors; the process stays below 1 GiB.
"""

import argparse
import os
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.off_policy import PLAIN, TUNED, verdict
from matinee.evaluation.off_policy import Batch

MERGED, MEMORY = 1e-12, 1024
SHARDS, FILE = 16, 490_000
ESTIMATORS = PLAIN | {"DRos, SLOPE": TUNED["DRos, SLOPE"]}


def write_log(folder: Path, rows: int) -> None:
    """Made decisions: a member has seven in a row, the rewards follow the outcome model."""
    for number, start in enumerate(range(0, rows, FILE)):
        rng = np.random.default_rng((1, number))
        size = min(FILE, rows - start)
        propensity = rng.uniform(0.02, 1.0, size)
        predicted, expected = rng.uniform(size=(2, size))
        columns = {
            "reward": (rng.uniform(size=size) < predicted).astype(float),
            "propensity": propensity,
            "target": rng.uniform(size=size),
            "predicted": predicted,
            "expected": expected,
            "cluster": np.arange(start, start + size) // 7,
        }
        pl.DataFrame(columns).write_parquet(folder / f"{number:05}.parquet", compression="lz4")


def peak() -> float:
    """The most memory this process has held, MiB."""
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return held / (2**20 if sys.platform == "darwin" else 2**10)


def batches(folder: Path) -> Iterator[Batch]:
    for path in sorted(folder.iterdir()):
        frame = pl.read_parquet(path, memory_map=False)
        yield Batch.of(**{name: frame[name].to_numpy() for name in frame.columns})


def stream(rows: int) -> bool:
    """One pass into one accumulator per estimator; one more into 16, merged last to first."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        start = time.perf_counter()
        write_log(folder, rows)
        print(f"{rows:,} decisions written in {time.perf_counter() - start:.1f} s", flush=True)
        start = time.perf_counter()
        whole = fold(folder, 1)[0]
        seconds = time.perf_counter() - start
        speed = f"{rows / seconds:,.0f} rows a second"
        print(f"{len(ESTIMATORS)} estimators in {seconds:.1f} s, {speed}", flush=True)
        shards = fold(folder, SHARDS)
    apart = []
    for name, each in whole.items():
        one, other = (
            each.result(),
            reduce(add, [shard[name] for shard in reversed(shards)]).result(),
        )
        assert one.decisions == other.decisions == rows
        apart += [abs(other.value / one.value - 1), abs(other.error / one.error - 1)]
    worst, held = float(np.max(apart)), peak()
    met = verdict(
        f"{SHARDS} merged and the whole", f"{worst:.1e} apart", f"{MERGED}", worst <= MERGED
    )
    return met & verdict("peak memory", f"{held:,.0f} MiB", f"{MEMORY:,} MiB", held <= MEMORY)


def fold(folder: Path, parts: int) -> list[dict[str, Any]]:
    """What each of so many accumulators per estimator has seen; files are dealt out in turn."""
    seen: list[dict[str, Any]] = [dict(ESTIMATORS) for _ in range(parts)]
    for number, batch in enumerate(batches(folder)):
        place = number % parts
        seen[place] = {name: each.add(batch) for name, each in seen[place].items()}
    return seen


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=50_000_000)
    rows = parser.parse_args().rows
    print(f"{platform.machine()}, {os.cpu_count()} cores, numpy {np.__version__}")
    return 0 if stream(rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
