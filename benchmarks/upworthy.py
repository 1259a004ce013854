"""Bandits on real tests of pictures: the Upworthy archive.

    MATINEE_DATA=... python -m benchmarks.upworthy [--seeds 5] [--tests N]

The tests in which packages differ in their picture alone (headline, lede and excerpt are fixed).
*Replay*: a policy meets a test in twenty rounds. Each round it shows pictures by its probabilities,
and what comes of each is drawn without replacement from what came of that picture in the test, so
that a round's clicks are hypergeometric and by the end nothing is made up. A test is played for as
many impressions as its least shown picture has. *Captured*: clicks above those of uniform choice,
as a share of those that the best picture in hindsight would have had above them; intervals resample
tests. Settings are chosen on every third test, at all of the traffic, and judged on the others.

*Off-policy*: each picture's impressions are split at random. On the first quarter the model learns,
its policy is valued on the second by the propensities that were planned, 1 / K (IPS), and that is
held against what its pictures earned in the other half. IPS sees whether pictures were shown as
often as planned, which is what the uneven weeks are about; whether the same people saw them, no
split of the same impressions can tell.

Both once more for the weeks that the sample-ratio check finds badly randomised.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import rich
from rich.table import Table

from matinee.decisions.preferring import prefer
from matinee.evaluation.off_policy import IPS, Batch
from matinee.experiments import irregular, sample_ratio
from matinee.models import Context, Dataset, Histories, InMemory, Linear, Responses, Vocabulary
from matinee.policies import EpsilonGreedy, InverseGap, PlackettLuce, Policy, Thompson

ROUNDS, DRAWS = 20, 200
PARTS = (0.25, 0.5, 1.0)
"""Shares of the traffic at which the gain is read."""
STRENGTHS = (100.0, 400.0, 1_600.0)
POLICIES: dict[str, tuple[Policy, ...]] = {
    "uniform": (PlackettLuce(epsilon=1.0),),
    "epsilon-greedy": tuple(EpsilonGreedy(epsilon=share) for share in (0.05, 0.2)),
    "inverse gaps": tuple(InverseGap(gamma=gamma) for gamma in (1e3, 4e3, 16e3)),
    "thompson": tuple(Thompson(draws=DRAWS, epsilon=share) for share in (0.02, 0.1)),
}
COLUMNS = ("headline", "lede", "excerpt")


@dataclass(frozen=True)
class Pictures:
    """Impressions and clicks [K] of the pictures of one test."""

    week: int
    shown: np.ndarray
    clicks: np.ndarray

    @property
    def traffic(self) -> int:
        return int(self.shown.min())

    @property
    def rates(self) -> np.ndarray:
        return self.clicks / self.shown


def tests(folder: Path) -> tuple[list[Pictures], list[int]]:
    """The tests of pictures alone, and the weeks in which too many of all tests are uneven."""
    grouped = pl.read_parquet(folder / "upworthy" / "upworthy.parquet").group_by(
        "clickability_test_id", maintain_order=True
    )
    every = grouped.agg(
        pl.len(), pl.col("test_week").first(), "impressions", "clicks",
        *(pl.col(name).n_unique() for name in (*COLUMNS, "eyecatcher_id")),
    ).filter(pl.col("len") > 1)  # fmt: skip
    values = [sample_ratio(counts) for counts in every["impressions"].to_list()]
    bad = irregular(every["test_week"].to_list(), values)
    alone = every.filter(
        *(pl.col(name) == 1 for name in COLUMNS), pl.col("eyecatcher_id") == pl.col("len")
    )
    rows = alone.select("test_week", "impressions", "clicks").iter_rows()
    found = [Pictures(week, np.array(shown), np.array(clicks)) for week, shown, clicks in rows]
    return found, bad


def responses(shown: np.ndarray, clicks: np.ndarray) -> Responses:
    """So many choices of each picture, some of which were clicked on."""
    actions = np.repeat(np.arange(len(shown), dtype=np.int32), shown)
    place = np.arange(len(actions)) - np.repeat(np.cumsum(shown) - shown, shown)
    rewards = (place < np.repeat(clicks, shown)).astype(float)
    nobody = Context(Histories.of([[]] * len(actions)), np.zeros(len(actions), np.int64))
    return Responses(actions, rewards, np.ones(len(actions)), nobody)


def dataset(shown: np.ndarray, clicks: np.ndarray) -> Dataset:
    titles = Vocabulary(map(str, range(len(shown))))
    return Dataset(titles, [], 0, responses=[InMemory(responses(shown, clicks))])


def chances(model: Linear, policy: Policy) -> np.ndarray:
    """p [K] of each picture."""
    asked = Context(Histories.of([[]]), np.zeros(1, np.int64))
    belief, size = model.believe(asked, draws=policy.draws), len(model.titles)
    return policy.probabilities(prefer(policy, belief, 0, np.arange(size)), size)


def replay(test: Pictures, model: Linear, policy: Policy, rng: np.random.Generator) -> np.ndarray:
    """Clicks after each round [ROUNDS]."""
    nothing = np.zeros_like(test.shown)
    left, clicks, found = test.shown.copy(), test.clicks.copy(), []
    model = model.fit(dataset(nothing, nothing))
    edges = np.linspace(0, test.traffic, ROUNDS + 1).astype(int)
    for size in np.diff(edges).tolist():
        shown = rng.multinomial(size, chances(model, policy))
        won = rng.hypergeometric(clicks, left - clicks, shown)
        left, clicks = left - shown, clicks - won
        found.append(won.sum())
        model = model.update(dataset(shown, won))
    return np.cumsum(found)


def gains(
    asked: Sequence[Pictures], strength: float, policy: Policy, seeds: Sequence[int]
) -> np.ndarray:
    """Clicks above uniform choice, and those of the best above it, [tests, PARTS, 2]."""
    found = np.zeros((len(asked), len(PARTS), 2))
    for number, (row, test) in enumerate(zip(found, asked, strict=True)):
        model = Linear(by=[], strength=strength)  # each test has luck of its own
        runs = [
            replay(test, model, policy, np.random.default_rng([seed, number])) for seed in seeds
        ]
        clicks = np.mean(runs, axis=0)[[round(ROUNDS * part) - 1 for part in PARTS]]
        edges = np.linspace(0, test.traffic, ROUNDS + 1).astype(int)
        sizes = edges[[round(ROUNDS * part) for part in PARTS]]
        row[:, 0] = clicks - sizes * test.rates.mean()
        row[:, 1] = sizes * (test.rates.max() - test.rates.mean())
    return found


def share(found: np.ndarray) -> np.ndarray:
    """Captured at each part: estimate, lower and upper end [3, PARTS]."""
    rng, size = np.random.default_rng(0), len(found)
    sums = np.stack([found[rng.integers(0, size, size)].sum(axis=0) for _ in range(2_000)])
    ends = np.quantile(sums[..., 0] / sums[..., 1], [0.025, 0.975], axis=0)
    whole = found.sum(axis=0)
    return np.stack([whole[:, 0] / whole[:, 1], *ends])


def held_out(test: Pictures, strength: float, policy: Policy, seed: int) -> tuple[float, ...]:
    """The value by half of the traffic, its error, the truth of the other half, and its error."""
    rng = np.random.default_rng(seed)

    def part(shown: np.ndarray, clicks: np.ndarray, size: np.ndarray) -> np.ndarray:
        return rng.hypergeometric(clicks, shown - clicks, size)

    half = test.shown // 2
    clicks = part(test.shown, test.clicks, half)
    other = (test.clicks - clicks) / (test.shown - half)
    first = half // 2
    learned = part(half, clicks, first)
    model = Linear(by=[], strength=strength).fit(dataset(first, learned))
    wanted = chances(model, policy)
    rest, won = half - first, clicks - learned
    logged = responses(rest, won)
    planned = np.full(len(logged), 1 / len(rest))
    found = IPS().add(Batch.of(logged.rewards, planned, wanted[logged.actions])).result()
    variance = (wanted**2 * other * (1 - other) / (test.shown - half)).sum()
    return found.value, found.error, float(wanted @ other), float(np.sqrt(variance))


def agreement(asked: Sequence[Pictures], strength: float, policy: Policy) -> str:
    """How often the estimate's interval, widened by the truth's own error, holds the truth."""
    rows = np.array([held_out(test, strength, policy, seed) for seed, test in enumerate(asked)])
    value, error, truth, own = rows.T
    away = (value - truth) / np.hypot(error, own)
    mean, spread = (value - truth).mean(), (value - truth).std(ddof=1) / len(rows) ** 0.5
    inside = np.mean(np.abs(away) < 1.96)
    return (
        f"{inside:.1%} of {len(rows)} tests inside 95 %, estimates off by {1e4 * mean:+.2f} "
        f"± {1e4 * 1.96 * spread:.2f} clicks in 10,000 of {1e4 * truth.mean():.0f}"
    )


def chosen(asked: Sequence[Pictures]) -> dict[str, tuple[float, Policy]]:
    """The settings of each policy that captured most of these tests."""
    best: dict[str, tuple[float, Policy]] = {}
    for name, tried in POLICIES.items():
        pairs = list(product(STRENGTHS if name != "uniform" else STRENGTHS[:1], tried))
        each = [share(gains(asked, *pair, seeds=[100]))[0, -1] for pair in pairs]
        best[name] = pairs[int(np.argmax(each))]
        print(f"{name}: {best[name][1].settings()}, strength {best[name][0]:g}", flush=True)
    return best


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--tests", type=int, help="only so many of them, for a quick look")
    given = parser.parse_args()
    if "MATINEE_DATA" not in os.environ:
        print("set MATINEE_DATA to the folder that holds upworthy/upworthy.parquet")
        return 2
    found, bad = tests(Path(os.environ["MATINEE_DATA"]))
    found = found[: given.tests]
    print(f"{len(found)} tests of pictures alone; uneven weeks: {bad}", flush=True)
    best = chosen(found[::3])
    judged = [test for place, test in enumerate(found) if place % 3]
    sound = [test for test in judged if test.week not in bad]
    uneven = [test for test in judged if test.week in bad]
    table = Table("policy", "weeks", "tests", *(f"at {part:.0%}" for part in PARTS))
    for (name, pair), (weeks, asked) in product(
        best.items(), (("sound", sound), ("uneven", uneven))
    ):
        if asked:
            shares = share(gains(asked, *pair, seeds=range(given.seeds))).T
            cells = [f"{mean:.2f} [{low:.2f}, {high:.2f}]" for mean, low, high in shares]
            table.add_row(name, weeks, str(len(asked)), *cells)
    rich.print(table)
    for weeks, asked in (("sound", sound), ("uneven", uneven)):
        if asked:
            print(f"off-policy, {weeks} weeks: {agreement(asked, *best['thompson'])}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
