"""Versions, aliases and their history."""

import json
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import numpy as np
import pytest

from matinee import __version__, models, policies
from matinee.errors import MatineeError
from matinee.models import Context, Dataset, Histories, Model, Popularity, Vocabulary
from matinee.models.data import Indices
from matinee.models.run import Run
from matinee.policies import PlackettLuce, Thompson
from matinee.registry import Approvals, Registry, check_surface, parse_version
from matinee.store import Store

AS_OF = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)


class Alphabet(Model):
    """A user's model: titles in the order of the vocabulary."""

    name = "alphabet"
    references = ("The alphabet.",)

    def _fit(self, dataset: Dataset, run: Run) -> None:
        self.weights = -np.arange(len(dataset.titles), dtype=np.float32)

    def _scores(self, context: Context, candidates: Indices | None):
        chosen = self.weights if candidates is None else self.weights[candidates]
        return np.tile(chosen, (len(context), 1))

    def _arrays(self):
        return {"weights": self.weights}

    def _restore(self, arrays):
        self.weights = arrays["weights"]

    def settings(self):
        return {}


def fitted(model: Model) -> Model:
    titles = Vocabulary(["alien", "heat", "it's 🎬/.."])
    return model.fit(Dataset.of(titles, Histories.of([[0, 1], [1]])))


@pytest.fixture
def registry(tmp_path):
    with Store(tmp_path / "matinee.db") as store:
        yield Registry(store, tmp_path / "versions")


def register(registry, surface="titles", policy=None, **more):
    return registry.register(
        surface,
        fitted(Popularity()),
        policy or PlackettLuce(temperature=0.5),
        **{
            "data_as_of": AS_OF,
            "settings": {"a": 1},
            "metrics": {"ndcg": 0.2},
            "by": "ann",
            **more,
        },
    )


def test_a_version_comes_back_with_its_lineage(registry):
    first = register(registry)
    second = register(registry, parent=first.id)
    assert [version.id for version in registry.versions("titles")] == ["titles@1", "titles@2"]
    assert registry.get("titles@2") == second
    assert second.parent == "titles@1"
    assert (first.model, first.policy, first.code) == ("popularity", "plackett_luce", __version__)
    assert (first.data_as_of, first.settings, first.metrics) == (AS_OF, {"a": 1}, {"ndcg": 0.2})


def test_what_is_loaded_is_what_was_registered(registry):
    version = register(registry)
    model, policy = registry.load(version.id)
    context = Context(Histories.of([[1], []]), np.zeros(2, np.int64))
    expected = fitted(Popularity()).believe(context).mean
    np.testing.assert_array_equal(model.believe(context).mean, expected)
    assert model.titles.ids[2] == "it's 🎬/.."
    assert policy == PlackettLuce(temperature=0.5)


def test_surfaces_number_their_own_versions(registry):
    register(registry)
    assert register(registry, surface="artwork").id == "artwork@1"
    with pytest.raises(MatineeError, match="not a version of artwork"):
        registry.promote("artwork", "titles@1", "ann", "")
    with pytest.raises(MatineeError, match="not of artwork"):
        register(registry, surface="artwork", parent="titles@1")


def override(registry, version, by="ann", reason="better"):
    Approvals(registry).override("titles", version, by, reason)


def test_the_champion_follows_overrides_and_roll_backs(registry):
    for _ in range(3):
        register(registry)
    assert registry.alias("titles", "champion") is None
    registry.promote("titles", "titles@1", "ann", "the first")
    for version in ("titles@2", "titles@3"):
        override(registry, version)
    assert registry.roll_back("titles", "bob", "worse").id == "titles@2"
    assert registry.roll_back("titles", "bob", "worse").id == "titles@1"
    override(registry, "titles@3")
    assert registry.roll_back("titles", "bob", "no").id == "titles@1"
    assert registry.alias("titles", "champion").id == "titles@1"
    with pytest.raises(MatineeError, match="no champion before"):
        registry.roll_back("titles", "bob", "again")


def test_promoting_is_for_the_first_champion_of_a_surface(registry):
    """Whatever became of it since: the gate is not walked around."""
    for surface in ("titles", "titles", "artwork"):
        register(registry, surface=surface)
    registry.promote("titles", "titles@1", "ann", "the first")
    registry.promote("artwork", "artwork@1", "ann", "the first of its own surface")
    before = registry.history("titles")
    with pytest.raises(MatineeError, match="titles@2 cannot be promoted") as told:
        registry.promote("titles", "titles@2", "eve", "better")
    for words in (
        "titles@1 is the champion",
        "matinee approve titles@2",
        "matinee override titles@2 --reason '...'",
    ):
        assert words in told.value.why
    assert told.value.next_step == "matinee evaluate titles --candidate titles@2"
    assert registry.history("titles") == before
    assert registry.alias("titles", "champion").id == "titles@1"
    override(registry, "titles@2")
    registry.roll_back("titles", "bob", "worse")
    with pytest.raises(MatineeError, match="titles@1 is the champion"):
        registry.promote("titles", "titles@2", "eve", "better")


def test_the_history_says_who_when_from_what_to_what_and_why(registry):
    before = datetime.now(UTC)
    register(registry)
    register(registry)
    registry.promote("titles", "titles@1", "ann", "first")
    override(registry, "titles@2", "it's; DROP TABLE--", "🎬")
    registry.roll_back("titles", "cid", "sorry")
    lines = registry.history("titles")
    assert [(line.action, line.old, line.new, line.reason) for line in lines] == [
        ("register", None, "titles@1", ""),
        ("register", None, "titles@2", ""),
        ("promote", None, "titles@1", "first"),
        ("override", "titles@1", "titles@2", "🎬"),
        ("roll_back", "titles@2", "titles@1", "sorry"),
    ]
    assert lines[3].by == "it's; DROP TABLE--"
    assert all(before <= line.at <= datetime.now(UTC) for line in lines)


def test_the_history_cannot_be_changed(registry, tmp_path):
    register(registry)
    with Store(tmp_path / "matinee.db") as store:
        for sql in ("DELETE FROM registry_history", "UPDATE registry_history SET by = 'eve'"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                store.rows(sql)


@pytest.mark.parametrize(
    "become", [lambda registry: registry.promote, lambda registry: Approvals(registry).override]
)
def test_a_challenger_that_becomes_champion_leaves_its_place(registry, become):
    register(registry)
    registry.challenge("titles", "titles@1", "ann", "looks good")
    assert registry.alias("titles", "challenger").id == "titles@1"
    become(registry)("titles", "titles@1", "ann", "it is good")
    assert registry.alias("titles", "challenger") is None


def test_a_version_that_does_not_exist_names_its_surface(registry):
    register(registry)
    register(registry, "artwork")
    register(registry)
    assert registry.surfaces() == ["artwork", "titles"]
    with pytest.raises(
        MatineeError, match=r"no version artwork@2\. Next: matinee versions artwork"
    ):
        registry.get("artwork@2")


def test_the_generation_grows_with_every_change(registry, tmp_path):
    seen = [registry.generation()]
    with Store(tmp_path / "matinee.db") as store:
        other = Registry(store, tmp_path / "versions")
        register(other)
        seen.append(registry.generation())
        other.promote("titles", "titles@1", "ann", "")
        seen.append(registry.generation())
    assert seen == sorted(set(seen))
    assert registry.generation() == seen[-1]


def test_promoting_the_champion_again_is_refused(registry):
    register(registry)
    registry.promote("titles", "titles@1", "ann", "")
    with pytest.raises(MatineeError, match="already"):
        registry.promote("titles", "titles@1", "ann", "")


def test_a_model_and_policy_from_outside_the_package(registry, monkeypatch):
    class Mine(PlackettLuce):
        name = "mine"

    lineage = {"data_as_of": AS_OF, "settings": {}, "metrics": {}, "by": "ann"}
    with pytest.raises(MatineeError, match=r"MODELS\[Alphabet.name\] = Alphabet"):
        registry.register("titles", fitted(Alphabet()), Mine(), **lineage)
    monkeypatch.setitem(models.MODELS, "alphabet", Alphabet)
    with pytest.raises(MatineeError, match=r"POLICIES\[Mine.name\] = Mine"):
        registry.register("titles", fitted(Alphabet()), Mine(), **lineage)
    monkeypatch.setitem(policies.POLICIES, "mine", Mine)
    version = registry.register("titles", fitted(Alphabet()), Mine(), **lineage)
    model, policy = registry.load(version.id)
    assert (type(model), type(policy)) == (Alphabet, Mine)


def test_a_policy_that_draws_needs_a_model_with_a_posterior(registry):
    lineage = {"data_as_of": AS_OF, "settings": {}, "metrics": {}, "by": "ann"}
    with pytest.raises(MatineeError, match=r"no(ne| posterior).* --model linear"):
        registry.register("titles", fitted(models.Popularity()), Thompson(), **lineage)
    version = registry.register("titles", fitted(models.Linear()), Thompson(), **lineage)
    model, policy = registry.load(version.id)
    assert (type(model), policy) == (models.Linear, Thompson())


def test_a_folder_without_a_row_is_no_version_and_is_left_alone(registry):
    left = registry.folder / "titles" / "1" / "model.npz"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"from before a crash, or from a lost row")
    with pytest.raises(MatineeError, match="no version"):
        registry.get("titles@1")
    version = register(registry)
    assert version.id == "titles@2"
    registry.load(version.id)
    assert left.read_bytes().startswith(b"from before")
    home = registry.folder / "titles"
    assert sorted(path.name for path in home.iterdir()) == ["1", "2"]
    assert sorted(path.name for path in (home / "2").iterdir()) == ["model.npz", "policy.json"]


def test_a_model_that_cannot_be_saved_leaves_nothing(registry):
    with pytest.raises(ValueError, match="learned nothing"):
        registry.register(
            "titles",
            Popularity(),
            PlackettLuce(),
            data_as_of=AS_OF,
            settings={},
            metrics={},
            by="ann",
        )
    assert registry.versions("titles") == []
    assert list((registry.folder / "titles").iterdir()) == []


@pytest.mark.parametrize("damage", [lambda file: file.unlink(), lambda file: file.write_text("{")])
@pytest.mark.parametrize("name", ["model.npz", "policy.json"])
def test_damaged_files_say_what_to_do(registry, damage, name):
    version = register(registry)
    damage(registry.folder / "titles" / "1" / name)
    with pytest.raises(MatineeError, match=r"titles@1 cannot be loaded.*roll back"):
        registry.load(version.id)


def test_the_policy_file_is_plain_json(registry):
    register(registry)
    text = (registry.folder / "titles" / "1" / "policy.json").read_text()
    assert json.loads(text)["settings"]["temperature"] == 0.5


def test_times_are_kept_in_utc(registry):
    elsewhere = AS_OF.astimezone(timezone(timedelta(hours=9)))
    assert register(registry, data_as_of=elsewhere).data_as_of == AS_OF


@pytest.mark.parametrize("name", ["", "..", "a/b", "/etc", "A", "1", "a" * 41, "a\n", "é", "a.b"])
def test_names_that_could_leave_the_folder_are_refused(registry, name):
    with pytest.raises(MatineeError, match="cannot name a surface"):
        check_surface(name)
    with pytest.raises(MatineeError, match="cannot name a surface"):
        register(registry, surface=name)
    assert not registry.folder.exists()


@pytest.mark.parametrize(
    "version", ["titles", "titles@0", "titles@-1", "titles@1x", "../x@1", "@1"]
)
def test_what_is_no_version_is_refused(version):
    with pytest.raises(MatineeError, match="titles@3"):
        parse_version(version)


CROWN = """
import sys
from matinee.errors import MatineeError
from matinee.registry import Approvals, Registry
from matinee.store import Store
with Store(sys.argv[1]) as store:
    registry = Registry(store, sys.argv[2])
    sys.stdin.readline()
    try:
        registry.promote("titles", sys.argv[3], sys.argv[3], "")
    except MatineeError as error:
        print(error)
    for turn in range(1, 10):
        Approvals(registry).override("titles", sys.argv[3 + turn % 2], sys.argv[3], str(turn))
"""


def test_two_processes_making_champions_at_once(registry, tmp_path):
    """One of them promotes the first; the overrides of both follow one after the other."""
    for _ in range(4):
        register(registry)
    command = [sys.executable, "-c", CROWN, str(tmp_path / "matinee.db"), str(registry.folder)]
    processes = [
        subprocess.Popen(
            [*command, *versions], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for versions in (("titles@1", "titles@2"), ("titles@3", "titles@4"))
    ]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    first, *others = [line for line in registry.history("titles") if line.action != "register"]
    assert (first.action, first.old) == ("promote", None)
    assert [line.action for line in others] == ["override"] * 18
    assert ["cannot be promoted" in one for one in said] == [
        first.new != "titles@1",
        first.new != "titles@3",
    ]
    for earlier, later in pairwise([first, *others]):
        assert later.old == earlier.new
    assert registry.alias("titles", "champion").id == others[-1].new
