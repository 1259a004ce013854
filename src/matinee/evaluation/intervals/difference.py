"""Confidence sequences for how much better a candidate is than the champion, on the same log."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from matinee.evaluation.intervals.base import Interval, Side, check_alpha, check_side
from matinee.evaluation.intervals.confidence_sequence import (
    ConfidenceSequence,
    check_settings,
    finished,
    share_of_predictions,
    unit_predictions,
    unit_rewards,
    unit_terms,
)
from matinee.evaluation.intervals.lower_bounds import GammaExponential
from matinee.evaluation.off_policy.batch import Batch
from matinee.evaluation.off_policy.columns import SLACK, Floats, require


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    r"""The candidate's mean value less the champion's over the decisions so far, paired.

    With the champion's weights w0_t known to be at most `bound` (1 where it wrote the log), and all
    else as in `ConfidenceSequence`,

        delta_t = (w_t - w0_t) (r_t - c_t q_t) + c_t (expected_t - expected0_t)

    has the difference of the two values as its mean given the past. It is bounded below: of its
    negative parts w_t c_t q_t <= k, w0_t r_t <= bound and c_t expected0_t <= c_t <= min(1, k), so
    delta_t >= -(bound + k + min(1, k)).

    The upper bound is the same of 1 - r and 1 - q, in which the difference has the other sign. What
    both policies do alike cancels within a decision, so this is shorter than two values apart where
    they mostly agree. Trust it where `ConfidenceSequence` is to be trusted and `bound` is known
    beforehand; else use `unpaired_difference`.

    >>> reward, propensity = [1.0, 0.0] * 500, [0.5] * 1000
    >>> candidate = Batch.of(reward, propensity, [0.75, 0.25] * 500)
    >>> champion = Batch.of(reward, propensity, propensity)
    >>> interval = PairedDifference().add(candidate, champion).interval()
    >>> interval.value, round(interval.low, 2), round(interval.high, 2)
    (0.25, 0.22, 0.28)
    """

    name: ClassVar[str] = "anytime-valid, empirical Bernstein, paired"

    alpha: float = 0.05
    side: Side = "both"
    reward_range: tuple[float, float] = (0.0, 1.0)
    k: float = 0.0
    bound: float = 1.0
    rho: float = 5.0
    below: GammaExponential = field(init=False, repr=False, compare=False)
    above: GammaExponential = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_alpha(self.alpha)
        check_side(self.side)
        check_settings(self.reward_range, self.k)
        if not 1 <= self.bound < np.inf:
            raise ValueError(f"bound must be finite and at least 1, got {self.bound}")
        object.__setattr__(self, "below", GammaExponential(self.rho))
        object.__setattr__(self, "above", GammaExponential(self.rho))

    @property
    def floor(self) -> float:
        """What delta is never below, less its sign."""
        return self.bound + self.k + min(1.0, self.k)

    def add(self, candidate: Batch, champion: Batch, largest: ArrayLike | None = None) -> Self:
        """This with the decisions that come next, as the candidate and as the champion see them.

        `largest` is of the candidate's weights, as in ``ConfidenceSequence.add``. Raises
        `ValueError` as that does, and where the two batches are not of the same decisions, or a
        weight of the champion is above `bound`, or it plays what the log has not.
        """
        for name in ("reward", "propensity", "predicted"):
            if not np.array_equal(getattr(candidate, name), getattr(champion, name)):
                raise ValueError(
                    f"the batches differ in {name}: they are not of the same decisions"
                )
        w, w0 = candidate.weight, champion.weight
        require(w0 <= self.bound * (1 + SLACK), "the champion's weight", w0, "at most bound")
        require(champion.outside <= SLACK, "the champion's outside", champion.outside, "0")
        r = unit_rewards(candidate, self.reward_range)
        q, expected = unit_predictions(candidate, self.reward_range, self.k)
        _, expected0 = unit_predictions(champion, self.reward_range, self.k)
        c = share_of_predictions(candidate, self.k, largest)
        outside = candidate.outside
        lower = (w - w0) * (r - c * q) + c * (np.maximum(expected - outside, 0) - expected0)
        missing, missing0 = np.maximum(1 - expected - outside, 0), 1 - expected0
        upper = (w - w0) * (1 - r - c * (1 - q)) + c * (missing - missing0)
        return self._with(lower, upper)

    def interval(self) -> Interval:
        """The interval now, in units of the reward; the whole range without decisions."""
        span = self.reward_range[1] - self.reward_range[0]
        share = self.alpha / 2 if self.side == "both" else self.alpha
        low, high = -1.0, 1.0
        if self.side != "upper":
            low = max(low, (1 + self.floor) * self.below.bound(share) - self.floor)
        if self.side != "lower":
            high = min(high, self.floor - (1 + self.floor) * self.above.bound(share))
        value = (1 + self.floor) * self.below.mean - self.floor
        whole = (-span, span)
        bounds = (span * low, span * high)
        return finished(
            span * value, bounds, whole, alpha=self.alpha, method=self.name, side=self.side
        )

    def _with(self, lower: Floats, upper: Floats) -> Self:
        """This with the differences [N] that come next, each way and at least -floor."""
        copy = replace(self)
        object.__setattr__(copy, "below", self.below.add(unit_terms(lower, self.floor, 1)))
        object.__setattr__(copy, "above", self.above.add(unit_terms(upper, self.floor, 1)))
        return copy


def unpaired_difference(
    candidate: ConfidenceSequence,
    champion: ConfidenceSequence,
    *,
    alpha: float = 0.05,
    side: Side = "both",
) -> Interval:
    """The difference of two values from a bound of each, where the champion's weights have none.

    An end is a bound of the one less a bound of the other, each at half of that end's alpha. Trust
    it where the two sequences are to be trusted. Both must have seen the same decisions, of the
    same reward range; their own alpha and side do not matter.

    >>> from matinee.evaluation.intervals.confidence_sequence import RunningMean
    >>> reward, propensity = [1.0, 0.0] * 500, [0.5] * 1000
    >>> candidate = RunningMean().add(Batch.of(reward, propensity, [0.75, 0.25] * 500))
    >>> champion = RunningMean().add(Batch.of(reward, propensity, propensity))
    >>> interval = unpaired_difference(candidate, champion, side="lower")
    >>> round(interval.low, 2), interval.high
    (0.11, 1.0)
    >>> interval.method
    'anytime-valid, two one-sided bounds at 0.025 each, lower bound only'
    """
    check_alpha(alpha)
    check_side(side)
    if candidate.reward_range != champion.reward_range:
        raise ValueError("candidate and champion have different reward ranges")
    if candidate.below.count != champion.below.count:
        raise ValueError(
            f"the candidate's sequence has {candidate.below.count} decisions and the champion's "
            f"{champion.below.count}; add the same ones to both"
        )
    span = candidate.reward_range[1] - candidate.reward_range[0]
    each = alpha / 4 if side == "both" else alpha / 2
    low = -span if side == "upper" else candidate.low(each) - champion.high(each)
    high = span if side == "lower" else candidate.high(each) - champion.low(each)
    value = candidate.interval().value - champion.interval().value
    how = "four" if side == "both" else "two"
    method = f"anytime-valid, {how} one-sided bounds at {each:g} each"
    return finished(value, (low, high), (-span, span), alpha=alpha, method=method, side=side)
