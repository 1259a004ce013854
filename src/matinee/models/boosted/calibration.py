"""Scores of trees, made the probabilities or means that later rows bear out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression
from scipy.special import expit, logit

from matinee.models.base import checked

Doubles = NDArray[np.float64]

LEAST = 10
"""Successes, and failures, without which nothing is calibrated; or rows of a mean."""
STEPS = 2_000
"""Successes, and failures, from which on it is by steps; or rows of a mean."""


def _no_steps() -> Doubles:
    return np.zeros((2, 0))


@dataclass(frozen=True)
class Calibration:
    r"""From the score s of the trees to what is expected, never falling in s.

    By a `line`, m = g(a s + b), with g the logistic function for probabilities (Platt's scaling)
    and nothing for means; or, where `steps` [2, K] are there, by what isotonic regression makes of
    the rows, each block of them at its mean score, straight between blocks and level beyond them.

    >>> scores, rewards = np.repeat([-2.0, 2.0], 50), np.tile([0.0, 1.0], 50)
    >>> luck = Calibration.fitted(scores, rewards, np.ones(100), probability=True)
    >>> luck(np.array([-2.0, 2.0])).round(2)
    array([0.5, 0.5])
    """

    probability: bool
    line: tuple[float, float] = (1.0, 0.0)
    steps: Doubles = field(default_factory=_no_steps)

    @classmethod
    def fitted(
        cls, scores: Doubles, rewards: Doubles, weights: Doubles, *, probability: bool
    ) -> Self:
        """That of scores [N] that were learned without these rewards [N], of weights [N].

        Isotonic with 2,000 successes and failures each (for means, rows) or more; with fewer it
        would follow noise, and a line is fitted. With fewer than 10 scores stand as they are.
        """
        if not enough(rewards, probability):
            return cls(probability)
        if enough(rewards, probability, STEPS):
            return cls(probability, steps=_steps(scores, rewards, weights, probability))
        return cls(probability, line=(_platt if probability else _line)(scores, rewards, weights))

    def __call__(self, scores: Doubles) -> Doubles:
        """What is expected of each score."""
        if self.steps.size:
            found: Doubles = np.interp(scores, *self.steps)
            return found
        slope, level = self.line
        straight = slope * scores + level
        return np.asarray(expit(straight), np.float64) if self.probability else straight

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"line": np.array(self.line), "steps": self.steps}

    @classmethod
    def restored(cls, arrays: dict[str, NDArray[Any]], *, probability: bool) -> Self:
        """What `arrays` was made of; `ValueError` where it does not fit together."""
        slope, level = checked(arrays["line"], (2,), np.float64).tolist()
        steps = checked(arrays["steps"], (2, arrays["steps"].shape[-1]), np.float64)
        if slope < 0 or (np.diff(steps, axis=1) < 0).any():
            raise ValueError("its calibration falls where scores rise")
        return cls(probability, (slope, level), steps)


def enough(rewards: Doubles, probability: bool, least: int = LEAST) -> bool:
    """Whether rewards [N] have so many successes and failures each; for a mean, so many rows.

    >>> enough(np.repeat([0.0, 1.0], [90, 9]), True), enough(np.ones(10), False)
    (False, True)
    """
    events = min(rewards.sum(), (1 - rewards).sum()) if probability else len(rewards)
    return bool(events >= least)


def _steps(scores: Doubles, rewards: Doubles, weights: Doubles, probability: bool) -> Doubles:
    at, row = np.unique(scores, return_inverse=True)
    weight = np.bincount(row, weights)
    mean = np.bincount(row, weights * rewards) / weight
    found = isotonic_regression(mean, weights=weight)
    first = found.blocks[:-1]
    total = np.add.reduceat(weight, first)
    centre = np.add.reduceat(weight * at, first) / total
    value = found.x[first]
    if probability:  # what was never seen may yet be
        edge = 1 / (len(scores) + 2)
        value = np.clip(value, edge, 1 - edge)
    return np.stack([centre, value])


def _platt(scores: Doubles, rewards: Doubles, weights: Doubles) -> tuple[float, float]:
    """By Newton's method, with Platt's targets: as if one success and one failure had been more."""
    won, lost = (weights * rewards).sum(), (weights * (1 - rewards)).sum()
    targets = rewards * (won + 1) / (won + 2) + (1 - rewards) / (lost + 2)
    level = float(logit((weights * targets).sum() / weights.sum()))
    centre, scale = scores.mean(), scores.std() or 1.0
    rows = np.column_stack([(scores - centre) / scale, np.ones(len(scores))])
    found = np.array([0.0, level])
    for _ in range(100):
        chances = expit(rows @ found)
        slopes = rows.T @ (weights * (targets - chances))
        curve = (rows * (weights * chances * (1 - chances))[:, None]).T @ rows
        step = np.linalg.solve(curve + 1e-9 * np.eye(2), slopes)
        found = found + step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < 1e-10:
            break
    return _rising(float(found[0] / scale), float(found[1] - found[0] * centre / scale), level)


def _line(scores: Doubles, rewards: Doubles, weights: Doubles) -> tuple[float, float]:
    """By weighted least squares."""
    centre, level = (float(np.average(one, weights=weights)) for one in (scores, rewards))
    apart = scores - centre
    spread = float(weights @ apart**2)
    slope = float(weights @ (apart * rewards)) / spread if spread else 0.0
    return _rising(slope, level - slope * centre, level)


def _rising(slope: float, level: float, constant: float) -> tuple[float, float]:
    """The line, or a constant where it would fall: scores that mislead say nothing."""
    return (slope, level) if slope > 0 else (0.0, constant)
