"""The members of the simulated service: who they are, where, and when they watch."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from matinee.lake.records import Member
from matinee.world.settings import Settings, stream

DAY = 86_400
"""Seconds in a day."""

DEVICES = ("tv", "phone", "web")
DEVICE_SHARES = (0.55, 0.30, 0.15)
UTC_OFFSET = {"US": -6, "NL": 1, "BR": -3, "IN": 5, "JP": 9}
"""Hours that the clock of a country is ahead of UTC; 0 for a country not named here."""

HOURS = np.array([4, 2, 1, 1, 1, 1, 2, 3, 3, 3, 3, 3, 4, 4, 4, 4, 5, 6, 8, 11, 13, 13, 10, 6])
"""How many sessions begin in each hour of the local day, in proportion."""

NEWCOMERS = 0.10
"""Share of the members that join in the first 20 days; the others came in the year before."""


class Members:
    """M simulated members under pseudonymous ids ``m00000``, ``m00001``, ...

    Attributes
    ----------
    ids : the member ids, ascending.
    country : int64 [M], position among the countries of the settings.
    device : int64 [M], position in `DEVICES`.
    joined : int64 [M], seconds after the start of day 0, negative for the old members.
    activity : float64 [M], mean sessions in a day, gamma-distributed over members.
    """

    def __init__(self, settings: Settings) -> None:
        rng = stream(settings.seed, "members")
        count = settings.members
        self.settings = settings
        self.ids = [f"m{number:05d}" for number in range(count)]
        self.index = {member: number for number, member in enumerate(self.ids)}
        self.country = rng.choice(
            len(settings.countries), count, p=[s for _, s in settings.countries]
        )
        self.device = rng.choice(len(DEVICES), count, p=DEVICE_SHARES)
        new = rng.random(count) < NEWCOMERS
        self.joined = np.where(
            new, rng.integers(0, 20 * DAY, count), -rng.integers(0, 365 * DAY, count)
        )
        self.activity = settings.sessions_per_day * rng.gamma(2.0, 0.5, count)
        offsets = [UTC_OFFSET.get(code, 0) for code, _ in settings.countries]
        self._utc_offset = np.array(offsets) * 3_600

    def __len__(self) -> int:
        return len(self.ids)

    def records(self) -> list[Member]:
        """The members as an app would send them."""
        return [
            Member(
                member_id=member,
                country=self.settings.countries[self.country[number]][0],
                joined_at=self.settings.start + timedelta(seconds=int(self.joined[number])),
            )
            for number, member in enumerate(self.ids)
        ]

    def sessions(self, day: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Who opens the service on a day, and when.

        Member numbers [B] and microseconds after the start of day 0 [B], in order of time. Sessions
        of a member come as a Poisson process with the local evening as its peak.
        """
        rng = stream(self.settings.seed, "sessions", day)
        member = np.repeat(np.arange(len(self)), rng.poisson(self.activity))
        hour = rng.choice(24, len(member), p=HOURS / HOURS.sum())
        local = hour * 3_600 * 1_000_000 + rng.integers(0, 3_600 * 1_000_000, len(member))
        offset = self._utc_offset[self.country[member]] * 1_000_000
        at = day * DAY * 1_000_000 + (local - offset) % (DAY * 1_000_000)
        here = at >= self.joined[member] * 1_000_000
        order = np.argsort(at[here], kind="stable")
        return member[here][order], at[here][order]
