"""The experiments and holdouts of a service, in a few words each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from matinee.experiments.plan import RULE, Experiment, Holdout
from matinee.service.folder import Service
from matinee.surfaces import Surface

State = Literal["runs", "halted", "over", "to come"]
GOING: frozenset[State] = frozenset({"runs", "to come"})
"""The states of an experiment that may change what members get, now or later."""


@dataclass(frozen=True)
class Part:
    """An arm: its name, the share of members that it is to have, and what they get."""

    name: str
    share: float
    serves: str


@dataclass(frozen=True)
class Tried:
    """An experiment, where it is in its life, and what its latest reading says."""

    name: str
    surface: str
    arms: tuple[Part, ...]
    since: datetime
    until: datetime
    state: State
    halted: str | None
    outcome: str | None


@dataclass(frozen=True)
class Held:
    """Members whom no experiment touches: which share, and what they get; on all surfaces where
    none is named.
    """

    name: str
    surface: str | None
    share: float
    serves: str


@dataclass(frozen=True)
class Trying:
    """All of them; experiments the newest first."""

    at: datetime
    experiments: tuple[Tried, ...]
    holdouts: tuple[Held, ...]

    @property
    def taking(self) -> Tried | None:
        """One that is not over yet: while there is one on a surface, no other can have all of its
        members.
        """
        return next((one for one in self.experiments if one.state != "over"), None)


def trying(service: Service, surface: str | None = None, now: datetime | None = None) -> Trying:
    """What is and was tried, on one surface or on all."""
    at = now or datetime.now(UTC)
    return Trying(
        at,
        tuple(
            _tried(service, one, at)
            for one in reversed(service.trials.all())
            if surface in {None, one.surface}
        ),
        tuple(_held(service, surface)),
    )


def state_of(one: Experiment, at: datetime) -> State:
    """Where an experiment is in its life."""
    if at >= one.until:
        return "over"
    if one.halted:
        return "halted"
    return "runs" if at >= one.start else "to come"


def holdouts_of(service: Service, surface: Surface) -> list[str]:
    """The names of the holdouts of a surface: its own, and those that are held of it or of all."""
    return list(dict.fromkeys(one.name for one in _held(service, surface.name)))


def _tried(service: Service, one: Experiment, at: datetime) -> Tried:
    latest = service.trials.latest(one.name)
    return Tried(
        one.name,
        one.surface,
        tuple(Part(arm.name, arm.share, arm.serves) for arm in one.arms),
        one.start,
        one.until,
        state_of(one, at),
        one.halted,
        latest.reason if latest else None,
    )


def _held(service: Service, surface: str | None) -> list[Held]:
    """Those that surfaces have of themselves, and those that somebody held out."""
    own = [
        Held(name, each.name, rule.share, f"{each.name}@{name}")
        for each in service.surfaces.values()
        for name, rule in each.holdouts().items()
        if surface in {None, each.name}
    ]
    kept = [
        Held(one.name, one.surface, one.share, one.serves)
        for one in service.trials.plan().holdouts
        if surface is None
        or one.surface == surface
        or (one.surface is None and _rules(service, one, surface))
    ]
    return [*own, *kept]


def _rules(service: Service, one: Holdout, surface: str) -> bool:
    """Whether a holdout of all surfaces has something to give on one: its rule needs a fallback."""
    return one.serves != RULE or service.surface(surface).fallback() is not None
