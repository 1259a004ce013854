"""The rows that trees learn from, collected shard by shard in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from matinee.models.boosted.columns import Column, Doubles, column_of
from matinee.models.data import Indices, ResponseShard

Bits = NDArray[np.uint64]


class Plan(NamedTuple):
    by: tuple[str, ...]
    most: int
    seed: int
    probability: bool


@dataclass(frozen=True)
class Rows:
    """N choices of known actions, at most as many as the `plan` has.

    Where there are more, those of the moments whose hash with the seed is least stay: what a member
    was given at one moment stays or goes together, and neither the order of shards nor how rows are
    spread over them matters.
    """

    plan: Plan
    at: NDArray[np.int64]
    actions: Indices
    rewards: Doubles
    propensities: Doubles
    columns: tuple[Column, ...]

    @classmethod
    def none(cls, plan: Plan) -> Rows:
        nothing = np.zeros(0)
        column = Column(nothing, (), nothing.astype(np.int32))
        at, actions = nothing.astype(np.int64), nothing.astype(np.int32)
        return cls(plan, at, actions, nothing, nothing, (column,) * len(plan.by))

    def __len__(self) -> int:
        return len(self.at)

    def __add__(self, other: Rows) -> Rows:
        both = (self, other)
        joined = Rows(
            self.plan,
            np.concatenate([one.at for one in both]),
            np.concatenate([one.actions for one in both]),
            np.concatenate([one.rewards for one in both]),
            np.concatenate([one.propensities for one in both]),
            tuple(map(Column.joined, self.columns, other.columns)),
        )
        return joined.capped()

    def capped(self) -> Rows:
        """At most as many as the plan has, in the order they stood in."""
        if len(self) <= self.plan.most:
            return self
        hashes = _mixed(self.at.view(np.uint64) ^ _mixed(np.array([self.plan.seed], np.uint64)))
        return self.take(np.sort(np.argsort(hashes, kind="stable")[: self.plan.most]))

    def in_order(self) -> Rows:
        """The same by time."""
        return self.take(np.argsort(self.at, kind="stable"))

    def take(self, rows: NDArray[np.int64]) -> Rows:
        return Rows(
            self.plan,
            self.at[rows],
            self.actions[rows],
            self.rewards[rows],
            self.propensities[rows],
            tuple(column.take(rows) for column in self.columns),
        )

    def held_out(self, share: float) -> int:
        """Where the last share of rows in order begins, which has all of its first moment; 0 where
        nothing is before it, and their number where none is held out.
        """
        size = len(self)
        first = size - int(share * size)
        return int(np.searchsorted(self.at, self.at[first])) if first < size else size


def rows_of(shard: ResponseShard, plan: Plan) -> Rows:
    """The rows of one shard; `ValueError` for a reward that nothing can be learned from."""
    responses = shard.load()
    known = np.flatnonzero(responses.actions >= 0)
    rewards = np.asarray(responses.rewards, np.float64)[known]
    _check(rewards, plan.probability)
    context = responses.context.take(known)
    rows = Rows(
        plan,
        np.asarray(context.at).astype(np.int64),
        responses.actions[known],
        rewards,
        np.asarray(responses.propensities, np.float64)[known],
        tuple(column_of(context, name) for name in plan.by),
    )
    return rows.capped()


def _check(rewards: Sequence[float] | Doubles, probability: bool) -> None:
    given = np.asarray(rewards)
    low, high = (0.0, 1.0) if probability else (-np.finfo(np.float32).max, np.finfo(np.float32).max)
    wrong = ~((given >= low) & (given <= high))
    if wrong.any():
        wanted = "from 0 to 1 where probability is set, as it is" if probability else "finite"
        raise ValueError(f"a reward is {given[wrong][0]}; rewards must be {wanted}")


def _mixed(bits: Bits) -> Bits:
    """The mixing function of SplitMix64 (Steele, Lea, Flood, 2014)."""
    bits = bits + np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
