"""What an interval is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Side = Literal["both", "lower", "upper"]
"""Which ends are bounded: both share alpha, one alone has it whole and leaves the other open."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A value and what bounds it: low <= high, or NaN where the method has nothing to say.

    `level` is what the interval holds the truth with, 1 - alpha, and `method` says how it was made
    and, where only one end is bounded, which. It is `void` where the bounds from two sides crossed,
    which true propensities seldom bring about: then it is the whole range.

    Raises `ValueError` for ends that cross, and for a level that is not above 0 and below 1.
    """

    value: float
    low: float
    high: float
    level: float
    method: str
    void: bool = False

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"low must be at most high, got {self.low} and {self.high}")
        if not 0 < self.level < 1:
            raise ValueError(f"level must be above 0 and below 1, got {self.level}")


def check_alpha(alpha: float) -> None:
    """Raise `ValueError` unless alpha is a chance of missing, and 1 - alpha one of holding."""
    if not 0 < 1 - alpha < 1:
        raise ValueError(f"alpha must be above 0 and below 1, by 1e-16 at least, got {alpha}")


def check_side(side: Side) -> None:
    """Raise `ValueError` unless it is one of the sides."""
    if side not in get_args(Side):
        raise ValueError(f'side must be "both", "lower" or "upper", got {side!r}')
