"""Lower bounds that hold at every look, for the mean of terms that are only bounded below."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from scipy.optimize import brentq
from scipy.special import gammainc, gammaln

from matinee.evaluation.off_policy.columns import Floats


class LowerBound(ABC):
    """An ordered fold over terms xi_t >= 0 whose mean given the past, mu_t, lies in [0, 1].

    With probability 1 - alpha, at every t at once, ``bound(alpha)`` is at most the running mean
    1/t sum_i mu_i. Terms enter in order of time, in batches of any size.
    """

    count: int

    @property
    @abstractmethod
    def mean(self) -> float:
        """The mean of the terms; NaN before the first."""

    @abstractmethod
    def add(self, terms: Floats) -> Self:
        """This with the terms [N] that come next."""

    @abstractmethod
    def bound(self, alpha: float) -> float:
        """The lower bound, in [0, 1]; 0 before the first term."""


@dataclass(frozen=True, slots=True)
class GammaExponential(LowerBound):
    r"""The empirical Bernstein bound of the gamma-exponential mixture.

    With S_t = sum_i (xi_i - mu_i), a prediction m_{i-1} in [0, 1] of xi_i from the terms before it
    (their mean, with a half put first), and V_t = sum_i (xi_i - m_{i-1})^2,

        M_t = integral over lambda in [0, 1) of exp(lambda S_t - psi(lambda) V_t) f(lambda),
        psi(lambda) = -log(1 - lambda) - lambda,

    is below a supermartingale that starts at 1: exp(lambda y - psi(lambda) y^2) <= 1 + lambda y for
    y = xi_i - m_{i-1} >= -1 (Fan, Grama and Liu, 2015). So M_t reaches 1 / alpha with probability
    at most alpha (Ville), and the bound is the mean less the least S_t that reaches it, over t. The
    mixture f, a gamma law of 1 - lambda with shape and rate `rho` cut to (0, 1], has this integral
    in closed form (Howard, Ramdas, McAuliffe and Sekhon, 2021, "Time-uniform, nonparametric,
    nonasymptotic confidence sequences", proposition 9; Waudby-Smith et al., 2022, theorem 3). The
    bound is tightest where V_t is some eight times `rho`, and of no great loss far from there.

    >>> terms = GammaExponential().add(np.array([0.0, 1.0] * 500))
    >>> round(terms.bound(0.05), 2)
    0.45
    """

    rho: float = 5.0
    count: int = 0
    total: float = 0.0
    variance: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.rho < np.inf:
            raise ValueError(f"rho must be finite and above 0, got {self.rho}")

    @property
    def mean(self) -> float:
        return self.total / self.count if self.count else float("nan")

    def add(self, terms: Floats) -> Self:
        before = self.total + np.concatenate([[0.0], np.cumsum(terms)])
        predicted = np.minimum(
            1.0, (0.5 + before[:-1]) / (1.0 + self.count + np.arange(len(terms)))
        )
        return type(self)(
            self.rho,
            self.count + len(terms),
            float(before[-1]),
            self.variance + float(np.sum((terms - predicted) ** 2)),
        )

    def bound(self, alpha: float) -> float:
        if not self.count:
            return 0.0
        needed = float(np.log(1 / alpha))

        def excess(deviation: float) -> float:
            return log_mixture(deviation, self.variance, self.rho) - needed

        if excess(self.total) <= 0:
            return 0.0
        deviation = brentq(excess, 0.0, self.total, xtol=1e-12, rtol=1e-12)
        return min(1.0, max(0.0, (self.total - deviation) / self.count))


def log_mixture(deviation: float, variance: float, rho: float) -> float:
    r"""log M of deviation S >= 0 and variance V, the integral in `GammaExponential`.

    Put a = V + rho, z = S + a and u = 1 - lambda: the integral is rho^rho e^-rho / gamma(rho, rho)
    times e^z z^-a gamma(a, z), with gamma(a, z) = Gamma(a) P(a, z) the lower incomplete one.
    """
    a = variance + rho
    return (
        _log_gamma_over_peak(a)
        - a * _log1p_less(deviation / a)
        + float(np.log(gammainc(a, a + deviation)))
        - _log_gamma_over_peak(rho)
        - float(np.log(gammainc(rho, rho)))
    )


def _log_gamma_over_peak(a: float) -> float:
    """log(Gamma(a) e^a / a^a), without the loss of its large parts."""
    if a > 1e5:
        return float(0.5 * np.log(2 * np.pi / a)) + 1 / (12 * a)
    return float(gammaln(a) + a - a * np.log(a))


def _log1p_less(s: float) -> float:
    """log(1 + s) - s for s >= 0, without the loss of its large parts."""
    if s < 1e-3:
        return -(s**2) * (1 / 2 - s * (1 / 3 - s * (1 / 4 - s * (1 / 5 - s / 6))))
    return float(np.log1p(s)) - s


STAKES = np.exp2(np.arange(-26.0, 3.0))


@dataclass(frozen=True, slots=True)
class Capital(LowerBound):
    r"""The bound by betting: a mean is too low if a bet against it would have grown too rich.

    For a stake eta >= 0, prod_i (1 + eta xi_i) / (1 + eta mu_i) is a martingale that starts at 1:
    each factor has mean 1 given the past. As log is concave, prod_i (1 + eta mu_i) is at most
    (1 + eta mu)^t with mu the running mean, so that

        M_t(mu) = mean over eta of exp(sum_i log(1 + eta xi_i) - t log(1 + eta mu))

    is below a martingale, whether or not mu_i drifts, and reaches 1 / alpha with probability at
    most alpha. M_t falls in mu, and the bound is where it crosses. The mean is over stakes from
    2^-26 to 4, each twice the one before.

    These are the bets of Waudby-Smith and Ramdas (2024), "Estimating means of bounded random
    variables by betting", with a bet lambda written as eta = lambda / (mu (1 - lambda)), which no
    longer depends on the mean that is tested, so that one sum a stake serves for every mean.

    >>> terms = Capital().add(np.array([0.0, 1.0] * 500))
    >>> round(terms.bound(0.05), 2)
    0.45
    """

    count: int = 0
    total: float = 0.0
    growth: Floats = field(default_factory=lambda: np.zeros(len(STAKES)))

    @property
    def mean(self) -> float:
        return self.total / self.count if self.count else float("nan")

    def add(self, terms: Floats) -> Self:
        growth = np.array([np.log1p(stake * terms).sum() for stake in STAKES])
        return type(self)(
            self.count + len(terms), self.total + float(terms.sum()), self.growth + growth
        )

    def bound(self, alpha: float) -> float:
        needed = float(np.log(len(STAKES) / alpha))

        def excess(mean: float) -> float:
            gains = self.growth - self.count * np.log1p(STAKES * mean)
            return float(np.logaddexp.reduce(gains)) - needed

        if excess(0.0) <= 0:
            return 0.0
        if excess(1.0) >= 0:
            return 1.0
        return float(brentq(excess, 0.0, 1.0, xtol=1e-12, rtol=1e-12))
