"""What a reading of an experiment comes to, why, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf, isfinite
from typing import NamedTuple

from matinee.evaluation.gate import needed
from matinee.evaluation.intervals.base import Interval
from matinee.experiments.plan import Experiment
from matinee.registry.trials import Outcome
from matinee.service.treated import Guardrail, Metric, Treated

UNEVEN = 0.001
"""A sample ratio less likely than this is not bad luck."""


class Verdict(NamedTuple):
    """`breached` says that a guardrail is; `best` names the treatment that did best of those that
    beat the control.
    """

    outcome: Outcome
    reasons: tuple[str, ...]
    next_steps: tuple[str, ...]
    breached: bool = False
    best: str | None = None


def verdict(
    one: Experiment, sizes: Sequence[int], evenness: float, treatments: Sequence[Treated]
) -> Verdict:
    """What is to be said of an experiment whose arms have so many members, control first.

    Arms that chance did not draw say nothing. Else a guardrail that any treatment breaches comes
    first, for it harms members; then the best treatment that beats the control.
    """
    if evenness < UNEVEN:
        return _broken(one, sizes, evenness)
    hurt = [each for each in treatments if each.breached]
    better = sorted(
        (each for each in treatments if not each.breached and _first(each).low > 0),
        key=lambda each: -_first(each).value,
    )
    if hurt:
        return _hurt(one, hurt, better)
    if better:
        return _better(one, better, treatments)
    reasons = tuple(_said(one, each) for each in treatments)
    if all(_first(each).high < 0 for each in treatments):
        return Verdict("worse", reasons, (_ending(one),))
    return Verdict("open", reasons, _more(treatments))


def _broken(one: Experiment, sizes: Sequence[int], evenness: float) -> Verdict:
    pairs = zip(sizes, one.arms, strict=True)
    found = " and ".join(f"{members:,} in {arm.name}" for members, arm in pairs)
    reason = f"something beside chance chose who is where: {found} (p = {evenness:.2g})"
    step = "find out what, then start another experiment: this one cannot be read"
    return Verdict("broken", (reason,), (step,))


def _hurt(one: Experiment, hurt: Sequence[Treated], better: Sequence[Treated]) -> Verdict:
    reasons = [_fallen(one, each, rail) for each in hurt for rail in each.breached]
    reasons += [_said(one, each) for each in better]
    best = better[0] if better else None
    steps = _instead(one, best) if best else (_ending(one),)
    return Verdict("worse", tuple(reasons), steps, breached=True, best=best.arm if best else None)


def _better(one: Experiment, better: Sequence[Treated], treatments: Sequence[Treated]) -> Verdict:
    best, others = better[0], [each for each in treatments if each is not better[0]]
    reasons = [_said(one, each) for each in (best, *others)]
    if len(better) > 1:
        reasons.append(f"{best.arm} has the largest effect; whether it is the best is not proved")
    steps = _instead(one, best) if others else (_step("win", one),)
    return Verdict("better", tuple(reasons), steps, best=best.arm)


def _first(each: Treated) -> Interval:
    return each.metrics[0].difference


def _step(does: str, one: Experiment) -> str:
    return f"matinee experiments {does} {one.name} --reason '...'"


def _ending(one: Experiment) -> str:
    return _step("end", one)


def _instead(one: Experiment, best: Treated) -> tuple[str, ...]:
    """One of more than two arms cannot be won."""
    return (
        f"only one of two arms can be won, so end it: {_ending(one)}",
        f"then try {best.arm} alone: matinee experiments start NAME {best.serves} --reason '...'",
    )


def _called(one: Experiment, each: Treated) -> str:
    return "the treatment" if len(one.arms) == 2 else each.arm


def _said(one: Experiment, each: Treated) -> str:
    """What the first metric says of a treatment."""
    found, metric = _first(each), each.metrics[0]
    ends = f"{metric.name} of a member {found.low:+.4g} to {found.high:+.4g}"
    if found.low > 0 or found.high < 0:
        return f"{_called(one, each)} is {'better' if found.low > 0 else 'worse'}: {ends}"
    told = ends if isfinite(found.low + found.high) else "too few members"
    return f"nothing shown yet{'' if len(one.arms) == 2 else f' of {each.arm}'}: {told}"


def _fallen(one: Experiment, each: Treated, rail: Guardrail) -> str:
    metric = next(metric for metric in each.metrics if metric.name == rail.metric)
    return (
        f"{'' if len(one.arms) == 2 else f'{each.arm}: '}{metric.name} falls by more than "
        f"{rail.tolerance:.0%}: at best by {-metric.difference.high:.4g} of {metric.control:.4g}"
    )


def _more(treatments: Sequence[Treated]) -> tuple[str, ...]:
    """How much longer it may take, until the first of them shows something."""
    times = min((found for each in treatments for found in _times(each.metrics[0])), default=inf)
    if times == inf:
        return ("let it run",)
    return (f"let it run to some {max(times, 1.1):.1f} times its members, were it as it looks now",)


def _times(metric: Metric) -> Iterator[float]:
    """How many times its members it takes to show what it looks like."""
    width, value = metric.difference.high - metric.difference.value, abs(metric.difference.value)
    undecided = metric.difference.low <= 0 <= metric.difference.high
    if undecided and isfinite(width) and value > 0 and width <= 100 * value:
        yield needed(100, width, value) / 100
