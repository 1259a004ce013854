"""What was written is on the disk when these return."""

from __future__ import annotations

import os
from pathlib import Path


def flush_file(path: Path) -> None:
    """Ask the disk to keep the file's bytes."""
    _flush(path, os.O_RDONLY)


def flush_folder(path: Path) -> None:
    """Ask the disk to keep the folder's entries."""
    _flush(path, os.O_RDONLY | os.O_DIRECTORY)


def _flush(path: Path, flags: int) -> None:
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
