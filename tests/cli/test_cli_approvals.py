"""Who becomes champion, from the command line: promote, approve, override, roll-back."""

from pathlib import Path

import pytest

from matinee.cli import run
from matinee.evaluation.gate import Verdict
from matinee.evaluation.intervals.base import Interval
from matinee.registry import Approvals
from matinee.service.folder import Service


def judge(folder: Path, outcome) -> None:
    verdict = Verdict(
        outcome, ("so",), (), 0.03, 9000, 4000.0, 0.0, Interval(0.03, 0.01, 0.05, 0.97, "normal")
    )
    with Service.open(folder) as service:
        Approvals(service.registry).record_verdict(
            "titles",
            "titles@1",
            verdict,
            champion="titles@2",
            turn=1,
            anytime=True,
            by="ann",
        )


def champion(folder: Path) -> str:
    with Service.open(folder) as service:
        return service.registry.alias("titles", "champion").id


def done(capsys, count: int) -> list[list[str]]:
    """The last lines of the history that `matinee versions` prints, without their times."""
    assert run(["versions", "titles"]) == 0
    return [line.split("\t")[1:] for line in capsys.readouterr().out.splitlines()[-count:]]


def test_a_pass_is_approved(shows, capsys):
    judge(shows, "passes")
    assert run(["approve", "titles@1", "--by", "bob", "--reason", "read it"]) == 0
    assert "titles@1 is the champion of titles" in capsys.readouterr().err
    assert champion(shows) == "titles@1"
    assert done(capsys, 2) == [
        ["ann", "judge", "titles@2", "titles@1", "passes"],
        ["bob", "approve", "titles@2", "titles@1", "read it"],
    ]


def test_a_fail_is_not_approved_but_can_be_overridden_and_rolled_back(shows, capsys):
    judge(shows, "fails")
    assert run(["approve", "titles@1"]) == 1
    said = capsys.readouterr().err
    assert "the latest verdict is: fails" in said
    assert "next: matinee evaluate titles --candidate titles@1" in said
    assert champion(shows) == "titles@2"
    assert run(["override", "titles@1", "--by", "bob", "--reason", "the studio asked"]) == 0
    assert "by override" in capsys.readouterr().err
    assert champion(shows) == "titles@1"
    assert run(["roll-back", "titles", "--by", "cid", "--reason", "fewer plays"]) == 0
    assert "titles@2 is the champion of titles again" in capsys.readouterr().err
    assert champion(shows) == "titles@2"
    assert done(capsys, 2) == [
        ["bob", "override", "titles@2", "titles@1", "the studio asked"],
        ["cid", "roll_back", "titles@1", "titles@2", "fewer plays"],
    ]


def test_where_there_is_a_champion_promote_names_the_gate(shows, capsys):
    before = done(capsys, 5)
    assert run(["promote", "titles@1", "--reason", "I like it"]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "titles@1 cannot be promoted" in said
    assert "titles@2 is the champion" in said
    assert "matinee approve titles@1" in said
    assert "matinee override titles@1 --reason" in said
    assert "next: matinee evaluate titles --candidate titles@1" in said
    assert champion(shows) == "titles@2"
    assert done(capsys, 5) == before


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["promote", "titles@2"], "titles@2 is the champion already"),
        (["promote", "titles@99"], "there is no version titles@99"),
        (["promote", "../../etc@1"], "is not a version"),
        (["promote", "titles"], "is not a version"),
        (["approve", "titles@1"], "it was not judged against titles@2"),
        (["approve", "titles@99"], "there is no version titles@99"),
        (["approve", "../../etc@1"], "is not a version"),
        (["override", "titles@1", "--reason", " "], "needs a reason"),
        (["override", "titles@1"], "reason"),
        (["override", "titles@2", "--reason", "why"], "is the champion already"),
        (["roll-back", "titles"], "there was no champion before this one"),
    ],
)
def test_what_is_refused_changes_nothing(shows, capsys, command, told):
    assert run(command) != 0
    printed = capsys.readouterr()
    assert told in printed.err + printed.out
    assert champion(shows) == "titles@2"
