"""The pictures of the demonstration: drawn by code, shown in its log, learned from and judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import groupby
from typing import Any

import msgspec
import numpy as np
import polars as pl

from matinee.console import say, working
from matinee.decisions import Assigner, NoChoices, context_hash
from matinee.demo import ranking
from matinee.desk import proof
from matinee.desk.attribution import show_attribution
from matinee.errors import MatineeError
from matinee.insights.attributing import attributed
from matinee.lake.records import Decision, Picture, micros
from matinee.lake.rows import frame_of_records
from matinee.lake.schemas import SCHEMAS
from matinee.policies import InverseGap
from matinee.service import training
from matinee.service.folder import Service
from matinee.service.outcomes import close_windows
from matinee.service.pictures import FOLDER, artwork_of
from matinee.service.runtime import Runtime
from matinee.surfaces import Artwork, History, Request, Situation
from matinee.world import World
from matinee.world.posters import poster

SURFACE = Artwork.name
GLANCING, GLANCES = 200, 10
"""Members, and titles that each of them glances at, where the truth is told."""


def bring(service: Service, world: World) -> None:
    """Draw a poster for each picture into the service's folder, and tell the lake of them."""
    pictures, titles = world.pictures(), {title.title_id: title for title in world.titles()}
    if not pictures:
        return
    say(f"Drawing {len(pictures):,} posters ...")
    folder = service.folder / FOLDER
    folder.mkdir(exist_ok=True)
    with working("Drawing"):
        for picture in pictures:
            for ratio, name in picture.files.items():
                drawn = poster(titles[picture.title_id], picture, ratio)
                (folder / name).write_text(drawn, encoding="utf-8")
    frame = frame_of_records(pictures, SCHEMAS["pictures"], world.settings.start)
    service.lake.append("pictures", frame, source="world")


class Watching:
    """What members of the simulated service had watched at each time of its log, so that its
    records hold what the surface would have told of them then.
    """

    def __init__(self, service: Service) -> None:
        self._surface = artwork_of(service)
        self._watched: dict[str, dict[str, int]] = {}
        self._coming = pl.DataFrame(schema={"ts": pl.Int64, "member_id": str, "title_id": str})

    def told(self, assignments: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
        """The assignments of a day with that in their context; `events` are those of the day."""
        watches = events.filter(
            (pl.col("kind") == "complete")
            | ((pl.col("kind") == "play") & (pl.col("value") >= self._surface.minutes))
        ).select(pl.col("ts").dt.epoch("us"), "member_id", "title_id")
        coming = iter(pl.concat([self._coming, watches]).sort("ts").rows())
        left = next(coming, None)
        contexts: dict[tuple[str, int], tuple[str, str]] = {}
        sessions = assignments.select("at", "member_id", "context").unique(["at", "member_id"])
        for at, member, context in sessions.sort("at", "member_id").iter_rows():
            while left and left[0] < micros(at):
                self._watched.setdefault(left[1], {})[left[2]] = left[0]
                left = next(coming, None)
            contexts[member, micros(at)] = self._context(member, at, context)
        rest = [left, *coming] if left else []
        self._coming = pl.DataFrame(rest, schema=self._coming.schema, orient="row")
        keys = assignments.select("member_id", pl.col("at").dt.epoch("us")).rows()
        found = [contexts[key] for key in keys]
        return assignments.with_columns(
            context=pl.Series([text for text, _ in found], dtype=pl.String),
            context_hash=pl.Series([digest for _, digest in found], dtype=pl.String),
        )

    def _context(self, member: str, at: datetime, text: str) -> tuple[str, str]:
        watched = sorted(self._watched.get(member, {}).items(), key=lambda pair: pair[1])
        history = History(tuple(title for title, _ in watched), tuple(time for _, time in watched))
        asked = Request(request_id="log", member_id=member, at=at)
        told = dict(self._surface.told(Situation(asked, history)))
        context = {**msgspec.json.decode(text), "features": told}
        return msgspec.json.encode(context).decode(), context_hash(context)


def learn(service: Service, as_of: datetime) -> None:
    """Learn who takes which picture, and let that decide."""
    with working("Learning pictures"):
        (made,) = training.train(service, surface=SURFACE, as_of=as_of, by="demo")
    reason = "learned from pictures that were drawn at random"
    service.registry.promote(SURFACE, made.id, by="demo", reason=reason)
    say(f"{made.id} ({made.model}) chooses the pictures: {reason}")


def challenge(service: Service, world: World, at: datetime) -> None:
    """A challenger that explores less is judged on the log of the first days, beside the truth."""
    champion = service.registry.alias(SURFACE, "champion")
    assert champion is not None  # noqa: S101
    _, policy = service.registry.load(champion.id)
    assert isinstance(policy, InverseGap)  # noqa: S101
    made = ranking.varied(service, champion, replace(policy, gamma=4 * policy.gamma))
    reason = "the same model, at four times the gamma: would exploring less earn more?"
    service.registry.challenge(SURFACE, made.id, by="demo", reason=reason)
    say(f"{made.id} challenges {champion.id}: {reason}")
    close_windows(service, at, SURFACE)
    found = ranking.judged(service, made.id, at)
    tell_truth(service, world, at, ranking.measured(world)[:GLANCING])
    say(f"the page with plots: {proof.save(found, service)}")


def headline(service: Service) -> None:
    """What personal pictures bring, as far as the log tells."""
    try:
        show_attribution(attributed(service, SURFACE))
    except MatineeError as unknown:  # of a very small world
        say(f"{unknown.what}: {unknown.why}")


def shown(
    assigner: Assigner[Any], asked: Request, titles: Sequence[str]
) -> tuple[list[str], list[Decision]]:
    """The picture of each title as it stands or is drawn now, and what was drawn."""
    standing, drawn = assigner.propose(asked, titles)
    chosen = {one: choice.action for one, choice in standing.items()}
    chosen |= {str(one.subject): one.actions[0] for one in drawn}
    return [chosen[title] for title in titles], drawn


def tell_truth(service: Service, world: World, at: datetime, members: Sequence[str]) -> None:
    """What versions are truly worth, at a glance at a title: only a simulated service can say."""
    chance, of_title = np.random.default_rng(world.settings.seed), by_title(world.pictures())
    size = min(GLANCES, len(of_title))
    pairs = [
        (member, title)
        for member in members
        for title in chance.choice(sorted(of_title), size, replace=False).tolist()
    ]
    found = plain(world, at, pairs, of_title)
    with Runtime(service) as runtime:
        for version in service.registry.versions(SURFACE):
            alone = _alone(runtime.answering(version.id), service.salt())
            found[f"{version.id} ({version.model})"] = drawn(runtime, alone, at, pairs)
    whose, titles = zip(*pairs, strict=True)
    say("True chance that a title is taken at a glance, by its picture")
    say("(known only because this service is simulated):")
    for name, pictures in found.items():
        say(f"  {name:30} {world.take(whose, at, titles, pictures).mean():.4f}")


def plain(
    world: World,
    at: datetime,
    pairs: Sequence[tuple[str, str]],
    of_title: Mapping[str, Sequence[str]],
) -> dict[str, list[str]]:
    """The picture of each pair of a member and a title without a model, by how it is chosen."""
    chance = np.random.default_rng(world.settings.seed)
    whose, titles = zip(*pairs, strict=True)
    fixed = {one.title_id: one.picture_id for one in world.pictures() if one.fixed}
    members = sorted(set(whose))
    single = {title: _best_single(world, at, of_title[title], members) for title in set(titles)}
    return {
        "any picture": [str(chance.choice(of_title[title])) for title in titles],
        "the fixed one": [fixed[title] for title in titles],
        "the best single one": [single[title] for title in titles],
        "the best for each": world.best_pictures(whose, at, titles),
    }


def drawn(
    runtime: Runtime, assigner: Assigner[Any], at: datetime, pairs: Sequence[tuple[str, str]]
) -> list[str]:
    """The picture that is drawn for each pair; those of a member stand together."""
    found = {}
    for member, own in groupby(pairs, lambda pair: pair[0]):
        request = runtime.located(Request(request_id="truth", member_id=member, at=at))
        for decision in assigner.propose(request, [title for _, title in own])[1]:
            found[member, decision.subject] = decision.actions[0]
    return [found[pair] for pair in pairs]


def by_title(pictures: Sequence[Picture]) -> dict[str, list[str]]:
    """The ids of the pictures of each title."""
    found: dict[str, list[str]] = {}
    for picture in pictures:
        found.setdefault(picture.title_id, []).append(picture.picture_id)
    return found


def _best_single(
    world: World, at: datetime, pictures: Sequence[str], members: Sequence[str]
) -> str:
    """The picture that all these members together take most often."""
    titles = [pictures[0].rsplit(".", 1)[0]] * len(members)
    takes = [world.take(members, at, titles, [one] * len(members)).mean() for one in pictures]
    return pictures[int(np.argmax(takes))]


def _alone(asked: object, salt: bytes) -> Assigner[Any]:
    """A version for members for whom nothing stands, in no holdout."""
    assert isinstance(asked, Assigner)  # noqa: S101
    surface = asked.surface
    return Assigner(
        Artwork(surface.pictures.values(), surface.catalogue.values(), fixed=0.0, uniform=0.0),
        asked.model,
        asked.policy,
        version=asked.version,
        histories=asked.histories,
        choices=NoChoices(),
        salt=salt,
    )
