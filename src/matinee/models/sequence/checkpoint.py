"""An unfinished fit in a file, and interruptions that wait for a good moment."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import jax
import numpy as np

from matinee.models import files

Tree = TypeVar("Tree")


def save(path: Path, tree: Any, fingerprint: str) -> None:
    """Write the leaves of a tree, whole or not at all."""
    arrays = {f"leaf {at}": np.asarray(leaf) for at, leaf in enumerate(jax.tree.leaves(tree))}
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write(path, {"name": "checkpoint", "settings": fingerprint, "titles": []}, arrays)


def restore(path: Path, like: Tree, fingerprint: str) -> Tree:
    """The tree that `save` wrote, in the shape of `like`.

    Raises `ValueError` where the file is of another fit, or is damaged.
    """
    header, arrays = files.read(path)
    if header["name"] != "checkpoint" or header["settings"] != fingerprint:
        raise ValueError(
            f"{path} is the checkpoint of a fit on other data, with other settings, on another "
            "number of devices or by another version; begin anew without resuming, or delete it"
        )
    leaves, shape = jax.tree.flatten(like)
    found = [arrays.get(f"leaf {at}") for at in range(len(leaves))]
    for leaf, kept in zip(leaves, found, strict=True):
        if kept is None or kept.shape != np.shape(leaf):
            raise files.damaged(path, ValueError("an array is missing or of another shape"))
    restored: Tree = jax.tree.unflatten(shape, found)
    return restored


class Interruption:
    """Within it an interruption (SIGINT) is only noted; a second one strikes at once, and one that
    was not heeded strikes at the end.

    Outside the main thread signals go elsewhere, and nothing is noted.

    >>> with Interruption() as interrupted:
    ...     interrupted()
    False
    """

    def __enter__(self) -> Callable[[], bool]:
        self._noted = False
        self._main = threading.current_thread() is threading.main_thread()
        if self._main:
            self._before = signal.signal(signal.SIGINT, self._note)
        return lambda: self._noted

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._main:
            signal.signal(signal.SIGINT, self._before)
        if self._noted and kind is None:
            raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._noted:
            raise KeyboardInterrupt
        self._noted = True
