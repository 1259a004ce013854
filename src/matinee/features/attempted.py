"""What may tell whether an attempt is approved: of the invoice, the instrument and the moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from matinee.payments.actions import HOUR
from matinee.payments.facts import HOURS, UNKNOWN, Facts, Try, slot_times
from matinee.payments.local_time import local_offsets, zone_of

Times = NDArray[np.int64]
DAY = 24
NEVER = 10_000.0
"""Hours since what has not been."""

CATEGORIES = (
    "country",
    "currency",
    "network",
    "kind",
    "issuer",
    "issuer_country",
    "funding",
    "reason",
    "elsewhere",
    "last",
)
NUMBERS = (
    "amount",
    "tokenised",
    "rank",
    "number",
    "tried",
    "hour",
    "weekday",
    "fortnight",
    "day",
    "nights",
    "since_last",
    "since_due",
)
"""The names of what `described` and a `Calendar` say."""


def described(facts: Facts, rank: int) -> dict[str, Any]:
    """What stays the same whenever the instrument of a rank, from 1, is charged next.

    `reason` is why its own last attempt brought nothing, `tried` how many it had; `elsewhere` is
    why the last attempt on another instrument did not. `last` is the processor of the last attempt,
    and `number` counts all.
    """
    means = facts.means[rank - 1] if 0 < rank <= len(facts.means) else UNKNOWN
    last = facts.tried[-1] if facts.tried else None
    mine = [one for one in facts.tried if one.rank == rank]
    others = [one for one in facts.tried if one.rank != rank]
    return {
        "country": facts.country,
        "currency": facts.currency,
        "network": means.network,
        "kind": means.kind,
        "issuer": means.issuer,
        "issuer_country": means.issuer_country or facts.country,
        "funding": means.funding,
        "reason": _why(mine),
        "elsewhere": _why(others),
        "last": None if last is None else last.processor,
        "amount": float(facts.amount),
        "tokenised": float(means.tokenised),
        "rank": float(rank),
        "number": float(facts.number),
        "tried": float(len(mine)),
    }


def _why(tried: Sequence[Try]) -> str | None:
    return tried[-1].reason or tried[-1].status if tried else None


class Calendar(NamedTuple):
    """Times [N], microseconds since 1970, and what they are where the member is.

    `known` says, each [N]: the date (days since 1970), the hour, the weekday (Monday 0), the day of
    a cycle of 14 and that of the month, and the hours since the invoice was due.
    """

    at: Times
    known: dict[str, NDArray[np.float64]]

    def since(self, facts: Facts, rank: int) -> dict[str, NDArray[np.float64]]:
        """How many local midnights have passed since the last attempt on the instrument of a rank,
        and how many hours, each [N].
        """
        last = max((one.at for one in facts.tried if one.rank == rank), default=None)
        if last is None:
            long = np.full(len(self.at), NEVER)
            return {"nights": np.floor(long / DAY), "since_last": long}
        ahead = local_offsets(np.array([last], np.int64), zone_of(facts.timezone))[0]
        nights = self.known["date"] - (last + ahead) // (DAY * HOUR)
        return {"nights": nights, "since_last": (self.at - last) / HOUR}


def calendar(facts: Facts, at: Times) -> Calendar:
    """Of the times [N] what is the same for all instruments.

    >>> facts = Facts("when", 0, 999, "EUR", 0, 0, (), timezone="Asia/Tokyo")
    >>> known = calendar(facts, np.array([20 * HOUR])).known
    >>> [f"{name} {values[0]:g}" for name, values in known.items()]
    ['date 1', 'hour 5', 'weekday 4', 'fortnight 1', 'day 2', 'since_due 20']
    """
    known = _local(facts.timezone, at)
    return Calendar(at, {**known, "since_due": (at - facts.due_at) / HOUR})


def slot_calendar(facts: Facts) -> Calendar:
    """Of the slots [H] that are decided on."""
    times = slot_times(facts.at)
    known = _local_slots(facts.timezone, int(times[0]))
    return Calendar(times, {**known, "since_due": (times - facts.due_at) / HOUR})


@lru_cache(maxsize=512)
def _local_slots(timezone: str | None, first: int) -> Mapping[str, NDArray[np.float64]]:
    """Of the slots from one on: for an hour they are the same for all members of a time zone."""
    return _local(timezone, first + (HOURS - HOURS[0]) * HOUR)


def _local(timezone: str | None, at: Times) -> dict[str, NDArray[np.float64]]:
    local = at + local_offsets(at, zone_of(timezone))
    days = local // (DAY * HOUR)
    dates = days.astype("datetime64[D]")
    known = {
        "date": days,
        "hour": local // HOUR % DAY,
        "weekday": (days + 3) % 7,
        "fortnight": days % 14,
        "day": (dates - dates.astype("datetime64[M]")).astype(np.int64) + 1,
    }
    return {name: values.astype(np.float64) for name, values in known.items()}
