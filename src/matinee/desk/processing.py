"""The page of payments: from due to paid, by processor over time, rules that bit, outages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from math import isnan
from typing import Any

from matinee.desk.kept import PATIENCE, Kept
from matinee.desk.numbers import span
from matinee.desk.recovery import COLUMNS, cells, parts, share
from matinee.desk.rendering import alone
from matinee.desk.rules import bitten, decided
from matinee.desk.views import View, once
from matinee.evaluation import plots
from matinee.insights.ahead import PAYMENTS
from matinee.insights.outages import Outage
from matinee.insights.processing import Processing, Processor, Span
from matinee.insights.recovered import Step
from matinee.service.folder import Service

SPANS = ("from", "attempts", "approved", "share", "fees")
OUTAGES = (
    "processor",
    "from",
    "until",
    "known",
    "noticed at",
    "attempts in it",
    "routes decided in it",
    "left after",
    "back after",
)
NAMES = {
    "due": "Due",
    "tried": "First attempt made",
    "approved": "Approved at first",
    "unanswered": "First attempt not answered yet",
    "failed": "Failed at first",
    "retried": "Tried again",
    "soon": "Recovered within 10 days",
    "recovered": "Recovered at all",
    "elsewhere": "Paid some other way",
    "lost": "Lost",
    "open": "Still open",
}
OF = {
    "due": "of those due",
    "tried": "of those attempted",
    "failed": "of those that failed at first",
    "retried": "of those tried again",
}
SELDOM = {"unanswered", "elsewhere"}
"""Steps that are left out where nothing came there."""


def payments_view(service: Service) -> View[Processing]:
    """How payments went, as it was read ahead, and drawn once."""
    draw = once(shown)  # plots take longer than a page may
    kept = Kept.of(service, PAYMENTS, then=draw)
    return View("/desk/payments", "recovery.html", lambda _: kept.get(PATIENCE), draw, (kept,))


def page(found: Processing, name: str, *, simulated: bool) -> str:
    """All of it as an HTML page of its own, that needs nothing else."""
    return alone("recovery.html", service=name, simulated=simulated, **shown(found))


def shown(found: Processing) -> dict[str, Any]:
    """What the template shows."""
    lines = found.recovered.lines if found.recovered else ()
    return {
        "found": found,
        "nothing": not (found.invoices or found.processors or found.outages or _decided(found)),
        "funnel": list(_funnel(found.funnel, found.currency)),
        "columns": COLUMNS,
        "whole": lines[0] if lines else None,
        "parts": list(parts(lines, found.currency)) if lines else [],
        "cells": cells,
        "processors": list(_processors(found)),
        "spans": SPANS,
        "rules": list(bitten(found.rules)) if found.rules else [],
        "decided": decided(found.rules) if found.rules else [],
        "outages": [outage(one) for one in found.outages or ()],
        "outage_columns": OUTAGES,
    }


def _decided(found: Processing) -> bool:
    return found.rules is not None and found.rules.ever.decisions > 0


def _funnel(steps: Sequence[Step], currency: str | None) -> Iterator[dict[str, str]]:
    """Each step: its name, how many, their money, the width of its bar, and of what it is a
    share.
    """
    due = steps[0].count if steps else 0
    for step in steps:
        if due and (step.count or step.name not in SELDOM):
            yield {
                "name": NAMES[step.name],
                "count": f"{step.count:,}",
                "money": f"{step.money:,.2f} {currency}"
                if currency
                else f"money {step.money:,.2f}",
                "width": f"{100 * step.count / due:.2f}",
                "share": "" if isnan(step.share) else f"{100 * step.share:.1f} % {OF[step.of]}",
            }


def _processors(found: Processing) -> Iterator[dict[str, Any]]:
    """Each processor: a row of the table, a plot, and the rows of its spans."""
    step = timedelta(hours=1) if found.hourly else timedelta(days=1)
    times = [span.since for one in found.processors for span in one.spans]
    words = "%Y-%m-%d %H:%M" if found.hourly else "%Y-%m-%d"
    for one in found.processors:
        yield {
            "name": one.name,
            "cells": counts(one.whole),
            "svg": _over_time(one, step, (min(times), max(times) + step), found),
            "spans": [(f"{span.since:{words}}", *counts(span)) for span in one.spans],
        }


def _over_time(
    one: Processor, step: timedelta, within: tuple[datetime, datetime], found: Processing
) -> str:
    """The share approved, span by span, with the outages that fell into them."""
    shades = [
        plots.Shade(out.starts_at, out.ends_at or found.at, out.known, out.noticed_at)
        for out in found.outages or ()
        if out.processor == one.name
        and out.starts_at < within[1]
        and (out.ends_at or found.at) > within[0]
    ]
    told = [span for span in one.spans if not isnan(span.share.value)]
    times, intervals = [span.since for span in told], [span.share for span in told]
    return plots.shares(times, intervals, step, within, shades) if len(told) > 1 else ""


def counts(span: Span) -> tuple[str, ...]:
    """A row of what went to a processor."""
    return f"{span.attempts:,}", f"{span.approved:,}", share(span.share), f"{span.fees:,.2f}"


def outage(one: Outage) -> tuple[str, ...]:
    """A row of the table of outages."""
    routes = [f"{name} {times:,}" for name, times in one.routes.items()]
    nowhere = [f"nobody {one.nowhere:,}"] if one.nowhere else []
    return (
        one.processor,
        f"{one.starts_at:%Y-%m-%d %H:%M:%S}",
        f"{one.ends_at:%Y-%m-%d %H:%M:%S}" if one.ends_at else "lasts",
        f"reported: {one.source}" if one.known else "noticed only",
        f"{one.noticed_at:%Y-%m-%d %H:%M:%S}" if one.noticed_at else "no",
        f"{one.attempts:,} ({one.failed:,} failed)",
        ", ".join([*routes, *nowhere]) or "no decision",
        lasting(one.left_after),
        lasting(one.back_after),
    )


def lasting(seconds: float | None) -> str:
    """
    >>> lasting(15.0), lasting(27_330.0), lasting(None)
    ('15 s', '7.6 h', 'not told')
    """
    return "not told" if seconds is None else span(seconds)
