"""Where the effect differs: by country, device or plan, and not more often than chance explains."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import chdtrc

from matinee.evaluation.intervals import Interval
from matinee.evaluation.intervals.base import check_alpha
from matinee.evaluation.off_policy.columns import Booleans, Floats, Integers
from matinee.evaluation.off_policy.multiple import holm
from matinee.experiments.effects import Effect, fixed

Read = Callable[[Effect, float], tuple[Interval, float]]
FEW = 100
"""Units in an arm below which a segment is not judged."""


@dataclass(frozen=True, slots=True)
class Segment:
    """What is said of one of K segments.

    effect, interval : in the segment; with chance 1 - alpha the intervals of all hold at once.
    found : whether there is an effect; with chance alpha at most any is found wrongly.
    apart, differs : the effect less that in the rest, and whether it is another: both in that way.
    """

    name: str
    effect: Effect
    interval: Interval
    found: bool
    apart: Interval
    differs: bool


@dataclass(frozen=True, slots=True)
class Heterogeneity:
    """Segments, those that are too small to be judged, and Cochran's test that all are alike.

    q : Cochran's Q, about K - 1 where they are. pvalue : of Q; 1 below two segments.
    """

    segments: tuple[Segment, ...]
    too_small: tuple[str, ...]
    q: float
    pvalue: float


def by_segment(
    effects: Mapping[str, Effect], alpha: float = 0.05, *, few: int = FEW, read: Read = fixed
) -> Heterogeneity:
    r"""The effects in segments that share no units, held against 0 and against each other.

    effects : of each segment, by its name. Those with fewer than `few` units in an arm, or without
    an error to go by, are named in `too_small` and judged no further; sizes say nothing of effects,
    so the others need not pay for them. Of the K that are left:

    - intervals at alpha / K, which hold all at once (Bonferroni), and who has an effect by Holm's
      procedure, which may find one whose interval just has 0 in it;
    - Cochran's Q = sum_k w_k (d_k - d)^2 with w = 1 / error^2 and d the mean weighed by w:
      chi-square with K - 1 degrees where all effects are alike (Cochran, 1954, "The combination of
      estimates from different experiments", Biometrics 10);
    - each d_k less the mean of the others, weighed by w, and who differs by Holm's procedure. One
      far from all the others is in the rest of each of them, too: where several differ, the least
      may do so on its account alone.

    `read` gives the interval and p-value of an effect at an alpha: `fixed`, for one look, or
    ``lambda effect, alpha: AsymptoticSequence(alpha=alpha, tightest_at=n).read(effect)`` for every
    look. Q is for one look in either case.

    >>> from matinee.experiments.arms import Arm
    >>> from matinee.experiments.effects import compare
    >>> control = Arm.published(2_000, 5.0, 4.0)
    >>> effects = {name: compare(Arm.published(2_000, 5.0 + more, 4.0), control)
    ...            for name, more in (("tv", 0.1), ("web", 0.1), ("tablet", 0.2), ("phone", 0.5))}
    >>> found = by_segment(effects)
    >>> [segment.name for segment in found.segments if segment.differs], found.pvalue < 0.001
    (['phone'], True)
    """
    check_alpha(alpha)
    judged = {
        name: effect
        for name, effect in effects.items()
        if effect.telling and effect.error > 0 and min(effect.units) >= few
    }
    too_small = tuple(name for name in effects if name not in judged)
    if not judged:
        return Heterogeneity((), too_small, 0.0, 1.0)
    each = alpha / len(judged)
    q, contrasts = _contrasts(list(judged.values()))
    inside = [read(effect, each) for effect in judged.values()]
    apart = [read(contrast, each) for contrast in contrasts]
    found, differs = (holm([chance for _, chance in some], alpha) for some in (inside, apart))
    segments = tuple(
        Segment(name, effect, inside[k][0], bool(found[k]), apart[k][0], bool(differs[k]))
        for k, (name, effect) in enumerate(judged.items())
    )
    chance = float(chdtrc(len(judged) - 1, q)) if len(judged) > 1 else 1.0
    return Heterogeneity(segments, too_small, q, chance)


def _contrasts(effects: list[Effect]) -> tuple[float, list[Effect]]:
    """Cochran's Q, and each effect less that in the rest, as one of segment and rest."""
    values = np.array([effect.value for effect in effects])
    errors = np.array([effect.error for effect in effects])
    units = np.array([sum(effect.units) for effect in effects])
    values -= values.mean()  # what is common to all costs no digits
    mean, _ = _weighed(values, errors)
    q = float((((values - mean) / errors) ** 2).sum())
    rest = ~np.eye(len(effects), dtype=bool)
    return q, [_contrast(values, errors, units, k, rest[k]) for k in range(len(effects))]


def _contrast(values: Floats, errors: Floats, units: Integers, k: int, rest: Booleans) -> Effect:
    mean, error = _weighed(values[rest], errors[rest])
    sizes = int(units[k]), int(units[rest].sum())
    variances = float(errors[k] ** 2 * sizes[0]), error**2 * sizes[1]
    return Effect(float(values[k]) - mean, sizes, variances, "segment less the rest")


def _weighed(values: Floats, errors: Floats) -> tuple[float, float]:
    """The mean weighed by 1 / error^2, and its error; NaN of none."""
    if not len(values):
        return float("nan"), float("nan")
    weights = (errors.min() / errors) ** 2
    return float(weights @ values / weights.sum()), float(errors.min() / weights.sum() ** 0.5)
