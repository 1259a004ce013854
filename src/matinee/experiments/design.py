r"""Before an experiment: how many members it takes, for how many days, to see which effect.

Two arms are compared by Welch's test, two-sided. With an effect D, variances s_k^2 of a member's
value and n_k members in arm k, its statistic has nearly the noncentral t distribution

.. math:: t'(\nu, D / e), \quad e^2 = \sum_k s_k^2 / n_k, \quad
          \nu = e^4 / \sum_k \frac{(s_k^2 / n_k)^2}{n_k - 1}

(S.-L. Jan, G. Shieh, "Optimal sample sizes for Welch's test under various allocation and cost
considerations", Behavior Research Methods 43, 2011, doi:10.3758/s13428-011-0095-7). With many
members that is the normal distribution, so it serves for shares and ratios too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil, inf, isfinite, sqrt
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import gammainc, nctdtr, ndtr, stdtr, stdtrit
from scipy.stats import kstest

from matinee.evaluation.intervals import Interval, clopper_pearson
from matinee.evaluation.intervals.base import check_alpha
from matinee.evaluation.off_policy.columns import Floats, require_finite, require_shape
from matinee.experiments.sequential import sharpness

MOST = 2.0**53
"""Members that float64 can count."""
FAR, BEYOND = 40.0, 1e9
"""Standard errors from which a noncentral t hangs on its denominator alone."""
LEVEL, FEW = 0.05, 100
"""Of the A/A tests; and splits of which fewer prove nothing."""
ALIKE, TINY = 1e-12, 1e-300
"""What rounding leaves of values that are alike, of the largest; and a divisor that is not 0."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """A metric as the log has it: its value, and the variance between members.

    `share` says that each member's value is 0 or 1: then an effect changes the variance too.
    Raises `ValueError` where the variance is not above 0, or the value not finite.
    """

    value: float
    variance: float
    share: bool = False

    def __post_init__(self) -> None:
        if not isfinite(self.value) or not 0 < self.variance < inf:
            raise ValueError(
                f"the metric has value {self.value} and variance {self.variance}; give one of "
                "members who differ, and whose numbers are finite"
            )

    @classmethod
    def mean(cls, values: ArrayLike) -> Self:
        """The mean over members of their values [N], one each.

        >>> Baseline.mean([1.0, 2.0, 3.0])
        Baseline(value=2.0, variance=1.0, share=False)
        """
        given = _column("values", values)
        with np.errstate(over="ignore", invalid="ignore"):
            return cls(float(given.mean()), float(given.var(ddof=1)))

    @classmethod
    def proportion(cls, share: float) -> Self:
        """The share of members who do something, above 0 and below 1: variance p (1 - p).

        >>> Baseline.proportion(0.5)
        Baseline(value=0.5, variance=0.25, share=True)
        """
        return cls(share, share * (1 - share), share=True)

    @classmethod
    def ratio(cls, numerators: ArrayLike, denominators: ArrayLike) -> Self:
        r"""The sum of members' numerators over that of their denominators, [N] each, one a member.

        The variance is that of :math:`(y_i - R x_i) / \bar x`, with R the ratio: the delta method
        (A. Deng, U. Knoblich, J. Lu, "Applying the Delta Method in Metric Analytics", KDD 2018,
        section 3). Clicks a page, say, where members have many pages: rows are not independent.

        >>> Baseline.ratio([1.0, 3.0, 2.0], [2.0, 3.0, 5.0]).value
        0.6
        """
        y, x = _column("numerators", numerators), _column("denominators", denominators)
        require_shape("denominators", x, y.shape)
        _require_denominators("denominators", x)
        with np.errstate(over="ignore", invalid="ignore"):
            value = float(y.sum() / x.sum())
            return cls(value, float(((y - value * x) / x.mean()).var(ddof=1)))

    def variance_after(self, effect: float) -> float:
        """The variance of an arm whose value is higher by `effect`."""
        after = self.value + effect
        if not self.share:
            return self.variance
        if not 0 <= after <= 1:
            raise ValueError(f"a share of {self.value} cannot change by {effect}; give a smaller")
        return after * (1 - after)


def power(
    baseline: Baseline,
    effect: float,
    units: Sequence[float],
    *,
    alpha: float = 0.05,
    correlation: float = 0.0,
    anytime: bool = False,
) -> float:
    r"""How likely an `effect` on the metric, in its own unit, is seen by K - 1 tests, the weakest.

    units : members in each of K >= 2 arms, control first, at least 2 each. Each other arm is
    compared with control at alpha / (K - 1) (Bonferroni). correlation : of the metric with what
    CUPED adjusts it by, in (-1, 1); it takes 1 - correlation^2 of the variance (A. Deng, Y. Xu, R.
    Kohavi, T. Walker, "Improving the Sensitivity of Online Controlled Experiments by Utilizing
    Pre-Experiment Data", WSDM 2013). anytime : by a sequence that may be looked at on
    every day, at its last look: see `boundary`. It may have seen the effect before, so that its
    power is at least this.

    >>> round(power(Baseline(0.0, 1.0), 0.5, (64, 64)), 4)
    0.8015
    """
    check_alpha(alpha)
    given = [float(one) for one in units]
    if len(given) < 2 or not all(2 <= one <= MOST for one in given):
        raise ValueError(f"units are {given}; give 2 members at least for each of two arms or more")
    if not -1 < correlation < 1:
        raise ValueError(f"correlation is {correlation}; give one above -1 and below 1")
    if not isfinite(effect):
        raise ValueError(f"effect is {effect}; give a finite number in the metric's unit")
    control, treatment = given[0], min(given[1:])
    errors = [baseline.variance / control, baseline.variance_after(effect) / treatment]
    squared, level = sum(errors), alpha / (len(given) - 1)
    distance = abs(effect) / sqrt(squared) / sqrt(1 - correlation**2)
    if anytime:
        edge = boundary(level)
        return float(ndtr(distance - edge) + ndtr(-distance - edge))
    parts = zip(errors, (control, treatment), strict=True)
    return _rejected(distance, 1 / sum((one / squared) ** 2 / (n - 1) for one, n in parts), level)


def size(
    baseline: Baseline,
    effect: float,
    *,
    shares: Sequence[float] = (0.5, 0.5),
    target: float = 0.8,
    alpha: float = 0.05,
    correlation: float = 0.0,
    anytime: bool = False,
) -> tuple[int, ...]:
    """Members of each of K arms by which `effect` is seen with power `target`: the fewest.

    shares : of each arm, control first, above 0, in any unit. The others are as in `power`.

    >>> size(Baseline(0.0, 1.0), 0.5)
    (64, 64)
    >>> size(Baseline.proportion(0.10), 0.01, shares=(0.9, 0.1))
    (76235, 8471)
    """
    planned = np.asarray(shares, np.float64)
    if planned.ndim != 1 or len(planned) < 2 or not ((planned > 0) & np.isfinite(planned)).all():
        raise ValueError(f"shares are {shares}; give numbers above 0 for two arms or more")
    _require_target(target, alpha)
    if effect == 0:
        raise ValueError("an effect of 0 is never seen; give the least one that matters")
    planned = planned / planned.min()

    seen = partial(power, baseline, effect, alpha=alpha, correlation=correlation, anytime=anytime)
    least, most = 2.0, MOST / float(planned.max())
    if seen((least * planned).tolist()) < target:
        least = _root(
            lambda smallest: seen((smallest * planned).tolist()) - target,
            (least, 2 * least, most),
            "more members than 2^53",
        )
    return tuple(ceil(one) for one in (least * planned).tolist())


def mde(
    baseline: Baseline,
    units: Sequence[float],
    *,
    target: float = 0.8,
    alpha: float = 0.05,
    correlation: float = 0.0,
    anytime: bool = False,
) -> float:
    """The minimum detectable effect: the least rise of the metric, in its own unit, that is seen
    with power `target` by `units` members in each of K arms. The others are as in `power`.

    The least fall of a share p is the least rise of 1 - p; that of others is as large as the rise.
    Raises `ValueError` where a share cannot rise so far.

    >>> round(mde(Baseline(0.0, 1.0), (64, 64)), 3)
    0.499
    """
    _require_target(target, alpha)

    seen = partial(
        power, baseline, units=units, alpha=alpha, correlation=correlation, anytime=anytime
    )
    least = sqrt(baseline.variance / MOST)
    most = 1 - baseline.value if baseline.share else inf
    return _root(
        lambda effect: seen(effect) - target,
        (0.0, min(least, most), most),
        f"a rise of more than the {most} that there is",
    )


def boundary(alpha: float) -> float:
    r"""How many standard errors apart two arms must be at the last planned look of a sequence.

    An asymptotic confidence sequence is :math:`\sqrt{2 (s + 1) / s \, \log(\sqrt{s + 1} / \alpha)}`
    standard errors wide on either side, with s its setting times the members so far (I.
    Waudby-Smith, D. Arbour, R. Sinha, E. H. Kennedy, A. Ramdas, "Time-uniform central limit theory
    and asymptotic confidence sequences", arXiv 2103.06476, theorem 2.2). Set to be narrowest at the
    planned size, s = log((s + 1) / alpha^2) there, so that s + 1 = -W(-alpha^2 / e) with W the
    lower branch of Lambert's function, and the width is sqrt(s + 1).

    The size by it is an upper bound without simulation: a sequence that has crossed on any day
    before has seen the effect too.

    >>> round(boundary(0.05), 3)
    3.035
    >>> size(Baseline(0.0, 1.0), 0.1), size(Baseline(0.0, 1.0), 0.1, anytime=True)
    ((1571, 1571), (3006, 3006))
    """
    check_alpha(alpha)
    return sqrt(1 + sharpness(alpha))


def days(needed: float, arrivals: ArrayLike, share: float = 1.0) -> int:
    """The first day, counted from 1, by whose end `needed` members are in an experiment.

    arrivals : members seen for the first time, on each of D days in turn from a start as that of
    the experiment will be [D]: many on the first day, fewer once most have come. share : of them
    that are in it, the width of its slice, in (0, 1]. After the last day as many come a day as on
    average of the last seven: hopeful, so give as many days as there are. Round up to whole weeks.

    Raises `ValueError` where they never come.

    >>> days(1_000, [500, 300, 200, 100], share=0.5)
    8
    """
    given = np.asarray(arrivals, np.float64)
    if given.ndim != 1 or not len(given) or not ((given >= 0) & (given < MOST)).all():
        raise ValueError("give the new members, from 0, of each day, and of one day at least")
    if not 0 < share <= 1 or not 0 < needed <= MOST:
        raise ValueError(f"needed is {needed} and share {share}; give members, and a share of them")
    sums = share * np.cumsum(given)
    reached = int(np.searchsorted(sums, needed))
    if reached < len(sums):
        return reached + 1
    daily = share * float(given[-7:].mean())
    if not daily > 0:
        raise ValueError(
            f"{sums[-1]:g} of {needed:g} members come, and then none; "
            "give a larger slice, or look for a larger effect"
        )
    return len(sums) + ceil((needed - float(sums[-1])) / daily)


@dataclass(frozen=True, slots=True)
class AA:
    """What splits of members at random say of a metric whose test should find nothing in them.

    pvalues : of each of S splits. rejected : the share of them below 5 %, with the exact interval
    of Clopper and Pearson. uniform : the p-value of Kolmogorov and Smirnov that they are uniform.
    reasons : why the metric is unfit, none where it is fit.
    """

    pvalues: Floats
    rejected: Interval
    uniform: float
    reasons: tuple[str, ...]

    @property
    def fit(self) -> bool:
        """Whether nothing speaks against the metric's test."""
        return not self.reasons


def a_a(
    values: ArrayLike,
    splits: int = 1_000,
    seed: int = 0,
    *,
    per: ArrayLike | None = None,
    members: ArrayLike | None = None,
    share: float = 0.5,
    alpha: float = 0.01,
) -> AA:
    """Whether a metric's p-values are what they say, by A/A tests on members' own history.

    values : of N members, one each. per : the denominators [N] of a ratio, tested by the delta
    method as in `Baseline.ratio`. members : where values are rows, whose each is [N]; members are
    split, as an experiment does, while the test takes rows for independent: so this says whether it
    may. share : of members in the first arm; heavy tails mislead most where it is far from a half.
    alpha : with at most what chance a fit metric is called unfit.

    Given the history, splits are independent draws, and so are their p-values. A test that is
    anything but exact is found out where splits are enough, so a verdict of thousands is strict.
    Source: R. Kohavi, D. Tang, Y. Xu: Trustworthy Online Controlled Experiments. Cambridge
    University Press, 2020, chapter 19 (the A/A test, on logged data).

    Raises `ValueError` for what is not finite, lengths that differ, and values all alike.

    >>> minutes = np.random.default_rng(0).exponential(30.0, 2_000)
    >>> a_a(minutes).fit
    True
    >>> a_a(minutes.repeat(5), members=np.arange(2_000).repeat(5)).fit
    False
    """
    check_alpha(alpha)
    if splits < FEW or not 0 < share < 1:
        raise ValueError(
            f"splits is {splits}, share {share}; give {FEW} or more, and 0 < share < 1"
        )
    sums = _sums(values, per, members)
    rng = np.random.default_rng(seed)
    chunk = max(1, 2**21 // len(sums))
    first = np.concatenate(
        [
            (rng.random((min(chunk, splits - done), len(sums)), np.float32) < share) @ sums
            for done in range(0, splits, chunk)
        ]
    )
    pvalues = _pvalues(first, sums.sum(axis=0) - first)
    rejected = clopper_pearson(int((pvalues < LEVEL).sum()), splits, alpha=alpha / 2)
    uniform = float(kstest(pvalues, "uniform").pvalue)
    return AA(pvalues, rejected, uniform, tuple(_reasons(rejected, uniform, alpha / 2)))


def _sums(values: ArrayLike, per: ArrayLike | None, members: ArrayLike | None) -> Floats:
    """Of each of M members [M, 6]: rows, denominators x, residuals z = y - R x, z z, z x, x x."""
    y = _column("values", values)
    x = np.ones_like(y) if per is None else _column("per", per)
    require_shape("per", x, y.shape)
    _require_denominators("per", x)
    y, x = y / max(float(np.abs(y).max()), TINY), x / x.max()
    z = y - y.sum() / x.sum() * x
    if np.abs(z).max() <= ALIKE:
        raise ValueError(
            "all values are alike: there is nothing to test; give a metric that varies"
        )
    parts = np.stack([np.ones_like(z), x, z, z * z, z * x, x * x], axis=1)
    if members is None:
        return parts
    whose = np.asarray(members)
    require_shape("members", whose, y.shape)
    codes = np.unique(whose, return_inverse=True)[1]
    return np.stack([np.bincount(codes, part) for part in parts.T], axis=1)


def _pvalues(one: Floats, other: Floats) -> Floats:
    """Welch's test of the ratios of two arms, from their sums [S, 6]; 1 where there is none."""
    with np.errstate(all="ignore"):
        (d, v, n), (d2, v2, n2) = (_ratio(arm) for arm in (one, other))
        freedom = (v + v2) ** 2 / (v**2 / (n - 1) + v2**2 / (n2 - 1))
        found: Floats = 2 * stdtr(freedom, -np.abs(d - d2) / np.sqrt(v + v2))
    return np.where(np.isfinite(found), found, 1.0)


def _ratio(arm: Floats) -> tuple[Floats, Floats, Floats]:
    """How far an arm's ratio is from that of all, its squared error, and its rows, [S] each."""
    n, x, z, zz, zx, xx = arm.T
    d = z / x
    rest = np.maximum(zz - 2 * d * zx + d**2 * xx, 0.0)
    return d, n * rest / (n - 1) / x**2, n


def _reasons(rejected: Interval, uniform: float, level: float) -> Iterator[str]:
    share = f"{rejected.value:.1%} of p-values are below {LEVEL:.0%}"
    if rejected.low > LEVEL:
        yield (
            f"{share}: its variance is taken for less than it is; where rows are of the same "
            "members, take one value a member, or a ratio of their sums; where few members carry "
            "it, cap their values, or make the smaller arm larger"
        )
    if rejected.high < LEVEL:
        yield f"{share}: few members carry it; cap their values, or count members who have any"
    if rejected.low <= LEVEL <= rejected.high and uniform < level:
        yield (
            f"its p-values are not uniform (Kolmogorov-Smirnov, p = {uniform:.1g}): its test is "
            "not exact with so few members, values so rare, or tails so heavy"
        )


def _rejected(distance: float, freedom: float, level: float) -> float:
    """How often noncentral t with that many degrees of freedom lies beyond both edges of t."""
    edge = -float(stdtrit(freedom, level / 2))
    if distance > FAR:
        return float(gammainc(freedom / 2, freedom * min(distance / edge, BEYOND) ** 2 / 2))
    wrong = float(nctdtr(freedom, distance, -edge))
    return float(1 - nctdtr(freedom, distance, edge)) + (wrong if wrong > 0 else 0.0)


def _root(
    missing: Callable[[float], float], around: tuple[float, float, float], what: str
) -> float:
    """Where a rising function crosses 0: above the first place, looked for from the second on, and
    up to the third.
    """
    low, high, most = around
    while missing(high) < 0:
        if high >= most:
            raise ValueError(f"it takes {what}; give a larger effect, more members or less power")
        low, high = high, min(2 * high, most)
    return float(brentq(missing, low, high, xtol=high * 1e-13, rtol=1e-13))


def _require_target(target: float, alpha: float) -> None:
    if not alpha < target < 1:
        raise ValueError(f"target is {target}; give a power above alpha ({alpha}) and below 1")


def _require_denominators(name: str, values: Floats) -> None:
    if not (values >= 0).all() or not values.any():
        raise ValueError(f"{name} has values below 0, or none above; give some above 0")


def _column(name: str, values: ArrayLike) -> Floats:
    given = np.asarray(values, np.float64)
    if given.ndim != 1 or len(given) < 2:
        raise ValueError(f"{name} has shape {given.shape}; give one number for each of two or more")
    require_finite(name, given)
    return given
