"""The latest evaluation as a table for a page."""

from __future__ import annotations

import json
from dataclasses import dataclass

from matinee.evaluation.ranking import METRICS
from matinee.service.folder import Service
from matinee.service.training import reports


@dataclass(frozen=True)
class Shown:
    """A table: its caption, column heads, and lines of cells."""

    caption: str
    heads: list[str]
    lines: list[list[str]]


def latest_report(service: Service, surface: str) -> Shown | None:
    """The newest saved evaluation of a surface, `None` where there is none yet."""
    saved = reports(service, surface)
    if not saved:
        return None
    report = json.loads(saved[-1].read_text(encoding="utf-8"))
    metrics = [name for name in METRICS if name in report["rows"][0]["metrics"]]
    data, protocol = report["data"], report["protocol"]
    return Shown(
        f"{protocol['name'].replace('_', ' ')}, {protocol['holdout']} targets; "
        f"{data['members_asked']:,} members asked, {data['titles']:,} titles, "
        f"{data['events']:,} events; whole catalogue ranked, 95 % intervals by member",
        ["model", *metrics],
        [
            [row["model"], *(_cell(row["metrics"][name]) for name in metrics)]
            for row in report["rows"]
        ],
    )


def _cell(estimate: dict[str, float | None]) -> str:
    value, low, high = estimate["value"], estimate["low"], estimate["high"]
    if low is None or high is None:
        return f"{value:.3f}"
    return f"{value:.3f} ({low:.3f} to {high:.3f})"
