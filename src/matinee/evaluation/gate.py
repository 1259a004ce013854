"""The gate: whether a candidate is proved better than the champion, from evidence alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil, inf
from typing import Literal

from matinee.evaluation.evidence import (
    COVERAGE,
    FRESH,
    GUARDRAILS,
    LATENCY,
    WORST,
    Evidence,
    Guardrail,
    Rules,
)
from matinee.evaluation.intervals.base import Interval
from matinee.evaluation.lacking import Finding, lacking

__all__ = [
    "COVERAGE",
    "FRESH",
    "GUARDRAILS",
    "LATENCY",
    "WORST",
    "Evidence",
    "Guardrail",
    "Outcome",
    "Rules",
    "Verdict",
    "judge",
    "needed",
]

Outcome = Literal["passes", "fails", "insufficient support"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """An outcome with its reasons and what to do next, in plain words.

    `estimate` is the difference that was judged, and `None` where support is lacking: there is no
    such verdict with a number, nor any other without one (`ValueError`).
    """

    outcome: Outcome
    reasons: tuple[str, ...]
    next_steps: tuple[str, ...]
    alpha: float
    decisions: int
    effective: float
    outside: float
    estimate: Interval | None = None

    def __post_init__(self) -> None:
        if not self.reasons:
            raise ValueError("a verdict gives its reasons")
        if (self.estimate is None) != (self.outcome == "insufficient support"):
            raise ValueError(f"a verdict of {self.outcome} {_NUMBER[self.estimate is None]}")


_NUMBER = {True: "gives the number that was judged", False: "gives no number"}


def judge(evidence: Evidence, rules: Rules | None = None) -> Verdict:
    """The verdict. It waits for a person's approval; nothing is served by it.

    Raises `ValueError` where the interval was not made at the alpha spent, or that is more than the
    rules have to spend.

    >>> better = Interval(0.03, 0.01, 0.05, level=0.95, method="normal")
    >>> evidence = Evidence(better, 0.05, decisions=9000, effective=4000.0, outside=0.0,
    ...                     calibrated=True, closed=True, later=True)
    >>> judge(evidence, Rules(guardrails=())).outcome
    'passes'
    """
    rules = rules or Rules()
    _check(evidence, rules)
    without = list(lacking(evidence, rules))
    if without:
        return _verdict(evidence, "insufficient support", without)
    found = [*_shown(evidence, rules), *_breaches(evidence, rules)]
    if found:
        return _verdict(evidence, "fails", found)
    reason = (
        f"the candidate is better: the lower bound of the difference is "
        f"{evidence.difference.low:.4g}, above the margin of {rules.margin:.4g}"
    )
    name = evidence.candidate
    steps = (
        f"let a person approve it: matinee approve {name}",
        f"or see it on members first: matinee experiments start NAME {name} --reason '...'",
    )
    return replace(_verdict(evidence, "passes", [(reason, "")]), next_steps=steps)


def needed(decisions: int, width: float, target: float) -> int:
    """An estimate of how many decisions narrow an interval from `width` to `target`.

    Widths fall with the square root of their number, roughly: n (width / target)^2.
    `ValueError` unless `decisions` and `width` are 0 or above, `target` is above 0, and all finite.

    >>> needed(1000, 0.2, 0.1)
    4000
    """
    if not (0 <= decisions < inf and 0 <= width < inf and 0 < target < inf):
        raise ValueError(
            f"{decisions} decisions cannot narrow an interval from {width} to {target}: "
            "the first two must be 0 or above and the last above 0, and all finite"
        )
    return ceil(decisions * (width / target) ** 2)


OUT_OF_REACH = 100.0
"""An interval this many times too wide asks for ten thousand times the decisions."""


def _check(evidence: Evidence, rules: Rules) -> None:
    if evidence.alpha > 1 - rules.level + 1e-12:
        raise ValueError(f"{evidence.alpha} is more than the rules spend, {1 - rules.level:.4g}")
    if evidence.difference.level < 1 - evidence.alpha - 1e-12:
        raise ValueError(
            f"the interval holds at {evidence.difference.level}; make it at 1 - alpha, "
            f"{1 - evidence.alpha}"
        )


def _shown(evidence: Evidence, rules: Rules) -> Iterator[Finding]:
    """Why the difference is not proved to be above the margin."""
    value, low, high = (getattr(evidence.difference, end) for end in ("value", "low", "high"))
    if low > rules.margin:
        return
    if high < 0:
        yield (
            f"the candidate is worse: the difference is between {low:.4g} and {high:.4g}",
            "train another candidate",
        )
        return
    reason = (
        f"no better shown yet: the lower bound of the difference is {low:.4g}, not above the "
        f"margin of {rules.margin:.4g}"
    )
    if value <= rules.margin:
        yield reason, "the estimate itself is not above the margin: train another candidate"
        return
    if value - low > OUT_OF_REACH * (value - rules.margin):
        yield reason, "the estimate is so near the margin that no log in reach would show it"
        return
    wanted = needed(evidence.decisions, value - low, value - rules.margin)
    yield (
        reason,
        f"log about {max(wanted - evidence.decisions, 1):,} decisions more (an estimate, were the "
        "difference what it looks like now), then judge again",
    )


def _breaches(evidence: Evidence, rules: Rules) -> Iterator[Finding]:
    for guardrail in rules.guardrails:
        breach = guardrail.breached(evidence.guardrails[guardrail.name])
        if breach:
            yield f"a guardrail is breached: {breach}", f"bring {guardrail.name} into bounds"


def _verdict(evidence: Evidence, outcome: Outcome, findings: list[Finding]) -> Verdict:
    reasons, steps = zip(*findings, strict=True)
    return Verdict(
        outcome,
        tuple(reasons),
        tuple(dict.fromkeys(steps)),
        evidence.alpha,
        evidence.decisions,
        evidence.effective,
        evidence.outside,
        None if outcome == "insufficient support" else evidence.difference,
    )
