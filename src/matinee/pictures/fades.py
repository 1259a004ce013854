"""Which frames are in the middle of a fade or a dissolve.

Two signs, as each alone misses some. A frame that is a mixture of what was before and what comes
after is a linear one, if little moves. And what fades stays what it is and only loses contrast:
parts of a frame before, or after, are found again, perhaps elsewhere, but weaker.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from matinee.pictures.opencv import cv2

REACHES = ((2, 0.2), (4, 0.25), (8, 0.3), (12, 0.3))
"""How many frames before and after a mixture is looked for, and how much of it may stay
unexplained: what moves slowly is nearly linear too, over a short time.
"""
CHANGE = 0.05
"""The least difference of the frames before and after, root mean square, of 1."""
FADING = (3, 6)
"""How many frames before and after parts are looked for that have lost contrast."""
PART, SEARCH = (12, 16), 4
"""Height and width of a part, and how far it may move, in pixels of a small frame."""
FOUND, WEAKER, ROUGH = 0.8, 0.8, 5.0
"""The least correlation of a part that is found again; the ratio of contrasts below which it
fades; and the least contrast (standard deviation, of 255) of parts that are looked for.
"""


def is_mixture(shot: Sequence[NDArray[np.uint8]], place: int) -> bool:
    """Whether the frame at `place` of a shot, of small frames, is in a fade or a dissolve.

    >>> light = np.linspace(0, 250, 64, dtype=np.uint8)[None, :, None]
    >>> fade = [np.repeat(light // 10 * step, 36, 0).repeat(3, 2) for step in range(10)]
    >>> is_mixture(fade, 5), is_mixture([fade[5]] * 10, 5)
    (True, False)
    """
    frame, last = shot[place], len(shot) - 1
    for reach, unexplained in REACHES:
        inside = reach <= min(place, last - place)
        if inside and mixed(shot[place - reach], frame, shot[place + reach], unexplained):
            return True
    others = {max(0, place - reach) for reach in FADING} | {
        min(last, place + reach) for reach in FADING
    }
    return any(contrast_left(shot[other], frame) < WEAKER for other in sorted(others - {place}))


def mixed(
    before: NDArray[np.uint8],
    frame: NDArray[np.uint8],
    after: NDArray[np.uint8],
    unexplained: float,
) -> bool:
    r"""Whether `frame` lies on the line between two others.

    With b, f, a the three pictures as vectors and d = a - b, a mixture is f = b + t d for some
    share t. `frame` is one if t is in [0.08, 0.92] and \|f - b - t d\| / \|d\| at most
    `unexplained`; where before and after are much alike nothing is mixed.

    >>> black, white = np.zeros((4, 4), np.uint8), np.full((4, 4), 200, np.uint8)
    >>> mixed(black, np.full((4, 4), 90, np.uint8), white, 0.2), mixed(black, white, white, 0.2)
    (True, False)
    """
    start, step = before.astype(np.float32), after.astype(np.float32) - before
    length = float((step**2).mean())
    if length < (255 * CHANGE) ** 2:
        return False
    moved = frame - start
    share = float((moved * step).mean()) / length
    rest = float(((moved - share * step) ** 2).mean())
    return 0.08 <= share <= 0.92 and rest <= unexplained**2 * length


def contrast_left(other: NDArray[np.uint8], frame: NDArray[np.uint8]) -> float:
    """The median, over the parts of another frame that are found again in this one, of the
    contrast that they have here over what they have there; 1 where fewer than two are found.
    """
    there, here = (cv2.cvtColor(each, cv2.COLOR_BGR2GRAY) for each in (other, frame))
    high, wide = PART
    rows, columns = there.shape[0] // high, there.shape[1] // wide
    parts = there[: rows * high, : columns * wide].reshape(rows, high, columns, wide)
    contrasts = parts.std(axis=(1, 3))
    ratios = []
    for row, column in np.argwhere(contrasts >= ROUGH).tolist():
        top, left = row * high, column * wide
        part = there[top : top + high, left : left + wide]
        around = here[
            max(0, top - SEARCH) : top + high + SEARCH,
            max(0, left - SEARCH) : left + wide + SEARCH,
        ]
        if (found := _found(part, around)) is not None:
            ratios.append(found / contrasts[row, column])
    return float(np.median(ratios)) if len(ratios) > 1 else 1.0


def _found(part: NDArray[np.uint8], around: NDArray[np.uint8]) -> float | None:
    """The contrast of a part where it is found again; None where it is not."""
    _, best, _, (left, top) = cv2.minMaxLoc(cv2.matchTemplate(around, part, cv2.TM_CCOEFF_NORMED))
    if best < FOUND:
        return None
    high, wide = part.shape
    return float(best * around[top : top + high, left : left + wide].std())
