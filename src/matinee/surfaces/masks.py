"""The masks of titles: who may not be shown, and why."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from matinee.lake.records import Window, micros
from matinee.surfaces.base import Candidates, Mask, Situation

EVERYWHERE = "*"
MICROS_A_DAY = 86_400_000_000


class Availability(Mask):
    """Only titles with a window open in the member's country, or without any window at all.

    A window is open from `starts_at` until just before `ends_at`. This is the one mask that reads
    the clock; a surface applies it inside `eligible`.
    """

    name: ClassVar[str] = "availability"
    reason = "not available in this country at this time"

    def __init__(self, windows: Iterable[Window]) -> None:
        self._by_country: dict[str, list[Window]] = defaultdict(list)
        for window in windows:
            self._by_country[window.country].append(window)
        self._titles = {window.title_id for window in self._windows(*self._by_country)}

    def allowed(self, situation: Situation, candidates: Candidates) -> NDArray[np.bool_]:
        request = situation.request
        return candidates.without(self.closed(self.country(request.country), micros(request.at)))

    def closed(self, country: str, at: int) -> set[str]:
        """The titles that are not available there at that time (microseconds since 1970)."""
        windows = self._windows(EVERYWHERE, country)
        return self._titles - {
            window.title_id for window in windows if _starts(window) <= at < _ends(window)
        }

    def country(self, country: str | None) -> str:
        """The country itself where it has windows of its own, else "*"."""
        return country if country in self._by_country and country is not None else EVERYWHERE

    def boundaries(self, country: str) -> list[int]:
        """When anything opens or closes there: sorted, distinct, microseconds since 1970."""
        windows = self._windows(EVERYWHERE, country)
        times = {time for window in windows for time in (window.starts_at, window.ends_at) if time}
        return sorted(map(micros, times))

    def opened(self, country: str, after: int, until: int) -> list[str]:
        """Titles whose window opened there in ``after < starts_at <= until`` (microseconds)."""
        windows = self._windows(EVERYWHERE, country)
        return [window.title_id for window in windows if after < _starts(window) <= until]

    def _windows(self, *countries: str) -> Iterable[Window]:
        return [
            window for country in set(countries) for window in self._by_country.get(country, ())
        ]


class Watched(Mask):
    """Not what the member has watched."""

    name: ClassVar[str] = "watched"
    reason = "already watched"

    def allowed(self, situation: Situation, candidates: Candidates) -> NDArray[np.bool_]:
        return candidates.without(situation.history.titles)


class OnPage(Mask):
    """Not what stands on the rows above."""

    name: ClassVar[str] = "on_page"
    reason = "already on the page"

    def __init__(self, above: Collection[str]) -> None:
        self.above = above

    def allowed(self, situation: Situation, candidates: Candidates) -> NDArray[np.bool_]:
        return candidates.without(self.above)


class Only(Mask):
    """Nothing but `ids`: the restriction of a row, to a genre for instance."""

    name: ClassVar[str] = "only"

    def __init__(self, ids: frozenset[str], reason: str) -> None:
        self.ids = ids
        self.reason = reason

    def allowed(self, situation: Situation, candidates: Candidates) -> NDArray[np.bool_]:
        return ~candidates.without(self.ids)


class DailyCap(Mask):
    """At most `most` actions a member and day (UTC), but for those that are `free`.

    The surface needs a `memory` of a day. What counts is what is in the log: of two requests that
    come at the same moment both may pass.

    >>> from datetime import UTC, datetime
    >>> from matinee.surfaces import Choice, Request
    >>> noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    >>> request = Request(request_id="r", member_id="m", at=noon)
    >>> sent = Situation(request, choices=(Choice(micros(noon) - 1, "new-season"),))
    >>> DailyCap(1, free=["none"]).allowed(sent, Candidates.of(["new-season", "none"]))
    array([False,  True])
    """

    name: ClassVar[str] = "daily_cap"
    memory: ClassVar[timedelta] = timedelta(days=1)

    def __init__(self, most: int, free: Collection[str] = ()) -> None:
        self.most, self.free = most, frozenset(free)
        self.reason = f"no more than {most} a day"

    def allowed(self, situation: Situation, candidates: Candidates) -> NDArray[np.bool_]:
        today = micros(situation.request.at) // MICROS_A_DAY
        spent = sum(
            choice.at // MICROS_A_DAY == today and choice.action not in self.free
            for choice in situation.choices
        )
        if spent < self.most:
            return np.ones(len(candidates), bool)
        return ~candidates.without(self.free)


class FewDifferent(Mask):
    """At most `most` different actions for a member and a subject while the surface remembers: then
    only those, as far as they may be chosen still.

    >>> from datetime import UTC, datetime
    >>> from matinee.surfaces import Choice, Request
    >>> request = Request(request_id="r", member_id="m", at=datetime(2026, 1, 1, tzinfo=UTC))
    >>> seen = Situation(request, choices=(Choice(1, "heat.2"), Choice(2, "heat.1")))
    >>> FewDifferent(2).allowed(seen, Candidates.of(["heat.1", "heat.2", "heat.3"]))
    array([ True,  True, False])
    """

    name: ClassVar[str] = "few_different"

    def __init__(self, most: int) -> None:
        self.most = most
        self.reason = f"no more than {most} different ones in that time"

    def allowed(self, situation: Situation, candidates: Candidates) -> NDArray[np.bool_]:
        seen = {choice.action for choice in situation.choices}
        left = [action for action in seen if action in candidates]
        if len(seen) < self.most or not left:
            return np.ones(len(candidates), bool)
        return ~candidates.without(left)


class Age(Mask):
    """Only what may be seen at an age, in years; `least` says from which age each action may."""

    name: ClassVar[str] = "age"

    def __init__(self, years: float, least: Mapping[str, int]) -> None:
        self.years, self.least = years, least
        self.reason = f"not to be seen at the age of {years:g}"

    def allowed(self, situation: Situation, candidates: Candidates) -> NDArray[np.bool_]:
        return np.array([self.least.get(one, 0) <= self.years for one in candidates.ids], bool)


def _starts(window: Window) -> int:
    return micros(window.starts_at) if window.starts_at else -(2**63)


def _ends(window: Window) -> int:
    return micros(window.ends_at) if window.ends_at else 2**63
