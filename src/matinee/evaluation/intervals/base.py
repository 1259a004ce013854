"""What an interval is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Side = Literal["both", "lower", "upper"]
"""Which ends are bounded: both share alpha, one alone has it whole and leaves the other open."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A value and what bounds it: low <= high, or NaN where the method has nothing to say.

    `level` is what the interval holds the truth with, 1 - alpha, and `method` says how it was made
    and, where only one end is bounded, which.
    """

    value: float
    low: float
    high: float
    level: float
    method: str


def check_alpha(alpha: float) -> None:
    """Raise `ValueError` unless alpha is a chance of missing."""
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must be above 0 and below 1, got {alpha}")
