"""What personal pictures bring, as the top of a page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import isnan
from typing import Any

from matinee.desk.choosers import Choosers
from matinee.desk.numbers import (
    counted,
    minutes,
    minutes_read,
    percent,
    says_something,
    share_read,
    signed,
)
from matinee.evaluation.attribution import Attribution
from matinee.evaluation.intervals.base import Interval
from matinee.insights.attributing import Attributed

MARGIN = 0.08
"""Free space at both ends of an interval's axis, as a part of what is shown."""


@dataclass(frozen=True)
class Axis:
    """An interval on an axis: where its ends, its value and zero are, in percent from the left."""

    low: float
    high: float
    value: float
    zero: float

    @classmethod
    def of(cls, interval: Interval) -> Axis:
        """Zero is always on it.

        >>> Axis.of(Interval(2.0, 1.0, 4.0, level=0.95, method="normal"))
        Axis(low=28.4, high=93.1, value=50.0, zero=6.9)
        """
        least, most = min(interval.low, 0.0), max(interval.high, 0.0)
        margin = MARGIN * (most - least)
        begins, width = least - margin, (most - least) + 2 * margin
        places = (interval.low, interval.high, interval.value, 0.0)
        return cls(*(round(100 * (place - begins) / width, 1) for place in places))


@dataclass(frozen=True)
class Reading:
    """One reading of the headline, in words."""

    name: str
    gain: str
    unit: str
    between: str
    verdict: str
    personal: str
    single: str
    axis: Axis | None


def readings(found: Attributed) -> list[Reading]:
    """What choosing for each member brings, in titles taken and in minutes."""
    taken, watched = found.readings["reward"], found.readings["minutes"]
    return [
        _reading("Titles taken", "percentage points", taken, _points(taken.difference), percent),
        _reading("Minutes watched", "minutes", watched, watched.difference, minutes),
    ]


def arms(found: Attributed, choosers: Choosers) -> list[dict[str, Any]]:
    """A row for each who chose: what it is, its first choices, and what came of them."""
    return [
        {
            "name": arm.name,
            "about": choosers.about(arm.name),
            "units": f"{arm.units:,}",
            "members": counted(arm.members, "member"),
            "taken": share_read(arm.means["reward"]),
            "minutes": minutes_read(arm.means["minutes"]),
        }
        for arm in found.arms
    ]


def _reading(
    name: str, unit: str, found: Attribution, gain: Interval, read: Callable[[float], str]
) -> Reading:
    known = says_something(gain)
    return Reading(
        name=name,
        gain=signed(gain.value),
        unit=unit,
        between=_between(gain),
        verdict=_verdict(gain) if known else "open",
        personal=read(found.personal.value),
        single=read(max(found.single.value, 0.0)),
        axis=Axis.of(gain) if known else None,
    )


def _between(gain: Interval) -> str:
    if isnan(gain.low):
        return "of too few members for an interval"
    if not says_something(gain):
        return "the same for all members, so there is no interval"
    said = {
        "more": "more than chance explains",
        "less": "one picture for all did better",
        "open": "it may be chance",
    }[_verdict(gain)]
    ends = f"{signed(gain.low)} to {signed(gain.high)}"
    return f"{100 * gain.level:.4g}% interval {ends}: {said}"


def _verdict(gain: Interval) -> str:
    if gain.low > 0:
        return "more"
    return "less" if gain.high < 0 else "open"


def _points(share: Interval) -> Interval:
    """A difference of shares in percentage points."""
    return replace(share, value=100 * share.value, low=100 * share.low, high=100 * share.high)
