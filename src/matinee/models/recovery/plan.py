"""When to try again: dynamic programming over the slots that are left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Chances = Callable[[Integers, Floats, Integers, Integers], Floats]
"""The chances [K, N] of attempts so many after the next [K, 1], so many hours [N] after the one
before, which was in slots [N], in slots [N]."""
DAY = 24


@dataclass(frozen=True)
class Stakes:
    """What attempts bring that are approved, and cost if they are not, arrays of one shape in any
    one unit; and the chance `annoyed` that a decline is the last that is heard of the member.
    """

    gain: Floats
    cost: Floats
    annoyed: float = 0.0

    def worth(self, chances: Floats, after: Floats | float = 0.0) -> Floats:
        """What attempts bring on the mean, where `after` is what follows one that fails."""
        return self.alone(chances) + self.left(chances) * after

    def alone(self, chances: Floats) -> Floats:
        """The same where nothing follows."""
        return chances * (self.gain + self.cost) - self.cost

    def left(self, chances: Floats) -> Floats:
        """How likely it is that attempts fail, and that the member is still there."""
        return (1 - self.annoyed) * (1 - chances)

    def at(self, places: Integers) -> Stakes:
        """Those of some places [N]."""
        return Stakes(self.gain[places], self.cost[places], self.annoyed)


@dataclass(frozen=True)
class Slots:
    r"""The slots [H] of an invoice for one instrument: when each begins, in hours, ascending; where
    an attempt may be made; the chance that the next one is approved there; and what is at stake.

    >>> never = lambda more, since, before, slots: np.zeros(len(slots))
    >>> stakes = Stakes(np.full(2, 10.0), np.ones(2))
    >>> slots = Slots(np.array([1, 2]), np.ones(2, bool), np.array([0.5, 0.8]), stakes)
    >>> slots.worth(slots.after(never, 2))
    array([4.5, 7.8])
    """

    hours: Integers
    allowed: NDArray[np.bool_]
    first: Floats
    stakes: Stakes

    def worth(self, after: Floats) -> Floats:
        r"""What it is worth to try in each slot [H], beside stopping, where `after` [H] is what
        follows an attempt there that fails; where none may be made, minus infinity.

        With :math:`h` the chance at a slot, :math:`g` the gain, :math:`c` the cost, :math:`a` the
        chance that a decline ends it all, and k attempts left

        .. math:: q_k(s) = h_k(s)\,g(s) + (1 - h_k(s))\,((1 - a) V_{k-1}(s) - c(s)), \qquad
                  V_k(s) = \max(0, \max_{s' > s} q_k(s'))

        R. Bellman: Dynamic Programming. Princeton University Press, 1957.
        """
        return np.where(self.allowed, self.stakes.worth(self.first, after), -np.inf)

    def begun(self, after: Floats) -> Floats:
        """What the next attempt and all that follows are worth from after each slot on, [H]."""
        later = np.append(self.worth(after)[1:], 0.0)
        best: Floats = np.maximum.accumulate(later[::-1])[::-1]
        return np.maximum(best, 0.0)

    def after(self, later: Chances, attempts: int) -> Floats:
        """V [H]: what it is worth to go on in the best way after an attempt in each slot that was
        not approved, with so many attempts left.

        `later` says the chances of the attempts that follow. Those are planned on one slot a day,
        the likeliest that is allowed.
        """
        slots = self._one_a_day()
        if attempts < 1 or not len(slots):
            return np.zeros(len(self.first))
        when = np.concatenate([self.hours[:1] - 1, self.hours[slots]])  # from before all of them on
        before, after, starts = _pairs(len(when))
        since = (when[after] - when[before]).astype(np.float64)
        place, last = slots[after - 1], np.concatenate([[0], slots])[before]
        more = np.arange(attempts, 0, -1)[:, None]
        chances = np.broadcast_to(later(more, since, last, place), (attempts, len(place)))
        stakes, value = self.stakes.at(place), np.zeros(len(when))
        for alone, left in zip(stakes.alone(chances), stakes.left(chances), strict=True):
            best = np.maximum.reduceat(alone + left * value[after], starts)
            value[:-1] = np.maximum(best, 0.0)
        return value[np.searchsorted(when, self.hours, side="right") - 1]

    def _one_a_day(self) -> Integers:
        """The likeliest allowed slot of each day from now, of those that have one; ascending."""
        chances = np.where(self.allowed, self.first, -1.0)
        days = np.arange(0, self.hours[-1] + DAY + 1, DAY)
        bounds = np.searchsorted(self.hours, days).tolist()
        likeliest = [a + int(chances[a:b].argmax()) for a, b in pairwise(bounds) if a < b]
        return np.array([one for one in likeliest if self.allowed[one]], np.int64)


@lru_cache(maxsize=64)
def _pairs(size: int) -> tuple[Integers, Integers, Integers]:
    """All pairs of places, the first before the second, in order; and where those of each first
    one start.
    """
    before, after = np.triu_indices(size, 1)
    return before, after, np.searchsorted(before, np.arange(size - 1))
