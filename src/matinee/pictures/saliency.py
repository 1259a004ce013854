"""What catches the eye in a picture, how it is composed, and where a title has room."""

from __future__ import annotations

from math import hypot

import numpy as np
from numpy.typing import NDArray

from matinee.pictures.opencv import cv2

SIDE = 64
TITLE_SAFE = 0.9
"""The share of width and height in which titles may stand, by SMPTE ST 2046-1; action has 93 %."""
BUSY = 24.0
"""Mean gradient of grey, of 255, at which nothing can be read on top."""


def saliency(grey: NDArray[np.uint8]) -> NDArray[np.float64]:
    """How much each place catches the eye, 64 x 64 over the whole picture, summing to 1.

    The spectral residual: what is left of the log spectrum once its smooth part is taken away.
    X. Hou, L. Zhang: Saliency detection, a spectral residual approach. CVPR 2007.

    >>> ball = cv2.circle(np.zeros((90, 160), np.uint8), (45, 25), 6, 240, -1)
    >>> places = saliency(ball)
    >>> down, across = np.unravel_index(places.argmax(), places.shape)
    >>> bool(12 < down < 24 and 12 < across < 24)
    True
    """
    small = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float64)
    spectrum = np.fft.fft2(small)
    strength = np.log(np.abs(spectrum) + 1e-9)
    residual = strength - cv2.blur(strength, (3, 3))
    found = np.abs(np.fft.ifft2(np.exp(residual + 1j * np.angle(spectrum)))) ** 2
    found = cv2.GaussianBlur(found, (0, 0), 2.5)
    # What is cut off at the border looks like a contrast.
    edge = np.minimum(np.arange(SIDE) + 1, SIDE - np.arange(SIDE)).clip(max=6) / 6
    found = np.maximum(found - np.median(found), 0) * edge * edge[:, None]
    total = found.sum()
    return found / total if total > 0 else np.full((SIDE, SIDE), SIDE**-2.0)


def centre(weights: NDArray[np.float64]) -> tuple[float, float]:
    """The centre of gravity of weights [H, W], across and down, in [0, 1].

    >>> centre(np.ones((4, 4)))
    (0.5, 0.5)
    """
    total = weights.sum()
    down, across = weights.sum(axis=1), weights.sum(axis=0)
    places = [(np.arange(len(w)) + 0.5) @ w / len(w) / total for w in (across, down)]
    return float(places[0]), float(places[1])


def thirds(across: float, down: float) -> float:
    """The rule of thirds: 1 where the subject is on a crossing of the thirds, 0 in a corner.

    >>> thirds(1 / 3, 2 / 3), thirds(0, 0)
    (1.0, 0.0)
    """
    nearest = [min(abs(place - 1 / 3), abs(place - 2 / 3)) for place in (across, down)]
    return 1 - hypot(*nearest) / hypot(1 / 3, 1 / 3)


def title_room(grey: NDArray[np.uint8]) -> float:
    """How calm the calmest third of the title-safe area is (left, right, top or bottom), in [0, 1].

    >>> title_room(np.full((90, 160), 80, np.uint8))
    1.0
    """
    busy = cv2.magnitude(
        cv2.Scharr(grey, cv2.CV_32F, 1, 0) / 16, cv2.Scharr(grey, cv2.CV_32F, 0, 1) / 16
    )
    high, wide = busy.shape
    top, left = round(high * (1 - TITLE_SAFE) / 2), round(wide * (1 - TITLE_SAFE) / 2)
    safe = busy[top : high - top, left : wide - left]
    third, across = len(safe) // 3, safe.shape[1] // 3
    places = (safe[:third], safe[-third:], safe[:, :across], safe[:, -across:])
    return max(0.0, 1 - min(float(place.mean()) for place in places) / BUSY)
