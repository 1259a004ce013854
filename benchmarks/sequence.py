"""The sequence model on MovieLens-1M: accuracy, cost, what each part of it brings, serving.

    MATINEE_DATA=... python -m benchmarks.sequence [--tables] [--ablation [--only NAME]]
        [--time-split] [--serving] [--peer-python PYTHON [--peer-minutes 60]] [--seeds 0 1 2]

5-core, leave-one-out, equal times in the order of the published file (benchmarks/movielens.py),
whole catalogue, seen titles masked, no sampled negatives. The validation target stops the training,
is never learned from, and is among the inputs of the test.
With no flag: the tables of one seed and serving.

--tables      each preset with the time of the query unknown and known, over the seeds, beside
              popularity, EASE, co-visitation and what others published, and the default where the
              order among equal times says nothing. Every fit runs in a process of its own; peak
              memory is that of the process, data and evaluation included.
--ablation    one thing changed in the default preset, one seed, the same number of epochs.
--time-split  learn from the first 80 % of the events, stop by the next tenth, ask for the last.
--serving     milliseconds to score one member of 200 events, and members a second in batches.
--peer-python an interpreter with RecTools 0.19 (see benchmarks/peers/rectools_sasrec.py): its
              SASRec trains for the minutes given, and the best of twelve looks by validation is
              judged here. Ours, told no time of the query either, races to the same NDCG@10.

Finished fits are kept in .bench/sequence.jsonl by their settings, so what was interrupted goes on;
delete the file after a change of the code.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import rich
from rich.table import Table

from benchmarks.movielens import interactions
from benchmarks.ranking import parts
from matinee.evaluation import Split, evaluate, five_core, global_time_split, leave_one_out
from matinee.evaluation.ranking import member_metrics, ranked
from matinee.evaluation.report import Row
from matinee.models import EASE, Context, CoVisitation, Dataset, Histories, Holdout, Popularity
from matinee.models.data import Vocabulary
from matinee.models.run import Progress
from matinee.models.sequence import Config, Sequence, encoder, serving, start

ROOT = Path(__file__).parents[1]
KEPT = ROOT / ".bench" / "sequence.jsonl"
PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "large": {"width": 128, "blocks": 3, "heads": 4, "epochs": 60, "dropout": 0.3},
}
BARS = {False: (0.185, 0.195), True: (0.200, 0.217)}
"""NDCG@10 to reach and the stretch, by whether the time of the query is known."""
QUICK, QUICK_BAR, MEMORY_BAR = 15 * 60, 0.175, 4096
"""The default preset: seconds at most, NDCG@10 at least, MiB at most."""
RACE, P50, P99 = 0.25, 1.0, 2.0

README = "README of facebookresearch/generative-recommenders"
NOTEBOOK = "RecTools, transformers_HSTU_tutorial, stable sort"
BENCHMARK = "README of blondered/transformer_benchmark"
DROSS = "README of antklen/sasrec-bert4rec-recsys23"
PUBLISHED: dict[bool, tuple[tuple[str, float, float, str], ...]] = {
    False: (
        ("SASRec, sampled softmax", 0.1603, 0.2853, README),
        ("HSTU, position only", 0.1718, 0.3023, NOTEBOOK),
        ("eSASRec", 0.1772, 0.3133, BENCHMARK),
        ("FuXi-alpha", 0.1813, 0.3164, BENCHMARK),
        ("SASRec+, cross-entropy", 0.1821, 0.3152, DROSS),
        ("SASRec+, 3,000 negatives", 0.1857, 0.3159, DROSS),
    ),
    True: (
        ("HSTU", 0.1720, 0.3097, README),
        ("HSTU-large", 0.1893, 0.3294, README),
        ("HSTU", 0.1880, 0.3226, NOTEBOOK),
        ("HSTU-large", 0.2164, 0.3642, NOTEBOOK),
    ),
}
"""Name, NDCG@10, HR@10, where it was published."""

SETTINGS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "query time unknown": {"query_time": False},
    "128 negatives": {"negatives": 128},
    "no log-Q correction": {"correction": 0.0},
    "negatives drawn alike": {"smoothing": 0.0},
    "batch of 32": {"batch": 32},
    "learning rate 0.002": {"learning_rate": 2e-3},
    "no average of weights": {"average": 0.0},
    "no dropout": {"dropout": 0.0},
    "one block": {"blocks": 1},
    "one head": {"heads": 1},
    "weight decay 0.1": {"decay": 0.1},
}


# What is no setting: a part of the encoder is put in another's place, in training and in serving


def random_start() -> None:
    def vectors(found: Any, width: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        size = (2, found.pairs.shape[0], width)
        drawn = np.random.default_rng(seed).normal(0, width**-0.5, size).astype(np.float32)
        return drawn[0], drawn[1]

    start.vectors = vectors


def tied() -> None:
    """A title is read by the vector that it is scored with; the start token keeps its own."""
    plain = encoder.embed

    def embed(params: Any, tokens: Any, xp: Any) -> Any:
        titles = xp.concatenate([params["out"], params["titles"][-1:]])
        return plain({**params, "titles": titles}, tokens, xp)

    training().embed = serving.embed = embed


def respond(
    block: Any, x: Any, h: Any, past: Any, bias: Any, *, xp: Any, drops: Any, gate: bool, glu: bool
) -> Any:
    """`encoder.respond` with its gate or its SwiGLU left out."""
    heads, (after, inner, last) = bias.shape[0], drops
    q, opening = encoder.halves(h @ block["qg"])
    q, keys, values = (encoder.split_heads(one, heads) for one in (q, *past))
    seen = encoder.merge_heads(encoder.attend(q, keys, values, bias, xp))
    x = x + after((seen * encoder.silu(opening, xp) if gate else seen) @ block["mix"])
    up, opened = encoder.halves(encoder.rms(x, xp) @ block["up"])
    active = encoder.silu(up, xp) * opened if glu else xp.maximum(up, 0)
    return x + last(inner(active) @ block["down"])


def responding(*, gate: bool = True, glu: bool = True) -> None:
    training().respond = serving.respond = partial(respond, gate=gate, glu=glu)


def pointwise() -> None:
    """SiLU of the scores in place of softmax, and each head's sum normed (Zhai et al. 2024)."""

    def attend(q: Any, k: Any, v: Any, bias: Any, xp: Any) -> Any:
        scores = (q * q.shape[-1] ** -0.5) @ xp.swapaxes(k, -1, -2) + bias
        return encoder.rms(encoder.silu(scores, xp) @ v, xp)

    encoder.attend = attend


def no_distance() -> None:
    """The table stays at 0, where it begins, and serving finds it there."""
    plain = encoder.distance_bias
    training().distance_bias = lambda table, *others: plain(0 * table, *others)


def training() -> Any:
    from matinee.models.sequence import step  # JAX loads slowly

    return step


CHANGES = {
    "random start": random_start,
    "tied vectors": tied,
    "no gate": partial(responding, gate=False),
    "ReLU for SwiGLU": partial(responding, glu=False),
    "pointwise attention": pointwise,
    "no distance bias": no_distance,
}


# One fit


LEAVE_ONE_OUT, SCATTERED, TIME = "leave one out", "leave one out, equal times as copied", "time"


@cache
def data(*, in_file_order: bool) -> Any:
    folder = Path(os.environ["MATINEE_DATA"])
    return five_core(interactions(folder, in_file_order=in_file_order))


def split_of(name: str) -> Split:
    log = data(in_file_order=name != SCATTERED)
    if name != TIME:
        return leave_one_out(log)
    at, validate_from = (
        datetime.fromtimestamp(log["ts"].quantile(share) / 1e6, UTC) for share in (0.9, 0.8)
    )
    return global_time_split(log, at, validate_from)


def work(asked: dict[str, Any]) -> dict[str, Any]:
    """Fit and judge in this very process."""
    if asked["change"]:
        CHANGES[asked["change"]]()
    report = evaluate(
        [Sequence(**asked["settings"])], split_of(asked["split"]), resamples=100, told=tell
    )
    (row,) = (row for row in report.rows if row.model == "sequence")
    return {
        **{name: found.value for name, found in row.metrics.items()},
        "seconds": row.fit_seconds,
        "MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def tell(model: str, progress: Progress) -> None:
    """A line in place of the last, where a person looks on."""
    if sys.stderr.isatty():
        value = f"{progress.validation or 0:.4f}"
        line = f"{progress.done:5.1%}, loss {progress.loss:.3f}, validation {value}"
        print(f"\r{model} {line}, {progress.left:.0f} s left  ", end="", file=sys.stderr)


def fitted(settings: dict[str, Any], *, split: str = LEAVE_ONE_OUT, change: str = "") -> Any:
    """What a fit in a process of its own came to, or had come to."""
    key = {"split": split, "change": change, "settings": Config(**settings).settings()}
    if KEPT.exists():
        for line in KEPT.read_text().splitlines():
            kept = json.loads(line)
            if kept["asked"] == key:
                return kept["found"]
    print(f"fitting {settings or 'the default'} {change} ({split}) ...", file=sys.stderr)
    found = child("--one", json.dumps(key))
    KEPT.parent.mkdir(exist_ok=True)
    with KEPT.open("a") as file:
        file.write(json.dumps({"asked": key, "found": found}) + "\n")
    return found


def child(*arguments: str, **environment: str) -> Any:
    """The JSON that this file prints when it is run again with other arguments."""
    answer = subprocess.run(
        [sys.executable, "-m", "benchmarks.sequence", *arguments],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | environment,
    )
    return json.loads(answer.stdout)


def verdict(what: str, figure: str, bar: str, met: bool) -> bool:
    print(f"{what}: {figure}, bar {bar}: {'met' if met else 'MISSED'}", flush=True)
    return met


# Tables

METRICS = ("ndcg@10", "hr@10", "coverage@10")


def spread(values: list[float]) -> str:
    """The mean, and the standard deviation where there are several."""
    if len(values) == 1:
        return f"{values[0]:.4f}"
    return f"{np.mean(values):.4f} ± {np.std(values, ddof=1):.4f}"


@cache
def rivals(split: str) -> tuple[Row, ...]:
    """What popularity, EASE and co-visitation come to, the same in every table."""
    return evaluate([Popularity(), EASE(), CoVisitation()], split_of(split), resamples=100).rows


def others(table: Table, split: str) -> None:
    for row in rivals(split):
        figures = [f"{row.metrics[name].value:.4f}" for name in METRICS]
        table.add_row(row.model, *figures, f"{row.fit_seconds:.0f}")


def tables(seeds: list[int]) -> bool:
    unknown, known = accuracy(seeds, known=False), accuracy(seeds, known=True)
    return unknown and known


def added(table: Table, name: str, runs: list[dict[str, Any]]) -> tuple[float, float]:
    """A row for these runs; the most seconds and the most MiB of them."""
    figures = [spread([run[metric] for run in runs]) for metric in METRICS]
    seconds, most = (max(run[key] for run in runs) for key in ("seconds", "MiB"))
    table.add_row(name, *figures, f"{seconds:.0f}", f"{most:.0f}")
    return seconds, most


def accuracy(seeds: list[int], *, known: bool) -> bool:
    title = f"query time {'known' if known else 'unknown'}, seeds {seeds}"
    table = Table("model", *METRICS, "fit s", "MiB", "published in", title=title)
    others(table, LEAVE_ONE_OUT)
    for name, ndcg, hr, source in PUBLISHED[known]:
        table.add_row(name, f"{ndcg:.4f}", f"{hr:.4f}", "", "", "", source)
    means, met = {}, True
    for preset, settings in PRESETS.items():
        runs = [fitted(settings | {"query_time": known, "seed": seed}) for seed in seeds]
        seconds, most = added(table, f"sequence, {preset}", runs)
        means[preset] = float(np.mean([run["ndcg@10"] for run in runs]))
        met &= verdict(f"{preset}, memory", f"{most:.0f} MiB", f"{MEMORY_BAR}", most < MEMORY_BAR)
        if preset == "default":
            value = means[preset]
            met &= verdict("default, fit", f"{seconds:.0f} s", f"{QUICK} s", seconds <= QUICK)
            met &= verdict("its NDCG@10", f"{value:.4f}", f"{QUICK_BAR}", value >= QUICK_BAR)
    table.add_section()
    others(table, SCATTERED)
    found = fitted({"query_time": known, "seed": seeds[0]}, split=SCATTERED)
    added(table, "sequence, default, equal times as copied", [found])
    rich.print(table)
    best, (bar, stretch) = max(means.values()), BARS[known]
    verdict(f"{title}, stretch", f"{best:.4f}", f"{stretch}", best >= stretch)
    return met & verdict(title, f"{best:.4f}", f"{bar}", best >= bar)


def ablation(only: str | None, seed: int) -> None:
    base = fitted({"seed": seed})
    table = Table("changed", *METRICS, "difference in ndcg@10", "fit s", title="ablation")
    for name in [only] if only else [*SETTINGS, *CHANGES]:
        change = name if name in CHANGES else ""
        run = fitted(SETTINGS.get(name, {}) | {"seed": seed}, change=change)
        figures = [f"{run[metric]:.4f}" for metric in METRICS]
        apart = f"{run['ndcg@10'] - base['ndcg@10']:+.4f}"
        table.add_row(name, *figures, apart, f"{run['seconds']:.0f}")
    rich.print(table)


def time_split(seeds: list[int]) -> bool:
    table = Table("model", *METRICS, "fit s", "MiB", title="global time split, last tenth")
    others(table, TIME)
    runs = [fitted({"seed": seed}, split=TIME) for seed in seeds]
    added(table, "sequence", runs)
    rich.print(table)
    named = (Popularity.name, EASE.name)
    best = max(row.metrics["ndcg@10"].value for row in rivals(TIME) if row.model in named)
    value = float(np.mean([run["ndcg@10"] for run in runs]))
    return verdict("time split, NDCG@10", f"{value:.4f}", f"above {best:.4f}", value > best)


# Serving

TITLES, EVENTS, REQUESTS = 3_416, 200, 600
"""Members: so few that the past of each is kept, see KEPT of the encoder."""
DAY = 86_400_000_000


def latency(settings: dict[str, Any]) -> dict[str, Any]:
    """Of a model of that shape; what it has learned makes no difference to its speed."""
    rng = np.random.default_rng(0)
    seen = np.argsort(rng.random((REQUESTS, TITLES)), axis=1)[:, : EVENTS + 1]
    times = [[DAY * day for day in range(EVENTS + 1)]] * REQUESTS
    grown = Histories.of(seen.tolist(), times)
    first = Histories.of(seen[:, :EVENTS].tolist(), [row[:EVENTS] for row in times])
    titles = Vocabulary(map(str, range(TITLES)))
    model = Sequence(**settings | {"epochs": 1}).fit(Dataset.of(titles, first.rows(0, 64)))
    found: dict[str, Any] = {}
    visits = {"first visit": first, "returning": first, "a fresh event": grown}
    for number, (name, histories) in enumerate(visits.items()):
        taken = []
        for member in range(REQUESTS):
            asked = Context(histories.rows(member, member + 1), np.array([DAY * (300 + number)]))
            begin = time.perf_counter()
            model.believe(asked)
            taken.append(1e3 * (time.perf_counter() - begin))
        found[name] = [float(value) for value in np.quantile(taken, [0.5, 0.99])]
    begin = time.perf_counter()
    for at in range(0, REQUESTS, 256):
        rows = first.rows(at, min(at + 256, REQUESTS))
        model.believe(Context(rows, np.full(len(rows), DAY * 300)))
    return found | {"members a second": REQUESTS / (time.perf_counter() - begin)}


def serve() -> bool:
    table = Table("preset", "BLAS threads", "visit", "p50 ms", "p99 ms", "members/s in batches")
    best: dict[str, list[float]] = {}
    for preset, settings in PRESETS.items():
        for threads in ("1", str(os.cpu_count())):
            found = child("--latency", json.dumps(settings), OPENBLAS_NUM_THREADS=threads)
            rate = found.pop("members a second")
            for visit, (p50, p99) in found.items():
                table.add_row(preset, threads, visit, f"{p50:.2f}", f"{p99:.2f}", f"{rate:.0f}")
                if preset == "default":
                    best[visit] = min(best.get(visit, [np.inf, np.inf]), [p50, p99])
    rich.print(table)
    met = True
    for visit, (p50, p99) in best.items():
        within = p50 <= P50 and p99 <= P99
        met &= verdict(visit, f"{p50:.2f} / {p99:.2f} ms", f"{P50} / {P99}", within)
    return met


# The race


def judged(asked: Holdout, scores: np.ndarray) -> dict[str, float]:
    """Mean metrics of scores [M, V] in the order of the members asked."""
    size, hits = scores.shape[1], []
    for low in range(0, len(scores), 256):
        high = min(low + 256, len(scores))
        wanted = asked.targets.rows(low, high).matrix(size).toarray() > 0
        seen = asked.context.histories.rows(low, high).matrix(size).toarray() > 0
        lists = ranked(scores[low:high], seen, wanted, 50)
        hits.append(np.take_along_axis(wanted, lists, axis=1) & (lists >= 0))
    each = member_metrics(np.concatenate(hits), np.diff(asked.targets.offsets))
    return {name: float(values.mean()) for name, values in each.items()}


def look(path: Path, split: Split) -> dict[str, Any]:
    """What RecTools had at a look; titles that it never met in training come last."""
    with np.load(path, allow_pickle=False) as kept:
        rows = {member: row for row, member in enumerate(kept["members"])}
        columns = split.train.titles.encode(kept["known"])
        found: dict[str, Any] = {name: float(kept[name]) for name in ("seconds", "epochs")}
        for name, asked in (("validation", split.validation), ("test", split.test)):
            scores = np.full((len(asked.members), len(split.train.titles)), -1e9, np.float32)
            order = [rows[member] for member in asked.members]
            scores[:, columns] = kept[name][order] @ kept["titles"].T
            found[name] = judged(asked, scores)
    return found


def race(python: str, minutes: float, seed: int) -> bool:
    script, split = Path(__file__).parent / "peers" / "rectools_sasrec.py", split_of(LEAVE_ONE_OUT)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "split.parquet"
        parts(data(in_file_order=True)).write_parquet(path)
        command = [python, "-W", "ignore", script, path, folder, str(minutes)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        looks = [look(path, split) for path in sorted(Path(folder).glob("*.npz"))]
    table = Table("model", "seconds", "epochs", "validation ndcg@10", "ndcg@10", "hr@10")
    for one in looks:
        figures = [one["validation"]["ndcg@10"], one["test"]["ndcg@10"], one["test"]["hr@10"]]
        cells = [f"{value:.4f}" for value in figures]
        table.add_row("RecTools SASRec", f"{one['seconds']:.0f}", f"{one['epochs']:.1f}", *cells)
    theirs = max(looks, key=lambda one: one["validation"]["ndcg@10"])["test"]["ndcg@10"]
    reached = []
    for epochs in (2, 4, 8, Config().epochs):
        run = fitted({"query_time": False, "epochs": epochs, "seed": seed})
        cells = ["", f"{run['ndcg@10']:.4f}", f"{run['hr@10']:.4f}"]
        table.add_row("sequence", f"{run['seconds']:.0f}", str(epochs), *cells)
        reached += [run["seconds"]] if run["ndcg@10"] >= theirs else []
        if reached or run["seconds"] > RACE * 60 * minutes:
            break
    rich.print(table)
    share = min(reached, default=np.inf) / (60 * minutes)
    what = f"the {theirs:.4f} of RecTools after {minutes:g} minutes, in this share of the time"
    return verdict(what, f"{share:.2f}", f"{RACE}", share <= RACE)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    for flag in ("--tables", "--ablation", "--time-split", "--serving"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("--only", choices=[*SETTINGS, *CHANGES])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--peer-python")
    parser.add_argument("--peer-minutes", type=float, default=60.0)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--latency", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.latency:
        print(json.dumps(latency(json.loads(given.latency))))
        return 0
    if "MATINEE_DATA" not in os.environ:
        print("set MATINEE_DATA to the folder that holds ml-1m/ratings.parquet")
        return 2
    if given.one:
        print(json.dumps(work(json.loads(given.one))))
        return 0
    print(f"{platform.machine()}, {os.cpu_count()} cores, numpy {np.__version__}", flush=True)
    chosen = given.tables or given.ablation or given.time_split or given.serving
    usual, met = not (chosen or given.peer_python), True
    if given.tables or usual:
        met &= tables(given.seeds)
    if given.ablation:
        ablation(given.only, given.seeds[0])
    if given.time_split:
        met &= time_split(given.seeds)
    if given.serving or usual:
        met &= serve()
    if given.peer_python:
        met &= race(given.peer_python, given.peer_minutes, given.seeds[0])
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
