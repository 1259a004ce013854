"""A title that comes after training is known to the champion's model by its content."""

import shutil
from datetime import UTC, datetime

import numpy as np
import pytest
from adopting import Adopting

from matinee.lake.records import Member, Title
from matinee.models import MODELS, Context, Histories, Vocabulary
from matinee.policies import EpsilonGreedy
from matinee.service import scoring, training
from matinee.service.content import Contents, content_of
from matinee.service.folder import Service
from matinee.service.forgetting import forget
from matinee.service.runtime import Runtime
from matinee.surfaces import Request
from waiting import eventually


@pytest.fixture
def service(made, tmp_path, monkeypatch):
    monkeypatch.setitem(MODELS, Adopting.name, Adopting)
    folder = shutil.copytree(made, tmp_path / "shows")
    with Service.open(folder) as opened:
        (version,) = training.train(opened, [Adopting.name], policy="best first", by="test")
        assert version.policy == EpsilonGreedy.name
        yield opened


def best(runtime: Runtime) -> str:
    """The title that the version likes best for somebody who has watched nothing."""
    decider = runtime.decider("titles@3")
    request = Request(request_id="r", member_id="nobody", at=datetime.now(UTC), slots=1)
    decision = decider.propose(request)
    return decider.surface.eligible(request).ids[decision.segment[0]]


def test_a_title_is_known_within_moments_of_being_imported(service):
    with Runtime(service) as runtime:
        assert best(runtime) != "new"
        service.lake.put([Title(title_id="new", name="New", genres=["Crime"])])
        assert eventually(lambda: best(runtime) == "new")


def test_a_new_member_disturbs_nothing_and_a_new_title_keeps_the_weights(service):
    with Runtime(service) as runtime:
        champion = runtime.champion("titles")
        service.lake.put([Member(member_id="fresh", country="NL")])
        assert eventually(lambda: runtime.members.country("fresh") == "NL")
        service.lake.put([Title(title_id="new", name="New", genres=["Crime"])])
        assert eventually(lambda: runtime.champion("titles") is not champion)
        reloaded = runtime.champion("titles")
        assert reloaded is not champion
        assert reloaded.model is champion.model


def test_what_models_keep_of_a_forgotten_member_goes(service):
    member = service.lake.current("members")["member_id"][0]
    with Runtime(service) as runtime:
        before = runtime.champion("titles").model
        assert forget(service, member)["events"] > 0
        assert eventually(lambda: runtime.champion("titles").model is not before)


def test_batch_scoring_knows_it_too(service, tmp_path):
    import polars as pl

    service.lake.put([Title(title_id="new", name="New", genres=["Crime"])])
    service.refresh()
    scoring.score(service, "titles", tmp_path / "s.parquet", "titles@3", top=1)
    assert set(pl.read_parquet(tmp_path / "s.parquet")["title_id"]) == {"new"}


def test_content_is_worked_out_again_only_where_the_catalogue_has_changed(service):
    model, _ = service.registry.load("titles@3")
    contents, surface = Contents(service.lake), service.surface("titles")
    first, second = (contents.informed(model, surface) for _ in range(2))
    assert first is second, "with what it keeps of members"
    service.lake.put([Title(title_id="new", name="New", genres=["Crime"])])
    third = contents.informed(model, surface)
    assert third.told is not first.told
    assert third.titles.ids[-1] == "new"
    assert "genre=Crime" in third.told.features.ids


def test_a_model_that_makes_nothing_of_content_is_left_alone(service):
    model, _ = service.registry.load("titles@2")
    assert Contents(service.lake).informed(model, service.surface("titles")) is model
    with Runtime(service) as runtime:
        asked = Context(Histories.of([[]]), np.zeros(1, np.int64))
        found = runtime.champion("titles").model.believe(asked).mean
    np.testing.assert_array_equal(found, model.believe(asked).mean)


def test_content_is_that_of_the_catalogue_as_it_was_known(service):
    before = datetime.now(UTC)
    service.lake.put([Title(title_id="new", name="New", genres=["Crime"])])
    ids = service.lake.current("titles")["title_id"].to_list()
    assert content_of(service.lake).titles == Vocabulary(ids)
    assert "new" not in content_of(service.lake, before).titles.ids
