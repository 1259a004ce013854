"""What a decider needs from outside: histories to read, and a log to write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from matinee.lake.inbox import Receipt
from matinee.lake.records import Decision
from matinee.surfaces import Choice, History


class HistorySource(Protocol):
    """Where the histories of members come from; called for every decision, so it answers fast."""

    def history(self, member_id: str) -> History:
        """What the member met and watched, as far as is known now; empty for one unknown."""

    def generation(self, member_id: str) -> int:
        """The generation of that history, without making it."""


class ChoiceSource(Protocol):
    """Where a surface's own choices for members come from, if it has a `memory`."""

    def recent(self, surface: str, member_id: str, at: int) -> tuple[Choice, ...]:
        """What was chosen within the surface's memory before `at` (microseconds), oldest first."""

    def recent_of(
        self, surface: str, member_id: str, subjects: Sequence[str], at: int
    ) -> list[tuple[Choice, ...]]:
        """The same for each of these subjects, where the surface's unit is one."""

    def note(self, decision: Decision) -> None:
        """Take in a durable decision. The same again changes nothing."""


class DecisionLog(Protocol):
    """Where records become durable. The lake is one."""

    def put(self, records: Sequence[msgspec.Struct]) -> list[Receipt]:
        """Write records, together or not at all, and say for each which one stands.

        They are durable on return. A decision whose (member_id, decision_id) was there before is
        not written again: its receipt says `duplicate` and holds the first one.
        """
