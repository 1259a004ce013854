"""Verdicts of the gate, and the people who act on them: nothing here is ever changed or deleted."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import msgspec

from matinee.errors import MatineeError
from matinee.evaluation.gate import Outcome, Verdict
from matinee.lake.records import from_micros
from matinee.registry.changes import alias_of, crown, now, remember
from matinee.registry.registry import Registry


@dataclass(frozen=True)
class Judged:
    """A verdict on record: which version, against which champion, in which turn, and what was said.

    `turn` counts the judgements that spend the champion's budget of error, from 1. `evidence` is
    the rest of the verdict: what to do next, support, and the estimate, if there is one.
    """

    id: int
    surface: str
    candidate: str
    champion: str
    at: datetime
    by: str
    turn: int
    outcome: Outcome
    alpha: float
    evidence: dict[str, Any]
    reasons: tuple[str, ...]


class Approvals:
    """Who may become champion: verdicts are recorded, people approve or override.

    Each is one transaction; of two people who approve at once, one is told that the other did.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry, self._store = registry, registry.store

    def turn(self, surface: str, candidate: str, *, anytime: bool) -> int:
        """In which turn a version would be judged now, for ``matinee.evaluation.budget.spent``.

        Turns are counted for each champion: those after it are judged on its own decisions, which
        are others than those of any champion before. A verdict of insufficient support takes none,
        for it says nothing of rewards. Neither does judging a version again, if its interval is
        `anytime` valid.
        """
        number = self._registry.number(surface, candidate)
        return self._turn(surface, number, self._champion(surface, number), anytime=anytime)

    def record_verdict(
        self,
        surface: str,
        candidate: str,
        verdict: Verdict,
        *,
        champion: str,
        turn: int,
        anytime: bool,
        by: str,
    ) -> Judged:
        """Put a verdict against `champion`, such as titles@2, on record.

        Raises `MatineeError` where that is not the champion now, or another judgement took the
        `turn` meanwhile: its share of the budget would be spent twice.
        """
        number = self._registry.number(surface, candidate)
        kept = asdict(verdict)
        outcome, alpha, reasons = (kept.pop(name) for name in ("outcome", "alpha", "reasons"))
        described = (_json(kept), _json(reasons))
        with self._store.transaction() as connection:
            old = self._champion(surface, number)
            if number == old:
                raise MatineeError(f"{candidate} is the champion: there is nothing to judge")
            if champion != f"{surface}@{old}":
                why = f"it was judged against {champion}, and {surface}@{old} is the champion now"
                raise _void(surface, candidate, why)
            if turn != self._turn(surface, number, old, anytime=anytime):
                raise _void(surface, candidate, "another judgement took its turn meanwhile")
            line = remember(
                connection, surface, by=by, action="judge", old=old, new=number, reason=outcome
            )
            connection.execute(
                "INSERT INTO registry_verdicts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (line, surface, number, old, now(), by, turn, outcome, alpha, *described),
            )
        (row,) = self._store.rows("SELECT * FROM registry_verdicts WHERE id = ?", (line,))
        return _judged(row)

    def verdicts(self, surface: str) -> list[Judged]:
        """Every verdict on a surface, oldest first."""
        return [
            _judged(row)
            for row in self._store.rows(
                "SELECT * FROM registry_verdicts WHERE surface = ? ORDER BY id", (surface,)
            )
        ]

    def passed(self, surface: str) -> list[Judged]:
        """The passes that wait for somebody who approves, the oldest first; none without a
        champion.
        """
        champion = alias_of(self._store, surface, "champion")
        latest = {one.candidate: one for one in self.verdicts(surface)}
        return [
            one
            for version, one in latest.items()
            if champion is not None
            and self._lacks(surface, self._registry.number(surface, version), champion) is None
        ]

    def approve(self, surface: str, version: str, by: str, reason: str) -> None:
        """Make a version the champion whose latest verdict against the present one is a pass.

        A pass is good for one approval: after a roll-back the version is judged again. Raises
        `MatineeError` where there is no such pass.
        """
        number = self._registry.number(surface, version)
        with self._store.transaction() as connection:
            champion = self._champion(surface, number)
            if champion != number:
                self._check_passed(surface, number, champion)
            crown(
                connection,
                surface,
                by=by,
                action="approve",
                old=champion,
                new=number,
                reason=reason,
            )

    def override(self, surface: str, version: str, by: str, reason: str) -> None:
        """Make a version the champion without a pass. The reason, which must be given, stands."""
        if not reason.strip():
            raise MatineeError(
                "an override needs a reason",
                why="it stands in the history in the place of a proof",
                next_step=f"matinee override {version} --reason '...'",
            )
        number = self._registry.number(surface, version)
        with self._store.transaction() as connection:
            old = alias_of(self._store, surface, "champion")
            crown(connection, surface, by=by, action="override", old=old, new=number, reason=reason)

    def _champion(self, surface: str, number: int) -> int:
        champion = alias_of(self._store, surface, "champion")
        if champion is None:
            raise MatineeError(
                f"{surface} has no champion to be judged against",
                next_step=f"matinee promote {surface}@{number}",
            )
        return champion

    def _turn(self, surface: str, number: int, champion: int, *, anytime: bool) -> int:
        (row,) = self._store.rows(
            "SELECT coalesce(max(turn), 0) + 1 AS next, max(turn) FILTER (WHERE number = ?) AS own"
            " FROM registry_verdicts"
            " WHERE surface = ? AND champion = ? AND outcome != 'insufficient support'",
            (number, surface, champion),
        )
        return int(row["own"] if anytime and row["own"] else row["next"])

    def _check_passed(self, surface: str, number: int, champion: int) -> None:
        why = self._lacks(surface, number, champion)
        if why is not None:
            version = f"{surface}@{number}"
            raise MatineeError(
                f"{version} cannot be approved",
                why=why,
                next_step=f"matinee evaluate {surface} --candidate {version}",
            )

    def _lacks(self, surface: str, number: int, champion: int) -> str | None:
        """What a version lacks to follow the champion; `None` where it may."""
        found = self._store.rows(
            "SELECT id, outcome FROM registry_verdicts"
            " WHERE surface = ? AND number = ? AND champion = ? ORDER BY id DESC LIMIT 1",
            (surface, number, champion),
        )
        if not found:
            return f"it was not judged against {surface}@{champion}, the champion now"
        if found[0]["outcome"] != "passes":
            return f"the latest verdict is: {found[0]['outcome']}"
        if self._store.rows(
            "SELECT 1 FROM registry_history"
            " WHERE surface = ? AND new = ? AND action = 'approve' AND id > ?",
            (surface, number, found[0]["id"]),
        ):
            return "its pass was used: it has been champion since, and was rolled back"
        return None


def _void(surface: str, candidate: str, why: str) -> MatineeError:
    return MatineeError(
        f"the verdict on {candidate} does not count",
        why=why,
        next_step=f"matinee evaluate {surface} --candidate {candidate}",
    )


def _judged(row: sqlite3.Row) -> Judged:
    surface = row["surface"]
    return Judged(
        row["id"],
        surface,
        f"{surface}@{row['number']}",
        f"{surface}@{row['champion']}",
        from_micros(row["at"]),
        row["by"],
        row["turn"],
        row["outcome"],
        row["alpha"],
        json.loads(row["evidence"]),
        tuple(json.loads(row["reasons"])),
    )


def _json(value: Any) -> str:
    """Strict JSON: what is not finite becomes null."""
    return msgspec.json.encode(value).decode()
