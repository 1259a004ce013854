"""The sequence model through the platform: trained, scored with, decided with, judged."""

import shutil
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from matinee.cli import run
from matinee.lake.records import Title
from matinee.models import Sequence
from matinee.service import scoring, training
from matinee.service.folder import Service
from matinee.service.outcomes import close_windows
from matinee.service.runtime import Runtime
from matinee.service.weighing import weigh
from matinee.surfaces import Request
from visits import SHORT_WINDOW, VISITED, decide

PLAN = "[train.sequence]\nwidth = 8\nblocks = 1\nwindow = 32\nepochs = 2\nhorizon = 3\n"
MEMBERS = 20


@pytest.fixture(scope="module")
def shows(made, tmp_path_factory) -> Path:
    """The small service with a sequence model as titles@3, trained before members came back."""
    folder = Path(shutil.copytree(made, tmp_path_factory.mktemp("sequence") / "shows"))
    (folder / "matinee.toml").write_text(PLAN + SHORT_WINDOW)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MATINEE_SERVICE", str(folder))
        earlier = (VISITED - timedelta(hours=1)).isoformat()
        assert run(["train", "titles", "--model", "sequence", "--as-of", earlier]) == 0
    with Service.open(folder) as service:
        version = service.registry.versions("titles")[-1]
        assert (version.id, version.model) == ("titles@3", "sequence")
        assert (version.settings["width"], version.settings["horizon"]) == (8, 3)
    return folder


@pytest.mark.slow
def test_a_fit_that_is_interrupted_in_its_process_goes_on_to_the_same_weights(
    made, tmp_path, monkeypatch, capsys
):
    folder = Path(shutil.copytree(made, tmp_path / "shows"))
    (folder / "matinee.toml").write_text(PLAN.replace("epochs = 2", "epochs = 240"))
    monkeypatch.setenv("MATINEE_SERVICE", str(folder))
    process = subprocess.Popen(
        [sys.executable, "-m", "matinee", "train", "titles", "--model", "sequence"],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        told = process.stderr.readline()
        while " epoch 1 of 240, " in told:
            told = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=240)
    finally:
        process.kill()
    assert " of 240, " in told, told
    assert process.returncode == 130, said
    with Service.open(folder) as service:
        service.lake.put([Title(title_id="later", name="Later")])
        service.lake.seal()
    assert run(["train", "titles", "--resume"]) == 0
    told = capsys.readouterr().err
    assert " epoch 240 of 240" in told
    assert " epoch 1 of 240" not in told
    with Service.open(folder) as service:
        resumed = service.registry.versions("titles")[-1]
        whole = training.train(service, ["sequence"], as_of=resumed.data_as_of, by="test")[0]
        one, other = (service.registry.load(made.id)[0] for made in (resumed, whole))
        assert "later" not in one.titles.ids
        for name, array in one._arrays().items():
            np.testing.assert_array_equal(array, other._arrays()[name])


def test_batch_scores_are_those_that_a_decision_is_drawn_from(shows, tmp_path, overheard):
    """Also minutes after a member's last event, where the model tells ten of them from twenty."""
    with Service.open(shows) as service:
        at = service.lake.scan("events").select(pl.col("ts").max()).collect().item()
        at += timedelta(minutes=35, seconds=7)
        scoring.score(service, "titles", tmp_path / "s", "titles@3", as_of=at)
        rows = pl.read_parquet(tmp_path / "s").partition_by("member_id", as_dict=True)
        believed = overheard(Sequence)
        with Runtime(service) as runtime:
            decider = runtime.decider("titles@3")
            for (member,), own in rows.items():
                request = runtime.located(Request(request_id="r", member_id=member, at=at))
                decider.propose(request)
                found = dict(zip(decider.surface.eligible(request).ids, believed[-1], strict=True))
                expected = [found[title] for title in own["title_id"]]
                np.testing.assert_allclose(own["score"], expected, rtol=1e-5, atol=1e-5)
    assert len(rows) > 100


def test_a_new_title_is_liked_by_some_more_than_by_others(shows, tmp_path):
    folder = Path(shutil.copytree(shows, tmp_path / "shows"))
    with Service.open(folder) as service:
        genre = service.lake.current("titles")["genres"].explode().drop_nulls().mode().sort()[0]
        service.lake.put([Title(title_id="new", name="New", genres=[genre])])
        service.refresh()
        scoring.score(service, "titles", tmp_path / "s", "titles@3", top=10_000)
    frame = pl.read_parquet(tmp_path / "s").filter(title_id="new")
    assert frame.height > 100
    assert frame["rank"].n_unique() > 10


def test_what_it_decided_is_judged_with_the_scores_that_it_decided_by(shows, tmp_path):
    folder = Path(shutil.copytree(shows, tmp_path / "shows"))
    with Service.open(folder) as service:
        decide(service, "titles@3", MEMBERS)
        close_windows(service)
        own = weigh(service, "titles", ["titles@3"], VISITED - timedelta(minutes=1))
    assert len(own.weighed["titles@3"].at) == MEMBERS
    np.testing.assert_allclose(own.weighed["titles@3"].slates.ratio, 1)


def test_it_goes_through_the_gate(shows, tmp_path, monkeypatch, capsys):
    folder = Path(shutil.copytree(shows, tmp_path / "shows"))
    with Service.open(folder) as service:
        decide(service, "titles@2", MEMBERS)
        close_windows(service)
    monkeypatch.setenv("MATINEE_SERVICE", str(folder))
    assert run(["evaluate", "titles", "--candidate", "titles@3"]) == 0
    said = capsys.readouterr()
    assert f"decisions judged on\t{MEMBERS}\n" in said.out
    assert "titles@3 against titles@2: " in said.out + said.err
    assert run(["approve", "titles@3"]) == 1
    assert "the latest verdict is: " in capsys.readouterr().err
