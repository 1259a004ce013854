"""A slate problem small enough that every slate can be written down."""

from collections.abc import Callable
from itertools import permutations, product

import numpy as np

TITLES, SLOTS = 4, 3

Slate = tuple[int, ...]
Choice = Callable[[Slate], np.ndarray]
"""From the titles above to the chance [TITLES] of each title in the next slot."""


def plackett_luce(logits: list[float], epsilon: float) -> Choice:
    """Plackett-Luce with a uniform share, straight from its formula."""

    def choice(above: Slate) -> np.ndarray:
        left = np.array([title not in above for title in range(len(logits))])
        luce = np.exp(logits) * left
        return (1 - epsilon) * luce / luce.sum() + epsilon * left / left.sum()

    return choice


def independent(chances: np.ndarray) -> Choice:
    """Slots chosen independently, by chances [SLOTS, TITLES]; titles may repeat."""
    return lambda above: chances[len(above)]


def ranked(slots: int = SLOTS, titles: int = TITLES) -> list[Slate]:
    """Every slate without repeated titles."""
    return list(permutations(range(titles), slots))


def repeated() -> list[Slate]:
    """Every slate, with repeated titles too."""
    return list(product(range(TITLES), repeat=SLOTS))


def conditionals(choice: Choice, slates: list[Slate]) -> np.ndarray:
    """The chance of each slot's title given those above it, [N, K]."""
    return np.array([[choice(s[:k])[s[k]] for k in range(len(s))] for s in slates])


def marginals(choice: Choice, slates: list[Slate]) -> np.ndarray:
    """The chance of each slot's title in that slot, [N, K]; `slates` are all that there are."""
    chance = conditionals(choice, slates).prod(axis=1)
    titles = np.array(slates)
    return np.array([[chance[titles[:, k] == s[k]].sum() for k in range(len(s))] for s in slates])
