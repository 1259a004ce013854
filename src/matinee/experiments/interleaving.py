"""Interleaving: two rankers on one list, and which of them the members preferred.

Each member sees both rankers at once and so is their own control, where an A/B test must find a
difference of means under the spread of members: see ``benchmarks/interleaving.py``. It says which
ranker is preferred, and not by how much plays would grow.

Of a ranking only as many items matter as there are slots. Those must be distinct, and none may be
missing: a draft that one ranker cannot go on with is not fair.
"""

from __future__ import annotations

from collections.abc import Container, Hashable, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest

from matinee.evaluation.intervals import Betting, Interval, clopper_pearson
from matinee.evaluation.off_policy import Batch
from matinee.evaluation.off_policy.columns import Floats, Integers, integers, require

T = TypeVar("T", bound=Hashable)
Seed = int | np.random.Generator

TIE = 1e-12
"""Credits that differ by less, as a share of their sum, are equal: so far rounding may go."""


@dataclass(frozen=True, slots=True)
class Draft(Generic[T]):
    """What is shown, and the team of each slot: 0 the first ranker's, 1 the second's."""

    shown: tuple[T, ...]
    teams: tuple[int, ...]


def team_draft(first: Sequence[T], second: Sequence[T], slots: int, seed: Seed) -> Draft[T]:
    """A list of both rankers, who take turns as captains do who choose teams.

    In each round of two slots a coin says who begins; each ranker in turn adds its best item that
    is not shown yet to the list and to its team.

    `seed` is a whole number, for the same list each time, or a generator. Raises `ValueError` for a
    ranking with an item twice or with fewer items than slots, and for fewer slots than 1.

    Source: F. Radlinski, M. Kurup, T. Joachims: How does clickthrough data reflect retrieval
    quality? CIKM 2008, algorithm 2. doi:10.1145/1458082.1458092

    >>> draft = team_draft(["heat", "up", "coco"], ["up", "big", "heat"], slots=3, seed=1)
    >>> draft.shown, draft.teams
    (('heat', 'up', 'big'), (0, 1, 1))
    """
    first, second = _checked(first, second, slots)
    coins = np.random.default_rng(seed).integers(2, size=(slots + 1) // 2).tolist()
    teams: dict[T, int] = {}
    for slot in range(slots):
        team = coins[slot // 2] ^ slot % 2
        teams[_head((first, second)[team], teams)] = team
    return Draft(tuple(teams), tuple(teams.values()))


def propensities(first: Sequence[T], second: Sequence[T], shown: Sequence[T]) -> Floats:
    """The chance [K] with which `team_draft` shows each item, given the items in the slots above.

    It is 1/2 or 1, and their product is the chance of the list. Who drafted the slots above need
    not be known: at the start of a round both teams are of one size, and within it the slot above
    tells who began, but where both rankers would have chosen the same.

    Raises `ValueError` for a list that the draft cannot show, and as `team_draft` does.

    >>> propensities(["heat", "up", "coco"], ["up", "big", "heat"], ["heat", "up", "coco"])
    array([0.5, 1. , 0.5])
    """
    if not len(shown):
        return np.zeros(0)
    first, second = _checked(first, second, len(shown))
    chances, above, drafted = np.zeros(len(shown)), set[T](), [0, 1]
    for slot, item in enumerate(shown):
        turns = [1 - team for team in drafted] if slot % 2 else [0, 1]
        drafted = [team for team in turns if _head((first, second)[team], above) == item]
        if not drafted:
            raise ValueError(f"the draft of these rankings cannot show {item!r} in slot {slot}")
        chances[slot] = len(drafted) / len(turns)
        above.add(item)
    return chances


def team_credit(teams: ArrayLike, rewards: ArrayLike) -> Floats:
    """The credit [..., 2] of both rankers: the sums of what their own teams earned.

    teams : [..., K] of 0 and 1, and of -1 where there is no slot. rewards : [..., K] of each slot,
    such as 1 for a click, finite and at least 0. Raises `ValueError` for other values or shapes.

    >>> team_credit([[0, 1, 0], [1, 0, -1]], [[1.0, 0.0, 1.0], [0.0, 0.5, 0.0]])
    array([[2. , 0. ],
           [0.5, 0. ]])
    """
    earned = np.asarray(rewards, np.float64)
    team = integers("teams", teams, earned.shape)
    if not ((team >= -1) & (team <= 1)).all():
        raise ValueError("teams must be 0, 1, or -1 where there is no slot")
    earned = _rewards(np.where(team < 0, 0.0, earned))
    return np.stack([np.where(team == side, earned, 0.0).sum(axis=-1) for side in (0, 1)], axis=-1)


def balanced(first: Sequence[T], second: Sequence[T], slots: int, seed: Seed) -> tuple[T, ...]:
    """A list whose top holds the tops of both rankings, as deep in the one as in the other.

    The rankings are read in turn, a coin says which first, and what is shown already is passed
    over. `seed` and errors as of `team_draft`.

    Prefer `team_draft`: the credit of this one is biased (see `balanced_credit`). It is here to
    read experiments that were run with it.

    Source: T. Joachims: Evaluating retrieval performance using clickthrough data. In: Text Mining,
    Physica, 2003, 79-96. Algorithm 1 of Radlinski, Kurup and Joachims (CIKM 2008).

    >>> balanced(["heat", "up", "coco"], ["up", "big", "heat"], slots=3, seed=1)
    ('heat', 'up', 'big')
    """
    first, second = _checked(first, second, slots)
    rankings = (first, second)
    begins = int(np.random.default_rng(seed).integers(2))
    in_turn = chain.from_iterable(zip(rankings[begins], rankings[1 - begins], strict=True))
    return tuple(islice(dict.fromkeys(in_turn), slots))


def balanced_credit(
    first: Sequence[T], second: Sequence[T], shown: Sequence[T], rewards: ArrayLike
) -> Floats:
    """The credit [2] of both rankers under `balanced`: what was earned in the top k of each.

    k is the smallest for which the two tops together hold all that earned something. So a ranker is
    credited with an item though the other one put it in, if it has it in its own top k. rewards :
    [K] of each slot, finite and at least 0; 0 each where nothing was earned.

    It is biased: of the rankings a b c d and b c d a, whoever clicks on one of the four at random
    prefers the second in three cases of four, whichever of the two lists is shown, and both are
    equally good to them (Radlinski, Kurup and Joachims, 2008; O. Chapelle, T. Joachims,
    F. Radlinski, Y. Yue: Large-scale validation and analysis of interleaved search evaluation. ACM
    TOIS 30(1), 2012. doi:10.1145/2094072.2094078).

    Raises `ValueError` for an item that neither ranking has, and for one twice in a ranking.

    >>> balanced_credit("abcd", "bcda", "abcd", [0.0, 0.0, 1.0, 0.0])
    array([0., 1.])
    """
    earned = np.asarray(rewards, np.float64)
    if earned.shape != (len(shown),):
        raise ValueError(f"rewards have shape {earned.shape}; give one for each slot shown")
    earned = _rewards(earned)
    _require_distinct(first, second)
    places = np.array([_places(ranking, shown) for ranking in (first, second)])
    nearest = places.min(axis=0)
    if not np.isfinite(nearest).all():
        raise ValueError(f"neither ranking has {shown[int(np.argmax(nearest))]!r}")
    most = nearest[earned > 0].max(initial=-1.0)
    credit: Floats = np.where(places <= most, earned, 0.0).sum(axis=1)
    return credit


def preferences(credit: ArrayLike, member: Sequence[Any] | NDArray[Any]) -> Integers:
    """Which ranker each of M members preferred, int64 [M]: 1 the first, -1 the second, 0 neither.

    credit : [N, 2] of N lists, finite and at least 0. member : whose each list was, [N]. A member's
    lists hang together, so that only the sign of the difference of their sums counts, once. Members
    come in the order of their first list. Raises `ValueError` for other values or shapes.

    >>> preferences([[1, 0], [0, 1], [2, 1], [0, 0]], ["ann", "bob", "ann", "eve"])
    array([ 1, -1,  0])
    """
    each = np.asarray(credit, np.float64)
    if each.shape != (len(member), 2):
        raise ValueError(f"credit has shape {each.shape}; give [N, 2], and N members")
    if not len(member):
        return np.zeros(0, np.int64)
    unit = _rewards(each) / max(each.max(), np.finfo(np.float64).tiny)  # or sums may overflow
    _, index, whose = np.unique(np.asarray(member), return_index=True, return_inverse=True)
    first, second = (np.bincount(whose, column)[np.argsort(index)] for column in unit.T)
    equal = np.abs(first - second) <= TIE * (first + second)
    return np.where(equal, 0, np.sign(first - second)).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Preference:
    """How many members preferred each ranker, and what the share of the first can be.

    first, second, neither : members. chance : the p-value, two-sided, of the exact sign test that
    as many prefer the one as the other. fixed : an interval for the share that prefers the first,
    of those who prefer either, for one look at a number of members fixed in advance. any_look : one
    that holds at every look at once. One ranker is better where it leaves 1/2 out.
    """

    first: int
    second: int
    neither: int
    chance: float
    fixed: Interval
    any_look: Interval


def preference(preferred: ArrayLike, alpha: float = 0.05) -> Preference:
    """What the members' preferences [M] of -1, 0 and 1 come to, in order of time.

    `fixed` is of Clopper and Pearson (1934), which leaves 1/2 out exactly where the sign test
    rejects at `alpha`; `any_look` is ``Betting``. Members who prefer neither count in neither.

    To look again and again, and to stop as soon as `any_look` leaves 1/2 out, give at each look the
    members whose window has closed, equally long for all from their first list: a preference that
    still changes would enter twice. Members must not sway one another.

    Raises `ValueError` for other values.

    >>> found = preference([1] * 70 + [-1] * 30 + [0] * 50)
    >>> found.first, found.second, found.neither, found.chance < 0.001
    (70, 30, 50, True)
    >>> round(found.fixed.low, 2), round(found.fixed.high, 2)
    (0.6, 0.79)
    """
    each = np.asarray(preferred, np.float64)
    if each.ndim != 1:
        raise ValueError(f"preferences have shape {each.shape}; give one for each member")
    require(np.isin(each, (-1, 0, 1)), "preferences", each, "-1, 0 or 1")
    decided = (each[each != 0] > 0).astype(np.float64)
    ones = np.ones(len(decided))
    any_look = Betting(alpha=alpha).add(Batch.of(decided, ones, ones)).interval()
    first, some = int(decided.sum()), len(decided)
    chance = float(binomtest(first, some).pvalue) if some else 1.0
    fixed = clopper_pearson(first, some, alpha=alpha)
    return Preference(first, some - first, len(each) - some, chance, fixed, any_look)


def _checked(
    first: Sequence[T], second: Sequence[T], slots: int
) -> tuple[Sequence[T], Sequence[T]]:
    """The parts of both rankings that can matter."""
    if slots < 1:
        raise ValueError(f"slots is {slots}; give at least 1")
    for name, ranking in (("first", first), ("second", second)):
        if len(ranking) < slots:
            raise ValueError(
                f"the {name} ranking has {len(ranking)} items for {slots} slots; give fewer slots"
            )
    first, second = first[:slots], second[:slots]
    _require_distinct(first, second)
    return first, second


def _require_distinct(first: Sequence[T], second: Sequence[T]) -> None:
    for name, ranking in (("first", first), ("second", second)):
        if len(set(ranking)) < len(ranking):
            raise ValueError(f"the {name} ranking has an item twice; give distinct items")


def _head(ranking: Sequence[T], shown: Container[T]) -> T:
    """The best item that is not shown."""
    return next(item for item in ranking if item not in shown)


def _places(ranking: Sequence[T], shown: Sequence[T]) -> list[float]:
    """Where the ranking has each shown item, from 0; infinity where it has it not."""
    places = {item: place for place, item in enumerate(ranking)}
    return [places.get(item, float("inf")) for item in shown]


def _rewards(rewards: Floats) -> Floats:
    if not ((rewards >= 0) & (rewards < np.inf)).all():
        raise ValueError("rewards must be finite and at least 0")
    return rewards
