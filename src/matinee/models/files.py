"""The file of a model: one ``.npz`` with a JSON header, no pickle."""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from matinee.store.flush import flush_folder

FORMAT = 1
"""The version of the format that `write` writes."""

_HEADER = "header"


def write(path: Path, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write the file whole or not at all: beside `path`, made durable, then renamed into place."""
    encoded = np.frombuffer(json.dumps({"format": FORMAT, **header}).encode(), np.uint8)
    with tempfile.NamedTemporaryFile(
        dir=path.parent, prefix=f".{path.name}.", delete=False
    ) as file:
        temporary = Path(file.name)
        try:
            np.savez(file, allow_pickle=False, **{_HEADER: encoded, **arrays})
            file.flush()
            os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    flush_folder(path.parent)


def read(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The header (`name`, `settings`, `titles`) and the arrays of a model file.

    Raises `ValueError`, saying what is wrong and what to do, where it is not a whole one.
    """
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        header = json.loads(arrays.pop(_HEADER).tobytes())
        version, _ = header["format"], (header["name"], header["settings"], header["titles"])
    except (
        AttributeError,
        EOFError,
        KeyError,
        NotImplementedError,
        TypeError,
        ValueError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise damaged(path, error) from error
    if version != FORMAT:
        raise ValueError(
            f"{path} has model format {version!r} and this version of Matinee reads {FORMAT}; "
            "train the model again, or load it with the version that saved it"
        )
    return header, arrays


def damaged(path: Path, error: Exception) -> ValueError:
    """The error to raise where `path` cannot be a model file."""
    return ValueError(
        f"{path} is not a whole model file ({error}); train the model again and save it, "
        "or restore the file from a copy"
    )
