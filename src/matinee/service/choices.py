"""What surfaces chose for members of late, for those whose rules look at it: caps, say."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

import msgspec
import polars as pl

from matinee.decisions.chosen import CHOSEN, choices, choices_of
from matinee.lake.lake import Lake
from matinee.lake.records import MICRO, Decision, micros
from matinee.lake.rows import decode_record
from matinee.lake.table import collect
from matinee.ready import ready
from matinee.surfaces import Choice, Surface

SWEEP_SECONDS = 3_600.0
"""How often what is out of memory is let go of."""

_Whose = tuple[str, str, str | None]
_NONE: Mapping[str, tuple[Choice, ...]] = MappingProxyType({})


@ready
class _Made(msgspec.Struct):
    """Where it was decided."""

    surface: str


class Choices:
    """The choices of every surface with a `memory`, in memory and kept fresh while it serves.

    `load` reads them from the lake, `note` takes in a decision, at once or again, `follow` those of
    other processes. Thread-safe. Without such a surface it does nothing.
    """

    def __init__(self, lake: Lake, surfaces: Mapping[str, Surface]) -> None:
        self._lake = lake
        self._memory = {
            name: surface.memory // MICRO for name, surface in surfaces.items() if surface.memory
        }
        self._lock = threading.Lock()
        self._swept = time.monotonic()
        self.load()

    def load(self) -> None:
        """Read everything anew, as after a bulk import or when a member was forgotten."""
        self._followed = self._lake.inbox.last_seq()
        found: dict[_Whose, dict[str, tuple[Choice, ...]]] = {}
        for surface, memory in self._memory.items():
            since = datetime.now(UTC) - timedelta(microseconds=memory)
            mine = (pl.col("surface") == surface) & (pl.col("at") > since)
            columns = "member_id", pl.col("at").dt.epoch("us"), *CHOSEN
            rows = self._lake.scan("decisions").filter(mine).select(columns)
            ordered = collect(rows.sort("member_id", "at", "decision_id"), "decisions")
            for member, at, *chosen in ordered.iter_rows():
                decision_id, subject = chosen[:2]
                whose = (surface, member, subject)
                found.setdefault(whose, {})[decision_id] = choices(at, chosen)
        with self._lock:
            self._chosen = found

    def recent(self, surface: str, member_id: str, at: int) -> tuple[Choice, ...]:
        """What was chosen within the surface's memory before `at` (microseconds), oldest first."""
        return self._recent([(surface, member_id, None)], at)[0]

    def recent_of(
        self, surface: str, member_id: str, subjects: Sequence[str], at: int
    ) -> list[tuple[Choice, ...]]:
        """The same for each of these subjects, where the surface's unit is one."""
        return self._recent([(surface, member_id, subject) for subject in subjects], at)

    def _recent(self, whose: Sequence[_Whose], at: int) -> list[tuple[Choice, ...]]:
        since = at - self._memory.get(whose[0][0], 0) if whose else 0
        with self._lock:
            found = [tuple(self._chosen.get(each, _NONE).values()) for each in whose]
        return [_between(decisions, since, at) if decisions else () for decisions in found]

    def note(self, decision: Decision) -> None:
        """Take in a durable decision. The same again changes nothing."""
        if decision.surface not in self._memory:
            return
        at = micros(decision.at)
        whose = (decision.surface, decision.member_id, decision.subject)
        chosen = choices_of(decision)
        since = at - self._memory[decision.surface]
        with self._lock:
            before = self._chosen.get(whose, _NONE).items()
            kept = {name: one for name, one in before if one and one[0].at > since}
            kept[decision.decision_id] = chosen
            self._chosen[whose] = kept

    def follow(self) -> None:
        """Take in what other processes have decided since the last call."""
        if not self._memory:
            return
        if time.monotonic() - self._swept > SWEEP_SECONDS:
            self._sweep()
        inbox, after = self._lake.inbox, self._followed
        until = inbox.last_seq()
        made = inbox.fields("decisions", _Made, after=after, until=until)
        if any(one.surface in self._memory for one in made):
            for row in inbox.rows("decisions", after=after, until=until):
                if row.values["surface"] in self._memory:
                    self.note(decode_record(Decision, row.values))
        self._followed = until

    def _sweep(self) -> None:
        """Let go of what is out of memory."""
        now, self._swept = micros(datetime.now(UTC)), time.monotonic()
        since = {surface: now - memory for surface, memory in self._memory.items()}
        with self._lock:
            self._chosen = {
                whose: decisions
                for whose, decisions in self._chosen.items()
                if any(one and one[-1].at > since[whose[0]] for one in decisions.values())
            }


def _between(decisions: Sequence[tuple[Choice, ...]], since: int, at: int) -> tuple[Choice, ...]:
    """The choices made in ``since < at <= at``, oldest first."""
    if len(decisions) == 1 and len(decisions[0]) == 1:  # as most are that stand
        return decisions[0] if since < decisions[0][0].at <= at else ()
    choices = [one for chosen in decisions for one in chosen if since < one.at <= at]
    return tuple(sorted(choices, key=lambda choice: choice.at))
