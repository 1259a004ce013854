"""Pictures from the command line: from a film to what may be shown."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from films import film, plain, scene
from matinee.cli import run
from matinee.service.folder import Service
from matinee.surfaces import Artwork


@pytest.fixture
def title(shows: Path) -> str:
    with Service.open(shows) as service:
        return service.lake.current("titles")["title_id"][0]


@pytest.fixture
def cinema(tmp_path: Path) -> Path:
    """Four scenes and a black stretch."""
    parts = [scene(number) for number in range(4)]
    return film(tmp_path / "film.avi", *parts, plain((0, 0, 0)), code="MJPG")


def artwork(folder: Path) -> Artwork:
    with Service.open(folder) as service:
        found = service.surfaces["artwork"]
        assert isinstance(found, Artwork)
        return found


def test_from_a_film_to_pictures_that_may_be_shown(shows, title, cinema, capsys):
    assert run(["artwork", "extract", str(cinema), "--title", title, "--until", "1"]) == 0
    said = capsys.readouterr().err
    folder = shows / "artwork" / "candidates" / title
    assert str(folder / "sheet.html") in said
    assert f"next: look at it, then matinee artwork approve {title}" in said
    candidates = json.loads((folder / "candidates.json").read_text())["candidates"]
    assert 2 <= len(candidates) <= 4
    assert not artwork(shows).of(title), "nobody has approved any of them"
    command = ["artwork", "approve", title, "1", "2", "--fixed", "2", "--shows", "Crime"]
    assert run(command) == 0
    one, two = artwork(shows).of(title)
    assert sorted((one.fixed, two.fixed)) == [False, True]
    assert one.picture_id.startswith(f"{title}.")
    assert one.features["Crime"] == two.features["Crime"] == 1.0
    assert set(one.files) == {"16:9", "2:3", "1:1"}
    for name in one.files.values():
        assert (shows / "artwork" / name).stat().st_size > 1_000
    assert "next: matinee train artwork" in capsys.readouterr().err


def test_another_picture_becomes_the_fixed_one(shows, title, cinema):
    assert run(["artwork", "extract", str(cinema), "--title", title]) == 0
    assert run(["artwork", "approve", title, "1", "--fixed", "1"]) == 0
    (first,) = artwork(shows).of(title)
    assert first.fixed
    assert run(["artwork", "approve", title, "--fixed", "2"]) == 0
    fixed = {one.picture_id: one.fixed for one in artwork(shows).of(title)}
    assert fixed.pop(first.picture_id) is False
    assert list(fixed.values()) == [True]


def test_approving_again_keeps_what_stands(shows, title, cinema):
    """A limit, and what a person said that it shows, are not lost; a bar is not lifted."""
    run(["artwork", "extract", str(cinema), "--title", title])
    run(["artwork", "approve", title, "1", "--fixed", "1", "--shows", "Crime"])
    (before,) = artwork(shows).of(title)
    limits = ["--country", "NL", "--min-age", "16", "--until", "2031-01-01"]
    assert run(["artwork", "limit", before.picture_id, *limits]) == 0
    assert run(["artwork", "approve", title, "1", "--shows", "night"]) == 0
    (after,) = artwork(shows).of(title)
    assert (after.countries, after.min_age, after.fixed) == (["NL"], 16, True)
    assert after.ends_at is not None
    assert {"Crime", "night"} <= after.features.keys()
    run(["artwork", "bar", before.picture_id, "--reason", "consent ended"])
    assert run(["artwork", "approve", title, "1"]) == 1
    assert artwork(shows).pictures[before.picture_id].barred == "consent ended"


def test_another_film_never_takes_the_place_of_a_picture(shows, title, cinema, tmp_path):
    run(["artwork", "extract", str(cinema), "--title", title])
    run(["artwork", "approve", title, "1"])
    (first,) = artwork(shows).of(title)
    looks = (shows / "artwork" / first.files["1:1"]).read_bytes()
    shutil.rmtree(shows / "artwork" / "candidates")
    other = film(tmp_path / "other.avi", *(scene(number) for number in (7, 8)), code="MJPG")
    run(["artwork", "extract", str(other), "--title", title])
    run(["artwork", "approve", title, "1"])
    assert len(artwork(shows).of(title)) == 2
    assert (shows / "artwork" / first.files["1:1"]).read_bytes() == looks


def test_pictures_of_ones_own_join_the_sheet(shows, title, tmp_path, capsys):
    import cv2

    for number in (1, 2):
        cv2.imwrite(str(tmp_path / f"own {number}.png"), scene(number, 1)[0])
    images = [str(tmp_path / f"own {number}.png") for number in (1, 2)]
    assert run(["artwork", "add", *images, "--title", title]) == 0
    assert "own 2.png is number 2" in capsys.readouterr().err
    assert run(["artwork", "approve", title, "2"]) == 0
    assert len(artwork(shows).of(title)) == 1


def test_what_is_barred_and_allowed_again(shows, title, cinema, capsys):
    run(["artwork", "extract", str(cinema), "--title", title])
    run(["artwork", "approve", title, "1", "2"])
    one, two = (picture.picture_id for picture in artwork(shows).of(title))
    assert run(["artwork", "bar", one, "--reason", "consent ended"]) == 0
    assert artwork(shows).pictures[one].barred == "consent ended"
    capsys.readouterr()
    assert run(["artwork", "list", title]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [(row[0], row[-1]) for row in rows[1:]] == [
        (one, "consent ended"),
        (two, ""),
    ]
    assert run(["artwork", "allow", one]) == 0
    assert artwork(shows).pictures[one].barred is None


@pytest.mark.parametrize(
    "wrong",
    [
        (["extract", "FILM", "--title", "nothing-like-it"], "no title 'nothing-like-it'"),
        (["extract", "missing.mp4", "--title", "TITLE"], "missing.mp4"),
        (["add", "--title", "TITLE"], "name a picture"),
        (["approve", "TITLE"], "name the numbers"),
        (["approve", "TITLE", "1"], "no candidates"),
        (["bar", "nobody.1", "--reason", "x"], "no picture 'nobody.1'"),
        (["bar", "nobody.1", "--reason", " "], "say why"),
        (["report"], "no champion"),
        (["limit", "nobody.1"], "say what limits it"),
        (["limit", "nobody.1", "--min-age", "7"], "no picture 'nobody.1'"),
    ],
)
def test_what_cannot_be_done_says_what_to_type(shows, title, cinema, capsys, wrong):
    command, says = wrong
    words = {"TITLE": title, "FILM": str(cinema)}
    assert run(["artwork", *(words.get(word, word) for word in command)]) == 1
    said = capsys.readouterr().err
    assert says in said
    assert "next:" in said


def test_candidates_are_not_written_over(shows, title, cinema, capsys):
    assert run(["artwork", "extract", str(cinema), "--title", title]) == 0
    assert run(["artwork", "extract", str(cinema), "--title", title]) == 1
    said = capsys.readouterr().err
    assert "has candidates already" in said
    assert "rm -r" in said


def test_a_number_that_is_not_on_the_sheet(shows, title, cinema, capsys):
    run(["artwork", "extract", str(cinema), "--title", title])
    assert run(["artwork", "approve", title, "1", "99"]) == 1
    assert "no candidate 99" in capsys.readouterr().err
    assert not artwork(shows).of(title)
