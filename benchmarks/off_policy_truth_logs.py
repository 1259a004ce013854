"""Logs of a simulated service of which the truth is known: for ``benchmarks.off_policy_truth``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from matinee.evaluation.off_policy import Batch
from matinee.world import Settings, World

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Generator = np.random.Generator

SEED, MEMBERS, TITLES = 3, 500, 8


@dataclass(frozen=True)
class Truth:
    """True play probabilities, an outcome model's noisy `view` of them, and policies: all [M, A].

    The `champion` gives every title a chance of 0.0375 or more, `personal` one of 0.0125.
    """

    plays: Floats
    view: Floats
    champion: Floats
    personal: Floats

    def value(self, policy: Floats) -> float:
        """The mean reward of a decision for a member drawn at random."""
        return float((policy * self.plays).sum(axis=1).mean())

    def worth(self, target: float, base: Floats) -> Floats:
        """The mixture of `personal` and `base` with exactly that value."""
        low, high = self.value(base), self.value(self.personal)
        share = (target - low) / (high - low)
        assert 0 <= share <= 1, f"no mixture is worth {target}"
        return share * self.personal + (1 - share) * base

    @property
    def uniform(self) -> Floats:
        """Pure chance."""
        return np.full_like(self.plays, 1 / TITLES)


def from_world() -> Truth:
    """Of the titles that every member may see, those played most, each as the only title shown."""
    world = World(Settings(members=MEMBERS, titles=200, days=1))
    at, members = world.settings.start, [member.member_id for member in world.members()]
    shown = sorted(set.intersection(*(set(world.eligible(member, at)) for member in members)))
    columns = [world.expected_reward(members, at, [[title]] * MEMBERS)[:, 0] for title in shown]
    table = np.column_stack(columns)
    plays = table[:, np.argsort(-table.mean(axis=0))[:TITLES]]
    logits = np.log(plays / (1 - plays))
    rng = np.random.default_rng((SEED, 0))

    def seen(noise: float) -> Floats:
        return logits + noise * rng.normal(size=logits.shape)

    return Truth(plays, seen(1.0), softmax(seen(1.5) / 1.5, 0.3), softmax(seen(0.5), 0.1))


def softmax(scores: Floats, epsilon: float) -> Floats:
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    chances: Floats = (1 - epsilon) * odds / odds.sum(axis=1, keepdims=True)
    return chances + epsilon / scores.shape[1]


@dataclass(frozen=True)
class Log:
    """N decisions in order, with all `chances` [N, A] that the logger had given titles."""

    member: Integers
    action: Integers
    reward: Floats
    chances: Floats
    cluster: Integers

    def batch(self, policy: Floats, q: Floats | None = None) -> Batch:
        propensity = self.chances[np.arange(len(self.member)), self.action]
        target = policy[self.member]
        return Batch.of_distributions(
            self.reward, self.action, propensity, target, q=q, cluster=self.cluster
        )

    def largest(self, policy: Floats) -> Floats:
        """The largest weight [N] that any title could have had in each decision."""
        weights: Floats = (policy[self.member] / self.chances).max(axis=1)
        return weights


# The fixed logger


def fixed_log(truth: Truth, size: int, rng: Generator) -> Log:
    """What the champion decides for members drawn with replacement."""
    return shown_by_champion(truth, rng.integers(MEMBERS, size=size), np.arange(size), rng)


def fixed_logs(truth: Truth, runs: int, size: int) -> Iterator[Log]:
    return (fixed_log(truth, size, np.random.default_rng((SEED, 1, run))) for run in range(runs))


def visited_logs(truth: Truth, runs: int, visits: int) -> Iterator[Log]:
    """Members drawn with replacement, a cluster each, who get one to five decisions in a row."""
    for run in range(runs):
        rng = np.random.default_rng((SEED, 2, run))
        cluster = np.repeat(np.arange(visits), rng.integers(1, 6, size=visits))
        member = rng.integers(MEMBERS, size=visits)[cluster]
        yield shown_by_champion(truth, member, cluster, rng)


def shown_by_champion(truth: Truth, member: Integers, cluster: Integers, rng: Generator) -> Log:
    chances = truth.champion[member]
    below = np.cumsum(chances, axis=1)[:, :-1]
    action = (rng.random(len(member))[:, None] > below).sum(axis=1)
    reward = (rng.random(len(member)) < truth.plays[member, action]).astype(float)
    return Log(member, action, reward, chances, cluster)


# The adaptive logger


def exploring(decisions: Floats | float) -> Floats:
    """Its epsilon after so many decisions."""
    return np.maximum(0.02, (np.asarray(decisions) + 1.0) ** -0.5)


@dataclass(frozen=True)
class Learned:
    """What epsilon-greedy did in R runs at once, columns [N, R]; `best` is what it deemed best."""

    member: NDArray[np.int16]
    action: NDArray[np.int8]
    reward: NDArray[np.int8]
    best: NDArray[np.int8]

    def logs(self, size: int) -> Iterator[Log]:
        """The first decisions of each run."""
        every, titles = np.arange(size), np.arange(TITLES)
        epsilon = exploring(every.astype(float))[:, None]
        for run in range(self.best.shape[1]):
            member, action, best = (
                column[:size, run].astype(np.int64)
                for column in (self.member, self.action, self.best)
            )
            chances = epsilon / TITLES + (1 - epsilon) * (best[:, None] == titles)
            yield Log(member, action, self.reward[:size, run].astype(float), chances, every)


def learned(truth: Truth, runs: int, size: int) -> Learned:
    """Greedy for the title whose mean reward was best so far."""
    paid, shown, every = np.zeros((runs, TITLES)), np.zeros((runs, TITLES)), np.arange(runs)
    made = _empty(runs, size, np.random.default_rng((SEED, 3)))
    rng = np.random.default_rng((SEED, 4))
    for t in range(size):
        made.best[t] = (paid / np.maximum(shown, 1)).argmax(axis=1)
        _decide(truth, made, t, rng)
        paid[every, made.action[t]] += made.reward[t]
        shown[every, made.action[t]] += 1
    return made


def as_if_fixed(truth: Truth, learned: Learned) -> Learned:
    """Each run anew with the propensities of another run, which do not depend on its rewards."""
    size, runs = learned.best.shape
    made = _empty(runs, size, np.random.default_rng((SEED, 5)))
    made.best[:] = np.roll(learned.best, 1, axis=1)
    rng = np.random.default_rng((SEED, 6))
    for t in range(size):
        _decide(truth, made, t, rng)
    return made


def _empty(runs: int, size: int, rng: Generator) -> Learned:
    members = rng.integers(MEMBERS, size=(size, runs), dtype=np.int16)
    return Learned(members, *(np.zeros((size, runs), np.int8) for _ in range(3)))


def _decide(truth: Truth, made: Learned, t: int, rng: Generator) -> None:
    runs = made.best.shape[1]
    explores = rng.random(runs) < exploring(t)
    made.action[t] = np.where(explores, rng.integers(TITLES, size=runs), made.best[t])
    made.reward[t] = rng.random(runs) < truth.plays[made.member[t], made.action[t]]
