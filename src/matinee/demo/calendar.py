"""When what happens in the demonstration's simulated past."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

USUAL = 60
"""Days that the service has lived, unless a smaller one is asked for."""
LOGGED, LEARNED, LOOKED, JUDGED, BROKEN = 28, 34, 37, 45, 50


@dataclass(frozen=True)
class Calendar:
    """The days since a start on which things happen, and how many there are.

    logged : days that the world's own policy decides; then the first champion does. learned : what
    is known by then makes the candidate for titles, and the first champions of pictures and of
    payments. looked : what shows the pictures is judged. judged : the candidate follows the
    champion, and an experiment begins. broken : a processor stops working.

    >>> Calendar.of(60, datetime(2026, 1, 1, tzinfo=UTC)).judged
    45
    """

    start: datetime
    logged: int
    learned: int
    looked: int
    judged: int
    broken: int
    days: int

    @classmethod
    def of(cls, days: int, start: datetime) -> Calendar:
        """So many days, divided as 60 are."""
        logged, learned, looked, judged, broken = (
            max(round(days * part / USUAL), 1) for part in (LOGGED, LEARNED, LOOKED, JUDGED, BROKEN)
        )
        return cls(start, logged, learned, looked, judged, broken, days)

    @classmethod
    def until_today(cls, days: int) -> Calendar:
        """So many days, the last of which was yesterday (UTC)."""
        today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return cls.of(days, today - timedelta(days=days))

    def at(self, day: int) -> datetime:
        """The midnight (UTC) at which a day begins."""
        return self.start + timedelta(days=day)

    @property
    def end(self) -> datetime:
        """The midnight at which the last one ends."""
        return self.at(self.days)
