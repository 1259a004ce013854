"""Is it the picture or the title? What choosing a picture for each member is worth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from matinee.evaluation.intervals.base import Interval
from matinee.evaluation.intervals.normal import normal
from matinee.evaluation.off_policy.base import Value
from matinee.evaluation.off_policy.columns import filled, integers, one_each, require
from matinee.evaluation.off_policy.moments import Moments

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

TRUSTED = 20.0
"""Choices of a picture, weighed, that count as much as the mean of its title."""


@dataclass(frozen=True)
class Units:
    """First choices for N members and titles, all by one policy that chose for each member.

    member, title, picture : int64 [N]; a picture is of one title. propensity : float64 [N], in
    (0, 1]. reward : float64 [N].
    """

    member: Integers
    title: Integers
    picture: Integers
    propensity: Floats
    reward: Floats

    @classmethod
    def of(
        cls,
        *,
        member: ArrayLike,
        title: ArrayLike,
        picture: ArrayLike,
        propensity: ArrayLike,
        reward: ArrayLike,
    ) -> Self:
        """Checked units; `ValueError` for what they cannot be."""
        rewards = one_each(reward)
        require(np.isfinite(rewards), "reward", rewards, "finite")
        shape = rewards.shape
        chances = filled("propensity", propensity, shape)
        require((chances > 0) & (chances <= 1), "propensity", chances, "above 0 and 1 at most")
        columns = {"member": member, "title": title, "picture": picture}
        whole = {name: integers(name, column, shape) for name, column in columns.items()}
        return cls(**whole, propensity=chances, reward=rewards)

    def __len__(self) -> int:
        return len(self.reward)

    def take(self, rows: NDArray[np.bool_]) -> Units:
        """Those of these rows."""
        return Units(
            self.member[rows],
            self.title[rows],
            self.picture[rows],
            self.propensity[rows],
            self.reward[rows],
        )


@dataclass(frozen=True)
class Attribution:
    """Mean rewards of a member and a title, with intervals clustered by member.

    personal : with the pictures that were chosen for members. single : with the best single picture
    of each title, for all alike. difference : what choosing for each brings beside that. titles :
    of how many titles there were choices in both halves.
    """

    personal: Interval
    single: Interval
    difference: Interval
    units: int
    members: int
    titles: int


def attribution(units: Units, alpha: float = 0.05, seed: int = 0) -> Attribution:
    r"""What personal pictures bring beside the best single picture of each title.

    Members fall into two halves. In one the best single picture b(t) of each title is chosen; what
    it would have earned is scored in the other, and both ways round, so that luck in choosing does
    not count for it. With q from the half that chose, unit i of the other is worth under b

    .. math:: v_i = q(t_i, b(t_i)) + \frac{[a_i = b(t_i)]}{p_i} (r_i - q(t_i, a_i))

    (doubly robust: right if the propensities are, whatever q), and r_i - v_i is the difference. q
    weighs rewards by 1 / p, so that a picture shown to those who like it is not taken for one that
    everybody does, and draws them towards the title's mean. Give first choices alone: a second one
    is made for those who did not take the first. Below two members there are no intervals; a title
    with choices in one half alone has nothing to be compared with, and is left out.

    >>> rng = np.random.default_rng(0)
    >>> member = np.arange(4000)
    >>> taste, picture = member % 2, rng.integers(0, 2, 4000)
    >>> likes = np.where(rng.random(4000) < 0.9, taste, 1 - taste)  # nine in ten get what they like
    >>> reward = rng.random(4000) < np.where(likes == taste, 0.4, 0.2)
    >>> chance = np.where(likes == taste, 0.9, 0.1)
    >>> found = attribution(Units.of(member=member, title=0 * member, picture=likes,
    ...                              propensity=chance, reward=reward))
    >>> 0.05 < found.difference.low < 0.38 - 0.30 < found.difference.high
    True
    """
    half = _halves(units.member, seed)
    worth, known = np.zeros(len(units)), np.zeros(len(units), bool)
    for side in (False, True):
        chosen, scored = units.take(half == side), half != side
        worth[scored], known[scored] = _single(chosen, units.take(scored))
    kept = units.take(known)
    return Attribution(
        mean_of(kept.reward, kept.member, alpha),
        mean_of(worth[known], kept.member, alpha),
        mean_of(kept.reward - worth[known], kept.member, alpha),
        len(kept),
        len(np.unique(kept.member)),
        len(np.unique(kept.title)),
    )


def _halves(member: Integers, seed: int) -> NDArray[np.bool_]:
    """Which half each unit's member is in."""
    members, number = np.unique(member, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(members))
    return (order % 2).astype(bool)[number]


def _single(chosen: Units, scored: Units) -> tuple[Floats, NDArray[np.bool_]]:
    """What each unit that is scored is worth with the best single picture of the other half, and
    whether its title has one.
    """
    titles, means = _means(chosen.title, chosen.reward, np.ones(len(chosen)))
    pictures, first = np.unique(chosen.picture, return_index=True)
    of_title = np.searchsorted(titles, chosen.title[first])
    prior = means[of_title] if len(first) else np.zeros(0)
    weight = 1 / chosen.propensity
    number = np.searchsorted(pictures, chosen.picture)
    total = np.bincount(number, weight, len(pictures))
    earned = np.bincount(number, weight * chosen.reward, len(pictures))
    expected = (earned + TRUSTED * prior) / (total + TRUSTED)
    best = np.full(len(titles), -1)
    for place in np.argsort(expected, kind="stable").tolist():
        best[of_title[place]] = place
    where = np.searchsorted(titles, scored.title)
    known = np.isin(scored.title, titles)
    where[~known] = 0
    worth = np.zeros(len(scored))
    if len(titles):
        shown = _expected(pictures, expected, means[where], scored.picture)
        own = pictures[best[where]] == scored.picture
        worth = expected[best[where]] + own / scored.propensity * (scored.reward - shown)
    return worth, known


def _means(group: Integers, reward: Floats, weight: Floats) -> tuple[Integers, Floats]:
    """The groups, ascending, and the weighed mean of each."""
    groups, number = np.unique(group, return_inverse=True)
    total = np.bincount(number, weight, len(groups))
    return groups, np.bincount(number, weight * reward, len(groups)) / np.maximum(total, 1e-300)


def _expected(pictures: Integers, expected: Floats, otherwise: Floats, shown: Integers) -> Floats:
    """What is expected of the pictures that were shown; the title's mean of one never chosen."""
    places = np.minimum(np.searchsorted(pictures, shown), len(pictures) - 1)
    return np.where(pictures[places] == shown, expected[places], otherwise)


def mean_of(values: Floats, member: Integers, alpha: float = 0.05) -> Interval:
    """The mean of values [N], with an interval clustered by member [N]."""
    if not len(values):
        return normal(Value(np.nan, np.nan, 0, 0), alpha)
    moments = Moments.of(values[:, None], member)
    error = moments.error(np.ones(1))
    return normal(Value(float(moments.means[0]), error, moments.rows, moments.clusters), alpha)
