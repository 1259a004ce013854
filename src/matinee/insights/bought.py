"""What a log that explores made possible: candidates judged on it, and versions promoted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from matinee.evaluation.intervals.base import Interval
from matinee.insights.reigns import crowned, recorded
from matinee.registry import Approvals, Change
from matinee.registry.approvals import Judged
from matinee.service.folder import Service


@dataclass(frozen=True)
class Promotion:
    """A version that followed another, and what it had been measured to bring more."""

    version: str
    at: datetime
    gain: Interval | None
    unit: str


@dataclass(frozen=True)
class Bought:
    """What a log that explores made possible.

    judged : candidates; passed, failed, lacking : verdicts. uniform : the share of the log that is
    left to judge a candidate by that draws evenly from what could be shown. latest : the version
    that was judged last, with the same share for it, `left`. promotions : those since the first.
    """

    judged: int
    passed: int
    failed: int
    lacking: int
    uniform: float
    latest: str | None
    left: float
    promotions: tuple[Promotion, ...]


def bought(service: Service, surface: str, uniform: float = float("nan")) -> Bought:
    """What the log of a surface made possible; `uniform` is the share left for even draws."""
    verdicts = Approvals(service.registry).verdicts(surface)
    said = Counter(one.outcome for one in verdicts)
    last = verdicts[-1] if verdicts else None
    return Bought(
        len({one.candidate for one in verdicts}),
        said["passes"],
        said["fails"],
        said["insufficient support"],
        uniform,
        last.candidate if last else None,
        _left(last),
        tuple(_promotions(service, surface, verdicts)),
    )


def _left(last: Judged | None) -> float:
    """The share of the log that was left to judge the latest candidate by."""
    if last is None or not last.evidence.get("decisions"):
        return float("nan")
    return float(last.evidence["effective"] or 0.0) / float(last.evidence["decisions"])


def _promotions(service: Service, surface: str, verdicts: list[Judged]) -> Iterator[Promotion]:
    """Each version that followed a champion because it was proved better."""
    both = zip(recorded(service, surface), crowned(service, surface), strict=True)
    for change, lived in both:
        if change.action == "approve" and change.old:
            passes = [
                one
                for one in verdicts
                if one.outcome == "passes"
                and (one.candidate, one.champion) == (change.new, change.old)
                and one.at <= change.at
            ]
            yield _gain(passes[-1], lived) if passes else _won(service, lived)


def _gain(passed: Judged, change: Change) -> Promotion:
    gain = _interval(passed.evidence.get("estimate"))
    return Promotion(change.new, change.at, gain, "decision")


def _won(service: Service, change: Change) -> Promotion:
    """One that won an experiment: the latest reading of it, by what its treatment served."""
    for one in service.trials.all():
        reading = service.trials.latest(one.name)
        if reading and reading.reason == "better" and one.arms[1].serves == change.new:
            metrics = reading.body.get("metrics") or [{}]
            gain = _interval(metrics[0].get("difference"))
            return Promotion(change.new, change.at, gain, "member")
    return Promotion(change.new, change.at, None, "decision")


def _interval(told: Mapping[str, Any] | None) -> Interval | None:
    """An interval as it stands on record; `None` where an end of it is none."""
    if not told or any(told.get(end) is None for end in ("value", "low", "high")):
        return None
    value, low, high, level = (float(told[name]) for name in ("value", "low", "high", "level"))
    return Interval(value, low, high, level, str(told["method"]))
