"""Intervals of effects that hold at every look, so that one may look daily and stop when one likes.

Units enter once, each with its value closed, in an order that was fixed beforehand: by the day on
which they were allocated, say, with what they did in their first week. Shares of arms stay as they
were planned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import exp, inf, log, log1p, sqrt

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaln, lambertw

from matinee.evaluation.intervals import Interval
from matinee.evaluation.intervals.base import check_alpha
from matinee.evaluation.off_policy.columns import Booleans, Floats, Integers, require_finite
from matinee.experiments.effects import Effect, interval

BURN_IN, STEADY = 100, 1_000
"""Units in each arm below which the limit is not trusted, and for which the other arm speaks."""


@dataclass(frozen=True, kw_only=True)
class AsymptoticSequence:
    r"""An asymptotic confidence sequence for any `Effect` (Waudby-Smith, Arbour, Sinha, Kennedy and
    Ramdas, 2024, "Time-uniform central limit theory and asymptotic confidence sequences", Annals of
    Statistics 52, arXiv 2103.06476, theorem 2.2 and section 3).

    With n units in both arms, z = value / error and s = error sqrt(n),

        value +- s sqrt(2 (n rho^2 + 1) / (n^2 rho^2) log(sqrt(n rho^2 + 1) / alpha))

    (as many errors to each side for a relative effect, ``Effect.within``) holds the effect at every
    n at once with probability 1 - alpha, and

        p = min(1, sqrt(n rho^2 + 1) exp(-z^2 n rho^2 / (2 (n rho^2 + 1))))

    is at most u at any n with probability at most u, where there is no effect: the inverse of a
    mixture over effects with law N(0, rho^2 s^2) (Robbins, 1970). p <= alpha where the interval
    leaves out 0. The least p of all looks is as valid; keeping it is the caller's.

    tightest_at : the number of units, of both arms, at which the interval is as tight as can be;
    choose the size that is planned. There n rho^2 = x with (1 + x) exp(-x) = alpha^2, and the
    interval is sqrt(1 + x) errors to each side: 3.03 at alpha = 0.05, for the 1.96 of one look.
    It holds wherever one looks; in errors it is a tenth wider at a fifth of that size, and 4 %
    wider at five times.

    What is asymptotic: errors are estimated and sums taken as normal, as in `fixed`. The promise is
    of looks from a number of units on that is large enough for this, at each n from there. Below
    `burn_in` units in either arm nothing is shown: infinite ends, p = 1.

    steady : where a small arm has none yet of a rare event, or of its few heavy members, its
    variance is too small just when its mean is, and with uneven shares the other arm does not make
    up for it: with an event of 1 % and shares of 1 to 9 the paper's was wrong in a quarter of
    simulated experiments. So each arm's variance counts as no less than the mean of its own and the
    other's, weighed by its units and by `steady`. That only widens, and is gone with many more
    units than that; 0 gives the paper's. ``python -m benchmarks.experiments_peeking`` measures how
    often it is wrong.

    Raises `ValueError` for settings that are none.

    >>> from matinee.experiments.arms import Arm
    >>> from matinee.experiments.effects import compare
    >>> effect = compare(Arm.published(5_000, 5.2, 4.0), Arm.published(5_000, 5.0, 4.0))
    >>> interval, pvalue = AsymptoticSequence(tightest_at=10_000).read(effect)
    >>> round(interval.low, 3), round(interval.high, 3), round(pvalue, 5)
    (0.079, 0.321, 4e-05)
    """

    tightest_at: float
    alpha: float = 0.05
    burn_in: int = BURN_IN
    steady: int = STEADY

    def __post_init__(self) -> None:
        check_alpha(self.alpha)
        _check_size(self.tightest_at)
        if not self.burn_in >= 2:
            raise ValueError(f"burn_in must be at least 2 units in each arm, got {self.burn_in}")
        if not self.steady >= 0:
            raise ValueError(f"steady must be a number of units from 0, got {self.steady}")

    def read(self, effect: Effect) -> tuple[Interval, float]:
        """The interval now and the p-value of no effect, both valid whenever they are read."""
        method = "anytime-valid, asymptotic, Gaussian mixture"
        if min(effect.units) < self.burn_in or not effect.telling:
            return interval(effect, inf, self.alpha, method), 1.0
        units, wider = sum(effect.units), self._wider(effect)
        x = sharpness(self.alpha) * units / self.tightest_at
        z = stretch(units, tightest_at=self.tightest_at, alpha=self.alpha)
        far = effect.far / wider
        capital = far * far * x / (2 * (1 + x)) - log1p(x) / 2
        return interval(effect, z * wider, self.alpha, method), exp(-max(capital, 0.0))

    def _wider(self, effect: Effect) -> float:
        """How many times the error it is with variances that are none too small."""
        (n, m), (v, w), k = effect.units, effect.variances, self.steady
        ours, theirs = max(v, (n * v + k * w) / (n + k)), max(w, (m * w + k * v) / (m + k))
        return sqrt(ours / n + theirs / m) / effect.difference_error


@cache
def sharpness(alpha: float) -> float:
    """x with (1 + x) exp(-x) = alpha^2: what n rho^2 is where the mixture's interval is tightest.

    The interval's width in errors squared, (1 + x) / x log((1 + x) / alpha^2), is least there.

    >>> x = sharpness(0.05)
    >>> round(x, 2), round((1 + x) * float(np.exp(-x)), 6)
    (8.21, 0.0025)
    """
    return max(-1.0 - float(lambertw(-(alpha**2) / np.e, -1).real), 1e-6)


def stretch(units: int, *, tightest_at: float, alpha: float) -> float:
    """How many errors of a mean of so many units, from 1, its interval reaches to either side.

    >>> round(stretch(1_000, tightest_at=1_000, alpha=0.05), 2)
    3.04
    """
    x = sharpness(alpha) * units / tightest_at
    return sqrt((1 + x) / x * (log1p(x) - 2 * log(alpha)))


def quantile(values: ArrayLike, p: float, *, tightest_at: float, alpha: float = 0.05) -> Interval:
    r"""A confidence sequence for a p-quantile of units that are drawn from one law, any law.

    values : float64 [N], one for each unit so far, in any order; p in (0, 1), 0.5 for the median.
    tightest_at : the number of units at which it is tightest, roughly.

    Let k of t units lie below the quantile. Each does with chance p (of ties at the quantile, as
    many as it takes), so with a prior Beta(cp, c(1 - p)) of other chances

    .. math:: M_t = \frac{B(cp + k, c(1 - p) + t - k)}{B(cp, c(1 - p))\, p^k (1 - p)^{t - k}}

    is a martingale that starts at 1, and reaches 1 / alpha with probability at most alpha (Ville).
    The interval is from one order statistic to another: of those k that it has not reached.
    This is the beta-binomial mixture of Howard and Ramdas (2022), "Sequential estimation of
    quantiles with applications to A/B testing and best-arm identification", Bernoulli 28, arXiv
    1906.09712, theorem 1, with the exact likelihood and both sides in one mixture. Nothing about it
    is asymptotic: it holds from the first unit on, with infinite ends until there are enough.

    Raises `ValueError` for values that are not finite, and for p, alpha or sizes that are none.

    >>> values = np.random.default_rng(0).exponential(size=2_000)
    >>> interval = quantile(values, 0.5, tightest_at=2_000)
    >>> bool(interval.low < np.log(2) < interval.high)
    True
    """
    check_alpha(alpha)
    arm = _Ordered.of(values, p, tightest_at / sharpness(alpha), tightest_at)
    low, high = arm.counts(np.array([-np.log(alpha)]))
    ends = float(arm.padded[low[0]]), float(arm.padded[high[0] + 1])
    return Interval(arm.value, *ends, 1 - alpha, QUANTILES)


def quantile_difference(
    treatment: ArrayLike,
    control: ArrayLike,
    p: float,
    *,
    tightest_at: float,
    alpha: float = 0.05,
) -> Interval:
    r"""A confidence sequence for the p-quantile of the treatment less that of the control.

    As `quantile`, with the product of the two arms' martingales, which is one of both: pairs of
    quantiles at which it has not reached 1 / alpha, and the least and the greatest difference of
    such a pair. For equal arms a quarter shorter than two intervals at alpha / 2 are. `tightest_at`
    is of both arms together, in equal shares. It takes time as the root of the units.

    >>> rng = np.random.default_rng(0)
    >>> treatment, control = rng.normal(1, 1, 4_000), rng.normal(0, 1, 4_000)
    >>> interval = quantile_difference(treatment, control, 0.5, tightest_at=8_000)
    >>> round(interval.low, 1), round(interval.high, 1)
    (0.9, 1.1)
    """
    check_alpha(alpha)
    c = tightest_at / 2 / sharpness(alpha**0.5)
    ours, theirs = (_Ordered.of(values, p, c, tightest_at) for values in (treatment, control))
    # From all k of one arm that leave the other any, to the least and most it may have there.
    (first,), (last,) = ours.counts(np.array([-np.log(alpha) - theirs.least]))
    k = np.arange(first, last + 1)
    low, high = theirs.counts(-np.log(alpha) - ours.capital(k))
    least = (ours.padded[k] - theirs.padded[high + 1]).min()
    most = (ours.padded[k + 1] - theirs.padded[low]).max()
    return Interval(ours.value - theirs.value, float(least), float(most), 1 - alpha, QUANTILES)


QUANTILES = "anytime-valid, beta-binomial mixture"


@dataclass(frozen=True)
class _Ordered:
    """Values of an arm in order [t + 2], infinite at both ends, and the martingale of its p."""

    padded: Floats
    p: float
    c: float

    @classmethod
    def of(cls, values: ArrayLike, p: float, c: float, tightest_at: float) -> _Ordered:
        _check_size(tightest_at)
        if not 0 < p < 1:
            raise ValueError(f"p must be above 0 and below 1, got {p}")
        given = np.asarray(values, np.float64)
        if given.ndim != 1:
            raise ValueError(f"values have shape {given.shape}; give [N], one for each unit")
        require_finite("values", given)
        return cls(np.concatenate([[-np.inf], np.sort(given), [np.inf]]), p, c)

    @property
    def units(self) -> int:
        return len(self.padded) - 2

    @property
    def value(self) -> float:
        """The least value that a share of p of the units is not above; NaN without units."""
        place = min(max(int(np.ceil(self.units * self.p)), 1), self.units)
        return float(self.padded[place]) if self.units else float("nan")

    @property
    def middle(self) -> int:
        """The k at which the martingale is least, or next to it."""
        return min(round(self.units * self.p), self.units)

    @property
    def least(self) -> float:
        return float(self.capital(np.array([self.middle]))[0])

    def capital(self, k: Integers) -> Floats:
        """log M for k [M] of the units below the quantile."""
        a, b, rest = self.c * self.p, self.c * (1 - self.p), self.units - k
        prior = betaln(a, b) + k * np.log(self.p) + rest * np.log1p(-self.p)
        capital: Floats = betaln(a + k, b + rest) - prior
        return capital

    def counts(self, limits: Floats) -> tuple[Integers, Integers]:
        """The least and the greatest k at which log M is below each of the limits [M]."""

        def held(k: Integers) -> Booleans:
            below: Booleans = self.capital(k) < limits
            return below

        inside = np.full(len(limits), self.middle)
        return _edge(inside, -1, held), _edge(inside, self.units + 1, held)


def _edge(inside: Integers, outside: int, held: Callable[[Integers], Booleans]) -> Integers:
    """The last k on the way from `inside` [M] to `outside` that holds, by bisection."""
    beyond = np.full_like(inside, outside)
    while (np.abs(beyond - inside) > 1).any():
        middle = inside + np.fix((beyond - inside) / 2).astype(np.int64)
        holds = held(middle)
        inside, beyond = np.where(holds, middle, inside), np.where(holds, beyond, middle)
    return inside


def _check_size(tightest_at: float) -> None:
    if not 1 <= tightest_at < float("inf"):
        raise ValueError(f"tightest_at must be a number of units from 1, got {tightest_at}")
