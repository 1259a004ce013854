"""Many small draws at once: an action for each of N units, from scores of all their candidates."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from matinee.policies import Policy

Floats = NDArray[np.float64]


class Picked(NamedTuple):
    """What was drawn for a unit, in positions among its own candidates: the segment, its logits,
    the action and its propensity.
    """

    segment: list[int]
    logits: list[float]
    action: int
    propensity: float


def pick(policy: Policy, scores: Floats, sizes: Sequence[int], luck: Floats) -> list[Picked]:
    """An action for each of N units with `sizes` candidates, 1 at least, one unit after the other.

    scores : float64 [M, sum of sizes], M draws of them if the policy looks at draws, else 1.
    luck : float64 [N], uniform in [0, 1). Units of one size are drawn together.

    >>> from matinee.policies import EpsilonGreedy
    >>> scores = np.array([[0.1, 0.9, 0.5, 0.2, 0.3]])
    >>> picked = pick(EpsilonGreedy(epsilon=0.0), scores, [2, 3], np.zeros(2))
    >>> [one.action for one in picked]
    [1, 0]
    """
    ends = np.cumsum(sizes)
    found: dict[int, Picked] = {}
    for size, numbers in _by_size(sizes):
        rows = (ends[numbers] - size)[:, None] + np.arange(size)
        picked = _together(policy, scores[:, rows], luck[numbers])
        found |= zip(numbers.tolist(), picked, strict=True)
    return [found[number] for number in range(len(sizes))]


def _together(policy: Policy, scores: Floats, luck: Floats) -> Iterator[Picked]:
    """Those of N units with scores [M, N, A]."""
    drawn = policy.draws > 0
    preferences = policy.prefer_all_among(scores) if drawn else policy.prefer_all(scores[0])
    places, propensities = policy.pick(preferences.logits, luck)
    actions = preferences.segment[np.arange(len(places)), places]
    columns = (preferences.segment, preferences.logits, actions, propensities)
    return map(Picked, *(column.tolist() for column in columns))


def _by_size(sizes: Sequence[int]) -> list[tuple[int, NDArray[np.int64]]]:
    """The numbers of the units of each size."""
    found: dict[int, list[int]] = defaultdict(list)
    for number, size in enumerate(sizes):
        found[size].append(number)
    return [(size, np.array(numbers)) for size, numbers in found.items()]
