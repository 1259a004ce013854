"""What came of renewals that failed, as lines of text, and as tables with plots for a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isnan

from matinee.console import say, show
from matinee.desk.numbers import with_ends
from matinee.evaluation import plots
from matinee.evaluation.intervals.base import Interval
from matinee.insights.recovered import ALL, GROUPS, Line, Recovered

COLUMNS = (
    "",
    "failed",
    "open",
    "recovered in 10 days",
    "recovered",
    "attempts for each",
    "brought",
    "fees",
    "penalties",
    "net for each failed",
)
TITLES = {
    "processor": "By who made the first attempt",
    "country": "By country",
    "reason": "By why the first attempt failed",
}


def show_recovered(found: Recovered) -> None:
    """Print all lines."""
    whole = found.lines[0]
    say(
        f"{whole.failed:,} of {found.invoices:,} renewals failed at first; "
        f"{share(whole.final)} of those whose grace is over were recovered",
        "bold",
    )
    show(
        COLUMNS,
        [
            (one.name if one.group == ALL else f"{one.group} {one.name}", *cells(one))
            for one in found.lines
        ],
    )


def cells(line: Line) -> tuple[object, ...]:
    """A line as it is read: counts, shares and money with their intervals."""
    return (
        line.failed,
        line.open,
        share(line.soon),
        share(line.final),
        number(line.attempts),
        f"{line.brought:,.2f}",
        f"{line.fees:,.2f}",
        f"{line.penalties:,.2f}",
        number(line.net),
    )


def share(one: Interval) -> str:
    """
    >>> share(Interval(0.5, 0.4, 0.6, level=0.95, method="normal"))
    '50.0 % (40.0 to 60.0)'
    """
    if isnan(one.value):
        return "none yet"
    if isnan(one.low) or one.low == one.high:  # of one member, or all alike
        return f"{one.value:.1%}".replace("%", " %")
    return f"{100 * one.value:.1f} % ({100 * max(one.low, 0):.1f} to {100 * min(one.high, 1):.1f})"


def number(one: Interval) -> str:
    """
    >>> number(Interval(2.5, 2.25, 2.75, level=0.95, method="normal"))
    '2.50 (2.25 to 2.75)'
    """
    return with_ends(one, "{:,.2f}".format)


def parts(
    lines: Sequence[Line], currency: str | None
) -> Iterator[tuple[str, list[Line], list[tuple[str, str]]]]:
    """Each group: its title, its lines, and plots with their captions."""
    for group in GROUPS:
        mine = [line for line in lines if line.group == group]
        drawn = [
            ("Recovered, of those whose grace is over", _plot(mine, "final", "share", (0.0, 1.0))),
            ("Net for each failed renewal", _plot(mine, "net", currency or "money", None)),
        ]
        yield TITLES[group], mine, drawn


def _plot(lines: Sequence[Line], what: str, unit: str, within: tuple[float, float] | None) -> str:
    points = [
        plots.Point(line.name, one.value, one.low, one.high)
        for line in lines
        if not isnan((one := getattr(line, what)).low)
    ]
    return plots.values(points, unit, within=within) if points else ""
