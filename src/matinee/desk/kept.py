"""What takes long to read from the log, kept for a while."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Generic, Self, TypeVar

from matinee.errors import MatineeError
from matinee.insights.ahead import Ahead, Taken
from matinee.service.folder import Service

log = logging.getLogger("matinee.desk")

Value = TypeVar("Value")
PATIENCE = 2.0
"""Seconds that a page waits for what is read from the log before it goes on without."""
LOOK_AGAIN = 3
"""Seconds after which a page that went on without looks again."""
FRESH = 60.0
"""Seconds until what was read is read anew for the next one who asks."""
FAIR = 600.0
"""Seconds until which nobody waits for that, and is shown what stands."""
LATE = 2.0
"""After so many of its intervals what `matinee work` should have read ahead is missed."""


class Kept(Generic[Value]):
    """A value that is made in a thread and kept for a minute; then the next one who asks has it
    made anew, and is given what stands: at once where that is not `fair` seconds old. Where `stamp`
    gives another value than when it was made, it is out of date. What `ahead` knows that is newer
    than what stands is taken before anything is made.

    `then` is called with each value before it is given, in the thread: what is drawn of it, say.
    """

    def __init__(
        self,
        make: Callable[[], Value],
        seconds: float = FRESH,
        stamp: Callable[[], object] = lambda: None,
        *,
        fair: float = FAIR,
        ahead: Callable[[datetime | None], Taken[Value] | None] = lambda _: None,
        then: Callable[[Value], object] = lambda _: None,
    ) -> None:
        self._make, self._seconds, self._stamp, self._fair = make, seconds, stamp, fair
        self._ahead, self._then = ahead, then
        self._stamped: object = self
        self._made = float("-inf")
        self._value: Value | Exception | None = None
        self._task: asyncio.Task[None] | None = None
        self._following: asyncio.Task[None] | None = None
        self.at: datetime | None = None
        """When the value was begun to be made."""

    @classmethod
    def of(
        cls,
        service: Service,
        ahead: Ahead[Value],
        then: Callable[[Value], object] = lambda _: None,
    ) -> Self:
        """What `matinee work` reads ahead; made here after a change, and where nobody works."""
        every = service.settings.desk.read_every.delta.total_seconds()
        return cls(
            partial(ahead.read, service),
            max(FRESH, LATE * every),
            partial(ahead.stamp, service),
            fair=max(FAIR, 2 * LATE * every),
            ahead=partial(ahead.taken, service),
            then=then,
        )

    async def get(self, patience: float) -> Value | None:
        """The value, an older one where making it takes longer than `patience` seconds, `None`
        where there is none yet. Raises what making it raises.
        """
        until = time.monotonic() + patience
        await self._look(until)
        if self._stamp() != self._stamped:  # what was being made was begun before a change
            await self._look(until)
        if self._stamp() != self._stamped:  # what stood before a change is not shown after it
            return None
        if isinstance(self._value, Exception):
            failure = self._value
            if not isinstance(failure, MatineeError):  # told once; the next who asks tries again
                self._value, self._stamped = None, self
            raise failure
        return self._value

    async def follow(self) -> None:
        """Take what was read ahead, if it is newer than what stands; once for all who ask."""
        await asyncio.shield(self._taking())

    def _taking(self) -> asyncio.Task[None]:
        if self._following is None or self._following.done():
            self._following = asyncio.create_task(self._follow())
        return self._following

    async def _follow(self) -> None:
        taken = await asyncio.to_thread(self._taken)
        if taken is not None and (self.at is None or taken.at > self.at):
            age = max((datetime.now(UTC) - taken.at).total_seconds(), 0.0)
            self._keep(taken.found, taken.at, taken.stamp, time.monotonic() - age)

    async def _look(self, until: float) -> None:
        """Have it made where it is old or out of date, and wait for that unless it is fair."""
        if self._age() >= self._keeps():
            taking = self._taking()
            await asyncio.wait([taking], timeout=_left(until))
            if not taking.done():
                return
            if failure := taking.exception():  # it can be made all the same
                log.warning("what was read ahead for the desk cannot be taken: %r", failure)
        age = self._age()
        if age >= self._keeps():
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._anew())
            await asyncio.wait([self._task], timeout=0 if age < self._fair else _left(until))

    def _keeps(self) -> float:
        """Seconds until what stands is read anew; what went wrong may go well in a minute."""
        failed = isinstance(self._value, Exception)
        return min(self._seconds, FRESH) if failed else self._seconds

    def _age(self) -> float:
        """Seconds since what stands was made."""
        current = self._stamp() == self._stamped
        return time.monotonic() - self._made if current else float("inf")

    def _taken(self) -> Taken[Value] | None:
        """What was read ahead and is newer, unless it is out of date, or later than now: of before
        the clock was set back.
        """
        taken = self._ahead(self.at)
        if taken is None or taken.stamp != self._stamp() or taken.at > datetime.now(UTC):
            return None
        self._then(taken.found)
        return taken

    async def _anew(self) -> None:
        began, stamped = datetime.now(UTC), self._stamp()
        found: Value | Exception
        try:
            found = await asyncio.to_thread(self._drawn)
        except Exception as error:  # a page that went on without it is told by its next look
            found = error
        self._keep(found, began, stamped, time.monotonic())

    def _drawn(self) -> Value:
        made = self._make()
        self._then(made)
        return made

    def _keep(self, value: Value | Exception, at: datetime, stamped: object, made: float) -> None:
        self._value, self.at, self._stamped, self._made = value, at, stamped, made


def _left(until: float) -> float:
    """Seconds until a time of the monotonic clock, none where it is over."""
    return max(until - time.monotonic(), 0.0)
