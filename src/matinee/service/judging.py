"""Judging a candidate on the log: the evidence is gathered, and the gate says what it is worth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from matinee.errors import MatineeError
from matinee.evaluation.budget import spent
from matinee.evaluation.gate import Evidence, Guardrail, Rules, Verdict
from matinee.evaluation.gate import judge as judged
from matinee.evaluation.intervals.base import Interval
from matinee.evaluation.intervals.normal import normal
from matinee.evaluation.intervals.slate_difference import SlateDifference
from matinee.evaluation.off_policy import IndependentIPS, Slates
from matinee.evaluation.off_policy.calibration import Calibrated
from matinee.lake.records import micros
from matinee.registry import Approvals, Version
from matinee.service.folder import Service
from matinee.service.weighing import Floats, Weighed, Weighings, weigh
from matinee.surfaces import Surface

LOOKS = 40
"""At how many sizes of the log the interval is kept, to draw it."""

LEAST_SEGMENT = 100
"""Decisions below which a country is not looked at on its own."""

COVERAGE, WORST = "change of coverage", "upper bound of the worst country's difference"
GUARDRAILS = (Guardrail(COVERAGE, least=-0.1), Guardrail(WORST, least=0.0))


@dataclass(frozen=True)
class Judgement:
    """What was found, and the verdict on it.

    `values` are mean rewards of a decision with normal intervals, to be read and not judged by;
    `looks` the anytime-valid interval of the difference after so many decisions; `weights` [N, K]
    the candidate's ratios. Where support is lacking none of these has a number.
    """

    surface: str
    candidate: Version
    champion: Version
    verdict: Verdict
    calibrated: Calibrated
    measured: Mapping[str, float]
    weighings: Weighings
    values: Mapping[str, Interval]
    looks: tuple[tuple[int, Interval], ...]

    @property
    def weights(self) -> Floats:
        slates = self.weighings.weighed[self.candidate.id].slates
        ratios: Floats = slates.marginal_ratio[slates.shown]
        return ratios


def judge(
    service: Service,
    candidate: str,
    *,
    by: str,
    rules: Rules | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> Judgement:
    """Hold a candidate against the champion of its surface, on the decisions after both were made.

    Of these only the champion's own count: there its ratios are exactly 1, and the difference is
    paired. The verdict goes on record, and its chance of error is taken from the one budget of
    the surface. Raises `MatineeError` where there is no champion, or the candidate is it.
    """
    rules = rules or Rules(guardrails=GUARDRAILS)
    version = service.registry.get(candidate)
    champion = _champion(service, version)
    surface, approvals = service.surfaces[version.surface], Approvals(service.registry)
    turn = approvals.turn(surface.name, version.id, anytime=True)
    alpha = spent(1 - rules.level, turn)
    since = max(version.data_as_of, champion.data_as_of)
    both = [version.id, champion.id]
    weighings = weigh(service, surface.name, both, since, by=champion.id, advance=advance)
    ours, theirs = weighings.weighed[version.id], weighings.weighed[champion.id]
    calibrated = weighings.calibration.result()
    looks = tuple(_looks(surface, ours.slates, theirs.slates, alpha))
    measured = _measured(surface, ours, theirs, alpha)
    verdict = judged(
        Evidence(
            difference=looks[-1][1],
            alpha=alpha,
            decisions=len(ours.slates),
            effective=_effective(ours.slates),
            outside=float(ours.outside.mean()) if len(ours.outside) else 1.0,
            calibrated=calibrated.calibrated,
            closed=True,  # an open decision has no outcome, and is not among these
            later=bool((ours.at > micros(since)).all()),
            guardrails=measured,
        ),
        rules,
    )
    approvals.record_verdict(surface.name, version.id, verdict, turn=turn, anytime=True, by=by)
    supported = verdict.estimate is not None
    return Judgement(
        surface.name,
        version,
        champion,
        verdict,
        calibrated,
        measured,
        weighings,
        _values(version, champion, weighings) if supported else {},
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


def _looks(
    surface: Surface, candidate: Slates, champion: Slates, alpha: float
) -> Iterator[tuple[int, Interval]]:
    """The interval of the difference at sizes that grow evenly on a logarithmic scale."""
    sequence = _sequence(surface, candidate.slots, alpha)
    size, done = len(candidate), 0
    yield 0, sequence.interval()
    for look in np.unique(np.geomspace(1, size, LOOKS).astype(int)) if size else ():
        rows = slice(done, int(look))
        sequence = sequence.add_slates(candidate.rows(rows), champion.rows(rows))
        done = int(look)
        yield done, sequence.interval()


def _sequence(surface: Surface, slots: int, alpha: float) -> SlateDifference:
    """Two-sided, so that it can be read as well as judged: each end misses at most alpha / 2."""
    low, high = surface.reward_range
    return SlateDifference(
        alpha=alpha, slots=slots, reward_range=(slots * low, slots * high), bound=1.0
    )


def _effective(slates: Slates) -> float:
    """How many decisions the log is worth for a candidate: Kish's size over slots, per slot."""
    ratios = slates.marginal_ratio[slates.shown]
    largest = ratios.max(initial=0.0)
    if not largest:
        return 0.0
    scaled = ratios / largest
    return float(scaled.sum() ** 2 / (scaled @ scaled) * len(slates) / len(ratios))


def _measured(
    surface: Surface, candidate: Weighed, champion: Weighed, alpha: float
) -> dict[str, float]:
    """The guardrails' measurements."""
    return {
        COVERAGE: len(candidate.chosen) / max(len(champion.chosen), 1) - 1,
        WORST: _worst(surface, candidate, champion, alpha),
    }


def _worst(surface: Surface, candidate: Weighed, champion: Weighed, alpha: float) -> float:
    """The least upper bound of a country's difference; alpha is shared between the countries."""
    country = np.array(candidate.country, np.str_)
    names, counts = np.unique(country, return_counts=True)
    large = names[counts >= LEAST_SEGMENT]
    highs = [candidate.slates.slots * surface.reward_range[1]]
    for name in large:
        rows = np.flatnonzero(country == name)
        sequence = _sequence(surface, candidate.slates.slots, alpha / len(large))
        seen = sequence.add_slates(candidate.slates.rows(rows), champion.slates.rows(rows))
        highs.append(seen.interval().high)
    return float(min(highs))


def _values(version: Version, champion: Version, weighings: Weighings) -> dict[str, Interval]:
    return {
        one.id: normal(IndependentIPS().add(weighings.weighed[one.id].slates).result())
        for one in (champion, version)
    }
