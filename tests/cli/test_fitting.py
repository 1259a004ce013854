"""How a long fit is told of, on a terminal and into a pipe."""

import io
from math import inf

import pytest
from rich.console import Console

from matinee import console
from matinee.models import Progress

HALF = Progress(0.5, 2, 4, 1500.0, 6.25, 61.0, validation=0.125)


def written(monkeypatch, *, terminal: bool) -> io.StringIO:
    """What goes to stderr."""
    file = io.StringIO()
    made = Console(file=file, force_terminal=terminal, width=120, markup=False, emoji=False)
    monkeypatch.setattr(console, "err", lambda: made)
    return file


def test_a_terminal_shows_a_moving_line(monkeypatch):
    file = written(monkeypatch, terminal=True)
    with console.fitting() as told:
        told("sequence", HALF)
    assert "sequence" in file.getvalue()
    assert "50 %, 0:01:01 left, epoch 2 of 4, loss 6.250, NDCG@10 0.1250" in file.getvalue()


@pytest.mark.parametrize(
    ("every", "expected"),
    [(0.0, ["10 %", "20 %", "90 %", "100 %"]), (1e9, ["10 %", "100 %"])],
)
def test_a_pipe_gets_a_line_every_so_often_and_the_last(monkeypatch, every, expected):
    file = written(monkeypatch, terminal=False)
    monkeypatch.setattr(console, "EVERY", every)
    with console.fitting() as told:
        for done in (0.1, 0.2, 0.9, 1.0):
            told("sequence", Progress(done, 1, 4, 1500.0, 6.25, 61.0))
    lines = file.getvalue().splitlines()
    assert [line.split(",")[0] for line in lines] == [f"sequence: {share}" for share in expected]


@pytest.mark.parametrize("left", [inf, float("nan")])
def test_what_nobody_can_tell_is_left_out(left):
    told = console.standing(Progress(0.0, 1, 4, 0.0, 7.0, left))
    assert told == "0 %, epoch 1 of 4, loss 7.000, 0 events/s"
