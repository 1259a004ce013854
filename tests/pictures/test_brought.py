"""Pictures that a person brings."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from films import film, lettered, scene
from matinee.errors import MatineeError
from matinee.pictures import Extraction, Folder, extract, measure

FACES = Path(os.environ.get("MATINEE_DATA", "")) / "faces"
needs_faces = pytest.mark.skipif(
    not os.environ.get("MATINEE_DATA") or not FACES.is_dir(), reason="no faces in MATINEE_DATA"
)


@pytest.mark.parametrize("kind", ["png", "jpg", "webp"])
def test_a_picture_is_measured_and_cut(tmp_path, kind):
    path = tmp_path / f"my picture.{kind}"
    cv2.imwrite(str(path), scene(1, 1)[0])
    one = measure(path, tmp_path / "out", title="Mine", approve="matinee artwork approve mine 1")
    assert (one.number, one.time) == (1, None)
    assert set(one.files) == {"16:9", "2:3", "1:1"}
    assert all((tmp_path / "out" / name).is_file() for name in one.files.values())
    stands = Folder.open(tmp_path / "out")
    assert (stands.title, stands.candidates) == ("Mine", (one,))
    assert "brought" in (tmp_path / "out" / "sheet.html").read_text()


def test_it_comes_after_those_of_the_film(tmp_path):
    path = film(tmp_path / "a.mp4", scene(1), scene(2))
    found = extract(path, tmp_path / "out", settings=Extraction(until=1.0), title="A", approve="ok")
    cv2.imwrite(str(tmp_path / "a.png"), scene(3, 1)[0])
    first, second = (measure(tmp_path / "a.png", tmp_path / "out") for _ in range(2))
    last = found.candidates[-1].number
    assert (first.number, second.number) == (last + 1, last + 2)
    stands = Folder.open(tmp_path / "out")
    assert stands.candidates == (*found.candidates, first, second)
    assert (stands.title, stands.approve) == ("A", "ok")
    assert not [each for each in tmp_path.iterdir() if each.name.startswith(".")]


def test_lettering_is_told_and_not_refused(tmp_path):
    plain, written = scene(1, 1, (90, 90, 90)), tmp_path / "a.png"
    cv2.imwrite(str(written), lettered(plain, "Matinee")[0])
    assert measure(written, tmp_path / "one").features["lettering"] == 1
    cv2.imwrite(str(written), plain[0])
    assert measure(written, tmp_path / "two").features["lettering"] == 0


def test_nothing_is_enlarged(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), cv2.resize(scene(1, 1)[0], (90, 70)))
    one = measure(tmp_path / "a.png", tmp_path / "out")
    shapes = {
        ratio: cv2.imread(str(tmp_path / "out" / name)).shape[:2]
        for ratio, name in one.files.items()
    }
    assert shapes == {"16:9": (51, 90), "2:3": (70, 47), "1:1": (70, 70)}


def test_large_pictures_are_made_as_wide_as_asked_for(tmp_path):
    cv2.imwrite(str(tmp_path / "a.jpg"), cv2.resize(scene(1, 1)[0], (1_600, 900)))
    one = measure(tmp_path / "a.jpg", tmp_path / "out", settings=Extraction(width=320))
    crop = cv2.imread(str(tmp_path / "out" / one.files["16:9"]))
    assert crop.shape == (180, 320, 3)


def test_a_tiny_picture_is_refused(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((20, 300, 3), np.uint8))
    with pytest.raises(MatineeError, match="300 x 20 pixels"):
        measure(tmp_path / "a.png", tmp_path / "out")


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), scene(1, 1)[0])
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "mine.txt").write_text("keep")
    with pytest.raises(MatineeError, match="holds no candidates"):
        measure(tmp_path / "a.png", folder)
    assert [each.name for each in folder.iterdir()] == ["mine.txt"]


@pytest.mark.data
@needs_faces
def test_a_face_is_seen_and_kept_in_every_crop(tmp_path):
    """The astronaut's face, moved to the right of a wide picture."""
    from matinee.pictures.faces import faces

    portrait = cv2.resize(cv2.imread(str(FACES / "astronaut.png")), (360, 360))
    wide = cv2.resize(scene(2, 1)[0], (854, 360))
    wide[:, -360:] = portrait
    cv2.imwrite(str(tmp_path / "a.png"), wide)
    one = measure(tmp_path / "a.png", tmp_path / "out")
    assert one.features["faces"] == pytest.approx(1 / 3, abs=1e-3)
    assert one.features["eyes"] > 0
    assert one.scores["faces"] > 0.5
    for name in one.files.values():
        crop = cv2.imread(str(tmp_path / "out" / name))
        assert len(faces(cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY))) == 1


@pytest.mark.data
@needs_faces
def test_a_picture_without_a_face_has_none(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), scene(2, 1)[0])
    one = measure(tmp_path / "a.png", tmp_path / "out")
    assert one.features["faces"] == one.features["close-up"] == one.scores["faces"] == 0


@pytest.mark.parametrize("name", ["../../evil.jpg", "/etc/passwd", "01-16x9.jpg/..", "01.html"])
def test_a_list_that_names_other_files_is_not_believed(tmp_path, name):
    cv2.imwrite(str(tmp_path / "a.png"), scene(1, 1)[0])
    measure(tmp_path / "a.png", tmp_path / "out")
    listed = tmp_path / "out" / "candidates.json"
    listed.write_text(listed.read_text().replace("01-16x9.jpg", name))
    with pytest.raises(MatineeError, match="holds no candidates"):
        Folder.open(tmp_path / "out")
