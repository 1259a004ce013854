"""What to type next is what there is to type: it names surfaces and versions that exist."""

import sqlite3
from datetime import UTC, datetime, timedelta

import pytest

from matinee.cli import run
from matinee.lake import inbox
from matinee.models import Dataset, Histories, Popularity, Vocabulary
from matinee.policies import EpsilonGreedy
from matinee.service.folder import Service
from matinee.surfaces import SURFACES, Candidates, Surface


class Rows(Surface):
    """A surface of one's own, without a log."""

    name = "rows"
    reward_range = (0.0, 1.0)
    window = timedelta(hours=1)

    def eligible(self, request):
        return Candidates.of(["new", "old"])

    def policies(self):
        return {"explore": EpsilonGreedy(epsilon=0.3)}

    def reward(self, decisions, events):
        raise NotImplementedError


@pytest.fixture
def rows(tmp_path, monkeypatch):
    """A service that has that surface and no version of any."""
    monkeypatch.setitem(SURFACES, Rows.name, Rows)
    monkeypatch.setenv("MATINEE_SERVICE", str(tmp_path / "shows"))
    with Service.create(tmp_path / "shows") as service:
        yield service


def register(service: Service) -> str:
    model = Popularity().fit(Dataset.of(Vocabulary(["new", "old"]), Histories.of([[0]])))
    made = {"data_as_of": datetime(2026, 1, 2, tzinfo=UTC), "settings": {}, "metrics": {}}
    return service.registry.register("rows", model, EpsilonGreedy(), by="ann", **made).id


def told(capsys, command: str, code: int = 1) -> str:
    assert run(command.split()) == code
    return " ".join(capsys.readouterr().err.split())


def test_evaluate_names_the_latest_version_that_can_be_a_candidate(rows, capsys):
    assert told(capsys, "evaluate rows").endswith("next: matinee train rows")
    register(rows)
    rows.registry.promote("rows", "rows@1", "ann", "")
    assert told(capsys, "evaluate rows").endswith("next: matinee train rows")
    for _ in range(2):
        register(rows)
    latest = "next: matinee evaluate rows --candidate rows@3"
    assert told(capsys, "evaluate rows").endswith(latest)


def test_without_a_champion_the_candidate_itself_is_to_be_promoted(rows, capsys):
    for _ in range(2):
        register(rows)
    for command in ("evaluate rows --candidate rows@2", "approve rows@2"):
        assert told(capsys, command).endswith("next: matinee promote rows@2")


def test_a_version_that_does_not_exist_names_its_surface(rows, capsys):
    for command in ("approve rows@99", "evaluate rows --candidate rows@99"):
        assert told(capsys, command).endswith("next: matinee versions rows")


def test_versions_tells_of_which_surfaces_there_are_some(rows, capsys):
    register(rows)
    said = told(capsys, "versions")
    assert "titles has no versions yet there are versions of rows" in said
    assert said.endswith("next: matinee train titles, or matinee versions rows")


def test_how_to_undo_names_the_surface(rows, capsys):
    register(rows)
    assert "matinee roll-back rows to undo" in told(capsys, "override rows@1 --reason why", 0)


def test_a_candidate_of_a_surface_whose_extension_is_gone(rows, monkeypatch, capsys):
    for _ in range(2):
        register(rows)
    rows.registry.promote("rows", "rows@1", "ann", "")
    monkeypatch.delitem(SURFACES, Rows.name)
    said = told(capsys, "evaluate rows --candidate rows@2")
    assert "there is no surface 'rows'" in said
    assert "name its module in service.extensions" in said


@pytest.mark.parametrize(
    "command", ["tables", "evaluate titles --candidate titles@1", "train titles", "repair"]
)
def test_a_folder_that_may_not_be_written(shows, monkeypatch, capsys, command):
    """As SQLite itself says it, which stops root too."""

    def connect(path):
        return sqlite3.connect(f"file:{path}?mode=ro", uri=True, check_same_thread=False)

    monkeypatch.setattr(inbox, "connect", connect)
    said = told(capsys, command)
    assert f"the service in {shows} cannot be written" in said
    assert said.endswith("next: see that you may write to the folder and to every file in it")
