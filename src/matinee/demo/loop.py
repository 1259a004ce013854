"""Once round the loop: imported, trained, evaluated, promoted, visited, challenged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
import polars as pl

from matinee.console import progress, say, show_report, show_tallies, working
from matinee.decisions import Decider
from matinee.demo import artwork
from matinee.desk import proof
from matinee.desk.attribution import show_attribution
from matinee.errors import MatineeError
from matinee.lake.importers import MovieLens, load
from matinee.lake.records import Decision, Eligible, Event
from matinee.lake.rows import frame_of_records
from matinee.lake.schemas import SCHEMAS
from matinee.policies import InverseGap, PlackettLuce, Policy
from matinee.service import judging, training
from matinee.service.attributing import attributed
from matinee.service.folder import Service
from matinee.service.outcomes import close_windows
from matinee.service.runtime import Runtime
from matinee.surfaces import Artwork, Request, Titles
from matinee.world import Day, World
from matinee.world import Settings as WorldSettings

VISITS = 2_000
"""Members who come back once the champion decides, to close the loop."""

PICTURES = 5
"""Pictures of a title."""
SETTINGS = {
    "service.name": "Demo",
    "service.simulated": True,
    "surfaces.artwork.window": "24h",
    "surfaces.artwork.fixed": 0.05,
    "surfaces.artwork.uniform": 0.05,
}
"""Whoever comes answers within a day, and few members are to fill every arm."""
MEASURED = 400
"""Members over whom what versions are truly worth is taken."""
AWAY = timedelta(hours=12)
"""How long after the end of the log they come."""


def simulated(folder: Path, settings: WorldSettings | None = None) -> Service:
    """A simulated service: opened, imported, trained, evaluated, promoted, and visited.

    `settings` say how large the world is; its log ends when the day before yesterday (UTC) begins,
    so that the windows of the visits after it have closed.
    """
    service = _open(folder, SETTINGS)
    if _is_done(service):
        return service
    size, end = settings or WorldSettings(pictures=PICTURES), _log_end()
    world = World(replace(size, start=end - timedelta(days=size.days)))
    say("A simulated streaming service: members, plays and clicks are made up; the films are real.")
    _import_world(service, world)
    _learn(service, as_of=end)
    if size.pictures:
        artwork.learn(service, end)
    _tell_truth(service, world)
    _visit(service, world)
    _challenge(service, world, Titles.name)
    if size.pictures:
        _challenge(service, world, Artwork.name)
        _headline(service)
    return service


def movielens(folder: Path, source: Path) -> Service:
    """The same on a MovieLens folder of the user's own."""
    importer = MovieLens(source)
    service = _open(folder, {"service.name": source.resolve().name})
    if _is_done(service):
        return service
    say(f"Importing {importer.total():,} rows from {source} ...")
    with progress("Importing", importer.total()) as advance:
        tallies = load(importer, service.lake, advance)
    show_tallies(tallies)
    service.lake.compact(least=2)
    _learn(service)
    return service


def _open(folder: Path, settings: Mapping[str, Any]) -> Service:
    return Service.open(folder) if Service.stands_in(folder) else Service.create(folder, settings)


def _is_done(service: Service) -> bool:
    """Whether an earlier run went all the way; one that was cut short goes on."""
    champion = service.registry.alias("titles", "champion")
    if champion is None:
        return False
    say(f"{service.folder} has been made before, and {champion.id} is its champion.")
    say(f"To begin anew: rm -r {quote(str(service.folder))}")
    return True


def _log_end() -> datetime:
    """The midnight (UTC) that began the day before yesterday: the log of the world ends there."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return today - timedelta(days=2)


def _import_world(service: Service, world: World) -> None:
    lake = service.lake
    for table, records in (
        ("members", world.members()),
        ("titles", world.titles()),
        ("windows", world.windows()),
    ):
        frame = frame_of_records(records, SCHEMAS[table], world.settings.start)
        lake.append(table, frame, source="world")
    artwork.bring(service, world)
    service.refresh()
    say(f"Importing {world.settings.days} days of its log ...")
    watching = artwork.Watching(service)
    with progress("Importing days", world.settings.days, "days") as advance:
        for day in world.days():
            _import_day(service, day, watching)
            advance(1)
    lake.compact(least=2)
    say(f"What came of those decisions: {close_windows(service)}")


def _import_day(service: Service, day: Day, watching: artwork.Watching) -> None:
    source = f"world day {day.day}"
    assignments = watching.told(day.assignments, day.events)
    for table, frame, known in (
        ("eligible", day.eligible, None),
        ("decisions", day.decisions, "at"),
        ("decisions", assignments, "at"),
        ("events", day.events, "ts"),
    ):
        rows = frame if known is None else frame.with_columns(known_at=pl.col(known))
        service.lake.append(table, rows, source=source)


def _learn(service: Service, as_of: datetime | None = None) -> None:
    """Evaluate, train, and promote what was best on the validation targets."""
    say("Evaluating: each member's last title, ranked against the whole catalogue ...")
    with working("Fitting and ranking"):
        best = training.best_on_validation(service, as_of=as_of)
        report = training.evaluate(service, as_of=as_of)
    show_report(report)
    say("Training on everything ...")
    with working("Training"):
        made = training.train(service, as_of=as_of, by="demo")
    trained = {version.model: version for version in made}
    reason = "highest NDCG@10 on the validation targets"
    service.registry.promote("titles", trained[best].id, by="demo", reason=reason)
    say(f"{trained[best].id} ({best}) is the champion: {reason}")


def _tell_truth(service: Service, world: World) -> None:
    """What each version is truly worth, which only a simulated service can say."""
    at = _log_end()
    members = [member.member_id for member in world.members()][:MEASURED]
    with Runtime(service) as runtime:
        policies = {"chance": world.uniform(), "the policy that wrote the log": world.logging()}
        for version in service.registry.versions("titles"):
            policies[f"{version.id} ({version.model})"] = _slates(runtime.decider(version.id), at)
        policies["the best possible"] = world.oracle(at)
        say(
            f"True plays per decision of {world.settings.slots} titles, over {len(members)} members"
        )
        say("(known only because this service is simulated):")
        for name, policy in policies.items():
            value, error = world.value(policy, at, members, draws=2)
            say(f"  {name:30} {value:.3f}  (standard error {error:.3f})")


def _slates(decider: Decider[Any], at: datetime) -> Any:
    """A version as the world asks it: member, eligible ids and random numbers to a slate."""

    def draw(member_id: str, _: Sequence[str], rng: np.random.Generator) -> list[str]:
        request = Request(request_id=str(rng.integers(2**62)), member_id=member_id, at=at)
        return decider.propose(request).actions

    return draw


def _visit(service: Service, world: World) -> None:
    """Members come back on the day after the log: decided, shown, answered, answers taken in.

    By then the films that were begun before midnight have ended, so that the histories that are
    decided on are those of that time.
    """
    at, members = _log_end() + AWAY, [member.member_id for member in world.members()]
    chance = np.random.default_rng(world.settings.seed)
    visitors = chance.choice(members, min(VISITS, len(members)), replace=False)
    with Runtime(service) as runtime:
        decider = runtime.champion(Titles.name)
        requests = [
            Request(request_id="demo-visit", member_id=str(member), at=at) for member in visitors
        ]
        located = list(map(runtime.located, requests))
        decisions = list(map(decider.propose, located))
        records = decider.records(decisions)
        pictures: list[list[str] | None] = [None] * len(decisions)
        if world.settings.pictures:
            assigner = runtime.assigner(Artwork.name)
            for place, (request, decision) in enumerate(zip(located, decisions, strict=True)):
                pictures[place], drawn = artwork.shown(assigner, request, decision.actions)
                records += assigner.records(drawn)
    events = [
        event
        for decision, shown in zip(decisions, pictures, strict=True)
        for event in _answers(world, decision, shown)
    ]
    made = [record for record in records if isinstance(record, Decision)]
    sets = {one.eligible: one for one in records if isinstance(one, Eligible)}
    for table, rows, known in (
        ("eligible", list(sets.values()), at),
        ("decisions", made, "at"),
        ("events", events, "ts"),
    ):
        frame = frame_of_records(rows, SCHEMAS[table], known)
        service.lake.append(table, frame, source="visits")
    plays = sum(event.kind == "play" for event in events)
    say(
        f"{len(decisions)} members came back to the champion: "
        f"{plays / len(decisions):.2f} plays per decision, each in the log; "
        f"{close_windows(service)}"
    )


def _challenge(service: Service, world: World, surface: str) -> None:
    """A challenger that explores less is judged on the champion's log, beside the truth."""
    champion = service.registry.alias(surface, "champion")
    assert champion is not None  # noqa: S101
    model, policy = service.registry.load(champion.id)
    bolder, how = _bolder(policy)
    challenger = service.registry.register(
        surface,
        model,
        bolder,
        data_as_of=champion.data_as_of,
        settings=champion.settings,
        metrics=champion.metrics,
        by="demo",
        parent=champion.id,
    )
    reason = f"the same model, {how}: would exploring less earn more?"
    service.registry.challenge(surface, challenger.id, by="demo", reason=reason)
    say(f"{challenger.id} challenges {champion.id}: {reason}")
    with progress("Weighing", service.lake.tables["decisions"].bucket_count, "parts") as advance:
        found = judging.judge(service, challenger.id, by="demo", advance=advance)
    proof.show_judgement(found)
    at = _log_end() + AWAY
    members = [member.member_id for member in world.members()]
    if surface == Artwork.name:
        artwork.tell_truth(service, world, at, members[:MEASURED])
        say(f"the page with plots: {proof.save(found, service)}")
        return
    with Runtime(service) as runtime:
        truth = [
            world.value(_slates(runtime.decider(name), at), at, members, draws=2)[0]
            for name in (champion.id, challenger.id)
        ]
    gain = truth[1] - truth[0]
    say(f"the truth, known only because this service is simulated: {gain:+.4f}")
    say(f"the page with plots: {proof.save(found, service, truth=gain)}")


def _headline(service: Service) -> None:
    """What personal pictures bring, as far as the visits tell."""
    try:
        show_attribution(attributed(service, Artwork.name))
    except MatineeError as unknown:  # of a very small world
        say(f"{unknown.what}: {unknown.why}")


def _bolder(policy: Policy) -> tuple[Policy, str]:
    """A policy of the same kind that explores less, and how."""
    if isinstance(policy, PlackettLuce):
        return replace(policy, temperature=policy.temperature / 2), "at half the temperature"
    assert isinstance(policy, InverseGap)  # noqa: S101
    return replace(policy, gamma=4 * policy.gamma), "at four times the gamma"


def _answers(world: World, decision: Decision, pictures: list[str] | None) -> list[Event]:
    return world.respond(
        decision.member_id,
        decision.decision_id,
        decision.actions,
        decision.at,
        np.random.default_rng(decision.seed),
        pictures=pictures,
    )
