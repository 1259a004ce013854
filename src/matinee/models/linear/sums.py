"""The sums that are all a linear model keeps of the log: they add up over shards and over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple, Self

import numpy as np

from matinee.models.data import DAY, ResponseShard, Vocabulary
from matinee.models.linear.told import ALWAYS, Doubles, check_few, told_of

MOST_SUMS, MOST_SHARED = 20_000_000, 5_000
"""Actions times features of members squared, and features of members times those of actions, at
most: 160 MB of sums, and as many equations to solve.
"""
ACTIONS = 2_048
"""How many actions are looked at at a time."""
COIN = 0.25
"""The mean square of rewards where nothing was earned yet: that of a coin around its mean."""


@dataclass(frozen=True)
class Sums:
    """Of each action the sums of x x^T [V, P, P], x r [V, P] and r^2 [V]; names [P] of x."""

    names: tuple[str, ...]
    gram: Doubles
    moments: Doubles
    squares: Doubles

    @classmethod
    def none(cls, titles: int) -> Self:
        return cls((ALWAYS,), np.zeros((titles, 1, 1)), np.zeros((titles, 1)), np.zeros(titles))

    def __add__(self, other: Sums) -> Sums:
        names = tuple(sorted({*self.names, *other.names}))
        one, two = self._named(names), other._named(names)
        sums = (one.gram + two.gram, one.moments + two.moments, one.squares + two.squares)
        return Sums(names, *sums)

    def times(self, weight: float) -> Sums:
        return Sums(self.names, *(weight * part for part in self._parts))

    def less(self, level: Doubles) -> Sums:
        """Of rewards less a level [V] of each action."""
        count, sums = self.gram[:, 0, 0], self.moments[:, 0]
        moments = self.moments - level[:, None] * self.gram[:, 0]
        squares = self.squares - 2 * level * sums + level**2 * count
        return Sums(self.names, self.gram, moments, np.maximum(squares, 0.0))

    def moved(self, old: Vocabulary, new: Vocabulary) -> Sums:
        """The same in another vocabulary, which has all titles of the old one."""
        return Sums(self.names, *(moved(part, old, new) for part in self._parts))

    @property
    def _parts(self) -> tuple[Doubles, Doubles, Doubles]:
        return self.gram, self.moments, self.squares

    def _named(self, names: tuple[str, ...]) -> Sums:
        if names == self.names:
            return self
        where = {name: place for place, name in enumerate(names)}
        places = np.array([where[name] for name in self.names])
        gram = np.zeros((len(self.gram), len(names), len(names)))
        gram[:, places[:, None], places] = self.gram
        moments = np.zeros((len(self.gram), len(names)))
        moments[:, places] = self.moments
        return Sums(names, gram, moments, self.squares)


class Plan(NamedTuple):
    size: int
    by: tuple[str, ...]
    half_life: float
    as_of: int


def sums_of(shard: ResponseShard, plan: Plan) -> Sums:
    responses = shard.load()
    told = told_of(responses.context, plan.by)
    check_size(told.names, plan.size, 1)
    known = np.flatnonzero(responses.actions >= 0)
    order = known[np.argsort(responses.actions[known], kind="stable")]
    actions, rewards = responses.actions[order], responses.rewards[order]
    rows, weights = told.rows[order], weights_of(plan.half_life, plan.as_of, responses.context.at)
    weighed = rows * weights[order, None]
    size = len(told.names)
    gram, moments = np.zeros((plan.size, size, size)), np.zeros((plan.size, size))
    edges = np.flatnonzero(np.diff(actions, prepend=-1, append=plan.size))
    for begin, end in pairwise(edges.tolist()):
        action, part = actions[begin], slice(begin, end)
        gram[action] = weighed[part].T @ rows[part]
        moments[action] = weighed[part].T @ rewards[part]
    squares = np.bincount(actions, weights[order] * rewards**2, plan.size).astype(float)
    return Sums(told.names, gram, moments, squares)


def weights_of(half_life: float, as_of: int, at: Any) -> Any:
    """What choices made at these times count."""
    if not half_life:
        return np.ones(np.shape(at))
    return np.exp2(-np.maximum(as_of - at, 0) / (half_life * DAY))


def check_size(names: Sequence[str], actions: int, facets: int) -> None:
    """Raise `ValueError` where sums or equations would grow too large."""
    check_few(names, min(MOST_SHARED // facets, int((MOST_SUMS / max(actions, 1)) ** 0.5)))


def most_actions(names: int) -> int:
    """How many actions there is room for where members have so many features."""
    return MOST_SUMS // names**2


def moved(part: Doubles, old: Vocabulary, new: Vocabulary) -> Doubles:
    """Rows of one vocabulary in another, 0 for what is new."""
    wide = np.zeros((len(new), *part.shape[1:]))
    wide[new.encode(old.ids)] = part
    return wide


def levels(sums: Sums, groups: Sequence[str]) -> tuple[Doubles, float]:
    """The mean reward [V] of each action's group, and of all; that of all where a group has none.

    >>> counts, earned = np.array([3.0, 1.0, 0.0]), np.array([3.0, 0.0, 0.0])
    >>> sums = Sums((ALWAYS,), counts[:, None, None], earned[:, None], earned)
    >>> levels(sums, ("a", "a", "b"))[0]
    array([0.75, 0.75, 0.75])
    """
    count, earned = sums.gram[:, 0, 0], sums.moments[:, 0]
    mean = float(earned.sum() / count.sum()) if count.sum() else 0.0
    _, numbers = np.unique(np.array(groups, object), return_inverse=True)
    counts, sums_of_groups = (np.bincount(numbers, each) for each in (count, earned))
    means = np.divide(sums_of_groups, counts, out=np.full(len(counts), mean), where=counts > 0)
    return means[numbers], mean


def crossed(weights: Doubles, rows: Doubles) -> Doubles:
    """The sum over actions of W_a (x) z_a z_a^T [P F, P F], from [V, P, P] and [V, F].

    >>> crossed(np.array([[[2.0]]]), np.array([[1.0, 3.0]]))
    array([[ 2.,  6.],
           [ 6., 18.]])
    """
    size, facets = weights.shape[1], rows.shape[1]
    total = np.zeros((size * size, facets * facets))
    for first in range(0, len(rows), ACTIONS):
        part = rows[first : first + ACTIONS]
        squares = (part[:, :, None] * part[:, None, :]).reshape(len(part), -1)
        total += weights[first : first + ACTIONS].reshape(len(part), -1).T @ squares
    whole = total.reshape(size, size, facets, facets).swapaxes(1, 2)
    return whole.reshape(size * facets, size * facets)


def deviation(sums: Sums, own: Doubles) -> float:
    """The square root of the mean squared residual, as if one more choice had been as far off as
    rewards are from 0.
    """
    count, squares = sums.gram[:, 0, 0].sum(), sums.squares.sum()
    explained = 2 * sums.moments - np.einsum("apq,aq->ap", sums.gram, own)
    left = max(squares - (explained * own).sum(), 0.0)
    return float(np.sqrt((left + (squares / count if squares else COIN)) / (count + 1)))
