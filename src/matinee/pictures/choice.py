"""The best pictures that differ most from each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from matinee.pictures.likeness import Look, likeness


def most_different(
    scores: Sequence[float], looks: Sequence[Look], count: int, diversity: float
) -> list[int]:
    r"""At most `count` places, chosen one after the other by maximal marginal relevance,

    .. math:: \arg\max_{i \notin S} (1 - \lambda)\, s_i - \lambda \max_{j \in S} \mathrm{sim}(i, j)

    with scores s in [0, 1] [N], the likeness sim in [0, 1] and lambda = `diversity` in [0, 1].
    J. Carbonell, J. Goldstein: The use of MMR, diversity-based reranking. SIGIR 1998.
    """
    left = np.ones(len(scores), bool)
    closest = np.zeros(len(scores))
    chosen: list[int] = []
    while left.any() and len(chosen) < count:
        value = (1 - diversity) * np.asarray(scores, float) - diversity * closest
        place = int(np.where(left, value, -np.inf).argmax())
        chosen.append(place)
        left[place] = False
        alike = [likeness(looks[place], other) for other in looks]
        closest = np.maximum(closest, alike)
    return chosen
