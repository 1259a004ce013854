"""What a person may change about who decides: each change by name, with what it does, and why."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from matinee.errors import MatineeError
from matinee.experiments.plan import Experiment
from matinee.ready import ready
from matinee.registry import Approvals, against_champion, parse_version
from matinee.service.folder import Service
from matinee.service.trying import GOING, state_of

Name = Literal["promote", "approve", "roll_back", "stop", "start", "halt", "resume", "end", "win"]
Kind = Literal["version", "surface", "experiment"]
SHARE = 0.5
"""The share of the members who get a version that is tried, unless another one is asked for."""


@ready
class Change(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What somebody wants: `action` on `about`, a version such as titles@2, a surface, or an
    experiment, for a `reason` that stands in the history. An experiment that is started gives the
    version to a `share` of the members. Where `champion` is given, and another one decides by now,
    nothing is rolled back; where `halted` is, and it is halted for another reason by now, nothing
    is resumed.
    """

    action: Name
    about: Annotated[str, Meta(min_length=1, max_length=200)]
    reason: Annotated[str, Meta(min_length=1, max_length=1_000, pattern=r"\S")]
    share: Annotated[float, Meta(gt=0, lt=1)] = SHARE
    champion: Annotated[str, Meta(max_length=200)] | None = None
    halted: str | None = None


@dataclass(frozen=True)
class Action:
    """A kind of change: what it is called on a button, of what it is, what it does in a sentence,
    and how; `do` returns what was done. `weight` is how much its button stands out: what is waited
    for, what may be done, and what takes something away.
    """

    label: str
    kind: Kind
    says: str
    do: Callable[[Service, Change, str], str]
    weight: Literal["first", "second", "sharp"] = "first"


def change(service: Service, wanted: Change, by: str) -> str:
    """Do it, and say what was done. Raises `MatineeError` where it cannot be."""
    return ACTIONS[wanted.action].do(service, wanted, by)


def surface_of(service: Service, action: Name, about: str) -> str:
    """The surface that a change is about; `MatineeError` where there is no such thing."""
    kind = ACTIONS[action].kind
    if kind == "surface":
        return service.surface(about).name
    if kind == "experiment":
        return service.trials.get(about).surface
    return service.registry.get(about).surface


def running(service: Service, surface: str) -> list[Experiment]:
    """The experiments that may change what members get on a surface, now or later."""
    now = datetime.now(UTC)
    return [
        one
        for one in service.trials.all()
        if one.surface == surface and state_of(one, now) in GOING
    ]


def experiment_name(service: Service, version: str) -> str:
    """A name that no experiment has had, for one that tries a version.

    Such as titles-4, then titles-4-b and so on.
    """
    stem = re.sub(r"[^A-Za-z0-9]+", "-", version)
    known = {one.name for one in service.trials.all()}
    for suffix in ("", *(f"-{letter}" for letter in "bcdefghijklmnopqrstuvwxyz")):
        if stem + suffix not in known:
            return stem + suffix
    raise MatineeError(
        f"{version} was tried often enough",
        next_step="matinee experiments start NAME VERSION --reason '...'",
    )


def _promote(service: Service, wanted: Change, by: str) -> str:
    surface = parse_version(wanted.about)[0]
    service.registry.promote(surface, wanted.about, by, wanted.reason)
    return f"{wanted.about} is the champion of {surface}"


def _approve(service: Service, wanted: Change, by: str) -> str:
    surface = parse_version(wanted.about)[0]
    Approvals(service.registry).approve(surface, wanted.about, by, wanted.reason)
    return f"{wanted.about} is the champion of {surface}"


def _roll_back(service: Service, wanted: Change, by: str) -> str:
    surface = service.surface(wanted.about).name
    back = service.registry.roll_back(surface, by, wanted.reason, champion=wanted.champion)
    return f"{back.id} is the champion of {surface} again"


def _stop(service: Service, wanted: Change, by: str) -> str:
    surface = service.surface(wanted.about).name
    names = [one.name for one in running(service, surface)]
    if not names:
        raise MatineeError(
            f"no experiment runs on {surface}",
            why="all members have the champion, but for those who are held out",
            next_step=f"matinee roll-back {surface}, if the champion is what is wrong",
        )
    failures = []
    for name in names:
        try:
            service.trials.halt(name, by, wanted.reason)
        except MatineeError as error:  # the others are halted all the same
            if state_of(service.trials.get(name), datetime.now(UTC)) in GOING:
                failures.append(error)
    if failures:
        raise failures[0]
    return f"halted on {surface}: {', '.join(names)}"


def _start(service: Service, wanted: Change, by: str) -> str:
    surface = service.registry.get(wanted.about).surface
    name = experiment_name(service, wanted.about)
    one = against_champion(name, surface, wanted.about, share=wanted.share)
    started = service.trials.start(one, by, wanted.reason)
    return f"{name} compares {wanted.about} with {started.arms[0].serves}"


def _halt(service: Service, wanted: Change, by: str) -> str:
    service.trials.halt(wanted.about, by, wanted.reason)
    return f"{wanted.about} is halted"


def _resume(service: Service, wanted: Change, by: str) -> str:
    service.trials.resume(wanted.about, by, wanted.reason, halted=wanted.halted)
    return f"{wanted.about} goes on"


def _end(service: Service, wanted: Change, by: str) -> str:
    service.trials.end(wanted.about, by, wanted.reason)
    return f"{wanted.about} is over"


def _win(service: Service, wanted: Change, by: str) -> str:
    version = service.trials.win(wanted.about, by, wanted.reason)
    return f"{version} is the champion of {parse_version(version)[0]}; {wanted.about} is over"


ACTIONS: Mapping[Name, Action] = {
    "promote": Action(
        "Promote",
        "version",
        "It becomes the first champion of its surface: it decides for all members within a second.",
        _promote,
    ),
    "approve": Action(
        "Approve",
        "version",
        "Where it passed the gate against the champion, it becomes the champion: it decides for "
        "all members within a second.",
        _approve,
    ),
    "roll_back": Action(
        "Roll back",
        "surface",
        "The champion before this one decides again, for all members within a second.",
        _roll_back,
        weight="sharp",
    ),
    "stop": Action(
        "Halt all experiments",
        "surface",
        "The kill switch: every experiment of the surface is halted, and its members have the "
        "champion within a second. What somebody was shown already may stay for a while, as "
        "pictures do.",
        _stop,
        weight="sharp",
    ),
    "start": Action(
        "Try in an experiment",
        "version",
        "Members drawn by chance get it, the others keep the champion, and what comes of it is "
        "compared.",
        _start,
        weight="second",
    ),
    "halt": Action(
        "Halt",
        "experiment",
        "All its members have the champion within a second. It can be resumed.",
        _halt,
        weight="sharp",
    ),
    "resume": Action(
        "Resume", "experiment", "Its members have their arms again.", _resume, weight="second"
    ),
    "end": Action(
        "End",
        "experiment",
        "It is over, and all its members have the champion. It cannot be resumed.",
        _end,
        weight="sharp",
    ),
    "win": Action(
        "Make it the champion",
        "experiment",
        "Where its treatment was shown to be better, that becomes the champion, for all members "
        "within a second, and the experiment is over.",
        _win,
    ),
}
