"""A judgement as a page of its own: one file that opens without a server or a network."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

from matinee.desk.rendering import templates
from matinee.evaluation import plots
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
    style = resources.files("matinee.desk").joinpath("static/matinee.css").read_text("utf-8")
    return (
        templates()
        .get_template("proof.html")
        .render(
            service=service,
            simulated=simulated,
            truth=None if truth is None else f"{truth:+.4f}",
            style=style,
            judgement=judgement,
            made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
            figures=figures(judgement),
            facts=facts(judgement),
            values={name: words(interval) for name, interval in judgement.values.items()},
            difference=words(judgement.verdict.estimate) if judgement.verdict.estimate else None,
        )
    )


def save(judgement: Judgement, service: Service, truth: float | None = None) -> Path:
    """Write the page into reports/ of the service under the time it was made."""
    text = page(judgement, service.name, simulated=service.simulated, truth=truth)
    return write_report(service, judgement.candidate.id, ".html", text)


def facts(judgement: Judgement) -> list[tuple[str, str]]:
    """What the verdict stands on, as pairs of a name and a value in words."""
    verdict, found = judgement.verdict, judgement.weighings
    return [
        ("decisions judged on", f"{verdict.decisions:,}"),
        ("effective decisions", f"{verdict.effective:,.0f}"),
        ("outside the log", f"{verdict.outside:.2%} of what the candidate would show"),
        ("propensities", _calibration(judgement)),
        ("still open", f"{found.waiting:,} decisions, their attribution window is not over"),
        ("made by others", f"{found.foreign:,} decisions, left out"),
        ("history no longer the same", f"{found.unlike:,} decisions, left out"),
        ("chance of error spent", f"{verdict.alpha:.4f}"),
        *((name, f"{value:+.3f}") for name, value in judgement.measured.items()),
    ]


def figures(judgement: Judgement) -> list[tuple[str, str]]:
    """The plots there are something to draw for: caption and SVG."""
    drawn = []
    if judgement.values:
        points = [
            plots.Point(name, interval.value, interval.low, interval.high)
            for name, interval in judgement.values.items()
        ]
        drawn.append(("Mean reward of a decision", plots.values(points, "reward of a decision")))
    looks = [(size, look) for size, look in judgement.looks if size >= FIRST_LOOK]
    if looks:
        sizes, intervals = zip(*looks, strict=True)
        low, high = ([getattr(one, end) for one in intervals] for end in ("low", "high"))
        shown = plots.against_size(sizes, low, high, "candidate less champion", 0.0)
        drawn.append(("The difference, anytime-valid, as the log grew", shown))
    if len(judgement.weights):
        drawn.append(("Importance weights of slots", plots.weights(judgement.weights)))
    if judgement.calibrated.tested:
        points = [_point(cell) for cell in judgement.calibrated.tested]
        drawn.append(("Calibration of the logged propensities", plots.calibration(points)))
    return drawn


def words(interval: Interval) -> str:
    """An interval to read.

    >>> words(Interval(0.5, 0.25, 0.75, level=0.95, method="normal"))
    '0.5000, between 0.2500 and 0.7500 (95 %, normal)'
    """
    return (
        f"{interval.value:.4f}, between {interval.low:.4f} and {interval.high:.4f} "
        f"({100 * interval.level:.4g} %, {interval.method})"
    )


def _calibration(judgement: Judgement) -> str:
    found = judgement.calibrated
    if not found.tested:
        return "too few choices to be checked"
    return f"{len(found.tested)} checks, {len(found.wrong)} of them failed"


def _point(cell: Cell) -> plots.Point:
    label = "all" if cell.action is None else str(cell.action)
    reach = 1.96 * cell.error
    return plots.Point(label, cell.mean, cell.mean - reach, cell.mean + reach)
