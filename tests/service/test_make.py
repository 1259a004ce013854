"""Models as the settings of a service want them."""

import json
from pathlib import Path

import pytest

from matinee.errors import MatineeError
from matinee.models import MODELS, Diverse
from matinee.models.sequence import Config
from matinee.service.make import make_model
from matinee.service.settings import DiverseSettings, EASESettings, TrainSettings
from matinee.service.toml import read_settings


def test_a_model_has_the_settings_of_its_section() -> None:
    assert make_model("ease", TrainSettings(ease=EASESettings(l2=7.0))).settings() == {"l2": 7.0}


@pytest.mark.parametrize("name", sorted(MODELS))
def test_the_settings_that_nobody_changed_make_the_model_as_it_comes(name: str) -> None:
    assert make_model(name, TrainSettings()).settings() == MODELS[name]().settings()


def test_all_of_the_plan_of_a_sequence_model_can_be_set(tmp_path: Path) -> None:
    file = tmp_path / "matinee.toml"
    plan = Config(horizon=50, correction=0.5, decay=0.1, average=0.9, half_life=7.0).settings()
    lines = (f"{name} = {json.dumps(value)}" for name, value in plan.items())
    file.write_text("\n".join(("[train.sequence]", *lines)))
    assert make_model("sequence", read_settings(file).train).settings() == plan


def test_the_model_within_has_the_settings_of_its_own_section(tmp_path: Path) -> None:
    file = tmp_path / "matinee.toml"
    file.write_text("[train.ease]\nl2 = 50.0\n[train.diverse]\nstrength = 3.5\nsegment = 40\n")
    model = make_model("diverse", read_settings(file).train)
    assert isinstance(model, Diverse)
    assert model.settings() == {
        "model": "ease",
        "settings": {"l2": 50.0},
        "strength": 3.5,
        "segment": 40,
    }


def test_a_model_without_a_section_may_stand_within() -> None:
    train = TrainSettings(diverse=DiverseSettings(model="covisitation"))
    assert make_model("diverse", train).settings()["model"] == "covisitation"


@pytest.mark.parametrize(
    ("name", "within", "told"),
    [
        ("nope", "ease", "there is no model 'nope'"),
        ("diverse", "nope", "there is no model 'nope'"),
        ("diverse", "diverse", "diverse does not rank titles by itself"),
        ("diverse", "response", "response does not rank titles by itself"),
    ],
)
def test_a_model_that_cannot_be_is_told(name: str, within: str, told: str) -> None:
    with pytest.raises(MatineeError, match=told):
        make_model(name, TrainSettings(diverse=DiverseSettings(model=within)))
