"""Whether the intervals and the gate tell the truth, held against values that are known.

    python -m benchmarks.off_policy_truth [--repetitions 2000] [--figure docs/coverage.svg]

From a simulated world comes a table of true play probabilities: 500 members, 8 titles. A decision
draws a member at random, a logger shows one title, and the reward is 1 with the table's
probability. So the value of every policy is known. Logs are made anew in each repetition:

- fixed: the champion wrote it, a softmax over noisy scores, no propensity below 0.0375;
- adaptive: epsilon-greedy over the mean rewards so far, with epsilon falling from 1 to 0.02, so
  that titles which looked bad early are starved; propensities are chances given all before;
- as if fixed: the adaptive logger's propensities, but of another run, so that they know nothing of
  this log. What fails here too fails of large weights, and not of learning.

1. At any look: the share of logs in which an interval ever leaves the truth out. Bar for the
   anytime-valid ones: not above 5 %, by a one-sided binomial test at 1 %.
2. At one size: coverage. Bar under the fixed logger: 93.5 to 96.5 % (empirical Bernstein, a bound:
   95 % or more). Failures under the adaptive logger are shown; the bar there is that they are.
3. Widths of doubly robust intervals beside those without a model. Bar: shorter.
4. The gate, asked daily. Bars: a candidate exactly as good as the champion passes in at most 5 % of
   runs, by the same test; one 5 % better passes in 95 % of runs within the horizon.

All that estimates or bounds is what the package exports. Every draw follows from SEED. The bars are
for 2,000 repetitions (11 minutes of one core); with a hundred, some are missed by chance.
"""

import argparse
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import rich
from numpy.typing import NDArray
from rich.table import Table

from benchmarks.off_policy import verdict
from benchmarks.off_policy_truth_figure import Curve, draw
from benchmarks.off_policy_truth_gate import (
    DAILY,
    DAYS,
    HORIZON,
    false_passes,
    gate_curves,
    gate_runs,
    power,
    too_many,
)
from benchmarks.off_policy_truth_logs import (
    MEMBERS,
    SEED,
    TITLES,
    Floats,
    Integers,
    Log,
    Truth,
    as_if_fixed,
    fixed_logs,
    from_world,
    learned,
    visited_logs,
)
from matinee.evaluation.intervals import (
    Betting,
    ConfidenceSequence,
    Interval,
    RunningMean,
    bootstrap,
    empirical_bernstein,
    normal,
)
from matinee.evaluation.off_policy import (
    DR,
    IPS,
    SNIPS,
    Batch,
    DirectMethod,
    Replay,
    RidgePerAction,
    cross_fitted,
    doubling,
    predictable,
)

Spans = dict[str, Floats]
"""By method, low and high ends and values: [runs, looks, 3], or [runs, 3] at one look."""
Bools = NDArray[np.bool_]

WITHIN = (0.935, 0.965)
SIZE, LOOKS = 8192, 30
VISITS, RESAMPLES, ADAPTIVE_SIZE = 1500, 400, 4096
K = 3.0
"""How far sequences count predictions, chosen on logs of another seed. Weights go up to 16 under
the fixed logger, and up to 362 under the adaptive one."""
NORMAL_FROM = 256
"""Nobody trusts a normal interval with fewer decisions: earlier misses of it do not count."""

SEQUENCES: dict[str, Any] = {
    "anytime-valid (default)": RunningMean(),
    "anytime-valid, betting": Betting(),
    "anytime-valid, doubly robust": RunningMean(k=K),
    "normal, IPS": IPS(),
}
PLAIN, BET, ROBUST, PEEKED = SEQUENCES


# 1. At any look


def sizes_of(size: int) -> Integers:
    return np.unique(np.geomspace(16, size, LOOKS).astype(np.int64))


def at_looks(truth: Truth, logs: Iterable[Log], sizes: Integers) -> Spans:
    """What each of SEQUENCES says after so many decisions."""
    found: dict[str, list[Any]] = {name: [] for name in SEQUENCES}
    for log in logs:
        batch, largest = log.batch(truth.personal, past(truth, log)), log.largest(truth.personal)
        for name, start in SEQUENCES.items():
            found[name].append(list(followed(start, batch, largest, sizes)))
    return {name: np.array(runs) for name, runs in found.items()}


def past(truth: Truth, log: Log) -> Floats:
    """Predictions of a model fitted on decisions before, after 128 of them, 256, 512 and so on."""
    when = np.arange(len(log.member))
    return predictable(
        RidgePerAction(TITLES),
        truth.view[log.member],
        log.action,
        log.reward,
        at=when,
        closed_at=when,
        refits=doubling(when),
        prior=0.1,
    )


def followed(start: Any, batch: Batch, largest: Floats, sizes: Integers) -> Iterator[Any]:
    seen = start
    for begin, end in pairwise([0, *sizes.tolist()]):
        part = slice(begin, end)
        if isinstance(seen, ConfidenceSequence):
            seen = seen.add(batch.rows(part), largest[part])
            yield ends(seen.interval())
        else:
            seen = seen.add(batch.rows(part))
            yield ends(normal(seen.result()))


def ends(interval: Interval) -> tuple[float, float, float]:
    """NaN where bounds crossed: the whole range stands there then, but one of them had missed."""
    if "void" in interval.method:
        return np.nan, np.nan, np.nan
    return interval.low, interval.high, interval.value


def ever_missed(spans: Spans, value: float, sizes: Integers) -> dict[str, Bools]:
    """Whether each run [R, L] had left the value out by then."""
    ever = {}
    for name, each in spans.items():
        missed = missing(each, value)
        if name == PEEKED:
            missed &= sizes >= NORMAL_FROM
        ever[name] = np.logical_or.accumulate(missed, axis=1)
    return ever


def missing(spans: Floats, value: float) -> Bools:
    """Where an interval leaves the value out; one of NaN does."""
    return ~((spans[..., 0] <= value) & (value <= spans[..., 1]))


def any_look(logger: str, missed: dict[str, Bools]) -> bool:
    met = True
    for name, ever in missed.items():
        misses, runs = int(ever[:, -1].sum()), len(ever)
        what, figure = f"any look, {logger}, {name}", f"{misses / runs:.2%} of {runs} logs missed"
        if name == PEEKED:
            met &= verdict(what, figure, "failure shown, above 5 %", too_many(misses, runs))
        else:
            met &= verdict(what, figure, "5 %", not too_many(misses, runs))
    return met


# 2. At one size


def at_one_size(truth: Truth, logs: Iterable[Log], resamples: int) -> Spans:
    """What each method says of whole logs, with cross-fitted predictions."""
    found: dict[str, list[Any]] = {}
    policy = truth.personal
    for run, log in enumerate(logs):
        view = truth.view[log.member]
        q = cross_fitted(RidgePerAction(TITLES), view, log.action, log.reward, log.cluster)
        batch, wrong = log.batch(policy, q), log.batch(policy, 1 - q)
        named = dict(intervals(batch, resamples, run))
        named["normal, DR, predictions upside down"] = normal(DR().add(wrong).result())
        if resamples:
            terms, most = IPS().terms(batch)[:, 0], float((policy / truth.champion).max())
            bound = empirical_bernstein(terms, 0.0, most, cluster=log.cluster)
            named["empirical Bernstein, IPS"] = bound
        for name, interval in named.items():
            found.setdefault(name, []).append(ends(interval))
    return {name: np.array(each) for name, each in found.items()}


def intervals(batch: Batch, resamples: int, seed: int) -> Iterator[tuple[str, Interval]]:
    for estimator in (IPS(), SNIPS(), DR()):
        label = estimator.name.upper()
        yield f"normal, {label}", normal(estimator.add(batch).result())
        if resamples:
            drawn = bootstrap(estimator, batch, resamples=resamples, seed=seed)
            yield f"bootstrap, {label}", drawn
    yield "normal, direct method", normal(DirectMethod().add(batch).result())


def of_one_title(logs: Iterable[Log]) -> Spans:
    """Of the mean reward of the best title, always shown: by IPS, and where the log showed it."""
    always = np.eye(TITLES)[np.zeros(MEMBERS, np.int64)]
    found: dict[str, list[Any]] = {"normal, IPS, one title": [], "normal, Replay, one title": []}
    for log in logs:
        batch = log.batch(always)
        for each, estimator in zip(found.values(), (IPS(), Replay()), strict=True):
            each.append(ends(normal(estimator.add(batch).result())))
    return {name: np.array(each) for name, each in found.items()}


def coverage(logger: str, spans: Spans, value: float) -> dict[str, float]:
    """The share of runs in which each method covers the value; prints it with its mean error."""
    table = Table("interval", "covers", "mean width", "mean error")
    table.title = f"At one size, logger {logger}"
    covers = {}
    for name, each in spans.items():
        covers[name] = float(1 - missing(each, value).mean())
        width, error = np.nanmean(each[:, 1] - each[:, 0]), np.nanmean(each[:, 2]) - value
        table.add_row(name, f"{covers[name]:.1%}", f"{width:.4f}", f"{error:+.4f}")
    rich.print(table)
    return covers


def covers_within(covers: dict[str, float]) -> bool:
    met = True
    for name, share in covers.items():
        what = f"one size, fixed, {name}"
        if "Bernstein" in name:
            met &= verdict(what, f"{share:.2%}", "95 % or more", share >= 0.95)
        elif "direct" not in name:
            within = WITHIN[0] <= share <= WITHIN[1]
            met &= verdict(what, f"{share:.2%}", "93.5 to 96.5 %", within)
    return met


def failures(adaptive: dict[str, float], control: dict[str, float], runs: int) -> bool:
    met = True
    for name, share in adaptive.items():
        if "direct" in name:
            continue
        figure = f"{share:.2%}, as if fixed {control[name]:.2%}"
        failed = too_many(round((1 - share) * runs), runs)
        met &= verdict(f"one size, adaptive, {name}", figure, "failure shown, below 95 %", failed)
    return met


# 3. Widths


def mean_widths(spans: Floats) -> Floats:
    widths: Floats = np.nanmean(spans[..., 1] - spans[..., 0], axis=0)
    return widths


def shorter(looked: Spans, sizes: Integers, fixed: Spans) -> bool:
    widths = {name: mean_widths(each) for name, each in looked.items()}
    table = Table("decisions", *widths, title="Mean widths, logger fixed")
    for look in range(len(sizes) - 1, -1, -5)[::-1]:
        table.add_row(f"{sizes[look]:,}", *(f"{each[look]:.4f}" for each in widths.values()))
    rich.print(table)
    ips, dr = (float(mean_widths(fixed[f"normal, {name}"])) for name in ("IPS", "DR"))
    met = verdict("doubly robust over IPS, normal", f"{dr / ips:.3f}", "below 1", dr < ips)
    ratio = float(widths[ROBUST][-1] / widths[PLAIN][-1])
    what = f"doubly robust over IPS, anytime-valid at {sizes[-1]:,}"
    return met & verdict(what, f"{ratio:.3f}", "below 1", ratio < 1)


# All of it


def study(runs: int, figure: Path | None) -> bool:
    truth = from_world()
    value, champion = truth.value(truth.personal), truth.value(truth.champion)
    print(f"true values: champion {champion:.4f}, candidate {value:.4f}")
    sizes = sizes_of(SIZE)

    said(f"any look, {len(sizes)} looks at 16 to {SIZE:,} decisions, logger fixed")
    looked = at_looks(truth, fixed_logs(truth, runs, SIZE), sizes)
    ever = {"fixed": ever_missed(looked, value, sizes)}
    met = any_look("fixed", ever["fixed"])
    said("the same, logger adaptive")
    adaptive = learned(truth, runs, SIZE)
    ever["adaptive"] = ever_missed(at_looks(truth, adaptive.logs(SIZE), sizes), value, sizes)
    met &= any_look("adaptive", ever["adaptive"])

    said(f"one size, {VISITS:,} members, some {3 * VISITS:,} decisions, logger fixed")
    fixed = at_one_size(truth, visited_logs(truth, runs, VISITS), RESAMPLES)
    met &= covers_within(coverage("fixed", fixed, value))
    said(f"one size, {ADAPTIVE_SIZE:,} decisions, logger adaptive, and as if fixed")
    control = as_if_fixed(truth, adaptive)
    covers = starved(truth, "adaptive", partial(adaptive.logs, ADAPTIVE_SIZE))
    expected = starved(truth, "as if fixed", partial(control.logs, ADAPTIVE_SIZE))
    met &= failures(covers, expected, runs)
    met &= shorter(looked, sizes, fixed)

    said(f"the gate, {DAYS} days of {DAILY} decisions, a candidate that is no better")
    equal = gate_runs(truth, truth.worth(champion, truth.uniform), runs, DAYS)
    met &= false_passes(equal)
    better = {}
    for name, base in (("unlike the champion", truth.uniform), ("much like it", truth.champion)):
        said(f"the gate, a candidate 5 % better, {name}")
        candidate = truth.worth(1.05 * champion, base)
        better[name] = gate_runs(truth, candidate, max(runs // 4, 1), HORIZON)
        met &= power(name, better[name])
    if figure:
        figure.write_text(draw(missed_curves(ever, sizes), gate_curves(equal, better)))
    said("done")
    return met


def said(what: str) -> None:
    print(f"-- {time.process_time():.0f} s of CPU: {what}", flush=True)


def starved(truth: Truth, logger: str, logs: Callable[[], Iterator[Log]]) -> dict[str, float]:
    """Coverage of the candidate's value, and of one title's."""
    covers = coverage(logger, at_one_size(truth, logs(), 0), truth.value(truth.personal))
    best = float(truth.plays[:, 0].mean())
    return covers | coverage(logger, of_one_title(logs()), best)


def missed_curves(ever: dict[str, dict[str, Bools]], sizes: Integers) -> dict[str, list[Curve]]:
    def curve(name: str, missed: Bools) -> Curve:
        shown = sizes >= (NORMAL_FROM if name == PEEKED else 0)
        return Curve(name, sizes[shown], missed.mean(axis=0)[shown])

    return {
        logger: [curve(name, missed) for name, missed in each.items()]
        for logger, each in ever.items()
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--repetitions", type=int, default=2000)
    parser.add_argument("--figure", type=Path)
    arguments = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, numpy {np.__version__}, seed {SEED}")
    return 0 if study(arguments.repetitions, arguments.figure) else 1


if __name__ == "__main__":
    raise SystemExit(main())
