"""Experiments and holdouts on record: what is compared with the champion, and who had it so."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

import msgspec
from msgspec.structs import replace

from matinee.errors import MatineeError
from matinee.experiments.plan import CHAMPION, Arm, Experiment, Holdout, Layer, Plan
from matinee.lake.cards import masked
from matinee.lake.records import from_micros
from matinee.registry.changes import alias_of, crown, now
from matinee.registry.registry import Registry
from matinee.store import Schema, append_only

Action = Literal["start", "halt", "resume", "widen", "end", "read", "win", "hold", "release"]
Kind = Literal["experiment", "holdout"]
Outcome = Literal["better", "worse", "open", "broken"]
"""What a reading says of a treatment: `broken` is an experiment that was not run as planned."""
One = TypeVar("One", Experiment, Holdout)

CONTROL, TREATMENT = "control", "treatment"
NOTHING: Mapping[str, Any] = {}

SCHEMA = Schema(
    "trials",
    (
        """
        CREATE TABLE trials_history (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            kind TEXT NOT NULL CHECK (kind IN ('experiment', 'holdout')),
            name TEXT NOT NULL,
            at INTEGER NOT NULL,
            by TEXT NOT NULL,
            action TEXT NOT NULL CHECK (action IN
                ('start', 'halt', 'resume', 'widen', 'end', 'read', 'win', 'hold', 'release')),
            body TEXT NOT NULL,
            reason TEXT NOT NULL
        ) STRICT;
        CREATE INDEX trials_history_by_name ON trials_history (kind, name, id);
        """
        + append_only("trials_history"),
    ),
)


@dataclass(frozen=True)
class Step:
    """One line of the history: who did what with an experiment or a holdout, when, and why.

    `body` is what it was from then on; of a reading what was read.
    """

    kind: Kind
    name: str
    at: datetime
    by: str
    action: Action
    body: Any
    reason: str


class Trials:
    """The experiments and holdouts of a service. Each change is one transaction, is checked against
    all others (`Plan`), names who made it, and stays in a history that nobody can change.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry, self._store = registry, registry.store
        self._store.migrate(SCHEMA)

    def plan(self) -> Plan:
        """What runs, is halted or is to come, and what is held."""
        return _plan(self._standing(Experiment), self._standing(Holdout))

    def all(self) -> list[Experiment]:
        """Every experiment that was ever started, the oldest first."""
        return list(self._standing(Experiment).values())

    def get(self, name: str) -> Experiment:
        """An experiment by name; `MatineeError` where there is none."""
        found = self._standing(Experiment).get(name)
        if found is None:
            raise MatineeError(
                f"there is no experiment {name!r}", next_step="matinee experiments list"
            )
        return found

    def start(self, experiment: Experiment, by: str, reason: str) -> Experiment:
        """Let an experiment run, and return it as it stands on record: an arm that serves the
        champion keeps the version that is champion now, whoever follows it.

        Raises `MatineeError` where its first arm, the control, serves something else than the
        champion; where its name was used before or has a colon, which parts it from the arm in
        records; where a version is unknown; or where it collides with another.
        """
        champion = self._registry.alias(experiment.surface, "champion")
        if champion is None:
            raise MatineeError(
                f"{experiment.surface} has no champion to compare with",
                next_step=f"matinee promote {experiment.surface}@1",
            )
        arms = tuple(
            replace(arm, serves=champion.id) if arm.serves == CHAMPION else arm
            for arm in experiment.arms
        )
        one = replace(experiment, arms=arms)
        if one.arms[0].serves != champion.id:
            raise MatineeError(
                f"the first arm of {one.name!r} is not the control",
                why=f"it serves {one.arms[0].serves}, and {champion.id} is the champion",
                next_step='let the first arm serve "champion"',
            )
        for arm in one.arms:
            self._registry.number(one.surface, arm.serves)
        with self._store.transaction() as connection:
            if one.name in self._standing(Experiment):
                raise MatineeError(
                    f"there was an experiment {one.name!r} before",
                    why="its members would be in the same arms again",
                    next_step="give this one a new name",
                )
            self._keep(connection, "start", one, by=by, reason=reason)
        return one

    def halt(self, name: str, by: str, reason: str) -> None:
        """Give all of its members the champion from now on: the kill switch."""
        if not reason.strip():
            raise MatineeError("say why it is halted", next_step="give a reason")
        self._change(name, "halt", by, reason, lambda one: {"halted": masked(reason)})

    def resume(self, name: str, by: str, reason: str, *, halted: str | None = None) -> None:
        """Give its members their arms again.

        Raises `MatineeError` for one that is not halted, and where `halted` is given and it is
        halted for another reason by now: white space does not count, which forms change.
        """

        def going(one: Experiment) -> dict[str, Any]:
            if one.halted is None:
                raise MatineeError(
                    f"{name!r} is not halted", next_step="nothing: its members have their arms"
                )
            if halted is not None and halted.split() != one.halted.split():
                raise MatineeError(
                    f"{name!r} is halted for another reason by now",
                    why=one.halted,
                    next_step="look at it again",
                )
            return {"halted": None}

        self._change(name, "resume", by, reason, going)

    def widen(self, name: str, to: tuple[float, float], by: str, reason: str) -> None:
        """Give it a larger slice of its layer; who was in it stays, in the same arm."""

        def wider(one: Experiment) -> dict[str, Any]:
            begins, ends = one.slice
            if not (to[0] <= begins and ends <= to[1]):
                raise MatineeError(
                    f"the slice of {name!r} only grows",
                    why=f"it is [{begins:g}, {ends:g}), and who is in it would fall out",
                    next_step="give a slice that holds it, or end the experiment",
                )
            return {"slice": to}

        self._change(name, "widen", by, reason, wider)

    def end(self, name: str, by: str, reason: str) -> None:
        """End it now: its members get the champion, and its slice is free for another."""
        self._change(name, "end", by, reason, lambda one: {"end": datetime.now(UTC)})

    def read(
        self,
        name: str,
        outcome: Outcome,
        by: str,
        *,
        champion: str,
        reasons: Sequence[str],
        more: Mapping[str, Any] = NOTHING,
    ) -> None:
        """Put on record what was read of it: the outcome, against which champion, why, and `more`,
        which JSON can say.
        """
        self.get(name)
        told = {**more, "champion": champion, "reasons": list(reasons)}
        body = msgspec.json.encode(told).decode()
        with self._store.transaction() as connection:
            _remember(
                connection, "experiment", name, by=by, action="read", body=body, reason=outcome
            )

    def win(self, name: str, by: str, reason: str) -> str:
        """Make the version of its second arm the champion, and end it; that version.

        Raises `MatineeError` unless its latest reading says that it is better than the first arm,
        which has to be the champion still, and while it is halted.
        """
        with self._store.transaction() as connection:
            one = self.get(name)
            self._check_better(one)
            version = one.arms[1].serves
            number = self._registry.number(one.surface, version)
            old = alias_of(self._store, one.surface, "champion")
            why = f"it won the experiment {name}: {reason}"
            crown(connection, one.surface, by=by, action="approve", old=old, new=number, reason=why)
            ended = replace(one, end=min(datetime.now(UTC), one.until))
            self._keep(connection, "win", ended, by=by, reason=reason)
        return version

    def hold(self, holdout: Holdout, by: str, reason: str) -> None:
        """Keep a share of members out of all experiments for good; one of its name may grow."""
        if "@" in holdout.serves:
            self._registry.get(holdout.serves)
        with self._store.transaction() as connection:
            before = self._standing(Holdout).get(holdout.name)
            if before and replace(before, share=holdout.share) != holdout:
                raise self._kept(holdout, "its surface, and what it serves, stay as they are")
            if before and before.share > holdout.share:
                raise self._kept(holdout, "its share only grows")
            self._keep(connection, "hold", holdout, by=by, reason=reason)

    def _kept(self, holdout: Holdout, why: str) -> MatineeError:
        return MatineeError(
            f"the holdout {holdout.name!r} keeps its members",
            why=why,
            next_step="release it, and hold another of a new name",
        )

    def release(self, name: str, by: str, reason: str) -> None:
        """Let the members of a holdout go."""
        with self._store.transaction() as connection:
            if name not in self._standing(Holdout):
                raise MatineeError(
                    f"there is no holdout {name!r}", next_step="matinee experiments list"
                )
            _remember(
                connection, "holdout", name, by=by, action="release", body="null", reason=reason
            )

    def history(self, name: str | None = None, *, readings: bool = True) -> list[Step]:
        """Every step, or those of one experiment or holdout; oldest first. Without `readings` only
        what changed something.
        """
        rows = self._store.rows(
            "SELECT * FROM trials_history WHERE (?1 IS NULL OR name = ?1)"
            " AND (?2 OR action != 'read') ORDER BY id",
            (name, readings),
        )
        return [_step(row) for row in rows]

    def latest(self, name: str) -> Step | None:
        """The latest reading of an experiment."""
        rows = self._store.rows(
            "SELECT * FROM trials_history WHERE kind = 'experiment' AND name = ?"
            " AND action = 'read' ORDER BY id DESC LIMIT 1",
            (name,),
        )
        return _step(rows[0]) if rows else None

    def won(self) -> list[Step]:
        """The latest readings of experiments that wait for somebody who lets their version win."""
        found = (self.latest(one.name) for one in self.all() if self._lacks(one) is None)
        return [step for step in found if step is not None]

    def generation(self) -> int:
        """An integer that grows with every change; cheap enough to ask many times a second."""
        (row,) = self._store.rows(
            "SELECT coalesce(max(id), 0) AS id FROM trials_history WHERE action != 'read'"
        )
        return int(row["id"])

    def _change(
        self,
        name: str,
        action: Action,
        by: str,
        reason: str,
        changed: Callable[[Experiment], dict[str, Any]],
    ) -> None:
        """Change one that is not over."""
        with self._store.transaction() as connection:
            one = self.get(name)
            if datetime.now(UTC) >= one.until:
                raise MatineeError(
                    f"the experiment {name!r} is over",
                    why=f"it ended {one.end:%Y-%m-%d %H:%M} UTC",
                    next_step="start another of a new name",
                )
            try:
                new = replace(one, **changed(one))
            except ValueError as wrong:
                raise MatineeError(
                    f"{name!r} cannot be changed so", why=str(wrong), next_step="mend it"
                ) from wrong
            self._keep(connection, action, new, by=by, reason=reason)

    def _keep(
        self,
        connection: sqlite3.Connection,
        action: Action,
        one: Experiment | Holdout,
        *,
        by: str,
        reason: str,
    ) -> None:
        """Remember what one is now, if all still goes together."""
        experiments, holdouts = self._standing(Experiment), self._standing(Holdout)
        kind: Kind
        if isinstance(one, Experiment):
            kind, experiments = "experiment", {**experiments, one.name: one}
        else:
            kind, holdouts = "holdout", {**holdouts, one.name: one}
        body = msgspec.json.encode(one).decode()
        if ":" in one.name:
            raise MatineeError(
                f"{one.name!r} cannot be a name",
                why="a colon parts an experiment from its arm in records",
                next_step="leave the colon out",
            )
        try:
            msgspec.json.decode(body, type=type(one))  # what could not be read again is not kept
            _plan(experiments, holdouts)
        except ValueError as wrong:
            raise MatineeError(
                f"{one.name[:100]!r} does not go together with what runs",
                why=str(wrong),
                next_step="change it, or end the other",
            ) from wrong
        _remember(connection, kind, one.name, by=by, action=action, body=body, reason=reason)

    def _standing(self, kind: type[One]) -> dict[str, One]:
        """What stands of a kind, by name, in order of when it was begun."""
        rows = self._store.rows(
            "SELECT name, body, min(id) OVER (PARTITION BY name) AS first,"
            " row_number() OVER (PARTITION BY name ORDER BY id DESC) AS back"
            " FROM trials_history WHERE kind = ? AND action != 'read' ORDER BY first",
            (_KINDS[kind],),
        )
        return {
            row["name"]: msgspec.json.decode(row["body"], type=kind)
            for row in rows
            if row["back"] == 1 and row["body"] != "null"
        }

    def _check_better(self, one: Experiment) -> None:
        why = self._lacks(one)
        if why is not None:
            raise MatineeError(
                f"{one.name!r} has won nothing yet",
                why=why,
                next_step=f"matinee experiments read {one.name}",
            )

    def _lacks(self, one: Experiment) -> str | None:
        """What an experiment lacks to be won; `None` where it is."""
        found, champion = self.latest(one.name), self._registry.alias(one.surface, "champion")
        control = one.arms[0].serves
        why = None
        if len(one.arms) != 2:
            why = "it does not compare one version with the champion"
        elif one.halted:
            why = f"it is halted: {one.halted}"
        elif found is None:
            why = "it was never read"
        elif found.reason != "better":
            why = f"its latest reading says: {found.reason}"
        elif champion is None or champion.id != control or found.body["champion"] != control:
            now = champion.id if champion else "nobody"
            why = f"it compares with {control}, and the champion is {now}"
        elif any(step.action in {"end", "win"} for step in self.history(one.name)):
            why = "it was ended"
        return why


def against_champion(
    name: str,
    surface: str,
    version: str,
    *,
    share: float = 0.5,
    to: tuple[float, float] = (0.0, 1.0),
    start: datetime | None = None,
) -> Experiment:
    """The usual experiment: a version for a `share` of the members in the slice `to` of the layer
    that is called as the surface, the champion for the others; from now on by default.

    >>> one = against_champion("fresh", "titles", "titles@4", share=0.1)
    >>> [(arm.name, arm.share, arm.serves) for arm in one.arms]
    [('control', 0.9, 'champion'), ('treatment', 0.1, 'titles@4')]
    """
    return Experiment(
        name=name,
        surface=surface,
        layer=surface,
        slice=to,
        start=start or datetime.now(UTC),
        arms=(
            Arm(name=CONTROL, share=1 - share, serves=CHAMPION),
            Arm(name=TREATMENT, share=share, serves=version),
        ),
    )


_KINDS: dict[type[Any], Kind] = {Experiment: "experiment", Holdout: "holdout"}


def _plan(experiments: dict[str, Experiment], holdouts: dict[str, Holdout]) -> Plan:
    """The plan of what is not over: a slice that was free by then may have been taken since."""
    now = datetime.now(UTC)
    current = [one for one in experiments.values() if now < one.until]
    return Plan(
        experiments=tuple(current),
        layers=tuple(Layer(name=name) for name in dict.fromkeys(one.layer for one in current)),
        holdouts=tuple(holdouts.values()),
    )


def _remember(
    connection: sqlite3.Connection,
    kind: Kind,
    name: str,
    *,
    by: str,
    action: Action,
    body: str,
    reason: str,
) -> None:
    connection.execute(
        "INSERT INTO trials_history (kind, name, at, by, action, body, reason)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (kind, name, now(), by, action, body, masked(reason)),
    )


def _step(row: sqlite3.Row) -> Step:
    return Step(
        row["kind"],
        row["name"],
        from_micros(row["at"]),
        row["by"],
        row["action"],
        msgspec.json.decode(row["body"]),
        row["reason"],
    )
