"""Members, and one of them: the page they get, why, what else it could be, and beside another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from matinee.desk.cards import odds, rows
from matinee.desk.numbers import counted, listed, moment
from matinee.desk.report import Shown, latest_report
from matinee.desk.views import NotFoundError, Query, View, anew
from matinee.errors import MatineeError
from matinee.insights.beside import Beside, Pair, Shelf
from matinee.insights.lately import Lately
from matinee.insights.profile import Decides, Profile, profile
from matinee.lake.records import MemberId, from_micros
from matinee.service.runtime import Runtime

SHOWN = 24
"""Members of the list."""
BECAUSE = {
    "asked": "picked above",
    "challenger": "the challenger",
    "experiment": "tried in the experiment {experiment}",
    "champion": "the champion",
}
"""Why a version stands beside another."""


@dataclass(frozen=True)
class Brief:
    """A member in a list: how many titles they watched, where they are, when they last met one."""

    member_id: str
    watched: int
    country: str | None
    seen: datetime | None


@dataclass(frozen=True)
class Members:
    """Some of the members, those who met a title last first, and how good the models are."""

    members: tuple[Brief, ...]
    report: Shown | None


def members_view(runtime: Runtime) -> View[Members]:
    """The page of members."""

    def read(_: Query) -> Members:
        briefs = (_brief(runtime, member) for member in runtime.members.recent(SHOWN))
        return Members(tuple(briefs), latest_report(runtime.service, "titles"))

    return View("/desk/members", "members.html", anew(read), _members)


def member_view(runtime: Runtime) -> View[Profile]:
    """The page of the member `id`, by a `policy`, which is a version of titles, `beside` another.

    It decides nothing, and nothing of it is logged.
    """

    def read(query: Query) -> Profile:
        member = member_id(query.get("id", ""))
        return profile(runtime, member, query.get("policy") or None, query.get("beside") or None)

    return View("/desk/member", "member.html", anew(read), _member)


def member_id(text: str) -> str:
    """An id that a member may have; `MatineeError` for what none can be.

    >>> member_id("m00042")
    'm00042'
    """
    if not text:
        raise NotFoundError("no member is named", next_step="type a member's id")
    try:
        return msgspec.convert(text, MemberId)
    except msgspec.ValidationError:
        raise MatineeError(
            "this cannot be a member's id",
            why="an id has 1 to 200 characters and no @: it is never an e-mail address",
            next_step="type the id as it stands in the events",
        ) from None


def _brief(runtime: Runtime, member: str) -> Brief:
    history = runtime.members.history(member)
    last = history.last()
    return Brief(
        member,
        len(history.titles),
        runtime.members.country(member),
        None if last is None else from_micros(last),
    )


def _members(found: Members) -> Mapping[str, Any]:
    members = [{"id": one.member_id, "detail": _about(one)} for one in found.members]
    return {"members": members, "report": found.report}


def _about(one: Brief) -> str:
    country = f", {one.country}" if one.country else ""
    seen = f", the last on {one.seen:%Y-%m-%d}" if one.seen else ""
    return f"{counted(one.watched, 'title')} watched{country}{seen}"


def _member(found: Profile) -> Mapping[str, Any]:
    return {
        "found": found,
        "seen": moment(found.seen) if found.seen else "never",
        "decides": [_decides(one) for one in found.decides],
        "rows": rows(found.page),
        "beside": found.beside and _beside(found.beside),
        "decisions": [_decided(one, found.at) for one in found.decisions],
    }


def _decides(one: Decides) -> dict[str, Any]:
    """A surface, what decides there, and why in words."""
    return {
        "surface": one.surface,
        "device": one.device,
        "version": one.version,
        "experiment": one.experiment,
        "why": _why(one),
    }


def _why(one: Decides) -> str:
    """
    >>> _why(Decides("titles", "titles@2", "champion"))
    'the champion'
    >>> _why(Decides("artwork", "artwork@fixed", "holdout", "fixed"))
    'they are in the holdout fixed'
    """
    return {
        "champion": "the champion",
        "arm": f"they are in the arm {one.arm} of the experiment",
        "holdout": f"they are in the holdout {one.arm}",
        "fallback": "the rule of the surface, which has no champion",
        "nobody": "it has no champion yet",
    }[one.why]


def _beside(found: Beside) -> dict[str, Any]:
    first = found.rows[0] if found.rows else None
    return {
        "left": found.left,
        "right": found.right,
        "because": BECAUSE[found.because].format(experiment=found.experiment),
        "overlap": _overlap(first) if first else "Neither has anything to show.",
        "rows": [
            {
                "overlap": f"{one.common} in common",
                "sides": [_side(found.left, one.left), _side(found.right, one.right)],
            }
            for one in found.rows
        ],
    }


def _overlap(first: Pair) -> str:
    """
    >>> _overlap(Pair("picks", None, None, 15, 0.75, 2.25))
    'In the first row they share 75% of the titles, which stand 2.2 places apart on the mean.'
    """
    if first.moved is None:
        return "In the first row they have no title in common."
    places = "1 place" if first.moved == 1 else f"{first.moved:.1f} places"
    said = f"In the first row they share {first.share:.0%} of the titles"
    return (
        f"{said}, which stand {places} apart on the mean." if first.moved else f"{said}, in place."
    )


def _side(version: str, shelf: Shelf | None) -> dict[str, Any]:
    titles = shelf.titles if shelf else ()
    return {
        "version": version,
        "name": shelf.name if shelf else "Nothing",
        "titles": [
            {"name": one.name, "odds": odds(one.propensity), "alone": one.alone} for one in titles
        ],
    }


def _decided(one: Lately, now: datetime) -> dict[str, Any]:
    """A line of the latest decisions."""
    return {
        "id": one.decision_id,
        "at": moment(one.at),
        "where": one.surface + (f", {one.row}" if one.row else ""),
        "by": one.policy + (f" ({one.arm})" if one.arm else ""),
        "about": one.about,
        "chose": listed(one.named, one.slots) or "nothing",
        "came": _came(one, now),
    }


def _came(one: Lately, now: datetime) -> str:
    """What came of a decision, as far as that is known."""
    if one.reward is not None:
        return f"earned {one.reward:.4g}"
    if one.closes is None:
        return "its surface is no more"
    return f"open until {moment(one.closes)}" if one.closes > now else "not counted yet"
