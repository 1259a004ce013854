"""When to try again: dynamic programming over the slots that are left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Chances = Callable[[int, Floats, Integers], Floats]
"""The chances [N] of the attempt so many after the next, so many hours [N] after the one before it,
in slots [N]."""
DAY = 24


@dataclass(frozen=True)
class Stakes:
    """What an attempt in each slot [H] brings if it is approved, and costs if it is not, as it is
    worth now; and the chance `annoyed` that a decline is the last that is heard of the member. In
    any one unit.
    """

    gain: Floats
    cost: Floats
    annoyed: float = 0.0


@dataclass(frozen=True)
class Slots:
    r"""The slots [H] of an invoice: when each begins, in hours, ascending; where an attempt may be
    made; and the chance that the next one is approved there.

    >>> never = lambda number, since, slots: np.zeros(len(slots))
    >>> slots = Slots(np.array([1, 2]), np.ones(2, bool), np.array([0.5, 0.8]))
    >>> slots.worth(never, Stakes(np.full(2, 10.0), np.ones(2)), 3)
    array([4.5, 7.8])
    """

    hours: Integers
    allowed: NDArray[np.bool_]
    first: Floats

    def worth(self, later: Chances, stakes: Stakes, attempts: int) -> Floats:
        r"""What it is worth to try in each slot [H] and to go on in the best way, beside stopping.

        With :math:`h` the chance at a slot, :math:`g` the gain, :math:`c` the cost, :math:`a` the
        chance that a decline ends it all, and k attempts left

        .. math:: q_k(s) = h_k(s)\,g(s) + (1 - h_k(s))\,((1 - a) V_{k-1}(s) - c(s)), \qquad
                  V_k(s) = \max(0, \max_{s' > s} q_k(s'))

        `later` says the chances of the attempts that follow. Those are planned on one slot a day,
        the likeliest that is allowed; the slots of the first attempt are all looked at.

        R. Bellman: Dynamic Programming. Princeton University Press, 1957.
        """
        if attempts < 1:
            return -stakes.cost
        after = (1 - stakes.annoyed) * self._going_on(later, stakes, attempts - 1)
        return self.first * stakes.gain + (1 - self.first) * (after - stakes.cost)

    def _going_on(self, later: Chances, stakes: Stakes, attempts: int) -> Floats:
        """The value [H] of what follows an attempt in each slot that was not approved."""
        slots = self._one_a_day()
        if attempts < 1 or not len(slots):
            return np.zeros(len(self.first))
        when = np.concatenate([self.hours[:1] - 1, self.hours[slots]])  # from before all of them on
        since = (when[None, 1:] - when[:, None]).astype(np.float64)
        before, after = np.nonzero(since > 0)
        gain, cost = stakes.gain[slots[after]], stakes.cost[slots[after]]
        value = np.zeros(len(when))
        for number in range(attempts, 0, -1):
            worth = np.zeros(since.shape)
            chance = later(number, since[before, after], slots[after])
            missed = (1 - stakes.annoyed) * value[after + 1] - cost
            worth[before, after] = chance * gain + (1 - chance) * missed
            value = np.maximum(worth.max(axis=1), 0.0)
        return value[np.searchsorted(when, self.hours, side="right") - 1]

    def _one_a_day(self) -> Integers:
        """The likeliest allowed slot of each day from now, of those that have one; ascending."""
        places = np.flatnonzero(self.allowed)
        days = self.hours[places] // DAY
        order = places[np.lexsort((places, -self.first[places], days))]
        _, firsts = np.unique(np.sort(days), return_index=True)
        return order[firsts]
