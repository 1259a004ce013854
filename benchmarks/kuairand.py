"""Real watches: what members of KuaiRand-Pure looked at in the eight days that follow.

    MATINEE_DATA=... python -m benchmarks.kuairand [--tune] [--seeds 3] [--settings '{"epochs": 4}']

Learned from: histories up to 2022-04-24 and the timed impressions of ``val`` from before the first
of ``test``. Asked: every member who watched something new in ``test``, newcomers too; all titles
of the log are ranked but those seen, which are the ones the member had played at all, however
briefly. A title is asked for once, with the gain of the first play that has any. Two targets, with
the gain g(j) of title j:

- *long views*: g = 1 for the plays that the log marks ``long_view``, the only ones asked for;
- *watch ratio*: g = min(play time / length, 1) of every play of a video whose length is known.

With :math:`j_k` the title at place k and :math:`g_{(k)}` the gains of a member, greatest first,

    NDCG@10 = sum_{k<=10} g(j_k) / log2(k + 1)  /  sum_{k<=10} g_(k) / log2(k + 1)

(Jarvelin and Kekalainen, "Cumulated gain-based evaluation of IR techniques", TOIS 2002, the gain
linear); HR@10 is the share of members with a title asked for among the first ten, coverage@10 the
share of titles that stands in the first ten of anyone. Intervals are bootstrap at 95 %, members
resampled; of several seeds each member's mean is taken. What is left out of the sequence model
("...") is fitted with the first seed alone.

What the data does not say: a history is the last 50 videos and, of up to 50 long views, those from
before; its plays have neither time nor length. They are spread evenly up to ``last_time_ms``, at
the member's own rate (``history_len`` plays since 2022-04-08 in Beijing). A play weighs min(play
time / length, 1), at least 0.1; one without length, such as those of histories, 1 if it was a long
view and 0.1 if not. For the sequence model a target counts for half as much with every week that
it is old; popularity has its window of days, and EASE knows no weights, so both are also told of
long views alone. Signals: play, click, thumb_up for a like, complete for a long view.

Bar: the interval of the difference of the sequence model to popularity, co-visitation and EASE lies
above zero, in NDCG@10 on both targets. ``--tune`` prints the grids on validation instead: learned
from before the last two days of ``val``, asked for those; the test is not touched.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import rich
from numpy.typing import NDArray
from rich.table import Table

from matinee.evaluation import Split, global_time_split
from matinee.evaluation.ranking import bootstrap, ranked
from matinee.features.watched import LEAST, SIGNALS
from matinee.lake.importers.kuairand import HISTORIES, IMPRESSION, TEST, VALIDATION, KuaiRand
from matinee.models import EASE, CoVisitation, Dataset, Holdout, Model, Popularity, Sequence
from matinee.models.data import InMemory

OURS = "sequence"
PLACES, BATCH = 10, 256
LOG_BEGINS = datetime(2022, 4, 7, 16, tzinfo=UTC)
VALIDATED = timedelta(days=2)
TARGETS = {"long views": "long", "watch ratio": "ratio"}
BIT = {name: 1 << number for number, name in enumerate(SIGNALS)}
SETTINGS = {
    "window": 50,
    "epochs": 4,
    "batch": 32,
    "learning_rate": 2e-3,
    "negatives": 512,
    "smoothing": 0.5,
    "half_life": 7.0,
    "horizon": 50,
}
"""A week is half a life, since what is popular drifts within the log; asked for are eight days."""
GRID: tuple[dict[str, Any], ...] = (
    {},
    {"learning_rate": 4e-3},
    {"batch": 8},
    {"smoothing": 0.0},
    {"smoothing": 1.0},
    {"window": 100},
    {"horizon": 10},
    {"horizon": 1},
    {"half_life": 3.0},
    {"half_life": 0.0},
)
"""What is tried in place of these."""

Values = NDArray[np.float64]


def plays(importer: KuaiRand) -> pl.DataFrame:
    """Everything that was played: user_id, video_id, time_ms, ratio (null where unknown) and the
    booleans long, like, click.
    """
    return pl.concat([histories(importer.folder), impressions(importer)])


def histories(folder: Path) -> pl.DataFrame:
    """The histories, each title once, at its last place."""
    titles = pl.col("long_watch_seq").list.concat("watch_seq")
    rows = pl.read_parquet(folder / HISTORIES).with_columns(video_id=titles).explode("video_id")
    rows = rows.unique(["user_id", "video_id"], keep="last", maintain_order=True)
    since = pl.col("last_time_ms") - int(LOG_BEGINS.timestamp() * 1000)
    apart = since // pl.max_horizontal("history_len", pl.len().over("user_id"))
    back = pl.int_range(pl.len() - 1, -1, -1).over("user_id")
    return rows.select(
        "user_id",
        "video_id",
        time_ms=pl.col("last_time_ms") - apart * back,
        ratio=pl.lit(None, pl.Float64),
        long=pl.col("long_watch_seq").list.contains(pl.col("video_id")),
        like=pl.col("like_seq").list.contains(pl.col("video_id")),
        click=pl.lit(value=False),
    )


def impressions(importer: KuaiRand) -> pl.DataFrame:
    """The timed impressions that were played."""
    columns = (*IMPRESSION, "long_view", "is_like")
    parts = [importer.impressions(name, columns).collect() for name in (VALIDATION, TEST)]
    length = pl.col("duration_ms")
    return (
        pl.concat(parts)
        .unique(["user_id", "video_id", "time_ms"], keep="first", maintain_order=True)
        .filter(pl.col("play_time_ms") > 0)
        .select(
            "user_id",
            "video_id",
            "time_ms",
            ratio=pl.when(length > 0).then((pl.col("play_time_ms") / length).clip(0, 1)),
            long=pl.col("long_view") == 1,
            like=pl.col("is_like") == 1,
            click=pl.col("is_click") == 1,
        )
    )


def split(rows: pl.DataFrame, at: int, gain: str) -> Split:
    """Learn from the plays before `at` (milliseconds), each by its weight; ask for those after,
    each with its gain, "long" or "ratio", as weight.
    """
    weight = pl.coalesce("ratio", pl.col("long").cast(pl.Float64)).clip(LEAST, 1.0)
    gains = pl.col(gain).cast(pl.Float64).fill_null(0.0)
    bits = {"complete": "long", "thumb_up": "like", "click": "click"}
    signals = sum(
        (pl.col(name).cast(pl.UInt8) * BIT[bit] for bit, name in bits.items()), BIT["play"]
    )
    frame = rows.select(
        member_id=pl.col("user_id").cast(pl.String),
        title_id=pl.col("video_id").cast(pl.String),
        ts=pl.col("time_ms") * 1000,
        seq=pl.int_range(pl.len()),
        weight=pl.when(pl.col("time_ms") < at).then(weight).otherwise(gains),
        signals=signals.cast(pl.UInt8),
    )
    return global_time_split(frame, datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=at))


@dataclass(frozen=True)
class Judged:
    """NDCG@10 and HR@10 of each member [M], and coverage@10."""

    ndcg: Values
    hit: Values
    coverage: float

    @classmethod
    def mean(cls, of: list["Judged"]) -> "Judged":
        """The mean over seeds, member by member."""
        ndcg, hit = (
            np.mean([getattr(one, name) for one in of], axis=0) for name in ("ndcg", "hit")
        )
        return cls(ndcg, hit, float(np.mean([one.coverage for one in of])))


def judge(model: Model, asked: Holdout) -> Judged:
    """Rank the catalogue for every member asked."""
    size, places = len(model.titles), []
    ndcg, hit = [], []
    for context, targets in asked.batches(BATCH):
        gains = np.zeros((len(context), size))
        gains[targets.members(), targets.titles] = targets.weights
        seen = context.histories.matrix(size).toarray() > 0
        places.append(ranked(model.believe(context).mean, seen, gains > 0, PLACES))
        own = np.take_along_axis(gains, places[-1], axis=1)
        ndcg.append(graded_ndcg(own, gains))
        hit.append((own > 0).any(axis=1).astype(float))
    shown = np.unique(np.concatenate(places))
    return Judged(np.concatenate(ndcg), np.concatenate(hit), len(shown) / size)


def graded_ndcg(own: Values, gains: Values) -> Values:
    """NDCG@10 [M] of lists with these gains in order [M, 10], of members with gains [M, V].

    >>> graded_ndcg(np.array([[0.0, 0.5]]), np.array([[0.5, 0.0, 1.0]])).round(3)
    array([0.24])
    """
    discounts = 1 / np.log2(np.arange(PLACES) + 2.0)
    best = -np.sort(-gains, axis=1)[:, :PLACES]
    return (own @ discounts[: own.shape[1]]) / (best @ discounts[: best.shape[1]])


def learned_from(
    train: Dataset, *, watch: bool = True, signals: bool = True, long: bool = False
) -> Dataset:
    """The same plays, or without what `watch` says of how long they were, or their signals, or with
    the long views alone.
    """
    (shard,) = train.shards
    known = shard.load()
    if long:
        known = known.where((known.signals & BIT["complete"]) > 0)
    weights = known.weights if watch else np.ones_like(known.weights)
    known = replace(known, weights=weights, signals=known.signals[: None if signals else 0])
    return replace(train, shards=[InMemory(known)])


@dataclass(frozen=True)
class Row:
    """A model of the table: made from a seed, learning from a variant of the data."""

    name: str
    make: Callable[[int], Model]
    data: dict[str, Any]
    seeds: int = 1

    def judged(self, train: Dataset, asked: list[Holdout]) -> list[Judged]:
        """On each target, the mean over seeds."""
        found = []
        for seed in range(self.seeds):
            start = time.perf_counter()
            model = self.make(seed).fit(learned_from(train, **self.data))
            fitted = time.perf_counter() - start
            found.append([judge(model, one) for one in asked])
            told = ", ".join(f"{one.ndcg.mean():.4f}" for one in found[-1])
            print(f"{self.name}, seed {seed}: {fitted:.0f} s to fit, NDCG@10 {told}", flush=True)
        return [Judged.mean(list(each)) for each in zip(*found, strict=True)]


def baselines() -> Iterator[Row]:
    yield Row("popularity", lambda _: Popularity(days=14), {})
    yield Row("co-visitation", lambda _: CoVisitation(window=20, half_life=20.0), {})
    yield Row("ease", lambda _: EASE(), {})
    yield Row("popularity of long views", lambda _: Popularity(days=14), {"long": True})
    yield Row("ease of long views", lambda _: EASE(), {"long": True})


def sequences(settings: dict[str, Any], seeds: int) -> Iterator[Row]:
    def make(seed: int, **changed: Any) -> Sequence:
        return Sequence(**{**SETTINGS, **settings, **changed, "seed": seed})

    yield Row(OURS, make, {}, seeds)
    yield Row("... all ages alike", lambda seed: make(seed, half_life=0.0), {})
    yield Row("... all plays alike", make, {"watch": False})
    yield Row("... no signals", make, {"signals": False})


def grid() -> Iterator[Row]:
    for days in (None, 14, 7, 5, 3, 2, 1):
        yield Row(f"popularity, {days} days", lambda _, days=days: Popularity(days=days), {})
    for window, alpha in ((5, 0.25), (10, 0.25), (20, 0.0), (20, 0.25), (20, 0.5)):
        chosen = {"window": window, "alpha": alpha, "half_life": float(window)}
        yield Row(f"co-visitation {chosen}", lambda _, chosen=chosen: CoVisitation(**chosen), {})
    for l2, long in product((100.0, 200.0, 500.0, 1000.0), (False, True)):
        name = f"ease, l2 {l2:g}{', of long views' * long}"
        yield Row(name, lambda _, l2=l2: EASE(l2), {"long": long})
    for chosen in GRID:
        yield _tried({**SETTINGS, **chosen}, {})
    yield _tried(SETTINGS, {"watch": False})


def _tried(settings: dict[str, Any], data: dict[str, Any]) -> Row:
    return Row(f"sequence {settings} {data}", lambda seed: Sequence(**settings, seed=seed), data)


def table(rows: list[tuple[str, Judged]], title: str) -> bool:
    """Prints the figures with intervals, and whether the bar is met."""
    named = dict(rows)
    pairs = [(OURS, name) for name in named if name != OURS and OURS in named]
    pairs += [(name, "ease") for name in named if name.startswith("...")]
    columns = [values for _, one in rows for values in (one.ndcg, one.hit)]
    columns += [named[one].ndcg - named[other].ndcg for one, other in pairs]
    values = np.stack(columns, axis=1)
    cells = iter(intervals(values))
    shown = Table("", "NDCG@10", "HR@10", "coverage@10", title=title)
    for name, one in rows:
        shown.add_row(name, next(cells)[0], next(cells)[0], f"{one.coverage:.3f}")
    met = True
    for one, other in pairs:
        text, low = next(cells)
        shown.add_row(f"{one} - {other}", text, "", "")
        met &= low > 0 or "..." in one + other
    rich.print(shown)
    return met


def intervals(values: Values) -> Iterable[tuple[str, float]]:
    """Mean and interval as text, and the lower bound, of each column [M, Q]."""
    low, high = bootstrap(values, seed=0, resamples=1000)
    for mean, bottom, top in zip(values.mean(axis=0), low, high, strict=True):
        yield f"{mean:.4f} [{bottom:.4f}, {top:.4f}]", float(bottom)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--tune", action="store_true")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--settings", type=json.loads, default={}, help="of sequence, as JSON")
    arguments = parser.parse_args()
    if "MATINEE_DATA" not in os.environ:
        print("set MATINEE_DATA to the folder that holds kuairand-pure/")
        return 2
    importer = KuaiRand(Path(os.environ["MATINEE_DATA"]) / "kuairand-pure")
    rows, at = plays(importer), importer.test_begins
    if arguments.tune:
        rows = rows.filter(pl.col("time_ms") < at)
        at -= VALIDATED // timedelta(milliseconds=1)
    splits = [split(rows, at, gain) for gain in TARGETS.values()]
    train, asked = splits[0].train, [one.test for one in splits]
    print(f"{platform.machine()}, {os.cpu_count()} cores, numpy {np.__version__}")
    for name, one in zip(TARGETS, asked, strict=True):
        empty = int((np.diff(one.context.histories.offsets) == 0).sum())
        print(f"{name}: {len(one.members)} members asked, {empty} without history")
    tried = (
        grid()
        if arguments.tune
        else (*baselines(), *sequences(arguments.settings, arguments.seeds))
    )
    found = [(row.name, row.judged(train, asked)) for row in tried]
    met = True
    for place, name in enumerate(TARGETS):
        met &= table([(row, judged[place]) for row, judged in found], name)
    if not arguments.tune:
        print(f"bar, above every other model on both targets: {'met' if met else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
