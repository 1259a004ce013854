"""The pictures of the demonstration: drawn by code, shown in its log, learned from and judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

import msgspec
import numpy as np
import polars as pl

from matinee.console import say, working
from matinee.decisions import Assigner, NoChoices, context_hash
from matinee.lake.records import Decision, Picture, micros
from matinee.lake.rows import frame_of_records
from matinee.lake.schemas import SCHEMAS
from matinee.service import training
from matinee.service.folder import Service
from matinee.service.pictures import FOLDER
from matinee.service.runtime import Runtime
from matinee.surfaces import Artwork, History, Request, Situation
from matinee.world import World
from matinee.world.posters import poster

SURFACE = Artwork.name
MINUTES = 5.0
"""Watched for so long, a title says something of taste."""


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
        self._surface = service.surfaces[SURFACE]
        self._watched: dict[str, dict[str, int]] = {}
        self._coming = pl.DataFrame(schema={"ts": pl.Int64, "member_id": str, "title_id": str})

    def told(self, assignments: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
        """The assignments of a day with that in their context; `events` are those of the day."""
        watches = events.filter(
            (pl.col("kind") == "complete") | ((pl.col("kind") == "play") & (pl.col("value") >= 5.0))
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
    say("True chance that a title is taken at a glance, by picture (known only because this")
    say("service is simulated):")
    chance = np.random.default_rng(world.settings.seed)
    of_title = _by_title(world.pictures())
    pairs = [
        (member, title)
        for member in members
        for title in chance.choice(sorted(of_title), min(10, len(of_title)), replace=False).tolist()
    ]
    for name, pictures in _truths(service, world, at, pairs, of_title).items():
        whose, titles = zip(*pairs, strict=True)
        say(f"  {name:30} {world.take(whose, at, titles, pictures).mean():.4f}")


def _truths(
    service: Service,
    world: World,
    at: datetime,
    pairs: Sequence[tuple[str, str]],
    of_title: Mapping[str, Sequence[str]],
) -> dict[str, list[str]]:
    """The picture of each pair of a member and a title, by who chooses."""
    chance = np.random.default_rng(world.settings.seed)
    whose, titles = zip(*pairs, strict=True)
    fixed = {one.title_id: one.picture_id for one in world.pictures() if one.fixed}
    single = {
        title: _best_single(world, at, title, of_title[title], sorted(set(whose)))
        for title in set(titles)
    }
    versions = {
        f"{version.id} ({version.model})": _drawn(service, version.id, at, pairs)
        for version in service.registry.versions(SURFACE)
    }
    return {
        "any picture": [str(chance.choice(of_title[title])) for title in titles],
        "the fixed one": [fixed[title] for title in titles],
        "the best single one": [single[title] for title in titles],
        **versions,
        "the best for each": world.best_pictures(whose, at, titles),
    }


def _best_single(
    world: World, at: datetime, title: str, pictures: Sequence[str], members: Sequence[str]
) -> str:
    values = [
        world.take(members, at, [title] * len(members), [one] * len(members)).mean()
        for one in pictures
    ]
    return pictures[int(np.argmax(values))]


def _drawn(
    service: Service, version: str, at: datetime, pairs: Sequence[tuple[str, str]]
) -> list[str]:
    """What a version draws for members for whom nothing stands, in no holdout."""
    with Runtime(service) as runtime:
        asked = runtime.answering(version)
        assert isinstance(asked, Assigner)  # noqa: S101
        pictures, catalogue = asked.surface.pictures, asked.surface.catalogue
        alone = Assigner(
            Artwork(pictures.values(), catalogue.values(), fixed=0.0, uniform=0.0),
            asked.model,
            asked.policy,
            version=version,
            histories=asked.histories,
            choices=NoChoices(),
            salt=service.salt(),
        )
        found = {}
        for member, own in groupby(pairs, lambda pair: pair[0]):
            titles = [title for _, title in own]
            request = runtime.located(Request(request_id="truth", member_id=member, at=at))
            for decision in alone.propose(request, titles)[1]:
                found[member, decision.subject] = decision.actions[0]
    return [found[pair] for pair in pairs]


def _by_title(pictures: Sequence[Picture]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for picture in pictures:
        found.setdefault(picture.title_id, []).append(picture.picture_id)
    return found
