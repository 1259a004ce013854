"""A service that decides: its champions, its members and its log, kept up to date together."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

import msgspec

from matinee.decisions import Assigner, Decider, Home
from matinee.decisions.recent import Recent
from matinee.errors import MatineeError
from matinee.lake.inbox import Receipt
from matinee.lake.records import Decision, Event
from matinee.models import Model
from matinee.policies import Policy
from matinee.service.arms import Arms, Serves
from matinee.service.choices import Choices
from matinee.service.content import Contents
from matinee.service.folder import Service
from matinee.service.forgetting import tombstones
from matinee.service.members import Members
from matinee.service.reports import Reports
from matinee.surfaces import Artwork, Choice, Request, Surface

log = logging.getLogger("matinee.runtime")

FOLLOW_SECONDS = 0.2
"""How often rows and promotions of other processes are looked for."""

BULK_SECONDS = 0.5
"""How often bulk imports and forgotten members are looked for."""

OTHERS = 4
"""How many versions besides the champions are kept in memory: for previews."""

BULK_TABLES = ("events", "members", "titles", "windows", "pictures")


Champion = Decider[Any] | Assigner[Any]
"""What answers for a version: by its surface's unit."""
ChampionT = TypeVar("ChampionT", Decider[Any], Assigner[Any])


class UnknownSurfaceError(MatineeError):
    """The service has no such surface."""


class NoChampionError(MatineeError):
    """Nothing has been promoted on the surface yet."""


@dataclass(frozen=True)
class _Serving:
    """What answers requests between two changes of the registry or the catalogue."""

    surfaces: Mapping[str, Surface]
    champions: Mapping[str, Champion]
    fallbacks: Mapping[str, Decider[Any]]
    arms: Arms
    trying: Mapping[tuple[str, Serves], Champion]
    others: Recent[Champion] = field(default_factory=lambda: Recent(OTHERS))


class Runtime:
    """Decides for every surface that has a champion. Safe for threads; close it after use.

    A thread follows what other processes do to the same folder: their events, imports, changed
    titles and promotions take effect here within a second.
    """

    def __init__(self, service: Service) -> None:
        self.service = service
        self._salt = service.salt()
        self._marks, self._forgotten = service.lake.appended(BULK_TABLES), tombstones(service.store)
        self._generation, self._stale = self._changes(), False
        self.members = Members(service.lake, service.settings.surfaces.titles.min_minutes)
        self.choices = Choices(service.lake, service.surfaces)
        self.reports = Reports(service)
        self._read_models_anew()
        self._serving = self._load()
        self._looked_for_bulk = time.monotonic()
        self._stop = threading.Event()
        self._follower = threading.Thread(target=self._follow, name="follower", daemon=True)
        self._follower.start()

    def close(self) -> None:
        """Stop following."""
        self._stop.set()
        self._follower.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def decide(self, surface: str, request: Request) -> Decision:
        """The champion's decision, or the fallback's where there is none, durable in the log; the
        same again for a repeated request.
        """
        located = self.located(request)
        return self.deciding(surface, located).decide(located, self.service.lake)

    def assign(self, surface: str, request: Request, subjects: Iterable[str]) -> dict[str, Choice]:
        """What stands for each subject, durable; nothing for one that has nothing to show."""
        located = self.located(request)
        return self.assigner(surface, located).assign(located, subjects, self.service.lake)

    def champion(self, surface: str) -> Decider[Any]:
        """The decider of a surface's champion; `NoChampionError` where there is none yet,
        `MatineeError` where the surface chooses for subjects.
        """
        return _for_members(surface, self._champion(surface))

    def fallback(self, surface: str) -> Decider[Any] | None:
        """What decides there where the champion cannot, if anything does."""
        return self._serving.fallbacks.get(surface)

    def deciding(self, surface: str, request: Request) -> Decider[Any]:
        """What decides for the member of a request, whose country is known: the champion, what an
        experiment or a holdout gives them, or the fallback where there is no champion.
        """
        fallback = self.fallback(surface)
        if fallback is not None and surface not in self._serving.champions:
            return fallback
        return _for_members(surface, self._for(surface, request))

    def assigner(self, surface: str, request: Request | None = None) -> Assigner[Any]:
        """The same of a surface that chooses for subjects, or its champion without a request;
        `MatineeError` for a surface that does not.
        """
        found = self._champion(surface) if request is None else self._for(surface, request)
        if isinstance(found, Decider):
            raise MatineeError(
                f"{surface} chooses for a member alone",
                why="the request names subjects",
                next_step="leave them out",
            )
        return found

    def _for(self, surface: str, request: Request) -> Champion:
        champion, serving = self._champion(surface), self._serving
        return serving.trying.get((surface, serving.arms.of(surface, request)), champion)

    def _champion(self, surface: str) -> Champion:
        serving = self._serving
        if surface not in serving.surfaces:
            known = ", ".join(sorted(serving.surfaces))
            raise UnknownSurfaceError(
                f"there is no surface {surface!r}", next_step=f"use one of: {known}"
            )
        if surface not in serving.champions:
            made = self.service.registry.versions(surface)
            first = made[-1].id if made else f"{surface}@1"
            train = "" if made else f"matinee train {surface}, then "
            raise NoChampionError(
                f"{surface} has no champion yet", next_step=f"{train}matinee promote {first}"
            )
        return serving.champions[surface]

    def champions(self) -> dict[str, str]:
        """The version that decides on each surface that has one."""
        return {name: decider.version for name, decider in self._serving.champions.items()}

    def ready(self) -> bool:
        """Whether there is a champion on any surface."""
        return bool(self._serving.champions)

    def home(self, request: Request, version: str | None = None) -> Home:
        """The page of a member, by what decides for them or by a version of `titles`; with pictures
        where `artwork` has a champion.
        """
        artwork = None
        if Artwork.name in self._serving.champions:
            artwork = self._for(Artwork.name, request)
        decider = self.deciding("titles", request) if version is None else self.decider(version)
        return Home(decider, artwork if isinstance(artwork, Assigner) else None)

    def decider(self, version: str) -> Decider[Any]:
        """The decider of any version; `MatineeError` where there is none."""
        found = self.answering(version)
        if isinstance(found, Assigner):
            raise MatineeError(f"{version} draws for subjects, and makes no page")
        return found

    def answering(self, version: str) -> Champion:
        """What answers for any version; `MatineeError` where there is none."""
        serving = self._serving
        surface = self.service.registry.get(version).surface
        if surface not in serving.surfaces:
            raise UnknownSurfaceError(f"{version} decides on {surface}, which is not served here")
        return serving.others.get(
            version, lambda: self._decider(serving.surfaces[surface], version)
        )

    def located(self, request: Request) -> Request:
        """The request with the member's own country where it names none."""
        if request.country is not None:
            return request
        return msgspec.structs.replace(request, country=self.members.country(request.member_id))

    def arrived(self, receipts: Sequence[Receipt]) -> None:
        """Let durable events change their members' next decisions at once."""
        for receipt in receipts:
            if isinstance(receipt.record, Event) and not receipt.duplicate:
                self.members.apply(receipt.record, receipt.seq)
            else:
                self.service.ledger.take(receipt.record)

    def _load(self) -> _Serving:
        surfaces, arms = self.service.surfaces, Arms(self.service)
        champions, fallbacks = dict[str, Champion](), dict[str, Decider[Any]]()
        trying = dict[tuple[str, Serves], Champion]()
        for name, surface in surfaces.items():
            if fallback := surface.fallback():
                fallbacks[name] = self._made(Decider, surface, *fallback, f"{name}@fallback")
            if version := self.service.registry.alias(name, "champion"):
                try:
                    champions[name] = self._decider(surface, version.id)
                except MatineeError:
                    if fallback is None:
                        raise
                    log.exception("%s cannot be read; the fallback decides", version.id)
                    continue
                for group in arms.groups(name):
                    trying |= self._trying(surface, group)
        return _Serving(surfaces, champions, fallbacks, arms, trying)

    def _trying(
        self, surface: Surface, group: Sequence[Serves]
    ) -> dict[tuple[str, Serves], Champion]:
        """What decides in each arm of an experiment, or in a holdout; nothing, and the champion
        does for all of them, where one of them cannot be made: arms are compared, or none is.
        """
        try:
            made = {(surface.name, one): self._arm(surface, one) for one in group}
        except MatineeError:
            names = ", ".join(str(one.arm) for one in group)
            log.exception("the champion decides in %s: a version cannot be read", names)
            return {}
        return {key: one for key, one in made.items() if one is not None}

    def _arm(self, surface: Surface, serves: Serves) -> Champion | None:
        if serves.version is not None:
            return self._decider(surface, serves.version, serves.arm)
        if fallback := surface.fallback():
            name = f"{surface.name}@fallback"
            return self._made(Decider, surface, *fallback, name, arm=serves.arm)
        return None

    def _decider(self, surface: Surface, version: str, arm: str | None = None) -> Champion:
        model, policy = self._read.get(version, lambda: self.service.registry.load(version))
        knowing = self._contents.informed(model, surface)
        if surface.unit == "subject":
            return self._made(Assigner, surface, knowing, policy, version, arm=arm)
        return self._made(Decider, surface, knowing, policy, version, arm=arm)

    def _made(
        self,
        kind: type[ChampionT],
        surface: Surface,
        model: Model,
        policy: Policy,
        version: str,
        *,
        arm: str | None = None,
    ) -> ChampionT:
        return kind(
            surface,
            model,
            policy,
            version=version,
            histories=self.members,
            choices=self.choices,
            salt=self._salt,
            arm=arm,
        )

    def _follow(self) -> None:
        told = ""
        while not self._stop.wait(FOLLOW_SECONDS):
            try:
                self._catch_up()
                told = ""
            except Exception as failure:  # what is served goes on; it may be out of date
                if str(failure) != told:
                    log.exception("following the service failed and is tried again and again")
                told = str(failure)

    def _catch_up(self) -> None:
        for surface in self._serving.surfaces.values():
            surface.follow()
        self.reports.follow()
        self._stale |= bool(self.members.follow())
        self.choices.follow()
        if time.monotonic() - self._looked_for_bulk >= BULK_SECONDS:
            self._stale |= self._tables_changed()
            self._looked_for_bulk = time.monotonic()
        generation = self._changes()
        if self._stale or self._generation != generation:
            self._reload()
            self._generation, self._stale = generation, False

    def _changes(self) -> tuple[int, int]:
        """How often versions, and experiments, have changed."""
        return self.service.registry.generation(), self.service.trials.generation()

    def _tables_changed(self) -> bool:
        """Whether rows came past the inbox, or members were forgotten; then all is read anew."""
        marks = self.service.lake.appended(BULK_TABLES)
        forgotten = tombstones(self.service.store)
        if marks == self._marks and forgotten == self._forgotten:
            return False
        self.members.load()
        self.choices.load()
        self.reports.load()
        if forgotten != self._forgotten:
            self.service.ledger.load()
            self._read_models_anew()
        self._marks, self._forgotten = marks, forgotten
        return True

    def _read_models_anew(self) -> None:
        """Without what they keep of members who came before."""
        self._contents = Contents(self.service.lake)
        self._read = Recent[tuple[Model, Policy]](OTHERS + len(self.service.surfaces))

    def _reload(self) -> None:
        self.service.refresh()
        self._serving = self._load()
        log.info("now serving %s", [d.version for d in self._serving.champions.values()])


def _for_members(surface: str, found: Champion) -> Decider[Any]:
    if isinstance(found, Assigner):
        raise MatineeError(
            f"{surface} chooses for a member and a subject",
            why="the request names no subjects",
            next_step='add what it is about to the request: "subjects": ["heat"]',
        )
    return found
