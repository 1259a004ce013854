"""Logged decisions with a version's chances of each, as columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from sys import intern
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from matinee.evaluation.off_policy import Slates
from matinee.lake.records import Decision, micros
from matinee.service.chances import Chances, Floats

CELLS = 20_000_000
"""Chances of a version that are kept of decisions of one slot, decisions times actions: 160 MB. Of
larger logs none are, and no reward is predicted."""

Integers = NDArray[np.int64]
Texts = NDArray[np.object_]


class Numbers:
    """Members by number as they come, and the B actions that a log shows alone in its decisions.

    `shown` has these; `sets` the candidates of each eligible set, ascending by id.
    """

    def __init__(self, shown: Sequence[str], sets: Mapping[str, Sequence[str]]) -> None:
        self.actions = len(shown)
        self._members: dict[str, int] = {}
        numbers = {action: number for number, action in enumerate(shown)}
        self._columns = {
            name: np.array([numbers.get(each, self.actions) for each in candidates], np.int64)
            for name, candidates in sets.items()
        }

    def member(self, member_id: str) -> int:
        """The number of a member."""
        return self._members.setdefault(member_id, len(self._members))

    def columns(self, eligible: str) -> Integers:
        """The number of each candidate of an eligible set; B of all that are never shown."""
        return self._columns[eligible]


@dataclass(frozen=True)
class Wholes:
    """A version's chances of what the log of one slot shows, in N decisions.

    shown : the action that was shown, by its column [N]. largest : see `Whole`, [N].
    chance : float64 [N, B + 1], of each of the B actions that are ever shown, and last of all
        others together; `None` where that is more than `CELLS`.
    """

    shown: Integers
    largest: Floats
    chance: Floats | None


@dataclass(frozen=True)
class Weighed:
    """Closed decisions in order of time, and a version's chances of each slot of each.

    at, closed_at : int64 [N], microseconds since 1970. policy : who decided [N]. country : where.
    slates : the decisions with the logging and the version's propensities. Marginal ones are
        simulated for slates of several slots and exact for one.
    outside, outside_first : float64 [N], the share of the version's titles that the log could not
        have shown, in all slots and in the first; `missing` has their sums by action.
    variance : float64 [N], see `Beyond`.
    chosen : how often each action is in slates drawn from the version, a few a decision, and
        `fresh` how many of these were new.
    latency : float64 [L], milliseconds in which it preferred in some decisions, asked one at a
        time; empty where it decided itself.
    wholes : where all decisions are of one slot.
    """

    at: Integers
    closed_at: Integers
    policy: list[str]
    country: list[str]
    slates: Slates
    outside: Floats
    outside_first: Floats
    variance: Floats
    missing: Mapping[str, float]
    chosen: Counter[str]
    fresh: int
    latency: Floats
    wholes: Wholes | None


class Kept:
    """What a version said of decisions, as columns, so that the decisions themselves are let go.

    One of K slots takes some 150 + 56 K bytes, and one of a single slot 8 for each action that the
    log shows besides. Parts may come in any order; one member's decisions are one cluster in all.
    """

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers
        self._parts: list[_Part] = []
        self._cells = 0
        self._missing: dict[str, float] = {}
        self._chosen = Counter[str]()
        self._fresh = 0

    def add(self, said: Sequence[Chances]) -> None:
        """Keep what it said of a part of the log."""
        if not said:
            return
        for one in said:
            self._chosen.update(one.drawn)
            self._fresh += sum(title in one.shown.fresh for title in one.drawn)
            for title, share in one.beyond.missing.items():
                self._missing[title] = self._missing.get(title, 0.0) + share
        few = self._cells <= CELLS
        self._cells += len(said) * (self._numbers.actions + 1)
        if few and self._cells > CELLS:
            self._parts = [part.without_chances() for part in self._parts]
        self._parts.append(_part(said, self._numbers, chances=self._cells <= CELLS))

    def weighed(self, latency: Sequence[float]) -> Weighed:
        """All of it, in order of time and then of the decisions' ids; nothing is kept after that.

        Raises `ValueError` as `Slates.of` does.
        """
        parts = self._parts or [_part([], self._numbers, chances=True)]
        self._parts = []
        at = np.concatenate([part.at for part in parts])
        order = np.lexsort((np.concatenate([part.name for part in parts]), at))
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        policy, where = (np.concatenate([part.who[i] for part in parts])[order] for i in (0, 1))
        shares = np.concatenate([part.shares for part in parts], axis=1)[:, order]
        return Weighed(
            at[order],
            np.concatenate([part.closed_at for part in parts])[order],
            policy.tolist(),
            where.tolist(),
            _slates(parts, order, place),
            shares[0],
            shares[1],
            shares[2],
            self._missing,
            self._chosen,
            self._fresh,
            np.array(latency),
            _wholes(parts, order, place),
        )


def country(record: Decision) -> str:
    """Where it was decided; "none" where nobody said."""
    return str(record.context.get("country") or "none")


class _Part(NamedTuple):
    """N decisions of M slots in all, in the order in which they came.

    name : their ids. who : the policies that made them, and the countries.
    slots : float64 [7, M], the columns of `_SLOTS`. shares : float64 [3, N], outside,
    outside_first and variance.
    """

    name: Texts
    at: Integers
    closed_at: Integers
    member: Integers
    lengths: Integers
    who: tuple[Texts, Texts]
    slots: Floats
    shares: Floats
    wholes: Wholes | None

    def without_chances(self) -> _Part:
        """This with no chances of actions that were not shown."""
        wholes = self.wholes
        return self._replace(wholes=wholes and replace(wholes, chance=None))


_SLOTS = (
    "reward",
    "propensity",
    "target",
    "marginal",
    "marginal_target",
    "marginal_error",
    "marginal_target_error",
)


def _part(said: Sequence[Chances], numbers: Numbers, *, chances: bool) -> _Part:
    records = [one.shown.record for one in said]
    slots = [
        (
            one.shown.reward,
            one.shown.record.propensities,
            one.target,
            one.logging[0],
            one.wanted[0],
            one.logging[1],
            one.wanted[1],
        )
        for one in said
    ]
    shares = [(one.outside, one.beyond.first, one.beyond.variance) for one in said]
    return _Part(
        np.array([record.decision_id for record in records], np.object_),
        np.array([micros(record.at) for record in records], np.int64),
        np.array([one.shown.closed_at for one in said], np.int64),
        np.array([numbers.member(record.member_id) for record in records], np.int64),
        np.array([len(one.shown.reward) for one in said], np.int64),
        (
            np.array([intern(record.policy) for record in records], np.object_),
            np.array([intern(country(record)) for record in records], np.object_),
        ),
        np.concatenate([np.zeros((len(_SLOTS), 0)), *map(np.array, slots)], axis=1),
        np.array(shares).reshape(len(said), 3).T,
        _wholes_of(said, numbers, chances=chances),
    )


def _wholes_of(said: Sequence[Chances], numbers: Numbers, *, chances: bool) -> Wholes | None:
    wholes = [one.whole for one in said if one.whole is not None]
    if not said or len(wholes) < len(said):
        return None
    columns = [numbers.columns(one.shown.record.eligible) for one in said]
    size = numbers.actions + 1
    return Wholes(
        np.array([each[one.shown.actions[0]] for each, one in zip(columns, said, strict=True)]),
        np.array([whole.largest for whole in wholes]),
        np.array(
            [
                np.bincount(each[whole.places], whole.chances, size)
                for each, whole in zip(columns, wholes, strict=True)
            ]
        )
        if chances
        else None,
    )


def _slates(parts: Sequence[_Part], order: Integers, place: Integers) -> Slates:
    """The slates; shorter ones are filled up."""
    lengths = np.concatenate([part.lengths for part in parts])
    members = np.concatenate([part.member for part in parts])[order]
    _, first, cluster = np.unique(members, return_index=True, return_inverse=True)
    slots = int(lengths.max(initial=1))
    return Slates.of(
        **_tables(parts, np.repeat(place, lengths), _from_zero(lengths), (len(order), slots)),
        shown=np.arange(slots) < lengths[order][:, None],
        cluster=first.argsort().argsort()[cluster],
    )


def _from_zero(lengths: Integers) -> Integers:
    """0 .. K - 1 for each length K, one after the other."""
    return np.arange(lengths.sum()) - np.repeat(lengths.cumsum() - lengths, lengths)


def _tables(
    parts: Sequence[_Part], row: Integers, slot: Integers, shape: tuple[int, int]
) -> dict[str, Floats]:
    """Each of `_SLOTS` as a table, from the rows [M] and slots [M] of what parts hold."""
    tables = {name: np.ones(shape) for name in _SLOTS}
    for number, table in enumerate(tables.values()):
        table[row, slot] = np.concatenate([part.slots[number] for part in parts])
    return tables


def _wholes(parts: Sequence[_Part], order: Integers, place: Integers) -> Wholes | None:
    wholes = [part.wholes for part in parts if part.wholes is not None]
    if len(wholes) < len(parts):
        return None
    chances = [whole.chance for whole in wholes if whole.chance is not None]
    chance = None
    if len(chances) == len(wholes):
        chance = np.empty((len(order), chances[0].shape[1]))
        ends = np.cumsum([len(each) for each in chances])
        for rows, each in zip(np.split(place, ends[:-1]), chances, strict=True):
            chance[rows] = each
    return Wholes(
        np.concatenate([whole.shown for whole in wholes])[order],
        np.concatenate([whole.largest for whole in wholes])[order],
        chance,
    )
