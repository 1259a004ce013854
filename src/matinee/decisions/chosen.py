"""Decisions as the choices that surfaces remember."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matinee.lake.records import Decision, micros
from matinee.surfaces import Choice

CHOSEN = "decision_id", "subject", "policy", "actions", "propensities"
"""The columns of a decision that `choices` takes, after its time."""


class NoChoices:
    """Nobody was chosen anything for, ever: for what asks what would be drawn then."""

    def recent(self, surface: str, member_id: str, at: int) -> tuple[Choice, ...]:
        """None."""
        return ()

    def recent_of(
        self, surface: str, member_id: str, subjects: Sequence[str], at: int
    ) -> list[tuple[Choice, ...]]:
        """None for each of them."""
        return [()] * len(subjects)

    def note(self, decision: Decision) -> None:
        """It is forgotten at once."""


def choices_of(decision: Decision) -> tuple[Choice, ...]:
    """What a decision chose, in order of slot; where it stands for a subject, all about it."""
    return choices(micros(decision.at), [getattr(decision, name) for name in CHOSEN])


def choices(at: int, chosen: Sequence[Any]) -> tuple[Choice, ...]:
    """The same from its time in microseconds since 1970 and the columns `CHOSEN`."""
    decision_id, subject, policy, actions, propensities = chosen
    if subject is None:
        return tuple(Choice(at, action) for action in actions)
    return tuple(
        Choice(at, action, subject, decision_id, policy, propensity)
        for action, propensity in zip(actions, propensities, strict=True)
    )
