"""A judgement as a page of its own: one file that opens without a server or a network."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from math import isnan
from pathlib import Path

from matinee.console import safe, say, show
from matinee.desk.numbers import moment
from matinee.desk.rendering import alone
from matinee.evaluation import plots
from matinee.evaluation.gate import LATENCY
from matinee.evaluation.intervals.base import Interval
from matinee.evaluation.off_policy.calibration import Cell
from matinee.service.folder import Service
from matinee.service.judging import Judgement
from matinee.service.training import write_report

FIRST_LOOK = 10
"""Decisions before which an interval is too wide to be drawn beside later ones."""


def page(
    judgement: Judgement, service: str, *, simulated: bool = False, truth: float | None = None
) -> str:
    """The page: verdict, reasons, what to do, the numbers there are, and how they came about.

    `truth` is the true difference, which only a simulated service knows.
    Where support is lacking it holds no estimate, as the judgement does.
    """
    return alone(
        "proof.html",
        service=service,
        simulated=simulated,
        truth=None if truth is None else f"{truth:+.4f}",
        judgement=judgement,
        made=f"{moment(datetime.now(UTC))} UTC",
        figures=figures(judgement),
        facts=facts(judgement),
        values={name: words(interval) for name, interval in judgement.values.items()},
        difference=words(judgement.verdict.estimate) if judgement.verdict.estimate else None,
    )


def save(judgement: Judgement, service: Service, truth: float | None = None) -> Path:
    """Write the page into reports/ of the service under the time it was made."""
    text = page(judgement, service.name, simulated=service.simulated, truth=truth)
    return write_report(service, judgement.candidate.id, ".html", text)


def show_judgement(judgement: Judgement) -> None:
    """Print the verdict, its reasons, the numbers there are, what they stand on, what to do."""
    verdict = judgement.verdict
    say(f"{judgement.candidate.id} against {judgement.champion.id}: {verdict.outcome}", "bold")
    for reason in verdict.reasons:
        say(f"  {reason}")
    if verdict.estimate is not None:
        lines = {"candidate less champion": verdict.estimate, **judgement.values}
        show(
            ("reward of a decision", "value", "low", "high", "interval"),
            [_line(name, one) for name, one in lines.items()],
        )
        say("judged by the first line alone; the others are to be read")
    show(("what it stands on", ""), facts(judgement))
    for step in verdict.next_steps:
        say(f"next: {step}")


def facts(judgement: Judgement) -> list[tuple[str, str]]:
    """What the verdict stands on, as pairs of a name and a value in words."""
    verdict, found = judgement.verdict, judgement.weighings
    return [
        ("decisions judged on", f"{verdict.decisions:,}"),
        *(_weighed(judgement) if verdict.decisions else ()),
        ("still open", f"{found.waiting:,} decisions, their attribution window is not over"),
        ("without a reward", f"{found.unwritten:,} decisions, though their window is over"),
        ("made by others", f"{found.foreign:,} decisions, left out"),
        ("history no longer the same", f"{found.unlike:,} decisions, left out"),
        ("chance of error spent", f"{verdict.alpha:.4f}" if verdict.estimate else "none"),
    ]


def _weighed(judgement: Judgement) -> Iterator[tuple[str, str]]:
    """What there is to say of decisions where there are any."""
    verdict, seen = judgement.verdict, judgement.diagnostics
    yield "effective decisions", f"{verdict.effective:,.0f}"
    yield "largest weight", f"{seen.support.largest:,.4g}"
    yield "outside the log", _outside(judgement)
    yield "propensities", _calibration(judgement)
    yield "mean weight by day", f"{len(seen.days)} checked, {len(seen.drifted)} not at 1"
    yield "rewards", _closed(judgement)
    for name, value in judgement.measured.items():
        yield name, _measure(name, value)


def figures(judgement: Judgement) -> list[tuple[str, str]]:
    """The plots there are something to draw for: caption and SVG."""
    drawn = []
    if judgement.values:
        points = [
            plots.Point(name, interval.value, interval.low, interval.high)
            for name, interval in judgement.values.items()
        ]
        slots, (low, high) = judgement.comparison.slots, judgement.comparison.reward_range
        within = (slots * low, slots * high)
        shown = plots.values(points, "reward of a decision", within=within)
        drawn.append(("Mean reward of a decision, by several estimators, to be read", shown))
    looks = [(size, look) for size, look in judgement.looks if size >= FIRST_LOOK]
    if looks:
        sizes, intervals = zip(*looks, strict=True)
        lows, highs = ([getattr(one, end) for one in intervals] for end in ("low", "high"))
        shown = plots.against_size(sizes, lows, highs, "candidate less champion", 0.0)
        drawn.append(("The difference, anytime-valid, as the log grew", shown))
    return [*drawn, *_diagnostics(judgement)]


def _diagnostics(judgement: Judgement) -> list[tuple[str, str]]:
    """The plots of what is looked at before any number is."""
    weights, seen, drawn = judgement.comparison.weights, judgement.diagnostics, []
    if len(weights):
        unit = judgement.comparison.unit
        drawn.append((f"Importance weights of {unit}", plots.weights(weights)))
    if seen.calibrated.tested:
        points = [_point(cell) for cell in seen.calibrated.tested]
        drawn.append(("Calibration of the logged propensities", plots.calibration(points)))
    if len(seen.days) > 1:
        points = [_around(day.day, day.weight, day.error) for day in seen.days]
        drawn.append(("Mean weight by day", plots.days(points)))
    return drawn


def words(interval: Interval) -> str:
    """An interval to read.

    >>> words(Interval(0.5, 0.25, 0.75, level=0.95, method="normal"))
    '0.5000, between 0.2500 and 0.7500 (95 %, normal)'
    """
    if isnan(interval.low):
        return f"{interval.value:.4f}, of too few members for an interval"
    return (
        f"{interval.value:.4f}, between {interval.low:.4f} and {interval.high:.4f} "
        f"({100 * interval.level:.4g} %, {interval.method})"
    )


def _line(name: str, interval: Interval) -> tuple[str, ...]:
    ends = (interval.value, interval.low, interval.high)
    return (name, *("" if isnan(end) else f"{end:.4f}" for end in ends), interval.method)


def _outside(judgement: Judgement) -> str:
    shares = [f"{safe(name)} {share:.2%}" for name, share in judgement.diagnostics.missing]
    named = f", most often {', '.join(shares)}" if shares else ""
    return f"{judgement.verdict.outside:.2%} of what the candidate would choose{named}"


def _calibration(judgement: Judgement) -> str:
    found = judgement.diagnostics.calibrated
    if not found.tested:
        return "too few choices to be checked"
    return f"{len(found.tested)} checks, {len(found.wrong)} of them failed"


def _closed(judgement: Judgement) -> str:
    found = judgement.diagnostics.closed
    last = f"{found.last:%Y-%m-%d %H:%M} UTC"
    return f"all closed, the last at {last}" if found.all else f"{found.open:,} open, until {last}"


def _measure(name: str, value: float) -> str:
    if isnan(value):
        return "not measured"
    return f"{value:.3g}" if name == LATENCY else f"{value:+.3f}"


def _point(cell: Cell) -> plots.Point:
    return _around("all" if cell.action is None else str(cell.action), cell.mean, cell.error)


def _around(label: str, mean: float, error: float) -> plots.Point:
    return plots.Point(label, mean, mean - 1.96 * error, mean + 1.96 * error)
