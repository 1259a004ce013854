"""Whether logged propensities are the chances with which actions were chosen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from matinee.evaluation.off_policy.columns import (
    ROUNDING,
    Floats,
    Integers,
    filled,
    integers,
    require,
    require_chance,
)
from matinee.evaluation.off_policy.multiple import enough, from_one, holm, two_sided

LEFT = 25.0
"""How often an action must be expected not to be chosen: fewer are a Poisson count, whose tail is
not a normal one's."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One test: the mean of 1{a}/p(a) against 1, its standard error were propensities true.

    `action` is `None` for the test of all actions together, `segment` for that of all segments.
    `decisions` are those in which the action could be chosen, `chosen` those in which it was.
    """

    segment: str | None
    action: int | None
    decisions: int
    chosen: int
    mean: float
    error: float

    @property
    def z(self) -> float:
        """The distance from 1 in standard errors; infinite where there can be none."""
        return from_one(self.mean, self.error)


@dataclass(frozen=True, slots=True)
class Calibrated:
    """The verdict: the tests made, those that failed, and how many had too few choices.

    `calibrated` is `None` where nothing could be tested.
    """

    tested: tuple[Cell, ...]
    wrong: tuple[Cell, ...]
    untested: int

    @property
    def calibrated(self) -> bool | None:
        return not self.wrong if self.tested else None


class Sums(NamedTuple):
    """Over the decisions in which an action counts: how many, sum w and sum w^2; and over those in
    which it was chosen: how many, sum w/p and sum (w/p)^2. Floats, or float64 [A].
    """

    decisions: Floats
    weight: Floats
    weight_squares: Floats
    chosen: Floats
    total: Floats
    squares: Floats


@dataclass(frozen=True)
class Calibration:
    r"""Each action that can be chosen has E[1{a_i = a} / p_i(a)] = 1; wrong propensities have not.

    Over the decisions in which an action could be chosen the mean of 1{a}/p(a), by weights w(a), is
    held against 1. Were propensities true, its variance would be

        sum w^2 (1/p - 1) / (sum w)^2,

    and sum w^2/p is estimated from the rows where the action was chosen, as sum w times their
    sum (w/p)^2 / sum w/p. Weights may hang on anything known before the draw. Best is the chance
    of the action itself, where it can be rebuilt for every decision: the mean is then of choices
    seen over choices expected, a rare one weighs little, and the variance is sum p (1 - p) exactly.

    One test more is of all these actions together. Segments such as countries are tested each as
    well, where there are two or more. Actions with few choices, or expected to be left as seldom,
    are left out of every test: what was never drawn says nothing of its propensity. Draws are
    independent given the propensities, so that errors need no clusters.

    ``add`` batches, ``+`` shards, and ``result`` holds all tests with enough choices together, with
    Holm's correction, at `level`: a true log is called wrong in at most that share of cases.

    >>> half = Calibration(2).add([0] * 600 + [1] * 400, [0.5] * 1000)
    >>> [(cell.action, round(cell.z, 1)) for cell in half.result().wrong]
    [(0, 6.3), (1, -6.3)]
    >>> Calibration(2).add([0] * 500 + [1] * 500, [0.5] * 1000).result().calibrated
    True
    """

    actions: int
    segments: tuple[str, ...] = field(default=(), init=False)
    each: Floats = field(init=False, repr=False, compare=False)
    """[S, A + 1, 6], sums as in `Sums`; the last action is what counts as none."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "each", np.zeros((0, self.actions + 1, len(Sums._fields))))

    def add(
        self,
        action: ArrayLike,
        propensity: ArrayLike,
        *,
        weight: ArrayLike | None = None,
        segment: ArrayLike | None = None,
    ) -> Self:
        """This with N decisions more.

        action : int64 [N], which was chosen, in 0..A-1.
        propensity : float64 [N], with which chance, in (0, 1].
        weight : bool or float64 [N, A], at least 0, by how much a decision counts for an action;
            0 where it could not be chosen. All count as 1 by default. What was chosen where it
            counts 0 is no choice of any.
        segment : str [N].

        Raises `ValueError` where a column is not of these ranges.
        """
        p = np.asarray(propensity, np.float64)
        chosen = integers("action", action, p.shape)
        require((chosen >= 0) & (chosen < self.actions), "action", chosen, f"below {self.actions}")
        require_chance("propensity", p)
        shape = (len(chosen), self.actions)
        weights = filled("weight", weight, shape, neutral=1.0)
        require(np.isfinite(weights) & (weights >= 0), "weight", weights, "finite and at least 0")
        own = np.take_along_axis(weights, chosen[:, None], 1)[:, 0]
        names, row = _labels(segment, len(chosen))
        columns = self.actions + 1
        cell = row * columns + np.where(own > 0, chosen, self.actions)
        with np.errstate(over="ignore"):  # below 1e-154 the squares are infinite: too few choices
            picked = [
                np.bincount(cell, values, len(names) * columns)
                for values in (np.sign(own), own / p, (own / p) ** 2)
            ]
        each = np.zeros((len(names), columns, len(Sums._fields)))
        each[..., 3:] = np.stack(picked, axis=1).reshape(len(names), columns, 3)
        for number in range(len(names)):
            of = weights[row == number]
            each[number, :-1, :3] = np.stack([(of > 0).sum(0), of.sum(0), (of**2).sum(0)], axis=1)
        return self + self._with(names, each)

    def __add__(self, other: Self) -> Self:
        if self.actions != other.actions:
            raise ValueError(f"{self.actions} and {other.actions} actions do not add up")
        names = tuple(sorted({*self.segments, *other.segments}))
        each = np.zeros((len(names), self.actions + 1, len(Sums._fields)))
        for part in (self, other):
            each[[names.index(name) for name in part.segments]] += part.each
        return self._with(names, each)

    def result(self, level: float = 0.01) -> Calibrated:
        """All tests together."""
        parts: list[tuple[str | None, Floats]] = [(None, self.each.sum(axis=0))]
        if len(self.segments) > 1:
            parts += zip(self.segments, self.each, strict=True)
        cells, untested = [], 0
        for segment, each in parts:
            known = _known(Sums(*each.T))
            untested += int((~known[:-1]).sum())
            if known.any():
                cells.append(_together(segment, Sums(*each[known].T), each[:, 3].sum()))
                cells += [_one(segment, int(a), Sums(*each[a])) for a in np.flatnonzero(known)]
        rejected = holm(two_sided([cell.z for cell in cells]), level)
        wrong = tuple(cell for cell, bad in zip(cells, rejected, strict=True) if bad)
        return Calibrated(tuple(cells), wrong, untested)

    def _with(self, segments: tuple[str, ...], each: Floats) -> Self:
        copy = type(self)(self.actions)
        object.__setattr__(copy, "segments", segments)
        object.__setattr__(copy, "each", each)
        return copy


def _labels(segment: ArrayLike | None, size: int) -> tuple[tuple[str, ...], Integers]:
    """The segments that occur, ascending, and which of them each row [N] is of."""
    if segment is None:
        return ("",) if size else (), np.zeros(size, np.int64)
    names, row = np.unique(np.asarray(segment, np.str_), return_inverse=True)
    return tuple(names.tolist()), row.astype(np.int64)


def _spread(sums: Sums) -> Floats:
    """What sum w^2 (1/p - 1) is were propensities true, by action.

    The ratio does not rise with the number of choices, as the plain sum of squares would.
    """
    inverse = np.divide(
        sums.squares, sums.total, out=np.ones_like(sums.total), where=sums.total > 0
    )
    return np.maximum(sums.weight * inverse - sums.weight_squares, 0.0)


def _known(sums: Sums) -> NDArray[np.bool_]:
    """Which actions were chosen often enough, and were expected to be left as well, or never."""
    often = enough(sums.total, sums.squares) & np.isfinite(sums.squares)
    with np.errstate(invalid="ignore", divide="ignore"):
        left = _spread(sums) * (sums.total / sums.squares) ** 2
    return often & ((left >= LEFT) | (left <= ROUNDING * sums.decisions))


def _together(segment: str | None, each: Sums, decisions: float) -> Cell:
    """The test of these actions together, of so many decisions with any action.

    The greater of two variances of w/p over decisions: as seen, and as propensities have it, which
    knows of the other actions even where none of them was drawn.
    """
    weight, total = float(each.weight.sum()), float(each.total.sum())
    seen = each.squares.sum() / decisions - (total / decisions) ** 2
    expected = (_spread(each) + each.weight_squares).sum() / decisions - (weight / decisions) ** 2
    error = float(np.sqrt(max(seen, expected, 0.0) * decisions)) / weight
    return Cell(segment, None, int(decisions), int(each.chosen.sum()), total / weight, error)


def _one(segment: str | None, action: int, sums: Sums) -> Cell:
    """The test of one action."""
    error = float(np.sqrt(_spread(sums))) / float(sums.weight)
    mean = float(sums.total / sums.weight)
    return Cell(segment, action, int(sums.decisions), int(sums.chosen), mean, error)
