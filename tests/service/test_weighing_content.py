"""A title that came after training is judged with the score that it was served with."""

import shutil
from datetime import timedelta

import numpy as np
import pytest
from adopting import Adopting
from service_rows import VISITED

from matinee.lake.records import Eligible, Title
from matinee.lake.rows import frame_of_records
from matinee.lake.schemas import SCHEMAS
from matinee.models import MODELS
from matinee.policies import EpsilonGreedy
from matinee.service.folder import Service
from matinee.service.outcomes import close_windows
from matinee.service.runtime import Runtime
from matinee.service.weighing import weigh
from matinee.surfaces import Request

MEMBERS = 20


@pytest.fixture
def service(made, tmp_path, monkeypatch):
    """titles@3 was served with a title that it had not learned of; titles@4 is its twin."""
    monkeypatch.setitem(MODELS, Adopting.name, Adopting)
    folder = shutil.copytree(made, tmp_path / "shows")
    (folder / "matinee.toml").write_text('[surfaces.titles]\nwindow = "1h"\n')
    with Service.open(folder) as opened:
        plain, _ = opened.registry.load("titles@1")
        model = Adopting(**plain.settings())
        model.__dict__ |= plain.__dict__
        known = {"data_as_of": VISITED - timedelta(hours=1), "settings": {}, "metrics": {}}
        for _ in ("titles@3", "titles@4"):
            opened.registry.register("titles", model, EpsilonGreedy(0.1), by="test", **known)
        opened.lake.put([Title(title_id="new", name="New", genres=["Crime"])])
        opened.refresh()
        _decide(opened, "titles@3")
        yield opened


def _decide(service, version):
    with Runtime(service) as runtime:
        decider = runtime.decider(version)
        requests = [
            Request(request_id="r", member_id=member, at=VISITED, slots=1)
            for member in service.lake.current("members")["member_id"].head(MEMBERS)
        ]
        decisions = [decider.propose(runtime.located(request)) for request in requests]
        sets = [one for one in decider.records(decisions) if isinstance(one, Eligible)]
    for table, records in (("eligible", sets), ("decisions", decisions)):
        frame = frame_of_records(records, SCHEMAS[table], VISITED)
        assert service.lake.append(table, frame, source="test").rejected == 0
    close_windows(service)


def test_a_twin_of_the_version_that_served_a_new_title_has_ratios_of_one(service):
    found = weigh(service, "titles", ["titles@4"], VISITED - timedelta(minutes=1))
    twin = found.weighed["titles@4"]
    assert len(twin.at) == MEMBERS
    assert twin.chosen["new"] > 2 * MEMBERS
    np.testing.assert_allclose(twin.slates.ratio, 1)
