"""Where shots begin: looked for in small frames, 64 x 36, some 12 a second."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

AROUND = 5
"""How many distances on each side a distance is compared with."""
LEAST, TIMES = 0.03, 3.0


def distance(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """The mean absolute difference of two frames of one shape, in [0, 1].

    >>> distance(np.zeros((2, 2), np.uint8), np.full((2, 2), 255, np.uint8))
    1.0
    """
    return float(np.abs(one.astype(np.int16) - other).mean()) / 255


def is_cut(distances: Sequence[float], place: int) -> bool:
    """Whether the shot changes at `place`, distances[i] being from frame i - 1 to frame i.

    It does where the distance is 0.03 at least, and three times what is usual among the five on
    each side: in a wild chase all distances are large, and none of them is a cut.

    >>> is_cut([0.01, 0.01, 0.3, 0.01, 0.01], 2), is_cut([0.2, 0.3, 0.3, 0.2, 0.25], 2)
    (True, False)
    """
    here = distances[place]
    if here < LEAST:
        return False
    start = max(0, place - AROUND)
    around = [*distances[start:place], *distances[place + 1 : place + 1 + AROUND]]
    # The largest is left out: another cut may be near.
    around = sorted(around)[:-1] or [0.0]
    return here >= TIMES * (sum(around) / len(around))


def cuts(distances: Sequence[float]) -> list[int]:
    """The places at which shots begin, the first frame aside.

    >>> cuts([0.0, 0.01, 0.01, 0.4, 0.01, 0.01])
    [3]
    """
    return [place for place in range(1, len(distances)) if is_cut(distances, place)]
