"""The page of one decision of the log, with all that can be told of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec

from matinee.desk.numbers import moment
from matinee.desk.views import NotFoundError, View, anew
from matinee.insights.notes import link
from matinee.insights.whole import Rebuilt, UnknownDecisionError, Whole, one
from matinee.lake.billing import Attempt
from matinee.payments.money import EXPONENTS
from matinee.service.folder import Service
from matinee.surfaces import Artwork

KINDS = {
    "conditional": "The bar is the chance of this in its slot, given the slots before it.",
    "marginal": "The bar is the chance of this in its slot, whatever stands in the others.",
    "joint": "The chance is that of the whole list.",
}


def decision_view(service: Service) -> View[Whole]:
    """The decision that `id` names, of `member` where that is said."""

    def read(query: Mapping[str, str]) -> Whole:
        decision_id = query.get("id", "").strip()
        if not decision_id:
            raise NotFoundError("no decision is named", next_step="find one at /desk/log")
        try:
            return one(service, decision_id, query.get("member", "").strip() or None)
        except UnknownDecisionError as error:
            raise NotFoundError(error.what, why=error.why, next_step=error.next_step) from error

    return View("/desk/decision", "decision.html", anew(read), whole)


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
        return f"Its window closed at {moment(found.closed_at)} UTC. {brought}"
    if found.closes_at is None:
        return f"This service has no surface {found.record.surface} now, which could close it."
    if found.closes_at > now:
        return f"Its window closes at {moment(found.closes_at)} UTC: nothing is final yet."
    over = f"Its window was over at {moment(found.closes_at)} UTC"
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
