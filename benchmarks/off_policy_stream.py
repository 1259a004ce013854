"""A long log of the lake through the off-policy estimators in bounded memory, in 16 shards too.

    python -m benchmarks.off_policy_stream [--rows N]

Makes a lake of 64 buckets in a temporary folder with N decisions of one slot (50 million by
default: 5 GB) and their outcomes. They come in order of time, so that a member's seven decisions
lie in seven places. A softmax over the five best of eight titles chose, and the candidate is that
softmax at twice the temperature: its probabilities are computed from the segment and the logits of
each record. An outcome model's predictions come from a table by title.

A kernel reads a bucket of decisions and its outcomes, joins them, and gives each estimator its
rows; `engine.Serial` folds that over the buckets. Bars: 16 groups of buckets, each folded for
itself and merged last to first, give what the fold over all gives to 1e-12 relative, values and
errors; the process that evaluates stays below 1 GiB. Another one has filled the lake before.
"""

import argparse
import os
import platform
import resource
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.off_policy import PLAIN, TUNED, verdict
from matinee.decisions.ids import context_hash
from matinee.engine import Processes, Serial
from matinee.evaluation.off_policy import Batch, Value
from matinee.lake.lake import Lake
from matinee.lake.schemas import TIME
from matinee.lake.table import Bucket

MERGED, MEMORY = 1e-12, 1024
SHARDS, BUCKETS, APPEND, EACH = 16, 64, 2_000_000, 7
ESTIMATORS = PLAIN | {"DRos, SLOPE": TUNED["DRos, SLOPE"]}
TITLES = [f"title-{number}" for number in range(8)]
SEGMENT = 5
START, STEP = datetime(2025, 1, 1, tzinfo=UTC), timedelta(milliseconds=500)
CLICKS = np.linspace(0.05, 0.4, len(TITLES))
PREDICTED = CLICKS[::-1] * 0.5 + 0.1
"""An outcome model of the reward by title, a bad one."""

Estimators = dict[str, Any]
Shard = tuple[Bucket, Bucket]


def softmax(logits: np.ndarray) -> np.ndarray:
    likely = np.exp(logits - logits.max(axis=1, keepdims=True))
    return likely / likely.sum(axis=1, keepdims=True)


# The lake


def fill(rows: int, folder: Path) -> float:
    """Make the lake; the most memory it took, MiB."""
    members = -(-rows // EACH)
    with Lake.create(folder, BUCKETS) as lake:
        candidates = pl.DataFrame({"eligible": ["all-titles"], "candidates": [TITLES]})
        lake.append("eligible", candidates, source="benchmark")
        for start in range(0, rows, APPEND):
            numbers = np.arange(start, min(start + APPEND, rows))
            decisions, outcomes = made(numbers, members)
            for table, frame in (("decisions", decisions), ("outcomes", outcomes)):
                added = lake.append(table, frame, source="benchmark", first_row=start)
                assert added == (len(numbers), 0, 0)
    return peak()


def made(numbers: np.ndarray, members: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The decisions of those numbers and their outcomes, as a surface of one slot logs them."""
    rng = np.random.default_rng((1, numbers[0]))
    size, each = len(numbers), np.arange(len(numbers))
    liked = rng.normal(size=(size, len(TITLES))).astype(np.float32)
    segment = np.argsort(-liked, axis=1)[:, :SEGMENT]
    scores = 1.5 * np.take_along_axis(liked, segment, axis=1).astype(float)
    drawn = np.argmax(scores + rng.gumbel(size=scores.shape), axis=1)
    chosen = segment[each, drawn]
    ids = np.frombuffer(rng.bytes(16 * size).hex().encode(), "S32")
    context = {"country": "NL"}
    decisions = pl.DataFrame(
        {
            "decision_id": pl.Series(ids).cast(pl.String),
            "number": numbers,
            "member": numbers % members,
            "title": chosen,
            "propensities": softmax(scores)[each, drawn],
            "segment": segment.astype(np.int32),
            "scores": scores,
            "seed": rng.integers(2**63, size=size),
        }
    ).select(
        "decision_id",
        request_id=pl.format("request-{}", "number"),
        surface=pl.lit("banner"),
        member_id=pl.format("m{}", "member"),
        at=(pl.lit(START) + pl.col("number") * STEP).cast(TIME),
        policy=pl.lit("banner@1"),
        actions=pl.concat_list(pl.format("title-{}", "title")),
        propensities=pl.concat_list("propensities"),
        propensity_kind=pl.lit("conditional"),
        eligible=pl.lit("all-titles"),
        removed=pl.lit([], pl.List(pl.Int32)),
        segment=pl.col("segment").arr.to_list(),
        scores=pl.col("scores").arr.to_list(),
        seed="seed",
        context=pl.lit('{"country":"NL"}'),
        context_hash=pl.lit(context_hash(context)),
        known_at=(pl.lit(START) + pl.col("number") * STEP).cast(TIME),
    )
    rewards = (rng.uniform(size=size) < CLICKS[chosen]).astype(float)
    closed = pl.col("at") + timedelta(days=1)
    outcomes = decisions.select(
        "decision_id",
        "member_id",
        "surface",
        position=pl.lit(0),
        action=pl.col("actions").list.first(),
        reward=pl.Series(rewards),
        decided_at="at",
        closed_at=closed,
        known_at=closed,
    )
    return decisions, outcomes


# The evaluation


def evaluated(shard: Shard, candidates: list[str]) -> Estimators:
    """What each estimator makes of one bucket: the kernel."""
    batch = weighed(joined(*shard), candidates)
    return {name: each.add(batch) for name, each in ESTIMATORS.items()}


def joined(decisions: Bucket, outcomes: Bucket) -> pl.DataFrame:
    """The closed decisions of a bucket with their rewards."""
    ids = ["member_id", "decision_id"]
    logged = decisions.scan().select(*ids, "actions", "propensities", "segment", "scores")
    rewards = outcomes.scan().select(*ids, "reward")
    return logged.join(rewards, on=ids).drop("decision_id").collect(engine="streaming")


def weighed(rows: pl.DataFrame, candidates: list[str]) -> Batch:
    """The batch of a softmax at twice the temperature of the one that logged, by member."""
    action = rows["actions"].list.first().cast(pl.Enum(candidates)).to_physical().to_numpy()
    segment, scores = (
        rows[name].explode().to_numpy().reshape(-1, SEGMENT) for name in ("segment", "scores")
    )
    target, member = softmax(scores / 2), rows["member_id"].rank("dense").to_numpy()
    batch = Batch.of(
        rows["reward"].to_numpy(),
        rows["propensities"].list.first().to_numpy(),
        target[segment == action[:, None]],
        predicted=PREDICTED[action],
        expected=np.einsum("na,na->n", target, PREDICTED[segment]),
        cluster=member,
    )
    return batch.rows(np.argsort(member, kind="stable"))


def merged(one: Estimators, other: Estimators) -> Estimators:
    return {name: one[name] + other[name] for name in one}


def peak() -> float:
    """The most memory this process has held, MiB."""
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return held / (2**20 if sys.platform == "darwin" else 2**10)


def write(rows: int, folder: Path) -> None:
    """Fill the lake, in a process of its own."""
    start = time.perf_counter()
    most = Processes(1).map_reduce(fill, [rows], max, folder)
    seconds = time.perf_counter() - start
    speed = f"{rows / seconds:,.0f} rows a second"
    print(f"{rows:,} decisions written in {seconds:.0f} s, {speed}, in {most:,.0f} MiB", flush=True)


def evaluate(rows: int, folder: Path) -> bool:
    """All buckets in one fold; then in 16 that are merged last to first."""
    with Lake.open(folder) as lake:
        decisions, outcomes = (lake.tables[name].buckets() for name in ("decisions", "outcomes"))
        (candidates,) = lake.scan("eligible").collect()["candidates"].to_list()
    shards = list(zip(decisions, outcomes, strict=True))
    start = time.perf_counter()
    whole = Serial().map_reduce(evaluated, shards, merged, candidates)
    seconds = time.perf_counter() - start
    speed = f"{rows / seconds:,.0f} rows a second"
    print(f"{len(whole)} estimators in {seconds:.0f} s, {speed}", flush=True)
    groups = [shards[group::SHARDS] for group in range(SHARDS)]
    parts = [Serial().map_reduce(evaluated, group, merged, candidates) for group in groups]
    found, again = results(whole), results(reduce(merged, reversed(parts)))
    assert {one.decisions for one in (*found.values(), *again.values())} == {rows}
    assert abs(found["DR"].value - CLICKS.mean()) < 4 * found["DR"].error
    apart = [
        abs(getattr(again[name], what) / getattr(one, what) - 1)
        for name, one in found.items()
        for what in ("value", "error")
    ]
    worst, held = float(np.max(apart)), peak()
    met = verdict(
        f"{SHARDS} merged and the whole", f"{worst:.1e} apart", f"{MERGED}", worst <= MERGED
    )
    return met & verdict("peak memory", f"{held:,.0f} MiB", f"{MEMORY:,} MiB", held <= MEMORY)


def results(estimators: Estimators) -> dict[str, Value]:
    return {name: each.result() for name, each in estimators.items()}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=50_000_000)
    rows = parser.parse_args().rows
    print(f"{platform.machine()}, {os.cpu_count()} cores, Polars {pl.__version__}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "lake"
        write(rows, folder)
        return 0 if evaluate(rows, folder) else 1


if __name__ == "__main__":
    raise SystemExit(main())
