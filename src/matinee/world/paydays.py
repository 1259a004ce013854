"""When members are paid, on their own clocks, and whether there is money on an account.

Made up: which pay-days are usual where, how tight accounts are, and how fast money goes. Time zones
and calendars are real.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from matinee.world.behaviour import sigmoid
from matinee.world.payments_settings import DAY, HOUR

Ints = NDArray[np.integer]
Floats = NDArray[np.float64]

ZONES = {
    "US": (
        ("America/New_York", 0.48),
        ("America/Chicago", 0.29),
        ("America/Denver", 0.07),
        ("America/Los_Angeles", 0.16),
    ),
    "NL": (("Europe/Amsterdam", 1.0),),
    "BR": (("America/Sao_Paulo", 1.0),),
    "IN": (("Asia/Kolkata", 1.0),),
    "JP": (("Asia/Tokyo", 1.0),),
}
"""The clocks of a country and the share of its members that live by each."""
ZONE_NAMES = tuple(name for zones in ZONES.values() for name, _ in zones)

SCHEDULES: tuple[tuple[int, ...], ...] = (
    *((day,) for day in (1, 5, 7, 10, 15, 20, 24, 25, 28, 31)),
    (15, 31),
    (),
    (),
)
"""Days of the month on which wages come, 31 the last one; the two without are every other Friday.
A pay-day at a weekend is the Friday before."""
FRIDAYS = len(SCHEDULES) - 2
OTHERS = 0.02
"""Share of a country's members on each schedule that is not usual there."""
USUAL: dict[str, dict[tuple[int, ...], float]] = {
    "US": {(15, 31): 0.20, (1,): 0.06},
    "NL": {(24,): 0.45, (25,): 0.20, (31,): 0.13},
    "BR": {(5,): 0.55, (31,): 0.12, (10,): 0.11},
    "IN": {(31,): 0.45, (1,): 0.25, (7,): 0.10},
    "JP": {(25,): 0.70, (10,): 0.05, (15,): 0.05},
}
"""Shares of the usual schedules of a country; in the US the rest is paid on Fridays."""

PAID_AT = 6 * HOUR
"""Second of the local day at which wages are on the account, and at which the bank day begins."""

MEANS = ("easy", "tight", "broke")
"""How an account is filled."""
TIGHT, BROKE = 1, 2
MEANS_SHARES = (0.925, 0.063, 0.012)
BAD_MONTH = 0.25
"""Share of the months in which an account that is tight is broke."""
LEVEL = np.array([6.5, 3.0, -2.3])
"""Log odds that there is money enough, just after pay-day, by `MEANS`."""
FALL = np.array([0.5, 6.5, 4.0])
"""What these log odds lose from one pay-day to the next."""
CREDIT = 1.5
"""What they gain on a credit card."""

BEFORE, AFTER = 70, 80
"""Days before day 0 and after the last that the tables reach."""


def usual(country: str) -> Floats:
    """Share of a country's members on each of `SCHEDULES`.

    >>> usual("JP").round(2).tolist()
    [0.02, 0.02, 0.02, 0.05, 0.05, 0.02, 0.02, 0.7, 0.02, 0.02, 0.02, 0.02, 0.02]
    """
    shares = np.array([USUAL[country].get(days, OTHERS) for days in SCHEDULES])
    if country == "US":
        shares[FRIDAYS:] = (1 - shares[:FRIDAYS].sum()) / 2
    whole: Floats = shares / shares.sum()
    return whole


class Clock:
    """The clocks of `ZONE_NAMES` from some weeks before day 0 to some weeks after the last day."""

    def __init__(self, start: datetime, days: int) -> None:
        hours = (BEFORE + days + AFTER) * 24
        times = [start + timedelta(hours=hour - BEFORE * 24) for hour in range(hours)]
        self._ahead = np.array([_ahead(ZoneInfo(name), times) for name in ZONE_NAMES])

    def local(self, zone: Ints, second: Ints) -> NDArray[np.int64]:
        """What clocks show at seconds after the start of day 0, in seconds after its midnight."""
        local: NDArray[np.int64] = second + self._ahead[zone, second // HOUR + BEFORE * 24]
        return local

    def covers(self, second: Ints) -> bool:
        """Whether the tables reach to all of these seconds."""
        hour = np.asarray(second) // HOUR + BEFORE * 24
        return bool(np.all((hour >= 24) & (hour < self._ahead.shape[1] - 24)))


def _ahead(zone: ZoneInfo, times: Sequence[datetime]) -> list[int]:
    offsets = [time.astimezone(zone).utcoffset() for time in times]
    return [offset // timedelta(seconds=1) for offset in offsets if offset is not None]


def bank_day(local: Ints) -> NDArray[np.int64]:
    """The number of the bank day at local seconds: it begins at `PAID_AT`.

    >>> bank_day(np.array([5 * 3600, 6 * 3600, 30 * 3600])).tolist()
    [-1, 0, 1]
    """
    return np.asarray((local - PAID_AT) // DAY, np.int64)


class Paydays:
    """For each of `SCHEDULES` and each bank day, the last pay-day and the next."""

    def __init__(self, start: datetime, days: int) -> None:
        zero = np.datetime64(start.date(), "D")
        day = np.arange(-BEFORE, days + AFTER)
        wages = [_wages(days_of, number, zero, day) for number, days_of in enumerate(SCHEDULES)]
        places = [np.searchsorted(paid, day, side="right") for paid in wages]
        self._last = np.array([paid[at - 1] for paid, at in zip(wages, places, strict=True)])
        self._next = np.array([paid[at] for paid, at in zip(wages, places, strict=True)])

    def phase(self, schedule: Ints, local: Ints) -> Floats:
        """Share of the time from one pay-day to the next that has passed, in [0, 1).

        >>> from datetime import UTC
        >>> paydays = Paydays(datetime(2025, 1, 1, tzinfo=UTC), 60)
        >>> local = DAY * np.array([23, 37]) + PAID_AT  # 24 January; the next is 24 February
        >>> paydays.phase(np.array(6), local).round(3).tolist()
        [0.0, 0.452]
        """
        day = bank_day(local) + BEFORE
        last, following = self._last[schedule, day], self._next[schedule, day]
        passed: Floats = ((local - PAID_AT) / DAY - last) / (following - last)
        return passed


def _wages(
    days_of: tuple[int, ...], number: int, zero: np.datetime64, day: Ints
) -> NDArray[np.int64]:
    """The pay-days of a schedule as days after day 0, ascending, beyond both ends of `day`."""
    if not days_of:
        every = zero + np.arange(day[0] - 40, day[-1] + 41)
        since = every.astype(np.int64) - 1  # 1970-01-02 was a Friday
        paid = every[(since % 7 == 0) & (since // 7 % 2 == number - FRIDAYS)]
    else:
        first = (zero + (day[0] - 70)).astype("datetime64[M]")
        months = np.arange(first, (zero + (day[-1] + 70)).astype("datetime64[M]"))
        ends = (months + 1).astype("datetime64[D]") - 1
        dates = [np.minimum(months.astype("datetime64[D]") + (d - 1), ends) for d in days_of]
        paid = np.unique(np.busday_offset(np.concatenate(dates), 0, roll="preceding"))
    days: NDArray[np.int64] = (paid - zero).astype(np.int64)
    return days


def funds(means: Ints, credit: NDArray[np.bool_], phase: Floats) -> Floats:
    """P(money enough on the account): sigmoid(level - fall * phase + 1.5 if it is a credit card).

    >>> funds(np.array([1, 1]), np.array([False, False]), np.array([0.0, 0.95])).round(2).tolist()
    [0.95, 0.04]
    """
    return sigmoid(LEVEL[means] - FALL[means] * phase + CREDIT * credit)
