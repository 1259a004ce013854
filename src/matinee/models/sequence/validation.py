"""How good a model is on questions that it learns nothing from."""

from __future__ import annotations

import numpy as np

from matinee.models.base import Floats
from matinee.models.data import Holdout

PLACES = 10


def ndcg(scores: Floats, asked: Holdout) -> float:
    """Mean NDCG@10 of scores [B, V] over unseen titles, targets last among equals."""
    size = scores.shape[1]
    seen = asked.context.histories.matrix(size)
    wanted = asked.targets.matrix(size)
    discounts = 1 / np.log2(np.arange(PLACES) + 2.0)
    gains = []
    for row, own in enumerate(scores):
        open_scores = own.copy()
        open_scores[seen.indices[seen.indptr[row] : seen.indptr[row + 1]]] = -np.inf
        targets = wanted.indices[wanted.indptr[row] : wanted.indptr[row + 1]]
        places = sorted(int((open_scores >= own[target]).sum()) - 1 for target in targets)
        for at in range(len(places) - 2, -1, -1):  # of targets alike, one stands before the other
            places[at] = min(places[at], places[at + 1] - 1)
        gain = sum(discounts[place] for place in places if place < PLACES)
        gains.append(gain / discounts[: len(targets)].sum())
    return float(np.mean(gains))
