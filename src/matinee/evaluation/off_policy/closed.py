"""Whether rewards are closed: nothing that still comes in can change them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import ArrayLike

_MICRO = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Closed:
    """How many decisions there are, how many are still open, and when the last of them closes."""

    decisions: int
    open: int
    last: datetime | None

    @property
    def all(self) -> bool:
        return not self.open


def closed(
    decided_at: ArrayLike, *, window: timedelta, now: datetime, grace: timedelta = timedelta()
) -> Closed:
    """A decision is closed once its attribution window and the time events may be late are over.

        decided_at + window + grace <= now

    decided_at : int64 [N], microseconds since 1970 in UTC. `now` carries a time zone.

    >>> day = timedelta(days=1)
    >>> now = datetime(1970, 1, 4, tzinfo=UTC)
    >>> closed([0, 2 * day // timedelta(microseconds=1)], window=2 * day, now=now).open
    1
    """
    times = np.asarray(decided_at, np.int64)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    ends = times + (window + grace) // _MICRO
    last = None if not len(ends) else epoch + int(ends.max()) * _MICRO
    return Closed(len(ends), int((ends > (now - epoch) // _MICRO).sum()), last)
