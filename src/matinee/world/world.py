"""The simulated streaming service: a log to learn from, members who react, and the truth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from matinee.lake.records import Event, Member, Picture, Title, Window
from matinee.world import frames
from matinee.world.artwork import Artwork
from matinee.world.behaviour import REPLAY, play_probability, react, sigmoid
from matinee.world.catalogue import Catalogue
from matinee.world.frames import Day, Visit
from matinee.world.log import MICROS_PER_DAY, Finished, Log, Numbers
from matinee.world.members import DEVICES, Members
from matinee.world.policies import SlatePolicy, uniform
from matinee.world.settings import Settings, stream
from matinee.world.taste import Taste


class World:
    """A simulated streaming service with known truth. Nothing in it ever happened.

    Members have tastes that drift, titles come and go by country, slots further down are looked at
    less, and a title that was finished is seldom played again. The service's own logging policy
    writes `days` of log with exact propensities; in it and after it, `respond` lets members react
    to anybody's decisions. The truth is computable: `expected_reward` and `value` are analytic in
    the outcomes. With `settings.pictures` each title has pictures to be shown with, which members
    like more or less; where nobody names one, a title has its fixed picture.

    The world speaks in the records of :mod:`matinee.lake.records` alone. Times are any aware
    datetimes; before the start of day 0, tastes and windows are those of day 0.

    >>> world = World(Settings(members=50, titles=60, days=2))
    >>> [day.day for day in world.days()]
    [0, 1]
    >>> at = world.settings.start
    >>> world.value(world.oracle(at), at)[0] > world.value(world.uniform(), at)[0]
    True
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self._catalogue = Catalogue(self.settings)
        self._members = Members(self.settings)
        self._taste = Taste(self.settings, self._catalogue, self._members)
        parts = (self.settings, self._catalogue, self._members, self._taste)
        self._artwork = Artwork(*parts)
        self._log = Log(*parts, self._artwork)
        self._finished = Finished(len(self._members), len(self._catalogue))

    def titles(self) -> list[Title]:
        """The catalogue: real films, to which only simulated things happen."""
        return self._catalogue.titles()

    def windows(self) -> list[Window]:
        """When and where titles may be shown: from `starts_at`, before `ends_at`, midnights UTC."""
        return self._catalogue.windows()

    def pictures(self) -> list[Picture]:
        """The pictures that may stand for each title, `settings.pictures` of each, one fixed."""
        return self._artwork.pictures()

    def members(self) -> list[Member]:
        """The simulated members, under pseudonymous ids."""
        return self._members.records()

    def days(self) -> Iterator[Day]:
        """The log, day by day: the same bits each time, however many days are asked for."""
        return (self._log.day(day) for day in range(self.settings.days))

    def visits(self, day: int) -> list[Visit]:
        """Who opens the service on a day, of the log or after it, in order of time."""
        members, at = self._members.sessions(day)
        codes = [code for code, _ in self.settings.countries]
        return [
            Visit(
                self._members.ids[member],
                self.settings.start + timedelta(microseconds=after),
                codes[self._members.country[member]],
                DEVICES[self._members.device[member]],
            )
            for member, after in zip(members.tolist(), at.tolist(), strict=True)
        ]

    def eligible(self, member_id: str, at: datetime) -> list[str]:
        """The ids of the titles that may be shown to a member at a time, ascending."""
        country = int(self._members.country[self._member(member_id)])
        return list(self._log.policy.eligible(country, _day(self._elapsed(at))).ids)

    def expected_reward(
        self,
        member_ids: Sequence[str],
        at: datetime | Sequence[datetime],
        slates: Sequence[Sequence[str]],
        pictures: Sequence[Sequence[str]] | None = None,
    ) -> NDArray[np.float64]:
        """The true probability [B, K] that a member plays the title in each slot of a slate.

        Parameters
        ----------
        member_ids, slates : B of each; shorter slates are padded with probability 0.
        at : the time of the decision, one for all or B of them.
        pictures : the id of the picture that each title is shown with; none: the fixed ones.

        A title outside its window is never played. What the member has finished by then counts,
        whether in the log or in `respond`. Raises `ValueError` for an unknown member or title, a
        title twice in one slate, a picture that is not one of its title, and a time without zone.
        """
        members, elapsed = self._asked(member_ids, at, len(slates))
        shown = self._artwork.numbers(slates, pictures)
        return play_probability(self._affinity(members, elapsed, self._numbers(slates), shown))

    def take(
        self,
        member_ids: Sequence[str],
        at: datetime | Sequence[datetime],
        title_ids: Sequence[str],
        picture_ids: Sequence[str] | None = None,
    ) -> NDArray[np.float64]:
        """The true probability [N] that a member who looks at a title with a picture plays it.

        As `expected_reward`, for N members with one title each and without the effect of the slot.

        >>> world = World(Settings(members=50, titles=60, days=0, pictures=5))
        >>> who, what, at = ["m00000"], ["titanic-1997"], world.settings.start
        >>> best = world.best_pictures(who, at, what)
        >>> bool(world.take(who, at, what, best) >= world.take(who, at, what))
        True
        """
        slates = [[title] for title in title_ids]
        pictures = None if picture_ids is None else [[picture] for picture in picture_ids]
        members, elapsed = self._asked(member_ids, at, len(slates))
        shown = self._artwork.numbers(slates, pictures)
        return sigmoid(self._affinity(members, elapsed, self._numbers(slates), shown).ravel())

    def best_pictures(
        self,
        member_ids: Sequence[str],
        at: datetime | Sequence[datetime],
        title_ids: Sequence[str],
    ) -> list[str]:
        """The id of the picture with which each of N members most likely plays one title, [N].

        The truth about choosing pictures for members one by one; a window that is closed and what
        was finished do not matter to it. Raises `ValueError` as `take` does, and in a world without
        pictures.
        """
        members, elapsed = self._asked(member_ids, at, len(title_ids))
        titles = self._numbers([[title] for title in title_ids]).ravel()
        days, best = np.maximum(elapsed // MICROS_PER_DAY, 0), np.zeros(len(titles), np.int64)
        for day in np.unique(days):
            rows = days == day
            best[rows] = self._artwork.best(int(day), members[rows], titles[rows])
        return [*map(self._artwork.name, titles.tolist(), best.tolist())]

    def assigned(self, member_id: str, title_id: str) -> str:
        """The id of the picture that the log shows to a member for a title, from first to last."""
        member, title = self._member(member_id), int(self._numbers([[title_id]])[0, 0])
        return self._artwork.name(title, int(self._artwork.assigned[member, title]))

    def value(
        self,
        policy: SlatePolicy,
        at: datetime,
        members: Sequence[str] | None = None,
        draws: int = 4,
        seed: int = 0,
    ) -> tuple[float, float]:
        """The true number of plays per decision of a policy at a time, and its standard error.

        Each member (of those who have joined by then, unless `members` names them) weighs the same
        and gets `draws` >= 2 slates. Outcomes are integrated out (Rao-Blackwell), so that the error
        is of the draws alone: 0 for a policy without chance.
        """
        ids = self._joined(at) if members is None else members
        if draws < 2 or not ids:
            raise ValueError("a value needs at least 2 draws and 1 member who has joined by then")
        slates = []
        for member in ids:
            rng, eligible = stream(seed, "value", self._member(member)), self.eligible(member, at)
            slates += [policy(member, eligible, rng) for _ in range(draws)]
        repeated = [member for member in ids for _ in range(draws)]
        plays = self.expected_reward(repeated, at, slates).sum(axis=1).reshape(-1, draws)
        error = np.sqrt(plays.var(axis=1, ddof=1).sum() / draws) / len(ids)
        return float(plays.mean()), float(error)

    def respond(
        self,
        member_id: str,
        decision_id: str,
        actions: Sequence[str],
        at: datetime,
        rng: np.random.Generator,
        *,
        pictures: Sequence[str] | None = None,
    ) -> list[Event]:
        """What a simulated member does with a decision made at a time, in order of time.

        One impression for each slot, and the plays, completes and thumbs that come of it, each with
        the decision's id and the position. `pictures` names the one that each title is shown with;
        without it the fixed ones are. What the member finishes counts from then on, for
        `respond`, `expected_reward` and `value`, but not for the log of `days`.
        """
        member = np.array([self._member(member_id)], np.int64)
        elapsed = np.array([self._elapsed(at)], np.int64)
        titles = self._numbers([actions])
        shown = self._artwork.numbers([actions], None if pictures is None else [pictures])
        runtime = self._catalogue.runtime[titles]
        reaction = react(self._affinity(member, elapsed, titles, shown), runtime, rng)
        self._finished.mark(member, elapsed, titles, reaction)
        sessions = self._log.sessions([decision_id], member, elapsed)
        return frames.event_records(sessions, actions, frames.happenings(reaction, runtime))

    def oracle(self, at: datetime) -> SlatePolicy:
        """The best policy at a time: the titles that the member likes most, in order."""

        def choose(member_id: str, eligible: Sequence[str], _: np.random.Generator) -> list[str]:
            member = np.array([self._member(member_id)], np.int64)
            elapsed = np.array([self._elapsed(at)], np.int64)
            fixed = self._artwork.numbers([eligible], None)
            affinity = self._affinity(member, elapsed, self._numbers([eligible]), fixed)[0]
            best = np.argsort(-affinity, kind="stable")[: self.settings.slots]
            return [eligible[position] for position in best]

        return choose

    def logging(self) -> SlatePolicy:
        """The policy that wrote the log."""

        def draw(member_id: str, eligible: Sequence[str], rng: np.random.Generator) -> list[str]:
            member = np.array([self._member(member_id)], np.int64)
            titles = self._numbers([eligible])[0]
            slates = self._log.policy.draw(member, titles, rng)
            return [self._catalogue.ids[title] for title in slates.titles[0]]

        return draw

    def uniform(self) -> SlatePolicy:
        """Pure chance: distinct eligible titles, all slates equally likely."""
        return uniform(self.settings.slots)

    def _affinity(
        self, members: Numbers, at: Numbers, titles: Numbers, pictures: Numbers
    ) -> NDArray[np.float64]:
        """Logits [B, K] of members [B] at microseconds [B] for titles with pictures [B, K].

        Minus infinity where there is no title (-1) or it may not be shown.
        """
        days = np.maximum(at // MICROS_PER_DAY, 0)
        self._log.live_until(int(days.max(initial=-1)) + 1)
        logits = np.empty(titles.shape)
        for day in np.unique(days):
            rows = days == day
            who, what = members[rows], titles[rows]
            shown = self._catalogue.available(int(day))[self._members.country[who][:, None], what]
            liking = self._taste.affinity(int(day), who, what)
            liking += self._artwork.effect(int(day), who, what, pictures[rows])
            logits[rows] = np.where(shown & (what >= 0), liking, -np.inf)
        logged = self._log.finished.before(members, at, titles)
        return logits + REPLAY * (logged | self._finished.before(members, at, titles))

    def _asked(
        self, member_ids: Sequence[str], at: datetime | Sequence[datetime], rows: int
    ) -> tuple[Numbers, Numbers]:
        """Numbers of members, and microseconds after the start, for that many rows."""
        times = [at] * rows if isinstance(at, datetime) else at
        if not len(member_ids) == len(times) == rows:
            raise ValueError("give one member for each slate, and one time or one for each slate")
        members = np.array([self._member(member) for member in member_ids], np.int64)
        return members, np.array([self._elapsed(time) for time in times], np.int64)

    def _member(self, member_id: str) -> int:
        if member_id not in self._members.index:
            raise ValueError(
                f"the simulated service has no member {member_id!r}; members() lists them"
            )
        return self._members.index[member_id]

    def _joined(self, at: datetime) -> list[str]:
        elapsed = self._elapsed(at)
        joined = self._members.joined * 1_000_000 <= elapsed
        return [self._members.ids[member] for member in np.flatnonzero(joined)]

    def _elapsed(self, at: datetime) -> int:
        """Microseconds after the start of day 0."""
        if at.utcoffset() is None:
            raise ValueError(f"the time {at} has no zone; give it one, such as UTC")
        return (at - self.settings.start) // timedelta(microseconds=1)

    def _numbers(self, slates: Sequence[Sequence[str]]) -> Numbers:
        """Title numbers [B, K] of slates, -1 after the end of a shorter one."""
        index = self._catalogue.index
        numbers = np.full((len(slates), max(map(len, slates), default=0)), -1, np.int64)
        for row, slate in enumerate(slates):
            if len(set(slate)) != len(slate):
                raise ValueError(f"slate {row} has a title twice; give distinct titles")
            try:
                numbers[row, : len(slate)] = [index[title] for title in slate]
            except KeyError as unknown:
                raise ValueError(
                    f"the simulated service has no title {unknown}; titles() lists them"
                ) from None
        return numbers


def _day(elapsed: int) -> int:
    return max(elapsed // MICROS_PER_DAY, 0)
