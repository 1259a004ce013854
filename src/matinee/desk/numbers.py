"""Numbers and times as pages write them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from math import inf, isfinite, isnan
from typing import NamedTuple

from matinee.evaluation.intervals.base import Interval

NOT_YET = "too few members yet"
UNITS = (("days", 86_400, 2), ("h", 3_600, 1), ("min", 60, 1), ("s", 1, 0))
"""Units of time, their seconds, and how many of it there are at least where it is told in it."""
LARGE = 9_999.5
"""From here on four digits would be told with a power of ten."""


class Read(NamedTuple):
    """A value in words, and between which ends it lies, where that can be said."""

    value: str
    between: str = ""


def percent(share: float) -> str:
    """A share in [0, 1] to read.

    >>> percent(0.0849), percent(0.62), percent(1.0)
    ('8.5%', '62%', '100%')
    """
    return f"{share:.1%}" if 0 < share < 0.0995 else f"{share:.0%}"


def figure(value: float) -> str:
    """A number of any size to read: four digits, and no power of ten where it is large.

    >>> figure(0.52854), figure(27.779), figure(41_670.4), figure(-12_345.6)
    ('0.5285', '27.78', '41,670', '-12,346')
    """
    return f"{value:,.0f}" if abs(value) >= LARGE else f"{value:.4g}"


def figure_signed(value: float) -> str:
    """The same of a difference.

    >>> figure_signed(0.57122), figure_signed(12_345.6), figure_signed(-0.25)
    ('+0.5712', '+12,346', '-0.25')
    """
    return f"{value:+,.0f}" if abs(value) >= LARGE else f"{value:+.4g}"


def minutes(value: float) -> str:
    """Minutes to read.

    >>> minutes(7.533)
    '7.5'
    """
    return f"{value:.1f}"


def signed(value: float) -> str:
    """A difference to read, with its sign, a true minus, and one decimal.

    >>> signed(1.25), signed(-0.86), signed(-0.01)
    ('+1.2', '−0.9', '0.0')
    """
    text = f"{value:+.1f}"
    return "0.0" if text in {"+0.0", "-0.0"} else text.replace("-", "−")


def counted(number: int, thing: str) -> str:
    """So many of a thing.

    >>> counted(1, "row"), counted(1200, "row")
    ('1 row', '1,200 rows')
    """
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def listed(names: Sequence[str], of: int) -> str:
    """The first names of so many.

    >>> listed(["Ada", "Bo"], of=5), listed(["Ada"], of=1), listed([], of=0)
    ('Ada, Bo and 3 more', 'Ada', '')
    """
    more = of - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def moment(at: datetime) -> str:
    """A time to read, to the minute.

    >>> moment(datetime(2026, 3, 1, 18, 30, 59))
    '2026-03-01 18:30'
    """
    return f"{at:%Y-%m-%d %H:%M}"


def with_ends(one: Interval, write: Callable[[float], str], unknown: str = "none yet") -> str:
    """A value and the ends of its interval; alone where it has none, `unknown` without a value.

    >>> with_ends(Interval(0.5, 0.4, 0.6, level=0.95, method="normal"), "{:.2g}".format)
    '0.5 (0.4 to 0.6)'
    """
    if not isfinite(one.value):
        return unknown
    if not (isfinite(one.low) and one.low < one.high):  # of one member, or all alike
        return write(one.value)
    return f"{write(one.value)} ({write(one.low)} to {write(one.high)})"


def between(one: Interval, write: Callable[[float], str]) -> str:
    """A value and the ends of its interval; too early to say where an end is not known.

    >>> between(Interval(0.02, -0.01, 0.05, level=0.95, method="normal"), "{:+.2f}".format)
    '+0.02 (-0.01 to +0.05)'
    >>> between(Interval(0.02, -inf, inf, level=0.95, method="normal"), "{:+.2f}".format)
    'too few members yet'
    """
    known = isfinite(one.low) and isfinite(one.high)
    return with_ends(one, write, NOT_YET) if known else NOT_YET


def says_something(interval: Interval | None) -> bool:
    """Whether there is an interval and it has a width: none does of one member, nor of rewards that
    are all alike.
    """
    return interval is not None and not isnan(interval.low) and interval.low < interval.high


def share_read(interval: Interval | None) -> Read:
    """A share in [0, 1], its interval cut where no share can be.

    >>> share_read(Interval(0.0625, -0.06, 0.185, level=0.95, method="normal"))
    Read(value='6.2%', between='0% to 18%')
    >>> share_read(None).value
    'not known yet'
    """
    return _read(interval, percent, most=1.0)


def minutes_read(interval: Interval) -> Read:
    """Minutes, from 0.

    >>> minutes_read(Interval(5.25, -1.0, 7.5, level=0.95, method="normal"))
    Read(value='5.2', between='0.0 to 7.5')
    """
    return _read(interval, minutes)


def _read(interval: Interval | None, write: Callable[[float], str], most: float = inf) -> Read:
    if interval is None or isnan(interval.value):
        return Read("not known yet")
    if not says_something(interval):
        return Read(write(interval.value))
    low, high = max(interval.low, 0.0), min(interval.high, most)
    return Read(write(interval.value), f"{write(low)} to {write(high)}")


def span(seconds: float) -> str:
    """A length of time to read.

    >>> span(0), span(90), span(3_600), span(86_400), span(302_400)
    ('0 s', '1.5 min', '1 h', '24 h', '3.5 days')
    """
    unit, length, _ = next(one for one in UNITS if seconds >= one[1] * one[2])
    value = f"{seconds / length:.1f}".removesuffix(".0")
    return f"{value} {unit}"
