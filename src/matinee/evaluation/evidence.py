"""What a gate is told of a candidate, and what it asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf, isfinite, isnan

from matinee.evaluation.intervals.base import Interval


@dataclass(frozen=True, slots=True)
class Guardrail:
    """A measurement that must stay in bounds, by name; `ValueError` unless least <= most.

    >>> Guardrail("latency p99, ms", most=60.0).breached(75.0)
    'latency p99, ms is 75, above its ceiling of 60'
    """

    name: str
    least: float = -inf
    most: float = inf

    def __post_init__(self) -> None:
        if not self.least <= self.most:
            raise ValueError(
                f"the floor of {self.name} must be at most its ceiling, "
                f"got {self.least} and {self.most}"
            )

    def breached(self, measured: float) -> str | None:
        """In words how `measured` is out of bounds, or `None`."""
        if measured < self.least:
            return f"{self.name} is {measured:.4g}, below its floor of {self.least:.4g}"
        if measured > self.most:
            return f"{self.name} is {measured:.4g}, above its ceiling of {self.most:.4g}"
        return None


COVERAGE = "change of coverage"
"""How many actions the candidate would choose at all, over how many the champion would, less 1."""
FRESH = "change of the share of new titles"
"""The share of new actions in what the candidate would choose over the champion's, less 1."""
WORST = "upper bound of the worst country's difference"
"""The least upper bound of a country's difference: below 0 the candidate is worse there, surely."""
LATENCY = "latency p99, ms"
"""How long the candidate takes to prefer, in all but one of a hundred decisions."""

GUARDRAILS = (
    Guardrail(COVERAGE, least=-0.1),
    Guardrail(FRESH, least=-0.2),
    Guardrail(WORST, least=0.0),
    Guardrail(LATENCY, most=60.0),
)


@dataclass(frozen=True, slots=True)
class Rules:
    """What a candidate must show; `ValueError` where that cannot be asked for.

    margin : the lower bound of the difference of mean rewards is above it; finite.
    level : what the interval holds with, all candidates of one log together, in (0, 1).
    least_effective : effective sample size, in decisions, >= 0.
    most_outside : share of the candidate's mass where the log has none, in [0, 1].
    guardrails : each must be measured, and be in bounds.
    """

    margin: float = 0.0
    level: float = 0.95
    least_effective: float = 1000.0
    most_outside: float = 0.01
    guardrails: tuple[Guardrail, ...] = GUARDRAILS

    def __post_init__(self) -> None:
        if not isfinite(self.margin):
            raise ValueError(f"margin must be finite, got {self.margin}")
        if not 0 < self.level < 1:
            raise ValueError(f"level must be above 0 and below 1, such as 0.95, got {self.level}")
        if not 0 <= self.least_effective < inf:
            raise ValueError(
                f"least_effective must be 0 or above, and finite, got {self.least_effective}"
            )
        if not 0 <= self.most_outside <= 1:
            raise ValueError(f"most_outside must be in [0, 1], got {self.most_outside}")


SLACK = 1e-9
"""How far, relatively, sums may be off by the rounding of numbers."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a log says of a candidate; `ValueError` where no log could.

    difference : candidate less champion, mean reward of a decision; only its lower end is judged.
    alpha : the chance of error spent, see `matinee.evaluation.budget`; 1 - alpha is at most the
        level of the interval. It is in (0, 1).
    decisions, effective, outside : as `Support` has them, in [0, inf), [0, decisions] and [0, 1];
        the last two may be NaN, which is no support.
    calibrated : the verdict of the propensities' calibration, `None` where it could not be tested.
    closed : whether every reward is closed.
    later : whether every decision is later than all that was known to the candidate.
    guardrails : measurements by the names of the rules.
    whole : whether no earlier decision lacks its reward.
    varied : whether rewards differ at all.
    drifted : the days whose mean weight is not what true propensities give.
    missing : actions that the candidate would choose and the log could not show, each with its
        share of the candidate's choices; some of them, the most frequent first.
    candidate : its name, for what to type next.
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
    whole: bool = True
    varied: bool = True
    drifted: tuple[str, ...] = ()
    missing: tuple[tuple[str, float], ...] = ()
    candidate: str = "VERSION"

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise ValueError(f"alpha must be above 0 and below 1, got {self.alpha}")
        if self.decisions < 0:
            raise ValueError(f"decisions must be 0 or above, got {self.decisions}")
        for name, most in (("effective", self.decisions), ("outside", 1)):
            value = getattr(self, name)
            if not (isnan(value) or -SLACK <= value <= most * (1 + SLACK)):
                raise ValueError(f"{name} must be in [0, {most}], got {value}")
