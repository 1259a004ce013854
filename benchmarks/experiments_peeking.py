"""Experiments looked at every day: how often one is wrong, and what it costs to be right.

    python -m benchmarks.experiments_peeking [--runs 2000] [--shapes minutes ...]

Simulated experiments of two arms for 28 days, with 250 new members in each arm a day, or 20, or 20
and 180. Metrics of a member: `bought`, with a chance of 5 %, and `rare`, of 1 %; `minutes`, none
for 60 %, else log-normal (sigma 1.2); `per play`, minutes over plays; `adjusted`, minutes with
those of the weeks before as covariate; `lift`, the relative lift of minutes. In all of these a
member enters once, with a closed value. In `to date` all members are there from the first day, and
each day adds to their minutes: the sequence promises nothing of that, and it is shown without a
bar.

*False*: the share of experiments without an effect (A/A) in which some daily look says that there
is one at 5 %: by the test for one look (Welch's, or the normal one), and by the sequence, tightest
at what the 28 days bring. Bar: at most 5 %, by a binomial test of the runs at 0.1 %.

*Price*: the same experiments with an effect added that a test of one look on day 12 finds with
80 %. Units, in multiples of those of 12 days, until the sequence has found it in half of the
experiments, in 80 %, and in the mean (of those not found, the whole 28 days).
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import rich
from rich.table import Table
from scipy.special import ndtri
from scipy.stats import binomtest

from matinee.experiments.arms import Arm
from matinee.experiments.effects import Effect, compare, fixed
from matinee.experiments.sequential import AsymptoticSequence

DAYS, RIGHT, ALPHA, POWER, SURE = 28, 12, 0.05, 0.8, 1e-3
"""RIGHT: when a test of one look has its power. SURE: the level of saying that a bar is missed."""
DAILY = ((250, 250), (20, 20), (20, 180))
"""New members a day, of treatment and control."""

Rows = Callable[[np.random.Generator, int], np.ndarray]


def event(chance: float) -> Rows:
    return lambda rng, size: (rng.random((size, 1)) < chance).astype(float)


def minutes(rng: np.random.Generator, size: int) -> np.ndarray:
    return np.where(rng.random((size, 1)) < 0.6, 0.0, rng.lognormal(3.0, 1.2, (size, 1)))


def per_play(rng: np.random.Generator, size: int) -> np.ndarray:
    """Minutes [N, 0] and plays [N, 1]; who plays more plays longer."""
    eager = rng.gamma(2.0, 0.5, size)
    plays = rng.poisson(3 * eager)
    return np.column_stack([rng.gamma(np.maximum(plays, 1e-9), 20 * (0.5 + eager)), plays])


def adjusted(rng: np.random.Generator, size: int) -> np.ndarray:
    """Minutes of now [N, 0] and of before [N, 1], of a taste that stays."""
    taste = rng.normal(0.0, 1.0, (size, 1))
    watched = np.exp(3.0 + taste + rng.normal(0.0, 0.5, (size, 2)))
    return np.where(rng.random((size, 2)) < 0.3, 0.0, watched)


SHAPES: dict[str, tuple[Rows, Callable[[Arm, Arm], Effect]]] = {
    "bought": (event(0.05), compare),
    "rare": (event(0.01), compare),
    "minutes": (minutes, compare),
    "per play": (per_play, lambda *arms: compare(*arms, per=1)),
    "adjusted": (adjusted, lambda *arms: compare(*arms, adjust=[1])),
    "lift": (minutes, lambda *arms: compare(*arms, relative=True)),
    "to date": (minutes, compare),
}


def entering(rng: np.random.Generator, rows: Rows, daily: int) -> Iterator[Arm]:
    """An arm at the end of each day, to which new members come."""
    arm = Arm.of(rows(rng, daily))
    for _ in range(DAYS - 1):
        yield arm
        arm += Arm.of(rows(rng, daily))
    yield arm


def to_date(rng: np.random.Generator, rows: Rows, daily: int) -> Iterator[Arm]:
    """An arm at the end of each day, of members who were all there on the first."""
    size = daily * DAYS
    total = np.zeros((size, 1))
    active = rng.gamma(1.0, 1.0, (size, 1))
    for _ in range(DAYS):
        total += active * rows(rng, size)
        yield Arm.of(total)


def looks(name: str, daily: tuple[int, int], run: int) -> list[Effect]:
    """What is seen of an experiment without an effect on each day."""
    rows, effect = SHAPES[name]
    grow = to_date if name == "to date" else entering
    sides = (grow(np.random.default_rng([run, *daily, k]), rows, daily[k]) for k in range(2))
    return [effect(*arms) for arms in zip(*sides, strict=True)]


def first(pvalues: list[float]) -> int:
    """The day of the first look that says so, from 1; one past the last where none does."""
    return next((day for day, p in enumerate(pvalues, 1) if p <= ALPHA), DAYS + 1)


def measure(name: str, daily: tuple[int, int], runs: int) -> dict[str, np.ndarray]:
    """First days [R] of finding an effect: none by a test of one look, none and a true one."""
    sequence = AsymptoticSequence(alpha=ALPHA, tightest_at=sum(daily) * DAYS)
    seen = [looks(name, daily, run) for run in range(runs)]
    error = np.nanmean([effects[RIGHT - 1].error for effects in seen])
    delta = float(ndtri(1 - ALPHA / 2) + ndtri(POWER)) * error
    more = [[replace(effect, value=effect.value + delta) for effect in effects] for effects in seen]
    return {
        "one look": np.array([first([fixed(one)[1] for one in effects]) for effects in seen]),
        "sequence": np.array([first([sequence.read(e)[1] for e in effects]) for effects in seen]),
        "found": np.array([first([sequence.read(e)[1] for e in effects]) for effects in more]),
        "at once": np.array([fixed(effects[RIGHT - 1])[1] <= ALPHA for effects in more]),
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=2_000)
    parser.add_argument("--shapes", nargs="*", choices=SHAPES, default=list(SHAPES))
    given = parser.parse_args()
    columns = ("false, one look", "false, sequence", "day 12 finds", "half", "80 %", "mean")
    table, met = Table("metric", "members a day", *columns), True
    for name in given.shapes:
        for daily in DAILY:
            found = measure(name, daily, given.runs)
            naive, wrong = (int((found[who] <= DAYS).sum()) for who in ("one look", "sequence"))
            chance = binomtest(wrong, given.runs, ALPHA, alternative="greater").pvalue
            missed = name != "to date" and chance < SURE
            met &= not missed
            days = np.sort(found["found"]) / RIGHT
            cells = [f"{naive / given.runs:.1%}", f"{wrong / given.runs:.2%}"]
            if name not in ("lift", "to date"):  # a lift is found when its difference is
                cells.append(f"{found['at once'].mean():.0%}")
                places = (int(np.ceil(share * given.runs)) - 1 for share in (0.5, POWER))
                cells += [f"{days[k]:.2f}" if days[k] * RIGHT <= DAYS else "later" for k in places]
                cells.append(f"{np.minimum(days, DAYS / RIGHT).mean():.2f}")
            table.add_row(name, f"{daily[0]}, {daily[1]}", *cells)
            print(f"{name}, {daily}: {cells}{' MISSED' if missed else ''}", flush=True)
    rich.print(table)
    print(f"false by the sequence, bar {ALPHA:.0%}: {'met' if met else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
