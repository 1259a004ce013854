"""Who is in which arm: how fast it is said, and whether chance alone would spread members so.

    python -m benchmarks.allocation [--members 1000000] [--salts 5]

Microseconds of one answer with 1, 10 and 50 experiments at the same time on one surface, all in one
layer, without holdouts and with two, one at a time and many at once: time of one core, medians of
seven runs over 20,000 members. Then, for each of five salts, chi-square of a million members over
1,000 buckets of a layer and over three arms, and of the joint tables of 20 by 20 buckets of two
layers, of the arms of two experiments in these layers, and of the arms of two experiments that
follow each other in one slice. Holm's procedure holds the chance at 1 % that a sound hash misses
the bar.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import numpy as np
import rich
from rich.table import Table
from scipy.stats import chi2_contingency, chisquare

from matinee.evaluation.off_policy.multiple import holm
from matinee.experiments.allocation import allocator
from matinee.experiments.plan import Allocator, Arm, Experiment, Holdout, Layer, Plan

BAR, LEVEL = 5.0, 0.01
"""Microseconds of one answer at most; the chance that a sound hash is called uneven."""
START = datetime(2026, 1, 1, tzinfo=UTC)
SHARES = (0.5, 0.3, 0.2)
BUCKETS, SIDE, TIMED, RUNS = 1_000, 20, 20_000, 7
HELD = (Holdout(name="lasting", share=0.01), Holdout(name="old", share=0.01, surface="titles"))


def experiment(name: str, surface: str, layer: str, part: tuple[float, float]) -> Experiment:
    arms = tuple(
        Arm(name=f"arm {place}", share=share, serves=f"{surface}@{place + 1}")
        for place, share in enumerate(SHARES)
    )
    return Experiment(name=name, surface=surface, layer=layer, arms=arms, start=START, slice=part)


def plan(count: int, holdouts: tuple[Holdout, ...]) -> Plan:
    parts = [(place / count, (place + 1) / count) for place in range(count)]
    return Plan(
        experiments=tuple(experiment(f"e{part}", "titles", "ranking", part) for part in parts),
        layers=(Layer(name="ranking"),),
        holdouts=holdouts,
    )


def each(work: Callable[[], object]) -> float:
    """Microseconds of one core for a member, the median of runs over all of them."""
    taken = []
    for _ in range(RUNS):
        begin = time.process_time()
        work()
        taken.append(time.process_time() - begin)
    return statistics.median(taken) / TIMED * 1e6


def speed() -> float:
    """The slowest answer, in microseconds; prints all."""
    members = [f"m{number:08d}" for number in range(TIMED)]
    told = [["NL"] * TIMED, ["tv"] * TIMED]
    table = Table("experiments", "holdouts", "one, us", "of many, us")
    slowest = 0.0
    for holdouts in ((), HELD):
        for count in (1, 10, 50):
            who = Allocator(plan(count, holdouts), b"a salt of a service")

            def one_by_one(who: Allocator = who) -> None:
                for member in members:
                    who.of(member, "titles", START, "NL", "tv")

            one = each(one_by_one)
            many = each(lambda who=who: who.many(members, "titles", START, *told))
            slowest = max(slowest, one)
            table.add_row(f"{count}", f"{len(holdouts)}", f"{one:.2f}", f"{many:.2f}")
    rich.print(table)
    return slowest


def even(salt: bytes, members: list[str]) -> dict[str, tuple[float, int, float]]:
    """Chi-square, degrees of freedom and p-value by what is looked at."""
    ranking, pictures = (
        np.array([place(member) for member in members])
        for place in (allocator(salt, "layer:ranking"), allocator(salt, "layer:pictures"))
    )
    whole = (0.0, 1.0)
    before, after, beside = (
        Allocator(
            Plan(experiments=(experiment(*about, whole),), layers=(Layer(name=about[2]),)), salt
        )
        .many(members, about[1], START)
        .codes
        - 1
        for about in (
            ("first", "titles", "ranking"),
            ("second", "titles", "ranking"),
            ("faces", "artwork", "pictures"),
        )
    )
    coarse = [(places * SIDE).astype(int) for places in (ranking, pictures)]
    return {
        f"{BUCKETS:,} buckets of a layer": flat((ranking * BUCKETS).astype(int), [1.0] * BUCKETS),
        "three arms": flat(before, SHARES),
        f"two layers, {SIDE} x {SIDE}": joint(*coarse),
        "arms in two layers": joint(before, beside),
        "arms one after the other": joint(before, after),
    }


def flat(codes: np.ndarray, shares: Sequence[float]) -> tuple[float, int, float]:
    expected = len(codes) * np.array(shares) / sum(shares)
    found = chisquare(np.bincount(codes, minlength=len(shares)), expected)
    return float(found.statistic), len(shares) - 1, float(found.pvalue)


def joint(one: np.ndarray, other: np.ndarray) -> tuple[float, int, float]:
    counts = np.zeros((one.max() + 1, other.max() + 1))
    np.add.at(counts, (one, other), 1)
    found = chi2_contingency(counts, correction=False)
    return float(found.statistic), int(found.dof), float(found.pvalue)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--members", type=int, default=1_000_000)
    parser.add_argument("--salts", type=int, default=5)
    given = parser.parse_args()
    slowest = speed()
    members = [f"m{number:08d}" for number in range(given.members)]
    found = [even(f"salt {number}".encode(), members) for number in range(given.salts)]
    table = Table(f"{given.members:,} members", "degrees", "chi-square", "p by salt")
    for name, (_, freedom, _) in found[0].items():
        least, most = (end(one[name][0] for one in found) for end in (min, max))
        pvalues = " ".join(f"{one[name][2]:.2f}" for one in found)
        table.add_row(name, f"{freedom}", f"{least:.1f} to {most:.1f}", pvalues)
    rich.print(table)
    uneven = holm([one[2] for salt in found for one in salt.values()], LEVEL).any()
    fast = slowest < BAR
    print(
        f"slowest answer: {slowest:.2f} us, bar below {BAR:g} us: {'met' if fast else 'MISSED'}; "
        f"as chance spreads members, at {LEVEL:.0%}: {'MISSED' if uneven else 'met'}"
    )
    return 0 if fast and not uneven else 1


if __name__ == "__main__":
    sys.exit(main())
