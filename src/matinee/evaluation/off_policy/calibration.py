"""Whether logged propensities are the chances with which actions were chosen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from matinee.evaluation.off_policy.columns import (
    Floats,
    Integers,
    integers,
    require,
    require_chance,
)
from matinee.evaluation.off_policy.multiple import enough, from_one, holm, two_sided


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


@dataclass(frozen=True)
class Calibration:
    r"""Each action that can be chosen has E[1{a_i = a} / p_i(a)] = 1; wrong propensities have not.

    Over the n decisions in which an action could be chosen the mean of 1{a}/p(a) is held against 1.
    Were propensities true, its variance would be (E[1/p(a)] - 1) / n, and E[1/p(a)] is estimated
    from the rows where the action was chosen, as sum 1/p^2 / sum 1/p. One test more is of all these
    actions together. Segments such as countries are tested each as well, where there are two or
    more. Actions with few choices are left out of every test: what was never drawn says nothing of
    its propensity. Draws are independent given the propensities, so that errors need no clusters.

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
    """[S, A + 1, 4]: decisions, choices, and sums of 1/p and 1/p^2; last what counts as none."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "each", np.zeros((0, self.actions + 1, 4)))

    def add(
        self,
        action: ArrayLike,
        propensity: ArrayLike,
        *,
        possible: ArrayLike | None = None,
        segment: ArrayLike | None = None,
    ) -> Self:
        """This with N decisions more.

        action : int64 [N], which was chosen, in 0..A-1.
        propensity : float64 [N], with which chance, in (0, 1].
        possible : bool [N, A], for which actions a decision counts; all by default. It may depend
            on anything known before the draw, so on chances too: leave out those below a floor
            where they can be rebuilt, as rare choices that never came make a mean look low. What
            was chosen beside these counts as no choice of any.
        segment : str [N].

        Raises `ValueError` where a column is not of these ranges.
        """
        p = np.asarray(propensity, np.float64)
        chosen = integers("action", action, p.shape)
        require((chosen >= 0) & (chosen < self.actions), "action", chosen, f"below {self.actions}")
        require_chance("propensity", p)
        could = (
            np.broadcast_to(True, (len(chosen), self.actions))
            if possible is None
            else np.asarray(possible, np.bool_)
        )
        counts = np.take_along_axis(could, chosen[:, None], 1)[:, 0]
        names, row = _labels(segment, len(chosen))
        columns = self.actions + 1
        cell, cells = row * columns + np.where(counts, chosen, self.actions), len(names) * columns
        inverse = np.where(counts, 1 / p, 0.0)
        with np.errstate(over="ignore"):  # below 1e-154 the squares are infinite: too few choices
            picked = [np.bincount(cell, inverse**term, cells) for term in range(3)]
        each = np.stack([np.zeros(cells), *picked], axis=1).reshape(len(names), columns, 4)
        for number in range(len(names)):
            each[number, :-1, 0] = could[row == number].sum(axis=0)
        return self + self._with(names, each)

    def __add__(self, other: Self) -> Self:
        if self.actions != other.actions:
            raise ValueError(f"{self.actions} and {other.actions} actions do not add up")
        names = tuple(sorted({*self.segments, *other.segments}))
        each = np.zeros((len(names), self.actions + 1, 4))
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
            known = enough(each[:, 2], each[:, 3]) & np.isfinite(each[:, 3])
            untested += int((~known[:-1]).sum())
            if known.any():
                cells.append(_together(segment, each[known], each[:, 1].sum()))
                cells += [_one(segment, int(a), each[a]) for a in np.flatnonzero(known)]
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


def _together(segment: str | None, each: Floats, decisions: float) -> Cell:
    """The test of these actions together [A, 4], of so many decisions with any action.

    The greater of two variances of 1/p over decisions: as seen, and as propensities have it, which
    knows of the other actions even where none of them was drawn.
    """
    possible, chosen, total, squares = each.sum(axis=0).tolist()
    seen = squares / decisions - (total / decisions) ** 2
    expected = each[:, 0] @ (each[:, 3] / each[:, 2]) / decisions - (possible / decisions) ** 2
    error = float(np.sqrt(max(seen, expected, 0.0) / decisions)) * decisions / possible
    return Cell(segment, None, int(decisions), int(chosen), total / possible, error)


def _one(segment: str | None, action: int, sums: Floats) -> Cell:
    """The test of one action [4]."""
    decisions, chosen, total, squares = sums.tolist()
    # The ratio does not rise with the number of choices, as the plain sum of squares would.
    error = float(np.sqrt(max(squares / total - 1.0, 0.0) / decisions))
    return Cell(segment, action, int(decisions), int(chosen), total / decisions, error)
