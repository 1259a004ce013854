"""A member: who decides for them and why, the page that they get, and their latest decisions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain
from typing import Literal

from msgspec import structs

from matinee.decisions import Assigner
from matinee.insights.beside import Beside, beside, other
from matinee.insights.lately import Lately, lately
from matinee.insights.previewing import Preview, bare, preview
from matinee.lake.records import from_micros
from matinee.service.arms import Arms
from matinee.service.runtime import Champion, NoChampionError, Runtime
from matinee.surfaces import Request, Titles

Why = Literal["champion", "arm", "holdout", "fallback", "nobody"]
OTHERS = 24
"""Members that are named besides."""


@dataclass(frozen=True)
class Decides:
    """What decides for a member on a surface, and why.

    `version` is `None` where nothing can be decided yet. `arm` is that of an `experiment`, or the
    name of a holdout. `device` is where it is so, where it depends on that; `None` is anywhere
    else.
    """

    surface: str
    version: str | None
    why: Why
    arm: str | None = None
    experiment: str | None = None
    device: str | None = None


@dataclass(frozen=True)
class Named:
    """A version, and its model."""

    id: str
    model: str


@dataclass(frozen=True)
class Profile:
    """All that the desk knows of a member. `known` is false where nothing has been heard of them.

    `watched` counts titles, `seen` is when they last met one. `page` is what they would get at
    `at`, by the version that decides for them or by the one that was `asked`.
    """

    member_id: str
    at: datetime
    known: bool
    country: str | None
    watched: int
    seen: datetime | None
    decides: tuple[Decides, ...]
    asked: str | None
    page: Preview
    beside: Beside | None
    decisions: tuple[Lately, ...]
    versions: tuple[Named, ...]
    others: tuple[str, ...]


def profile(
    runtime: Runtime, member_id: str, version: str | None = None, against: str | None = None
) -> Profile:
    """A member, by id; a page by a `version` of titles, beside another one.

    Raises `NoChampionError` where nothing draws pages yet, and `MatineeError` for a version that
    there is not.
    """
    service, at = runtime.service, datetime.now(UTC)
    asked = runtime.located(Request(request_id="preview", member_id=member_id, at=at))
    history, latest = runtime.members.history(member_id), lately(service, member_id)
    last, page = history.last(), preview(runtime, asked, version)
    known = asked.country is not None or last is not None or bool(latest)
    return Profile(
        member_id,
        at,
        known,
        asked.country,
        len(history.titles),
        None if last is None else from_micros(last),
        tuple(_decides(runtime, asked)),
        version,
        page,
        _beside(runtime, asked, page, version, against),
        latest,
        tuple(Named(one.id, one.model) for one in reversed(service.registry.versions(Titles.name))),
        tuple(runtime.members.recent(OTHERS)),
    )


def _beside(
    runtime: Runtime, asked: Request, page: Preview, version: str | None, against: str | None
) -> Beside | None:
    """The page of a version, by default the champion, beside that of another."""
    champion = runtime.service.registry.alias(Titles.name, "champion")
    left = version or (champion.id if champion else page.version)
    found = other(runtime.service, left, against, asked.at)
    if found is None:
        return None
    mine, theirs = (
        page if name == page.version else bare(runtime, asked, name)
        for name in (left, found.version)
    )
    return beside(mine, theirs, found)


def _decides(runtime: Runtime, asked: Request) -> Iterator[Decides]:
    """What decides on each surface: anywhere, and on devices where that is another."""
    service = runtime.service
    arms, plan = Arms(service), service.trials.plan()
    for surface in service.surfaces:
        devices = (one.devices for one in plan.experiments if one.surface == surface)
        anywhere = _on(runtime, arms, surface, asked)
        yield anywhere
        for device in sorted(set(chain.from_iterable(devices))):
            there = _on(runtime, arms, surface, structs.replace(asked, device=device))
            if there != anywhere:
                yield replace(there, device=device)


def _on(runtime: Runtime, arms: Arms, surface: str, asked: Request) -> Decides:
    """What decides on a surface, on the device of the request."""
    try:
        found = _answering(runtime, surface, asked)
    except NoChampionError:
        return Decides(surface, None, "nobody")
    own = found.arm(asked.member_id) if isinstance(found, Assigner) else None
    if own is not None:
        return Decides(surface, f"{surface}@{own}", "holdout", own)
    serves = arms.of(surface, asked)
    experiment, _, arm = (serves.arm or "").partition(":")
    if arm and serves.version == found.version:
        return Decides(surface, found.version, "arm", arm, experiment)
    if experiment and not arm:
        return Decides(surface, found.version, "holdout", experiment)
    fallback = found.version == f"{surface}@fallback"
    return Decides(surface, found.version, "fallback" if fallback else "champion")


def _answering(runtime: Runtime, surface: str, asked: Request) -> Champion:
    """What answers for the member there."""
    if runtime.service.surface(surface).unit == "subject":
        return runtime.assigner(surface, asked)
    return runtime.deciding(surface, asked)
