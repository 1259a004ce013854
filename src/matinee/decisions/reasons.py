"""Why a member is recommended what they are: which watches raised it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from matinee.models.data import Indices
from matinee.surfaces.history import Met

LATEST = 5
"""How many of a member's latest watches are left out, one at a time."""
BEST = 10
"""How many of the best titles decide which watch raised them most."""


@dataclass(frozen=True, slots=True)
class Reasons:
    """By how much a member's latest watches raised what is best for them now.

    watched : E titles, the latest first. titles : S that may be chosen, the best first. raised :
    float [E, S], the score less the score without that watch; 0 where it is not higher.

    >>> reasons = Reasons(("heat", "up"), ("ronin", "coco"), np.array([[0.5, 0.0], [0.1, 0.2]]))
    >>> reasons.most({"heat", "up"}), reasons.by_title({"heat", "up"})
    ('heat', {'ronin': 'heat', 'coco': 'up'})
    """

    watched: tuple[str, ...] = ()
    titles: tuple[str, ...] = ()
    raised: NDArray[np.floating[Any]] = field(default_factory=lambda: np.zeros((0, 0)))

    @classmethod
    def of(
        cls,
        met: Met,
        titles: Sequence[str],
        events: Indices,
        effects: NDArray[np.floating[Any]],
    ) -> Self:
        """From `Model.effects` on `titles`: events [E'] of `met`, oldest first, [E', S].

        >>> met = Met(("heat", "up"), (1, 2), (0, 0), (1.0, 0.0))
        >>> Reasons.of(met, ["coco"], np.zeros(1, np.int32), np.ones((1, 1))).watched
        ('heat',)
        """
        latest_first = events[::-1].tolist()
        return cls(
            tuple(met.titles[event] for event in latest_first),
            tuple(titles),
            np.maximum(effects[::-1], 0),
        )

    def most(self, among: Collection[str]) -> str | None:
        """Which of the watched titles `among` these raised the `BEST` best titles most, summed.

        The latest of equals; `None` where none raised any.
        """
        sums = self._of(among)[:, :BEST].sum(axis=1)
        return self.watched[sums.argmax()] if sums.any() else None

    def by_title(self, among: Collection[str]) -> dict[str, str]:
        """For each title that any watched one `among` these raised: which raised it most."""
        raised = self._of(among)
        if not raised.size:
            return {}
        rows, highest = raised.argmax(axis=0).tolist(), raised.max(axis=0).tolist()
        found = zip(self.titles, rows, highest, strict=True)
        return {title: self.watched[row] for title, row, most in found if most > 0}

    def _of(self, among: Collection[str]) -> NDArray[np.floating[Any]]:
        """`raised`, with 0 for the watched titles that are not `among` these."""
        counts = np.array([title in among for title in self.watched], bool)
        return np.where(counts[:, None], self.raised, 0)
