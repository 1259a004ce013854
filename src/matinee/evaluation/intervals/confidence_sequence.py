"""Confidence sequences for a candidate's value: intervals that hold at every look, all at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from matinee.evaluation.intervals.base import Interval, Side, check_alpha, check_side
from matinee.evaluation.intervals.lower_bounds import Capital, GammaExponential, LowerBound
from matinee.evaluation.off_policy.batch import Batch
from matinee.evaluation.off_policy.columns import SLACK, Floats, require

CUT = 1e100
"""Terms above it count as it, which only lowers a lower bound, and keeps squares finite."""


@dataclass(frozen=True, kw_only=True)
class ConfidenceSequence(ABC):
    r"""What the candidate's mean reward is, whenever one looks, doubly robust and without a bound
    on the weights (Waudby-Smith, Wu, Ramdas, Karampatziakis and Mineiro, 2022, "Anytime-valid
    off-policy inference for contextual bandits", arXiv 2210.10768).

    With rewards r and predictions q brought to [0, 1] by `reward_range`, each decision gives

        phi_t = w_t (r_t - c_t q(x_t, a_t)) + c_t sum_a pi(a|x_t) q(x_t, a),

    whose mean given the past is the candidate's value v_t there, whatever q is. It is bounded
    below: all but -w_t c_t q is at least 0; and with c_t = min(1, k / largest_t), where `largest_t`
    is the largest weight any action could have had in x_t, w_t c_t q <= k. So phi_t >= -k.

    Bounded below is all that a lower bound needs; the upper one is a lower bound of 1 - v_t from
    the same with 1 - r and 1 - q. (The paper takes min(q, k / w) action by action instead of c_t q,
    which needs the weights and predictions of all actions, twice.) `k` is chosen before the log is
    seen: 0, the default, leaves predictions out and gives plain IPS; the largest weight, where
    there is a known one such as 1 / floor of the propensities, uses them in full.

    Where the candidate plays what the log has not (`outside`), its rewards there count as 0 for the
    lower bound and as 1 for the upper one.

    Trust it with a logger that learns from its log, with tastes that drift, with weights of any
    size and at any number of decisions, looked at as often as one likes. What must hold:

    - the propensity of a decision is its chance given everything before it. Then a member may
      appear any number of times; clusters do not matter;
    - decisions enter in an order fixed beforehand, that of their time, each with its reward closed.
      One whose reward is still open holds back all later ones, else quick rewards come first and
      the order depends on them;
    - `predicted` and `expected` are predictable: of an outcome model fitted on earlier decisions
      only, its predictions inside `reward_range` before they are averaged. The caller sees to that.

    An ordered fold, not a monoid: ``add`` takes the decisions that come next, and keeps a fixed
    number of sums. ``interval()`` is never NaN but in its value: without decisions it is the whole
    range. It is the whole range too, and says so, where the bounds cross, which true propensities
    bring about in less than alpha of logs.
    """

    name: ClassVar[str]

    alpha: float = 0.05
    side: Side = "both"
    reward_range: tuple[float, float] = (0.0, 1.0)
    k: float = 0.0
    below: LowerBound = field(init=False, repr=False, compare=False)
    above: LowerBound = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_alpha(self.alpha)
        check_side(self.side)
        check_settings(self.reward_range, self.k)
        object.__setattr__(self, "below", self._start())
        object.__setattr__(self, "above", self._start())

    @abstractmethod
    def _start(self) -> LowerBound:
        """The bound of no terms."""

    def add(self, batch: Batch, largest: ArrayLike | None = None) -> Self:
        """This with the decisions of `batch`, which come next, in order of time.

        `largest` float64 [N] is the largest weight that any action could have had in each context;
        without it no weight may be above `k`. Raises `ValueError` where a reward is outside
        `reward_range`, or, for `k` > 0, a prediction is, or a weight is above what is said of it.
        """
        r = unit_rewards(batch, self.reward_range)
        q, expected = unit_predictions(batch, self.reward_range, self.k)
        w, c = batch.weight, share_of_predictions(batch, self.k, largest)
        lower = w * (r - c * q) + c * np.maximum(expected - batch.outside, 0)
        upper = w * (1 - r - c * (1 - q)) + c * np.maximum(1 - expected - batch.outside, 0)
        copy = replace(self)
        object.__setattr__(copy, "below", self.below.add(unit_terms(lower, self.k, 1)))
        object.__setattr__(copy, "above", self.above.add(unit_terms(upper, self.k, 1)))
        return copy

    def low(self, alpha: float) -> float:
        """The lower bound, that misses with probability at most alpha over all looks."""
        bound = max(0.0, (1 + self.k) * self.below.bound(alpha) - self.k)
        return self.reward_range[0] + (self.reward_range[1] - self.reward_range[0]) * bound

    def high(self, alpha: float) -> float:
        """The upper bound, that misses with probability at most alpha over all looks."""
        bound = max(0.0, (1 + self.k) * self.above.bound(alpha) - self.k)
        return self.reward_range[1] - (self.reward_range[1] - self.reward_range[0]) * bound

    def interval(self) -> Interval:
        """The interval now. Its value is the mean of phi, cut to the interval."""
        least, most = self.reward_range
        share = self.alpha / 2 if self.side == "both" else self.alpha
        low = least if self.side == "upper" else self.low(share)
        high = most if self.side == "lower" else self.high(share)
        value = least + (most - least) * ((1 + self.k) * self.below.mean - self.k)
        return finished(
            value,
            (low, high),
            self.reward_range,
            alpha=self.alpha,
            method=self.name,
            side=self.side,
        )


@dataclass(frozen=True, kw_only=True)
class RunningMean(ConfidenceSequence):
    """The default: the mean value over the decisions so far, though the value drifts.

    The paper's theorem 3, by ``GammaExponential``, with its `rho`. With a value that does not
    drift it is an interval for that.

    >>> log = Batch.of([1.0, 0.0] * 500, [0.5] * 1000, [0.75, 0.25] * 500)
    >>> interval = RunningMean().add(log).interval()
    >>> interval.value, round(interval.low, 2), round(interval.high, 2)
    (0.75, 0.67, 0.78)
    """

    name: ClassVar[str] = "anytime-valid, empirical Bernstein"

    rho: float = 5.0

    def _start(self) -> LowerBound:
        return GammaExponential(self.rho)


@dataclass(frozen=True, kw_only=True)
class Betting(ConfidenceSequence):
    """By betting, through ``Capital``: shorter than `RunningMean` where few large weights matter.

    Of a value that does not drift, or of its mean over the decisions so far if it does. It takes
    propensities at their word: a logged action whose propensity was 1e-12 is proof to it, where
    `RunningMean` would wait for more.

    >>> log = Batch.of([1.0, 0.0] * 500, [0.5] * 1000, [0.75, 0.25] * 500)
    >>> interval = Betting().add(log).interval()
    >>> interval.value, round(interval.low, 2), round(interval.high, 2)
    (0.75, 0.66, 0.78)
    """

    name: ClassVar[str] = "anytime-valid, betting"

    def _start(self) -> LowerBound:
        return Capital()


def unit_rewards(batch: Batch, reward_range: tuple[float, float]) -> Floats:
    """Rewards [N] on the scale on which the range is [0, 1]."""
    return _unit(batch.reward, "reward", reward_range)


def unit_predictions(
    batch: Batch, reward_range: tuple[float, float], k: float
) -> tuple[Floats, Floats]:
    """`predicted` and `expected` [N] on that scale; zeros where k leaves them out."""
    if not k:
        return np.zeros(len(batch)), np.zeros(len(batch))
    predicted = _unit(batch.predicted, "predicted", reward_range)
    return predicted, _unit(batch.expected, "expected", reward_range)


def share_of_predictions(batch: Batch, k: float, largest: ArrayLike | None) -> Floats:
    """c_t [N] = min(1, k / largest_t), at most min(1, k) since the largest weight is 1 or more."""
    if not k:
        return np.zeros(len(batch))
    most = np.full(len(batch), k) if largest is None else np.asarray(largest, np.float64)
    said = "k where largest is not given" if largest is None else "largest"
    require(batch.weight <= most * (1 + SLACK), "weight", batch.weight, f"at most {said}")
    share: Floats = np.minimum(1.0, k / np.maximum(1.0, most))
    return share


def unit_terms(phi: Floats, floor: float, top: float) -> Floats:
    """phi [N] >= -floor, whose mean is at most top, as terms >= 0 whose mean is at most 1."""
    terms: Floats = np.clip((phi + floor) / (top + floor), 0.0, CUT)
    return terms


def finished(
    value: float,
    bounds: tuple[float, float],
    whole: tuple[float, float],
    *,
    alpha: float,
    method: str,
    side: Side,
) -> Interval:
    """The interval with these bounds, or the whole range where they cross."""
    if side != "both":
        method += f", {side} bound only"
    void = bounds[0] > bounds[1]
    if void:
        bounds = whole
        method += ", void: the bounds cross; check the propensities"
    return Interval(float(np.clip(value, *bounds)), *bounds, 1 - alpha, method, void)


def check_settings(reward_range: tuple[float, float], k: float) -> None:
    """Raise `ValueError` where rewards have no range, or k is none."""
    if not (np.isfinite(reward_range).all() and reward_range[0] < reward_range[1]):
        raise ValueError(f"reward_range must be two finite numbers, low < high, got {reward_range}")
    if not 0 <= k < np.inf:
        raise ValueError(f"k must be finite and at least 0, got {k}")


def _unit(column: Floats, name: str, reward_range: tuple[float, float]) -> Floats:
    low, high = reward_range
    slack = SLACK * (high - low)
    inside = (column >= low - slack) & (column <= high + slack)
    require(inside, name, column, f"in the reward range [{low}, {high}]")
    unit: Floats = np.clip((column - low) / (high - low), 0.0, 1.0)
    return unit
