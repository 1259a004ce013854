"""The actions of the surface `payments`, as text: where to charge, or when to try again.

A step of an invoice asks one of two things. *Route*, when it is charged now: a processor and one of
the invoice's instruments, by its rank from 1, the preferred one first (``goldcard/1``). *When*,
after an attempt that did not bring the money: an hour slot (``+026h``) or no further attempt.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

Step = Literal["route", "when"]

STOP = "stop"
"""No further attempt."""
HOUR = 3_600_000_000
"""In microseconds."""
FINE, COARSE, MOST = 72, 3, 28 * 24
"""Slots lie one hour apart for so many hours, then so many apart, up to so many."""
SLOTS = (*range(1, FINE + 1), *range(FINE + COARSE, MOST + 1, COARSE))
"""The hours from now, rounded up to a whole one, at which slots begin."""


class Route(NamedTuple):
    """Charge the instrument of this rank, from 1, by this processor."""

    processor: str
    rank: int


def route_id(route: Route) -> str:
    """
    >>> route_id(Route("goldcard", 1))
    'goldcard/1'
    """
    return f"{route.processor}/{route.rank}"


def route_of(action: str) -> Route:
    """
    >>> route_of("goldcard/1")
    Route(processor='goldcard', rank=1)
    """
    processor, _, rank = action.rpartition("/")
    return Route(processor, int(rank))


def who(action: str) -> str:
    """The processor of a route; any other action itself.

    >>> who("goldcard/1"), who("stop")
    ('goldcard', 'stop')
    """
    processor, _, rank = action.rpartition("/")
    return processor if processor and rank.isdecimal() else action


def slot_id(hours: int) -> str:
    """
    >>> slot_id(26)
    '+026h'
    """
    return f"+{hours:03d}h"


def hours_of(action: str) -> int | None:
    """How many hours on a slot lies; `None` for `STOP`.

    >>> hours_of("+026h"), hours_of(STOP)
    (26, None)
    """
    return None if action == STOP else int(action[1:-1])


def slot_at(decided: datetime, hours: int) -> datetime:
    """When a slot begins that was chosen at `decided`: on the hour, UTC.

    >>> slot_at(datetime(2026, 1, 1, 9, 30, tzinfo=UTC), 2)
    datetime.datetime(2026, 1, 1, 12, 0, tzinfo=datetime.timezone.utc)
    """
    decided = decided.astimezone(UTC)
    whole = decided.replace(minute=0, second=0, microsecond=0)
    return whole + timedelta(hours=hours + (decided != whole))
