"""The chance that an attempt in an hour slot is approved, given that those before were not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
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
DELAYS = np.array([0.5, 1, 2, 4, 8, 16, 24, 36, 48, 72, 96, 120, 168, 240, 336, 504, 5_000])
"""Where the classes of hours since something begin."""
FROM = np.concatenate([[0.0], DELAYS])
"""The least delay of each class."""
NIGHTS = np.minimum(np.rint(FROM / 24), CYCLES["nights"] - 1).astype(np.int64)
"""How many nights have passed after such a delay, at least."""
WORDS = (
    "reason",
    "elsewhere",
    "issuer",
    "issuer_country",
    "funding",
    "network",
    "processor",
)
SINCE = ("since_last", "since_due")
TOGETHER = (
    ("reason", "since_last"),
    ("reason", "nights"),
    ("reason", "tried"),
    ("reason", "day"),
    ("issuer_country", "hour"),
    ("issuer_country", "weekday"),
    ("issuer_country", "day"),
    ("issuer_country", "fortnight"),
    ("funding", "day"),
    ("processor", "issuer_country"),
    ("processor", "issuer"),
    ("processor", "network"),
    ("processor", "reason"),
    ("processor", "reason", "issuer_country"),
    ("processor", "reason", "issuer"),
    ("processor", "reason", "network"),
)
"""Which tell more together than each alone."""
BLOCKS = (*((name,) for name in (*CYCLES, *SINCE, *WORDS)), *TOGETHER)
PASSED = (
    ("reason", "issuer_country", "day"),
    ("reason", "issuer_country", "fortnight"),
    ("reason", "funding", "day"),
)
"""Whose days, each that began since the attempt before, tell by themselves: on some money comes."""
MOST_PASSED = 31
"""Days that are looked back at; none where the attempt before is more than thrice as long ago, that
is, where there was none."""
MOST_WORDS = 200
"""Words of a column that are told apart, the most frequent ones."""
MOVING = ("since_last", "nights", "number", "tried")
"""What changes with the attempt before."""
OF_PROCESSOR = tuple(block for block in BLOCKS if "processor" in block)
ROUNDS, DRAWN = 5, 3.0
"""How often the sizes of weights are found anew, and how many weights the prior counts for."""


@dataclass(frozen=True)
class Hazard:
    r"""A discrete-time hazard: logistic regression on classes of what is known at a slot.

    With x the classes that a slot falls into (its local hour, the day of the month, how long after
    the last attempt and why that failed, and some of them together), P(t) the days that
    have come due since that attempt, and w and u a weight each,

    .. math:: h(t) = \frac{1}{1 + \exp(-w_0 - \sum_{j \in x(t)} w_j - \sum_{d \in P(t)} u_d)}

    is fitted by maximum likelihood with the penalty :math:`\sum_j \frac{\lambda_{b(j)}}{2} w_j^2`,
    which draws what was seen seldom to nothing. So an attempt after the 25th has come differs from
    one before, and pay-days differ by country and by why it failed. A word that was not met, or
    seldom where there are many, counts as none.

    How far the weights of a block lie apart, :math:`1 / \lambda_b`, is found by maximising the
    evidence (MacKay), with the curvature of each weight by itself, from a prior of `strength` that
    counts as much as three weights: :math:`\lambda_b = (\gamma_b + 3) / (\sum w^2 + 3 / strength)`,
    :math:`\gamma_b` the weights that the attempts tell of.

    D. J. C. MacKay: Bayesian interpolation. Neural Computation 4(3), 1992, 415-447.

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
    def fitted(
        cls, columns: Columns, approved: NDArray[np.bool_], strength: float = 30.0
    ) -> Hazard:
        """From N attempts: what was known of each, and whether it was approved [N]."""
        words = {name: _met(columns.get(name)) for name in WORDS}
        empty = cls(words, np.zeros(0))
        sizes = [prod(shape) for shape in empty._shapes.values()]
        of = np.repeat(np.arange(len(sizes)), sizes)
        return cls(words, _fit(empty.design(columns, len(approved)), approved, of, strength))

    @property
    def size(self) -> int:
        """How many weights there are beside the first."""
        return sum(map(prod, self._shapes.values()))

    def chances(self, columns: Columns) -> Floats:
        """The chances [N]; at least one column has a value for each slot."""
        rows = max(np.size(values) for values in columns.values())
        found: Floats = expit(self.design(columns, rows) @ self.weights)
        return found

    def design(self, columns: Columns, rows: int) -> csr_array:
        """How often each weight counts for each of N attempts, [N, 1 + W]."""
        codes, start = self._codes(columns, (*BLOCKS, *PASSED)), 1
        places, counts = [np.zeros(rows, np.int64)], [np.arange(rows)]
        passed, whose = _days_passed(columns, rows)
        for block, shape in self._shapes.items():
            if block in BLOCKS:
                classes, row = tuple(codes[name] for name in block), np.arange(rows)
            else:
                said = (np.broadcast_to(codes[name], rows)[whose] for name in block[:-1])
                classes, row = (*said, _calendar(passed)[block[-1]]), whose
            place = start + np.ravel_multi_index(np.broadcast_arrays(*classes), shape)
            places.append(np.broadcast_to(place, len(row)))
            counts.append(row)
            start += prod(shape)
        row, place = np.concatenate(counts), np.concatenate(places)
        return csr_array((np.ones(len(row)), (row, place)), shape=(rows, start))

    def ahead(self, columns: Columns) -> Ahead:
        """What is to come in slots [N]: with one word a column, and N of at least one."""
        rows = max(len(one) for one in columns.values() if isinstance(one, np.ndarray))
        codes = self._codes(columns, BLOCKS)
        each = self._rows(codes, BLOCKS)
        fixed = sum(row[codes[name]] for name, row in each.items() if name not in MOVING)
        delay, nights, number, tried = (each[name] for name in MOVING)
        passed, before = self._passed(columns, codes, rows)
        base = self.weights[0] + fixed + passed + np.zeros(rows)
        now = delay[codes["since_last"]] + nights[codes["nights"]]
        now = now + number[codes["number"]] + tried[codes["tried"]]
        more = np.arange(len(number))
        return Ahead(
            base + now - before,
            base,
            passed,
            delay + nights[NIGHTS],
            number[np.minimum(codes["number"] + more, len(number) - 1)]
            + tried[np.minimum(codes["tried"] + more, len(tried) - 1)],
        )

    def processors(self, columns: Columns, names: Sequence[str]) -> Floats:
        """What each processor [P] adds to the log odds where the same is known, the slot aside."""
        codes = self._codes({**columns, "processor": [*names, None]}, OF_PROCESSOR)
        found = self._sums(codes, OF_PROCESSOR)
        added: Floats = found[:-1] - found[-1]
        return added

    def now(self, columns: Columns, names: Sequence[str]) -> Floats:
        """The log odds by each processor [P] of one attempt of which all else is known."""
        codes = self._codes({**columns, "processor": names}, BLOCKS)
        passed, before = self._passed(columns, codes, 1)
        odds: Floats = self.weights[0] + self._sums(codes, BLOCKS) + (passed - before)
        return odds

    def _passed(self, columns: Columns, codes: Mapping[str, Any], rows: int) -> tuple[Any, Any]:
        """What all days add up to, from a first one to the slot [N], and to the attempt before."""
        if "date" not in columns:
            return 0.0, 0.0
        first, last = _due(columns, rows)
        start = int(first.min())
        days = _calendar_of(start, int(last.max()) + 1)
        came = sum(row[days[name]] for name, row in self._rows(codes, PASSED).items())
        total = np.cumsum(came)
        return total[last - start], total[first - start]

    def _sums(self, codes: Mapping[str, Any], blocks: Sequence[tuple[str, ...]]) -> Any:
        """The weights of some blocks, by the class of each of their names: a number, or [N] where
        a name has a class for each of N.
        """
        return sum(self._tables[block][tuple([codes[one] for one in block])] for block in blocks)

    def _rows(
        self, codes: Mapping[str, Any], blocks: Sequence[tuple[str, ...]]
    ) -> dict[str, Floats]:
        """The weights of blocks by the last name of each, by its classes; the others have one."""
        found: dict[str, Floats] = {}
        for block in blocks:
            *others, last = block
            row = self._tables[block][tuple([codes[one] for one in others])]
            found[last] = found[last] + row if last in found else row
        return found

    @cached_property
    def _tables(self) -> dict[tuple[str, ...], Floats]:
        """The weights of each block, by the class of each of its names."""
        tables, start = {}, 1
        for block, shape in self._shapes.items():
            tables[block] = self.weights[start : start + prod(shape)].reshape(shape)
            start += prod(shape)
        return tables

    @cached_property
    def _shapes(self) -> dict[tuple[str, ...], tuple[int, ...]]:
        words = {name: len(self.words[name]) + 1 for name in WORDS}
        sizes = {**CYCLES, **dict.fromkeys(SINCE, len(FROM)), **words}
        return {block: tuple(sizes[name] for name in block) for block in (*BLOCKS, *PASSED)}

    @cached_property
    def _numbers(self) -> dict[str, dict[str, int]]:
        """The class of each word, from 1."""
        return {
            name: {word: number for number, word in enumerate(self.words[name], start=1)}
            for name in WORDS
        }

    def _codes(self, columns: Columns, blocks: Sequence[tuple[str, ...]]) -> dict[str, Any]:
        """The class of each name of some blocks: a whole number, or [N]."""
        names = {name for block in blocks for name in block}
        return {name: self._code(name, columns.get(name)) for name in names}

    def _code(self, name: str, value: Any) -> Any:
        if name in WORDS:
            known = self._numbers[name]
            if value is None or isinstance(value, str):
                return known.get(value or "", 0)
            codes = (0 if one is None else known.get(str(one), 0) for one in value)
            return np.fromiter(codes, np.int64, len(value))
        if value is None:
            value = 0
        if name in SINCE:
            return np.searchsorted(DELAYS, value, "right")
        if isinstance(value, (int, float)):
            return min(max(int(value), 0), CYCLES[name] - 1)
        return np.minimum(np.maximum(value, 0), CYCLES[name] - 1).astype(np.int64)


@dataclass(frozen=True)
class Ahead:
    """Log odds over slots [N] for one instrument: of the `next` attempt; and of those that follow
    `base`, without what hangs on the attempt before, what the days have added up to, `passed`, what
    a delay adds, by class, and what so many attempts more add.
    """

    next: Floats
    base: Floats
    passed: Any
    of_delay: Floats
    of_number: Floats

    def plus(self, added: float) -> Ahead:
        """The same with so much more log odds everywhere."""
        moved = self.next + added, self.base + added
        return Ahead(*moved, self.passed, self.of_delay, self.of_number)

    def chances(
        self,
        more: NDArray[np.int64],
        since: Floats,
        before: NDArray[np.int64],
        slots: NDArray[np.int64],
    ) -> Floats:
        """In these slots [M], after so many more attempts [K, 1], the last of them so many hours
        [M] before, in slots [M]; [K, M].
        """
        counted = self.of_number[np.minimum(more, len(self.of_number) - 1)]
        delay = self.of_delay[np.searchsorted(DELAYS, since, "right")]
        passed = self.passed[before] if np.ndim(self.passed) else 0.0
        found: Floats = expit(self.base[slots] - passed + delay + counted)
        return found


def _days_passed(columns: Columns, rows: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The days that came due since the attempt before, of all rows, and whose [D] each is."""
    if "date" not in columns:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    first, last = _due(columns, rows)
    many = last - first
    whose = np.repeat(np.arange(rows), many)
    back = np.arange(len(whose)) - np.repeat(np.cumsum(many) - many, many)
    return last[whose] - back, whose


def _due(columns: Columns, rows: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Up to which day, as days since 1970, what falls due has come by the attempt before, and by
    the slot, [N] each: what falls due at a weekend comes on the Friday before.
    """
    date = np.broadcast_to(columns["date"], rows).astype(np.int64)
    given = np.maximum(columns.get("nights", 0), 0)
    since = np.where(given > 3 * MOST_PASSED, 0, np.minimum(given, MOST_PASSED))
    nights = np.broadcast_to(since, rows).astype(np.int64)
    ahead = np.array([0, 0, 0, 0, 2, 1, 0])
    first, last = date - nights, date
    return first + ahead[(first + 3) % 7], last + ahead[(last + 3) % 7]


def _calendar(days: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """Which day of the month, 31 the last of each, and of a cycle of 14 days since 1970 are."""
    dates, following = days.astype("datetime64[D]"), (days + 1).astype("datetime64[D]")
    months = dates.astype("datetime64[M]")
    day = (dates - months).astype(np.int64) + 1
    return {
        "day": np.where(following.astype("datetime64[M]") > months, 31, day),
        "fortnight": days % 14,
    }


@lru_cache(maxsize=256)
def _calendar_of(start: int, stop: int) -> dict[str, NDArray[np.int64]]:
    """Of all days from one to before another."""
    return _calendar(np.arange(start, stop))


def _met(values: Any) -> tuple[str, ...]:
    """The most frequent words, ascending."""
    listed = [values] if values is None or isinstance(values, str) else values
    counts = Counter(str(value) for value in listed if value is not None)
    often = sorted(counts, key=lambda word: (-counts[word], word))
    return tuple(sorted(often[:MOST_WORDS]))


def _fit(
    design: csr_array, approved: NDArray[np.bool_], of: NDArray[np.int64], strength: float
) -> Floats:
    """The weights of the penalised maximum of the likelihood; the first is not penalised, and the
    block `of` each other one says how much.
    """
    transposed, squared, given = design.T.tocsr(), design.power(2).T.tocsr(), approved.astype(float)
    blocks = int(of.max()) + 1
    precision = np.full(blocks, strength)

    def loss(weights: Floats, penalty: Floats) -> tuple[float, Floats]:
        logits, drawn = design @ weights, penalty * weights
        value = np.logaddexp(0, logits).sum() - given @ logits + drawn @ weights / 2
        return float(value), transposed @ (expit(logits) - given) + drawn

    share = (given.sum() + 1) / (len(given) + 2)
    weights = np.zeros(design.shape[1])
    weights[0] = np.log(share / (1 - share))
    for _ in range(ROUNDS):
        penalty = np.concatenate([[0.0], precision[of]])
        found = minimize(
            loss, weights, (penalty,), jac=True, method="L-BFGS-B", options={"maxiter": 200}
        )
        weights = np.asarray(found.x, np.float64)
        chances = expit(design @ weights)
        curved = (squared @ (chances * (1 - chances)))[1:]
        told = np.bincount(of, curved / (curved + precision[of]), blocks)
        sizes = np.bincount(of, weights[1:] ** 2, blocks)
        precision = (told + DRAWN) / (sizes + DRAWN / strength)
    return weights
