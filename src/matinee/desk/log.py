"""The log as a page: the decisions that were asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, time, timedelta
from functools import partial
from typing import Any

from matinee.desk.numbers import counted, listed, moment
from matinee.desk.views import View, anew
from matinee.insights.notes import link
from matinee.insights.searching import PAGE, Found, Made, Query, search
from matinee.service.folder import Service

LOG = "/desk/log"
FEW = 3
"""Actions of a decision that a line of the log names."""
FIELDS = ("member", "title", "surface", "policy", "arm")


def log_view(service: Service) -> View[Found]:
    """Decisions by member, title, surface, policy, arm and time."""

    def read(query: Mapping[str, str]) -> Found:
        return search(service, Query.asked(query))

    return View(LOG, "log.html", anew(read), partial(shown, sorted(service.surfaces)))


def shown(surfaces: Sequence[str], found: Found) -> dict[str, Any]:
    """What the page of the log shows; `surfaces` are those that one may pick."""
    asked = found.asked
    fields = _fields(asked)
    return {
        "fields": {**dict.fromkeys((*FIELDS, "from", "until"), ""), **fields},
        "surfaces": [*surfaces, *({asked.surface} - {None, *surfaces})],
        "heading": _heading(found),
        "period": _period(found),
        "lines": [_line(made, found.names) for made in found.made],
        "newest": link(LOG, fields) if asked.before else None,
        "earlier": _earlier(found, fields),
        "further": _further(found, fields),
        "size": PAGE,
    }


def _fields(asked: Query) -> dict[str, str]:
    """What was asked as a form says it, but for the page."""
    said = {name: getattr(asked, name) for name in FIELDS}
    said |= {"from": _told(asked.since), "until": _told(asked.until, whole=True)}
    return {name: text for name, text in said.items() if text}


def _told(at: datetime | None, *, whole: bool = False) -> str:
    """A time as a form says it: a date where it is one; of an end that counts `whole`, its day.

    >>> from datetime import UTC
    >>> _told(datetime(2026, 11, 25, tzinfo=UTC), whole=True)
    '2026-11-24'
    >>> _told(datetime(2026, 11, 24, 18, 30, tzinfo=UTC))
    '2026-11-24T18:30:00Z'
    """
    if at is None:
        return ""
    if at.time() == time.min:
        return (at - timedelta(days=whole)).date().isoformat()
    return _exact(at)


def _exact(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def _heading(found: Found) -> str:
    if found.total is None:
        return "Earlier decisions" if found.asked.before else "Decisions"
    return counted(found.total, "decision")


def _period(found: Found) -> str:
    """From when to when the log was searched, in words.

    >>> from datetime import UTC
    >>> since = datetime(2026, 11, 24, tzinfo=UTC)
    >>> _period(Found(Query(), since, None, (), 0, None, {}))
    'Made since 2026-11-24 00:00 UTC.'
    """
    since, until = (at and moment(at) for at in (found.since, found.until))
    if since and until:
        return f"Made from {since} to {until} UTC."
    if since or until:
        return f"Made {'since' if since else 'before'} {since or until} UTC."
    return "All of the log was searched."


def _earlier(found: Found, fields: Mapping[str, str]) -> str | None:
    """The next page, in the same period: the last days of the log may be others by then."""
    if found.earlier is None:
        return None
    since = {"from": _told(found.since)} if found.since else {}
    return link(LOG, {**fields, **since, "before": found.earlier})


def _further(found: Found, fields: Mapping[str, str]) -> str | None:
    """What was made before the period that was searched, where this is its last page."""
    if found.earlier or found.since is None:
        return None
    kept = {name: text for name, text in fields.items() if name != "from"}
    return link(LOG, {**kept, "until": _exact(found.since)})


def _line(made: Made, names: Mapping[str, str]) -> dict[str, Any]:
    """A decision of the log."""
    first = [names.get(action, action) for action in made.actions[:FEW]]
    return {
        "at": f"{made.at:%Y-%m-%d %H:%M:%S}",
        "address": link("/desk/decision", {"id": made.decision_id, "member": made.member_id}),
        "made": made,
        "subject": None if made.subject is None else names.get(made.subject, made.subject),
        "chose": listed(first, len(made.actions)),
    }
