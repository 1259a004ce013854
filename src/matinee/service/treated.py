"""A treatment beside the control of its experiment: metrics, guardrails, looks and countries."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Literal

import numpy as np

from matinee.evaluation.intervals.base import Interval
from matinee.experiments.arms import Arm
from matinee.experiments.effects import Effect, compare
from matinee.experiments.segments import Heterogeneity, by_segment
from matinee.experiments.sequential import AsymptoticSequence, quantile_difference
from matinee.service.tallies import DECISIONS, MINUTES, NEW, PREVIOUS, REWARD, Floats, Tally

COLUMNS = {REWARD: "reward", MINUTES: "minutes watched"}
"""The metrics that decide, and are guarded."""
RATIO, MEDIAN = "reward a decision", "median minutes watched"
NOWHERE = Heterogeneity((), (), 0.0, 1.0)


@dataclass(frozen=True)
class Metric:
    """One metric, a member: the means of both arms, and the treatment less the control.

    `removed` is the share of the variance that what was known before took away; `relative` the
    difference as a share of the control's. Intervals and the p-value hold at every look.
    """

    name: str
    treatment: float
    control: float
    difference: Interval
    relative: Interval
    pvalue: float
    removed: float


@dataclass(frozen=True)
class Secondary:
    """A metric that is told and decides nothing: a ratio of two sums over members, or a quantile of
    members. Its interval holds at every look, at a level of its own.
    """

    name: str
    kind: Literal["ratio", "quantile"]
    treatment: float
    control: float
    difference: Interval


@dataclass(frozen=True)
class Guardrail:
    """A metric that may not fall by more than `tolerance`, a share of the control's.

    bound : the difference at which it has. room : how far the most that the difference may be is
    above that; below 0 it is `breached`. It is `kept` where the least is above it too.
    """

    metric: str
    tolerance: float
    bound: float
    difference: Interval
    room: float
    state: Literal["breached", "kept", "open"]


@dataclass(frozen=True)
class Treated:
    """A treatment beside the control.

    The first of `metrics` decides, and `guardrails` do. `looks` are the difference in it at the end
    of days, with the members of both arms until then.
    """

    arm: str
    serves: str
    metrics: tuple[Metric, ...]
    secondary: tuple[Secondary, ...] = ()
    guardrails: tuple[Guardrail, ...] = ()
    looks: tuple[tuple[datetime, int, Interval], ...] = ()
    countries: Heterogeneity = NOWHERE

    @property
    def breached(self) -> tuple[Guardrail, ...]:
        """The guardrails that it breaches."""
        return tuple(one for one in self.guardrails if one.state == "breached")


@dataclass(frozen=True)
class Rules:
    """By what treatments are read: the looks, how sure each of `treatments` that share `alpha` is
    to be, by how much a metric may fall, and whether minutes have to do with the surface.
    """

    ends: tuple[datetime, ...]
    treatments: int
    alpha: float
    tightest_at: float
    tolerance: float
    minutes: bool

    @property
    def each(self) -> float:
        """The chance of error of all that is said of one treatment in one way."""
        return self.alpha / self.treatments

    @property
    def sequence(self) -> AsymptoticSequence:
        """Of each metric that decides."""
        return AsymptoticSequence(tightest_at=self.tightest_at, alpha=self.each / len(COLUMNS))

    @property
    def beside(self) -> AsymptoticSequence:
        """Of each metric that does not."""
        return replace(self.sequence, alpha=self.each / (1 + self.minutes))


def treated(tally: Tally, control: str, arm: str, serves: str, rules: Rules) -> Treated:
    """All that is read of the treatment `arm`, which `serves` a version."""
    last = len(rules.ends) - 1
    ours, theirs = tally.at(arm, last), tally.at(control, last)
    columns = tuple(COLUMNS) if rules.minutes else (REWARD,)
    metrics = tuple(_metric(ours, theirs, column, rules.sequence) for column in columns)
    return Treated(
        arm,
        serves,
        metrics,
        tuple(_secondary(tally, control, arm, rules)),
        tuple(guardrail(metric, rules.tolerance) for metric in metrics),
        tuple(_looks(tally, control, arm, rules)),
        _countries(tally, control, arm, rules),
    )


def guardrail(metric: Metric, tolerance: float) -> Guardrail:
    """Whether a metric falls by more than `tolerance`, and how far it is from that.

    >>> interval = Interval(-1.0, -1.5, -0.5, 0.95, "x")
    >>> metric = Metric("minutes", 99.0, 100.0, interval, interval, 0.5, 0.0)
    >>> guardrail(metric, 0.02).state, guardrail(metric, 0.001).state, guardrail(metric, 0.01).room
    ('kept', 'breached', 0.5)
    """
    bound, found = -tolerance * abs(metric.control) + 0.0, metric.difference
    state: Literal["breached", "kept", "open"] = "open"
    if found.high < bound:
        state = "breached"
    elif found.low >= bound:
        state = "kept"
    return Guardrail(metric.name, tolerance, bound, found, found.high - bound, state)


def _effect(ours: Arm, theirs: Arm, column: int, *, relative: bool = False) -> Effect:
    """On the mean of a column, less what was known before of a member."""
    return compare(ours, theirs, column=column, relative=relative, adjust=(PREVIOUS, NEW))


def _metric(ours: Arm, theirs: Arm, column: int, sequence: AsymptoticSequence) -> Metric:
    effect = _effect(ours, theirs, column)
    difference, pvalue = sequence.read(effect)
    relative, _ = sequence.read(_effect(ours, theirs, column, relative=True))
    return Metric(
        COLUMNS[column],
        _mean(ours, column),
        _mean(theirs, column),
        difference,
        relative,
        pvalue,
        effect.removed,
    )


def _mean(arm: Arm, column: int, per: int | None = None) -> float:
    """The mean of a column, or its ratio to another's; NaN without units."""
    if not arm.units:
        return float("nan")
    return float(arm.means[column] / (1.0 if per is None else arm.means[per]))


def _secondary(tally: Tally, control: str, arm: str, rules: Rules) -> Iterator[Secondary]:
    last = len(rules.ends) - 1
    ours, theirs = tally.at(arm, last), tally.at(control, last)
    effect = compare(ours, theirs, column=REWARD, per=DECISIONS, adjust=(PREVIOUS, NEW))
    ratios = [_mean(each, REWARD, DECISIONS) for each in (ours, theirs)]
    yield Secondary(RATIO, "ratio", ratios[0], ratios[1], rules.beside.read(effect)[0])
    if rules.minutes:
        mine, others = tally.watched(arm), tally.watched(control)
        alpha, size = rules.beside.alpha, rules.tightest_at
        found = quantile_difference(mine, others, 0.5, tightest_at=size, alpha=alpha)
        yield Secondary(MEDIAN, "quantile", _median(mine), _median(others), found)


def _median(values: Floats) -> float:
    """The least value that half of the units are not above; NaN without units."""
    return float(np.quantile(values, 0.5, method="inverted_cdf")) if len(values) else float("nan")


def _looks(
    tally: Tally, control: str, arm: str, rules: Rules
) -> Iterator[tuple[datetime, int, Interval]]:
    """The first metric at every end, as soon as there are members."""
    for number, end in enumerate(rules.ends):
        ours, theirs = tally.at(arm, number), tally.at(control, number)
        if units := ours.units + theirs.units:
            yield end, units, rules.sequence.read(_effect(ours, theirs, REWARD))[0]


def _countries(tally: Tally, control: str, arm: str, rules: Rules) -> Heterogeneity:
    """The first metric by country."""
    pairs = {
        country: (tally.within(arm, country), tally.within(control, country))
        for country in sorted({country for _, country in tally.countries})
    }
    effects = {
        country: _effect(*pair, REWARD)
        for country, pair in pairs.items()
        if any(each.units for each in pair)
    }
    return by_segment(effects, rules.each, read=partial(_at, rules.sequence))


def _at(sequence: AsymptoticSequence, effect: Effect, alpha: float) -> tuple[Interval, float]:
    """An effect read at another alpha."""
    return replace(sequence, alpha=alpha).read(effect)
