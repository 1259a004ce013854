"""The crops of a picture around what the eye rests on, as JPEG files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from matinee.errors import MatineeError
from matinee.pictures.candidate import RATIOS
from matinee.pictures.opencv import cv2

BLACK = 24
"""The lightest grey, of 255, of a bar around the picture."""
WIDEST_BAR = 0.25
"""Of the height or width, on each side."""


def window(
    weights: NDArray[np.float64], width: int, height: int, ratio: float
) -> tuple[int, int, int, int]:
    """The largest window of a ratio (width over height) in a picture, where most weight is.

    weights : [h, w] over the whole picture. Returns left, top, right, bottom in pixels. Among
    windows of nearly the same weight the one nearest to the centre is taken.

    >>> right = np.zeros((4, 4))
    >>> right[:, 3] = 1.0
    >>> window(right, 160, 90, 1.0)
    (70, 0, 160, 90)
    """
    if width / height > ratio:
        size = min(width, max(1, round(height * ratio)))
        left = _place(weights.sum(axis=0), width, size)
        return left, 0, left + size, height
    size = min(height, max(1, round(width / ratio)))
    top = _place(weights.sum(axis=1), height, size)
    return 0, top, width, top + size


def _place(profile: NDArray[np.float64], length: int, size: int) -> int:
    """Where a window of `size` pixels begins, along an axis of `length` pixels."""
    edges = np.linspace(0, length, len(profile) + 1)
    before = np.concatenate([[0.0], np.cumsum(profile)])
    starts = np.arange(length - size + 1)
    inside = np.interp(starts + size, edges, before) - np.interp(starts, edges, before)
    off_centre = np.abs(starts + size / 2 - length / 2) / length
    middle = _middle(profile) * length
    off_subject = np.abs(starts + size / 2 - middle) / length
    total = before[-1] or 1.0
    return int((inside / total - 0.02 * off_centre - 0.05 * off_subject).argmax())


def _middle(profile: NDArray[np.float64]) -> float:
    """Where half of the weight lies on each side, in [0, 1]."""
    total = np.cumsum(profile)
    if not total[-1]:
        return 0.5
    return float((np.searchsorted(total, total[-1] / 2) + 0.5) / len(profile))


def bars(lightest: NDArray[np.uint8]) -> tuple[float, float, float, float]:
    """The black bars around a film: left, top, right, bottom, as shares of width and height.

    lightest : the lightest grey that each place has in any frame [H, W]. Without bars all are 0;
    where more than a quarter of a side is black it is no bar, and all are 0 too.

    >>> framed = np.full((90, 160), 99, np.uint8)
    >>> framed[:9] = framed[-9:] = 0
    >>> bars(framed)
    (0.0, 0.1, 0.0, 0.1)
    """
    light = lightest > BLACK
    across, down = light.mean(axis=0) > 0.02, light.mean(axis=1) > 0.02
    left, top, right, bottom = map(_dark, (across, down, across[::-1], down[::-1]))
    if max(left, top, right, bottom) > WIDEST_BAR:
        return 0.0, 0.0, 0.0, 0.0
    return left, top, right, bottom


def trimmed(
    picture: NDArray[np.uint8], around: tuple[float, float, float, float]
) -> NDArray[np.uint8]:
    """A picture [H, W, 3] without the bars around it and a pixel more, which is half dark."""
    high, wide = picture.shape[:2]
    left, top, right, bottom = (
        round(share * size) + 1 if share else 0
        for share, size in zip(around, (wide, high, wide, high), strict=True)
    )
    return picture[top : high - bottom, left : wide - right]


def _dark(lit: NDArray[np.bool_]) -> float:
    """The share of an axis that is dark before the first light."""
    return float(lit.argmax()) / len(lit) if lit.any() else 0.0


def written(
    picture: NDArray[np.uint8],
    weights: NDArray[np.float64],
    folder: Path,
    name: str,
    *,
    width: int,
    quality: int,
) -> dict[str, str]:
    """Write the crops of a picture into the folder; their names by ratio.

    A crop is `width` pixels wide at most, or as high where it stands; it is never enlarged.
    """
    files: Mapping[str, str] = {ratio: f"{name}-{ratio.replace(':', 'x')}.jpg" for ratio in RATIOS}
    high, wide = picture.shape[:2]
    for ratio, file in files.items():
        left, top, right, bottom = window(weights, wide, high, RATIOS[ratio])
        crop = picture[top:bottom, left:right]
        scale = min(1.0, width / max(crop.shape[:2]))
        if scale < 1:
            shape = tuple(max(1, round(side * scale)) for side in (right - left, bottom - top))
            crop = cv2.resize(crop, shape, interpolation=cv2.INTER_AREA)
        whole, data = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, quality])
        if not whole:
            raise MatineeError(f"{file} could not be written", next_step="try again")
        (folder / file).write_bytes(data.tobytes())
    return dict(files)
