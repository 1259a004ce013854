"""The simulated log: each day's sessions, the slates they got, and what came of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from matinee.lake.records import micros
from matinee.world import frames
from matinee.world.artwork import Artwork
from matinee.world.assignments import Assignments
from matinee.world.behaviour import REPLAY, Reaction, react
from matinee.world.catalogue import NEVER, Catalogue
from matinee.world.frames import Day, Sessions
from matinee.world.logging_policy import EligibleSet, LoggingPolicy, Slates
from matinee.world.members import DAY, DEVICES, Members
from matinee.world.settings import Settings, stream
from matinee.world.taste import Taste

MICROS_PER_DAY = DAY * 1_000_000
Numbers = NDArray[np.int64]


class Finished:
    """When members first finished titles, in seconds after the start of day 0."""

    def __init__(self, members: int, titles: int) -> None:
        self._first = np.full((members, titles), NEVER, np.int32)

    def mark(self, members: Numbers, at: Numbers, titles: Numbers, reaction: Reaction) -> None:
        """Note what members [B] finished of slates [B, K] got at microseconds [B]."""
        row, slot = np.nonzero(reaction.finished)
        seconds = np.ceil(at[row] / 1e6 + reaction.stopped[row, slot]).astype(np.int32)
        np.minimum.at(self._first, (members[row], titles[row, slot]), seconds)

    def before(self, members: Numbers, at: Numbers, titles: Numbers) -> NDArray[np.bool_]:
        """Whether members [B] had finished titles [B, K] at microseconds [B]."""
        return self._first[members[:, None], titles] <= at[:, None] // 1_000_000


def occurrence(values: Numbers) -> Numbers:
    """How often each value has stood in the array before, [N].

    >>> occurrence(np.array([7, 3, 7, 7, 3])).tolist()
    [0, 0, 1, 2, 1]
    """
    order = np.argsort(values, kind="stable")
    ranked = values[order]
    count = np.empty_like(values)
    count[order] = np.arange(len(values)) - np.searchsorted(ranked, ranked)
    return count


@dataclass(frozen=True)
class Group:
    """The sessions of one day in one country; `at` int64 [B] is in microseconds after day 0.

    `number` counts the sessions of the day over all countries, in order of time.
    """

    number: Numbers
    members: Numbers
    at: Numbers
    eligible: EligibleSet
    slates: Slates
    reaction: Reaction


class Log:
    """What the simulated service logged under its own policy, day by day.

    A day is a pure function of the settings and of the days before it, of which it needs only what
    members had `finished` and which titles they had been shown.
    """

    def __init__(
        self,
        settings: Settings,
        catalogue: Catalogue,
        members: Members,
        taste: Taste,
        artwork: Artwork,
    ) -> None:
        self.policy = LoggingPolicy(settings, catalogue, members, taste)
        self.finished = Finished(len(members), len(catalogue))
        self._settings, self._catalogue = settings, catalogue
        self._members, self._taste, self._artwork = members, taste, artwork
        self._assignments = Assignments(artwork, catalogue, len(members))
        self._lived = 0

    def live_until(self, day: int) -> None:
        """Simulate the logged days before `day`, if that was not done yet."""
        while self._lived < min(day, self._settings.days):
            self._groups(self._lived)

    def day(self, day: int) -> Day:
        """One day as the app logged it."""
        self.live_until(day)
        groups = self._groups(day)
        assigned = frames.stack([self._assigned(day, g) for g in groups], frames.DECISIONS, "at")
        titles = {group.eligible.eligible: group.eligible.ids for group in groups}
        return Day(
            day,
            frames.stack([self._events(day, g) for g in groups], frames.EVENTS, "ts"),
            frames.stack([self._decisions(day, g) for g in groups], frames.DECISIONS, "at"),
            frames.eligible_frame(titles | self._assignments.sets(assigned)),
            assigned,
        )

    def sessions(self, decision_ids: Sequence[str], members: Numbers, at: Numbers) -> Sessions:
        """Sessions in words: members [B] at microseconds [B] after the start of day 0."""
        codes = [code for code, _ in self._settings.countries]
        return Sessions(
            decision_ids,
            [self._members.ids[member] for member in members],
            micros(self._settings.start) + at,
            [codes[country] for country in self._members.country[members]],
            [DEVICES[device] for device in self._members.device[members]],
        )

    def _groups(self, day: int) -> list[Group]:
        members, at = self._members.sessions(day)
        country = self._members.country[members]
        groups = []
        for code in np.unique(country).tolist():
            if self.policy.eligible(code, day).ids:
                here = np.flatnonzero(country == code)
                groups.append(self._group(day, code, here, members[here], at[here]))
        self._lived = max(self._lived, day + 1)
        return groups

    def _group(
        self, day: int, country: int, number: Numbers, members: Numbers, at: Numbers
    ) -> Group:
        rng = stream(self._settings.seed, "log", day, country)
        eligible = self.policy.eligible(country, day)
        slates = self.policy.draw(members, eligible.titles, rng)
        titles = slates.titles
        pictures = self._artwork.assigned[members[:, None], titles]
        affinity = self._taste.affinity(day, members, titles)
        affinity += self._artwork.effect(day, members, titles, pictures)
        self._assignments.mark(day, members, titles)
        rounds = occurrence(members)
        parts = [np.flatnonzero(rounds == turn) for turn in range(int(rounds.max()) + 1)]
        reactions = []
        for part in parts:
            replay = REPLAY * self.finished.before(members[part], at[part], titles[part])
            runtime = self._catalogue.runtime[titles[part]]
            reaction = react(affinity[part] + replay, runtime, rng)
            self.finished.mark(members[part], at[part], titles[part], reaction)
            reactions.append(reaction)
        back = np.argsort(np.concatenate(parts))
        return Group(number, members, at, eligible, slates, Reaction.join(reactions).take(back))

    def _names(self, day: int, group: Group) -> Sessions:
        names = [f"sim-{day:03d}-{number:06d}" for number in group.number]
        return self.sessions(names, group.members, group.at)

    def _events(self, day: int, group: Group) -> pl.DataFrame:
        titles = group.slates.titles
        did = frames.happenings(group.reaction, self._catalogue.runtime[titles])
        return frames.event_frame(self._names(day, group), titles, self._catalogue.ids, did)

    def _decisions(self, day: int, group: Group) -> pl.DataFrame:
        return frames.decision_frame(
            self._names(day, group),
            group.slates,
            group.eligible,
            self._catalogue.ids,
            self._settings.epsilon,
        )

    def _assigned(self, day: int, group: Group) -> pl.DataFrame:
        sessions = self._names(day, group)
        return self._assignments.frame(day, sessions, group.members, group.slates.titles)
