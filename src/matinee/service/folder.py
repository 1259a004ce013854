"""A service folder: `matinee.toml` and the lake beside it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from matinee.errors import MatineeError
from matinee.lake.importers import Columns, Importer, recognise
from matinee.lake.importers.columns import nearest
from matinee.lake.lake import Lake
from matinee.models import Model
from matinee.payments.ledger import Ledger
from matinee.policies import InverseGap
from matinee.registry import People, Registry, Trials
from matinee.service.extensions import extend
from matinee.service.make import make_model, make_policy
from matinee.service.settings import Settings
from matinee.service.toml import FILE, NOTHING, read_settings, written
from matinee.service.visitors import Sessions
from matinee.store import Store
from matinee.surfaces import SURFACES, Artwork, Payments, Surface, Titles, check
from matinee.surfaces.artwork import bandit
from matinee.surfaces.payments import EXPLORE


class Service:
    """One streaming service on this machine. Its parts are opened when they are first used.

    >>> import tempfile
    >>> with Service.create(Path(tempfile.mkdtemp()) / "shows") as service:
    ...     service.name, service.lake.scan("events").collect().height
    ('shows', 0)
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def create(cls, folder: Path, changed: Mapping[str, Any] = NOTHING) -> Self:
        """Make `folder` a service with an empty lake and the default settings but for `changed`
        (``{"service.name": "Shows"}``).

        What the folder holds already is left alone. Raises `MatineeError` where it is a service
        or cannot be written.
        """
        folder = folder.resolve()
        if cls.stands_in(folder):
            raise MatineeError(
                f"{folder} is a service already",
                why=f"it has a {FILE}",
                next_step=f"matinee import SOURCE --service {folder}",
            )
        try:
            folder.mkdir(parents=True, exist_ok=True)
            buckets = changed.get("lake.buckets", Settings().lake.buckets)
            Lake.create(folder / "lake", buckets).close()
            (folder / FILE).write_text(written(changed), encoding="utf-8")
        except OSError as error:
            raise MatineeError(
                f"cannot make a service in {folder}",
                why=error.strerror or str(error),
                next_step="name a folder that you may write to",
            ) from error
        return cls(folder)

    @staticmethod
    def stands_in(folder: Path) -> bool:
        """Whether a folder is a service."""
        return (folder / FILE).is_file()

    @classmethod
    def open(cls, folder: Path | str) -> Self:
        """Open a folder that `create` made; raises `MatineeError` where it is no service."""
        folder = Path(folder).resolve()
        if not cls.stands_in(folder):
            raise MatineeError(
                f"{folder} is not a service folder",
                why=f"it has no {FILE}" if folder.is_dir() else "there is no such folder",
                next_step=f"matinee init {folder}, or name yours with --service DIR",
            )
        service = cls(folder)
        extend(folder, service.settings.service.extensions)
        return service

    @cached_property
    def settings(self) -> Settings:
        return read_settings(self.folder / FILE)

    @property
    def name(self) -> str:
        return self.settings.service.name or self.folder.name

    @property
    def simulated(self) -> bool:
        """Whether what happens here is made up, as in the demonstration."""
        return self.settings.service.simulated

    @cached_property
    def lake(self) -> Lake:
        """The lake, made anew with `lake.buckets` where it was moved away."""
        folder = self.folder / "lake"
        if folder.exists():
            return Lake.open(folder)
        return Lake.create(folder, self.settings.lake.buckets)

    @cached_property
    def store(self) -> Store:
        """The service's metadata: one SQLite file."""
        return Store(self.folder / "matinee.db")

    @cached_property
    def registry(self) -> Registry:
        return Registry(self.store, self.folder / "models")

    @cached_property
    def trials(self) -> Trials:
        """The experiments and holdouts."""
        return Trials(self.registry)

    @cached_property
    def people(self) -> People:
        """Who was let in to the server and the desk."""
        return People(self.store)

    @cached_property
    def sessions(self) -> Sessions:
        """What browsers are given to be known again."""
        return Sessions(self._secret("session-key"))

    @cached_property
    def ledger(self) -> Ledger:
        """What is due and what was tried; `follow` keeps it fresh."""
        return Ledger(self.lake)

    @cached_property
    def surfaces(self) -> Mapping[str, Surface]:
        """The surfaces of the service by name, as its lake knows them now."""
        titles, artwork = self.settings.surfaces.titles, self.settings.surfaces.artwork
        return {
            Titles.name: Titles.open(
                self.lake,
                minutes=titles.min_minutes,
                window=titles.window.delta,
                slots=titles.slots,
                policy=make_policy(self.settings.policy),
                models=self._models_of_titles,
            ),
            Artwork.name: Artwork.open(
                self.lake,
                minutes=artwork.min_minutes,
                window=artwork.window.delta,
                stay=artwork.stay.delta,
                most=artwork.most,
                change=artwork.change_cost,
                fixed=artwork.fixed,
                uniform=artwork.uniform,
                policy=InverseGap(gamma=artwork.gamma, epsilon=artwork.epsilon),
                models=lambda: (bandit(artwork.strength, artwork.half_life),),
            ),
            Payments.name: self._payments(),
            **{name: self._own_surface(name, kind) for name, kind in SURFACES.items()},
        }

    def surface(self, name: str) -> Surface:
        """A surface by name; `MatineeError` lists those there are."""
        if name not in self.surfaces:
            raise MatineeError(
                f"there is no surface {name!r}",
                why=f"this service has {', '.join(sorted(self.surfaces))}",
                next_step=f"for one of your own, name its module in service.extensions of {FILE}",
            )
        return self.surfaces[name]

    def refresh(self) -> None:
        """Look at the catalogue anew."""
        self.__dict__.pop("surfaces", None)

    def salt(self) -> bytes:
        """The service's own secret, which the seeds of its draws depend on; made once."""
        return self._secret("salt")

    def _secret(self, name: str) -> bytes:
        path = self.folder / name
        if not path.exists():
            mine = path.with_name(f"{name}.{secrets.token_hex(8)}")
            mine.touch(mode=0o600)
            mine.write_bytes(secrets.token_bytes(32))
            with suppress(FileExistsError):  # another process was quicker: its salt stands
                os.link(mine, path)
            mine.unlink()
        return path.read_bytes()

    def inside(self, relative: str) -> Path:
        """The path `relative` in the folder; raises `MatineeError` for one that leads out of it."""
        path = (self.folder / relative).resolve()
        if not path.is_relative_to(self.folder):
            raise MatineeError(
                f"{relative!r} leads out of the service folder",
                next_step="name a path inside it, without ..",
            )
        return path

    def _own_surface(self, name: str, kind: type[Surface]) -> Surface:
        try:
            if name in {Titles.name, Artwork.name, Payments.name}:
                raise ValueError(f"{name} is built in; give yours another name")
            surface = kind.open(self.lake)
            check(surface)
        except Exception as failure:  # it may be anyone's code
            raise MatineeError(
                f"the surface {name} cannot be used",
                why=f"{type(failure).__name__}: {failure}",
                next_step=f"mend it, or take it out of service.extensions in {self.folder / FILE}",
            ) from failure
        return surface

    def _payments(self) -> Payments:
        asked = self.settings.surfaces.payments
        return Payments(
            self.ledger,
            rates=asked.rates,
            window=asked.window.delta,
            most=asked.most,
            dispute=asked.dispute,
            effort=asked.effort,
            limit=asked.limit,
            slack=asked.slack,
            within=timedelta(milliseconds=asked.answer_within_ms),
            policy=replace(EXPLORE, gamma=asked.gamma, epsilon=asked.epsilon),
        )

    def _models_of_titles(self) -> list[Model]:
        train = self.settings.train
        return [make_model(name, train) for name in train.models]

    def importer(self, source: str) -> Importer:
        """What reads `source`: a mapping's name in the settings, or a folder of a known data set.

        Raises `MatineeError` where it is neither.
        """
        if source in self.settings.imports:
            return Columns(source, self.settings.imports[source], self.folder)
        path = Path(source)
        if path.is_dir():
            return recognise(path)
        known = nearest(source, list(self.settings.imports)) if self.settings.imports else ""
        if path.exists():
            raise MatineeError(
                f"{source} needs a mapping",
                why="Matinee does not know which of its columns is which",
                next_step=f"write an [import.NAME] for it in {self.folder / FILE}, "
                "then matinee import NAME",
            )
        raise MatineeError(
            f"there is nothing to import at {source}",
            why=f"it is no folder and no [import.NAME] in {FILE}. {known}".strip(),
            next_step="name the folder of a data set, or a mapping",
        )

    def close(self) -> None:
        """Close what was opened."""
        if "lake" in self.__dict__:
            self.lake.close()
        if "store" in self.__dict__:
            self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
