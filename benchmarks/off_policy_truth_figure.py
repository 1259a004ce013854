"""The figure of ``benchmarks.off_policy_truth``, as SVG on white: it stands in Markdown."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter, StrMethodFormatter
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STYLE: Any = {
    "svg.hashsalt": "matinee",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.titlesize": 10,
    "legend.fontsize": 8,
}
COLOURS = ("#4f7fb0", "#3a8f6b", "#8a63a8")
NAIVE = "#c2453f"
MARKS = ("-", "--", "-.", "-")


@dataclass(frozen=True)
class Curve:
    """The share of runs [L] by how many decisions [L] they have."""

    name: str
    sizes: NDArray[Any]
    share: NDArray[Any]


def draw(missed: dict[str, list[Curve]], gate: dict[str, list[Curve]]) -> str:
    """Misses by look for each logger above; below, how often the gate has passed by then."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.4, 6.0), layout="constrained", facecolor="white")
        FigureCanvasSVG(figure)
        above, below = figure.subplots(2, 2)
        for axes, (logger, curves) in zip(above, missed.items(), strict=True):
            _lines(axes, curves, f"Logs that ever left the truth out, {logger} logger")
        for axes, (candidate, curves) in zip(below, gate.items(), strict=True):
            _lines(axes, curves, f"Runs that passed the gate, candidate {candidate}")
        top = max(axes.get_ylim()[1] for axes in above)
        for axes in above:
            axes.set_ylim(-0.01, top)
        below[0].set_ylim(-0.004, max(0.1, below[0].get_ylim()[1]))
        below[1].set(ylim=(-0.02, 1.3), yticks=[0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
        for axes in (*above, below[0]):
            axes.axhline(0.05, color="#333333", linestyle=":", linewidth=1)
        for axes in figure.axes:
            axes.legend(frameon=False, loc="upper left")
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return _plain(text.getvalue(), "; ".join(_words(missed) + _words(gate)))


def _lines(axes: Axes, curves: list[Curve], title: str) -> None:
    for place, curve in enumerate(curves):
        colour = NAIVE if curve.name.startswith("normal") else COLOURS[place]
        axes.plot(curve.sizes, curve.share, MARKS[place], color=colour, label=curve.name)
    axes.set_title(title)
    axes.set_xscale("log")
    axes.set_xlabel("decisions")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.spines[["top", "right"]].set_visible(False)


def _words(panels: dict[str, list[Curve]]) -> list[str]:
    return [
        f"{panel}, {curve.name}: {curve.share[-1]:.1%} at last"
        for panel, curves in panels.items()
        for curve in curves
    ]


def _plain(svg: str, words: str) -> str:
    """Without prologue and metadata, with words for those who cannot see it."""
    body = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    head, rest = body.strip().split(">", 1)
    said = escape(words)
    return f'{head} role="img" aria-label="{said}"><title>{said}</title>{rest}\n'
