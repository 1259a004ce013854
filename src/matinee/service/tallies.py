"""What the members of an experiment did, bucket by bucket, in sums that merge."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from matinee.experiments.arms import Arm
from matinee.experiments.plan import Allocator, Experiment, Plan
from matinee.lake.records import micros
from matinee.lake.table import Bucket, collect
from matinee.service.arms import arm_name
from matinee.service.outcomes import counted
from matinee.surfaces import Surface

BEFORE = timedelta(days=28)
"""How far back what a member watched before they entered is looked at."""
REWARD, MINUTES, PREVIOUS, NEW, DECISIONS = range(5)
"""The numbers of a member, which are the columns of an `Arm`."""
NOBODY = Arm.of(np.empty((0, 5)))

Floats = NDArray[np.float64]
Shard = tuple[Bucket, Bucket, Bucket]
"""The decisions, outcomes and events of some members."""
Span = tuple[datetime, datetime]
Key = TypeVar("Key")
Value = TypeVar("Value")


@dataclass(frozen=True)
class Asked:
    """What is asked of every bucket.

    ends : the looks, ascending; the last is the time of reading. until : what is watched later says
    nothing of the arms. halted : stretches from and before which all members had the champion.
    holdouts : a plan of nothing but these.
    """

    experiment: Experiment
    surface: Surface
    ends: tuple[datetime, ...]
    until: datetime
    halted: tuple[Span, ...]
    holdouts: Plan
    salt: bytes

    @property
    def now(self) -> datetime:
        return self.ends[-1]

    @property
    def arms(self) -> list[str]:
        return [arm.name for arm in self.experiment.arms]


@dataclass(frozen=True)
class Tally:
    """Sums over members: of two that share none, ``+`` gives that of both.

    looks : by arm and look (its place among the ends), members who had entered by then with what
    their decisions had brought; the other columns are as of the last look. countries : by arm and
    country at the last look. minutes : by arm, what each member watched since they entered.
    decided : decisions by arm, closed or not. left_out : members in two arms, or held out.
    """

    looks: Mapping[tuple[str, int], Arm] = field(default_factory=dict)
    countries: Mapping[tuple[str, str], Arm] = field(default_factory=dict)
    minutes: Mapping[str, tuple[Floats, ...]] = field(default_factory=dict)
    decided: Mapping[str, int] = field(default_factory=dict)
    left_out: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            _together(self.looks, other.looks),
            _together(self.countries, other.countries),
            _together(self.minutes, other.minutes),
            _together(self.decided, other.decided),
            self.left_out + other.left_out,
        )

    def at(self, arm: str, look: int) -> Arm:
        """An arm at a look."""
        return self.looks.get((arm, look), NOBODY)

    def within(self, arm: str, country: str) -> Arm:
        """The members of an arm in a country."""
        return self.countries.get((arm, country), NOBODY)

    def watched(self, arm: str) -> Floats:
        """The minutes [N] that the members of an arm watched, in no particular order."""
        return np.concatenate([np.empty(0), *self.minutes.get(arm, ())])


def tally(shard: Shard, asked: Asked) -> Tally:
    """What the members of one bucket did; only their rows are in memory."""
    decisions, outcomes, events = shard
    made = _made(decisions, asked)
    closed = _closed(made, outcomes, asked)
    everyone = _entered(closed, asked)
    members = everyone.filter(stays=True).with_row_index("place")
    decided = dict(made.group_by("arm").len().iter_rows())
    return _summed(
        _watched(members, events, asked),
        closed.join(members.select("member_id", "place"), on="member_id"),
        asked,
        Tally(decided=decided, left_out=everyone.height - members.height),
    )


def _made(bucket: Bucket, asked: Asked) -> pl.DataFrame:
    """decision_id, member_id, at, context, arm of the decisions that count."""
    one = asked.experiment
    arms = {arm_name(one.name, arm): arm for arm in asked.arms}
    rows = bucket.scan().filter(
        pl.col("surface") == one.surface,
        pl.col("at") >= one.start,
        pl.col("arm").is_in(list(arms)),
    )
    arm = pl.col("arm").replace(arms)
    mine = counted(rows, asked.surface).select("decision_id", "member_id", "at", "context", arm)
    return collect(mine, "decisions")


def _closed(made: pl.DataFrame, outcomes: Bucket, asked: Asked) -> pl.DataFrame:
    """The decisions whose windows are closed, in order, with `reward`, and `look`: from which on
    that counts.
    """
    rewards = (
        outcomes.scan()
        .filter(
            pl.col("surface") == asked.experiment.surface,
            pl.col("decided_at") >= asked.experiment.start,
            pl.col("closed_at") <= asked.now,
        )
        .group_by("decision_id")
        .agg(reward=pl.col("reward").sum(), closed_at=pl.col("closed_at").max())
    )
    closed = collect(made.lazy().join(rewards, on="decision_id"), "outcomes")
    ends = np.array([micros(end) for end in asked.ends])
    look = np.searchsorted(ends, closed["closed_at"].dt.epoch("us").to_numpy())
    return closed.with_columns(look=pl.Series(look, dtype=pl.Int64)).sort("at", "decision_id")


def _entered(closed: pl.DataFrame, asked: Asked) -> pl.DataFrame:
    """member_id, arm, country, entered_at, look of each member's first decision, and whether the
    member `stays`: was seen in one arm, and is not held out.
    """
    members = closed.group_by("member_id", maintain_order=True).agg(
        pl.col("arm").first(),
        country=pl.col("context").first().str.json_path_match("$.country").fill_null("none"),
        entered_at=pl.col("at").first(),
        look=pl.col("look").first(),
        stays=pl.col("arm").n_unique() == 1,
    )
    allocator = Allocator(asked.holdouts, asked.salt)
    ids = members["member_id"].to_list()
    held = allocator.many(ids, asked.experiment.surface, asked.now).codes > 0
    return members.with_columns(stays=pl.col("stays") & ~pl.Series(held))


def _watched(members: pl.DataFrame, events: Bucket, asked: Asked) -> pl.DataFrame:
    """The members with minutes watched since they entered and in the weeks before, and whether they
    were `new`, without any of those.
    """
    first = min(members["entered_at"].to_list(), default=asked.now)
    ts, entered, halted = pl.col("ts"), pl.col("entered_at"), pl.lit(value=False)
    for begins, ends in asked.halted:
        halted |= ts.is_between(begins, ends, closed="left")
    known = (
        events.scan()
        .filter(pl.col("kind") == "play", ts.is_between(first - BEFORE, asked.until))
        .select("member_id", "ts", minutes=pl.col("value").fill_null(0.0))
        .join(members.lazy().select("member_id", "entered_at"), on="member_id")
    )
    since = (ts >= entered) & ~halted
    earlier = (ts < entered) & (ts >= entered - BEFORE)
    minutes = known.group_by("member_id").agg(
        minutes=pl.col("minutes").filter(since).sum(),
        previous=pl.col("minutes").filter(earlier).sum(),
        new=(~earlier.any()).cast(pl.Float64),
    )
    return members.join(
        collect(minutes, "events"), on="member_id", how="left", maintain_order="left"
    ).with_columns(pl.col("minutes", "previous").fill_null(0.0), pl.col("new").fill_null(1.0))


def _summed(members: pl.DataFrame, closed: pl.DataFrame, asked: Asked, rest: Tally) -> Tally:
    """The sums over the members of a bucket, and what the `rest` has."""
    looks, countries = dict[tuple[str, int], Arm](), dict[tuple[str, str], Arm]()
    arm, country = (members[name].to_numpy() for name in ("arm", "country"))
    look, rows = members["look"].to_numpy(), np.empty((0, 5))
    for number, rows in enumerate(_rows(members, closed, len(asked.ends))):
        for name in asked.arms:
            looks[name, number] = Arm.of(rows[(look <= number) & (arm == name)])
    for where in sorted(set(country)):
        for name in asked.arms:
            countries[name, where] = Arm.of(rows[(country == where) & (arm == name)])
    minutes = {name: (rows[arm == name, MINUTES],) for name in asked.arms}
    return Tally(looks, countries, minutes, rest.decided, rest.left_out)


def _rows(members: pl.DataFrame, closed: pl.DataFrame, looks: int) -> Iterator[Floats]:
    """The numbers [M, 5] of the members at each look, in the same array."""
    rows = np.zeros((members.height, 5))
    rows[:, MINUTES : NEW + 1] = members.select("minutes", "previous", "new").to_numpy()
    place, look, reward = (closed[name].to_numpy() for name in ("place", "look", "reward"))
    for number in range(looks):
        here = look == number
        rows[:, REWARD] += np.bincount(place[here], reward[here], members.height)
        rows[:, DECISIONS] += np.bincount(place[here], minlength=members.height)
        yield rows


def _together(one: Mapping[Key, Value], other: Mapping[Key, Value]) -> dict[Key, Any]:
    """The values of both; those of one key added.

    >>> _together({"a": 1, "b": 2}, {"b": 3})
    {'a': 1, 'b': 5}
    """
    both = {key: operator.add(one[key], other[key]) for key in one if key in other}
    return {**one, **other, **both}
