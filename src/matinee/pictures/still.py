"""A picture that a person brings, decoded and cut: runs in the reader's process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from matinee.errors import MatineeError
from matinee.pictures import crops
from matinee.pictures.candidate import Candidate
from matinee.pictures.lettering import LIKELY, lettering
from matinee.pictures.measures import measured
from matinee.pictures.opencv import cv2
from matinee.pictures.settings import Extraction

SMALLEST = 64
"""Pixels on each side."""


def read_picture(
    path: Path, folder: Path, settings: Extraction, say: Callable[[dict[str, Any]], None]
) -> None:
    """Write the crops of a picture as number 1 of the folder, and say what was measured."""
    data = np.frombuffer(path.read_bytes(), np.uint8)
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if picture is None:
        why, step = "it is damaged", "see that it opens, or give another"
        raise MatineeError(f"{path.name} cannot be read", why=why, next_step=step)
    high, wide = picture.shape[:2]
    if min(high, wide) < SMALLEST:
        why = f"it is {wide} x {high} pixels, and {SMALLEST} are needed on each side"
        raise MatineeError(f"{path.name} is not used", why=why, next_step="give a larger one")
    found = measured(picture)
    features = {**found.features, "lettering": float(lettering(picture) >= LIKELY)}
    files = crops.written(
        picture, found.weights, folder, "01", width=settings.width, quality=settings.quality
    )
    say({"candidate": Candidate(1, None, files, found.scores, features).as_json()})
