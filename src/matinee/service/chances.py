"""What a version would do where a decision was logged: its chances beside those of the log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from matinee.decisions import generator
from matinee.decisions.rebuild import preference_of
from matinee.evaluation.off_policy import simulated_marginals
from matinee.lake.records import Decision
from matinee.policies import PlackettLuce, Policy, Preference

DRAWS = 32
"""Simulated slates for the marginal propensities of one decision."""

LIKELY = 0.05
"""Chance of the first slot from which on a choice is held against its propensity: rarer ones come
too seldom to be checked one by one."""

SLATES = 4
"""Slates drawn from a version for each decision, to see what it would show."""

Floats = NDArray[np.float64]
Places = NDArray[np.int32]
Marginals = tuple[Floats, Floats]


class Drawn(NamedTuple):
    """A slate that was drawn, in positions of the eligible set, and the chance of its first one."""

    actions: Places
    first: float


@dataclass(frozen=True)
class Shown:
    """A logged decision of K slots as versions are asked about it.

    candidates : the ids of its eligible set, ascending. fresh : those that were new then. logger :
    the policy that decided. actions [K] : where what was shown stands among the candidates.
    closed_at : when its rewards [K] were final, microseconds since 1970.
    """

    record: Decision
    reward: Floats
    closed_at: int
    candidates: Sequence[str]
    fresh: frozenset[str]
    logger: Policy
    actions: Places

    @cached_property
    def preference(self) -> Preference:
        """What the logger drew from."""
        return preference_of(self.record)

    @cached_property
    def distribution(self) -> Floats:
        """The logger's chance [S] of each action of its segment in the first slot."""
        return _distribution(self.logger, self.preference)

    @cached_property
    def marginals(self) -> Marginals:
        r"""The logger's chances of what was shown [K], made to be divided by, and errors [K].

        Where simulation takes the mean of p(a_k | what was drawn above), the logged slate is one
        draw more, which keeps it above 0. With draws j = 0 .. D alike, and 0 the logged one,

            E[ g(a_k) / m ] = sum_a E[ p(a | 0) g(a) / m(a) ] = sum_a E[ m(a) g(a) / m(a) ]

        so that 1 / m is right without a correction, and has no error to carry.
        """
        seed = [self.record.seed, 0]
        marginals, errors = _marginals(self.logger, self.preference, self.actions, seed)
        if isinstance(self.logger, PlackettLuce):
            return marginals, errors
        own = np.array(self.record.propensities)
        return (DRAWS * marginals + own) / (DRAWS + 1), np.zeros(len(own))

    @cached_property
    def likely(self) -> tuple[Places, Floats]:
        """The candidates first in the segment with a first-slot chance of `LIKELY` or more, and
        that chance."""
        segment = self.preference.segment
        if len(self.actions) == 1:
            enough = self.distribution >= LIKELY
            return segment[enough], self.distribution[enough]
        found: list[float] = []
        for place in segment.tolist():
            chance = self.logger.propensities(self.preference, np.array([place], np.int32))
            if chance[0] < LIKELY:
                break
            found.append(chance[0])
        return segment[: len(found)], np.array(found)

    def could_show(self, slate: Places) -> tuple[NDArray[np.bool_], float]:
        """Whether the logger could have shown what stands in each slot [K] of another's slate.

        It could not outside its segment, and from the first title on that it never puts there: what
        it would show below one is not known. Also the chance of what stands in the first slot.
        """
        inside = np.isin(slate, self.preference.segment)
        chance = self.logger.propensities(self.preference, slate)
        never = np.logical_or.accumulate(inside & (chance == 0))
        return inside & ~never, float(chance[0])


@dataclass(frozen=True)
class Whole:
    """A version's whole distribution over one slot: which candidates [S], with which chances [S].

    `largest` is the largest weight that any action could have had.
    """

    places: Places
    chances: Floats
    largest: float


class Beyond(NamedTuple):
    """What a version would choose and the log could not show.

    missing : by title, in shares of all that it would choose. first : the share of the first slot.
    variance : of the first slot's weight, given what was known; exact for one slot.
    """

    missing: Mapping[str, float]
    first: float
    variance: float


@dataclass(frozen=True)
class Chances:
    """What a version would do in a logged decision, beside what the logger did.

    target : its conditional chances [K] of what was shown. logging, wanted : the logger's marginal
    chances and its own. drawn : what stands in a few slates of it. beyond : what it would choose
    and the log could not show. whole : where there is one slot.
    """

    shown: Shown
    target: Floats
    logging: Marginals
    wanted: Marginals
    drawn: list[str]
    beyond: Beyond
    whole: Whole | None

    @property
    def outside(self) -> float:
        """The share of what it would choose that the log could not show."""
        return min(float(sum(self.beyond.missing.values())), 1.0)


def own_chances(shown: Shown) -> Chances:
    """Those of the version that decided itself: every ratio is one, exactly."""
    ones, none = np.ones(len(shown.actions)), np.zeros(len(shown.actions))
    preference, seed, whole = shown.preference, shown.record.seed, None
    if len(shown.actions) == 1:
        whole = Whole(preference.segment, shown.distribution, 1.0)
        drawn = _choices(whole, seed)
    else:
        slates = _slates(shown.logger, preference, len(ones), seed)
        drawn = [place for slate in slates for place in slate.actions.tolist()]
    return Chances(
        shown,
        np.array(shown.record.propensities),
        (ones, none),
        (ones, none),
        [shown.candidates[place] for place in drawn],
        Beyond({}, 0.0, 0.0),
        whole,
    )


def chances(shown: Shown, version: Policy, preference: Preference) -> Chances:
    """Those of a version that did not decide itself, with what it would have preferred."""
    seed, target = shown.record.seed, version.propensities(preference, shown.actions)
    if len(shown.actions) > 1:
        slates = _slates(version, preference, len(shown.actions), seed)
        drawn = [shown.candidates[place] for slate in slates for place in slate.actions.tolist()]
        wanted = _marginals(version, preference, shown.actions, [seed, 1])
        beyond = _beyond(shown, slates)
        return Chances(shown, target, shown.marginals, wanted, drawn, beyond, None)
    exact = np.zeros(1)
    logging = np.array(shown.record.propensities), exact
    whole, beyond = _whole(shown, version, preference)
    drawn = [shown.candidates[place] for place in _choices(whole, seed)]
    return Chances(shown, target, logging, (target, exact), drawn, beyond, whole)


def _distribution(policy: Policy, preference: Preference) -> Floats:
    """The chance [S] of each action of the segment in the first slot."""
    places = np.arange(len(preference.segment), dtype=np.int32)
    return policy.probabilities(Preference(places, preference.logits), len(places))


def _marginals(
    policy: Policy, preference: Preference, actions: Places, seed: Sequence[int]
) -> Marginals:
    """The chance [K] of each action in its slot whatever stands above, and the error [K]."""
    return simulated_marginals(policy, preference, actions, DRAWS, seed)


def _slates(policy: Policy, preference: Preference, slots: int, seed: int) -> list[Drawn]:
    """A few slates; none where nothing is preferred."""
    if not len(preference.segment):
        return []
    rng = generator(seed)
    drawn = [policy.draw(preference, slots, rng) for _ in range(SLATES)]
    return [Drawn(slate.actions, float(slate.propensities[0])) for slate in drawn]


def _choices(whole: Whole, seed: int) -> list[int]:
    """A few slates of one slot; none where nothing is preferred."""
    if not len(whole.places):
        return []
    found = np.searchsorted(whole.chances.cumsum(), generator(seed).random(SLATES), side="right")
    chosen: list[int] = whole.places[np.minimum(found, len(whole.places) - 1)].tolist()
    return chosen


def _whole(shown: Shown, version: Policy, preference: Preference) -> tuple[Whole, Beyond]:
    """The distribution over one slot, and what of it has no chance in the log."""
    places, mine = preference.segment, _distribution(version, preference)
    logged = np.zeros(len(shown.candidates))
    logged[shown.preference.segment] = shown.distribution
    theirs = logged[places]
    possible = theirs > 0
    with np.errstate(over="ignore"):
        weight = mine[possible] / theirs[possible]
        variance = float(mine[possible] @ weight - mine[possible].sum() ** 2)
    never = np.flatnonzero(~possible & (mine > 0)).tolist()
    missing = {shown.candidates[places[one]]: float(mine[one]) for one in never}
    first = min(float(mine[~possible].sum()), 1.0)
    return Whole(places, mine, float(weight.max(initial=0.0))), Beyond(missing, first, variance)


def _beyond(shown: Shown, slates: Sequence[Drawn]) -> Beyond:
    """What stands in slates where the log could not show it.

    The weight's second moment is its mean over what the version draws: sum_a pi(a) (pi(a) / p(a)).
    """
    titles, inside, weights = list[str](), list[bool](), list[float]()
    for slate in slates:
        could, first = shown.could_show(slate.actions)
        titles += [shown.candidates[place] for place in slate.actions[~could].tolist()]
        inside.append(bool(could[0]))
        weights.append(slate.first / first if could[0] else 0.0)
    share = 1 / max(sum(len(slate.actions) for slate in slates), 1)
    missing = {title: share * count for title, count in Counter(titles).items()}
    if not slates:
        return Beyond(missing, 0.0, 0.0)
    mass = float(np.mean(inside))
    return Beyond(missing, 1 - mass, float(np.mean(weights)) - mass**2)
