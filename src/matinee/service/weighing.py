"""Logged decisions weighed by how much likelier versions would have made them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from matinee.decisions import Counterfactual, generator
from matinee.decisions.rebuild import preference_of
from matinee.evaluation.off_policy.marginals import simulated_marginals
from matinee.evaluation.off_policy.slates import Slates
from matinee.lake.records import Decision, micros
from matinee.policies import Policy, Preference
from matinee.service.folder import Service
from matinee.service.logged import eligible_sets, logged

DRAWS = 32
"""Simulated slates for the marginal propensities of one decision."""

OUTSIDE_DRAWS = 4
"""Slates drawn from a version to see how much of it the log's segment leaves out."""

Floats = NDArray[np.float64]
Marginals = tuple[Floats, Floats]


@dataclass(frozen=True)
class Weighed:
    """Closed decisions in order of time, and a version's chances of each slot of each.

    at : int64 [N], microseconds since 1970. policy : who decided [N].
    slates : the decisions with the logging and the version's propensities. Marginal ones are
        simulated for slates of several slots and exact for one.
    outside : float64 [N], the share of the version's titles that the log could not have shown.
    """

    at: NDArray[np.int64]
    policy: list[str]
    slates: Slates
    outside: Floats


@dataclass(frozen=True)
class Evidence:
    """What the log holds to judge versions by: one `Weighed` each, of the same decisions.

    `waiting` decisions have windows that are still open, `unlike` a history that the log no longer
    tells, and `foreign` were not made by a version of this registry, so that their distribution
    cannot be rebuilt. None of these is in `weighed`.
    """

    weighed: Mapping[str, Weighed]
    waiting: int
    unlike: int
    foreign: int


def weigh(
    service: Service,
    surface: str,
    versions: Sequence[str],
    since: datetime,
    advance: Callable[[int], None] = lambda _: None,
) -> Evidence:
    """Weigh the decisions made on a surface after `since` for each of `versions`.

    Nothing is drawn that is not seeded: the same log gives the same numbers. `advance` is told
    of each bucket of members that is done.
    """
    policies = _policies(service, surface)
    asked = {name: Counterfactual(*service.registry.load(name)) for name in versions}
    sets = eligible_sets(service.lake)
    parts: dict[str, list[_Part]] = {name: [] for name in versions}
    waiting = unlike = foreign = 0
    minutes = service.settings.surfaces.titles.min_minutes
    for part in logged(service.lake, surface, since, minutes):
        own = part.keep([record.policy in policies for record in part.records])
        waiting, unlike = waiting + part.waiting, unlike + part.unlike
        foreign += len(part.records) - len(own.records)
        shown = [
            _shown(record, rewards, sets[record.eligible], policies[record.policy])
            for record, rewards in zip(own.records, own.rewards, strict=True)
        ]
        for name, version in asked.items():
            preferences = version.preferences(own.records, sets, own.histories)
            parts[name] += [
                _unchanged(one) if one.record.policy == name else _weighed(one, version, preference)
                for one, preference in zip(shown, preferences, strict=True)
            ]
        advance(1)
    weighed = {name: _joined(found) for name, found in parts.items()}
    return Evidence(weighed, waiting, unlike, foreign)


def _policies(service: Service, surface: str) -> dict[str, Policy]:
    """The policy of every version of a surface, by its id."""
    versions = service.registry.versions(surface)
    return {version.id: service.registry.load(version.id)[1] for version in versions}


@dataclass(frozen=True)
class _Shown:
    """A logged decision: where its actions stand [K] and their marginals with errors [K]."""

    record: Decision
    reward: Floats
    actions: NDArray[np.int32]
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


def _shown(record: Decision, reward: Floats, candidates: Sequence[str], policy: Policy) -> _Shown:
    places = {candidate: place for place, candidate in enumerate(candidates)}
    actions = np.array([places[action] for action in record.actions], np.int32)
    logging = _marginals(policy, preference_of(record), actions, [record.seed, 0])
    return _Shown(record, reward, actions, logging)


def _unchanged(shown: _Shown) -> _Part:
    """What a version would have done where it decided itself: every ratio is one, exactly."""
    ones = np.ones(len(shown.actions))
    same = (ones, np.zeros(len(shown.actions)))
    return _Part(shown.record, shown.reward, np.array(shown.record.propensities), same, same, 0.0)


def _weighed(shown: _Shown, version: Counterfactual, preference: Preference) -> _Part:
    policy, record, actions = version.policy, shown.record, shown.actions
    return _Part(
        record,
        shown.reward,
        policy.propensities(preference, actions),
        shown.logging,
        _marginals(policy, preference, actions, [record.seed, 1]),
        _outside(policy, preference, preference_of(record), actions, record.seed),
    )


def _marginals(
    policy: Policy, preference: Preference, actions: NDArray[np.int32], seed: Sequence[int]
) -> Marginals:
    if len(actions) == 1:
        return policy.propensities(preference, actions), np.zeros(1)
    return simulated_marginals(policy, preference, actions, DRAWS, seed)


def _outside(
    policy: Policy,
    preference: Preference,
    logged_by: Preference,
    actions: NDArray[np.int32],
    seed: int,
) -> float:
    """The share of the version's titles that are not in the log's segment, in a few slates."""
    if not len(preference.segment):
        return 0.0
    rng = generator(seed)
    drawn = [policy.draw(preference, len(actions), rng).actions for _ in range(OUTSIDE_DRAWS)]
    return float(np.mean(~np.isin(np.concatenate(drawn), logged_by.segment)))


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
        slates,
        np.array([part.outside for part in ordered]),
    )
