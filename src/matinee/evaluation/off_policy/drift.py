"""Whether a log is of one kind from day to day: who logged it, and what the weights come to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from matinee.evaluation.off_policy.columns import Floats
from matinee.evaluation.off_policy.multiple import enough, from_one, holm, two_sided


@dataclass(frozen=True, slots=True)
class Day:
    """One day of a log.

    shares : of its decisions, by the policy version that made them; they add up to 1.
    moved : how far the shares are from those of the whole log, in total variation, [0, 1].
    weight, error : the mean of w + outside, which true propensities have at 1, and its standard
        error (NaN below two decisions): as seen, or as propensities have it, if that is more.
    wrong : whether that mean is too far from 1, among all days together; never where the weights
        of the day are worth less than a hundred decisions.
    """

    day: str
    decisions: int
    shares: Mapping[str, float]
    moved: float
    weight: float
    error: float
    wrong: bool


@dataclass(frozen=True)
class Drift:
    """What each day holds; merges with ``add`` and ``+``.

    Given the context, E[w] is 1 less the candidate's mass where the log has none, on every day; a
    day that departs had propensities that were not its own, or, below 1, has yet to draw actions
    so rare that their weights are huge. Shares that move are no fault, but say
    that the log is of several policies (see ``balanced``).

    >>> drift = Drift().add(["mon", "mon", "tue"], ["titles@1", "titles@1", "titles@2"], [1, 1, 1])
    >>> [(day.day, dict(day.shares), round(day.moved, 2)) for day in drift.result()]
    [('mon', {'titles@1': 1.0}, 0.33), ('tue', {'titles@2': 1.0}, 0.67)]
    """

    versions: Mapping[str, Counter[str]] = field(default_factory=dict, init=False)
    sums: Mapping[str, Floats] = field(default_factory=dict, init=False, repr=False, compare=False)
    """By day: decisions, the sums of w + outside, of its square, and of its variance as known."""

    def add(
        self,
        day: ArrayLike,
        version: ArrayLike,
        weight: ArrayLike,
        outside: ArrayLike | None = None,
        variance: ArrayLike | None = None,
    ) -> Self:
        """This with N decisions more: str [N], str [N], float64 [N] each.

        `variance` is of the weight given the context, sum_a pi(a|x)^2 / pi_0(a|x) less the square
        of its mean there, where whole distributions are known. It tells of rare actions with huge
        weights even where none was drawn, which the weights that were seen cannot.
        """
        days, versions = np.asarray(day, np.str_), np.asarray(version, np.str_)
        whole = np.asarray(weight, np.float64)
        if outside is not None:
            whole = whole + np.asarray(outside, np.float64)
        known = np.zeros(len(whole)) if variance is None else np.asarray(variance, np.float64)
        counts: dict[str, Counter[str]] = {}
        sums: dict[str, Floats] = {}
        for name in np.unique(days):
            rows = days == name
            found, number = np.unique(versions[rows], return_counts=True)
            counts[str(name)] = Counter(dict(zip(found.tolist(), number.tolist(), strict=True)))
            with np.errstate(over="ignore"):
                squares = whole[rows] @ whole[rows]
            sums[str(name)] = np.array([rows.sum(), whole[rows].sum(), squares, known[rows].sum()])
        return self + self._with(counts, sums)

    def __add__(self, other: Self) -> Self:
        days = sorted({*self.versions, *other.versions})
        nobody: Counter[str] = Counter()
        return self._with(
            {d: self.versions.get(d, nobody) + other.versions.get(d, nobody) for d in days},
            {d: self.sums.get(d, np.zeros(4)) + other.sums.get(d, np.zeros(4)) for d in days},
        )

    def result(self, level: float = 0.01) -> tuple[Day, ...]:
        """Every day, in order of its name; any is falsely wrong with chance <= `level`."""
        whole = sum(self.versions.values(), Counter[str]())
        days = {name: _spread(*sums) for name, sums in self.sums.items()}
        means = {name: _mean(*sums) for name, sums in days.items()}
        known = [enough(total, most) and np.isfinite(most) for _, total, most in days.values()]
        z = [from_one(*mean) if ok else 0.0 for ok, mean in zip(known, means.values(), strict=True)]
        chances = two_sided(z)
        wrong = dict(zip(means, holm(chances, level).tolist(), strict=True))
        return tuple(
            Day(
                name,
                counts.total(),
                _shares(counts),
                _apart(_shares(counts), _shares(whole)),
                *means[name],
                wrong[name],
            )
            for name, counts in self.versions.items()
        )

    def _with(self, versions: Mapping[str, Counter[str]], sums: Mapping[str, Floats]) -> Self:
        copy = type(self)()
        object.__setattr__(copy, "versions", versions)
        object.__setattr__(copy, "sums", sums)
        return copy


def _spread(
    decisions: float, total: float, squares: float, variance: float
) -> tuple[float, float, float]:
    """Decisions, their total, and the greater of two sums of squares: as seen and as known."""
    with np.errstate(over="ignore"):
        return decisions, total, max(squares, variance + total**2 / decisions)


def _mean(decisions: float, total: float, squares: float) -> tuple[float, float]:
    """The mean and its standard error."""
    mean = float(total / decisions)
    if decisions < 2:
        return mean, float("nan")
    if np.isinf(squares):
        return mean, float("inf")
    variance = max(squares / decisions - mean**2, 0.0) * decisions / (decisions - 1)
    return mean, float(np.sqrt(variance / decisions))


def _shares(counts: Counter[str]) -> dict[str, float]:
    return {name: count / counts.total() for name, count in sorted(counts.items())}


def _apart(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    return sum(abs(one.get(name, 0.0) - share) for name, share in other.items()) / 2
