"""OpenCV, an optional extra, imported at its first use."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import Any

from matinee.errors import MatineeError

INSTALL = "pip install 'matinee[video]'"


class Lazy:
    """Stands for a module that is imported when something in it is first asked for."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        try:
            module = importlib.import_module(self._name)
        except ImportError as failure:
            require()
            what, why = "OpenCV could not be loaded", str(failure)
            raise MatineeError(what, why=why, next_step=INSTALL) from failure
        return getattr(module, attribute)


cv2: Any = Lazy("cv2")
"""Use as `cv2`; raises MatineeError where OpenCV is not installed."""


def require() -> None:
    """Raise MatineeError unless OpenCV is installed. It is not imported."""
    try:
        found = find_spec("cv2")
    except ValueError:  # sys.modules says that there is none
        found = None
    if found is None:
        raise absent()


def absent() -> MatineeError:
    return MatineeError(
        "films and pictures cannot be read", why="OpenCV is not installed", next_step=INSTALL
    )
