"""How a long fit is followed, interrupted and taken up again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a fit is.

    done : share of the work, 0 to 1. rate : events learned from, a second. loss : mean over the
    last epoch, in nats. validation : NDCG@10 on the validation targets, where there are any.
    left : seconds still to go, as far as one can tell.
    """

    done: float
    epoch: int
    epochs: int
    rate: float
    loss: float
    left: float
    validation: float | None = None


def _silent(_: Progress) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Run:
    """What surrounds a fit and changes nothing about its result.

    told : hears of the progress, now and then. checkpoint : the file that an unfinished fit is kept
    in, every so often and when it is interrupted; whoever named it deletes it when all is done.
    resume : go on from that file where it is there and of the same data and settings, to the same
    result.

    >>> Run().checkpoint is None
    True
    """

    told: Callable[[Progress], None] = _silent
    checkpoint: Path | None = None
    resume: bool = False


QUIET = Run()
"""Nobody is told and nothing is kept."""
