"""Ranking on MovieLens-1M, leave-one-out, beside a brute force and beside RecTools.

    MATINEE_DATA=... python -m benchmarks.ranking [--tune] [--peer-python PYTHON]

5-core, full catalogue, seen titles masked, no sampled negatives. Prints the table of every model
with intervals and timings; then each metric of EASE and popularity beside a brute force that is
written from the formulas in plain numpy below and shares no code with the package, and the
relative difference (bar: within 1 %). ``--tune`` prints the grids on the validation targets from
which the default settings were chosen by ndcg@10, where the order among equal times says nothing
(benchmarks/movielens.py); in the published order, which stands here, EASE keeps its choice and
co-visitation has .1618 with half_life 2 and alpha 0, .1584 as it is. ``--peer-python`` names an
interpreter with RecTools 0.19 (`pip install rectools "pyarrow<20"`), which then ranks the same
split; see benchmarks/peers/rectools_ranking.py for the one thing that is mended there.

MovieLens members rate lists of titles as the site shows them, so which title comes next is partly
the order of a page. That flatters any model that follows the order of events, co-visitation above
all; on a log of watches expect less of it.
"""

import argparse
import json
import os
import platform
import subprocess
import tempfile
import time
from itertools import product
from math import log2
from pathlib import Path

import numpy as np
import polars as pl
import rich
from rich.table import Table

from benchmarks.movielens import interactions
from matinee.evaluation import Report, Split, evaluate, five_core, leave_one_out
from matinee.models import EASE, CoVisitation, Popularity

BAR = 0.01
EASE_GRID = (50.0, 100.0, 200.0, 300.0, 500.0, 1000.0)
COVISITATION_GRID = {"window": (3, 5, 10), "half_life": (2.0, 3.0, 5.0), "alpha": (0.0, 0.25, 0.5)}

Metrics = dict[str, float]


def tune(split: Split) -> None:
    names, values = zip(*COVISITATION_GRID.items(), strict=True)
    grid = [EASE(l2) for l2 in EASE_GRID]
    grid += [CoVisitation(**dict(zip(names, point, strict=True))) for point in product(*values)]
    report = evaluate(grid, split, holdout="validation", resamples=200)
    ordered = sorted(report.rows, key=lambda row: (row.model, -row.metrics["ndcg@10"].value))
    table = Table("model", "settings", "ndcg@10", "hr@10", title="validation targets")
    for row in ordered:
        chosen = ", ".join(f"{name} {value}" for name, value in row.settings.items())
        found = [f"{row.metrics[name].value:.4f}" for name in ("ndcg@10", "hr@10")]
        table.add_row(row.model, chosen, *found)
    rich.print(table)


def parts(frame: pl.DataFrame) -> pl.DataFrame:
    """The same split in one frame, made with plain Python: `part` is train, validation or test."""
    members: dict[str, list[tuple[int, int, str]]] = {}
    for member, title, ts, seq in frame.select("member_id", "title_id", "ts", "seq").iter_rows():
        members.setdefault(member, []).append((ts, seq, title))
    rows = []
    for member, events in members.items():
        titles = [title for _, _, title in sorted(events)]
        labels = ["train"] * (len(titles) - 2) + ["validation", "test"]
        rows += [(member, *pair) for pair in zip(titles, labels, strict=True)]
    return pl.DataFrame(rows, ["member_id", "title_id", "part"], orient="row")


def brute_force(split: pl.DataFrame, l2: float) -> dict[str, Metrics]:
    """EASE and popularity on dense matrices, straight from the formulas."""
    members = {member: row for row, member in enumerate(sorted(set(split["member_id"])))}
    titles = {title: column for column, title in enumerate(sorted(set(split["title_id"])))}
    cells = {
        part: np.zeros((len(members), len(titles))) for part in ("train", "validation", "test")
    }
    for member, title, part in split.iter_rows():
        cells[part][members[member], titles[title]] = 1.0
    train, seen = cells["train"], cells["train"] + cells["validation"]
    inverse = np.linalg.inv(train.T @ train + l2 * np.eye(len(titles)))
    weights = inverse / -np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    popular = np.tile(train.sum(axis=0), (len(members), 1))
    return {
        "ease": judge(seen @ weights, seen, cells["test"], train),
        "popularity": judge(popular, seen, cells["test"], train),
    }


def judge(scores: np.ndarray, seen: np.ndarray, test: np.ndarray, train: np.ndarray) -> Metrics:
    """Ranks one member after the other; among equals the target comes last."""
    ranks, shown, bits = [], set(), []
    watchers = np.maximum(train.sum(axis=0), 1.0)
    for member in range(len(scores)):
        target = int(test[member].argmax())
        row = np.where(seen[member] > 0, -np.inf, scores[member])
        ranks.append(int((row >= row[target]).sum()))
        last = np.zeros(len(row))
        last[target] = 1.0
        top = np.lexsort((last, -row))[:10]
        shown.update(top.tolist())
        bits.append(np.mean([-log2(watchers[title] / len(scores)) for title in top]))
    return {
        "hr@10": np.mean([rank <= 10 for rank in ranks]),
        "hr@50": np.mean([rank <= 50 for rank in ranks]),
        "ndcg@10": np.mean([1 / log2(rank + 1) if rank <= 10 else 0.0 for rank in ranks]),
        "coverage@10": len(shown) / scores.shape[1],
        "novelty@10": np.mean(bits),
    }


def rectools(python: str, split: pl.DataFrame, l2: float) -> dict[str, Metrics]:
    script = Path(__file__).parent / "peers" / "rectools_ranking.py"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "split.parquet"
        split.write_parquet(path)
        answer = subprocess.run(
            [python, script, path, str(l2)], check=True, stdout=subprocess.PIPE, text=True
        )
    return json.loads(answer.stdout)


def compare(report: Report, other: dict[str, Metrics], who: str) -> bool:
    table = Table("model", "metric", "Matinee", who, "difference", title=f"Matinee and {who}")
    worst = 0.0
    for row in report.rows:
        for metric, theirs in other.get(row.model, {}).items():
            ours = row.metrics[metric].value
            difference = ours / theirs - 1
            worst = max(worst, abs(difference))
            table.add_row(row.model, metric, f"{ours:.6f}", f"{theirs:.6f}", f"{difference:+.4%}")
    rich.print(table)
    verdict = "met" if worst <= BAR else "MISSED"
    print(f"{who}: largest difference {worst:.4%}, bar {BAR:.0%}: {verdict}")
    return worst <= BAR


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--tune", action="store_true")
    parser.add_argument("--peer-python")
    arguments = parser.parse_args()
    if "MATINEE_DATA" not in os.environ:
        print("set MATINEE_DATA to the folder that holds ml-1m/ratings.parquet")
        return 2
    print(f"{platform.machine()}, {os.cpu_count()} cores, numpy {np.__version__}")
    start = time.perf_counter()
    frame = five_core(interactions(Path(os.environ["MATINEE_DATA"])))
    split = leave_one_out(frame)
    print(f"read, 5-core and split in {time.perf_counter() - start:.1f} s")
    if arguments.tune:
        tune(split)
    ease = EASE()
    report = evaluate([Popularity(), ease, CoVisitation()], split)
    rich.print(report)
    plain = parts(frame)
    met = compare(report, brute_force(plain, ease.l2), "brute force")
    if arguments.peer_python:
        peer = rectools(arguments.peer_python, plain, ease.l2)
        print("RecTools, EASE as shipped:", peer.pop("ease_as_shipped"))
        met &= compare(report, peer, "RecTools")
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
