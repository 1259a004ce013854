"""From films whose truth is known to their pictures."""

import json

import cv2
import numpy as np
import pytest

from films import RATE, dissolved, faded, film, lettered, plain, scene
from matinee.errors import MatineeError
from matinee.pictures import Candidate, Extraction, Folder, extract


def within(time: float, start: int, stop: int) -> bool:
    """Whether a time is that of a frame in start..stop - 1."""
    return start - 0.5 < time * RATE < stop - 0.5


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A film of four scenes and black, its folder and what came of it."""
    home = tmp_path_factory.mktemp("made")
    parts = [scene(1), scene(2), plain((0, 0, 0), 36), scene(3), scene(4)]
    path = film(home / "four scenes.mp4", *parts)
    heard = []
    found = extract(path, home / "out", settings=Extraction(until=1.0), advance=heard.append,
                    approve="matinee artwork approve four 1")  # fmt: skip
    return path, home / "out", found, heard


def test_every_scene_gives_a_picture_and_black_gives_none(made):
    _, _, found, _ = made
    times = [one.time for one in found.candidates]
    for start, stop in ((0, 48), (48, 96), (132, 180), (180, 228)):
        assert any(within(time, start, stop) for time in times)
    assert not any(within(time, 96, 132) for time in times)
    assert found.dropped["black"] >= 2
    assert found.seconds == pytest.approx(228 / RATE)
    assert found.shots >= 4


def test_no_picture_is_at_a_cut(made):
    _, _, found, _ = made
    for cut in (48, 96, 132, 180):
        assert not any(abs(one.time * RATE - cut) < 3 for one in found.candidates)


def test_files_are_crops_of_the_right_shape(made):
    _, folder, found, _ = made
    for one in found.candidates:
        for ratio, name in one.files.items():
            across, down = map(int, ratio.split(":"))
            assert name == f"{one.number:02}-{across}x{down}.jpg"
            high, wide = cv2.imread(str(folder / name)).shape[:2]
            assert wide / high == pytest.approx(across / down, rel=0.01)
            assert (high, wide) <= (240, 426)
    named = {name for one in found.candidates for name in one.files.values()}
    assert {path.name for path in folder.iterdir()} == named | {"candidates.json", "sheet.html"}


def test_list_and_sheet_say_the_same(made):
    _, folder, found, _ = made
    listed = json.loads((folder / "candidates.json").read_text())
    assert tuple(map(Candidate.from_json, listed["candidates"])) == found.candidates
    stands = Folder.open(folder)
    assert stands.candidates == found.candidates
    assert stands.title == "four scenes"
    page = (folder / "sheet.html").read_text()
    assert "matinee artwork approve four 1" in page
    assert all(name in page for one in found.candidates for name in one.files.values())
    assert "<script" not in page
    assert "http" not in page


def test_scores_and_features_are_shares(made):
    _, _, found, _ = made
    for one in found.candidates:
        for values in (one.scores, one.features):
            assert all(0 <= value <= 1 for value in values.values())
        assert one.features["lettering"] == 0


def test_progress_is_told_in_whole_percents(made):
    *_, heard = made
    assert sum(heard) == 100
    assert all(isinstance(percent, int) and percent >= 0 for percent in heard)


@pytest.mark.slow
def test_the_same_film_gives_the_same_pictures(made, tmp_path):
    path, folder, found, _ = made
    again = extract(path, tmp_path / "again", settings=Extraction(until=1.0))
    assert again == found
    for one in found.candidates:
        for name in one.files.values():
            assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("code", ["MJPG", "mp4v"])
def test_avi_is_read(tmp_path, code):
    path = film(tmp_path / "a.avi", scene(1), scene(2), code=code)
    assert len(extract(path, tmp_path / "out").candidates) >= 2


def test_what_would_spoil_the_film_is_never_shown(tmp_path):
    early, late = scene(1, 96, (160, 60, 60)), scene(2, 48, (40, 40, 220))
    path = film(tmp_path / "a.mp4", early, late)
    for until, latest in ((0.66, 96), (0.3, 43)):
        found = extract(path, tmp_path / str(until), settings=Extraction(until=until))
        assert all(one.time * RATE < latest for one in found.candidates)
        for one in found.candidates:
            crop = cv2.imread(str(tmp_path / str(until) / one.files["16:9"]))
            assert crop[..., 0].mean() > crop[..., 2].mean()


@pytest.mark.slow
def test_the_start_is_skipped(tmp_path):
    path = film(tmp_path / "a.mp4", scene(1), scene(2), scene(3))
    found = extract(path, tmp_path / "out", settings=Extraction(skip=2.0, until=1.0))
    assert found.candidates
    assert all(one.time >= 2 for one in found.candidates)


@pytest.mark.slow
def test_fades_and_dissolves_are_not_shown(tmp_path):
    one, other = scene(1, 96), scene(2, 96)
    path = film(
        tmp_path / "a.mp4",
        faded(one[:24], upward=True), one[24:60],
        dissolved(one[60:84], other[:24]),
        other[24:60], faded(other[60:84], upward=False), plain((0, 0, 0), 24),
    )  # fmt: skip
    for skip in (0.0, 0.13, 0.29):
        settings = Extraction(until=1.0, skip=skip, per_shot=9, diversity=0)
        found = extract(path, tmp_path / str(skip), settings=settings)
        assert found.candidates
        for start, stop in ((0, 21), (63, 81), (123, 168)):
            assert not any(within(each.time, start, stop) for each in found.candidates)


GROUNDS = (((0, 0, 0), (255, 255, 255)), ((200, 220, 230), (20, 20, 20)),
           ((120, 60, 30), (40, 220, 240)), ((60, 60, 60), (255, 255, 255)))  # fmt: skip


LARGE = [
    pytest.param(scale, thick, marks=pytest.mark.slow) for scale, thick in ((1.2, 2), (2.0, 4))
]


@pytest.mark.parametrize(("scale", "thick"), [(0.7, 1), *LARGE])
def test_text_cards_are_not_shown(tmp_path, scale, thick):
    texts = ("The end", "Chapter 1", "Matinee", "1987")
    cards = [
        lettered(plain(ground, 18), text, font=font, scale=scale, thick=thick, colour=colour)
        for font in (0, 2, 3, 4, 6)
        for text, (ground, colour) in zip(texts, GROUNDS, strict=True)
    ]
    path = film(tmp_path / "a.mp4", scene(1), *cards, scene(2, 84))
    settings = Extraction(until=1.0, per_shot=9, diversity=0)
    found = extract(path, tmp_path / "out", settings=settings)
    assert found.candidates
    assert not any(within(one.time, 48, 48 + 20 * 18) for one in found.candidates)


@pytest.mark.slow
@pytest.mark.parametrize("colour", [(255, 255, 255), (0, 0, 0), (0, 230, 255)])
def test_captions_are_not_shown(tmp_path, colour):
    moving = scene(5, 180, (90, 90, 90) if sum(colour) else (170, 170, 170))
    texts = ("Directed by", "Amsterdam", "THE END")
    captioned = [
        frame
        for number, text in enumerate(texts)
        for frame in lettered(moving[48 + 28 * number : 76 + 28 * number], text, colour=colour)
    ]
    path = film(tmp_path / "a.mp4", moving[:48], captioned, moving[132:], scene(6))
    settings = Extraction(until=1.0, per_shot=9, diversity=0)
    found = extract(path, tmp_path / "out", settings=settings)
    assert found.candidates
    assert not any(within(one.time, 48, 132) for one in found.candidates)


def test_a_still_picture_gives_one_candidate(tmp_path):
    path = film(tmp_path / "a.mp4", [scene(1)[0]] * 120, scene(2, 48), [scene(1)[0]] * 120)
    found = extract(path, tmp_path / "out", settings=Extraction(until=1.0))
    still = [one for one in found.candidates if not within(one.time, 120, 168)]
    assert len(still) == 1
    assert found.dropped["like a better one"] >= 1


@pytest.mark.slow
def test_at_most_as_many_as_asked_for(tmp_path):
    path = film(tmp_path / "a.mp4", *(scene(seed) for seed in range(5)))
    found = extract(path, tmp_path / "out", settings=Extraction(count=3, until=1.0))
    assert [one.number for one in found.candidates] == [1, 2, 3]


def test_black_bars_are_cut_off(tmp_path):
    framed = []
    for frame in [*scene(1), *scene(2)]:
        frame[:30] = frame[-30:] = 0
        framed.append(frame)
    path = film(tmp_path / "a.mp4", framed)
    found = extract(path, tmp_path / "out", settings=Extraction(until=1.0))
    for one in found.candidates:
        crop = cv2.imread(str(tmp_path / "out" / one.files["1:1"]))
        assert crop.shape[0] <= 180
        assert min(crop[0].mean(), crop[-1].mean()) > 30


@pytest.mark.parametrize(
    ("part", "why"),
    [
        (plain((0, 0, 0), 96), "black"),
        (plain((128, 128, 128), 96), "flat"),
        (lettered(scene(3, 96, (90, 90, 90)), "Matinee presents", scale=1.2), "lettering"),
    ],
)
def test_a_film_without_a_good_frame_says_why(tmp_path, part, why):
    path = film(tmp_path / "a.mp4", part)
    with pytest.raises(MatineeError, match=why):
        extract(path, tmp_path / "out", settings=Extraction(until=1.0))
    assert list(tmp_path.iterdir()) == [path]


def test_a_window_without_frames_says_so(tmp_path):
    path = film(tmp_path / "a.mp4", scene(1))
    with pytest.raises(MatineeError, match="no frame lies between"):
        extract(path, tmp_path / "out", settings=Extraction(skip=60))


@pytest.mark.slow
def test_blurred_frames_are_not_shown(tmp_path):
    blurred = [cv2.GaussianBlur(frame, (0, 0), 12) for frame in scene(2, 72)]
    path = film(tmp_path / "a.mp4", scene(1, 72), blurred)
    found = extract(path, tmp_path / "out", settings=Extraction(until=1.0))
    assert found.candidates
    assert not any(within(one.time, 72, 144) for one in found.candidates)


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    path = film(tmp_path / "a.mp4", scene(1))
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "mine.txt").write_text("keep")
    with pytest.raises(MatineeError, match="not an empty folder"):
        extract(path, folder)
    assert [each.name for each in folder.iterdir()] == ["mine.txt"]
    (folder / "mine.txt").unlink()
    assert extract(path, folder).candidates


def test_a_folder_that_may_not_be_made_is_told(tmp_path):
    path = film(tmp_path / "a.mp4", scene(1))
    with pytest.raises(MatineeError, match="could not be written"):
        extract(path, path / "out")


@pytest.mark.slow
def test_pictures_differ_more_where_diversity_is_asked_for(tmp_path):
    alike = [np.roll(frame, 60 * step, axis=1) for step in range(3) for frame in scene(1, 48)]
    path = film(tmp_path / "a.mp4", alike, *(scene(seed) for seed in range(2, 5)))
    found = extract(path, tmp_path / "out", settings=Extraction(count=4, diversity=1, until=1.0))
    scenes = {max(0, int(one.time * RATE) // 48 - 2) for one in found.candidates}
    assert scenes == {0, 1, 2, 3}
