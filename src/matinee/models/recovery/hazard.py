"""The chance that an attempt in an hour slot is approved, given that those before were not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_array
from scipy.special import expit

Floats = NDArray[np.float64]
Columns = Mapping[str, Any]
"""By name, numbers [N] or words [N]; or one number or word for all."""

CYCLES = {
    "hour": 24,
    "weekday": 7,
    "fortnight": 14,
    "day": 32,
    "rank": 4,
    "number": 8,
    "tried": 6,
    "nights": 4,
}
"""Whole numbers from 0; what is greater counts as the greatest."""
DELAYS = (0.5, 1, 2, 4, 8, 16, 24, 36, 48, 72, 96, 120, 168, 240, 336, 504, 5_000)
"""Where the classes of hours since something begin."""
WORDS = ("reason", "elsewhere", "issuer", "issuer_country", "funding", "network")
SINCE = ("since_last", "since_due")
PAIRS = (
    ("reason", "since_last"),
    ("reason", "nights"),
    ("reason", "tried"),
    ("reason", "day"),
    ("issuer_country", "hour"),
    ("issuer_country", "weekday"),
    ("issuer_country", "day"),
    ("issuer_country", "fortnight"),
    ("funding", "day"),
)
"""Which two tell more together than each alone."""
BLOCKS = (*((name,) for name in (*CYCLES, *SINCE, *WORDS)), *PAIRS)
OF_LAST = {"number", "tried", "since_last", "nights"}
"""What changes with the attempt before."""


@dataclass(frozen=True)
class Hazard:
    r"""A discrete-time hazard: logistic regression on classes of what is known at a slot.

    With x the classes that a slot falls into (its local hour, the day of the month, how long after
    the last attempt and why that failed, and pairs of them) and w a weight each,

    .. math:: h(t) = \frac{1}{1 + \exp(-w_0 - \sum_{j \in x(t)} w_j)}

    is fitted by maximum likelihood with the penalty :math:`\frac{\lambda}{2} \sum_j w_j^2`, which
    draws what was seen seldom to nothing. Pairs have weights of their own, so that pay-days may
    differ by country, say. A word that was not met counts as none.

    `words` are those met, by column, in order; `weights` [1 + W], the first for all.

    >>> rng = np.random.default_rng(0)
    >>> day = rng.integers(1, 32, 4000)
    >>> paid = rng.random(4000) < np.where(day == 25, 0.8, 0.2)
    >>> hazard = Hazard.fitted({"day": day}, paid)
    >>> hazard.chances({"day": np.array([24, 25])}) > 0.5
    array([False,  True])
    """

    words: Mapping[str, tuple[str, ...]]
    weights: Floats

    @classmethod
    def fitted(cls, columns: Columns, approved: NDArray[np.bool_], strength: float = 2.0) -> Hazard:
        """From N attempts: what was known of each, and whether it was approved [N]; `strength` is
        lambda > 0.
        """
        words = {name: _met(columns.get(name)) for name in WORDS}
        empty = cls(words, np.zeros(0))
        places = empty.places(columns, len(approved))
        size = empty.size
        rows = np.concatenate([np.zeros((len(places), 1), np.int64), places + 1], axis=1)
        design = csr_array(
            (
                np.ones(rows.size),
                rows.ravel(),
                np.arange(len(rows) + 1, dtype=np.int64) * rows.shape[1],
            ),
            shape=(len(rows), size + 1),
        )
        return cls(words, _fit(design, approved.astype(np.float64), strength))

    @property
    def size(self) -> int:
        """How many classes there are, pairs and all."""
        return sum(self._block_sizes())

    def chances(self, columns: Columns) -> Floats:
        """The chances [N]; at least one column has a value for each slot."""
        rows = max(np.size(values) for values in columns.values())
        found: Floats = expit(self.weights[0] + self._sums(columns, rows, BLOCKS))
        return found

    def repeated(self, columns: Columns) -> Repeated:
        """The chances in the same slots [N] when the attempt before is another one."""
        rows = max(np.size(values) for values in columns.values())
        fixed = [block for block in BLOCKS if not OF_LAST & set(block)]
        said = {"reason": columns.get("reason")}
        delays = np.array([0.0, *DELAYS])
        last = {**said, "since_last": delays, "nights": np.rint(delays / 24)}
        more = np.arange(CYCLES["number"])
        first = {name: int(columns.get(name, 0)) for name in ("number", "tried")}
        counts = {**said, **{name: count + more for name, count in first.items()}}
        of_delay = [b for b in BLOCKS if {"since_last", "nights"} & set(b)]
        of_number = [b for b in BLOCKS if {"number", "tried"} & set(b)]
        return Repeated(
            self.weights[0] + self._sums(columns, rows, fixed),
            self._sums(last, len(delays), of_delay),
            self._sums(counts, len(more), of_number),
        )

    def places(self, columns: Columns, rows: int) -> NDArray[np.int64]:
        """Which classes each of N slots falls into, [N, F]."""
        return np.stack([np.broadcast_to(code, rows) for code in self._places(columns)], axis=1)

    def _sums(self, columns: Columns, rows: int, blocks: Sequence[tuple[str, ...]]) -> Floats:
        """The sum of the weights of some blocks [N]."""
        total = np.zeros(rows)
        for place in self._places(columns, blocks):
            total += self.weights[place + 1]
        return total

    def _places(
        self, columns: Columns, blocks: Sequence[tuple[str, ...]] = BLOCKS
    ) -> list[NDArray[np.int64]]:
        codes, sizes, found, start = self._codes(columns), self._sizes(), [], 0
        for block, size in zip(BLOCKS, self._block_sizes(), strict=True):
            if block in blocks:
                first = codes[block[0]]
                code = first if len(block) == 1 else first * sizes[block[1]] + codes[block[1]]
                found.append(start + code)
            start += size
        return found

    def _block_sizes(self) -> list[int]:
        sizes = self._sizes()
        return [prod(sizes[name] for name in block) for block in BLOCKS]

    def _sizes(self) -> dict[str, int]:
        words = {name: len(self.words[name]) + 1 for name in WORDS}
        return {**CYCLES, **dict.fromkeys(SINCE, len(DELAYS) + 1), **words}

    def _codes(self, columns: Columns) -> dict[str, NDArray[np.int64]]:
        codes = {}
        for name, size in CYCLES.items():
            codes[name] = np.clip(np.asarray(columns.get(name, 0)), 0, size - 1).astype(np.int64)
        for name in SINCE:
            codes[name] = np.searchsorted(DELAYS, np.asarray(columns.get(name, 0.0)), "right")
        for name in WORDS:
            codes[name] = _code(columns.get(name), self.words[name])
        return codes


@dataclass(frozen=True)
class Repeated:
    """The log odds of slots [N], without what hangs on the attempt before; what its delay adds, by
    class; and what so many attempts more add, all on the same instrument.
    """

    base: Floats
    of_delay: Floats
    of_number: Floats

    def chances(self, more: int, since: Floats, slots: NDArray[np.int64]) -> Floats:
        """In these slots [M], after so many more attempts, the last so many hours [M] before."""
        counted = self.of_number[min(more, len(self.of_number) - 1)]
        delay = self.of_delay[np.searchsorted(DELAYS, since, "right")]
        found: Floats = expit(self.base[slots] + counted + delay)
        return found


def _met(values: Any) -> tuple[str, ...]:
    """The distinct words, ascending."""
    listed = [values] if values is None or isinstance(values, str) else values
    return tuple(sorted({str(value) for value in listed if value is not None}))


def _code(values: Any, words: Sequence[str]) -> NDArray[np.int64]:
    """The place of each word, from 1; 0 for none, or one that was not met."""
    place = {word: number for number, word in enumerate(words, start=1)}
    if values is None or isinstance(values, str):
        return np.array(place.get(values, 0) if values else 0, np.int64)
    return np.fromiter((place.get(str(value), 0) for value in values), np.int64, len(values))


def _fit(design: csr_array, approved: Floats, strength: float) -> Floats:
    """The weights of the penalised maximum of the likelihood; the first is not penalised."""
    transposed = design.T.tocsr()

    def loss(weights: Floats) -> tuple[float, Floats]:
        logits = design @ weights
        drawn = strength * np.concatenate([[0.0], weights[1:]])
        value = np.logaddexp(0, logits).sum() - approved @ logits + drawn @ weights / 2
        return float(value), transposed @ (expit(logits) - approved) + drawn

    share = (approved.sum() + 1) / (len(approved) + 2)
    start = np.zeros(design.shape[1])
    start[0] = np.log(share / (1 - share))
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 200})
    weights: Floats = np.asarray(found.x, np.float64)
    return weights
