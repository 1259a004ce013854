"""Plots of an evaluation as SVG text: no scripts, no network, and the colours of the page around.

Text and axes are in ``currentColor``, so that a plot follows a page into the dark. The same numbers
give the same bytes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from matinee.evaluation.intervals.base import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK = "#010203"
"""Stands for the text colour of the page until the plot is written."""
ACCENT, SECOND = "#c2453f", "#4f7fb0"
WIDTH = 5.2


@dataclass(frozen=True)
class Point:
    """A named number with its interval: no interval, where `low` and `high` are the number."""

    label: str
    value: float
    low: float
    high: float


def values(
    points: Sequence[Point],
    unit: str,
    truth: float | None = None,
    within: tuple[float, float] | None = None,
) -> str:
    """Numbers with their intervals, one under the other; `truth` is marked where it is known.

    What lies outside of `within` is cut off, so that one wide interval does not hide the others.

    >>> values([Point("ips", 1.0, 0.8, 1.2)], "plays a decision").startswith("<svg")
    True
    """
    title = "; ".join(f"{p.label} {p.value:.4g} [{p.low:.4g}, {p.high:.4g}]" for p in points)

    def draw(axes: Axes) -> None:
        rows = np.arange(len(points))[::-1]
        for row, point in zip(rows, points, strict=True):
            axes.plot([point.low, point.high], [row, row], color=SECOND, linewidth=2)
            axes.plot(point.value, row, "o", color=ACCENT, markersize=6)
        if truth is not None:
            axes.axvline(truth, color=INK, linestyle=":", linewidth=1)
            axes.annotate("the truth", (truth, len(points) - 0.5), color=INK, ha="center")
        axes.set_yticks(rows, [point.label.replace("$", r"\$") for point in points])
        axes.set_ylim(-0.6, len(points) - 0.1)
        if within is not None:
            low, high = axes.get_xlim()
            axes.set_xlim(max(low, within[0]), min(high, within[1]))
        axes.set_xlabel(unit)

    return _svg(draw, 0.9 + 0.34 * len(points), title)


def weights(weight: ArrayLike) -> str:
    """How often each size of importance weight occurs, both scales logarithmic; zeros are counted.

    >>> "never chosen" in weights([0.0, 1.0, 2.0])
    True
    """
    column = np.asarray(weight, np.float64)
    positive = np.log10(column[column > 0])
    zeros = len(column) - len(positive)
    title = f"{len(column)} weights, {zeros} of them 0 (never chosen by the candidate)"

    def draw(axes: Axes) -> None:
        if len(positive):
            axes.hist(positive, bins=40, color=SECOND, log=True)
        axes.axvline(0, color=INK, linestyle=":", linewidth=1)
        axes.xaxis.set_major_formatter(lambda power, _: f"{10.0**power:.2g}")
        axes.set_xlabel(f"importance weight ({zeros:,} more are 0: never chosen)")
        axes.set_ylabel("decisions")

    return _svg(draw, 2.8, title)


def calibration(points: Sequence[Point]) -> str:
    """Each action's mean of 1{a}/p(a) with its interval, in order; 1 is what true ones have.

    >>> calibration([Point("heat", 1.02, 0.9, 1.1)]).count("<svg")
    1
    """
    ordered = sorted(points, key=lambda point: point.value)
    off = sum(not point.low <= 1 <= point.high for point in ordered)
    title = f"calibration of {len(ordered)} actions: the intervals of {off} leave 1 out"

    def draw(axes: Axes) -> None:
        _around_one(axes, ordered)
        axes.locator_params(axis="x", integer=True)
        axes.set_xlabel("actions, in order")
        axes.set_ylabel("mean of 1{a} / p(a)")

    return _svg(draw, 2.8, title)


def days(points: Sequence[Point]) -> str:
    """Each day's mean weight with its interval, in order of time; 1 is what true ones have.

    >>> days([Point("2026-03-01", 1.02, 0.9, 1.1)]).count("<svg")
    1
    """
    off = sum(not point.low <= 1 <= point.high for point in points)
    title = f"mean weight on {len(points)} days: the intervals of {off} leave 1 out"

    def draw(axes: Axes) -> None:
        _around_one(axes, points)
        ends = sorted({0, len(points) - 1}) if points else []
        axes.set_xticks(ends, [points[end].label for end in ends])
        axes.set_ylabel("mean weight")

    return _svg(draw, 2.4, title)


def against_size(
    sizes: ArrayLike,
    low: ArrayLike,
    high: ArrayLike,
    unit: str,
    margin: float | None = None,
) -> str:
    """An interval after so many decisions; `margin` is what its lower end has to pass.

    >>> against_size([10, 100], [-1.0, 0.1], [1.0, 0.5], "gain", margin=0.0).endswith("</svg>")
    True
    """
    counts, lows, highs = (np.asarray(column, np.float64) for column in (sizes, low, high))
    last = f"[{lows[-1]:.4g}, {highs[-1]:.4g}] after {counts[-1]:,.0f}" if len(counts) else "none"
    title = f"interval against the number of decisions: {last}"

    def draw(axes: Axes) -> None:
        axes.fill_between(counts, lows, highs, color=SECOND, alpha=0.35, linewidth=0)
        axes.plot(counts, lows, color=ACCENT, linewidth=1.5)
        if margin is not None:
            axes.axhline(margin, color=INK, linestyle=":", linewidth=1)
        late = counts >= counts.max(initial=0.0) / 10
        if late.any():  # earlier ones would dwarf them
            axes.set_ylim(1.1 * min(lows[late].min(), 0), 1.1 * max(highs[late].max(), 0))
        axes.set_xscale("log")
        axes.set_xlabel("decisions")
        axes.set_ylabel(unit)

    return _svg(draw, 2.8, title)


def over_time(times: Sequence[datetime], intervals: Sequence[Interval], unit: str) -> str:
    """A value with its interval at several times, in order, and the line at 0.

    >>> day = datetime(2026, 3, 1)
    >>> over_time([day], [Interval(0.2, 0.1, 0.3, 0.95, "normal")], "plays").endswith("</svg>")
    True
    """
    values, lows, highs = ([getattr(i, end) for i in intervals] for end in ("value", "low", "high"))
    title = f"from {times[0]:%Y-%m-%d} to {times[-1]:%Y-%m-%d}: " if len(times) else "nothing yet"
    title += f"{values[-1]:.4g} [{lows[-1]:.4g}, {highs[-1]:.4g}]" if len(times) else ""

    def draw(axes: Axes) -> None:
        days = [(time - times[0]) / timedelta(days=1) for time in times]
        axes.fill_between(days, lows, highs, color=SECOND, alpha=0.35, linewidth=0)
        axes.plot(days, values, "o-", color=ACCENT, linewidth=1.5, markersize=3)
        axes.axhline(0, color=INK, linestyle=":", linewidth=1)
        half = (len(values) - 1) // 2  # earlier ones would dwarf the others
        span = [*lows[half:], *highs[half:], 0.0]
        room = 0.1 * (max(span) - min(span)) or 1.0
        axes.set_ylim(min(span) - room, max(span) + room)
        ends = sorted({0, len(days) - 1})
        axes.set_xticks([days[end] for end in ends], [f"{times[end]:%Y-%m-%d}" for end in ends])
        axes.set_ylabel(unit)

    return _svg(draw, 2.8, title)


@dataclass(frozen=True)
class Shade:
    """A time that stands out in a plot: hatched unless it was `known`, and when it was noticed."""

    since: datetime
    until: datetime
    known: bool
    noticed: datetime | None = None


def shares(
    times: Sequence[datetime],
    intervals: Sequence[Interval],
    step: timedelta,
    within: tuple[datetime, datetime],
    shades: Sequence[Shade] = (),
) -> str:
    """A share with its interval in spans of time, in order, from one end to the other; the line
    breaks where there is more than a `step` from one to the next.

    >>> day, step = datetime(2026, 3, 1), timedelta(days=1)
    >>> out = Shade(day, day + step / 2, known=True)
    >>> shares([day], [Interval(0.2, 0.1, 0.3, 0.95, "x")], step, (day, day + step), [out])[:4]
    '<svg'
    """
    first, last = within
    known = sum(shade.known for shade in shades)
    title = f"share from {first:%Y-%m-%d} to {last:%Y-%m-%d}: "
    title += f"{intervals[-1].value:.4g} in the end" if len(times) else "nothing yet"
    title += f"; {known} outages known, {len(shades) - known} only noticed"

    def place(time: datetime) -> float:
        return (min(max(time, first), last) - first) / timedelta(days=1)

    def draw(axes: Axes) -> None:
        for shade in shades:
            _shaded(axes, shade, place)
        for start, end in _unbroken(times, step):
            days, some = [place(time) for time in times[start:end]], intervals[start:end]
            values = [one.value for one in some]
            lows, highs = [one.low for one in some], [one.high for one in some]
            axes.fill_between(days, lows, highs, color=SECOND, alpha=0.3, linewidth=0)
            axes.plot(days, values, "o-", color=ACCENT, linewidth=1.5, markersize=3)
        axes.set_xlim(0, place(last) or 1)
        axes.set_ylim(0, 1.02)
        words = "%Y-%m-%d" if last - first > timedelta(days=5) else "%Y-%m-%d %H:%M"
        axes.set_xticks([0, place(last)], [f"{end:{words}}" for end in within])
        axes.set_ylabel("share")

    return _svg(draw, 2.0, title)


def _unbroken(times: Sequence[datetime], step: timedelta) -> list[tuple[int, int]]:
    """Where runs of times begin and end that are at most a step apart."""
    breaks = [n for n in range(1, len(times)) if times[n] - times[n - 1] > step]
    return list(pairwise([0, *breaks, len(times)])) if len(times) else []


def _shaded(axes: Axes, shade: Shade, place: Callable[[datetime], float]) -> None:
    since, until = place(shade.since), place(shade.until)
    if shade.known:
        axes.axvspan(since, until, facecolor=SECOND, edgecolor=SECOND, alpha=0.45)
    else:
        axes.axvspan(since, until, facecolor="none", edgecolor=ACCENT, hatch="////", linewidth=0.8)
    if shade.noticed is not None:
        axes.axvline(place(shade.noticed), color=ACCENT, linestyle=":", linewidth=1)


def _around_one(axes: Axes, points: Sequence[Point]) -> None:
    """Points with their intervals, side by side, and the line at 1."""
    places = np.arange(len(points))
    low, high = (np.array([getattr(p, end) for p in points]) for end in ("low", "high"))
    axes.vlines(places, low, high, color=SECOND, linewidth=1)
    axes.plot(places, [p.value for p in points], ".", color=ACCENT)
    axes.axhline(1, color=INK, linestyle=":", linewidth=1)


def _svg(draw: Callable[[Axes], None], height: float, title: str) -> str:
    from matplotlib.backends.backend_svg import FigureCanvasSVG  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    with _style():
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        axes.spines[["top", "right"]].set_visible(False)
        draw(axes)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return _page_ready(text.getvalue(), title)


def _page_ready(svg: str, title: str) -> str:
    """Without the XML prologue, in the page's colour, with words for those who cannot see it."""
    body = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    body = body.strip().replace(INK, "currentColor")
    head, rest = body.split(">", 1)
    words = escape(title)
    return f'{head} role="img" aria-label="{words}"><title>{words}</title>{rest}'


@contextmanager
def _style() -> Iterator[None]:
    import matplotlib as mpl  # noqa: PLC0415

    settings: Any = {
        "text.color": INK,
        "axes.edgecolor": INK,
        "axes.labelcolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "svg.hashsalt": "matinee",
        "svg.fonttype": "none",
        "savefig.transparent": True,
        "figure.facecolor": "none",
        "axes.facecolor": "none",
        "font.size": 10,
    }
    with mpl.rc_context(settings):
        yield
