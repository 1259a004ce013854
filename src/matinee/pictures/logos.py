"""Big letters and logos: flat masses of one colour with a sharp and winding edge."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from matinee.pictures.opencv import cv2

COLOURS = 4
"""The most colours whose masses are looked at."""
SMALLEST = 0.003
"""Share of the picture."""
STEP = 8
"""The most that neighbours of a flat pixel differ, of 255."""
LIKE = 14
SHARP = 45
WINDING, VERY_WINDING = 4.0, 8.0
"""Perimeter^2 / (4 pi area): 1 of a circle, 1.3 of a square, some 5 of a word of touching
letters.
"""


def has_masses(page: NDArray[np.uint8]) -> bool:
    """Whether touching letters stand in a picture [H, W, 3] some 320 wide: one very winding mass,
    or two winding ones of one colour.

    >>> has_masses(np.full((180, 320, 3), 90, np.uint8))
    False
    """
    page = np.ascontiguousarray(page)
    steps = cv2.morphologyEx(page, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    flat = cv2.inRange(steps, (0, 0, 0), (STEP, STEP, STEP)) // 255
    for colour in _colours(page, flat):
        winding = _winding(page, flat, colour)
        if len(winding) > 1 or max(winding, default=0) >= VERY_WINDING:
            return True
    return False


def _colours(page: NDArray[np.uint8], flat: NDArray[np.uint8]) -> list[NDArray[np.float64]]:
    """The commonest colours of flat pixels, of 4,096."""
    pixels = page[flat.astype(bool)]
    coarse = (pixels >> 4).astype(np.uint16)
    codes = (coarse[:, 0] << 8) | (coarse[:, 1] << 4) | coarse[:, 2]
    counts = np.bincount(codes, minlength=4096)
    common = np.argsort(-counts, kind="stable")[:COLOURS]
    enough = [code for code in common if counts[code] >= SMALLEST * flat.size]
    return [pixels[codes == code].mean(axis=0) for code in enough]


def _winding(
    page: NDArray[np.uint8], flat: NDArray[np.uint8], colour: NDArray[np.float64]
) -> list[float]:
    """How winding the masses of a colour are, of those that are flat, sharp and whole."""
    low, high = np.clip(colour - LIKE, 0, 255), np.clip(colour + LIKE, 0, 255)
    near = cv2.inRange(page, low.round(), high.round()) // 255
    count, labels, stats, _ = cv2.connectedComponentsWithStats(near, connectivity=8)
    tall, wide = near.shape
    found = []
    for mass in range(1, count):
        x, y, width, height, area = stats[mass].tolist()
        whole = x > 1 and y > 1 and x + width < wide - 1 and y + height < tall - 1
        if area >= SMALLEST * near.size and whole:
            box = np.s_[y - 2 : y + height + 2, x - 2 : x + width + 2]
            inside = (labels[box] == mass).astype(np.uint8)
            if (flat[box] & inside).sum() >= 0.35 * area and _is_sharp(page[box], inside, colour):
                found.append(_perimeter(inside) ** 2 / (4 * np.pi * area))
    return [value for value in found if value >= WINDING]


def _is_sharp(
    page: NDArray[np.uint8], inside: NDArray[np.uint8], colour: NDArray[np.float64]
) -> bool:
    """Whether two pixels outside the edge the colour is another one."""
    near, far = (cv2.dilate(inside, np.ones((size, size), np.uint8)) for size in (3, 5))
    step = np.abs(page[(far > near)] - colour).max(axis=1)
    return bool((step >= SHARP).mean() >= 0.85)


def _perimeter(inside: NDArray[np.uint8]) -> int:
    edges, _ = cv2.findContours(inside, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return sum(len(edge) for edge in edges)
