"""The weights that a log which draws has for what the same policy would do without chance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from matinee.policies import Policy
from matinee.service.means import numbers

SLATES = 8
"""Slates that are simulated for each decision of several slots."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Draws:
    """N decisions of at most K slots, in order of time.

    rewards, weights : float64 [N, K], the weights those of the best first. shown : bool [N, K].
    even : float64 [N], the weights in the first slot of what draws evenly. member : int64 [N].
    """

    rewards: Floats
    weights: Floats
    shown: NDArray[np.bool_]
    even: Floats
    member: NDArray[np.int64]

    @classmethod
    def of(cls, rows: pl.DataFrame, sets: Mapping[str, list[str]], policy: Policy) -> Draws:
        """From decisions with their rewards."""
        lengths = rows["actions"].list.len().to_numpy()
        shown = np.arange(int(lengths.max())) < lengths[:, None]
        rewards, chances, first = np.zeros(shown.shape), np.ones(shown.shape), list[bool]()
        rewards[shown] = np.concatenate(rows["rewards"].to_list())
        chances[shown] = np.concatenate(rows["propensities"].to_list())
        best = np.zeros(shown.shape, bool)
        columns = rows.select("actions", "segment", "eligible")
        for row, (actions, segment, eligible) in enumerate(columns.iter_rows()):
            ids = sets.get(eligible, [])
            own = [
                place < len(ids) and ids[place] == one
                for place, one in zip(segment, actions, strict=False)
            ]
            best[row, : len(own)] = own
            first.append(bool(own[0]))
        sizes = rows["segment"].list.len().to_numpy()
        marginal = _marginals(rows["scores"], sizes, best, chances, policy)
        return cls(
            rewards,
            np.where(best, 1 / marginal, 0.0),
            shown,
            1 / (sizes * chances[:, 0]),
            numbers(rows["member_id"]),
        )

    def differences(self) -> Floats:
        """What each decision tells of the best first less the champion [N]."""
        usual = self.rewards.sum(axis=0) / np.maximum(self.shown.sum(axis=0), 1)
        terms = (self.weights - 1) * (self.rewards - usual)
        told: Floats = np.where(self.shown, terms, 0.0).sum(axis=1)
        return told


def _marginals(
    scores: pl.Series,
    sizes: NDArray[np.integer[Any]],
    best: NDArray[np.bool_],
    chances: Floats,
    policy: Policy,
) -> Floats:
    """The chance of the best first in each slot where it stood [N, K]."""
    found = chances.copy()
    if best.shape[1] == 1:
        return found
    rng = np.random.default_rng(0)
    for size in np.unique(sizes[best[:, 1:].any(axis=1)]).tolist():
        rows = np.flatnonzero((sizes == size) & best[:, 1:].any(axis=1))
        logits = np.array(scores.gather(rows).to_list(), np.float32)
        slots = min(best.shape[1], size)
        for part in np.array_split(np.arange(len(rows)), max(1, len(rows) // 512)):
            drawn = sum(_in_own_slot(policy, logits[part], slots, rng) for _ in range(SLATES))
            mine = rows[part]
            found[mine, :slots] = (found[mine, :slots] + drawn) / (SLATES + 1)
    found[:, 0] = chances[:, 0]
    return found


def _in_own_slot(
    policy: Policy, logits: NDArray[np.float32], slots: int, rng: np.random.Generator
) -> Floats:
    """The chance of the k-th best in slot k [N, slots], below one simulated slate for each of N
    decisions with logits [N, S], the best first.
    """
    count = len(logits)
    left, found = np.tile(np.arange(logits.shape[1]), (count, 1)), np.zeros((count, slots))
    for slot in range(slots):
        chances = policy.chances(logits)
        head = slice(0, slot + 1)
        found[:, slot] = np.where(left[:, head] == slot, chances[:, head], 0.0).sum(axis=1)
        up_to = np.cumsum(chances, axis=1)
        drawn = (up_to <= rng.random((count, 1)) * up_to[:, -1:]).sum(axis=1)
        stays = np.arange(logits.shape[1]) != drawn[:, None]
        left, logits = left[stays].reshape(count, -1), logits[stays].reshape(count, -1)
        if not logits.shape[1]:
            break
    return found
