"""What actions mean to the model: routes and slots, as places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from matinee.models.data import Indices, Vocabulary
from matinee.payments.actions import SLOTS, STOP, route_of, slot_id, who
from matinee.payments.facts import RANKS

PLACES = {**{slot_id(hours): place for place, hours in enumerate(SLOTS)}, STOP: len(SLOTS)}


class Actions(NamedTuple):
    """Of each of A actions the place of its slot in `SLOTS`, one more than the last for a stop,
    that of its processor among those known, and the rank of its instrument from 1: -1, -1 and 0
    where it has none.

    >>> ids = ["+002h", "gold/2", "stop"]
    >>> Actions.of(ids, processors_of(ids)).take(np.array([1, 0, -1], np.int32))
    Actions(slots=array([-1,  1, -1]), processors=array([ 0, -1, -1], dtype=int32),
            ranks=array([2, 0, 0]))
    """

    slots: NDArray[np.int64]
    processors: Indices
    ranks: NDArray[np.int64]

    @classmethod
    def of(cls, ids: Sequence[str], processors: Vocabulary) -> Self:
        ids = [*ids, ""]  # of which -1 is the place
        ranks = [route_of(one).rank if who(one) != one else 0 for one in ids]
        ranks = [rank if rank <= RANKS else 0 for rank in ranks]
        slots = [PLACES.get(one, -1) for one in ids]
        by = processors.encode(map(who, ids))
        by[-1] = -1
        return cls(np.array(slots, np.int64), by, np.array(ranks, np.int64))

    def take(self, places: Indices | None) -> Self:
        """Some of them, -1 for one that is none; or all."""
        some = slice(-1) if places is None else places
        return type(self)(self.slots[some], self.processors[some], self.ranks[some])


def processors_of(ids: Sequence[str]) -> Vocabulary:
    """The processors of actions; one that is neither a route nor a slot counts as one.

    >>> processors_of(["gold/1", "gold/2", "+002h", "stop", "moon/1"]).ids
    ('gold', 'moon')
    """
    return Vocabulary(sorted({who(one) for one in ids if one not in PLACES}))
