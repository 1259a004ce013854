"""Judging a candidate on the log: the evidence is gathered, and the gate says what it is worth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from matinee.errors import MatineeError
from matinee.evaluation.budget import spent
from matinee.evaluation.gate import FRESH, WORST, Evidence, Rules, Verdict
from matinee.evaluation.gate import judge as judged
from matinee.evaluation.intervals.base import Interval
from matinee.evaluation.off_policy.calibration import Calibrated
from matinee.evaluation.off_policy.closed import Closed, closed
from matinee.evaluation.off_policy.drift import Day, Drift
from matinee.evaluation.off_policy.weights import Support
from matinee.registry import Approvals, Version
from matinee.service.comparing import OfChoices, OfSlates, compare
from matinee.service.folder import Service
from matinee.service.guardrails import measured
from matinee.service.outcomes import GRACE
from matinee.service.weighed import Weighed
from matinee.service.weighing import Weighings, weigh

NAMED = 3
"""How many of the actions that the log could not show are named."""


@dataclass(frozen=True)
class Diagnostics:
    """What is looked at before any number is: see `Support`, `Calibrated`, `Day` and `Closed`.

    `missing` are the actions that the candidate would choose most often of those that the log could
    not show, with their shares of what it would choose; `whole` and `varied` are as in `Evidence`.
    """

    support: Support
    calibrated: Calibrated
    days: tuple[Day, ...]
    closed: Closed
    missing: tuple[tuple[str, float], ...]
    whole: bool
    varied: bool

    @property
    def drifted(self) -> tuple[str, ...]:
        """The days whose mean weight is wrong."""
        return tuple(day.day for day in self.days if day.wrong)

    def evidence(
        self, difference: Interval, alpha: float, measures: Mapping[str, float], candidate: str
    ) -> Evidence:
        """What the gate is told, with the difference and what guardrails measure of a candidate."""
        support = self.support
        return Evidence(
            difference=difference,
            alpha=alpha,
            decisions=support.decisions,
            effective=support.effective,
            outside=support.outside if support.decisions else 1.0,
            calibrated=self.calibrated.calibrated,
            # Outcomes are written when their windows are over: all closed but for an earlier `now`.
            closed=self.closed.all,
            later=True,  # `weigh` reads no decision that is not later than both versions' data
            guardrails=measures,
            whole=self.whole,
            varied=self.varied,
            drifted=self.drifted,
            missing=self.missing,
            candidate=candidate,
        )


@dataclass(frozen=True)
class Judgement:
    """What was found, and the verdict on it.

    `values` are mean rewards of a decision with normal intervals, by name: the champion's own and
    the candidate's by several estimators, to be read and not judged by; `looks` the anytime-valid
    interval of the difference after so many decisions. Where support is lacking there are none of
    these. `comparison` holds the candidate's weights.
    """

    surface: str
    candidate: Version
    champion: Version
    verdict: Verdict
    diagnostics: Diagnostics
    measured: Mapping[str, float]
    weighings: Weighings
    comparison: OfSlates | OfChoices
    values: Mapping[str, Interval]
    looks: tuple[tuple[int, Interval], ...]


def judge(
    service: Service,
    candidate: str,
    *,
    by: str,
    rules: Rules | None = None,
    now: datetime | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> Judgement:
    """Hold a candidate against the champion of its surface, on the decisions after both were made.

    Of these only the champion's own count: there its ratios are exactly 1, and the difference is
    paired. The verdict goes on record, and its chance of error is taken from the one budget of
    the champion's log. Raises `MatineeError` where there is no champion, the candidate is it,
    another becomes it meanwhile, or the log holds what cannot be.
    """
    now = now or datetime.now(UTC)
    version = service.registry.get(candidate)
    champion = _champion(service, version)
    surface, approvals = service.surface(version.surface), Approvals(service.registry)
    turn = approvals.turn(surface.name, version.id, anytime=True)
    rules = rules or Rules()
    alpha = spent(1 - rules.level, turn)
    since = max(version.data_as_of, champion.data_as_of)
    both = [version.id, champion.id]
    weighings = weigh(service, surface.name, both, since, by=champion.id, now=now, advance=advance)
    ours, theirs = weighings.weighed[version.id], weighings.weighed[champion.id]
    comparison = compare(ours, theirs, surface.reward_range)
    closing = closed(ours.at, window=surface.window, grace=GRACE, now=now)
    found = _diagnosed(weighings, ours, comparison.support(), closing)
    looks = tuple(comparison.looks(alpha))
    measures = measured(comparison, ours, theirs, alpha)
    if not weighings.renewed:
        measures = _without(measures, FRESH)
        kept = tuple(one for one in rules.guardrails if one.name != FRESH)
        rules = replace(rules, guardrails=kept)
    verdict = judged(found.evidence(looks[-1][1], alpha, measures, version.id), rules)
    approvals.record_verdict(
        surface.name,
        version.id,
        verdict,
        champion=champion.id,
        turn=turn,
        anytime=True,
        by=by,
    )
    supported = verdict.estimate is not None
    return Judgement(
        surface.name,
        version,
        champion,
        verdict,
        found,
        measures if supported else _without(measures, WORST),
        weighings,
        comparison,
        comparison.values() if supported else {},
        looks if supported else (),
    )


def _champion(service: Service, version: Version) -> Version:
    champion = service.registry.alias(version.surface, "champion")
    if champion is None:
        raise MatineeError(
            f"{version.surface} has no champion to hold {version.id} against",
            next_step=f"matinee promote {version.id}",
        )
    if champion.id == version.id:
        raise MatineeError(
            f"{version.id} is the champion itself", next_step=f"matinee versions {version.surface}"
        )
    return champion


def _diagnosed(
    weighings: Weighings, weighed: Weighed, support: Support, closing: Closed
) -> Diagnostics:
    """What a version's weights, the log's propensities and its rewards come to."""
    rewards = weighed.slates.reward[weighed.slates.shown]
    return Diagnostics(
        support,
        weighings.calibration.result(),
        _days(weighed),
        closing,
        _missing(weighed),
        whole=not weighings.gaps,
        varied=len(weighed.at) < 2 or bool(np.ptp(rewards)),
    )


def _days(weighed: Weighed) -> tuple[Day, ...]:
    """The logger by day, by the weights of the first slot, which are exact."""
    return (
        Drift()
        .add(
            weighed.at.astype("datetime64[us]").astype("datetime64[D]").astype(np.str_),
            np.array(weighed.policy, np.str_),
            weighed.slates.ratio[:, 0],
            weighed.outside_first,
            weighed.variance,
        )
        .result()
    )


def _missing(weighed: Weighed) -> tuple[tuple[str, float], ...]:
    ordered = sorted(weighed.missing.items(), key=lambda pair: (-pair[1], pair[0]))
    return tuple((action, share / len(weighed.at)) for action, share in ordered[:NAMED])


def _without(measures: Mapping[str, float], name: str) -> dict[str, float]:
    return {key: value for key, value in measures.items() if key != name}
