"""What a member watched, as rules and models see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Self


@dataclass(frozen=True, slots=True)
class Met:
    """All titles that a member met, oldest first: ids, times (microseconds since 1970), bits of
    `matinee.features.watched.SIGNALS`, and weights (0: met and not watched).
    """

    titles: tuple[str, ...]
    times: tuple[int, ...]
    signals: tuple[int, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class History:
    """What a member watched, oldest first: title ids, times (microseconds since 1970).

    `generation` changes whenever the history does; two histories of a member with one generation
    are the same. `met` is all that models see, the watches among it; `None` where no more is known
    than these.

    >>> met = Met(("heat", "alien"), (1, 2), (1, 32), (1.0, 0.0))
    >>> History.of(met, generation=7).titles
    ('heat',)
    """

    titles: tuple[str, ...] = ()
    times: tuple[int, ...] = ()
    generation: int = 0
    met: Met | None = None

    @classmethod
    def of(cls, met: Met, generation: int = 0) -> Self:
        """The history of a member who met that."""
        if 0.0 not in met.weights:
            return cls(met.titles, met.times, generation, met)
        titles, times = compress(met.titles, met.weights), compress(met.times, met.weights)
        return cls(tuple(titles), tuple(times), generation, met)

    def seen(self) -> Met:
        """What models see."""
        if self.met is not None:
            return self.met
        return Met(self.titles, self.times, (0,) * len(self.titles), (1.0,) * len(self.titles))

    def last(self) -> int | None:
        """When a title was last met, if any ever was."""
        times = self.seen().times
        return times[-1] if times else None

    def only(self, titles: Sequence[str]) -> Self:
        """The history as if it had been of these titles alone, in this order.

        One that was not met counts as a watch long ago.
        """
        seen = self.seen()
        place = {title: row for row, title in enumerate(seen.titles)}
        rows = [place.get(title) for title in titles]
        times = tuple(0 if row is None else seen.times[row] for row in rows)
        signals = tuple(0 if row is None else seen.signals[row] for row in rows)
        weights = tuple(1.0 if row is None else seen.weights[row] for row in rows)
        return type(self).of(Met(tuple(titles), times, signals, weights))
