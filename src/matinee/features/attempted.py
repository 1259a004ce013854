"""What may tell whether an attempt is approved: of the invoice, the instrument and the moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from matinee.payments.actions import HOUR
from matinee.payments.facts import UNKNOWN, Facts, Try
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
"""The names of what `described` and `moments` say."""


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


def moments(facts: Facts, at: Times, rank: int = 1) -> Mapping[str, NDArray[np.float64]]:
    """What hangs on the time [N], microseconds since 1970: the hour, the weekday (Monday 0), the
    day of a cycle of 14 and that of the month where the member is, how many midnights there have
    passed since the last attempt on the instrument of a rank, and the hours since then and since
    the invoice was due; each [N].

    >>> facts = Facts("when", 0, 999, "EUR", 0, 0, (), timezone="Asia/Tokyo")
    >>> {name: values.tolist() for name, values in moments(facts, np.array([20 * HOUR])).items()}
    {'hour': [5.0], 'weekday': [4.0], 'fortnight': [1.0], 'day': [2.0], 'nights': [416.0],
     'since_last': [10000.0], 'since_due': [20.0]}
    """
    zone = zone_of(facts.timezone)
    local = at + local_offsets(at, zone)
    days = local // (DAY * HOUR)
    dates = days.astype("datetime64[D]")
    since, nights = np.full(len(at), NEVER), np.full(len(at), NEVER // DAY)
    mine = [one.at for one in facts.tried if one.rank == rank]
    if mine:
        last = np.array(mine[-1:], np.int64)
        since = (at - last) / HOUR
        nights = (days - (last + local_offsets(last, zone)) // (DAY * HOUR)).astype(np.float64)
    return {
        "hour": (local // HOUR % DAY).astype(np.float64),
        "weekday": ((days + 3) % 7).astype(np.float64),
        "fortnight": (days % 14).astype(np.float64),
        "day": (dates - dates.astype("datetime64[M]")).astype(np.float64) + 1,
        "nights": nights,
        "since_last": since,
        "since_due": (at - facts.due_at) / HOUR,
    }
