"""What is tested at the same time, and who is in which arm of it.

A layer is cut into slices, and each experiment takes one: experiments of one layer share no member,
those of different layers lie independently. Source: D. Tang, A. Agarwal, D. O'Brien, M. Meyer,
"Overlapping Experiment Infrastructure: More, Better, Faster Experimentation" (KDD 2010), section 4.
doi:10.1145/1835804.1835810
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import accumulate
from math import fsum
from typing import Annotated, NamedTuple, Self, TypeAlias

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from matinee.experiments.allocation import allocator
from matinee.lake.records import Country, Device, Id, Time
from matinee.ready import ready

CHAMPION, RULE = "champion", "rule"
SLACK = 1e-9
"""How far rounding may carry the sum of an experiment's shares from 1."""
NEVER = datetime.max.replace(tzinfo=UTC)

Place: TypeAlias = Callable[[str], float]
Share = Annotated[float, Meta(description="of members, above 0 and at most 1")]


class Arm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of the things that an experiment compares, and the share of its members who get it."""

    name: Annotated[Id, Meta(description="control, say")]
    share: Share
    serves: Annotated[
        Id, Meta(description='a version, such as "titles@4", or "champion": who is it then')
    ]

    def __post_init__(self) -> None:
        _require_share(f"arm {self.name!r}", self.share)


class Layer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A namespace of experiments that share no member.

    A new name lays all members out anew.
    """

    name: Id


@ready
class Holdout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A lasting share of members who are in no experiment, of one surface or of all.

    A share that grows keeps its members, and takes others out of experiments.
    """

    name: Annotated[Id, Meta(description="a new name draws its members anew")]
    share: Share
    surface: Annotated[Id, Meta(description="empty: all surfaces")] | None = None
    serves: Annotated[
        Id, Meta(description='"rule", or the version of its surface that stays: "titles@3"')
    ] = RULE

    def __post_init__(self) -> None:
        _require_share(f"holdout {self.name!r}", self.share)
        if self.serves != RULE and not _is_version(self.serves, self.surface):
            known = f'"rule" or a version such as "{self.surface}@3"' if self.surface else '"rule"'
            raise ValueError(f"holdout {self.name!r} serves {self.serves!r}; give {known}")


@ready
class Experiment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Arms that are compared on a surface, from `start` and before `end`.

    It takes the members of its layer who lie in `slice`, [from, to) in [0, 1), and meet its
    targeting. In which arm a member is hangs on the experiment's name and on the shares of its arms
    in their order, and on nothing else: leave those as they are while it runs. Growing its slice at
    either end keeps everyone who was in, in their arms.

    `halted` says why it is stopped for now: its members get the champion, nobody else gets its
    slice, and without `halted` everyone is in their arm again.

    Raises `ValueError` for times without a zone or an end before the start, a slice outside
    [0, 1], fewer than two arms, two of one name, shares that do not add up to 1, and an arm that
    serves anything but the champion or a version of the surface.
    """

    name: Id
    surface: Annotated[Id, Meta(description="where it is decided")]
    layer: Id
    arms: Annotated[tuple[Arm, ...], Meta(description="two or more; their shares add up to 1")]
    start: Annotated[Time, Meta(description="from then on")]
    slice: Annotated[
        tuple[float, float], Meta(description="the part of the layer that it takes, from and to")
    ]
    end: Annotated[Time, Meta(description="no longer from then on; empty: runs on")] | None = None
    countries: Annotated[tuple[Country, ...], Meta(description="whose members; empty: all")] = ()
    devices: Annotated[tuple[Device, ...], Meta(description="on which; empty: all")] = ()
    halted: Annotated[str, Meta(min_length=1, description="why it is stopped")] | None = None

    def __post_init__(self) -> None:
        for problem in self._problems():
            raise ValueError(f"experiment {self.name!r}: {problem}")

    @property
    def until(self) -> datetime:
        """Its end; the end of time where it has none."""
        return self.end or NEVER

    def runs(self, at: datetime) -> bool:
        """Whether it has started and not ended, halted or not."""
        return self.start <= at < self.until

    def targets(self, country: str | None, device: str | None) -> bool:
        """Whether it is for a member there, on such a device; `None` where that is not known."""
        return (not self.countries or country in self.countries) and (
            not self.devices or device in self.devices
        )

    def _problems(self) -> Iterator[str]:
        if self.start.tzinfo is None or self.until.tzinfo is None:
            yield "a time has no zone; give it with an offset, such as 2026-01-01T00:00:00Z"
        if self.start >= self.until:
            yield f"it ends at {self.end}, not after {self.start}; give a later end"
        begins, ends = self.slice
        if not 0 <= begins < ends <= 1:
            yield f"its slice is [{begins}, {ends}); give 0 <= from < to <= 1"
        if self.halted == "":
            yield "it is halted without a reason; say why, or leave halted out"
        if len(self.arms) < 2:
            yield "give two arms or more"
        for name in _doubled(arm.name for arm in self.arms):
            yield f"two arms are called {name!r}; rename one"
        total = fsum(arm.share for arm in self.arms)
        if abs(total - 1) > SLACK:
            yield f"the shares of its arms add up to {total:g}; make it 1"
        for arm in self.arms:
            if arm.serves != CHAMPION and not _is_version(arm.serves, self.surface):
                yield (
                    f"arm {arm.name!r} serves {arm.serves!r}; give "
                    f'"champion" or a version such as "{self.surface}@4"'
                )


class Allocated(msgspec.Struct, frozen=True):
    """The arm that a member is in, and what it serves."""

    experiment: str
    arm: str
    serves: str


Answer: TypeAlias = Allocated | Holdout | None
"""An arm, the holdout that a member is in, or nothing: the champion decides."""


class Allocations(NamedTuple):
    """The answers that there may be, nothing first, and the place of each member's among them [N].

    ``np.bincount(codes, minlength=len(answers))`` counts them.
    """

    answers: tuple[Answer, ...]
    codes: NDArray[np.int64]


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All experiments, past and to come, their layers, and the holdouts.

    A surface can serve one thing at a time, so those of its experiments that overlap in time stand
    in one layer; a layer may hold experiments of several surfaces. The holdout of all surfaces
    comes before that of one, and both before experiments. Where nothing is said, and while an
    experiment is halted, the champion decides.

    Raises `ValueError` for an unknown layer, two of one name, two holdouts of one surface, slices
    of a layer that overlap at overlapping times, and a surface in two layers at a time.

    >>> written = '''
    ... layers = [{ name = "ranking" }]
    ... holdouts = [{ name = "before", share = 0.02, serves = "rule" }]
    ... [[experiments]]
    ... name = "fresh"
    ... surface = "titles"
    ... layer = "ranking"
    ... slice = [0.0, 0.5]
    ... start = 2026-01-01T00:00:00Z
    ... arms = [
    ...     { name = "control", share = 0.5, serves = "champion" },
    ...     { name = "fresh", share = 0.5, serves = "titles@4" },
    ... ]
    ... '''
    >>> plan = msgspec.toml.decode(written, type=Plan)
    >>> Allocator(plan, b"salt").of("m4", "titles", datetime(2026, 1, 2, tzinfo=UTC))
    Allocated(experiment='fresh', arm='control', serves='champion')
    """

    experiments: tuple[Experiment, ...] = ()
    layers: tuple[Layer, ...] = ()
    holdouts: tuple[Holdout, ...] = ()

    def __post_init__(self) -> None:
        for problem in self._problems():
            raise ValueError(problem)

    def _problems(self) -> Iterator[str]:
        for what in ("experiments", "layers", "holdouts"):
            for name in _doubled(one.name for one in getattr(self, what)):
                yield f"two {what} are called {name!r}; rename one"
        for surface in _doubled(one.surface or "" for one in self.holdouts):
            of = f"surface {surface!r}" if surface else "all surfaces"
            yield f"two holdouts are of {of}; give one, with the sum of their shares"
        known = [layer.name for layer in self.layers]
        for one in self.experiments:
            if one.layer not in known:
                yield (
                    f"experiment {one.name!r} is in layer {one.layer!r}, which there is not; "
                    f"give one of {known}, or add it to layers"
                )
        running: list[Experiment] = []
        for one in sorted(self.experiments, key=lambda one: one.start):
            running = [other for other in running if other.until > one.start]
            for other in running:
                yield from _collisions(other, one)
            running.append(one)


class _Running(NamedTuple):
    """An experiment that is not halted, with what is asked of it for every member at hand."""

    experiment: Experiment
    place: Place
    cuts: tuple[float, ...]
    answers: tuple[Allocated, ...]
    begins: float
    ends: float
    start: datetime
    until: datetime

    @classmethod
    def of(cls, salt: bytes, one: Experiment) -> Self:
        return cls(
            one,
            allocator(salt, f"arm:{one.name}"),
            tuple(accumulate(arm.share for arm in one.arms[:-1])),
            tuple(Allocated(one.name, arm.name, arm.serves) for arm in one.arms),
            *one.slice,
            one.start,
            one.until,
        )


class _Lane(NamedTuple):
    """The experiments of one layer on one surface; by cells between the ends of their slices."""

    place: Place
    running: tuple[_Running, ...]
    cuts: tuple[float, ...]
    cells: tuple[tuple[_Running, ...], ...]

    @classmethod
    def of(cls, salt: bytes, layer: str, experiments: Iterable[Experiment]) -> Self:
        running = tuple(_Running.of(salt, one) for one in experiments if one.layer == layer)
        cuts = sorted({0.0, 1.0}.union(*((one.begins, one.ends) for one in running)))
        cells = tuple(
            tuple(one for one in running if one.begins <= begins < one.ends) for begins in cuts[:-1]
        )
        return cls(allocator(salt, f"layer:{layer}"), running, tuple(cuts[1:-1]), cells)


class _Asked(NamedTuple):
    """What is asked on a surface, in this order."""

    holdouts: tuple[tuple[Place, Holdout], ...]
    lanes: tuple[_Lane, ...]

    @classmethod
    def of(cls, salt: bytes, plan: Plan, surface: str | None) -> Self:
        whose = dict.fromkeys((None, surface))
        held = [one for name in whose for one in plan.holdouts if one.surface == name]
        here = [one for one in plan.experiments if one.surface == surface and not one.halted]
        return cls(
            tuple((allocator(salt, f"holdout:{one.name}"), one) for one in held),
            tuple(_Lane.of(salt, name, here) for name in dict.fromkeys(one.layer for one in here)),
        )


class Allocator:
    """Who is in what of a plan. `salt` (at most 64 bytes) is the service's own: see `allocation`.

    A member's place in a layer hangs on the salt, the layer's name and the member, the arm on the
    salt, the experiment's name and the member; nothing is kept.
    """

    def __init__(self, plan: Plan, salt: bytes) -> None:
        names = {one.surface for one in plan.experiments} | {one.surface for one in plan.holdouts}
        self._surfaces = {name: _Asked.of(salt, plan, name) for name in names | {None}}

    def of(
        self,
        member: str,
        surface: str,
        at: datetime,
        country: str | None = None,
        device: str | None = None,
    ) -> Answer:
        """Which arm a member is in on a surface at a time, or which holdout, or nothing.

        Whose country or device is not known is in no experiment that is targeted by it. Raises
        `ValueError` for a time without a zone.
        """
        _require_zone(at)
        holdouts, lanes = self._asked(surface)
        for place, holdout in holdouts:
            if place(member) < holdout.share:
                return holdout
        for lane in lanes:
            for one in lane.cells[bisect_right(lane.cuts, lane.place(member))]:
                if one.start <= at < one.until and one.experiment.targets(country, device):
                    return one.answers[bisect_right(one.cuts, one.place(member))]
        return None

    def many(
        self,
        members: Sequence[str],
        surface: str,
        at: datetime,
        countries: Sequence[str | None] | None = None,
        devices: Sequence[str | None] | None = None,
    ) -> Allocations:
        """What `of` says of each of N members at one time; `countries` and `devices` are theirs
        [N], by default unknown. Raises `ValueError` where the lengths differ.

        >>> found = Allocator(Plan(), b"salt").many(["m1"], "titles", datetime.now(UTC))
        >>> found.answers, found.codes
        ((None,), array([0]))
        """
        _require_zone(at)
        known = [[None] * len(members) if one is None else one for one in (countries, devices)]
        if any(len(one) != len(members) for one in known):
            raise ValueError(f"give a country, and a device, for each of {len(members)} members")
        holdouts, lanes = self._asked(surface)
        answers: list[Answer] = [None]
        codes, left = np.zeros(len(members), np.int64), np.arange(len(members))
        for place, holdout in holdouts:
            held = _places(place, members, left.tolist()) < holdout.share
            codes[left[held]] = len(answers)
            answers.append(holdout)
            left = left[~held]
        for lane in lanes:
            running = [one for one in lane.running if one.experiment.runs(at)]
            if not running:
                continue
            where = _places(lane.place, members, left.tolist())
            for one in running:
                inside = left[(one.begins <= where) & (where < one.ends)].tolist()
                targets = one.experiment.targets
                whose = [row for row in inside if targets(known[0][row], known[1][row])]
                arms = np.searchsorted(one.cuts, _places(one.place, members, whose), "right")
                codes[whose] = len(answers) + arms
                answers.extend(one.answers)
        return Allocations(tuple(answers), codes)

    def _asked(self, surface: str) -> _Asked:
        return self._surfaces.get(surface) or self._surfaces[None]


def _collisions(one: Experiment, other: Experiment) -> Iterator[str]:
    """What is wrong with two experiments that overlap in time."""
    both = f"experiments {one.name!r} and {other.name!r} overlap in time"
    apart = "or end one before the other starts"
    begins, ends = max(one.slice[0], other.slice[0]), min(one.slice[1], other.slice[1])
    if one.layer == other.layer and begins < ends:
        yield f"{both} and both take [{begins}, {ends}) of {one.layer!r}; move a slice, {apart}"
    if one.surface == other.surface and one.layer != other.layer:
        yield f"{both} on {one.surface!r} in two layers; put them into one, {apart}"


def _require_share(what: str, share: float) -> None:
    if not 0 < share <= 1:
        raise ValueError(f"{what} has the share {share}; give one above 0 and at most 1")


def _require_zone(at: datetime) -> None:
    if at.tzinfo is None:
        raise ValueError(f"{at} has no zone; give a time with one, such as datetime.now(UTC)")


def _places(place: Place, members: Sequence[str], rows: Iterable[int]) -> NDArray[np.float64]:
    """The places [R] of the members in some rows [R]."""
    return np.array([place(members[row]) for row in rows], np.float64)


def _is_version(serves: str, surface: str | None) -> bool:
    return surface is not None and bool(re.fullmatch(rf"{re.escape(surface)}@[1-9][0-9]*", serves))


def _doubled(names: Iterable[str]) -> list[str]:
    """Names that come a second time."""
    seen: set[str] = set()
    return [name for name in names if name in seen or seen.add(name)]  # type: ignore[func-returns-value]
