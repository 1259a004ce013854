"""Whether a log is late, by the days on which its rows became known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from math import ceil
from typing import Literal

from matinee.insights.days import DAY

FEWEST, MOST = 8, 60
"""Days with rows from which a table has a rhythm, and how many of the latest tell it."""
USUAL = 0.9
"""The share of a table's gaps that are no longer than its usual one."""
PATIENT = 3
"""Usual gaps after which a table is late, and intervals after which a job is."""
ALLOWED = timedelta(minutes=1)
"""What a job may take, and a row may wait, beyond that."""
LONG_AGO = timedelta(weeks=8)
"""How long a table is called late; then it has stopped, as the log of an old import has."""

State = Literal["empty", "seldom", "young", "on time", "late", "stopped"]


@dataclass(frozen=True)
class Freshness:
    """Whether a table is late. `usual`: its usual gap, in days; `silent`: days since its newest row
    was known; `None` where there is none.
    """

    state: State
    usual: int | None = None
    silent: float | None = None


EMPTY = Freshness("empty")


def freshness(days: Sequence[datetime] | None, newest: datetime | None, at: datetime) -> Freshness:
    """Whether a log whose rows became known on these `days`, ascending, is late at a time.

    Its gaps are the days between two days with rows that follow each other, of the latest 60; its
    usual gap is the shortest that 9 of 10 of them do not exceed. It is late when the newest row is
    older than three usual gaps, and has stopped when it has been late for eight weeks: an old
    import is no alarm. A log with rows on fewer than 8 days is too young to have a rhythm, and a
    table that is no log (titles, members, windows, pictures, invoices, ...; its `days` are `None`)
    changes when something changes: neither is ever late.

    >>> from datetime import UTC
    >>> days = [datetime(2026, 3, day, tzinfo=UTC) for day in range(1, 11)]
    >>> freshness(days, days[-1], days[-1] + timedelta(days=4))
    Freshness(state='late', usual=1, silent=4.0)
    """
    if newest is None:
        return EMPTY
    silent = max((at - newest) / DAY, 0.0)
    if days is None or len(days) < FEWEST:
        return Freshness("seldom" if days is None else "young", None, silent)
    gaps = sorted((later - day).days for day, later in pairwise(days[-MOST:]))
    usual = gaps[ceil(USUAL * len(gaps)) - 1]
    late = PATIENT * usual
    if silent > late + LONG_AGO / DAY:
        return Freshness("stopped", usual, silent)
    return Freshness("late" if silent > late else "on time", usual, silent)
