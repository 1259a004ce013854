"""The gate: whether a candidate is proved better than the champion, from evidence alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import ceil, inf, isfinite
from typing import Literal

from matinee.evaluation.intervals.base import Interval

Outcome = Literal["passes", "fails", "insufficient support"]


@dataclass(frozen=True, slots=True)
class Guardrail:
    """A measurement that must stay in bounds, by name.

    >>> Guardrail("latency p99, ms", most=60.0).breached(75.0)
    'latency p99, ms is 75, above its ceiling of 60'
    """

    name: str
    least: float = -inf
    most: float = inf

    def breached(self, measured: float) -> str | None:
        """In words how `measured` is out of bounds, or `None`."""
        if measured < self.least:
            return f"{self.name} is {measured:.4g}, below its floor of {self.least:.4g}"
        if measured > self.most:
            return f"{self.name} is {measured:.4g}, above its ceiling of {self.most:.4g}"
        return None


GUARDRAILS = (
    Guardrail("change of coverage", least=-0.05),
    Guardrail("share of new titles", least=0.01),
    Guardrail("lower bound of the worst segment's difference", least=-0.05),
    Guardrail("latency p99, ms", most=60.0),
)


@dataclass(frozen=True, slots=True)
class Rules:
    """What a candidate must show.

    margin : the lower bound of the difference of mean rewards is above it.
    level : what the interval holds with, all candidates of one log together.
    least_effective : effective sample size, in decisions.
    most_outside : share of the candidate's mass where the log has none, in [0, 1].
    guardrails : each must be measured, and be in bounds.
    """

    margin: float = 0.0
    level: float = 0.95
    least_effective: float = 1000.0
    most_outside: float = 0.01
    guardrails: tuple[Guardrail, ...] = GUARDRAILS


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a log says of a candidate.

    difference : candidate less champion, mean reward of a decision; only its lower end is judged.
    alpha : the chance of error spent, see `matinee.evaluation.budget`; 1 - alpha is at most the
        level of the interval.
    decisions, effective, outside : as `Support` has them.
    calibrated : the verdict of the propensities' calibration, `None` where it could not be tested.
    closed : whether every reward is closed.
    later : whether every decision is later than all that was known to the candidate.
    guardrails : measurements by the names of the rules.
    """

    difference: Interval
    alpha: float
    decisions: int
    effective: float
    outside: float
    calibrated: bool | None
    closed: bool
    later: bool
    guardrails: Mapping[str, float] = field(default_factory=dict)


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
    lacking = list(_lacking(evidence, rules))
    if lacking:
        return _verdict(evidence, "insufficient support", lacking)
    found = [*_shown(evidence, rules), *_breaches(evidence, rules)]
    if found:
        return _verdict(evidence, "fails", found)
    reason = (
        f"the candidate is better: the lower bound of the difference is "
        f"{evidence.difference.low:.4g}, above the margin of {rules.margin:.4g}"
    )
    return _verdict(evidence, "passes", [(reason, "let a person approve it: matinee approve")])


def needed(decisions: int, width: float, target: float) -> int:
    """An estimate of how many decisions narrow an interval from `width` to `target`.

    Widths fall with the square root of their number, roughly: n (width / target)^2.

    >>> needed(1000, 0.2, 0.1)
    4000
    """
    return ceil(decisions * (width / target) ** 2)


OUT_OF_REACH = 100.0
"""An interval this many times too wide asks for ten thousand times the decisions."""

Finding = tuple[str, str]
"""A reason, and what to do about it."""


def _check(evidence: Evidence, rules: Rules) -> None:
    if evidence.alpha > 1 - rules.level + 1e-12:
        raise ValueError(f"{evidence.alpha} is more than the rules spend, {1 - rules.level:.4g}")
    if evidence.difference.level < 1 - evidence.alpha - 1e-12:
        raise ValueError(
            f"the interval holds at {evidence.difference.level}; make it at 1 - alpha, "
            f"{1 - evidence.alpha}"
        )


def _lacking(evidence: Evidence, rules: Rules) -> Iterator[Finding]:
    """Why there is no number to judge."""
    yield from _unsound(evidence)
    if not evidence.outside <= rules.most_outside:
        yield (
            f"{evidence.outside:.1%} of what the candidate would choose was never possible in the "
            f"log, more than {rules.most_outside:.1%}",
            "let the champion explore: mix in a share of the candidate's choices, or raise the "
            "temperature of its policy, so that each of them has a chance",
        )
    if not evidence.effective >= rules.least_effective:
        yield (
            f"the {evidence.decisions} decisions are worth {evidence.effective:.0f} effective ones,"
            f" below the floor of {rules.least_effective:.0f}",
            _more_support(evidence, rules),
        )
    if not (isfinite(evidence.difference.value) and isfinite(evidence.difference.low)):
        yield (
            f"the {evidence.difference.method} interval has no lower end on this log",
            "log more decisions, then judge again",
        )
    for guardrail in rules.guardrails:
        if not isfinite(evidence.guardrails.get(guardrail.name, inf)):
            yield (
                f"{guardrail.name} was not measured",
                f"measure {guardrail.name}, or take it out of the rules",
            )


def _unsound(evidence: Evidence) -> Iterator[Finding]:
    """Why the log cannot be used as it is."""
    if not evidence.later:
        yield (
            "some decisions are not later than the candidate's own data, tuning included",
            "judge on decisions after its data_as_of only",
        )
    if not evidence.closed:
        yield (
            "some rewards are still open: their attribution window is not over",
            "wait until it is, or judge on earlier decisions",
        )
    if evidence.calibrated is None:
        yield (
            "the logged propensities could not be checked: too few choices of each action",
            "log more decisions, or let the champion explore more evenly",
        )
    elif not evidence.calibrated:
        yield (
            "the logged propensities are not the chances with which actions were chosen",
            "mend how propensities are logged, and judge on decisions after that",
        )


def _more_support(evidence: Evidence, rules: Rules) -> str:
    if not evidence.effective >= 1:
        return "let the champion explore: nothing that the candidate would choose was logged"
    wanted = ceil(evidence.decisions * rules.least_effective / evidence.effective)
    return (
        f"log about {wanted - evidence.decisions} decisions more (an estimate), or let the "
        "champion explore more of what the candidate would choose"
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
        f"log about {max(wanted - evidence.decisions, 1)} decisions more (an estimate, were the "
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
