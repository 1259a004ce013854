"""Interleaving beside an A/B test: how many members each needs to find the better ranker.

    python -m benchmarks.interleaving [--seeds 5] [--visits 1]

A simulated service of 2,000 members and 800 titles is logged for 30 days; `ease` and `popularity`
learn from what was played. Then members, drawn at random, come for `visits` visits of 20 slots
without what they have played, and play by the world's own model of behaviour. Two comparisons, in
both of which the truth says that the first ranker is better:

- ease against popularity;
- ease against itself with noise on every score, half as large as a member's 40 best scores differ,
  in one of eight copies at each visit.

Interleaved, a member's visits are team drafts and the members' preferences meet the exact sign
test. In the A/B test half of the members see each ranker, and plays per member meet the test of two
means. Both are two-sided at 5 %. Asked is the number of members, of both arms together, from which
either finds the better ranker with 80 % power. It follows from the chances of plays, in 20 drafts
of every member; then experiments of that size are made from the start, with new members, coins and
plays, 100 in each world.

Bars: interleaving needs fewer members in every world; both have the power that was asked for, less
three standard errors at most; and of two rankers that are equally good, two random copies of ease
with noise, one is preferred in no more than 5 % of experiments of 600 members, by a one-sided
binomial test at 1 %, whether they are looked at once, or 20 times with the interval for that.
"""

import argparse
import sys
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import rich
from numpy.typing import NDArray
from rich.table import Table
from scipy.stats import binom, norm, t

from benchmarks.off_policy import verdict
from matinee.experiments.interleaving import preference, preferences, team_credit, team_draft
from matinee.models import EASE, Context, Dataset, Histories, Model, Popularity, Vocabulary
from matinee.world import Settings, World
from matinee.world.behaviour import examination

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

FIRST_SEED, DAYS, SLOTS, BEST = 100, 30, 20, 40
DRAWS, COPIES, NOISE = 20, 8, 0.5
ALPHA, POWER, RUNS, EQUAL_RUNS, EQUAL_MEMBERS, LOOKS = 0.05, 0.8, 100, 200, 600, 20
COMPARISONS = ("popularity", "ease with noise")


@dataclass(frozen=True)
class Service:
    """A world after its log: the data, and for each of M members and V titles the chance that the
    member plays the title if they look at it, 0 where it may not be shown, [M, V].
    """

    data: Dataset
    context: Context
    liked: Floats

    @classmethod
    def of(cls, seed: int) -> "Service":
        world = World(Settings(seed=seed, days=DAYS, slots=SLOTS))
        titles = Vocabulary([title.title_id for title in world.titles()])
        at, members = world.settings.start + timedelta(days=DAYS), world.members()
        plays = (
            pl.concat([day.events for day in world.days()])
            .filter(pl.col("kind") == "play")
            .unique(["member_id", "title_id"], keep="first", maintain_order=True)
            .group_by("member_id")
            .agg("title_id", pl.col("ts").dt.epoch("us"))
        )
        played = {member: (what, when) for member, what, when in plays.iter_rows()}
        whats, whens = zip(*(played.get(m.member_id, ([], [])) for m in members), strict=True)
        codes = [titles.encode(what).tolist() for what in whats]
        histories = Histories.of(codes, whens, [member.country for member in members])
        ids = [member.member_id for member in members]
        every = [list(titles.ids)] * 100
        parts = [ids[start : start + 100] for start in range(0, len(ids), 100)]
        liked = np.concatenate([world.expected_reward(part, at, every) for part in parts])
        liked /= examination(len(titles))
        for row, seen in enumerate(codes):
            liked[row, seen] = 0.0
        times = np.full(len(ids), int(at.timestamp() * 1e6))
        return cls(Dataset.of(titles, histories), Context(histories, times), liked)

    def scores(self, model: Model) -> Floats:
        """What a fitted model says of every title for every member, [M, V]."""
        found = model.fit(self.data).believe(self.context).mean.astype(np.float64)
        return np.where(self.liked > 0, found, -np.inf)

    def plays(self, whose: Integers, shown: Integers) -> Floats:
        """The true chances [B, K] that members [B] play the titles in these slots."""
        chances: Floats = self.liked[whose[:, None], shown] * examination(SLOTS)
        return chances


def ranked(scores: Floats) -> Integers:
    """The best titles of every member, best first, in one copy [1, M, K]."""
    return np.argsort(-scores, axis=1)[None, :, :SLOTS]


def noisy(scores: Floats, rng: np.random.Generator) -> Integers:
    """The same by scores with noise, [C, M, K]."""
    spread = -np.sort(-scores, axis=1)[:, :BEST].std(axis=1, keepdims=True)
    return np.concatenate(
        [ranked(scores + NOISE * spread * rng.normal(size=scores.shape)) for _ in range(COPIES)]
    )


def lists(ranker: Integers, whose: Integers, rng: np.random.Generator) -> Integers:
    """What a ranker would show to members [B], [B, K], each from a copy at random."""
    found: Integers = ranker[rng.integers(len(ranker), size=len(whose)), whose]
    return found


def drafts(
    service: Service, rankers: tuple[Integers, Integers], whose: Integers, rng: np.random.Generator
) -> tuple[Floats, Integers]:
    """The chances of plays and the teams of drafts for members, each [B, K]."""
    pairs = zip(*(lists(ranker, whose, rng).tolist() for ranker in rankers), strict=True)
    drawn = [team_draft(one, other, SLOTS, rng) for one, other in pairs]
    shown, teams = (np.array([getattr(d, name) for d in drawn]) for name in ("shown", "teams"))
    return service.plays(whose, shown), teams


def preferred(chances: Floats, teams: Integers) -> Floats:
    """How likely each member prefers the first ranker and the second, [2, B], from all their slots.

    The difference of plays is a sum of independent steps: its law is built up slot by slot.
    """
    size = chances.shape[1]
    law = np.zeros((len(chances), 2 * size + 1))
    law[:, size] = 1.0
    for chance, team in zip(chances.T[:, :, None], teams.T[:, :, None], strict=True):
        after = law * (1 - chance)
        after[:, 1:] += law[:, :-1] * chance * (team == 0)
        after[:, :-1] += law[:, 1:] * chance * (team == 1)
        law = after
    return np.stack([law[:, size + 1 :].sum(axis=1), law[:, :size].sum(axis=1)])


def shares(
    service: Service,
    rankers: tuple[Integers, Integers],
    visits: int,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """The shares of members who prefer the first ranker and the second."""
    members = len(service.liked)
    whose = np.repeat(np.arange(members), visits)
    found = np.zeros(2)
    for _ in range(DRAWS):
        chances, teams = drafts(service, rankers, whose, rng)
        found += preferred(chances.reshape(members, -1), teams.reshape(members, -1)).mean(axis=1)
    return float(found[0] / DRAWS), float(found[1] / DRAWS)


def alone(service: Service, ranker: Integers, visits: int) -> tuple[float, float]:
    """The mean and the variance of a member's plays in all visits to one ranker."""
    everyone = np.arange(len(service.liked))
    copies = np.array([service.plays(everyone, copy) for copy in ranker])
    plays = copies.sum(axis=2)
    at_a_visit = (copies * (1 - copies)).sum(axis=2).mean() + plays.var(axis=0).mean()
    of_members = plays.mean(axis=0).var()
    return visits * float(plays.mean()), float(visits * at_a_visit + visits**2 * of_members)


def sign_power(members: int, first: float, second: float) -> float:
    """How likely the sign test finds the first ranker, of so many members with these chances."""
    decided = np.arange(members + 1)
    wins = binom.sf(binom.isf(ALPHA / 2, decided, 0.5), decided, first / (first + second))
    return float(wins @ binom.pmf(decided, members, first + second))


def needed_interleaved(first: float, second: float) -> int:
    """The least members from which the sign test has the power, by bisection."""
    low, high = 1, 2
    while sign_power(high, first, second) < POWER:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        enough = sign_power(middle, first, second) >= POWER
        low, high = (low, middle) if enough else (middle, high)
    return high


def needed_apart(one: tuple[float, float], other: tuple[float, float]) -> int:
    """Members of both arms together from which the test of two means has the power."""
    reach = norm.isf(ALPHA / 2) + norm.ppf(POWER)
    return int(np.ceil(2 * reach**2 * (one[1] + other[1]) / (one[0] - other[0]) ** 2))


def visitors(
    service: Service, members: int, visits: int, rng: np.random.Generator
) -> tuple[Integers, Integers]:
    """Members drawn at random for an experiment, a row a visit: who in the world, who in it."""
    place = np.repeat(np.arange(members), visits)
    return rng.integers(len(service.liked), size=members)[place], place


def experiment(
    service: Service,
    rankers: tuple[Integers, Integers],
    members: int,
    visits: int,
    rng: np.random.Generator,
) -> Integers:
    """The preferences [members] of an interleaved experiment."""
    whose, place = visitors(service, members, visits, rng)
    chances, teams = drafts(service, rankers, whose, rng)
    return preferences(team_credit(teams, rng.random(chances.shape) < chances), place)


def finds_interleaved(each: Integers) -> bool:
    found = preference(each, ALPHA)
    return found.chance < ALPHA and found.first > found.second


def finds_apart(
    service: Service,
    rankers: tuple[Integers, Integers],
    members: int,
    visits: int,
    rng: np.random.Generator,
) -> bool:
    """Whether an A/B test with so many members in each arm finds the first ranker."""
    arms = []
    for ranker in rankers:
        whose, place = visitors(service, members, visits, rng)
        chances = service.plays(whose, lists(ranker, whose, rng))
        arms.append(np.bincount(place, (rng.random(chances.shape) < chances).sum(axis=1)))
    error = np.sqrt(sum(arm.var(ddof=1) / members for arm in arms))
    return bool(arms[0].mean() - arms[1].mean() > norm.isf(ALPHA / 2) * error)


def false_finds(
    service: Service, ranker: Integers, visits: int, rng: np.random.Generator
) -> tuple[int, int]:
    """In how many experiments of equal rankers one is preferred, looked at once, and often."""
    once = often = 0
    for _ in range(EQUAL_RUNS):
        each = experiment(service, (ranker, ranker), EQUAL_MEMBERS, visits, rng)
        looks = np.linspace(0, EQUAL_MEMBERS, LOOKS + 1).astype(int)[1:]
        found = [preference(each[:look], ALPHA) for look in looks]
        once += found[-1].chance < ALPHA
        often += any(not one.any_look.low <= 0.5 <= one.any_look.high for one in found)
    return once, often


def world(seed: int, visits: int) -> dict[str, Any]:
    """All figures of one world, by comparison."""
    service, rng = Service.of(seed), np.random.default_rng(seed)
    scores = service.scores(EASE())
    ease, copies = ranked(scores), noisy(scores, rng)
    worse = (ranked(service.scores(Popularity())), copies)
    found: dict[str, Any] = {}
    for name, rankers in zip(COMPARISONS, [(ease, other) for other in worse], strict=True):
        one, other = (alone(service, ranker, visits) for ranker in rankers)
        first, second = shares(service, rankers, visits, rng)
        members, apart = needed_interleaved(first, second), needed_apart(one, other)
        ab = (rankers, -(-apart // 2), visits, rng)
        found[name] = {
            "better": one[0] / other[0] - 1,
            "share": first / (first + second),
            "neither": 1 - first - second,
            "interleaved": members,
            "apart": apart,
            "power": sum(
                finds_interleaved(experiment(service, rankers, members, visits, rng))
                for _ in range(RUNS)
            )
            / RUNS,
            "power apart": sum(finds_apart(service, *ab) for _ in range(RUNS)) / RUNS,
        }
    found["equal"] = false_finds(service, copies, visits, rng)
    return found


def ratio(found: list[dict[str, Any]]) -> tuple[float, float, float]:
    """The geometric mean over worlds of how many times the members an A/B test needs, and 95 %."""
    logs = np.log([one["apart"] / one["interleaved"] for one in found])
    reach = t.isf(0.025, len(logs) - 1) * logs.std(ddof=1) / np.sqrt(len(logs))
    low, mean, high = np.exp([logs.mean() - reach, logs.mean(), logs.mean() + reach])
    return float(mean), float(low), float(high)


def told(name: str, found: list[dict[str, Any]]) -> bool:
    """A table of one comparison in all worlds, and whether its bars are met."""
    table = Table(f"ease against {name}", *(f"{FIRST_SEED + n}" for n in range(len(found))))
    for label, key, form in (
        ("more plays", "better", "+.1%"),
        ("of members who prefer either, prefer ease", "share", ".1%"),
        ("members who prefer neither", "neither", ".1%"),
        ("members needed, A/B", "apart", ",.0f"),
        ("members needed, interleaved", "interleaved", ",.0f"),
    ):
        table.add_row(label, *(format(one[key], form) for one in found))
    rich.print(table)
    mean, low, high = ratio(found)
    fewer = all(one["interleaved"] < one["apart"] for one in found)
    figure = f"{mean:.1f} times fewer members (95 %: {low:.1f} to {high:.1f})"
    met = verdict(f"ease against {name}", figure, "fewer in every world", fewer)
    least = POWER - 3 * np.sqrt(POWER * (1 - POWER) / (RUNS * len(found)))
    for label, key in (("interleaved", "power"), ("A/B", "power apart")):
        power = float(np.mean([one[key] for one in found]))
        figure = f"{power:.1%} of {RUNS * len(found)} experiments"
        met &= verdict(f"power, {label}, {name}", figure, f"{least:.1%}", power >= least)
    return met


def main() -> int:
    """1 where a bar is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--visits", type=int, default=1)
    given = parser.parse_args()
    worlds = []
    for number in range(given.seeds):
        worlds.append(world(FIRST_SEED + number, given.visits))
        print(f"world {FIRST_SEED + number}: {worlds[-1]}", flush=True)
    met = min(told(name, [one[name] for one in worlds]) for name in COMPARISONS)
    runs = EQUAL_RUNS * len(worlds)
    most, misses = binom.isf(0.01, runs, ALPHA), np.sum([one["equal"] for one in worlds], axis=0)
    for look, some in zip(("once", f"{LOOKS} times"), misses.tolist(), strict=True):
        figure = f"{some / runs:.1%} of {runs:,} experiments prefer one"
        met &= verdict(f"equal rankers, looked at {look}", figure, f"{ALPHA:.0%}", some <= most)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
