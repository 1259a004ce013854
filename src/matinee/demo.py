"""`matinee demo`: a service that goes round the loop once, and is then served."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from matinee.console import progress, say, show_report
from matinee.decisions import Decider
from matinee.lake.importers import MovieLens, load
from matinee.lake.records import Event
from matinee.service import training
from matinee.service.folder import Service
from matinee.service.outcomes import close_windows
from matinee.service.runtime import Runtime
from matinee.surfaces import Request
from matinee.world import Day, World
from matinee.world import Settings as WorldSettings

VISITS = 500
"""Members who come back once the champion decides, to close the loop."""


def simulated(folder: Path) -> Service:
    """A simulated service: opened, imported, trained, evaluated, promoted, and visited."""
    service = _open(folder, {"service.name": "Demo", "service.simulated": True})
    world = World(WorldSettings(start=_yesterday() - timedelta(days=WorldSettings().days)))
    say("A simulated streaming service: members, plays and clicks are made up; the films are real.")
    _import_world(service, world)
    _learn(service)
    _tell_truth(service, world)
    _visit(service, world)
    return service


def movielens(folder: Path, source: Path) -> Service:
    """The same on a MovieLens folder of the user's own."""
    service = _open(folder, {"service.name": source.resolve().name})
    importer = MovieLens(source)
    with progress("Importing", importer.total()) as advance:
        load(importer, service.lake, advance)
    service.lake.compact(least=2)
    _learn(service)
    return service


def _open(folder: Path, settings: Mapping[str, Any]) -> Service:
    if not Service.stands_in(folder):
        return Service.create(folder, settings)
    say(f"{folder} is there already; going on with it")
    return Service.open(folder)


def _yesterday() -> datetime:
    """The midnight (UTC) that began yesterday: the log ends there, and visits follow."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return today - timedelta(days=1)


def _import_world(service: Service, world: World) -> None:
    lake = service.lake
    for table, records in (
        ("members", world.members()),
        ("titles", world.titles()),
        ("windows", world.windows()),
    ):
        lake.append(table, _frame(records, lake.tables[table].schema.columns), source="world")
    with progress("Importing days", world.settings.days) as advance:
        for day in world.days():
            _import_day(service, day)
            advance(1)
    lake.compact(least=2)
    close_windows(service)


def _import_day(service: Service, day: Day) -> None:
    source = f"world day {day.day}"
    for table, frame, known in (
        ("eligible", day.eligible, None),
        ("decisions", day.decisions, "at"),
        ("events", day.events, "ts"),
    ):
        rows = frame if known is None else frame.with_columns(known_at=pl.col(known))
        service.lake.append(table, rows, source=source)


def _frame(records: Sequence[Any], columns: Any) -> pl.DataFrame:
    rows = [[getattr(record, name) for name in columns] for record in records]
    return pl.DataFrame(rows, schema=columns, orient="row")


def _learn(service: Service) -> None:
    """Evaluate, train, and promote what was best on the validation targets."""
    say("Evaluating: each member's last title, ranked against the whole catalogue ...")
    best = training.best_on_validation(service)
    show_report(training.evaluate(service))
    say("Training on everything ...")
    trained = {version.model: version for version in training.train(service, by="demo")}
    reason = "highest NDCG@10 on the validation targets"
    service.registry.promote("titles", trained[best].id, by="demo", reason=reason)
    say(f"{trained[best].id} ({best}) is the champion: {reason}")


def _tell_truth(service: Service, world: World) -> None:
    """What each version is truly worth, which only a simulated service can say."""
    at = _yesterday()
    members = [member.member_id for member in world.members()][:400]
    with Runtime(service) as runtime:
        policies = {"logging policy": world.logging(), "chance": world.uniform()}
        for version in service.registry.versions("titles"):
            policies[version.model] = _slates(runtime.decider(version.id), at)
        say(f"True plays per decision ({len(members)} members, known because it is simulated):")
        for name, policy in {**policies, "the best possible": world.oracle(at)}.items():
            value, error = world.value(policy, at, members, draws=2)
            say(f"  {name:18} {value:.3f}  (standard error {error:.3f})")


def _slates(decider: Decider[Any], at: datetime) -> Any:
    """A version as the world asks it: member, eligible ids and random numbers to a slate."""

    def draw(member_id: str, _: Sequence[str], rng: np.random.Generator) -> list[str]:
        request = Request(request_id=str(rng.integers(2**62)), member_id=member_id, at=at)
        return decider.propose(request).actions

    return draw


def _visit(service: Service, world: World) -> None:
    """Members come back: decisions are logged, shown, answered, and the answers taken in."""
    with Runtime(service) as runtime:
        plays = sum(_one_visit(runtime, world, member) for member in _visitors(world))
    say(f"{VISITS} members came back: {plays / VISITS:.2f} plays per decision, each in the log")


def _visitors(world: World) -> Iterator[str]:
    members = [member.member_id for member in world.members()]
    return iter(np.random.default_rng(world.settings.seed).choice(members, VISITS, replace=False))


def _one_visit(runtime: Runtime, world: World, member: str) -> int:
    request = Request(request_id="demo-visit", member_id=str(member), at=_yesterday())
    decision = runtime.decide("titles", request)
    rng = np.random.default_rng(abs(decision.seed))
    events: list[Event] = world.respond(
        decision.member_id, decision.decision_id, decision.actions, decision.at, rng
    )
    runtime.arrived(runtime.service.lake.put(events))
    return sum(event.kind == "play" for event in events)
