"""A service folder that the commands find by themselves."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def shows(made: Path, tmp_path: Path, monkeypatch) -> Path:
    """A copy of the small service, titles@2 its champion, named by the environment."""
    folder = Path(shutil.copytree(made, tmp_path / "shows"))
    monkeypatch.setenv("MATINEE_SERVICE", str(folder))
    return folder
