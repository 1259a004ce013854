"""Faces, by the cascades that come with OpenCV.

P. Viola, M. Jones: Rapid object detection using a boosted cascade of simple features. CVPR 2001.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from matinee.pictures.opencv import cv2

WIDTH = 400
"""Pixels across at which faces are looked for."""
SMALLEST = 0.1
"""Of the height of the picture."""


class Face(NamedTuple):
    """A face's box, as shares of width and height, and how many open eyes were found: 0, 1, 2."""

    left: float
    top: float
    width: float
    height: float
    eyes: int


def faces(grey: NDArray[np.uint8]) -> list[Face]:
    """The faces that look at us in a grey picture [H, W], the largest first.

    >>> faces(np.zeros((90, 160), np.uint8))
    []
    """
    high = max(1, round(grey.shape[0] * WIDTH / grey.shape[1]))
    page = cv2.equalizeHist(cv2.resize(grey, (WIDTH, high), interpolation=cv2.INTER_AREA))
    least = max(24, round(SMALLEST * high))
    boxes = _cascade("frontalface_alt2").detectMultiScale(
        page, scaleFactor=1.15, minNeighbors=5, minSize=(least, least)
    )
    found = sorted(map(tuple, np.reshape(boxes, (-1, 4)).tolist()), key=lambda b: (-b[3], b))
    return [
        Face(x / WIDTH, y / high, w / WIDTH, h / high, _eyes(grey, x, y, w, h))
        for x, y, w, h in found
    ]


def _eyes(grey: NDArray[np.uint8], x: int, y: int, width: int, height: int) -> int:
    """Open eyes in the upper part of a face whose box is in pixels of the page."""
    scale = grey.shape[1] / WIDTH
    top, bottom = round(y * scale), round((y + 0.6 * height) * scale)
    upper = grey[top:bottom, round(x * scale) : round((x + width) * scale)]
    upper = cv2.resize(upper, (120, 72), interpolation=cv2.INTER_LINEAR)
    found = _cascade("eye").detectMultiScale(upper, 1.1, 4, minSize=(20, 20), maxSize=(60, 60))
    return min(2, len(found))


@cache
def _cascade(name: str) -> Any:
    return cv2.CascadeClassifier(f"{cv2.data.haarcascades}haarcascade_{name}.xml")
