"""The simulated service's own way to draw slates, with the exact probability of what it drew.

A Plackett-Luce slate (Plackett, 1975, "The analysis of permutations"; Luce, 1959) over S titles
with logits z, and a share epsilon of uniform draws. With R_j the titles left before slot j,

.. math:: P(a_j | a_1..a_{j-1}) = (1 - \\epsilon) \\frac{e^{z_{a_j}}}{\\sum_{i \\in R_j} e^{z_i}}
          + \\frac{\\epsilon}{|R_j|}.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Logits = NDArray[np.float64]


def draw_slates(
    logits: Logits, slots: int, epsilon: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw B slates of K distinct positions [B, K] from logits [B, S], with K = min(slots, S).

    Ordering by logit plus Gumbel noise is a Plackett-Luce draw (Yellott, 1977), and what is left of
    that order after some titles are gone is one too. So each slot takes the first title left in a
    Gumbel order, or with probability epsilon the first left in a uniform order.

    >>> draw_slates(np.array([[9.0, 0.0, -99.0]]), 2, 0.0, np.random.default_rng(0)).tolist()
    [[0, 1]]
    """
    size, candidates = logits.shape
    slots = min(slots, candidates)
    greedy = logits + rng.gumbel(size=logits.shape)
    uniform = rng.random(logits.shape)
    explores = rng.random((size, slots)) < epsilon
    rows, slates = np.arange(size), np.empty((size, slots), np.int64)
    for slot in range(slots):
        order = np.where(explores[:, slot, None], uniform, greedy)
        slates[:, slot] = best = order.argmax(axis=1)
        greedy[rows, best] = uniform[rows, best] = -np.inf
    return slates


def propensities(logits: Logits, slates: NDArray[np.int64], epsilon: float) -> NDArray[np.float64]:
    """The conditional propensity [B, K] of each slot of slates [B, K] under logits [B, S].

    >>> propensities(np.zeros((1, 4)), np.array([[2, 0]]), 0.5).round(3).tolist()
    [[0.25, 0.333]]
    """
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    rows, found = np.arange(len(slates)), np.empty(slates.shape)
    for slot in range(slates.shape[1]):
        chosen = slates[:, slot]
        softmax = weights[rows, chosen] / weights.sum(axis=1)
        found[:, slot] = (1 - epsilon) * softmax + epsilon / (logits.shape[1] - slot)
        weights[rows, chosen] = 0.0
    return found


def leading(scores: Logits, size: int) -> NDArray[np.int64]:
    """The positions [B, min(size, A)] of the highest scores [B, A], the best first.

    >>> leading(np.array([[0.0, 2.0, 1.0]]), 2).tolist()
    [[1, 2]]
    """
    size = min(size, scores.shape[1])
    top = np.argpartition(-scores, size - 1, axis=1)[:, :size]
    order = np.argsort(-np.take_along_axis(scores, top, axis=1), axis=1, kind="stable")
    return np.take_along_axis(top, order, axis=1)
