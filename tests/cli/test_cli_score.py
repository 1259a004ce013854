"""The command score, and Ctrl-C while it runs."""

import os
import signal
import subprocess
import sys
import time

import polars as pl
import pytest

from matinee.cli import run
from matinee.models import MODELS
from matinee.service import training
from matinee.service.folder import Service

NAME = "waiting_of_a_test"
WAITING = '''
import os, time
from pathlib import Path
from matinee.models import MODELS, Popularity

class Waiting(Popularity):
    """Popularity that says when it is asked, and answers only where it may."""

    name = "waiting_of_a_test"

    def _scores(self, context, candidates):
        while asked := os.environ.get("ASKED"):
            Path(asked).touch()
            time.sleep(0.01)  # until somebody interrupts
        return super()._scores(context, candidates)

MODELS[Waiting.name] = Waiting
'''


def test_score_writes_a_file_and_says_so(shows, tmp_path, capsys):
    to = tmp_path / "scores.parquet"
    assert run(["score", "titles", "--top", "5", "--to", str(to)]) == 0
    found = pl.read_parquet(to)
    said = capsys.readouterr().err
    members = found["member_id"].n_unique()
    assert f"{found.height:,} rows of {members:,} members by titles@2 are in {to}" in said
    assert (found.height, found["rank"].max()) == (5 * members, 5)


def test_score_by_another_version_in_two_processes(shows, tmp_path):
    to = tmp_path / "scores.parquet"
    assert run(["score", "titles", "titles@1", "--processes", "2", "--to", str(to)]) == 0
    assert set(pl.read_parquet(to)["version"]) == {"titles@1"}


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (
            "score titles titles@9 --to s",
            ["there is no version titles@9", "next: matinee versions"],
        ),
        ("score titles --to .", ["is a folder", "next: name a file"]),
        ("score titles --to missing/s", ["could not be written", "next: name a file in a folder"]),
        ("score titles --as-of 1999-01-01 --to s", ["nobody to score", "next: matinee import"]),
    ],
)
def test_what_cannot_be_scored_is_said_and_why(shows, monkeypatch, capsys, command, said):
    (shows / "empty").mkdir()
    monkeypatch.chdir(shows / "empty")
    assert run(command.split()) == 1
    told = capsys.readouterr().err
    assert all(part in told for part in said), told
    assert list((shows / "empty").iterdir()) == []


def test_where_there_is_no_service(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("MATINEE_SERVICE", raising=False)
    monkeypatch.chdir(tmp_path)
    assert run(["score", "titles", "--to", "s"]) == 1
    assert f"next: matinee init {tmp_path}" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("processes", ["1", "2"])
def test_ctrl_c_leaves_no_half_file(shows, tmp_path, monkeypatch, processes):
    """Ctrl-C reaches all processes of a terminal, so the signal goes to the whole group here."""
    known = dict(MODELS)
    (shows / f"{NAME}.py").write_text(WAITING)
    (shows / "matinee.toml").write_text(f'[service]\nextensions = ["{NAME}"]\n')
    with Service.open(shows) as service:
        training.train(service, [NAME], by="test")
    sys.modules.pop(NAME)
    MODELS.clear()
    MODELS.update(known)
    home = tmp_path / "out"
    home.mkdir()
    asked = tmp_path / "asked"
    command = ["score", "titles", "titles@3", "--processes", processes, "--to", f"{home}/s"]
    process = subprocess.Popen(
        [sys.executable, "-m", "matinee", *command],
        env={**os.environ, "ASKED": str(asked)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        while not asked.exists() and process.poll() is None:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=240)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130, said
    assert "Interrupted." in said
    assert list(home.iterdir()) == []
