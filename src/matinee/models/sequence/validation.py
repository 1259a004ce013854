"""How good a model is on questions that it learns nothing from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from matinee.models.base import Floats
from matinee.models.data import Context, Histories, Holdout, Indices

PLACES = 10
BATCH = 256
"""Members whose scores are in memory at once."""

Score = Callable[[Context, Indices | None], Floats]


def ndcg(score: Score, asked: Holdout) -> float:
    """Mean NDCG@10 over unseen titles of the scores that are given, targets last among equals."""
    found = list[float]()
    for context, targets in asked.batches(BATCH):
        found += _gains(score(context, None), context.histories, targets)
    return float(np.mean(found))


def _gains(scores: Floats, histories: Histories, targets: Histories) -> list[float]:
    """NDCG@10 of each member of scores [B, V]."""
    size = scores.shape[1]
    seen, wanted = histories.matrix(size), targets.matrix(size)
    discounts = 1 / np.log2(np.arange(PLACES) + 2.0)
    gains = []
    for row, own in enumerate(scores):
        open_scores = own.copy()
        open_scores[seen.indices[seen.indptr[row] : seen.indptr[row + 1]]] = -np.inf
        titles = wanted.indices[wanted.indptr[row] : wanted.indptr[row + 1]]
        places = sorted(int((open_scores >= own[title]).sum()) - 1 for title in titles)
        for at in range(len(places) - 2, -1, -1):  # of targets alike, one stands before the other
            places[at] = min(places[at], places[at + 1] - 1)
        gain = sum(discounts[place] for place in places if place < PLACES)
        gains.append(float(gain / discounts[: len(titles)].sum()))
    return gains
