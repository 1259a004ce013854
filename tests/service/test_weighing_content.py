"""A title that came after training is judged with the score that it was served with."""

import shutil
from datetime import timedelta

import numpy as np
import pytest
from adopting import Adopting

from matinee.lake.records import Title
from matinee.models import MODELS
from matinee.policies import EpsilonGreedy
from matinee.service.folder import Service
from matinee.service.outcomes import close_windows
from matinee.service.weighing import weigh
from visits import SHORT_WINDOW, VISITED, decide

MEMBERS = 20


@pytest.fixture
def service(made, tmp_path, monkeypatch):
    """titles@3 was served with a title that it had not learned of; titles@4 is its twin."""
    monkeypatch.setitem(MODELS, Adopting.name, Adopting)
    folder = shutil.copytree(made, tmp_path / "shows")
    (folder / "matinee.toml").write_text(SHORT_WINDOW)
    with Service.open(folder) as opened:
        plain, _ = opened.registry.load("titles@1")
        model = Adopting(**plain.settings())
        model.__dict__ |= plain.__dict__
        known = {"data_as_of": VISITED - timedelta(hours=1), "settings": {}, "metrics": {}}
        for _ in ("titles@3", "titles@4"):
            opened.registry.register("titles", model, EpsilonGreedy(0.1), by="test", **known)
        opened.lake.put([Title(title_id="new", name="New", genres=["Crime"])])
        opened.refresh()
        decide(opened, "titles@3", MEMBERS)
        close_windows(opened)
        yield opened


def test_a_twin_of_the_version_that_served_a_new_title_has_ratios_of_one(service):
    found = weigh(service, "titles", ["titles@4"], VISITED - timedelta(minutes=1))
    twin = found.weighed["titles@4"]
    assert len(twin.at) == MEMBERS
    assert twin.chosen["new"] > 2 * MEMBERS
    np.testing.assert_allclose(twin.slates.ratio, 1)
