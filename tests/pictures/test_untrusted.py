"""Files that are broken, made to do harm, or no films at all; and a reader that dies."""

import os
import resource
import signal
import struct
import subprocess
import sys
import zlib
from contextlib import suppress

import cv2
import numpy as np
import pytest

from films import film, scene
from matinee.errors import MatineeError
from matinee.pictures import Extraction, Folder, Limits, child, extract, measure
from matinee.pictures.media import container, picture_size
from matinee.pictures.reader import confine


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return film(tmp_path_factory.mktemp("good") / "good.mp4", scene(1), scene(2))


def png(width: int, height: int) -> bytes:
    """A PNG file that says how large it is, and holds nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checked = kind + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"")
    start = b"\x89PNG\r\n\x1a\n"
    return start + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n/etc/hostname\n#EXT-X-ENDLIST\n"


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("empty.mp4", b"", "empty"),
        ("text.mp4", b"This is a text, and no film. " * 40, "is not MP4"),
        ("list.mp4", PLAYLIST, "is not MP4"),
        ("concat.mkv", b"ffconcat version 1.0\nfile '/etc/hostname'\n", "is not MP4"),
        ("picture.mp4", png(64, 64), "is not MP4"),
        ("script.mp4", b"#!/bin/sh\necho hello\n" * 50, "is not MP4"),
        ("box.mp4", bytes(4) + b"ftypisom" + b"\x00" * 900, "no film in it"),
        ("ebml.mkv", b"\x1a\x45\xdf\xa3" + b"\x9f" * 900, "no film in it"),
        ("riff.avi", b"RIFF\x00\x10\x00\x00AVI LIST" + b"\x00" * 900, "no film in it"),
        ("packets.ts", (b"G" + b"#EXTM3U\n/etc/hostname\n".ljust(187)) * 9, "no film in it"),
        ("sdp.ts", (b"Gv=0\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n".ljust(188)) * 9, "no film"),
    ],
)
def test_what_is_no_film_is_refused(tmp_path, name, data, why):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(MatineeError, match=why) as refusal:
        extract(path, tmp_path / "out")
    assert name in str(refusal.value)
    assert refusal.value.next_step
    assert list(tmp_path.iterdir()) == [path]


def test_a_playlist_is_not_opened_even_if_its_beginning_is_forged(tmp_path, monkeypatch, capfd):
    """The decoder itself has a list of what it may open."""
    path = tmp_path / "list.m3u8"
    path.write_bytes(PLAYLIST)
    said = child.told("film", path, tmp_path, Extraction())
    with pytest.raises(MatineeError, match="no film in it"):
        list(said)
    assert capfd.readouterr() == ("", "")


def test_a_film_that_breaks_off_is_refused(tmp_path, good):
    data = good.read_bytes()
    path = tmp_path / "half.mp4"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(MatineeError, match=r"half\.mp4 cannot be read"):
        extract(path, tmp_path / "out")
    avi = film(tmp_path / "whole.avi", scene(1, 96), code="MJPG").read_bytes()
    path.write_bytes(avi[: len(avi) // 3])
    with pytest.raises(MatineeError, match=r"half\.mp4 cannot be read"):
        extract(path, tmp_path / "out")


def test_a_film_of_noise_is_refused_or_read(tmp_path, good):
    """Whatever stands in the frames, the answer is pictures or a plain message."""
    data = bytearray(good.read_bytes())
    at = data.index(b"mdat") + 64
    data[at : at + 20_000] = np.random.default_rng(0).bytes(20_000)
    path = tmp_path / "noise.mp4"
    path.write_bytes(data)
    with suppress(MatineeError):
        extract(path, tmp_path / "out", settings=Extraction(until=1.0))
    left = {each.name for each in tmp_path.iterdir()} - {"noise.mp4"}
    assert left in (set(), {"out"})
    for one in Folder.open(tmp_path / "out").candidates if left else ():
        assert all((tmp_path / "out" / name).is_file() for name in one.files.values())


def test_what_is_no_file_is_refused(tmp_path, good):
    with pytest.raises(MatineeError, match="not a regular file"):
        extract(tmp_path, tmp_path / "out")
    with pytest.raises(MatineeError, match="No such file"):
        extract(tmp_path / "missing.mp4", tmp_path / "out")
    with pytest.raises(MatineeError, match="climbs with"):
        extract(good.parent / ".." / good.parent.name / good.name, tmp_path / "out")
    with pytest.raises(MatineeError, match="climbs with"):
        extract(good, tmp_path / ".." / "out")
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(MatineeError, match="not a regular file"):
        extract(tmp_path / "pipe.mp4", tmp_path / "out")


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/a.mp4", "concat:a.mp4|b.mp4", "\0"])
def test_addresses_are_no_files(tmp_path, address):
    with pytest.raises(MatineeError):
        extract(type(tmp_path)(address), tmp_path / "out")


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        (Limits(size=1_000), "1,000 are allowed"),
        (Limits(hours=1e-6), "hours are allowed"),
        (Limits(frames=50), "50 frames"),
        (Limits(pixels=10_000), "10,000 pixels"),
        (Limits(seconds=0.05), "longer than the 0.05 seconds"),
        (Limits(memory=64 * 2**20), "reader broke down|could not be loaded"),
    ],
)
def test_limits_hold(tmp_path, good, limits, why):
    with pytest.raises(MatineeError, match=why) as refusal:
        extract(good, tmp_path / "out", settings=Extraction(limits=limits))
    assert refusal.value.next_step
    assert not list(tmp_path.iterdir())


def test_a_reader_that_is_killed_is_told(tmp_path, good, monkeypatch):
    class Killed(subprocess.Popen):
        def __init__(self, *given, **named):
            super().__init__(*given, **named)
            os.kill(self.pid, signal.SIGKILL)

    monkeypatch.setattr(child.subprocess, "Popen", Killed)
    with pytest.raises(MatineeError, match="reader broke down"):
        extract(good, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_the_reader_gives_up_its_rights():
    """In a process of its own, as rights do not come back."""
    code = (
        "import resource as r; from matinee.pictures.reader import confine; "
        "from matinee.pictures import Limits; confine(Limits(memory=2**31, seconds=60)); "
        "print(r.getrlimit(r.RLIMIT_AS), r.getrlimit(r.RLIMIT_CORE), r.getrlimit(r.RLIMIT_NOFILE))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.split("\n")[0] == f"{(2**31, 2**31)} {(0, 0)} {(64, 64)}"
    assert callable(confine)
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 64


def test_opencv_is_asked_for_where_it_is_missing(tmp_path, good, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    for ask in (lambda: extract(good, tmp_path / "out"), lambda: measure(good, tmp_path / "out")):
        with pytest.raises(MatineeError, match=r"pip install 'matinee\[video\]'"):
            ask()
    from matinee.pictures.opencv import cv2 as lazy

    with pytest.raises(MatineeError, match="OpenCV is not installed"):
        lazy.resize  # noqa: B018


def test_importing_the_room_does_not_import_opencv():
    code = "import sys, matinee.pictures.reader; print('cv2' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "False\n"


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("empty.png", b"", "empty"),
        ("text.png", b"no picture " * 99, "is not JPEG"),
        ("large.png", png(60_000, 60_000), "60,000 x 60,000"),
        ("none.png", png(0, 10), "0 x 10"),
        ("hollow.png", png(640, 360), "damaged"),
        ("short.jpg", b"\xff\xd8\xff", "breaks off"),
        ("short.webp", b"RIFF\x00\x00\x00\x00WEBPVP8 ", "breaks off"),
        ("vector.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is not JPEG"),
    ],
)
def test_what_is_no_picture_is_refused(tmp_path, name, data, why):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(MatineeError, match=why) as refusal:
        measure(path, tmp_path / "out")
    assert refusal.value.next_step
    assert list(tmp_path.iterdir()) == [path]


def test_containers_are_known_by_their_beginning(tmp_path, good):
    heads = {"mov": good.read_bytes()[:564]}
    avi = film(tmp_path / "a.avi", scene(1, 4), code="MJPG")
    heads["avi"] = avi.read_bytes()[:564]
    heads["mpegts"] = (b"G" + bytes(187)) * 3
    heads["matroska"] = b"\x1a\x45\xdf\xa3"
    assert {kind: container(head) for kind, head in heads.items()} == {kind: kind for kind in heads}
    assert container(b"") is None
    assert container(b"G" * 100) is None


@pytest.mark.parametrize("kind", [".png", ".jpg", ".webp"])
@pytest.mark.parametrize("shape", [(70, 111), (480, 852)])
def test_declared_sizes_are_read(kind, shape):
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    data = cv2.imencode(kind, picture)[1].tobytes()
    assert picture_size(data) == shape[::-1]
    if kind == ".webp":
        lossless = cv2.imencode(kind, picture, [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes()
        assert picture_size(lossless) == shape[::-1]
