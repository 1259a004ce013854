"""A long training: it says how far it is, is interrupted with SIGINT, and taken up again."""

import os
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime

import numpy as np
import pytest

from matinee.cli import run
from matinee.lake.records import Event
from matinee.models import MODELS
from matinee.service import training
from matinee.service.folder import Service

STEPS = '''
import os, time
import numpy as np
from matinee.models import MODELS, Model, Progress
from matinee.models.base import on_candidates

class Steps(Model):
    """Learns in steps that depend on the data and on all the steps before."""

    name, references = "steps_of_a_test", ("none",)

    def settings(self):
        return {"epochs": int(os.environ.get("EPOCHS", "20"))}

    def __init__(self, epochs=20):
        pass

    def _fit(self, dataset, run):
        epochs = self.settings()["epochs"]
        counts = sum(
            np.bincount(shard.load().watched().titles, minlength=len(dataset.titles))
            for shard in dataset.shards
        )
        first, self._weights = 0, np.zeros(len(counts))
        if run.resume:
            with np.load(run.checkpoint) as kept:
                first, self._weights = int(kept["epoch"]), kept["weights"]
        try:
            for epoch in range(first, epochs):
                self._weights = np.sin(self._weights + counts * (epoch + 1))
                first = epoch + 1
                run.told(Progress(first / epochs, first, epochs, 1000.0, 1 / first, epochs - first))
                if os.environ.get("FAILS_AT") == str(first):
                    raise ValueError(f"the loss is NaN in epoch {first}")
                while os.environ.get("WAITS_AT") == str(first):
                    time.sleep(0.01)  # until somebody interrupts
        except KeyboardInterrupt:
            np.savez(run.checkpoint, epoch=first, weights=self._weights)
            raise
        run.checkpoint.unlink(missing_ok=True)

    def _scores(self, context, candidates):
        return on_candidates(np.tile(self._weights, (len(context), 1)), candidates)

    def _arrays(self):
        return {"weights": self._weights}

    def _restore(self, arrays):
        self._weights = arrays["weights"]

MODELS[Steps.name] = Steps
'''
NAME = "steps_of_a_test"
TRAIN = ["train", "titles", "--model", NAME]


@pytest.fixture
def steps(shows, monkeypatch):
    """The small service with that model, which is forgotten afterwards."""
    known = dict(MODELS)
    (shows / f"{NAME}.py").write_text(STEPS)
    settings = shows / "matinee.toml"
    settings.write_text(f'[service]\nextensions = ["{NAME}"]\n')
    yield shows
    sys.modules.pop(NAME, None)
    MODELS.clear()
    MODELS.update(known)


@pytest.fixture
def under_way(steps):
    """A process that trains and has told of its third epoch, which never ends by itself."""
    process = subprocess.Popen(
        [sys.executable, "-m", "matinee", *TRAIN, "--policy", "best first"],
        env={**os.environ, "WAITS_AT": "3"},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    line = process.stderr.readline()
    assert line.startswith(f"{NAME}: 5 %, 0:00:19 left, epoch 1 of 20, loss 1.000"), line
    yield process
    process.kill()
    process.communicate()


def interrupted(process):
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=240)
    assert process.returncode == 130
    return said


def weights(service, version):
    model, _ = service.registry.load(version.id)
    return model._arrays()["weights"]


def test_an_interrupted_training_goes_on_to_the_same_weights(steps, under_way, capsys):
    said = interrupted(under_way)
    kept = steps / "checkpoints" / f"titles-{NAME}.npz"
    saved = datetime.fromtimestamp(kept.stat().st_mtime, UTC)
    assert f"What {NAME} had learned by {saved:%H:%M:%S} UTC is kept." in said
    assert said.splitlines()[-1] == f"next: matinee train titles --model {NAME} --resume"
    assert "Traceback" not in said
    with Service.open(steps) as service:
        assert len(service.registry.versions("titles")) == 2
        new = {"kind": "play", "ts": datetime.now(UTC), "title_id": "new", "value": 95.0}
        service.lake.put([Event(event_id="later", member_id="m", **new)])
    assert run(["train", "titles", "--resume"]) == 0
    told = capsys.readouterr().err
    assert f"{NAME}: 100 %, 0:00:00 left, epoch 20 of 20" in told
    assert " epoch 3 of 20" not in told
    with Service.open(steps) as service:
        resumed = service.registry.versions("titles")[-1]
        whole = training.train(service, [NAME], as_of=resumed.data_as_of, by="test")[0]
        np.testing.assert_array_equal(weights(service, resumed), weights(service, whole))
        assert (resumed.policy, whole.policy) == ("epsilon_greedy", "plackett_luce")
        fresh = training.train(service, [NAME], by="test")[0]
        assert len(weights(service, fresh)) == len(weights(service, resumed)) + 1
    assert run([*TRAIN, "--resume"]) == 1
    assert "was interrupted" in capsys.readouterr().err


def test_a_second_training_of_the_same_model_is_refused(steps, under_way, capsys):
    assert run(TRAIN) == 1
    said = capsys.readouterr().err
    assert f"{NAME} is being trained for titles already" in said
    assert "next: wait" in said
    assert run(["train", "titles", "--model", "popularity"]) == 0
    under_way.kill()
    under_way.wait()
    assert run(TRAIN) == 0


def test_without_resume_it_begins_anew(steps, under_way):
    interrupted(under_way)
    half = steps / "checkpoints" / f".titles-{NAME}.npz.half"  # as a kill leaves it while writing
    half.touch()
    assert run(TRAIN) == 0
    assert not half.exists()
    with Service.open(steps) as service:
        made = service.registry.versions("titles")[-1]
        assert made.data_as_of > service.registry.versions("titles")[-2].data_as_of
        whole = training.train(service, [NAME], as_of=made.data_as_of, by="test")[0]
        np.testing.assert_array_equal(weights(service, made), weights(service, whole))
    assert run(["train", "titles", "--resume"]) == 1


def test_what_has_changed_meanwhile_is_told(steps, under_way, capsys, monkeypatch):
    interrupted(under_way)
    kept = steps / "checkpoints" / f"titles-{NAME}.npz"
    assert run([*TRAIN, "--resume", "--as-of", "2020-01-01"]) == 1
    assert "leave --as-of out" in capsys.readouterr().err
    assert run([*TRAIN, "--as-of", "1999-01-01"]) == 1
    assert "nothing to learn from" in capsys.readouterr().err
    monkeypatch.setenv("EPOCHS", "30")
    assert run([*TRAIN, "--resume"]) == 1
    said = capsys.readouterr().err
    assert "{'epochs': 20} and are now {'epochs': 30}" in said
    assert f"next: matinee train titles --model {NAME} begins anew" in said
    monkeypatch.delenv("EPOCHS")
    kept.with_suffix(".json").write_text("{")
    assert run([*TRAIN, "--resume"]) == 1
    assert "cannot go on" in capsys.readouterr().err
    assert kept.is_file()


@pytest.mark.parametrize(
    ("command", "then"),
    [
        ("train titles --resume", "next: matinee train titles"),
        ("train titles --model ease --resume", "next: matinee train titles --model ease"),
    ],
)
def test_where_nothing_was_interrupted(shows, capsys, command, then):
    assert run(command.split()) == 1
    said = capsys.readouterr().err
    assert "was interrupted" in said
    assert then in said.splitlines()


def test_a_fit_that_fails_says_why(steps, capsys, monkeypatch):
    monkeypatch.setenv("FAILS_AT", "4")
    assert run(TRAIN) == 1
    said = capsys.readouterr().err
    assert f"error: {NAME} could not be trained for titles" in said
    assert "the loss is NaN in epoch 4" in said
    with Service.open(steps) as service:
        assert len(service.registry.versions("titles")) == 2


def test_a_model_that_keeps_nothing_says_so_when_it_is_interrupted(shows, capsys, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("matinee.models.ease.EASE._fit", interrupt)
    assert run(["train", "titles", "--model", "popularity", "--model", "ease"]) == 130
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "Interrupted. Nothing of ease is kept.",
        "next: matinee train titles --model ease",
    ]
    with Service.open(shows) as service:
        assert [one.model for one in service.registry.versions("titles")][2:] == ["popularity"]


def test_where_nothing_can_be_kept(shows, capsys):
    shutil.rmtree(shows / "checkpoints")
    (shows / "checkpoints").write_text("a file")
    assert run(["train", "titles", "--model", "popularity"]) == 1
    said = capsys.readouterr().err
    assert f"nothing can be kept in {shows / 'checkpoints'}" in said
