"""Lengths of time that are spoken of, and where a day begins."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(weeks=1)


def midnight(at: datetime) -> datetime:
    """When the day of a time began (UTC).

    >>> f"{midnight(datetime(2026, 3, 2, 18, 30, tzinfo=UTC)):%Y-%m-%d %H:%M}"
    '2026-03-02 00:00'
    """
    return at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
