"""What takes long to read from the log, kept for a while."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Generic, TypeVar

Value = TypeVar("Value")
PATIENCE = 2.0
"""Seconds that a page waits for what is read from the log before it goes on without."""
LOOK_AGAIN = 3
"""Seconds after which a page that went on without looks again."""


class Kept(Generic[Value]):
    """A value that is made in a thread and kept for `seconds`; then the next one who asks has it
    made anew. What stood before is given as long as that takes.
    """

    def __init__(self, make: Callable[[], Value], seconds: float = 60.0) -> None:
        self._make, self._seconds = make, seconds
        self._until = 0.0
        self._value: Value | None = None
        self._task: asyncio.Task[None] | None = None
        self.at: datetime | None = None
        """When the value was begun to be made."""

    async def get(self, patience: float) -> Value | None:
        """The value, an older one where making it takes longer than `patience` seconds, `None`
        where there is none yet. Raises what making it raises.
        """
        if time.monotonic() < self._until:
            return self._value
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._anew())
        done, _ = await asyncio.wait([self._task], timeout=patience)
        for task in done:
            task.result()
        return self._value

    async def _anew(self) -> None:
        began = datetime.now(UTC)
        self._value = await asyncio.to_thread(self._make)
        self.at, self._until = began, time.monotonic() + self._seconds
