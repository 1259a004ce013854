"""How much better the treatment is than the control, and what one look at the end says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite, nan, sqrt

import numpy as np
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from matinee.evaluation.intervals import Interval
from matinee.evaluation.intervals.base import check_alpha
from matinee.evaluation.off_policy.columns import Floats
from matinee.experiments.arms import Arm

Sides = tuple[tuple[Arm, Floats], tuple[Arm, Floats]]
"""Treatment and control, each with the gradient [C] of its metric in the means."""


@dataclass(frozen=True, slots=True)
class Base:
    """The control's metric, of which a relative effect is a share.

    variance : of its mean. together : its covariance with the difference. Both over mean^2.
    """

    mean: float
    variance: float
    together: float


@dataclass(frozen=True, slots=True)
class Effect:
    """Treatment less control.

    value : in units of the metric, or as a share of the control's where there is a `base`.
    units, variances : of (treatment, control): how many units, and what varies between units of
    that arm, in those units or over the base's mean^2. To first order the difference is a mean of
    each arm, one less the other.
    of : what it is the effect on. degrees : of freedom, infinite where its law is normal.
    removed : the share of the difference's variance that adjustment has taken away.
    """

    value: float
    units: tuple[int, int]
    variances: tuple[float, float]
    of: str
    degrees: float = inf
    removed: float = 0.0
    base: Base | None = None

    @property
    def difference_error(self) -> float:
        """The standard error of the difference, over the base's mean: of `value`, if it is 0.

        NaN below two units in an arm.
        """
        if min(self.units) < 2:
            return nan
        return sqrt(self.variances[0] / self.units[0] + self.variances[1] / self.units[1])

    @property
    def error(self) -> float:
        """The standard error of `value`; by the delta method where it is relative."""
        if self.base is None:
            return self.difference_error
        more = self.value * (self.value * self.base.variance - 2 * self.base.together)
        return sqrt(max(self.difference_error**2 + more, 0.0))

    @property
    def variance(self) -> float:
        """The square of `error` times all units: the variance that a unit brings."""
        return sum(self.units) * self.error**2

    @property
    def telling(self) -> bool:
        """Whether there is an error to go by: two units in each arm, and not all alike."""
        return isfinite(self.value) and 0 < self.difference_error < inf

    @property
    def far(self) -> float:
        """How many of its standard errors the difference is from 0; NaN if not `telling`."""
        return abs(self.value) / self.difference_error if self.telling else nan

    def within(self, z: float) -> tuple[float, float]:
        r"""The least and the greatest effect that is at most z standard errors away.

        Of a share r of the base m, those with |difference - r m| at most z of its own errors
        (Fieller, 1954, "Some problems in interval estimation", Journal of the Royal Statistical
        Society B 16). For each r that is a difference, with a law as normal as that of any; so it
        is right where m is not far from 0, too, and all there is where m is not z errors from 0.
        With V over m^2, those of the difference, of m and of both,

        .. math:: \frac{1}{1 - z^2 V_m} \left(r - z^2 V_{dm} \pm
            z \sqrt{V_d - 2 r V_{dm} + r^2 V_m - z^2 (V_d V_m - V_{dm}^2)}\right).
        """
        if self.base is None:
            return self.value - z * self.error, self.value + z * self.error
        m, both = self.base.variance, self.base.together
        rest = 1 - z**2 * m
        if rest <= 0:
            return -inf, inf
        middle = (self.value - z**2 * both) / rest
        square = self.error**2 - z**2 * (self.difference_error**2 * m - both**2)
        reach = z * sqrt(max(square, 0.0)) / rest
        return middle - reach, middle + reach


def compare(
    treatment: Arm,
    control: Arm,
    *,
    column: int = 0,
    per: int | None = None,
    relative: bool = False,
    adjust: Sequence[int] = (),
) -> Effect:
    r"""The effect on the mean of a column, or on the ratio of its mean to that of column `per`.

    Each arm's metric is m = mean of `column`, or mean(`column`) / mean(`per`), minutes per play
    say; with gradient g in the means and covariance S between units, a unit brings g^T S g (the
    delta method; Deng, Knoblich and Lu, 2018, "Applying the delta method in metric analytics", KDD,
    arXiv 1803.06336, section 3). The effect is m_t - m_c, or (m_t - m_c) / m_c where it is
    `relative`, with gradients g_t / m_c and g_c m_t / m_c^2 for its error; its p-values are those
    of the difference, and its intervals fit them (``Effect.within``). A ratio wants a mean of `per`
    that is many of its errors from 0, ten say. The value is NaN where what it is divided by is 0.

    `adjust` names columns of what was known of a unit before it entered, which the treatment cannot
    have changed: the same metric of the weeks before, and 0 with a column of its own for whoever
    has none. It is CUPED (Deng, Xu, Kohavi and Walker, 2013, "Improving the sensitivity of online
    controlled experiments by utilizing pre-experiment data", WSDM),

    .. math:: \hat\Delta - \theta^T (\bar x_t - \bar x_c), \quad
        \theta = \left(\tfrac{S_{t,xx}}{n_t} + \tfrac{S_{c,xx}}{n_c}\right)^{-1}
        \left(\tfrac{S_{t,x\cdot}\, g_t}{n_t} + \tfrac{S_{c,x\cdot}\, g_c}{n_c}\right),

    with the theta of least variance. The paper's pools units of both arms alike, which may cost
    precision where shares are uneven and slopes differ; this one does not. Where x varies alike in
    both arms it is the mean of the arms' own slopes, each weighed by the other's units, that is the
    regression with slopes by arm of Lin (2013), "Agnostic notes on regression adjustments to
    experimental data", Annals of Applied Statistics 7. Columns that hang together share a slope.
    For K columns the variance is raised by (N - 2) / (N - 2 - K), and is NaN where that is none.

    Raises `ValueError` for arms of other columns, and columns that are not there or named twice.

    >>> control = Arm.of([[1.0, 0.9], [2.0, 2.1], [3.0, 3.2], [4.0, 3.8]])
    >>> treatment = Arm.of([[2.0, 1.0], [3.0, 2.1], [4.0, 2.9], [5.0, 4.1]])
    >>> effect = compare(treatment, control)
    >>> effect.value, round(effect.error, 2), effect.of
    (1.0, 0.91, 'difference of means')
    >>> effect = compare(treatment, control, adjust=[1])
    >>> round(effect.value, 2), round(effect.error, 2), round(effect.removed, 2)
    (0.98, 0.11, 0.98)
    >>> round(compare(treatment, control, relative=True).value, 2)
    0.4
    """
    _check_columns(treatment, control, [column, *([] if per is None else [per]), *adjust])
    (m_t, g_t), (m_c, g_c) = (_metric(arm, column, per) for arm in (treatment, control))
    sides = ((treatment, g_t), (control, g_c))
    of = f"difference of {'means' if per is None else 'ratios'}"
    effect = Effect(m_t - m_c, (treatment.units, control.units), _variances(sides), of)
    if adjust:
        effect, sides = _adjusted(effect, sides, list(adjust))
    elif per is None:
        effect = _welch(effect)
    return _relative(effect, sides, m_c, g_c) if relative else effect


def fixed(effect: Effect, alpha: float = 0.05) -> tuple[Interval, float]:
    r"""The interval of one look, at a size fixed in advance, and the p-value of no effect.

    For a difference of means Student's t with the degrees of Welch (1947) and Satterthwaite (1946),

    .. math:: \nu = \frac{(v_t + v_c)^2}{v_t^2 / (n_t - 1) + v_c^2 / (n_c - 1)}, \quad
        v = s^2 / n,

    also where it is relative; for ratios and adjusted effects the normal law, which wants hundreds
    of units. Whoever looks again and again finds effects that are not there;
    ``AsymptoticSequence`` is for that. The ends are infinite and the p-value 1 where there is no
    error to go by.

    >>> effect = compare(Arm.published(1_000, 5.2, 4.0), Arm.published(1_000, 5.0, 4.0))
    >>> interval, pvalue = fixed(effect)
    >>> round(interval.low, 3), round(interval.high, 3), round(pvalue, 3), interval.method
    (0.025, 0.375, 0.025, 'Welch')
    """
    check_alpha(alpha)
    welch = effect.degrees < inf
    method = "Welch" if welch else "normal"
    if not effect.telling:
        return interval(effect, inf, alpha, method), 1.0
    if welch:
        z, tail = stdtrit(effect.degrees, alpha / 2), stdtr(effect.degrees, -effect.far)
    else:
        z, tail = ndtri(alpha / 2), ndtr(-effect.far)
    return interval(effect, -float(z), alpha, method), min(1.0, 2 * float(tail))


def interval(effect: Effect, z: float, alpha: float, method: str) -> Interval:
    """All effects that are at most z standard errors away; for infinite z, all there are."""
    ends = effect.within(z) if z < inf else (-inf, inf)
    return Interval(effect.value, *ends, 1 - alpha, method)


def _check_columns(treatment: Arm, control: Arm, named: list[int]) -> None:
    size = len(control.means)
    if len(treatment.means) != size:
        raise ValueError(f"the arms have {len(treatment.means)} and {size} columns; give the same")
    if not all(0 <= column < size for column in named) or len(set(named)) < len(named):
        raise ValueError(f"columns are {named}; give different ones in 0..{size - 1}")


def _metric(arm: Arm, column: int, per: int | None) -> tuple[float, Floats]:
    """The metric of an arm, NaN without units, and its gradient [C] in the means."""
    mean = float(arm.means[column]) if arm.units else nan
    gradient = np.zeros(len(arm.means))
    gradient[column] = 1.0
    if per is None:
        return mean, gradient
    below = arm.means[per] or np.nan
    gradient[per] = -mean / below
    return float(mean / below), gradient / below


def _variances(sides: Sides) -> tuple[float, float]:
    """What a unit of each arm brings, g^T S g."""
    with np.errstate(invalid="ignore", over="ignore"):
        ours, theirs = (max(float(g @ arm.covariance @ g), 0.0) for arm, g in sides)
    return ours, theirs


def _welch(effect: Effect) -> Effect:
    if not effect.telling:
        return replace(effect, degrees=1.0)
    pairs = zip(effect.variances, effect.units, strict=True)
    shares = ((sqrt(variance / n) / effect.error) ** 4 / (n - 1) for variance, n in pairs)
    return replace(effect, degrees=1 / sum(shares))


def _adjusted(plain: Effect, sides: Sides, x: list[int]) -> tuple[Effect, Sides]:
    """The effect less what its covariates explain, and the gradients of that."""
    left, of = sum(plain.units) - 2 - len(x), f"{plain.of}, adjusted"
    if not plain.telling or left <= 0:
        return replace(plain, variances=(nan, nan), of=of), sides
    along, between = np.zeros(len(x)), np.zeros((len(x), len(x)))
    for arm, gradient in sides:
        rows = arm.covariance[x] / arm.units
        along += rows @ gradient
        between += rows[:, x]
    (treatment, g_t), (control, g_c) = sides
    taken = np.zeros(len(g_t))
    taken[x] = _slopes(between, along)
    sides = ((treatment, g_t - taken), (control, g_c - taken))
    ours, theirs = ((1 + len(x) / left) * variance for variance in _variances(sides))
    value = plain.value - float(taken @ (treatment.means - control.means))
    bare = replace(plain, value=value, variances=(ours, theirs), of=of)
    return replace(bare, removed=1 - (bare.error / plain.error) ** 2), sides


def _relative(effect: Effect, sides: Sides, m: float, gradient: Floats) -> Effect:
    """A difference as a share of the control's metric m, which has this gradient."""
    control, g_c = sides[1]
    of = effect.of.replace("difference", "relative lift")
    square = m * m
    if not (square and control.units):
        return replace(effect, value=nan, of=of)
    own, both = (
        float(g @ control.covariance @ gradient) / control.units / square for g in (gradient, g_c)
    )
    ours, theirs = (variance / square for variance in effect.variances)
    base = Base(m, own, -both)
    return replace(effect, value=effect.value / m, variances=(ours, theirs), of=of, base=base)


def _slopes(between: Floats, along: Floats) -> Floats:
    """The least solution of between @ theta = along, each column on its own scale."""
    scale = np.sqrt(between.diagonal())
    scale = np.where(scale > 0, scale, 1.0)
    inverse = np.linalg.pinv(between / np.outer(scale, scale), rcond=1e-10, hermitian=True)
    slopes: Floats = inverse @ (along / scale) / scale
    return slopes
