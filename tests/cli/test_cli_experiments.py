"""Experiments from the command line: start, read, halt, resume, widen, end, win, hold, release."""

import pytest

from matinee.cli import run
from matinee.service.folder import Service


def told(capsys):
    printed = capsys.readouterr()
    return printed.out + printed.err


def start(*more):
    return run(["experiments", "start", "fresh", "titles@1", "--reason", "a look", *more])


def test_an_experiment_from_start_to_end(shows, capsys):
    assert start("--share", "0.2", "--slice", "0", "0.5", "--by", "ann") == 0
    assert "fresh compares titles@1 with titles@2, the champion of titles" in told(capsys)
    assert run(["experiments", "list"]) == 0
    listed = told(capsys)
    for word in ("fresh", "control 80% titles@2", "treatment 20% titles@1", "0 to 0.5", "runs"):
        assert word in listed
    assert run(["experiments", "widen", "fresh", "0", "1", "--reason", "all is well"]) == 0
    assert run(["experiments", "halt", "fresh", "--reason", "complaints"]) == 0
    assert run(["experiments", "list"]) == 0
    assert "halted: complaints" in told(capsys)
    assert run(["experiments", "resume", "fresh", "--reason", "not us"]) == 0
    assert run(["experiments", "read", "fresh"]) == 0
    assert "nothing shown yet" in told(capsys)
    assert run(["experiments", "win", "fresh", "--reason", "I like it"]) == 1
    assert "has won nothing yet" in told(capsys)
    assert run(["experiments", "end", "fresh", "--reason", "enough"]) == 0
    assert run(["experiments", "end", "fresh", "--reason", "again"]) == 1
    with Service.open(shows) as service:
        steps = service.trials.history("fresh")
    assert [step.action for step in steps] == ["start", "widen", "halt", "resume", "read", "end"]
    assert steps[0].by == "ann"


def test_a_win_from_the_command_line(shows, capsys):
    assert start() == 0
    with Service.open(shows) as service:
        service.trials.read("fresh", "better", "ann", champion="titles@2", reasons=["more"])
    assert run(["experiments", "win", "fresh", "--reason", "more plays"]) == 0
    assert "titles@1 is the champion of titles; fresh is over" in told(capsys)
    with Service.open(shows) as service:
        assert service.registry.alias("titles", "champion").id == "titles@1"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["start", "x", "titles@9", "--reason", "r"], "there is no version titles@9"),
        (["start", "x", "titles", "--reason", "r"], "titles"),
        (["start", "x", "titles@1", "--share", "2", "--reason", "r"], "share"),
        (["start", "x", "titles@1", "--slice", "1", "0", "--reason", "r"], "slice"),
        (["read", "x"], "there is no experiment 'x'"),
        (["halt", "x", "--reason", "r"], "there is no experiment 'x'"),
        (["hold", "x", "titles@9", "--share", "0.1", "--reason", "r"], "there is no version"),
        (["hold", "x", "--share", "0", "--reason", "r"], "share"),
        (["release", "x", "--reason", "r"], "there is no holdout 'x'"),
    ],
)
def test_what_cannot_be_says_what_to_type(shows, capsys, line, said):
    assert run(["experiments", *line]) == 1
    assert said in told(capsys)


def test_a_holdout_is_listed_until_it_is_released(shows, capsys):
    hold = ["experiments", "hold", "before", "titles@1", "--share", "0.02", "--reason", "r"]
    assert run(hold) == 0
    assert run(["experiments", "list"]) == 0
    listed = told(capsys)
    assert "before" in listed
    assert "2.0%" in listed
    assert run(["experiments", "release", "before", "--reason", "over"]) == 0
    told(capsys)
    assert run(["experiments", "list"]) == 0
    assert "before" not in told(capsys)
