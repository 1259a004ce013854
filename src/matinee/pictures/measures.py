"""What is measured of one picture: numbers in [0, 1] that do not depend on its size."""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot

import numpy as np
from numpy.typing import NDArray

from matinee.pictures.faces import Face, faces
from matinee.pictures.opencv import cv2
from matinee.pictures.saliency import SIDE, centre, saliency, thirds, title_room

WIDTH = 480
"""Pixels across at which everything is measured."""
WEIGHTS = {
    "sharpness": 0.2,
    "stillness": 0.1,
    "exposure": 0.15,
    "contrast": 0.1,
    "colour": 0.15,
    "faces": 0.15,
    "composition": 0.1,
    "title room": 0.05,
}
"""How much each measure counts in the overall score."""
FEW_LEVELS, DARK = 0.06, 0.07
"""Below this standard deviation a picture is flat; below this mean it is black."""


@dataclass(frozen=True)
class Measured:
    """A picture's scores and features, in [0, 1], with what its crops are centred on: weights
    [64, 64] over the whole picture that sum to 1.
    """

    scores: dict[str, float]
    features: dict[str, float]
    weights: NDArray[np.float64]


def measured(picture: NDArray[np.uint8]) -> Measured:
    """Everything about a picture [H, W, 3].

    >>> grey = measured(np.full((90, 160, 3), 128, np.uint8))
    >>> grey.scores["sharpness"], grey.scores["colour"], grey.features["faces"]
    (0.0, 0.0, 0.0)
    """
    page = paged(picture)
    grey = cv2.cvtColor(page, cv2.COLOR_BGR2GRAY)
    seen, catching = faces(grey), saliency(grey)
    weights = subject(catching, seen)
    scores = {
        "sharpness": sharpness(grey),
        "stillness": stillness(grey),
        "exposure": exposure(grey),
        "contrast": contrast(grey),
        "colour": colourfulness(page),
        "faces": face_score(seen),
        "composition": thirds(*centre(weights)),
        "title room": title_room(grey),
    }
    scores["overall"] = sum(WEIGHTS[name] * score for name, score in scores.items())
    return Measured(_rounded(scores), _rounded(features(page, grey, seen)), weights)


def paged(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture at the width at which it is measured."""
    shape = (WIDTH, max(16, round(picture.shape[0] * WIDTH / picture.shape[1])))
    page: NDArray[np.uint8] = cv2.resize(picture, shape, interpolation=cv2.INTER_AREA)
    return page


def sharpness(grey: NDArray[np.uint8]) -> float:
    """The variance of the Laplacian, on a logarithmic scale: 0 from 3, 1 from 3,000.

    J. L. Pech-Pacheco et al.: Diatom autofocusing in brightfield microscopy. ICPR 2000.
    """
    variance = float(cv2.Laplacian(grey, cv2.CV_32F).var())
    return _between(np.log10(max(variance, 1e-9)), np.log10(3), np.log10(3_000))


def stillness(grey: NDArray[np.uint8]) -> float:
    """1 less the blur: how much of the differences of neighbours a further blur takes away, along
    the worse of the two axes. Motion smears one of them.

    F. Crété et al.: The blur effect. Human Vision and Electronic Imaging XII, 2007.
    """
    left = []
    for kernel, axis in (((9, 1), 1), ((1, 9), 0)):
        own, blurred = (
            np.abs(np.diff(each.astype(np.float32), axis=axis))
            for each in (grey, cv2.blur(grey, kernel))
        )
        total = float(own.sum())
        left.append(float(np.maximum(own - blurred, 0).sum()) / total if total > 0 else 0.0)
    return _between(min(left), 0.1, 0.7)


def exposure(grey: NDArray[np.uint8]) -> float:
    """1 where the mean is that of a usual picture (0.45) and nothing is lost in black or white."""
    lost = float(((grey <= 4) | (grey >= 251)).mean())
    return max(0.0, 1 - abs(float(grey.mean()) / 255 - 0.45) / 0.45 - lost)


def contrast(grey: NDArray[np.uint8]) -> float:
    """The standard deviation of grey over a quarter of its range."""
    return min(1.0, float(grey.std()) / 255 / 0.25)


def colourfulness(page: NDArray[np.uint8]) -> float:
    r"""sigma + 0.3 mu of the two opponent colours, over 109 ("extremely colourful").

    With rg = R - G and yb = (R + G) / 2 - B, sigma is the root of the summed variances and mu that
    of the summed squared means. D. Hasler, S. Suesstrunk: Measuring colourfulness in natural
    images. SPIE 5007, 2003.

    >>> colourfulness(np.full((2, 2, 3), 77, np.uint8))
    0.0
    """
    blue, green, red = (page[..., channel].astype(np.float32) for channel in range(3))
    opponents = (red - green, (red + green) / 2 - blue)
    sigma = hypot(*(float(each.std()) for each in opponents))
    mu = hypot(*(float(each.mean()) for each in opponents))
    return min(1.0, (sigma + 0.3 * mu) / 109)


def face_score(seen: list[Face]) -> float:
    """Half for a face, a quarter for its size (full at half the height), a quarter for its eyes."""
    if not seen:
        return 0.0
    return 0.5 + 0.25 * min(1.0, seen[0].height / 0.5) + 0.125 * seen[0].eyes


def features(
    page: NDArray[np.uint8], grey: NDArray[np.uint8], seen: list[Face]
) -> dict[str, float]:
    """What the picture shows, in [0, 1]: its faces, its light and its colours."""
    light = float(grey.mean()) / 255
    blue, _, red = (float(page[..., channel].mean()) / 255 for channel in range(3))
    warmth = (red - blue) / max(red + blue, 1e-9)
    return {
        "faces": min(len(seen), 3) / 3,
        "close-up": _between(seen[0].height if seen else 0.0, 0.15, 0.6),
        "eyes": max((face.eyes for face in seen), default=0) / 2,
        "dark": _between(-light, -0.4, -0.1),
        "bright": _between(light, 0.5, 0.8),
        "warm": _between(warmth, 0.0, 0.4),
        "cool": _between(-warmth, 0.0, 0.4),
        "colourful": colourfulness(page),
        "contrast": contrast(grey),
        "busy": 1 - title_room(grey),
    }


def subject(catching: NDArray[np.float64], seen: list[Face]) -> NDArray[np.float64]:
    """What the eye rests on [64, 64]: faces where there are any, else what catches it."""
    on_faces = np.zeros_like(catching)
    for face in seen:
        top, left = int(face.top * SIDE), int(face.left * SIDE)
        bottom, right = (face.top + face.height) * SIDE, (face.left + face.width) * SIDE
        on_faces[top : int(np.ceil(bottom)), left : int(np.ceil(right))] += face.height
    total = on_faces.sum()
    return 0.15 * catching + 0.85 * on_faces / total if total > 0 else catching


def is_black(grey: NDArray[np.uint8]) -> bool:
    """Whether nearly nothing is lit: a dark mean, or a black picture with a small light."""
    return bool(grey.mean() < 255 * DARK or np.percentile(grey, 90) < 255 * 0.16)


def is_flat(grey: NDArray[np.uint8]) -> bool:
    """Whether it is nearly of one grey."""
    return bool(grey.std() < 255 * FEW_LEVELS)


def _between(value: float, zero: float, one: float) -> float:
    return float(np.clip((value - zero) / (one - zero), 0, 1))


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(float(np.clip(value, 0, 1)), 4) for name, value in values.items()}
