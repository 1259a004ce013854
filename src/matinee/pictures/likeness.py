"""How alike two pictures are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from matinee.pictures.opencv import cv2

GRID = (8, 5)
"""Places across and down whose colours are compared."""
BINS = (12, 4, 4)
"""Of hue, saturation and value."""
SAME_BITS, SAME = 6, 0.9
"""Near-duplicates differ in at most so many bits of 64, or are at least so alike."""


class Look(NamedTuple):
    """A picture's fingerprint: 64 bits that tell whether it gets lighter from each place to the
    next one on the right; the share of pixels in each of 192 colours; and the colours of 8 x 5
    places in CIELAB.
    """

    bits: NDArray[np.bool_]
    colours: NDArray[np.float64]
    layout: NDArray[np.float64]


def look(picture: NDArray[np.uint8]) -> Look:
    """The fingerprint of a picture [H, W, 3]."""
    small = cv2.resize(picture, (160, 90), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)
    row = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA).astype(np.int16)
    hues = cv2.cvtColor(small, cv2.COLOR_BGR2HSV)
    counts = cv2.calcHist([hues], [0, 1, 2], None, BINS, [0, 180, 0, 256, 0, 256])
    counts = counts.ravel().astype(np.float64)
    places = cv2.resize(small, GRID, interpolation=cv2.INTER_AREA)
    layout = cv2.cvtColor(places, cv2.COLOR_BGR2LAB).astype(np.float64).reshape(-1, 3)
    return Look(row[:, 1:].ravel() > row[:, :-1].ravel(), counts / counts.sum(), layout)


def likeness(one: Look, other: Look) -> float:
    """How alike two pictures are, in [0, 1]: half for the colours that they share, half for where.

    M. J. Swain, D. H. Ballard: Color indexing. IJCV 1991 (intersection of histograms).

    >>> black, white = (look(np.full((90, 160, 3), light, np.uint8)) for light in (0, 255))
    >>> likeness(black, black), likeness(black, white)
    (1.0, 0.0)
    """
    shared = float(np.minimum(one.colours, other.colours).sum())
    apart = float(np.sqrt(((one.layout - other.layout) ** 2).sum(axis=1)).mean())
    return 0.5 * shared + 0.5 * max(0.0, 1 - apart / 60)


def near_duplicates(one: Look, other: Look) -> bool:
    """Whether a person would say that they are one picture."""
    bits = int((one.bits != other.bits).sum())
    return bits <= SAME_BITS or likeness(one, other) >= SAME
