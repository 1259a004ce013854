"""A module in the service folder adds a surface, which then decides like a built-in one."""

import sys
from datetime import UTC, datetime

import pytest

from matinee.errors import MatineeError
from matinee.models import Dataset, Histories, Popularity, Vocabulary
from matinee.policies import EpsilonGreedy
from matinee.service.extensions import extend
from matinee.service.folder import Service
from matinee.service.runtime import Runtime
from matinee.surfaces import SURFACES, Request

NOTES = """
from datetime import timedelta
import polars as pl
from matinee.policies import EpsilonGreedy
from matinee.surfaces import SURFACES, Candidates, Surface

class Notes(Surface):
    name, unit, reward_range = "notes", "member", (0.0, 1.0)
    window = timedelta(hours=1)
    choices = Candidates.of(["none", "new-season"])

    def eligible(self, request):
        return self.choices

    def policies(self):
        return {"explore": EpsilonGreedy(epsilon=0.2)}

    def reward(self, decisions, events):
        rows = decisions.select("decision_id", position=pl.lit(0, pl.Int64))
        return rows.with_columns(reward=pl.lit(0.0))

SURFACES[Notes.name] = Notes
"""


@pytest.fixture
def module():
    """A name for a module and its surfaces, both forgotten afterwards."""
    before = dict(SURFACES)
    yield "notes_of_a_test"
    sys.modules.pop("notes_of_a_test", None)
    SURFACES.clear()
    SURFACES.update(before)


@pytest.fixture
def service(tmp_path, module):
    Service.create(tmp_path / "shows", {"service.extensions": [module]}).close()
    (tmp_path / "shows" / f"{module}.py").write_text(NOTES)
    with Service.open(tmp_path / "shows") as opened:
        yield opened


def test_a_surface_of_ones_own_decides_and_is_logged(service):
    data = Dataset.of(Vocabulary(["none", "new-season"]), Histories.of([[0], [0, 1]]))
    version = service.registry.register(
        "notes",
        Popularity().fit(data),
        EpsilonGreedy(epsilon=0.2),
        data_as_of=datetime(2026, 1, 1, tzinfo=UTC),
        settings={},
        metrics={},
        by="test",
    )
    service.registry.promote("notes", version.id, "test", "")
    with Runtime(service) as runtime:
        request = Request(request_id="r", member_id="m", at=datetime.now(UTC), slots=1)
        decision = runtime.decide("notes", request)
    assert decision.actions[0] in {"none", "new-season"}
    assert decision.propensities[0] in {0.9, 0.1}
    assert service.lake.scan("decisions").collect()["surface"].to_list() == ["notes"]


def test_opening_twice_runs_a_module_once(service, module):
    first = SURFACES["notes"]
    with Service.open(service.folder):
        assert SURFACES["notes"] is first


@pytest.mark.parametrize("name", ["../evil", "a-b", "", "os.path; x", "a..b"])
def test_what_cannot_name_a_module_is_refused(tmp_path, name):
    with pytest.raises(MatineeError, match="cannot name a module"):
        extend(tmp_path, [name])


@pytest.mark.parametrize("name", ["json", "wave", "matinee"])
def test_a_file_may_not_take_the_place_of_another_module(tmp_path, name):
    (tmp_path / f"{name}.py").write_text("raise SystemExit")
    with pytest.raises(MatineeError, match="cannot be used") as told:
        extend(tmp_path, [name])
    assert "another module is named" in told.value.why


def test_a_module_that_is_missing_or_fails_is_told_plainly(tmp_path, module):
    with pytest.raises(MatineeError, match="no_such_module_at_all"):
        extend(tmp_path, ["no_such_module_at_all"])
    (tmp_path / f"{module}.py").write_text("1 / 0")
    with pytest.raises(MatineeError) as told:
        extend(tmp_path, [module])
    assert "ZeroDivisionError" in told.value.why
    assert module not in sys.modules


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ("name = 'titles'", "titles is built in"),
        ("window = '24h'", "window is '24h'"),
        ("slots = 0", "slots is 0"),
        ("reward_range = None", "TypeError"),
        ("policies = lambda self: {}", "policies() is empty"),
        ("open = classmethod(lambda cls: cls())", "TypeError"),
    ],
)
def test_a_surface_that_cannot_be_used_is_told_when_it_is_opened(tmp_path, module, changed, why):
    Service.create(tmp_path / "shows", {"service.extensions": [module]}).close()
    body = NOTES.replace("SURFACES[Notes.name]", f"Notes.{changed}\nSURFACES[Notes.name]")
    (tmp_path / "shows" / f"{module}.py").write_text(body)
    with Service.open(tmp_path / "shows") as opened:
        with pytest.raises(MatineeError, match="cannot be used") as told:
            opened.surfaces  # noqa: B018
        assert why in told.value.why
