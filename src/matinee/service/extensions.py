"""Surfaces, models and policies of a service's own: Python modules that its settings name."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from matinee.errors import MatineeError

_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


def extend(folder: Path, modules: Iterable[str]) -> None:
    """Import each module, once: ``folder/name.py`` where that file exists, else an installed one.

    A module makes its classes known by their names, ``SURFACES[Mine.name] = Mine``, likewise in
    ``MODELS`` and ``POLICIES``. Only the owner of the settings says what is run here. Raises
    `MatineeError` where a module is not found or fails.
    """
    for module in modules:
        if not _MODULE.fullmatch(module):
            raise MatineeError(
                f"{module!r} cannot name a module",
                why="service.extensions takes names such as notifications or company.surfaces",
            )
        try:
            _import(folder, module)
        except Exception as failure:
            raise MatineeError(
                f"the extension {module} cannot be used",
                why=f"{type(failure).__name__}: {failure}",
                next_step=f"mend it, or take it out of service.extensions in {folder}",
            ) from failure


def _import(folder: Path, module: str) -> None:
    path = folder / f"{module}.py"
    if not path.is_file():
        importlib.import_module(module)
        return
    loaded = sys.modules.get(module)
    if loaded is not None and getattr(loaded, "__file__", None) == str(path):
        return
    if loaded is not None or module in sys.stdlib_module_names:
        raise ImportError(f"another module is named {module}; give {path.name} a name of its own")
    spec = importlib.util.spec_from_file_location(module, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python module")
    made = importlib.util.module_from_spec(spec)
    sys.modules[module] = made
    try:
        spec.loader.exec_module(made)
    except BaseException:
        del sys.modules[module]
        raise
