"""The gate asked daily, by candidates of known worth: for ``benchmarks.off_policy_truth``."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import binomtest

from benchmarks.off_policy import verdict
from benchmarks.off_policy_truth_figure import Curve
from benchmarks.off_policy_truth_logs import SEED, TITLES, Floats, Integers, Truth, fixed_log
from matinee.evaluation import Evidence, Rules, judge, spent
from matinee.evaluation.intervals import PairedDifference, normal
from matinee.evaluation.off_policy import IPS, Batch, Calibration, Weights

LEVEL = 0.05
DAILY, DAYS, HORIZON = 500, 60, 120
ALPHA = spent(LEVEL, 1)


def first_passes(truth: Truth, candidate: Floats, days: int, seed: Any) -> tuple[int, int]:
    """The day on which the gate first passes: by the paired sequence, and by a normal interval.

    One past the last where it never does.
    """
    rng = np.random.default_rng(seed)
    paired, naive = PairedDifference(alpha=ALPHA), IPS()
    weights, calibration = Weights.none(), Calibration(TITLES)
    first = [days + 1, days + 1]
    for day in range(1, days + 1):
        log = fixed_log(truth, DAILY, rng)
        ours, champion = log.batch(candidate), log.batch(truth.champion)
        paired, naive = paired.add(ours, champion), naive + IPS().add(gains(ours, champion))
        weights = weights.add(ours.weight, ours.outside)
        calibration = calibration.add(log.action, ours.propensity)
        support, calibrated = weights.result(), calibration.result().calibrated
        for kind, interval in enumerate((paired.interval(), normal(naive.result(), ALPHA))):
            evidence = Evidence(
                interval,
                ALPHA,
                decisions=support.decisions,
                effective=support.effective,
                outside=support.outside,
                calibrated=calibrated,
                closed=True,
                later=True,
            )
            if judge(evidence, Rules(guardrails=())).outcome == "passes":
                first[kind] = min(first[kind], day)
        if max(first) <= days:
            break
    return first[0], first[1]


def gains(ours: Batch, champion: Batch) -> Batch:
    """What the candidate gains in each decision, as rewards of weight 1."""
    gain = (ours.weight - champion.weight) * ours.reward
    return Batch.of(gain, np.ones(len(gain)), np.ones(len(gain)))


def gate_runs(truth: Truth, candidate: Floats, runs: int, days: int) -> Integers:
    """First days [R, 2] of passing, in so many runs."""
    each = (first_passes(truth, candidate, days, (SEED, 7, days, run)) for run in range(runs))
    return np.array(list(each))


def false_passes(first: Integers) -> bool:
    runs, over = len(first), f"of {len(first)} runs, {DAYS} daily looks"
    wrong, naive = (first <= DAYS).sum(axis=0).tolist()
    figure = f"{wrong / runs:.2%} {over}"
    met = verdict("gate, no better, passes", figure, "5 %", not too_many(wrong, runs))
    what, figure = "gate, no better, passes by a normal interval", f"{naive / runs:.2%} {over}"
    return met & verdict(what, figure, "failure shown, above 5 %", too_many(naive, runs))


def power(name: str, first: Integers) -> bool:
    """After how many decisions so many runs have passed."""
    runs = len(first)
    days = [int(np.sort(first[:, 0])[int(np.ceil(share * runs)) - 1]) for share in (0.8, 0.95)]
    sizes = [f"{day * DAILY:,}" if day <= HORIZON else "none" for day in days]
    figure = f"80 % of {runs} runs at {sizes[0]} decisions, 95 % at {sizes[1]}"
    bar = f"95 % at {HORIZON * DAILY:,}"
    return verdict(f"gate, 5 % better, {name}, passes", figure, bar, days[1] <= HORIZON)


def gate_curves(equal: Integers, better: dict[str, Integers]) -> dict[str, list[Curve]]:
    def passed(name: str, first: Integers, days: int) -> Curve:
        day = np.arange(1, days + 1)
        return Curve(name, day * DAILY, (first[:, None] <= day).mean(axis=0))

    kinds = zip(("anytime-valid", "normal"), equal.T, strict=True)
    return {
        "no better": [passed(name, first, DAYS) for name, first in kinds],
        "5 % better": [passed(name, each[:, 0], HORIZON) for name, each in better.items()],
    }


def too_many(misses: int, runs: int) -> bool:
    """Whether so many are above the level, by a one-sided binomial test at 1 %."""
    return bool(binomtest(misses, runs, LEVEL, alternative="greater").pvalue < 0.01)
