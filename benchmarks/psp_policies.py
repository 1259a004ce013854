"""Policies of routing: the chance [N, T, A] of each processor at each try of each purchase."""

from collections import deque

import numpy as np
import polars as pl

from benchmarks.psp_log import FEES, PROCESSORS, Log
from matinee.policies import InverseGap

WINDOW, HEDGE = 125, 0.05
"""Attempts that a success rate is of, and the share that is spread over all processors."""
A = len(PROCESSORS)


def always(log: Log, one: int) -> np.ndarray:
    return np.broadcast_to(np.eye(A)[one], (*log.taken.shape, A))


def cascade(log: Log, rates: np.ndarray) -> np.ndarray:
    """The best by success rate first, then the next best, and so on; then from the top again."""
    order = np.argsort(-rates, kind="stable")
    turns = order[np.arange(log.taken.shape[1]) % A]
    return np.broadcast_to(np.eye(A)[turns], (*log.taken.shape, A))


def window_rates(frame: pl.DataFrame, size: int = WINDOW) -> np.ndarray:
    """By purchase, each processor's share of successes in its last `size` attempts before the
    purchase began [N, A]; a window begins full of successes, so that each is tried.
    """
    windows = [deque([1.0] * size, maxlen=size) for _ in range(A)]
    sums = np.full(A, float(size))
    found = []
    order = frame.select("number", "success", who=pl.col("processor")).iter_rows()
    for number, success, who in order:
        if number == 0:
            found.append(sums / size)
        one = PROCESSORS.ids.index(who)
        sums[one] += success - windows[one][0]
        windows[one].append(float(success))
    return np.array(found)


def hedged(log: Log, rates: np.ndarray, hedge: float = HEDGE) -> np.ndarray:
    """The best by rates [N, A], and with chance `hedge` any."""
    best = np.eye(A)[rates.argmax(axis=1)]
    chances = (1 - hedge) * best + hedge / A
    return np.broadcast_to(chances[:, None], (*log.taken.shape, A))


def greedy(scores: np.ndarray) -> np.ndarray:
    return np.eye(A)[scores.argmax(axis=-1)]


def inverse_gaps(scores: np.ndarray, gamma: float) -> np.ndarray:
    policy, flat = InverseGap(gamma=gamma), scores.reshape(-1, A)
    preferences = policy.prefer_all(flat)
    chances = np.zeros_like(flat)
    np.put_along_axis(chances, preferences.segment, policy.chances(preferences.logits), axis=1)
    return chances.reshape(scores.shape)


def net(q: np.ndarray, amount: np.ndarray) -> np.ndarray:
    """Expected amount less fees [N, T, A], of chances of success q [N, T, A]."""
    return q * amount[:, None, None] - fee(q)


def fee(q: np.ndarray) -> np.ndarray:
    """Expected fees [N, T, A]."""
    return q * FEES[:, 0] + (1 - q) * FEES[:, 1]


def blind_mix(rates: np.ndarray, floor: float) -> np.ndarray:
    """Chances [A], the same for all: the most recovering processor and one cheaper, so much of it
    that successes stay at `floor` of what they would be, at the least fees.
    """
    fees, best = fee(rates), int(rates.argmax())
    mixes = []
    for other in range(A):
        lost = rates[best] - rates[other]
        share = min(1.0, (1 - floor) * rates[best] / lost) if lost > 0 else 0.0
        mixes.append((1 - share) * np.eye(A)[best] + share * np.eye(A)[other])
    return min(mixes, key=lambda mix: float(mix @ fees))
