"""Payments: what came of renewals, as lines of text, and all of it as a page with plots."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from importlib.resources import files
from math import isnan
from typing import Any

from matinee.console import say, show
from matinee.desk.rendering import templates
from matinee.desk.views import View, kept
from matinee.evaluation import plots
from matinee.evaluation.intervals.base import Interval
from matinee.service.bitten import Rule, Rules
from matinee.service.folder import Service
from matinee.service.outages import Outage
from matinee.service.processing import Processing, Processor, Span, processing
from matinee.service.recovered import ALL, GROUPS, Line, Recovered, Step

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
KINDS = {
    "never": "An answer that is final stays final: networks charge for trying again.",
    "wait": "The network said how long to wait.",
    "limit": "Networks charge for, or refuse, more attempts than that.",
    "quiet": "Nobody is charged at night, where they are.",
}
OWN = {
    "closed": "What is settled is not charged.",
    "paid": "Nobody pays twice.",
    "in_flight": "What may have been charged already is not charged again.",
    "grace": "Trying ends when the service goes off.",
    "mandate": "Who took the mandate back is not charged.",
    "expired": "A card that has expired cannot bring the money.",
    "hard_reason": "An answer that is final stays final, by our own reading of codes.",
    "instrument": "There is nothing to charge under that rank.",
    "processor": "Somebody has to be able to charge it.",
    "disabled": "Processors that are switched off are not used.",
    "currency": "The processor does not charge that currency.",
    "country": "The processor does not charge there.",
    "network": "The processor does not reach that network.",
    "outage": "A processor that is reported as out is left alone.",
    "down": "A processor whose latest answers failed is left alone but for probes.",
    "promise": "Processors get the attempts that they were promised this month.",
}
"""What the rules are for that stand in no book: those of the service itself."""


def show_recovered(found: Recovered) -> None:
    """Print all lines."""
    whole = found.lines[0]
    say(
        f"{whole.failed:,} of {found.invoices:,} renewals failed at first; "
        f"{share(whole.final)} of those that are over were recovered",
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
    if isnan(one.low):
        return f"{one.value:.1%}".replace("%", " %")
    return f"{100 * one.value:.1f} % ({100 * max(one.low, 0):.1f} to {100 * min(one.high, 1):.1f})"


def number(one: Interval) -> str:
    """
    >>> number(Interval(2.5, 2.25, 2.75, level=0.95, method="normal"))
    '2.50 (2.25 to 2.75)'
    """
    if isnan(one.value):
        return "none yet"
    return f"{one.value:,.2f}" + ("" if isnan(one.low) else f" ({one.low:,.2f} to {one.high:,.2f})")


def payments_view(service: Service) -> View[Processing]:
    """How payments went, read from the log and drawn at most once a minute."""
    drawn = _Drawn()

    def read(_: str) -> Processing:
        found = processing(service)
        drawn.of(found)
        return found

    return View("/desk/payments", "recovery.html", kept(read), drawn.of)


class _Drawn:
    """What the template shows of what was read last: plots take longer than a page may."""

    def __init__(self) -> None:
        self._last: tuple[Processing, dict[str, Any]] | None = None

    def of(self, found: Processing) -> dict[str, Any]:
        last = self._last
        if last is None or last[0] is not found:
            last = self._last = found, shown(found)
        return last[1]


def page(found: Processing, name: str, *, simulated: bool) -> str:
    """All of it as an HTML page of its own, that needs nothing else."""
    style = files("matinee.desk").joinpath("static/matinee.css").read_text(encoding="utf-8")
    template = templates().get_template("recovery.html")
    return template.render(service=name, simulated=simulated, style=style, **shown(found))


def shown(found: Processing) -> dict[str, Any]:
    """What the template shows."""
    lines = found.recovered.lines if found.recovered else ()
    return {
        "found": found,
        "nothing": not (found.invoices or found.processors or found.outages or _decided(found)),
        "funnel": list(_funnel(found.funnel)),
        "columns": COLUMNS,
        "whole": lines[0] if lines else None,
        "parts": list(_parts(lines)) if lines else [],
        "cells": cells,
        "processors": list(_processors(found)),
        "spans": SPANS,
        "rules": list(_rules(found.rules)) if found.rules else [],
        "decided": decided(found.rules) if found.rules else [],
        "outages": [outage(one) for one in found.outages or ()],
        "outage_columns": OUTAGES,
    }


def _decided(found: Processing) -> bool:
    return found.rules is not None and found.rules.ever.decisions > 0


def _funnel(steps: Sequence[Step]) -> Iterator[dict[str, str]]:
    """Each step: its name, how many, their money, the width of its bar, and of what it is a
    share.
    """
    due = steps[0].count if steps else 0
    for step in steps:
        if due and (step.count or step.name not in SELDOM):
            yield {
                "name": NAMES[step.name],
                "count": f"{step.count:,}",
                "money": f"{step.money:,.2f}",
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


def decided(rules: Rules) -> list[tuple[str, ...]]:
    """A row for each span of time: decisions, and those with nothing left."""
    return [
        (name, f"{one.decisions:,}", f"{one.nothing:,}", f"{one.stopped:,}")
        for name, one in (("the last 30 days", rules.month), ("ever", rules.ever))
    ]


def _rules(rules: Rules) -> Iterator[dict[str, Any]]:
    for rule in rules.bit:
        said = "; ".join(rule.said)
        yield {
            "name": rule.name,
            "cells": bites(rule),
            "words": f"{said}. {purpose(rule)}",
            "source": rule.source or ("a rule of the service itself" if rule.name in OWN else ""),
        }


def purpose(rule: Rule) -> str:
    """What a rule is for, in words."""
    return OWN.get(rule.name, "") if not rule.kind else KINDS.get(rule.kind, "")


def bites(rule: Rule) -> tuple[str, ...]:
    """Decisions and actions of the last 30 days, and ever; since when the rule is in force."""
    if not rule.kind:
        force = "always" if rule.name in OWN else "not in the rule book"
    else:
        force = f"{rule.since:%Y-%m-%d}" if rule.since else "always"
        force += f" until {rule.until:%Y-%m-%d}" if rule.until else ""
    numbers = (one for bite in (rule.month, rule.ever) for one in (bite.decisions, bite.actions))
    return *(f"{number:,}" for number in numbers), force


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
    >>> lasting(14.9), lasting(1000.0), lasting(None)
    ('15 s', '1,000 s', 'not told')
    """
    return "not told" if seconds is None else f"{seconds:,.0f} s"


def _parts(lines: Sequence[Line]) -> Iterator[tuple[str, list[Line], list[tuple[str, str]]]]:
    """Each group: its title, its lines, and plots with their captions."""
    for group in GROUPS:
        mine = [line for line in lines if line.group == group]
        drawn = [
            ("Recovered, of those that are over", _plot(mine, "final", "share", (0.0, 1.0))),
            ("Net for each failed renewal", _plot(mine, "net", "money", None)),
        ]
        yield TITLES[group], mine, drawn


def _plot(lines: Sequence[Line], what: str, unit: str, within: tuple[float, float] | None) -> str:
    points = [
        plots.Point(line.name, one.value, one.low, one.high)
        for line in lines
        if not isnan((one := getattr(line, what)).low)
    ]
    return plots.values(points, unit, within=within) if points else ""
