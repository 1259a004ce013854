"""The registry: versions in a folder, their rows, aliases and history in the store."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import matinee
from matinee import models, policies
from matinee.errors import MatineeError
from matinee.lake.records import from_micros, micros
from matinee.models import Model
from matinee.policies import Policy
from matinee.registry import files
from matinee.registry.changes import Alias, Change, alias_of, crown, now, point, reigns_of, remember
from matinee.registry.tables import SCHEMA
from matinee.registry.version import Version, check_surface, parse_version
from matinee.store import Store


class Registry:
    """Versions of models and policies, one numbered line per surface.

    Files lie in ``folder/<surface>/<number>/`` and never change once their row stands. Every
    change is one transaction: of two processes that act at once, one does so after the other.
    """

    def __init__(self, store: Store, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.store = store
        store.migrate(SCHEMA)

    def register(
        self,
        surface: str,
        model: Model,
        policy: Policy,
        *,
        data_as_of: datetime,
        settings: Mapping[str, Any],
        metrics: Mapping[str, Any],
        by: str,
        parent: str | None = None,
    ) -> Version:
        """Save a fitted model with its policy as the next version of `surface`.

        The files are whole and on disk before the row is; a crash leaves no version without them.
        Raises `MatineeError` where the model or policy could not be loaded again by its name, the
        policy needs what the model has not, or `parent` is not a version of `surface`.
        """
        check_surface(surface)
        _check_known(model, models.MODELS, "matinee.models.MODELS")
        _check_known(policy, policies.POLICIES, "matinee.policies.POLICIES")
        check_together(surface, model, policy)
        if parent is not None and self.get(parent).surface != surface:
            raise MatineeError(f"{parent} cannot be the parent", why=f"it is not of {surface}")
        described = (json.dumps(dict(settings)), json.dumps(dict(metrics)))
        home = self.folder / surface
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=home) as temporary:
            staged = Path(temporary) / "version"
            files.write(staged, model, policy)
            with self.store.transaction() as connection:
                number = self._next_number(surface, home)
                files.move(staged, home / str(number))
                connection.execute(
                    "INSERT INTO registry_versions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        surface,
                        number,
                        model.name,
                        policy.name,
                        micros(data_as_of),
                        matinee.__version__,
                        *described,
                        by,
                        now(),
                        parent and parse_version(parent)[1],
                    ),
                )
                remember(
                    connection, surface, by=by, action="register", old=None, new=number, reason=""
                )
        return self.get(f"{surface}@{number}")

    def get(self, version: str) -> Version:
        """What is known of a version such as ``titles@3``."""
        surface, number = parse_version(version)
        found = self.store.rows(
            "SELECT * FROM registry_versions WHERE surface = ? AND number = ?", (surface, number)
        )
        if not found:
            raise MatineeError(
                f"there is no version {version}", next_step=f"matinee versions {surface}"
            )
        return _version(found[0])

    def versions(self, surface: str) -> list[Version]:
        """The versions of a surface, oldest first."""
        return [
            _version(row)
            for row in self.store.rows(
                "SELECT * FROM registry_versions WHERE surface = ? ORDER BY number", (surface,)
            )
        ]

    def surfaces(self) -> list[str]:
        """The surfaces that have versions, by the alphabet."""
        rows = self.store.rows("SELECT DISTINCT surface FROM registry_versions ORDER BY surface")
        return [row["surface"] for row in rows]

    def alias(self, surface: str, alias: Alias) -> Version | None:
        """The champion or the challenger of a surface, `None` while there is none."""
        number = alias_of(self.store, surface, alias)
        return None if number is None else self.get(f"{surface}@{number}")

    def challenge(self, surface: str, version: str, by: str, reason: str) -> None:
        """Make a version the challenger: the one that waits to follow the champion."""
        number = self.number(surface, version)
        with self.store.transaction() as connection:
            old = alias_of(self.store, surface, "challenger")
            point(connection, surface, "challenger", number)
            remember(
                connection, surface, by=by, action="challenge", old=old, new=number, reason=reason
            )

    def promote(self, surface: str, version: str, by: str, reason: str) -> None:
        """Make a version the first champion of a surface.

        Raises `MatineeError` where there is a champion: only a version that passed the gate
        follows it (`Approvals.approve`), or an override (`Approvals.override`).
        """
        number = self.number(surface, version)
        with self.store.transaction() as connection:
            old = alias_of(self.store, surface, "champion")
            if old not in (None, number):
                raise MatineeError(
                    f"{version} cannot be promoted",
                    why=f"{surface}@{old} is the champion: it is followed by a version that passed"
                    f" the gate against it (then matinee approve {version}), or by an override"
                    f" (matinee override {version} --reason '...')",
                    next_step=f"matinee evaluate {surface} --candidate {version}",
                )
            crown(connection, surface, by=by, action="promote", old=old, new=number, reason=reason)

    def roll_back(
        self, surface: str, by: str, reason: str, *, champion: str | None = None
    ) -> Version:
        """Make the champion before this one the champion again, and return it.

        Raises `MatineeError` where `champion` is given and is the champion no more: somebody else
        was quicker.
        """
        with self.store.transaction() as connection:
            now = alias_of(self.store, surface, "champion")
            if champion is not None and champion != f"{surface}@{now}":
                raise MatineeError(
                    f"{champion} is not the champion any more",
                    why=f"{surface}@{now} is: somebody was quicker",
                    next_step=f"look at {surface} again",
                )
            reigns = reigns_of(self.store, surface)
            if len(reigns) < 2:
                raise MatineeError(
                    f"{surface} cannot be rolled back",
                    why="there was no champion before this one",
                    next_step=f"matinee versions {surface}",
                )
            old, number = reigns[-1], reigns[-2]
            point(connection, surface, "champion", number)
            remember(
                connection, surface, by=by, action="roll_back", old=old, new=number, reason=reason
            )
        return self.get(f"{surface}@{number}")

    def history(self, surface: str) -> list[Change]:
        """Every change on a surface, oldest first."""
        return [
            Change(
                surface,
                from_micros(row["at"]),
                row["by"],
                row["action"],
                None if row["old"] is None else f"{surface}@{row['old']}",
                f"{surface}@{row['new']}",
                row["reason"],
            )
            for row in self.store.rows(
                "SELECT * FROM registry_history WHERE surface = ? ORDER BY id", (surface,)
            )
        ]

    def generation(self) -> int:
        """An integer that grows with every change; cheap enough to ask many times a second."""
        (row,) = self.store.rows("SELECT coalesce(max(id), 0) AS id FROM registry_history")
        return int(row["id"])

    def load(self, version: str) -> tuple[Model, Policy]:
        """The fitted model and the policy of a version."""
        known = self.get(version)
        folder = self.folder / known.surface / str(known.number)
        try:
            model = models.load_model(folder / files.MODEL_FILE)
            return model, files.read_policy(folder)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise MatineeError(
                f"{version} cannot be loaded",
                why=str(error),
                next_step=f"restore {folder} from a copy, or roll back",
            ) from error

    def number(self, surface: str, version: str) -> int:
        """The number of a version that must be of `surface`."""
        known = self.get(version)
        if known.surface != surface:
            raise MatineeError(f"{version} is not a version of {surface}")
        return known.number

    def _next_number(self, surface: str, home: Path) -> int:
        """One more than any row or folder has: a crash may have left a folder without a row."""
        (row,) = self.store.rows(
            "SELECT max(number) AS number FROM registry_versions WHERE surface = ?", (surface,)
        )
        return 1 + max(row["number"] or 0, *files.numbers(home), 0)


def check_together(surface: str, model: Model, policy: Policy) -> None:
    """Raise `MatineeError` where a policy needs what a model has not."""
    if policy.draws and not model.has_posterior():
        raise MatineeError(
            f"{policy.name} cannot choose by {model.name}",
            why="it looks at draws from a posterior, and the model has none",
            next_step=f"matinee train {surface} --model linear",
        )


def _check_known(
    thing: Model | Policy, known: Mapping[str, type[Model]] | Mapping[str, type[Policy]], table: str
) -> None:
    kind = type(thing).__name__
    if known.get(thing.name) is not type(thing):
        raise MatineeError(
            f"a {kind} could not be loaded again",
            why=f"no class, or another one, has the name {thing.name!r}",
            next_step=f"{table}[{kind}.name] = {kind}",
        )


def _version(row: sqlite3.Row) -> Version:
    surface, parent = row["surface"], row["parent"]
    return Version(
        surface,
        row["number"],
        row["model"],
        row["policy"],
        from_micros(row["data_as_of"]),
        row["code"],
        json.loads(row["settings"]),
        json.loads(row["metrics"]),
        row["by"],
        from_micros(row["registered_at"]),
        None if parent is None else f"{surface}@{parent}",
    )
