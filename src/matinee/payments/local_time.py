"""The hour of the day where a member is."""

from __future__ import annotations

from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from matinee.lake.records import from_micros
from matinee.payments.actions import HOUR

DAY = 24 * HOUR


@lru_cache(maxsize=1_000)
def zone_of(name: str | None) -> ZoneInfo | None:
    """The time zone that IANA names so; `None` where there is none of that name.

    >>> zone_of("Europe/Amsterdam"), zone_of("Atlantis"), zone_of("../etc/passwd"), zone_of(None)
    (zoneinfo.ZoneInfo(key='Europe/Amsterdam'), None, None, None)
    """
    try:
        return ZoneInfo(name) if name else None
    except (KeyError, OSError, ValueError):  # of that name there is none, a folder, or no file
        return None


def local_hours(at: NDArray[np.int64], zone: ZoneInfo | None) -> NDArray[np.int64]:
    """The hour of the local day, 0 to 23, of times in microseconds since 1970 [H]; without a zone
    of UTC.

    >>> noon = np.array([12 * HOUR, (180 * 24 + 12) * HOUR])
    >>> local_hours(noon, ZoneInfo("America/New_York")).tolist()
    [7, 8]
    """
    hours: NDArray[np.int64] = (at + local_offsets(at, zone)) // HOUR % 24
    return hours


def local_offsets(at: NDArray[np.int64], zone: ZoneInfo | None) -> NDArray[np.int64]:
    """How far the local clock is ahead of UTC, in microseconds [H].

    0 without a zone. It is asked once a day; only on a day on which it changes for each time.
    """
    if zone is None:
        return np.zeros(at.shape, np.int64)
    day = at // DAY
    days = sorted(set(day.tolist()))
    which = np.searchsorted(days, day)
    starts = np.array([_offset(zone, one * DAY) for one in days], np.int64)
    ends = np.array([_offset(zone, (one + 1) * DAY) for one in days], np.int64)
    offsets = starts[which]
    for place in np.flatnonzero((starts != ends)[which]).tolist():
        offsets[place] = _offset(zone, int(at[place]))
    return offsets


@lru_cache(maxsize=20_000)
def _offset(zone: ZoneInfo, at: int) -> int:
    try:
        ahead = from_micros(at).astimezone(zone).utcoffset()
    except (OverflowError, ValueError, OSError):  # beyond the years that a calendar has
        return 0
    return 0 if ahead is None else round(ahead.total_seconds() * 1_000_000)
