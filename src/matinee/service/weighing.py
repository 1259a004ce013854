"""Logged decisions weighed by how much likelier versions would have made them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from matinee.decisions import Counterfactual, generator
from matinee.decisions.rebuild import preference_of
from matinee.evaluation.off_policy import Slates, simulated_marginals
from matinee.evaluation.off_policy.calibration import Calibration
from matinee.lake.records import Decision, micros
from matinee.models import Vocabulary
from matinee.policies import Policy, Preference
from matinee.service.folder import Service
from matinee.service.logged import Logged, eligible_sets, logged

DRAWS = 32
"""Simulated slates for the marginal propensities of one decision."""

LIKELY = 0.05
"""Chance of the first slot from which on a choice is held against its propensity: rarer ones come
too seldom to be checked one by one."""

SLATES = 4
"""Slates drawn from a version for each decision, to see what it would show."""

Floats = NDArray[np.float64]
Marginals = tuple[Floats, Floats]


@dataclass(frozen=True)
class Weighed:
    """Closed decisions in order of time, and a version's chances of each slot of each.

    at : int64 [N], microseconds since 1970. policy : who decided [N]. country : where [N].
    slates : the decisions with the logging and the version's propensities. Marginal ones are
        simulated for slates of several slots and exact for one.
    outside : float64 [N], the share of the version's titles that the log could not have shown.
    chosen : how often each action is in slates drawn from the version, a few a decision.
    """

    at: NDArray[np.int64]
    policy: list[str]
    country: list[str]
    slates: Slates
    outside: Floats
    chosen: Counter[str]


@dataclass(frozen=True)
class Weighings:
    """What the log holds to judge versions by: one `Weighed` each, of the same decisions.

    `calibration` is of the first slots, by country. Not in here are `waiting` decisions, whose
    windows are still open, `unlike` ones, whose record tells of another history than the log, and
    `foreign` ones, which others made than was asked for.
    """

    weighed: Mapping[str, Weighed]
    calibration: Calibration
    waiting: int
    unlike: int
    foreign: int


def weigh(
    service: Service,
    surface: str,
    versions: Sequence[str],
    since: datetime,
    *,
    by: str | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> Weighings:
    """Weigh the decisions made on a surface after `since` for each of `versions`.

    Only those that the version `by` made, or any version of the registry where it is `None`.
    Nothing is drawn that is not seeded: the same log gives the same numbers. `advance` is told
    of each bucket of members that is done.
    """
    known = [version.id for version in service.registry.versions(surface)]
    deciders = [name for name in known if by in {None, name}]
    loaded = {name: service.registry.load(name) for name in dict.fromkeys([*versions, *deciders])}
    policies = {name: loaded[name][1] for name in deciders}
    asked = {name: Counterfactual(*loaded[name]) for name in versions}
    sets = eligible_sets(service.lake)
    places = {name: Vocabulary(ids) for name, ids in sets.items()}
    actions = Vocabulary(sorted({candidate for ids in sets.values() for candidate in ids}))
    codes = {name: actions.encode(ids) for name, ids in sets.items()}
    calibration = Calibration(len(actions))
    parts: dict[str, list[_Part]] = {name: [] for name in versions}
    waiting = unlike = foreign = 0
    minutes = service.settings.surfaces.titles.min_minutes
    for part in logged(service.lake, surface, since, minutes):
        own = part.keep([record.policy in policies for record in part.records])
        waiting, unlike = waiting + part.waiting, unlike + part.unlike
        foreign += len(part.records) - len(own.records)
        shown = [
            _shown(record, rewards, places[record.eligible], policies[record.policy])
            for record, rewards in zip(own.records, own.rewards, strict=True)
        ]
        if shown:
            calibration = _calibrated(calibration, shown, codes, actions)
        for name, version in asked.items():
            preferences = _preferences(name, version, own, sets)
            parts[name] += [
                _part(one, name, version, preference, sets[one.record.eligible])
                for one, preference in zip(shown, preferences, strict=True)
            ]
        advance(1)
    weighed = {name: _joined(found) for name, found in parts.items()}
    return Weighings(weighed, calibration, waiting, unlike, foreign)


def _preferences(
    name: str, version: Counterfactual, asked: Logged, sets: Mapping[str, Sequence[str]]
) -> list[Preference]:
    """A version's preference in each decision; its own decisions hold theirs already."""
    own = [record.policy == name for record in asked.records]
    others = asked.keep([not mine for mine in own])
    scored = iter(version.preferences(others.records, sets, others.histories))
    return [
        preference_of(record) if mine else next(scored)
        for record, mine in zip(asked.records, own, strict=True)
    ]


@dataclass(frozen=True)
class _Shown:
    """A logged decision: where its actions stand [K] and their marginals with errors [K].

    `likely` are the positions with a fair chance of the first slot.
    """

    record: Decision
    reward: Floats
    actions: NDArray[np.int32]
    likely: list[int]
    logging: Marginals


@dataclass(frozen=True)
class _Part:
    """A logged decision and a version's chances [K] in it, conditional and marginal."""

    record: Decision
    reward: Floats
    target: Floats
    logging: Marginals
    wanted: Marginals
    outside: float
    drawn: list[str]


def _calibrated(
    calibration: Calibration,
    shown: Sequence[_Shown],
    codes: Mapping[str, NDArray[np.int32]],
    actions: Vocabulary,
) -> Calibration:
    """With the first slots of these: what stood there, and what could have."""
    possible = np.zeros((len(shown), len(actions)), bool)
    for row, one in zip(possible, shown, strict=True):
        row[codes[one.record.eligible][one.likely]] = True
    records = [one.record for one in shown]
    return calibration.add(
        actions.encode([record.actions[0] for record in records]),
        [record.propensities[0] for record in records],
        possible=possible,
        segment=[_country(record) for record in records],
    )


def _country(record: Decision) -> str:
    return record.context.get("country") or "none"


def _shown(record: Decision, reward: Floats, places: Vocabulary, policy: Policy) -> _Shown:
    actions = places.encode(record.actions)
    logging = _marginals(policy, preference_of(record), actions, [record.seed, 0])
    return _Shown(record, reward, actions, _likely(policy, preference_of(record)), logging)


def _likely(policy: Policy, preference: Preference) -> list[int]:
    """The positions that stand first in the segment and have a chance of `LIKELY` or more."""
    found: list[int] = []
    for place in preference.segment.tolist():
        if policy.propensities(preference, np.array([place], np.int32))[0] < LIKELY:
            break
        found.append(place)
    return found


def _part(
    shown: _Shown,
    name: str,
    version: Counterfactual,
    preference: Preference,
    candidates: Sequence[str],
) -> _Part:
    """Where the version decided itself every ratio is one, exactly."""
    record, actions = shown.record, shown.actions
    if record.policy == name:
        ones, none = np.ones(len(actions)), np.zeros(len(actions))
        target, logging, wanted = np.array(record.propensities), (ones, none), (ones, none)
    else:
        target = version.policy.propensities(preference, actions)
        logging = shown.logging
        wanted = _marginals(version.policy, preference, actions, [record.seed, 1])
    drawn = _drawn(version.policy, preference, len(actions), record.seed)
    outside = float(np.mean(~np.isin(drawn, record.segment))) if len(drawn) else 0.0
    titles = [candidates[place] for place in drawn.tolist()]
    return _Part(record, shown.reward, target, logging, wanted, outside, titles)


def _marginals(
    policy: Policy, preference: Preference, actions: NDArray[np.int32], seed: Sequence[int]
) -> Marginals:
    if len(actions) == 1:
        return policy.propensities(preference, actions), np.zeros(1)
    return simulated_marginals(policy, preference, actions, DRAWS, seed)


def _drawn(policy: Policy, preference: Preference, slots: int, seed: int) -> NDArray[np.int32]:
    """What stands in a few slates of a policy, in positions of the eligible set."""
    if not len(preference.segment):
        return np.zeros(0, np.int32)
    rng = generator(seed)
    return np.concatenate([policy.draw(preference, slots, rng).actions for _ in range(SLATES)])


def _joined(parts: Sequence[_Part]) -> Weighed:
    ordered = sorted(parts, key=lambda part: (part.record.at, part.record.decision_id))
    records = [part.record for part in ordered]
    members = {member: code for code, member in enumerate({r.member_id: 0 for r in records})}
    slots = max((len(part.reward) for part in ordered), default=1)

    def column(values: Sequence[Floats]) -> Floats:
        padded = np.ones((len(values), slots))
        for row, value in zip(padded, values, strict=True):
            row[: len(value)] = value
        return padded

    lengths = np.array([len(part.reward) for part in ordered], np.int64)
    slates = Slates.of(
        column([part.reward for part in ordered]),
        column([np.array(record.propensities) for record in records]),
        column([part.target for part in ordered]),
        shown=np.arange(slots) < lengths[:, None],
        marginal=column([part.logging[0] for part in ordered]),
        marginal_target=column([part.wanted[0] for part in ordered]),
        marginal_error=column([part.logging[1] for part in ordered]),
        marginal_target_error=column([part.wanted[1] for part in ordered]),
        cluster=np.array([members[record.member_id] for record in records], np.int64),
    )
    return Weighed(
        np.array([micros(record.at) for record in records], np.int64),
        [record.policy for record in records],
        [_country(record) for record in records],
        slates,
        np.array([part.outside for part in ordered]),
        Counter(title for part in ordered for title in part.drawn),
    )
