"""The frames that are good enough, the best few score of a film."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from matinee.pictures.choice import most_different
from matinee.pictures.likeness import Look, look, near_duplicates
from matinee.pictures.measures import Measured, measured
from matinee.pictures.opencv import cv2
from matinee.pictures.settings import Extraction

TIMES = 16
"""How many times as many frames are kept as pictures are wanted."""
BLURRED, SMEARED = 0.12, 0.15
"""Below this sharpness, or stillness, a frame is blurred."""


@dataclass(frozen=True)
class Kept:
    """A frame that is kept, compressed with next to no loss."""

    seconds: float
    data: bytes
    measured: Measured
    look: Look

    @property
    def score(self) -> float:
        return self.measured.scores["overall"]

    def picture(self) -> NDArray[np.uint8]:
        found: NDArray[np.uint8] = cv2.imdecode(
            np.frombuffer(self.data, np.uint8), cv2.IMREAD_COLOR
        )
        return found


class Pool:
    """Frames of one film, no two of them near-duplicates. lightest : in any of them, of grey."""

    def __init__(self, settings: Extraction) -> None:
        self.settings = settings
        self.lightest: NDArray[np.uint8] | None = None
        self._kept: list[Kept] = []

    def offer(self, seconds: float, picture: NDArray[np.uint8]) -> str | None:
        """Keep a frame [H, W, 3], or say why not. A weaker near-duplicate makes way for it."""
        light = picture.max(axis=2)
        self.lightest = light if self.lightest is None else np.maximum(self.lightest, light)
        found, seen = measured(picture), look(picture)
        if found.scores["sharpness"] < BLURRED or found.scores["stillness"] < SMEARED:
            return "blurred"
        alike = [kept for kept in self._kept if near_duplicates(seen, kept.look)]
        if any(kept.score >= found.scores["overall"] for kept in alike):
            return "like a better one"
        self._kept = [kept for kept in self._kept if kept not in alike]
        self._kept.append(Kept(seconds, self._compressed(picture), found, seen))
        if len(self._kept) > TIMES * self.settings.count:
            self._kept.remove(min(self._kept, key=lambda kept: kept.score))
        return None

    def _compressed(self, picture: NDArray[np.uint8]) -> bytes:
        scale = min(1.0, 2 * self.settings.width / picture.shape[1])
        if scale < 1:
            picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        return bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 97])[1])

    def chosen(self) -> list[Kept]:
        """The best that differ most, the best first."""
        scores, looks = [k.score for k in self._kept], [k.look for k in self._kept]
        places = most_different(scores, looks, self.settings.count, self.settings.diversity)
        return [self._kept[place] for place in places]
