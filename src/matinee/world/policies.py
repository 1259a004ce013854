"""Policies to hold others against: the best there is, and pure chance.

A policy of the world is any callable (member_id, eligible title ids, rng) -> slate of title ids.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

SlatePolicy = Callable[[str, Sequence[str], np.random.Generator], Sequence[str]]


def uniform(slots: int) -> SlatePolicy:
    """The policy that draws `slots` distinct eligible titles, all slates equally likely.

    >>> len(uniform(2)("m00000", ["a", "b", "c"], np.random.default_rng(0)))
    2
    """

    def draw(member_id: str, eligible: Sequence[str], rng: np.random.Generator) -> list[str]:
        size = min(slots, len(eligible))
        return [eligible[i] for i in rng.choice(len(eligible), size, replace=False)]

    return draw
