"""The confidence sequence of how much better a candidate's slates are than the champion's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from matinee.evaluation.intervals.difference import PairedDifference
from matinee.evaluation.off_policy.columns import SLACK, Floats
from matinee.evaluation.off_policy.slates import Slates


@dataclass(frozen=True, kw_only=True)
class SlateDifference(PairedDifference):
    r"""`PairedDifference` of what whole slates earn, by the ratios of ``IndependentIPS``.

    `reward_range` is of the total of a slate of `slots` slots, each of which has an equal part of
    it. With slot rewards on [0, 1] and marginal ratios w_k of the candidate and w0_k of the
    champion,

        delta_t = 1/K sum_k (w_k - w0_k) r_k >= -bound

    has the difference of the two values, over K, as its mean where a slot's reward depends on its
    own title alone. Slots that are not shown add nothing to it. Where ratios are simulated their
    mean is right to second order in the simulation's error (``Slates.marginal_ratio``), and so is
    the bound. Titles that the candidate shows and the log cannot count as never played for the
    lower bound, and as always played for the upper one. Predictions are left out.

    >>> half = [[0.5, 0.5]] * 500
    >>> log = ([[1.0, 0.0], [0.0, 0.0]] * 250, half)
    >>> more = [[0.9, 0.5], [0.1, 0.5]] * 250
    >>> candidate = Slates.of(*log, more, marginal=half, marginal_target=more)
    >>> champion = Slates.of(*log, half, marginal=half, marginal_target=half)
    >>> sequence = SlateDifference(slots=2, reward_range=(0.0, 2.0))
    >>> interval = sequence.add_slates(candidate, champion).interval()
    >>> round(interval.value, 2), interval.low > 0.25
    (0.4, True)
    """

    slots: int = 1

    def add_slates(self, candidate: Slates, champion: Slates) -> Self:
        """This with the slates that come next, as the candidate and as the champion see them.

        Raises `ValueError` where they are not the same slates, a reward is outside its range, or a
        ratio of the champion is above `bound`.
        """
        if not np.array_equal(candidate.reward, champion.reward):
            raise ValueError("the slates differ in reward: they are not of the same decisions")
        candidate.require_slots(self.slots)
        w, w0 = candidate.marginal_ratio, champion.marginal_ratio
        if w0.max(initial=0.0) > self.bound * (1 + SLACK):
            raise ValueError(f"a ratio of the champion is {w0.max()}, above the bound {self.bound}")
        r = self._unit_slots(candidate)
        lower = ((w - w0) * r).mean(axis=1)
        upper = ((w - w0) * np.where(candidate.shown, 1 - r, 0.0)).mean(axis=1)
        return self._with(lower, upper)

    def _unit_slots(self, slates: Slates) -> Floats:
        low, high = (end / self.slots for end in self.reward_range)
        unit = (slates.reward - low) / (high - low)
        inside = ((unit >= -SLACK) & (unit <= 1 + SLACK)) | ~slates.shown
        if not inside.all():
            slate, slot = np.argwhere(~inside)[0].tolist()
            raise ValueError(
                f"reward must be in [{low}, {high}]; slate {slate} has "
                f"{slates.reward[slate, slot]} in slot {slot}"
            )
        shown: Floats = np.where(slates.shown, np.clip(unit, 0.0, 1.0), 0.0)
        return shown
