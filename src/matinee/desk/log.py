"""The log as pages: the decisions that were asked for, and one of them whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from functools import partial
from typing import Any

import msgspec

from matinee.desk.views import NotFoundError, View, anew, link
from matinee.lake.billing import Attempt
from matinee.payments.money import EXPONENTS
from matinee.service.folder import Service
from matinee.service.searching import PAGE, Found, Made, Query, search
from matinee.service.whole import Rebuilt, UnknownDecisionError, Whole, one
from matinee.surfaces import Artwork

LOG, DECISION = "/desk/log", "/desk/decision"
FEW = 3
"""Actions of a decision that a line of the log names."""
FIELDS = ("member", "title", "surface", "policy", "arm")
KINDS = {
    "conditional": "The bar is the chance of this in its slot, given the slots before it.",
    "marginal": "The bar is the chance of this in its slot, whatever stands in the others.",
    "joint": "The chance is that of the whole list.",
}


def log_view(service: Service) -> View[Found]:
    """Decisions by member, title, surface, policy, arm and time."""

    def read(query: Mapping[str, str]) -> Found:
        return search(service, Query.asked(query))

    return View(LOG, "log.html", anew(read), partial(shown, sorted(service.surfaces)))


def decision_view(service: Service) -> View[Whole]:
    """The decision that `id` names, of `member` where that is said."""

    def read(query: Mapping[str, str]) -> Whole:
        decision_id = query.get("id", "").strip()
        if not decision_id:
            raise NotFoundError("no decision is named", next_step=f"find one at {LOG}")
        try:
            return one(service, decision_id, query.get("member", "").strip() or None)
        except UnknownDecisionError as error:
            raise NotFoundError(error.what, why=error.why, next_step=error.next_step) from error

    return View(DECISION, "decision.html", anew(read), whole)


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


def whole(found: Whole, now: datetime | None = None) -> dict[str, Any]:
    """What the page of a decision shows."""
    record = found.record
    return {
        "found": found,
        "record": record,
        "name": partial(_name, found.names),
        "subject": _subject(found),
        "kind": KINDS[record.propensity_kind],
        "joint": _odds(record.propensities[0]) if _has_one(found) else None,
        "positions": list(_positions(found)),
        "chosen_from": _chosen_from(found),
        "rebuilt": _rebuilt(found.rebuilt, record.policy),
        "outcome": _outcome(found, now or datetime.now(UTC)),
        "attempts": [
            (tried, _money(tried, tried.amount), _costs(tried)) for tried in found.attempts
        ],
        "known": _known(record.context),
        "context": _pretty(record.context),
    }


def _fields(asked: Query) -> dict[str, str]:
    """What was asked as a form says it, but for the page."""
    said = {name: getattr(asked, name) for name in FIELDS}
    said |= {"from": _told(asked.since), "until": _told(asked.until, whole=True)}
    return {name: text for name, text in said.items() if text}


def _told(at: datetime | None, *, whole: bool = False) -> str:
    """A time as a form says it: a date where it is one; of an end that counts `whole`, its day.

    >>> _told(datetime(2026, 11, 25, tzinfo=UTC), whole=True)
    '2026-11-24'
    >>> _told(datetime(2026, 11, 24, 18, 30, tzinfo=UTC))
    '2026-11-24T18:30:00Z'
    """
    if at is None:
        return ""
    if at.time() == time.min:
        return (at - timedelta(days=whole)).date().isoformat()
    return at.isoformat().replace("+00:00", "Z")


def _heading(found: Found) -> str:
    if found.total is None:
        return "Earlier decisions" if found.asked.before else "Decisions"
    return "1 decision" if found.total == 1 else f"{found.total:,} decisions"


def _period(found: Found) -> str:
    """From when to when the log was searched, in words.

    >>> since = datetime(2026, 11, 24, tzinfo=UTC)
    >>> _period(Found(Query(), since, None, (), 0, None, {}))
    'Made since 2026-11-24 00:00 UTC.'
    """
    since, until = (at and f"{at:%Y-%m-%d %H:%M}" for at in (found.since, found.until))
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
    until = found.since.isoformat().replace("+00:00", "Z")
    kept = {name: text for name, text in fields.items() if name != "from"}
    return link(LOG, {**kept, "until": until})


def _line(made: Made, names: Mapping[str, str]) -> dict[str, Any]:
    """A decision of the log."""
    first = [names.get(action, action) for action in made.actions[:FEW]]
    more = len(made.actions) - len(first)
    return {
        "at": f"{made.at:%Y-%m-%d %H:%M:%S}",
        "address": link(DECISION, {"id": made.decision_id, "member": made.member_id}),
        "made": made,
        "subject": None if made.subject is None else names.get(made.subject, made.subject),
        "chose": ", ".join(first) + (f" and {more} more" if more else ""),
    }


def _name(names: Mapping[str, str], title: str | None) -> str:
    return "" if title is None else names.get(title, title)


def _subject(found: Whole) -> dict[str, str | None] | None:
    """What it is about, and the page of it where there is one."""
    subject = found.record.subject
    if subject is None:
        return None
    pictured = found.record.surface == Artwork.name
    address = link("/desk/title", {"id": subject}) if pictured else None
    return {"name": _name(found.names, subject), "id": subject, "address": address}


def _has_one(found: Whole) -> bool:
    """Whether there is one propensity for all."""
    record = found.record
    return record.propensity_kind == "joint" and len(record.propensities) == 1


def _odds(propensity: float) -> dict[str, str]:
    """A probability to read, and how long its bar is.

    >>> _odds(0.25), _odds(0.00012)["odds"]
    ({'odds': '25%', 'percent': '25.0000'}, '0.012%')
    """
    share = f"{100 * propensity:.3g}"
    return {"odds": f"{share}%", "percent": f"{min(max(100 * propensity, 0), 100):.4f}"}


def _positions(found: Whole) -> Iterator[dict[str, Any]]:
    again = found.rebuilt.propensities if found.rebuilt.agrees is False else ()
    unknown = "open" if found.closed_at is None else ""
    for place, chosen in enumerate(found.chosen):
        yield {
            "slot": chosen.position + 1,
            "name": _name(found.names, chosen.action),
            "id": chosen.action,
            "bar": None if chosen.propensity is None else _odds(chosen.propensity),
            "again": _odds(again[place])["odds"] if place < len(again) else None,
            "rank": "" if chosen.rank is None else f"{chosen.rank:,}",
            "logit": "" if chosen.logit is None else f"{chosen.logit:.4g}",
            "reward": unknown if chosen.reward is None else f"{chosen.reward:.6g}",
        }


def _chosen_from(found: Whole) -> str:
    """How many alternatives there were, in words."""
    had = found.alternatives
    drawn = f"The draw was made from the {had.drawn_from:,} that its policy ranked first."
    if had.candidates is None:
        return f"{drawn} The log does not have the set of all candidates."
    left = had.candidates - had.removed
    taken = f", after masks took {had.removed:,} of {had.candidates:,} away" if had.removed else ""
    return f"There were {left:,} to choose from{taken}. {drawn}"


def _rebuilt(found: Rebuilt, policy: str) -> dict[str, str]:
    """Whether the record stands up to its own policy, in words."""
    if found.agrees is None:
        return {"verdict": "", "said": f"Its propensities cannot be rebuilt: {found.why}"}
    if not found.agrees:
        said = f"The policy of {policy} gives its actions other propensities than are logged."
        return {"verdict": "fails", "word": "differs", "said": said}
    said = f"The policy of {policy}, rebuilt from the record alone, gives the same propensities"
    seed = "and its seed draws the same again." if found.redrawn else "but its seed another list."
    return {"verdict": "passes", "word": "agrees", "said": f"{said}, {seed}"}


def _outcome(found: Whole, now: datetime) -> str:
    """What came of it, in words."""
    if not found.chosen:
        return "Nothing was chosen, so nothing can come of it."
    rewards = [one.reward for one in found.chosen if one.reward is not None]
    if found.closed_at is not None:
        brought = f"It brought {sum(rewards):.6g} in all."
        return f"Its window closed at {found.closed_at:%Y-%m-%d %H:%M} UTC. {brought}"
    if found.closes_at is None:
        return f"This service has no surface {found.record.surface} now, which could close it."
    if found.closes_at > now:
        return f"Its window closes at {found.closes_at:%Y-%m-%d %H:%M} UTC: nothing is final yet."
    over = f"Its window was over at {found.closes_at:%Y-%m-%d %H:%M} UTC"
    return f"{over}; what came of it is written down by: matinee work"


def _money(attempt: Attempt, amount: int) -> str:
    """An amount in whole units of its currency."""
    decimals = EXPONENTS.get(attempt.currency, 2)
    return f"{amount / 10**decimals:,.{decimals}f} {attempt.currency}"


def _costs(attempt: Attempt) -> str:
    """Fees and penalties, where there were any."""
    costs = attempt.fee + attempt.penalty
    return _money(attempt, costs) if costs else ""


def _known(context: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was known that a line can say."""
    return [
        (name, str(value))
        for name, value in context.items()
        if isinstance(value, str | int | float)
    ]


def _pretty(context: Mapping[str, Any]) -> str:
    return msgspec.json.format(msgspec.json.encode(context), indent=2).decode()
