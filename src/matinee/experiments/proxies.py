r"""Proxy metrics: what short-term metrics tell of a long-term one, learned from past experiments.

An experiment's true effects on K short-term metrics and, last, on the north star (retention after a
year, say) are one draw of a population with covariance :math:`\Lambda`. Known are estimates, whose
noise in experiment j has covariance :math:`\Xi_j`: about as large as the effects, and correlated,
since the same members' numbers enter all metrics. Across experiments estimates covary as
:math:`\Lambda + \Xi`, so that regressing one on the other learns how members' metrics go together
as well as how effects do, and no number of experiments helps. Give all experiments, not only those
that were liked: a choice by estimates brings the noise back.

Sources: N. Tripuraneni, L. Richardson, A. D'Amour, J. Soriano, S. Yadlowsky: Choosing a proxy
metric from past experiments. KDD 2024, arXiv 2309.07893 (the optimal proxy and its quality).
A. Bibaut, W. Chou, S. Ejdemyr, N. Kallus: Learning the covariance of treatment effects across many
weak experiments. KDD 2024, arXiv 2402.17637 (the bias, and the total-covariance estimator).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from matinee.evaluation.intervals import Interval
from matinee.evaluation.intervals.base import check_alpha
from matinee.evaluation.off_policy.columns import Floats

FEWEST = 10
"""Experiments at least, and two for each metric: fewer say next to nothing of a covariance."""
MOST = 1e100
"""Effects of that size have no squares."""
CELLS = 2**22
"""How often each experiment is drawn is kept for so many draws at a time."""


@dataclass(frozen=True, eq=False)
class PastExperiments:
    """Estimated effects of J independent experiments on K short-term metrics and the north star.

    effects : float64 [J, K + 1], the north star last, each metric in a unit of its own. noise :
    float64 [J, K + 1, K + 1], the covariance of each experiment's estimates about its true effects.
    shares : float64 [J], how much each counts, at least 0, in any unit, equal by default. Set them
    without a look at the effects. Where sizes differ much, small experiments should count less:
    (units / (units + n0))**2, with n0 the units for which noise is about as large as effects.

    Raises `ValueError` for other shapes, for what is not finite, for noise that is no covariance,
    for shares of which one has most, and for fewer experiments than 10 or two for each metric.

    >>> past = PastExperiments(np.eye(12)[:, :2], np.tile(np.eye(2) / 100, (12, 1, 1)))
    >>> past.effects.shape
    (12, 2)
    """

    effects: Floats
    noise: Floats
    shares: Floats = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        effects, noise = np.asarray(self.effects, np.float64), np.asarray(self.noise, np.float64)
        if effects.ndim != 2 or effects.shape[1] < 2:
            raise ValueError(
                f"effects have shape {effects.shape}; give [J, K + 1] with K of 1 or more"
            )
        count, metrics = effects.shape
        if noise.shape != (count, metrics, metrics):
            raise ValueError(f"noise has shape {noise.shape}; give {(count, metrics, metrics)}")
        if not (np.abs(effects) < MOST).all():
            raise ValueError("effects must be finite, and below 1e100 in size, in all experiments")
        _check_covariances("noise", noise)
        fewest = max(FEWEST, 2 * metrics)
        if count < fewest:
            raise ValueError(
                f"{count} experiments are too few to learn how {metrics} metrics move together; "
                f"give at least {fewest}"
            )
        object.__setattr__(self, "effects", effects)
        object.__setattr__(self, "noise", noise)
        object.__setattr__(self, "shares", _shares(self.shares, count))

    def some(self, which: NDArray[np.bool_]) -> Self:
        """The experiments where `which` [J] is true."""
        return type(self)(self.effects[which], self.noise[which], self.shares[which])

    @classmethod
    def of_arms(
        cls,
        means: ArrayLike,
        covariances: ArrayLike,
        units: ArrayLike,
        shares: ArrayLike = (),
    ) -> Self:
        """From the moments of units (members) in the two arms of each experiment, control first.

        means : [J, 2, K + 1]. covariances : [J, 2, K + 1, K + 1] of a unit's metrics. units :
        [J, 2], how many there are. The effect is the difference of the means.

        >>> arms = np.array([[[0.0, 0.0], [1.0, 2.0]]] * 12)
        >>> past = PastExperiments.of_arms(arms, np.tile(np.eye(2), (12, 2, 1, 1)), [[50, 50]] * 12)
        >>> past.effects[0], past.noise[0, 0].round(3)
        (array([1., 2.]), array([0.04, 0.  ]))
        """
        arms = np.asarray(means, np.float64)
        if arms.ndim != 3 or arms.shape[1] != 2:
            raise ValueError(f"means have shape {arms.shape}; give [J, 2, K + 1], control first")
        return cls(arms[:, 1] - arms[:, 0], noise_of_arms(covariances, units), np.asarray(shares))


def noise_of_arms(covariances: ArrayLike, units: ArrayLike) -> Floats:
    """The covariance [..., D, D] of the difference of two arms' means: the sum of theirs.

    covariances : [..., 2, D, D] of one unit's D metrics in each arm. units : [..., 2], above 0, how
    many there are, or will be: so the noise of an experiment of a stated size. Raises `ValueError`
    for other shapes, and for no units.

    >>> noise_of_arms(np.tile(np.eye(2), (2, 1, 1)), [100, 50])
    array([[0.03, 0.  ],
           [0.  , 0.03]])
    """
    each, size = np.asarray(covariances, np.float64), np.asarray(units, np.float64)
    if each.ndim < 3 or each.shape[-3] != 2 or size.shape != each.shape[:-2]:
        raise ValueError(
            f"covariances have shape {each.shape} and units {size.shape}; "
            "give [..., 2, D, D] and [..., 2]"
        )
    if not ((size > 0) & np.isfinite(size)).all():
        raise ValueError("units must be above 0 in both arms")
    noise: Floats = (each / size[..., None, None]).sum(axis=-3)
    return noise


def effect_covariance(past: PastExperiments, *, repair: bool = True) -> Floats:
    r"""The covariance [K + 1, K + 1] of true effects: of the estimates, less that of their noise.

    With shares a_j, here of the sum 1, and the mean :math:`\bar x = \sum a_j x_j`,

    .. math:: \hat\Lambda = \frac{\sum_j a_j (x_j - \bar x)(x_j - \bar x)^\top
                            - \sum_j a_j (1 - a_j)\, \Xi_j}{1 - \sum_j a_j^2}

    is unbiased, if sizes have nothing to do with effects. With equal shares it is the sample
    covariance less the mean noise: the total-covariance estimator of Bibaut et al., with a noise of
    its own for each experiment.

    It varies more than the covariance of the estimates. Where noise is several times as large as
    effects, it takes hundreds of experiments for the correction to pay
    (``benchmarks/experiments_proxies.py``).

    What is not positive semidefinite, as an unbiased estimate may be, is repaired: on the scale of
    the estimates' standard deviations negative eigenvalues become 0 (the nearest such matrix there,
    N. J. Higham, 1988), which biases a little.

    >>> rng = np.random.default_rng(0)
    >>> true = rng.multivariate_normal([0, 0], [[1.0, -0.5], [-0.5, 1.0]], 20_000)
    >>> noise = np.array([[1.0, 0.9], [0.9, 1.0]])
    >>> seen = true + rng.multivariate_normal([0, 0], noise, 20_000)
    >>> np.cov(seen.T).round(1)
    array([[2. , 0.4],
           [0.4, 2. ]])
    >>> effect_covariance(PastExperiments(seen, np.tile(noise, (20_000, 1, 1)))).round(1)
    array([[ 1. , -0.5],
           [-0.5,  1. ]])
    """
    drawn = np.ones((1, len(past.effects)))
    found: Floats = _corrected(past.effects, past.noise, drawn, past.shares)[0]
    return _repaired(found, np.cov(past.effects.T, aweights=past.shares)) if repair else found


@dataclass(frozen=True, eq=False)
class Proxy:
    """A weighted sum of short-term effects in place of the north star's.

    weights : float64 [K], in units of the north star for one of each metric: the sum is the best
    linear prediction of the true effect, less what all experiments have in common. quality : in
    [0, 1], the correlation of the proxy's estimated effect with the true one of the north star.
    """

    weights: Floats
    quality: float


def optimal_proxy(covariance: ArrayLike, noise: ArrayLike) -> Proxy:
    r"""The proxy of the highest quality for an experiment with that noise: for one of that size.

    covariance : [K + 1, K + 1] of true effects. noise : [K, K] of the estimates of the short-term
    effects in the experiment that the proxy is for (`noise_of_arms`). With S the short-term metrics
    and N the north star,

    .. math:: w = (\Lambda_{SS} + \Xi_{SS})^{-1} \Lambda_{SN}, \qquad
              q = \sqrt{w^\top \Lambda_{SN} / \Lambda_{NN}}

    (Tripuraneni et al., who also ask that weights be at least 0 and sum to 1). In small experiments
    a metric that moves much and is known well counts for more, in large ones one that goes with the
    north star. The quality is of the covariance as given: learned from few experiments it looks
    better than it is (`quality`). NaN where the north star has no variance.

    >>> covariance = [[1.0, 0.2, 0.9], [0.2, 1.0, 0.5], [0.9, 0.5, 1.0]]
    >>> small, large = (optimal_proxy(covariance, np.diag([9.0, 0.1]) / n) for n in (1, 1_000))
    >>> small.weights.round(2), round(small.quality, 2)
    (array([0.08, 0.44]), 0.54)
    >>> large.weights.round(2), round(large.quality, 2)
    (array([0.83, 0.33]), 0.95)
    """
    true, short = _planned(covariance, noise)
    spread = true[:-1, :-1] + short
    scale = np.sqrt(np.diag(spread))
    scale[scale == 0] = 1.0
    inverse = np.linalg.pinv(spread / np.outer(scale, scale), hermitian=True)
    weights = inverse @ (true[:-1, -1] / scale) / scale
    return Proxy(weights, proxy_quality(weights, true, short))


def proxy_quality(weights: ArrayLike, covariance: ArrayLike, noise: ArrayLike) -> float:
    r"""The quality in [-1, 1] of a proxy with weights [K], or of one metric with weights 0 and 1.

    The correlation of its estimated effect with the true effect on the north star,
    :math:`w^\top \Lambda_{SN} / \sqrt{\Lambda_{NN}\, w^\top (\Lambda_{SS} + \Xi_{SS}) w}`, for
    `covariance` and `noise` as in `optimal_proxy`. NaN where one of them has no variance.

    >>> covariance = [[1.0, 0.2, 0.9], [0.2, 1.0, 0.5], [0.9, 0.5, 1.0]]
    >>> round(proxy_quality([1.0, 0.0], covariance, np.diag([9.0, 0.1])), 2)
    0.28
    """
    true, short = _planned(covariance, noise)
    w = np.asarray(weights, np.float64)
    if w.shape != (len(short),):
        raise ValueError(f"weights have shape {w.shape}; give one for each of {len(short)} metrics")
    variance, covary = w @ (true[:-1, :-1] + short) @ w, w @ true[:-1, -1]
    return float(_correlation(covary, variance, true[-1, -1]))


def cross_fitted(
    past: PastExperiments, noise: ArrayLike, *, folds: int = 10, seed: int = 0
) -> Floats:
    """Optimal weights [J, K] for each experiment, learned from the others alone.

    Experiments are dealt into `folds` parts; those of a part get what the rest taught. Give them to
    `quality` to know how good a proxy that is learned from so many experiments is.

    >>> past = PastExperiments(np.eye(24)[:, :2], np.tile(np.eye(2) / 100, (24, 1, 1)))
    >>> cross_fitted(past, np.eye(1) / 100).shape
    (24, 1)
    """
    count = len(past.effects)
    if not 2 <= folds <= count:
        raise ValueError(f"folds is {folds}; give 2 or more, and at most the {count} experiments")
    fold = np.random.default_rng(seed).permutation(count) % folds
    weights = np.zeros((count, past.effects.shape[1] - 1))
    for part in range(folds):
        rest = effect_covariance(past.some(fold != part))
        weights[fold == part] = optimal_proxy(rest, noise).weights
    return weights


def quality(
    past: PastExperiments,
    weights: ArrayLike,
    noise: ArrayLike,
    *,
    alpha: float = 0.05,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """The quality of a proxy in past experiments, with the bootstrap's interval over experiments.

    weights : [K], chosen without these experiments, or [J, K] of `cross_fitted`. noise : [K, K] as
    in `optimal_proxy`. The covariance of the proxy with the north star is corrected for noise, then
    the experiments are drawn again, `resamples` times, and the ends are quantiles (Efron, 1979).
    A resample in which the north star, or the proxy, does not vary by more than noise allows any
    quality, and so counts at both ends. NaN, from -1 to 1, where that is so of the experiments.

    Weights learned from the same experiments look better than they are. Trust it from some 50
    experiments on.

    >>> rng = np.random.default_rng(0)
    >>> true = rng.multivariate_normal([0, 0], [[1.0, 0.6], [0.6, 1.0]], 500)
    >>> unit = np.eye(2) / 4
    >>> past = PastExperiments(true + rng.normal(0, 0.5, true.shape), np.tile(unit, (500, 1, 1)))
    >>> found = quality(past, [1.0], unit[:1, :1])
    >>> found.low < 0.6 / 1.25**0.5 < found.high, found.high - found.low < 0.2
    (True, True)
    """
    check_alpha(alpha)
    if not isinstance(resamples, int | np.integer) or resamples < 2:
        raise ValueError(f"resamples must be a whole number of at least 2, got {resamples!r}")
    count, metrics = past.effects.shape
    w = np.asarray(weights, np.float64)
    if w.shape not in {(metrics - 1,), (count, metrics - 1)} or not np.isfinite(w).all():
        raise ValueError(
            f"weights have shape {w.shape}; give {(metrics - 1,)}, or {(count, metrics - 1)} of "
            "each experiment's own, all finite"
        )
    w = np.broadcast_to(w, (count, metrics - 1))
    short = _short_noise(noise, metrics - 1)
    to_pair = np.zeros((count, 2, metrics))
    to_pair[:, 0, :-1], to_pair[:, 1, -1] = w, 1.0
    pairs = np.einsum("jpm,jm->jp", to_pair, past.effects)
    noises = to_pair @ past.noise @ to_pair.transpose(0, 2, 1)
    planned = np.average(np.einsum("jk,kl,jl->j", w, short, w), weights=past.shares)

    def qualities(drawn: Floats) -> Floats:
        found = _corrected(pairs, noises, drawn, past.shares)
        return _correlation(found[:, 0, 1], found[:, 0, 0] + planned, found[:, 1, 1])

    rng, size, even = np.random.default_rng(seed), max(1, CELLS // count), np.full(count, 1 / count)
    values = np.concatenate(
        [
            qualities(rng.multinomial(count, even, min(size, resamples - start)).astype(np.float64))
            for start in range(0, resamples, size)
        ]
    )
    value = float(qualities(np.ones((1, count)))[0])
    low = float(np.quantile(np.nan_to_num(values, nan=-1.0), alpha / 2))
    high = float(np.quantile(np.nan_to_num(values, nan=1.0), 1 - alpha / 2))
    return Interval(value, low, high, 1 - alpha, "bootstrap over experiments")


def _check_covariances(name: str, values: Floats) -> None:
    """Raise `ValueError` unless all [..., D, D] are finite, symmetric, and nowhere negative."""
    if not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite")
    scale = np.sqrt(np.abs(np.einsum("...dd->...d", values)))
    scale = np.where(scale > 0, scale, 1.0)
    unit = values / scale[..., :, None] / scale[..., None, :]
    if not np.allclose(unit, unit.swapaxes(-1, -2), rtol=0, atol=1e-6):
        raise ValueError(f"{name} must be symmetric")
    if unit.size and np.linalg.eigvalsh(unit).min() < -1e-6:
        raise ValueError(f"{name} must be a covariance; one has a direction of negative variance")


def _corrected(effects: Floats, noise: Floats, drawn: Floats, shares: Floats) -> Floats:
    """Covariances [R, D, D] less noise, of experiments drawn so many times, float64 [R, J].

    NaN where those drawn have no shares, or one alone has.
    """
    count, metrics = effects.shape
    each = drawn * shares
    total = each.sum(axis=1, keepdims=True)
    total[total == 0] = np.nan
    a, once = each / total, shares / total
    centred = effects - shares @ effects / shares.sum()
    square = (centred[:, :, None] * centred[:, None, :]).reshape(count, -1)
    mean = a @ centred
    spread = (a @ square).reshape(-1, metrics, metrics) - mean[:, :, None] * mean[:, None, :]
    mistaken = ((a * (1 - once)) @ noise.reshape(count, -1)).reshape(spread.shape)
    free = 1 - (a * once).sum(axis=1)
    free[free < 1e-9] = np.nan
    corrected: Floats = (spread - mistaken) / free[:, None, None]
    return corrected


def _shares(given: ArrayLike, count: int) -> Floats:
    shares = np.asarray(given, np.float64)
    if not shares.size:
        return np.ones(count)
    fine = shares.shape == (count,) and np.isfinite(shares).all() and (shares >= 0).all()
    if not fine or not shares.any():
        raise ValueError(f"give {count} shares, finite and at least 0, not all 0")
    unit: Floats = shares / shares.max()
    if unit.sum() ** 2 < 2 * (unit**2).sum():
        raise ValueError("one experiment has most of all shares; spread them over more")
    return unit


def _repaired(covariance: Floats, estimates: Floats) -> Floats:
    """The nearest without negative variance, in units of the spread of the estimates."""
    scale = np.sqrt(np.diag(estimates))
    scale = np.where(scale > 0, scale, 1.0)
    values, vectors = np.linalg.eigh(covariance / np.outer(scale, scale))
    if values.min() >= 0:
        return covariance
    half = scale[:, None] * vectors * np.sqrt(np.maximum(values, 0.0))
    whole: Floats = half @ half.T
    return whole


def _planned(covariance: ArrayLike, noise: ArrayLike) -> tuple[Floats, Floats]:
    true = np.asarray(covariance, np.float64)
    if true.ndim != 2 or true.shape[0] != true.shape[1] or len(true) < 2:
        raise ValueError(f"covariance has shape {true.shape}; give [K + 1, K + 1], K of 1 or more")
    _check_covariances("covariance", true)
    return true, _short_noise(noise, len(true) - 1)


def _short_noise(noise: ArrayLike, metrics: int) -> Floats:
    short = np.asarray(noise, np.float64)
    if short.shape != (metrics, metrics):
        raise ValueError(
            f"noise has shape {short.shape}; give {(metrics, metrics)}, of the short-term metrics"
        )
    _check_covariances("noise", short)
    return short


def _correlation(covary: Floats, one: Floats, other: Floats) -> Floats:
    """In [-1, 1]; NaN where a variance is not above 0."""
    vary = (np.asarray(one) > 0) & (np.asarray(other) > 0)
    spread = np.sqrt(np.where(vary, one, 1.0)) * np.sqrt(np.where(vary, other, 1.0))
    found: Floats = np.where(vary, np.clip(covary / spread, -1.0, 1.0), np.nan)
    return found
