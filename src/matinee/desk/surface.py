"""The page of a surface, as words and marks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, time
from functools import partial
from math import isfinite
from typing import Any

from matinee.desk.numbers import figure, percent, span, with_ends
from matinee.desk.views import NotFoundError, View, kept, once
from matinee.evaluation import plots
from matinee.insights.ahead import changes
from matinee.insights.overview import Day, Known, Overview, overview
from matinee.service.changes import ACTIONS
from matinee.service.folder import Service

FEW = 6
"""Policies that are told apart by colour; the others share one."""


def surface_view(service: Service) -> View[Overview]:
    """A surface by name, read at most once a minute, and after every change."""

    def read(name: str) -> Overview:
        if name not in service.surfaces:
            raise NotFoundError(
                f"there is no surface {name!r}", next_step=f"one of {', '.join(service.surfaces)}"
            )
        return overview(service, name)

    return View(
        "/desk/surface",
        "surface.html",
        kept(read, "name", stamp=partial(changes, service)),
        once(shown),
    )


def shown(found: Overview) -> dict[str, Any]:
    """What the template shows."""
    colours = _colours(found.days)
    return {
        "found": found,
        "window": span(found.window.total_seconds()),
        "traffic": [
            (
                one.policy,
                one.arm or "",
                f"{one.decisions:,}",
                percent(one.share),
                f"{one.members:,}",
                with_ends(one.value, figure, "nothing closed yet"),
            )
            for one in found.traffic
        ],
        "days": list(_bars(found.days, colours)),
        "most": f"{max((sum(day.decisions.values()) for day in found.days), default=0):,}",
        "legend": list(colours.items()),
        "plot": _plot(found.days),
        "tree": tree(found.versions),
        "actions": ACTIONS,
        "verdicts": [(one.id, said) for one in found.versions for said in one.verdicts],
    }


def tree(versions: Sequence[Known]) -> list[tuple[int, Known]]:
    """Versions with how deep they stand below the first of their line, each under its parent."""
    known = {one.id for one in versions}
    children: dict[str | None, list[Known]] = {}
    for one in reversed(versions):
        children.setdefault(one.parent if one.parent in known else None, []).append(one)
    found: list[tuple[int, Known]] = []
    waiting = [(0, one) for one in reversed(children.get(None, []))]
    while waiting:
        depth, one = waiting.pop()
        found.append((depth, one))
        waiting += [(depth + 1, child) for child in reversed(children.get(one.id, []))]
    return found


def _colours(days: Sequence[Day]) -> dict[str, int]:
    """The number of a colour for each policy, the most frequent first; the last for the others."""
    counts: dict[str, int] = {}
    for day in days:
        for policy, decisions in day.decisions.items():
            counts[policy] = counts.get(policy, 0) + decisions
    ordered = sorted(counts, key=lambda policy: (-counts[policy], policy))
    return {policy: min(place, FEW) for place, policy in enumerate(ordered)}


def _bars(days: Sequence[Day], colours: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    """A bar for each day: how high, and its parts in percent of it."""
    most = max((sum(day.decisions.values()) for day in days), default=1)
    for day in days:
        total = sum(day.decisions.values())
        ordered = sorted(day.decisions, key=lambda policy: colours[policy])
        parts = [
            (colours[policy], f"{100 * day.decisions[policy] / total:.2f}") for policy in ordered
        ]
        told = ", ".join(f"{policy} {day.decisions[policy]:,}" for policy in ordered) or "none"
        yield {
            "day": f"{day.day:%Y-%m-%d}",
            "height": f"{100 * total / most:.1f}",
            "parts": parts,
            "told": f"{day.day:%Y-%m-%d}: {told}",
        }


def _plot(days: Sequence[Day]) -> str:
    closed = [day for day in days if isfinite(day.value.low)]
    times = [datetime.combine(day.day, time(), UTC) for day in closed]
    if len(times) < 2:
        return ""
    return plots.over_time(times, [day.value for day in closed], "reward, a decision")
