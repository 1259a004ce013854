"""Approving and overriding from the command line."""

import shutil
from pathlib import Path

import pytest

from matinee.cli import run
from matinee.evaluation.gate import Verdict
from matinee.evaluation.intervals.base import Interval
from matinee.registry import Approvals
from matinee.service.folder import Service


@pytest.fixture
def shows(made: Path, tmp_path: Path, monkeypatch) -> Path:
    """A copy of the small service, titles@2 its champion, named by the environment."""
    folder = Path(shutil.copytree(made, tmp_path / "shows"))
    monkeypatch.setenv("MATINEE_SERVICE", str(folder))
    return folder


def judge(folder: Path, outcome) -> None:
    verdict = Verdict(
        outcome, ("so",), (), 0.03, 9000, 4000.0, 0.0, Interval(0.03, 0.01, 0.05, 0.97, "normal")
    )
    with Service.open(folder) as service:
        Approvals(service.registry).record_verdict(
            "titles", "titles@1", verdict, turn=1, anytime=True, by="ann"
        )


def champion(folder: Path) -> str:
    with Service.open(folder) as service:
        return service.registry.alias("titles", "champion").id


def test_a_pass_is_approved(shows, capsys):
    judge(shows, "passes")
    assert run(["approve", "titles@1", "--by", "bob", "--reason", "read it"]) == 0
    assert "titles@1 is the champion of titles" in capsys.readouterr().err
    assert champion(shows) == "titles@1"
    assert run(["versions", "titles"]) == 0
    lines = [line.split("\t")[1:] for line in capsys.readouterr().out.splitlines()[-2:]]
    assert lines == [
        ["ann", "judge", "titles@2", "titles@1", "passes"],
        ["bob", "approve", "titles@2", "titles@1", "read it"],
    ]


def test_a_fail_is_not_approved_but_can_be_overridden(shows, capsys):
    judge(shows, "fails")
    assert run(["approve", "titles@1"]) == 1
    said = capsys.readouterr().err
    assert "the latest verdict is: fails" in said
    assert "next: matinee evaluate titles --candidate titles@1" in said
    assert champion(shows) == "titles@2"
    assert run(["override", "titles@1", "--by", "bob", "--reason", "the studio asked"]) == 0
    assert "by override" in capsys.readouterr().err
    assert champion(shows) == "titles@1"
    assert run(["versions", "titles"]) == 0
    assert "bob\toverride\ttitles@2\ttitles@1\tthe studio asked" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["approve", "titles@1"], "it was not judged against titles@2"),
        (["approve", "titles@99"], "there is no version titles@99"),
        (["approve", "../../etc@1"], "is not a version"),
        (["override", "titles@1", "--reason", " "], "needs a reason"),
        (["override", "titles@1"], "reason"),
        (["override", "titles@2", "--reason", "why"], "is the champion already"),
    ],
)
def test_what_is_refused_changes_nothing(shows, capsys, command, told):
    assert run(command) != 0
    printed = capsys.readouterr()
    assert told in printed.err + printed.out
    assert champion(shows) == "titles@2"


@pytest.mark.parametrize("command", ["approve titles@1", "override titles@1 --reason why"])
def test_approving_where_there_is_no_service(tmp_path, monkeypatch, capsys, command):
    monkeypatch.delenv("MATINEE_SERVICE", raising=False)
    monkeypatch.chdir(tmp_path)
    assert run(command.split()) == 1
    assert "is not a service folder" in capsys.readouterr().err
