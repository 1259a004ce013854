"""Is it the picture or the title? What choosing a picture for each member is worth."""

from __future__ import annotations

from collections.abc import Sequence
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
    (0, 1]. reward : float64 [N]. choice : int64 [N], by number the set of pictures that could have
    been shown; `sets` has the pictures of each.
    """

    member: Integers
    title: Integers
    picture: Integers
    propensity: Floats
    reward: Floats
    choice: Integers
    sets: Sequence[Integers]

    @classmethod
    def of(
        cls,
        *,
        member: ArrayLike,
        title: ArrayLike,
        picture: ArrayLike,
        propensity: ArrayLike,
        reward: ArrayLike,
        choice: ArrayLike | None = None,
        sets: Sequence[ArrayLike] = (),
    ) -> Self:
        """Checked units; `ValueError` for what they cannot be. Without sets every picture of a
        title that was ever shown could have been.
        """
        rewards = one_each(reward)
        require(np.isfinite(rewards), "reward", rewards, "finite")
        shape = rewards.shape
        chances = filled("propensity", propensity, shape)
        require((chances > 0) & (chances <= 1), "propensity", chances, "above 0 and 1 at most")
        columns = {"member": member, "title": title, "picture": picture}
        whole = {name: integers(name, column, shape) for name, column in columns.items()}
        if choice is None:
            sets, numbers = _all_of(whole["title"], whole["picture"])
        else:
            numbers = integers("choice", choice, shape)
            inside = (numbers >= 0) & (numbers < len(sets))
            require(inside, "choice", numbers, "the number of a set")
        listed = [np.unique(np.asarray(one, np.int64)) for one in sets]
        if not all(map(len, listed)):
            raise ValueError("a set of pictures is empty; leave out units with nothing to show")
        return cls(**whole, propensity=chances, reward=rewards, choice=numbers, sets=listed)

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
            self.choice[rows],
            self.sets,
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
    everybody does, and draws them towards the title's mean. Where b(t) may not be shown, in another
    country say, the best that may takes its place. Give first choices alone: a second one
    depends on what came of the first. Below two members there are no intervals; a title
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
    whether anything is known of its title there.
    """
    titles, means = _means(chosen.title, chosen.reward)
    known = np.isin(scored.title, titles)
    worth = np.zeros(len(scored))
    if not known.any():
        return worth, known
    pictures, expected = _expected(chosen, titles, means)
    prior = means[np.minimum(np.searchsorted(titles, scored.title), len(titles) - 1)]
    best = _best(scored, pictures, expected)
    own = best == scored.picture
    correction = own / scored.propensity * (scored.reward - _of(best, pictures, expected, prior))
    worth = _of(best, pictures, expected, prior) + correction
    return worth, known


def _expected(chosen: Units, titles: Integers, means: Floats) -> tuple[Integers, Floats]:
    """The pictures that were chosen, ascending, and what is expected of each."""
    pictures, first, number = np.unique(chosen.picture, return_index=True, return_inverse=True)
    prior = means[np.searchsorted(titles, chosen.title[first])]
    weight = 1 / chosen.propensity
    total = np.bincount(number, weight, len(pictures))
    earned = np.bincount(number, weight * chosen.reward, len(pictures))
    return pictures, (earned + TRUSTED * prior) / (total + TRUSTED)


def _best(scored: Units, pictures: Integers, expected: Floats) -> Integers:
    """The best picture that could be shown in each unit, of those that are known, else any."""
    best = np.full(len(scored.sets), -1)
    for number in np.unique(scored.choice).tolist():
        listed = scored.sets[number]
        worth = _of(listed, pictures, expected, np.full(len(listed), -np.inf))
        best[number] = listed[worth.argmax()]
    return best[scored.choice]


def _of(which: Integers, pictures: Integers, expected: Floats, otherwise: Floats) -> Floats:
    """What is expected of pictures, or something else of those that were never chosen."""
    places = np.minimum(np.searchsorted(pictures, which), len(pictures) - 1)
    return np.where(pictures[places] == which, expected[places], otherwise)


def _means(group: Integers, reward: Floats) -> tuple[Integers, Floats]:
    """The groups, ascending, and the mean of each."""
    groups, number = np.unique(group, return_inverse=True)
    counts = np.bincount(number, minlength=len(groups))
    return groups, np.bincount(number, reward, len(groups)) / counts


def _all_of(title: Integers, picture: Integers) -> tuple[list[Integers], Integers]:
    """All pictures of each title that stand in a log, and each row's number of its title."""
    titles, number = np.unique(title, return_inverse=True)
    order = np.argsort(number, kind="stable")
    parts = np.split(picture[order], np.searchsorted(number[order], np.arange(1, len(titles))))
    return parts[: len(titles)], number


def mean_of(values: Floats, member: Integers, alpha: float = 0.05) -> Interval:
    """The mean of values [N], with an interval clustered by member [N]."""
    if not len(values):
        return normal(Value(np.nan, np.nan, 0, 0), alpha)
    moments = Moments.of(values[:, None], member)
    error = moments.error(np.ones(1))
    return normal(Value(float(moments.means[0]), error, moments.rows, moments.clusters), alpha)
