"""The files of a version: ``model.npz`` and ``policy.json`` in a folder that never changes."""

from __future__ import annotations

import json
import os
from pathlib import Path

from matinee import policies
from matinee.models import Model
from matinee.policies import Policy
from matinee.store.flush import flush_folder

MODEL_FILE, POLICY_FILE = "model.npz", "policy.json"


def write(folder: Path, model: Model, policy: Policy) -> None:
    """Both files of a version, on disk when this returns."""
    folder.mkdir()
    model.save(folder / MODEL_FILE)
    with (folder / POLICY_FILE).open("x") as file:
        json.dump({"name": policy.name, "settings": policy.settings()}, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    flush_folder(folder)


def read_policy(folder: Path) -> Policy:
    description = json.loads((folder / POLICY_FILE).read_text())
    return policies.policy_class(description["name"])(**description["settings"])


def numbers(home: Path) -> list[int]:
    """The numbers of the folders in `home`, those without a row included."""
    return [int(path.name) for path in home.iterdir() if path.name.isdecimal()]


def move(staged: Path, final: Path) -> None:
    """Rename into place, on disk when this returns."""
    staged.rename(final)
    flush_folder(final.parent)
