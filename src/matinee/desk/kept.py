"""What takes long to read from the log, kept for a while."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Generic, TypeVar

from matinee.errors import MatineeError

Value = TypeVar("Value")
PATIENCE = 2.0
"""Seconds that a page waits for what is read from the log before it goes on without."""
LOOK_AGAIN = 3
"""Seconds after which a page that went on without looks again."""
FRESH = 60.0
"""Seconds until what was read is read anew for the next one who asks."""
FAIR = 600.0
"""Seconds until then nobody waits for that, and is shown what stands."""


class Kept(Generic[Value]):
    """A value that is made in a thread and kept for a minute; then the next one who asks has it
    made anew, and is given what stands: at once where that is not ten minutes old. Where `stamp`
    gives another value than when it was made, it is out of date.
    """

    def __init__(
        self,
        make: Callable[[], Value],
        seconds: float = FRESH,
        stamp: Callable[[], object] = lambda: None,
    ) -> None:
        self._make, self._seconds, self._stamp = make, seconds, stamp
        self._stamped: object = self
        self._made = float("-inf")
        self._value: Value | Exception | None = None
        self._task: asyncio.Task[None] | None = None
        self.at: datetime | None = None
        """When the value was begun to be made."""

    async def get(self, patience: float) -> Value | None:
        """The value, an older one where making it takes longer than `patience` seconds, `None`
        where there is none yet. Raises what making it raises.
        """
        until = time.monotonic() + patience
        await self._look(patience)
        if self._stamp() != self._stamped:  # what was being made was begun before a change
            await self._look(max(until - time.monotonic(), 0.0))
        if self._stamp() != self._stamped:  # what stood before a change is not shown after it
            return None
        if isinstance(self._value, Exception):
            failure = self._value
            if not isinstance(failure, MatineeError):  # told once; the next who asks tries again
                self._value, self._stamped = None, self
            raise failure
        return self._value

    async def _look(self, patience: float) -> None:
        """Have it made where it is old or out of date, and wait for that unless it is fair."""
        current = self._stamp() == self._stamped
        age = time.monotonic() - self._made if current else float("inf")
        if age >= self._seconds:
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._anew())
            await asyncio.wait([self._task], timeout=0 if age < FAIR else patience)

    async def _anew(self) -> None:
        began, stamped = datetime.now(UTC), self._stamp()
        try:
            self._value = await asyncio.to_thread(self._make)
        except Exception as error:  # a page that went on without it is told by its next look
            self._value = error
        self.at, self._stamped, self._made = began, stamped, time.monotonic()
