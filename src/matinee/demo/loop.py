"""A simulated service that has lived for weeks, or a data set of the user's own, made in one go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote
from typing import Any

from matinee.console import progress, say, show_tallies
from matinee.demo import artwork, billing, ranking
from matinee.demo.billing import Billing
from matinee.demo.calendar import USUAL, Calendar
from matinee.demo.importing import import_world
from matinee.demo.living import Coming, Living, write
from matinee.errors import MatineeError
from matinee.insights.ahead import chores
from matinee.insights.today import today
from matinee.lake.importers import MovieLens, load
from matinee.service.folder import Service
from matinee.service.jobs import Worker
from matinee.surfaces import Titles
from matinee.world import Settings as WorldSettings
from matinee.world import World

SIZE: Mapping[str, Any] = {
    "members": 1_200,
    "titles": 320,
    "days": USUAL,
    "sessions_per_day": 0.45,
    "slots": 12,
    "pictures": 5,
}
"""How large the world is, unless another is asked for."""
SETTINGS: Mapping[str, Any] = {
    "service.name": "Demo",
    "service.simulated": True,
    "lake.buckets": 4,
    "policy.temperature": ranking.USUAL.temperature,
    "policy.epsilon": ranking.USUAL.epsilon,
    "policy.segment": ranking.USUAL.segment,
    "surfaces.artwork.window": "24h",
    "surfaces.artwork.fixed": 0.12,
    "surfaces.artwork.uniform": 0.12,
    "surfaces.payments.window": "10d",
    "surfaces.payments.rates": billing.RATES,
}
"""Whoever comes answers within a day, and few members are to fill every arm and every holdout: 100
in each, before a difference is told."""
SALT = b"a demonstration, the same each time"
"""Nothing in it is a secret: with equal salts equal worlds are decided for alike."""
LIVED = "lived"
"""The file in the folder that says that all days were lived."""


def simulated(folder: Path, settings: WorldSettings | None = None) -> Service:
    """A simulated service that has lived 60 days until this morning (UTC).

    Its log begins with another policy's days; then a first champion decides, one version follows
    it by way of the gate, one is refused, and one is tried on members. What happens after midnight
    does not happen, but for what was on its way. `settings` say how large the world is.
    """
    size = settings or WorldSettings(**SIZE)
    service = _open(folder, {**SETTINGS, "surfaces.titles.slots": size.slots})
    if _is_done(service):
        return service
    (service.folder / "salt").write_bytes(SALT)
    say("A simulated streaming service: members, plays and clicks are made up; the films are real.")
    _Past(service, size).live()
    (service.folder / LIVED).touch()
    _say_what_waits(service)
    return service


class _Past:
    """The past of a simulated service."""

    def __init__(self, service: Service, size: WorldSettings) -> None:
        self.service, self.calendar = service, Calendar.until_today(size.days)
        days = self.calendar
        logged = replace(
            size, start=days.start, days=days.logged, arrivals=(days.judged, days.days)
        )
        self.world, self.coming = World(logged), Coming()

    def live(self) -> None:
        """All of it, in order of time."""
        service, world, days = self.service, self.world, self.calendar
        self.coming.add(import_world(service, world, self._at(days.logged)))
        bills = Billing(service, billing.world_of(world, days), self._at(days.broken))
        ranking.explore(service, ranking.begin(service, self._at(days.logged)))
        ranking.tell_truth(service, world, self._at(days.logged))
        self._lived(days.logged, days.learned)
        bills.until(self._at(days.learned))
        found = self._learn(self._at(days.learned))
        self._lived(days.learned, days.looked)
        if world.settings.pictures:
            artwork.challenge(service, world, self._at(days.looked))
        self._lived(days.looked, days.judged)
        ranking.settle(service, world, found, self._at(days.judged))
        ranking.start(service, self._at(days.judged))
        self._lived(days.judged, days.days, read=True)
        bills.until(days.end)
        self._settle_down()
        if world.settings.pictures:
            artwork.headline(service)

    def _learn(self, at: datetime) -> dict[str, str]:
        """The first champions of pictures and of payments, and what may follow that of titles."""
        if self.world.settings.pictures:
            artwork.learn(self.service, at)
        billing.learn(self.service, at)
        return ranking.candidates(self.service, at)

    def _at(self, day: int) -> datetime:
        return self.calendar.at(day)

    def _lived(self, first: int, last: int, *, read: bool = False) -> None:
        """Live some days, each with a look at the experiment where one runs."""
        living = Living(self.service, self.world, self.coming)
        with progress(f"Living days {first + 1} to {last}", last - first, "days") as advance:
            for day in range(first, last):
                living.day(day)
                if read:
                    ranking.read(self.service, self._at(day + 1))
                advance(1)

    def _settle_down(self) -> None:
        """What has happened until now of what was on its way, and the jobs."""
        write(self.service, self.coming.until(datetime.now(UTC)), self.calendar.end)
        self.service.lake.compact(least=2)
        for job, did in Worker(self.service, chores(self.service)).run_once().items():
            say(f"matinee work: {job}: {did or 'nothing to do'}")


def movielens(folder: Path, source: Path) -> Service:
    """The first steps on a MovieLens folder of the user's own: imported, trained, promoted."""
    importer = MovieLens(source)
    service = _open(folder, {"service.name": source.resolve().name})
    if _is_done(service):
        return service
    say(f"Importing {importer.total():,} rows from {source} ...")
    with progress("Importing", importer.total()) as advance:
        tallies = load(importer, service.lake, advance)
    show_tallies(tallies)
    service.lake.compact(least=2)
    ranking.promote(service, ranking.begin(service))
    return service


def _open(folder: Path, settings: Mapping[str, Any]) -> Service:
    return Service.open(folder) if Service.stands_in(folder) else Service.create(folder, settings)


def _is_done(service: Service) -> bool:
    """Whether an earlier run went all the way; one that was cut short before anything decided goes
    on, and `MatineeError` says of a later one that it has to begin anew.
    """
    champion, folder = service.registry.alias(Titles.name, "champion"), service.folder
    if champion is None:
        return False
    anew = f"rm -r {quote(str(folder))}"
    if service.simulated and not (folder / LIVED).exists():
        raise MatineeError(
            f"{folder} was cut short while its days were lived",
            why="they cannot be taken up in the middle",
            next_step=f"{anew}, then matinee demo",
        )
    say(f"{folder} has been made before, and {champion.id} is its champion.")
    say(f"To begin anew: {anew}")
    return True


def _say_what_waits(service: Service) -> None:
    """What stands on the desk."""
    now = today(service)
    say("What stands on the desk:")
    for note in (*now.waiting, *now.unwell):
        say(f"  {note.about}: {note.what}")
    for name in service.registry.surfaces():
        champion = service.registry.alias(name, "champion")
        say(f"  {name}: {champion.id if champion else 'nobody'} decides")
    for one in service.trials.plan().experiments:
        latest = service.trials.latest(one.name)
        if latest:
            say(f"  experiment {one.name}: {latest.reason}, {latest.body['reasons'][0]}")
