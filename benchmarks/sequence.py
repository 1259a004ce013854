"""The sequence model on MovieLens-1M: accuracy, cost, what each part of it brings, serving.

    MATINEE_DATA=... python -m benchmarks.sequence [--tables] [--ablation [--only NAME]] [--plan]
        [--time-split] [--serving] [--size]
        [--peer-python PYTHON [--peer-minutes 60]] [--seeds 0 1 2] [--large]

5-core, leave-one-out, equal times in the order of the published file (benchmarks/movielens.py),
whole catalogue, seen titles masked, no sampled negatives. The validation target stops the training,
is never learned from, and is among the inputs of the test.
With no flag: the tables of one seed and serving.

--tables      the default preset with the time of the query unknown and known, over the seeds,
              beside popularity, EASE, co-visitation and what others published, and again where the
              order among equal times says nothing. Every fit runs in a process of its own; peak
              memory is that of the process, data and evaluation included.
--large       the large preset too, in the tables and in serving.
--ablation    one thing changed in the default preset, the same number of epochs; differences are on
              the validation targets, since choices are made by them.
--plan        the plans among which the default was chosen, by validation, at 6 epochs.
--time-split  learn from the first 80 % of the events, stop by the next tenth, ask for the last. The
              others' settings, and our horizon, are chosen on that tenth. The interval is of the
              difference, members resampled in pairs.
--serving     milliseconds to score one member of 200 events, and members a second in batches; with
              one BLAS thread, which is what is judged, and with one a core.
--size        one pass over 100,000 titles and 1,000 members of 1,000 events each, drawn at random,
              with a window of as many and the default settings otherwise: events a second, and
              how much memory the fit adds.
--peer-python an interpreter with RecTools 0.19 (see benchmarks/peers/rectools_sasrec.py): its
              SASRec trains for the minutes given, and the best of twelve looks by validation is
              judged here. Ours, told no time of the query either, is given more and more epochs
              until validation puts it above that; the seconds of that fit are set against those of
              the look. Neither is disturbed by the other; nothing else should run.

Finished fits stand in benchmarks/results/sequence.jsonl by their settings and are not repeated, so
what was interrupted goes on, and two runs with other seeds can share the cores (`taskset -c 0`).
What they were fitted with is kept beside them, and a table that holds fits of other code says so;
delete a line to have it fitted again.
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
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import rich
from rich.table import Table

from benchmarks import kept
from benchmarks.movielens import interactions
from benchmarks.ranking import parts
from matinee.evaluation import Split, evaluate, five_core, global_time_split, leave_one_out
from matinee.evaluation.ranking import BATCH, best_lists, bootstrap, member_metrics
from matinee.evaluation.report import Row
from matinee.models import (
    EASE,
    Context,
    CoVisitation,
    Dataset,
    Histories,
    Holdout,
    Model,
    Popularity,
    load_model,
)
from matinee.models.data import DAY, Vocabulary
from matinee.models.run import Progress, Run
from matinee.models.sequence import Config, Sequence, encoder, serving, start, windows

ROOT = Path(__file__).parents[1]
PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "large": {"width": 128, "heads": 4, "dropout": 0.3, "learning_rate": 0.003},
}
PLANS: tuple[dict[str, Any], ...] = (
    {"batch": 32, "learning_rate": 2e-3, "negatives": 512, "smoothing": 0.0},
    {"batch": 32, "negatives": 512, "smoothing": 0.0},
    {"batch": 32, "learning_rate": 8e-3, "negatives": 512, "smoothing": 0.0},
    {"batch": 16, "learning_rate": 2e-3, "negatives": 512, "smoothing": 0.0},
    {"batch": 16, "negatives": 512, "smoothing": 0.0},
    {"batch": 16, "learning_rate": 8e-3, "negatives": 512, "smoothing": 0.0},
    {"negatives": 512, "smoothing": 0.0},
    {"batch": 4, "negatives": 512, "smoothing": 0.0},
    {},
)
"""What is not said is as in the default."""
BARS = {False: (0.185, 0.195), True: (0.200, 0.217)}
"""NDCG@10 to reach and the stretch, by whether the time of the query is known."""
QUICK, QUICK_BAR, MEMORY_BAR = 15 * 60, 0.175, 4096
"""The default preset: seconds at most, NDCG@10 at least, MiB at most."""
BIG, WATCHERS, LONG = 100_000, 1_000, 1_000
"""Titles, members, and events of each, that `--size` tries the model with."""
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
    "no average of weights": {"average": 0.0},
    "no dropout": {"dropout": 0.0},
    "one block": {"blocks": 1},
    "one head": {"heads": 1},
    "weight decay 0.1": {"decay": 0.1},
    "bfloat16": {"precision": "bfloat16"},
}


# What is no setting: a part of the encoder is put in another's place, in training and in serving


def random_start() -> None:
    def vectors(found: Any, width: int, seed: int) -> np.ndarray:
        size = (found.pairs.shape[0], width)
        return np.random.default_rng(seed).normal(0, width**-0.5, size).astype(np.float32)

    start.vectors = vectors


def two_vectors() -> None:
    """A title is read by another vector than the one that it is scored with; both start alike."""
    plain, made = encoder.embed, start.weights

    def embed(params: Any, tokens: Any, xp: Any) -> Any:
        return plain({**params, "titles": params["read"]}, tokens, xp)

    def weights(*asked: Any) -> Any:
        params = made(*asked)
        return {**params, "read": params["titles"].copy()}

    training().embed = serving.embed = embed
    start.weights = weights


def respond(
    block: Any, x: Any, h: Any, seen: Any, *, xp: Any, drops: Any, gate: bool, glu: bool
) -> Any:
    """`encoder.respond` with its gate left out, or ReLU of all of `up` in place of SwiGLU."""
    after, inner, last = drops
    q, opening = encoder.halves(h @ block["qg"])
    found = seen(q)
    x = x + after((found * encoder.silu(opening, xp) if gate else found) @ block["mix"])
    risen = encoder.rms(x, xp) @ block["up"]
    up, opened = encoder.halves(risen)
    active = encoder.silu(up, xp) * opened if glu else xp.maximum(risen, 0)
    return x + last(inner(active) @ block["down"])


def responding(*, gate: bool = True, glu: bool = True) -> None:
    training().respond = serving.respond = partial(respond, gate=gate, glu=glu)


def relu() -> None:
    """As many weights, 6 D^2, in two matrices for three (Shazeer 2020)."""
    plain = start.weights

    def weights(config: Config, *others: Any) -> Any:
        rng, width = np.random.default_rng(config.seed), config.width
        made = plain(config, *others)
        for block in made["blocks"]:
            up = rng.normal(0, width**-0.5, (width, 3 * width))
            down = rng.normal(0, 0.3 * (3 * width) ** -0.5, (3 * width, width))
            block |= {"up": up.astype(np.float32), "down": down.astype(np.float32)}
        return made

    start.weights = weights
    responding(glu=False)


def pointwise() -> None:
    """SiLU of the scores in place of softmax, and each head's sum normed (Zhai et al. 2024)."""

    def attend(q: Any, k: Any, v: Any, bias: Any, xp: Any) -> Any:
        scores = (q * q.shape[-1] ** -0.5) @ xp.swapaxes(k, -1, -2) + bias
        return encoder.rms(encoder.silu(scores, xp) @ v, xp)

    def look_once(block: Any, h: Any, bias: Any, q: Any) -> Any:
        return encoder.look_back(q, encoder.remember(block, h), bias, np)

    encoder.attend, serving.look_once = attend, look_once


def no_distance() -> None:
    """The table stays at 0, where it begins, and serving finds it there."""
    plain = encoder.distance_bias
    training().distance_bias = lambda table, *others: plain(0 * table, *others)


def no_gaps() -> None:
    """No event is told how long after another it came."""
    plain = encoder.embed

    def embed(params: Any, tokens: Any, xp: Any) -> Any:
        return plain(params, tokens._replace(gaps=0 * tokens.gaps), xp)

    training().embed = serving.embed = embed


def last_alone() -> None:
    """A window is learned from at its last place alone."""
    plain = windows.learning

    def learning(*asked: Any, **more: Any) -> Any:
        batch = plain(*asked, **more)
        later = np.cumsum(batch.weights[:, ::-1] > 0, axis=1)[:, ::-1]
        return batch._replace(weights=np.where(later == 1, batch.weights, 0))

    windows.learning = learning


def alike_in_length() -> None:
    """Every window is padded to the longest."""
    windows.Buckets.lengths = lambda buckets: (buckets.window,)


def training() -> Any:
    from matinee.models.sequence import step  # JAX loads slowly

    return step


CHANGES = {
    "random start": random_start,
    "two vectors a title": two_vectors,
    "no gate": partial(responding, gate=False),
    "ReLU for SwiGLU": relu,
    "pointwise attention": pointwise,
    "no distance bias": no_distance,
    "no gaps in time": no_gaps,
    "loss at the last place alone": last_alone,
    "no buckets of length": alike_in_length,
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
    model, split = Sequence(**asked["settings"]), split_of(asked["split"])
    report = evaluate([model], split, told=tell)
    (row,) = (row for row in report.rows if row.model == "sequence")
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        **{name: found.value for name, found in row.metrics.items()},
        "interval": [row.metrics["ndcg@10"].low, row.metrics["ndcg@10"].high],
        "validation": means(judged(model, split.validation))["ndcg@10"],
        "seconds": row.fit_seconds,
        "MiB": most,
    }


def judged(model: Model, asked: Holdout) -> dict[str, np.ndarray]:
    """Metrics [M] in the order of the members asked."""
    return metrics(lambda context: model.believe(context).mean, asked)


def metrics(scores: Callable[[Context], Any], asked: Holdout) -> dict[str, np.ndarray]:
    _, hits = best_lists(scores, asked)
    return member_metrics(hits, np.diff(asked.targets.offsets))


def means(each: dict[str, np.ndarray]) -> dict[str, float]:
    return {name: float(values.mean()) for name, values in each.items()}


def tell(model: str, progress: Progress) -> None:
    """A line in place of the last, where a person looks on."""
    if sys.stderr.isatty():
        value = f"{progress.validation or 0:.4f}"
        line = f"{progress.done:5.1%}, loss {progress.loss:.3f}, validation {value}"
        print(f"\r{model} {line}, {progress.left:.0f} s left  ", end="", file=sys.stderr)


def question(settings: dict[str, Any], split: str = LEAVE_ONE_OUT, change: str = "") -> Any:
    """All that a fit depends on."""
    return {"split": split, "change": change, "settings": Config(**settings).settings()}


def fit(asked: dict[str, Any]) -> Any:
    """What a fit in a process of its own comes to."""
    print(f"fitting {asked} ...", file=sys.stderr)
    return child("--one", json.dumps(asked))


def fitted(settings: dict[str, Any], *, split: str = LEAVE_ONE_OUT, change: str = "") -> Any:
    """The same, or what it had come to."""
    asked = question(settings, split, change)
    return kept.once("sequence", asked, partial(fit, asked))


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

METRICS = ("ndcg@10", "hr@10", "hr@50", "coverage@10", "novelty@10")


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
        low, high = row.metrics["ndcg@10"].low, row.metrics["ndcg@10"].high
        table.add_row(row.model, f"{low:.4f} to {high:.4f}", *figures, f"{row.fit_seconds:.0f}")


def tables(seeds: list[int], presets: list[str]) -> bool:
    unknown, known = (accuracy(seeds, presets, known=known) for known in (False, True))
    return unknown and known


def added(table: Table, name: str, runs: list[dict[str, Any]]) -> tuple[float, float]:
    """A row for these runs; the most seconds and the most MiB of them."""
    figures = [spread([run[metric] for run in runs]) for metric in METRICS]
    seconds, most = (max(run[key] for run in runs) for key in ("seconds", "MiB"))
    low, high = np.mean([run["interval"] for run in runs], axis=0)
    table.add_row(name, f"{low:.4f} to {high:.4f}", *figures, f"{seconds:.0f}", f"{most:.0f}")
    return seconds, most


def accuracy(seeds: list[int], presets: list[str], *, known: bool) -> bool:
    title = f"query time {'known' if known else 'unknown'}, seeds {seeds}"
    columns = ("members", *METRICS, "fit s", "MiB", "published in")
    caption = "members: 95 % of ndcg@10 by which members are asked; ±: by the seed"
    table = Table("model", *columns, title=title, caption=caption)
    others(table, LEAVE_ONE_OUT)
    for name, ndcg, hr, source in PUBLISHED[known]:
        table.add_row(name, "", f"{ndcg:.4f}", f"{hr:.4f}", "", "", "", "", "", source)
    met, (bar, stretch) = True, BARS[known]
    for preset in presets:
        settings = PRESETS[preset] | {"query_time": known}
        runs = [fitted(settings | {"seed": seed}) for seed in seeds]
        seconds, most = added(table, f"sequence, {preset}", runs)
        value, what = float(np.mean([run["ndcg@10"] for run in runs])), f"{title}, {preset}"
        met &= verdict(f"{what}, memory", f"{most:.0f} MiB", f"{MEMORY_BAR}", most < MEMORY_BAR)
        if preset == "default":
            met &= verdict(f"{what}, fit", f"{seconds:.0f} s", f"{QUICK} s", seconds <= QUICK)
            met &= verdict("its NDCG@10", f"{value:.4f}", f"{QUICK_BAR}", value >= QUICK_BAR)
        met &= verdict(what, f"{value:.4f}", f"{bar}", value >= bar)
        verdict(f"{what}, stretch", f"{value:.4f}", f"{stretch}", value >= stretch)
    table.add_section()
    others(table, SCATTERED)
    found = fitted({"query_time": known, "seed": seeds[0]}, split=SCATTERED)
    added(table, "sequence, default, equal times as copied", [found])
    rich.print(table)
    return met


def ablation(only: str | None, seeds: list[int]) -> None:
    def validated(settings: dict[str, Any], change: str = "") -> tuple[Any, list[Any]]:
        runs = [fitted(settings | {"seed": seed}, change=change) for seed in seeds]
        return np.array([run["validation"] for run in runs]), runs

    base, _ = validated({})
    columns = ("validation", "difference", "test", "fit s")
    table = Table("changed", *columns, title=f"ablation, ndcg@10, seeds {seeds}")
    for name in [only] if only else [*SETTINGS, *CHANGES]:
        values, runs = validated(SETTINGS.get(name, {}), name if name in CHANGES else "")
        cells = [spread(list(one)) for one in (values, values - base)]
        cells.append(spread([run["ndcg@10"] for run in runs]))
        table.add_row(name, *cells, f"{max(run['seconds'] for run in runs):.0f}")
    rich.print(table)


def plan(seed: int) -> None:
    table = Table("changed", "validation ndcg@10", "fit s", title=f"6 epochs, seed {seed}")
    for changed in PLANS:
        run = fitted({"epochs": 6, "query_time": False, "seed": seed} | changed)
        name = ", ".join(f"{name} {value:g}" for name, value in changed.items())
        table.add_row(name or "the default", f"{run['validation']:.4f}", f"{run['seconds']:.0f}")
    rich.print(table)


HORIZONS = (1, 10, 50, 200)


def with_history(asked: Holdout) -> np.ndarray:
    return np.diff(asked.context.histories.offsets) > 0


def time_split(seeds: list[int]) -> bool:
    split, told = split_of(TIME), Run(partial(tell, "sequence"))
    grids: tuple[tuple[Model, ...], ...] = (
        tuple(Popularity(days=days) for days in (None, 365, 120, 30, 14, 7, 3)),
        tuple(EASE(l2=l2) for l2 in (100.0, 200.0, 500.0, 1000.0, 2000.0)),
        (CoVisitation(),),
    )
    table = Table("model", "ndcg@10", "hr@10", "interval", title="global time split, last tenth")
    best: dict[str, np.ndarray] = {}

    def row(name: str, each: dict[str, np.ndarray]) -> None:
        low, high = bootstrap(each["ndcg@10"][:, None], 0, 1000)
        cells = [f"{value:.4f}" for value in (means(each)["ndcg@10"], means(each)["hr@10"])]
        table.add_row(name, *cells, f"{low[0]:.4f} to {high[0]:.4f}")

    for grid in grids:
        report = evaluate(grid, split, holdout="validation", resamples=1)
        order = [one.metrics["ndcg@10"].value for one in report.rows][-len(grid) :]
        chosen = grid[int(np.argmax(order))]
        each = judged(chosen, split.test)
        row(f"{chosen.name} {chosen.settings()}", each)
        best[chosen.name] = each["ndcg@10"]
    for name, asked in (("validation", split.validation), ("test", split.test)):
        print(f"{name}: {1 - with_history(asked).mean():.1%} of members without history")
    validated = {}
    for horizon in HORIZONS:
        tried = Sequence(epochs=3, horizon=horizon).fit(split.train, told)
        each = judged(tried, split.validation)
        validated[horizon] = means(each)["ndcg@10"]
        known = each["ndcg@10"][with_history(split.validation)].mean()
        what = f"{validated[horizon]:.4f} by validation, {known:.4f} of members with a history"
        print(f"horizon {horizon}, 3 epochs: {what}", flush=True)

    def run(horizon: int, seed: int) -> np.ndarray:
        model = Sequence(horizon=horizon, seed=seed).fit(split.train, told)
        each = judged(model, split.test)
        row(f"sequence, horizon {horizon}, seed {seed}", each)
        return each["ndcg@10"]

    wide = max(validated, key=validated.__getitem__)
    ours = {
        horizon: np.mean([run(horizon, seed) for seed in seeds], axis=0)
        for horizon in dict.fromkeys((1, wide))
    }
    met = True
    rich.print(table)
    for (horizon, each), (name, theirs) in product(ours.items(), best.items()):
        low, high = bootstrap((each - theirs)[:, None], 0, 1000)
        figure = f"{(each - theirs).mean():+.4f} [{low[0]:+.4f}, {high[0]:+.4f}]"
        what = f"time split, horizon {horizon}, NDCG@10 less that of {name}"
        if horizon == wide:
            met &= verdict(what, figure, "above 0", low[0] > 0)
        else:
            print(f"{what}: {figure}; not chosen by validation", flush=True)
    return met


# Serving

TITLES, EVENTS, REQUESTS = 3_416, 200, 400
"""Members: so few that the past of each is kept, see `KEPT` of the serving."""
TURN = 20
"""Requests in a turn, the first of which is not counted: the other's turn had the caches."""


def visitors(events: int, seed: int = 0) -> Histories:
    """Histories of so many events, one a day."""
    order = np.argsort(np.random.default_rng(seed).random((REQUESTS, TITLES)), axis=1)
    return Histories.of(order[:, :events].tolist(), [[DAY * d for d in range(events)]] * REQUESTS)


def shaped(settings: dict[str, Any], path: Path) -> None:
    """A model of that shape; what it has learned makes no difference to its speed."""
    titles = Vocabulary(map(str, range(TITLES)))
    few = visitors(EVENTS).rows(0, 64)
    Sequence(**settings | {"epochs": 1}).fit(Dataset.of(titles, few)).save(path)


def latency(path: Path) -> dict[str, Any]:
    """Of a model as it is served: from its file, in a process without JAX."""
    model = load_model(path)
    shorter, first, grown = (visitors(EVENTS + more) for more in (-1, 0, 1))
    others, yardstick = visitors(EVENTS // 2, seed=1), plain()
    for member in range(REQUESTS):  # a server that has been up for a second
        model.believe(Context(others.rows(member, member + 1), np.array([DAY * 300])))
        yardstick(others.titles_of(member))
    found: dict[str, Any] = {}
    visits = {
        "first visit": first,  # a window of 161 tokens, see `opening` of the windows
        "returning": first,
        "a fresh event": grown,
        "first visit, 199 events": shorter,  # the longest window, of 200
    }
    for number, (name, histories) in enumerate(visits.items()):
        ours, theirs = list[float](), list[float]()
        at = np.array([DAY * (300 + number)])
        for turn in range(0, REQUESTS, TURN):  # a machine's speed changes within a second
            members = range(turn, turn + TURN)
            asked = [Context(histories.rows(member, member + 1), at) for member in members]
            ours += [milliseconds(partial(model.believe, one)) for one in asked][1:]
            last = [histories.titles_of(member)[-EVENTS:] for member in members]
            theirs += [milliseconds(partial(yardstick, one)) for one in last][1:]
        found[name] = [np.quantile(taken, [0.5, 0.99]).tolist() for taken in (ours, theirs)]
    begin = time.perf_counter()
    for at in range(0, REQUESTS, 256):
        rows = first.rows(at, min(at + 256, REQUESTS))
        model.believe(Context(rows, np.full(len(rows), DAY * 300)))
    return {"visits": found, "members a second": REQUESTS / (time.perf_counter() - begin)}


def milliseconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return 1e3 * (time.perf_counter() - begin)


def plain() -> Callable[[np.ndarray], np.ndarray]:
    """A yardstick on the same machine: SASRec as one writes it down, d = 64, two blocks, one head,
    a window of 200, layer norms, ReLU, every token through both blocks, in NumPy.
    """
    rng, width, window = np.random.default_rng(0), 64, EVENTS
    titles = rng.normal(size=(TITLES, width)).astype(np.float32)
    places = rng.normal(size=(window, width)).astype(np.float32)
    matrices = rng.normal(0, width**-0.5, (2, 5, width, width)).astype(np.float32)
    unseen = np.triu(np.full((window, window), -1e9, np.float32), 1)

    def norm(x: np.ndarray) -> np.ndarray:
        apart = x - x.mean(-1, keepdims=True)
        return apart / np.sqrt((apart * apart).mean(-1, keepdims=True) + 1e-6)

    def scores(history: np.ndarray) -> np.ndarray:
        x = titles[history] + places[-len(history) :]
        ahead = unseen[: len(history), : len(history)]
        for query, key, value, up, down in matrices:
            h = norm(x)
            logits = (h @ query) @ (x @ key).T * np.float32(width**-0.5) + ahead
            shares = np.exp(logits - logits.max(-1, keepdims=True))
            h = norm(h + (shares / shares.sum(-1, keepdims=True)) @ (x @ value))
            x = h + np.maximum(h @ up, 0) @ down
        return titles @ norm(x)[-1]

    return scores


def serve(presets: list[str]) -> bool:
    columns = ("p50 ms", "p99 ms", "of a plain SASRec", "members/s in batches")
    table = Table("preset", "BLAS threads", "visit", *columns)
    judged: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for preset, threads in product(presets, (1, os.cpu_count())):
            path = Path(folder) / f"{preset}.npz"
            if not path.exists():
                shaped(PRESETS[preset], path)
            found = child("--latency", str(path), OPENBLAS_NUM_THREADS=str(threads))
            rate = f"{found['members a second']:.0f}"
            for visit, (ours, theirs) in found["visits"].items():
                cells = [f"{one:.2f}" for one in (*ours, ours[0] / theirs[0])]
                table.add_row(preset, str(threads), visit, *cells, rate)
            if preset == "default" and threads == 1:
                judged = found["visits"]
    rich.print(table)
    met = True
    for visit, ((p50, p99), (plain50, plain99)) in judged.items():
        what = f"{p50:.2f} / {p99:.2f} ms, a plain SASRec {plain50:.2f} / {plain99:.2f}"
        met &= verdict(visit, what, f"{P50} / {P99}", p50 <= P50 and p99 <= P99)
    return met


# Size


def one_big_pass() -> dict[str, Any]:
    """A pass over a large catalogue and long histories, in this very process."""
    rng, told = np.random.default_rng(0), []
    log = Histories.of(rng.integers(0, BIG, (WATCHERS, LONG)).tolist())
    titles = Vocabulary(map(str, range(BIG)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    Sequence(window=LONG, epochs=1).fit(Dataset.of(titles, log), Run(told.append))
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"rate": told[-1].rate, "MiB": (most - before) / 1024}


def size() -> None:
    found, plan = child("--big"), Config()
    softmax = plan.batch * LONG * BIG * 4 / 2**20
    rate = f"{found['rate']:,.0f} events a second"
    print(f"{BIG:,} titles, windows of {LONG:,}: {rate}, {found['MiB']:,.0f} MiB more")
    print(f"the scores of one step on all titles would take {softmax:,.0f} MiB, and their gradient")


# The race


def look(path: Path, split: Split) -> dict[str, Any]:
    """What RecTools had at a look; titles that it never met in training come last."""
    with np.load(path, allow_pickle=False) as file:
        rows = {member: row for row, member in enumerate(file["members"])}
        columns = split.train.titles.encode(file["known"])
        found: dict[str, Any] = {name: float(file[name]) for name in ("seconds", "epochs")}
        for name, asked in (("validation", split.validation), ("test", split.test)):
            scores = np.full((len(asked.members), len(split.train.titles)), -1e9, np.float32)
            order = [rows[member] for member in asked.members]
            scores[:, columns] = file[name][order] @ file["titles"].T
            batches = iter(np.split(scores, range(BATCH, len(scores), BATCH)))
            found[name] = means(metrics(lambda _, of=batches: next(of), asked))
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
    theirs = max(looks, key=lambda one: one["validation"]["ndcg@10"])
    for epochs in (2, 4, 8, Config().epochs):
        run = fit(question({"query_time": False, "epochs": epochs, "seed": seed}))
        cells = [f"{run[name]:.4f}" for name in ("validation", "ndcg@10", "hr@10")]
        table.add_row("sequence", f"{run['seconds']:.0f}", str(epochs), *cells)
        reached = run["validation"] >= theirs["validation"]["ndcg@10"]
        if reached or run["seconds"] > RACE * theirs["seconds"]:
            break
    rich.print(table)
    share = run["seconds"] / theirs["seconds"]
    reached &= run["ndcg@10"] >= theirs["test"]["ndcg@10"]
    what = f"{run['ndcg@10']:.4f} in {share:.2f} of the time"
    bar = f"{theirs['test']['ndcg@10']:.4f} in {RACE}"
    return verdict("beside RecTools", what, bar, reached and share <= RACE)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    asked = ("--tables", "--ablation", "--plan", "--time-split", "--serving", "--size")
    for flag in (*asked, "--large"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("--only", choices=[*SETTINGS, *CHANGES])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--peer-python")
    parser.add_argument("--peer-minutes", type=float, default=60.0)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--latency", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--big", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.latency:
        print(json.dumps(latency(given.latency)))
        return 0
    if given.big:
        print(json.dumps(one_big_pass()))
        return 0
    if "MATINEE_DATA" not in os.environ:
        print("set MATINEE_DATA to the folder that holds ml-1m/ratings.parquet")
        return 2
    if given.one:
        print(json.dumps(work(json.loads(given.one))))
        return 0
    print(f"{platform.machine()}, {os.cpu_count()} cores, numpy {np.__version__}", flush=True)
    chosen = any(getattr(given, flag.strip("-").replace("-", "_")) for flag in asked)
    usual, met = not (chosen or given.peer_python), True
    presets = list(PRESETS) if given.large else ["default"]
    if given.tables or usual:
        met &= tables(given.seeds, presets)
    if given.ablation:
        ablation(given.only, given.seeds)
    if given.plan:
        plan(given.seeds[0])
    if given.time_split:
        met &= time_split(given.seeds)
    if given.serving or usual:
        met &= serve(presets)
    if given.size:
        size()
    if given.peer_python:
        met &= race(given.peer_python, given.peer_minutes, given.seeds[0])
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
