"""Independent Poisson counts, four by one look-up: how often a bootstrap draws each row."""

from __future__ import annotations

import numpy as np
from numpy.random import SFC64, Generator
from numpy.typing import NDArray
from scipy.stats import poisson

from matinee.evaluation.off_policy.columns import Floats

Singles = NDArray[np.float32]
Words = NDArray[np.uint32]
Tables = tuple[list[Words], Words, Floats]


class PoissonCounts:
    """Independent Poisson counts of rows, in memory that is used again and again."""

    def __init__(self, blocks: list[Singles], most: int, tables: Tables, bits: SFC64) -> None:
        self._bits, self.generator = bits, Generator(bits)
        self._blocks, (self._tables, self._rare, self._chances) = blocks, tables
        self._counts = np.empty((most, *blocks[0].shape[2:]), np.float32)
        self._words = np.empty(self._counts.size // 4, np.uint32)
        self._places = np.empty(self._words.size, np.intp)

    def sums(self, some: int) -> Floats:
        """The sums [T, some] over the rows times counts."""
        counts, sums = self._counts[:some], np.zeros((len(self._blocks[0]), some))
        words = self._words[: counts.size // 4]
        for block in self._blocks:
            self._draw(words, self._tables)
            counts[...] = words.view(np.uint8).reshape(counts.shape)
            sums += np.vecdot(counts, block).sum(axis=2, dtype=np.float64)
        return sums

    def _draw(self, words: Words, tables: list[Words]) -> None:
        """Four counts a word; where the first table has no entry, from the next."""
        if not tables:
            found = np.searchsorted(self._chances, self.generator.random(len(words)), "right")
            self._rare.take(found, mode="clip", out=words)
            return
        random = self._bits.random_raw(-(-len(words) // 4))
        at, places = random.view(np.uint16)[: len(words)], self._places[: len(words)]
        places[...] = at
        tables[0].take(places, mode="clip", out=words)
        missing = np.flatnonzero(at >= len(tables[0]))
        others = np.empty(len(missing), np.uint32)
        self._draw(others, tables[1:])
        words[missing] = others


def poisson_tables(rate: float) -> Tables:
    """Four Poisson counts as four bytes: two tables, then words and their cumulative chances.

    In a table of 2^16 places each word has those that its chance fills; what is left over goes to
    the next. Nothing more likely than 1e-16 is left out.
    """
    counts = np.indices((16,) * 4, np.uint8).reshape(4, -1).T
    chances = poisson.pmf(np.arange(16), rate)[counts].prod(axis=1)
    some = chances > 1e-16
    words, chances = np.ascontiguousarray(counts[some]).view(np.uint32).ravel(), chances[some]
    tables = []
    for _ in range(2):
        places = chances / chances.sum() * 2**16
        tables.append(words.repeat(places.astype(np.int64)))
        chances = places % 1.0
    return tables, words, np.cumsum(chances / chances.sum())
