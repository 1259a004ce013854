"""Trainings that were cut short: where they are kept, and what it takes to go on with them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import Any, Self

import msgspec

from matinee.errors import MatineeError


class Started(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a training began with: what was known at `as_of`, these settings, this policy."""

    as_of: datetime
    settings: dict[str, Any]
    policy: str | None


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a fit. It reads as two lines: what is kept, and what to type next."""


@dataclass(frozen=True)
class Checkpoint:
    """The unfinished training of one model for one surface, in a folder of such.

    `path` is the model's own file. Beside it lie what the training began with, and the lock of
    whoever is at it.
    """

    folder: Path
    surface: str
    model: str

    @property
    def path(self) -> Path:
        return self.folder / f"{self.surface}-{self.model}.npz"

    @contextmanager
    def held(self) -> Iterator[Self]:
        """Keep others from training the same while the block runs.

        Raises `MatineeError` where somebody does already. A process that dies lets go at once.
        """
        try:
            self.folder.mkdir(exist_ok=True)
            lock = self.path.with_suffix(".lock").open("w")
        except OSError as error:
            raise MatineeError(
                f"nothing can be kept in {self.folder}",
                why=error.strerror or str(error),
                next_step="see that the service folder may be written",
            ) from error
        with lock:
            try:
                flock(lock, LOCK_EX | LOCK_NB)
            except BlockingIOError:
                raise MatineeError(
                    f"{self.model} is being trained for {self.surface} already",
                    why="one training of a model at a time",
                    next_step="wait until that one is done, or end it with Ctrl-C",
                ) from None
            yield self

    def begin(self, started: Started) -> None:
        """Forget what was kept, and remember what is begun."""
        self.forget()
        draft = self._started.with_suffix(".draft")
        draft.write_bytes(msgspec.json.encode(started))
        draft.replace(self._started)

    def started(self, settings: dict[str, Any]) -> Started:
        """What the kept training began with.

        Raises `MatineeError` where nothing is kept, or it began with other settings than these.
        """
        if not self.path.is_file():
            raise MatineeError(
                f"no training of {self.model} for {self.surface} was interrupted",
                next_step=self._typed,
            )
        try:
            started = msgspec.json.decode(self._started.read_bytes(), type=Started)
        except (OSError, msgspec.MsgspecError) as error:
            raise self._not_on(f"{self._started}: {error}") from error
        if started.settings != settings:
            raise self._not_on(f"its settings were {started.settings} and are now {settings}")
        return started

    @contextmanager
    def told_plainly(self) -> Iterator[None]:
        """What stops a fit, as what to tell of it: an `Interrupted` or a `MatineeError`."""
        try:
            yield
        except KeyboardInterrupt:
            raise self._interrupted() from None
        except (ValueError, FloatingPointError) as failure:
            raise MatineeError(
                f"{self.model} could not be trained for {self.surface}",
                why=str(failure),
                next_step=f"mend that, or change its settings, then {self._typed}",
            ) from failure

    def forget(self) -> None:
        """Keep nothing, nor what a kill left of a file that was being written."""
        self.path.unlink(missing_ok=True)
        for unfinished in self.folder.glob(f".{self.path.name}.*"):
            unfinished.unlink(missing_ok=True)
        self._started.unlink(missing_ok=True)

    def _interrupted(self) -> Interrupted:
        if self.path.is_file():  # perhaps an older one, where a full disk kept the last away
            saved = datetime.fromtimestamp(self.path.stat().st_mtime, UTC)
            return Interrupted(
                f"Interrupted. What {self.model} had learned by {saved:%H:%M:%S} UTC is kept.\n"
                f"next: {self._typed} --resume"
            )
        return Interrupted(f"Interrupted. Nothing of {self.model} is kept.\nnext: {self._typed}")

    def _not_on(self, why: str) -> MatineeError:
        return MatineeError(
            f"the interrupted training of {self.model} cannot go on",
            why=why,
            next_step=f"{self._typed} begins anew",
        )

    @property
    def _typed(self) -> str:
        return f"matinee train {self.surface} --model {self.model}"

    @property
    def _started(self) -> Path:
        return self.path.with_suffix(".json")


def interrupted_models(folder: Path, surface: str) -> list[str]:
    """The models whose training for a surface was cut short and kept, by the alphabet."""
    parts = [path.stem.rpartition("-") for path in folder.glob("*.npz")]
    return sorted(model for of, _, model in parts if of == surface)
