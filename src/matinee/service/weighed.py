"""Logged decisions with a version's chances of each, as columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from matinee.evaluation.off_policy import Slates
from matinee.lake.records import Decision, micros
from matinee.service.chances import Chances, Floats

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Wholes:
    """A version's whole distributions over the one slot of N decisions, M chances in all.

    row, action, chance : whose each chance is [M], of which action (by its number), and how great.
    logged : the action that was shown [N]. largest : see `Whole`, [N].
    """

    row: Integers
    action: Integers
    chance: Floats
    logged: Integers
    largest: Floats


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


def joined(
    said: Sequence[Chances],
    codes: Mapping[str, NDArray[np.int32]],
    latency: Sequence[float],
) -> Weighed:
    """What a version said of decisions, in order of time.

    `codes` gives the numbers of the candidates of each eligible set.
    """
    said = sorted(said, key=lambda one: (one.shown.record.at, one.shown.record.decision_id))
    records = [one.shown.record for one in said]
    return Weighed(
        np.array([micros(record.at) for record in records], np.int64),
        np.array([one.shown.closed_at for one in said], np.int64),
        [record.policy for record in records],
        [country(record) for record in records],
        _slates(said),
        np.array([one.outside for one in said]),
        np.array([one.beyond.first for one in said]),
        np.array([one.beyond.variance for one in said]),
        _missing(said),
        Counter(title for one in said for title in one.drawn),
        sum(title in one.shown.fresh for one in said for title in one.drawn),
        np.array(latency),
        _wholes(said, codes),
    )


def country(record: Decision) -> str:
    """Where it was decided; "none" where nobody said."""
    return record.context.get("country") or "none"


def _missing(said: Sequence[Chances]) -> dict[str, float]:
    total: dict[str, float] = {}
    for one in said:
        for title, share in one.beyond.missing.items():
            total[title] = total.get(title, 0.0) + share
    return total


def _slates(said: Sequence[Chances]) -> Slates:
    slots = max((len(one.shown.reward) for one in said), default=1)

    def column(values: Sequence[Floats]) -> Floats:
        padded = np.ones((len(values), slots))
        for row, value in zip(padded, values, strict=True):
            row[: len(value)] = value
        return padded

    lengths = np.array([len(one.shown.reward) for one in said], np.int64)
    names = [one.shown.record.member_id for one in said]
    members = {member: code for code, member in enumerate(dict.fromkeys(names))}
    return Slates.of(
        column([one.shown.reward for one in said]),
        column([np.array(one.shown.record.propensities) for one in said]),
        column([one.target for one in said]),
        shown=np.arange(slots) < lengths[:, None],
        marginal=column([one.logging[0] for one in said]),
        marginal_target=column([one.wanted[0] for one in said]),
        marginal_error=column([one.logging[1] for one in said]),
        marginal_target_error=column([one.wanted[1] for one in said]),
        cluster=np.array([members[name] for name in names], np.int64),
    )


def _wholes(said: Sequence[Chances], codes: Mapping[str, NDArray[np.int32]]) -> Wholes | None:
    wholes = [one.whole for one in said if one.whole is not None]
    if not said or len(wholes) < len(said):
        return None
    mine = [codes[one.shown.record.eligible] for one in said]
    return Wholes(
        np.repeat(np.arange(len(said)), [len(whole.places) for whole in wholes]),
        np.concatenate(
            [code[whole.places] for code, whole in zip(mine, wholes, strict=True)]
        ).astype(np.int64),
        np.concatenate([whole.chances for whole in wholes]),
        np.array([code[one.shown.actions[0]] for code, one in zip(mine, said, strict=True)]),
        np.array([whole.largest for whole in wholes]),
    )
