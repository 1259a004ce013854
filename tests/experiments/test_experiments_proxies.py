"""Proxy metrics: what is learned of true effects, held against covariances that are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import binom

from matinee.evaluation.off_policy.columns import Floats
from matinee.experiments.proxies import (
    PastExperiments,
    cross_fitted,
    effect_covariance,
    noise_of_arms,
    optimal_proxy,
    proxy_quality,
    quality,
)

TRUE = np.array([[1.0, 0.3, -0.5], [0.3, 0.8, 0.4], [-0.5, 0.4, 1.0]])
"""Of two short-term metrics and the north star; the first goes against it."""
NOISE = np.array([[1.5, 0.6, 1.2], [0.6, 1.0, 0.8], [1.2, 0.8, 2.0]])
"""Members who have more of any metric have more of all."""


def experiments(
    count: int, rng: np.random.Generator, sizes: Any = 1.0, shares: Any = ()
) -> PastExperiments:
    """Normal effects about (1, 2, 3), and normal noise of NOISE / size."""
    size = np.broadcast_to(np.asarray(sizes, float), (count,))
    effects = rng.multivariate_normal([1.0, 2.0, 3.0], TRUE, count)
    mistakes = rng.multivariate_normal(np.zeros(3), NOISE, count) / np.sqrt(size)[:, None]
    return PastExperiments(effects + mistakes, NOISE / size[:, None, None], np.asarray(shares))


@pytest.mark.parametrize("weighted", [False, True])
def test_the_covariance_is_unbiased(weighted: bool) -> None:
    """The mean over 1,000 sets of 20 experiments of sizes 0.3 to 3, without repair; each entry
    within 4 of its own standard errors.
    """
    rng = np.random.default_rng(0)
    sizes = np.geomspace(0.3, 3.0, 20)
    shares = sizes**2 if weighted else ()
    found = np.array(
        [effect_covariance(experiments(20, rng, sizes, shares), repair=False) for _ in range(1_000)]
    )
    error = found.std(axis=0, ddof=1) / np.sqrt(len(found))
    assert (np.abs(found.mean(axis=0) - TRUE) < 4 * error).all()


@pytest.mark.parametrize("shares", [(), np.full(30, 7.0)])
def test_equal_shares_give_the_sample_covariance_less_the_mean_noise(shares: Any) -> None:
    past = experiments(30, np.random.default_rng(1), np.linspace(1.0, 2.0, 30), shares)
    expected = np.cov(past.effects.T) - past.noise.mean(axis=0)
    assert effect_covariance(past, repair=False) == pytest.approx(expected)


def test_an_experiment_without_a_share_is_left_out() -> None:
    past = experiments(30, np.random.default_rng(1), 1.0, [0.0] * 10 + [1.0] * 20)
    rest = past.some(np.arange(30) >= 10)
    assert effect_covariance(past) == pytest.approx(effect_covariance(rest))
    short = NOISE[:2, :2]
    assert quality(past, [1.0, 0.0], short, resamples=2).value == pytest.approx(
        quality(rest, [1.0, 0.0], short, resamples=2).value, nan_ok=True
    )


def test_resamples_without_shares_count_at_both_ends() -> None:
    past = experiments(12, np.random.default_rng(1), 100.0, [1.0] * 2 + [0.0] * 10)
    found = quality(past, [1.0, 0.0], NOISE[:2, :2])
    assert (found.low, found.high) == (-1.0, 1.0)


def test_shares_help_where_sizes_differ() -> None:
    """200 sets of 40 experiments, half of them ten times smaller than the others."""
    rng = np.random.default_rng(2)
    sizes = np.repeat([0.2, 2.0], 20)
    errors = np.zeros(2)
    for _ in range(200):
        past = experiments(40, rng, sizes)
        uneven = PastExperiments(past.effects, past.noise, (sizes / (sizes + 1.0)) ** 2)
        for place, each in enumerate((past, uneven)):
            errors[place] += ((effect_covariance(each, repair=False) - TRUE) ** 2).sum()
    assert errors[1] < 0.6 * errors[0]


def test_the_naive_regression_has_the_wrong_sign_however_many_experiments() -> None:
    """Regressing the estimates of 50,000 experiments tends to (L_SS + X_SS)^-1 (L_SN + X_SN): the
    first metric, which goes against the north star, seems to go with it. Corrected it does not.
    """
    past = experiments(50_000, np.random.default_rng(3))
    centred = past.effects - past.effects.mean(axis=0)
    naive = np.linalg.lstsq(centred[:, :2], centred[:, 2], rcond=None)[0]
    both = TRUE + NOISE
    assert naive == pytest.approx(np.linalg.solve(both[:2, :2], both[:2, 2]), abs=0.02)
    assert naive[0] > 0.05
    found = optimal_proxy(effect_covariance(past), NOISE[:2, :2]).weights
    known = np.linalg.solve(both[:2, :2], TRUE[:2, 2])
    assert found == pytest.approx(known, abs=0.03)
    assert known[0] < -0.2


def test_the_corrected_covariance_of_many_is_the_true_one() -> None:
    """The largest standard error of an entry is 0.02, of the variance of the north star."""
    found = effect_covariance(experiments(50_000, np.random.default_rng(4)))
    assert found == pytest.approx(TRUE, abs=0.07)


def test_repair_is_the_nearest_in_the_units_of_the_estimates() -> None:
    """No covariance that is one lies nearer, on the scale of the estimates, by search."""
    past = experiments(12, np.random.default_rng(9), 0.1)
    raw, fixed = (effect_covariance(past, repair=repair) for repair in (False, True))
    assert np.linalg.eigvalsh(raw)[0] < 0 <= np.linalg.eigvalsh(fixed)[0] + 1e-9
    scale = np.outer(*[past.effects.std(axis=0)] * 2)

    def apart(root: Floats) -> float:
        half = root.reshape(3, 3)
        return float(((half @ half.T - raw / scale) ** 2).sum())

    starts = np.random.default_rng(0).normal(size=(5, 9))
    best = min(minimize(apart, start, tol=1e-12).fun for start in starts)
    assert ((fixed - raw) / scale).ravel() @ ((fixed - raw) / scale).ravel() == pytest.approx(best)


def test_what_is_positive_definite_is_left_alone() -> None:
    past = experiments(2_000, np.random.default_rng(5))
    assert np.array_equal(effect_covariance(past), effect_covariance(past, repair=False))


@settings(max_examples=40, deadline=None)
@given(units=st.lists(st.floats(1e-6, 1e6), min_size=3, max_size=3), seed=st.integers(0, 999))
def test_units_of_metrics_do_not_matter(units: list[float], seed: int) -> None:
    past = experiments(12, np.random.default_rng(seed), 0.2)
    factor = np.array(units)
    scale = np.outer(factor, factor)
    other = PastExperiments(past.effects * factor, past.noise * scale)
    covariance, changed = effect_covariance(past), effect_covariance(other)
    limit = 1e-6 * np.outer(*[past.effects.std(axis=0)] * 2)
    assert (np.abs(changed / scale - covariance) < limit).all()
    one = optimal_proxy(covariance, NOISE[:2, :2])
    two = optimal_proxy(changed, NOISE[:2, :2] * scale[:2, :2])
    assert two.quality == pytest.approx(one.quality, abs=1e-5, nan_ok=True)
    assert two.weights * factor[:2] / factor[2] == pytest.approx(one.weights, abs=1e-5)


def test_quality_is_the_correlation_with_the_true_effect() -> None:
    """In a simulation of 200,000 experiments; 4 standard errors of a correlation are 0.009."""
    rng = np.random.default_rng(6)
    true = rng.multivariate_normal(np.zeros(3), TRUE, 200_000)
    seen = true + rng.multivariate_normal(np.zeros(3), NOISE, 200_000)
    best = optimal_proxy(TRUE, NOISE[:2, :2])
    for weights, expected in (
        (best.weights, best.quality),
        ([1.0, 0.0], proxy_quality([1.0, 0.0], TRUE, NOISE[:2, :2])),
    ):
        found = np.corrcoef(seen[:, :2] @ weights, true[:, 2])[0, 1]
        assert found == pytest.approx(expected, abs=0.009)
    slope = np.polyfit(seen[:, :2] @ best.weights, true[:, 2], 1)[0]
    assert slope == pytest.approx(1.0, abs=0.03)


@settings(max_examples=60, deadline=None)
@given(
    weights=st.lists(st.floats(-5, 5), min_size=2, max_size=2).filter(
        lambda each: max(map(abs, each)) > 1e-3
    ),
    size=st.sampled_from([0.01, 1.0, 100.0]),
)
def test_no_weights_have_a_higher_quality_than_the_optimal(
    weights: list[float], size: float
) -> None:
    noise = NOISE[:2, :2] / size
    assert proxy_quality(weights, TRUE, noise) <= optimal_proxy(TRUE, noise).quality + 1e-9


def test_the_optimal_proxy_depends_on_the_size_of_the_experiment() -> None:
    """A noisy metric that goes with the north star is worth little in small experiments."""
    true = np.array([[1.0, 0.0, 0.9], [0.0, 1.0, 0.3], [0.9, 0.3, 1.0]])
    unit = np.array([np.diag([500.0, 1.0])] * 2)
    small, large = (
        optimal_proxy(true, noise_of_arms(unit, [units, units])).weights for units in (10, 10**6)
    )
    assert abs(small[0]) < abs(small[1])
    assert large == pytest.approx([0.9, 0.3], abs=0.01)


def test_without_noise_a_metric_that_is_twice_there_is_no_harm() -> None:
    true = np.array([[1.0, 1.0, 0.6], [1.0, 1.0, 0.6], [0.6, 0.6, 1.0]])
    found = optimal_proxy(true, np.zeros((2, 2)))
    assert found.weights == pytest.approx([0.3, 0.3])
    assert found.quality == pytest.approx(0.6)


def test_nothing_is_known_of_what_does_not_vary() -> None:
    still = np.array([[1.0, 0.0], [0.0, 0.0]])
    assert np.isnan(optimal_proxy(still, np.eye(1)).quality)
    assert optimal_proxy(np.zeros((2, 2)), np.zeros((1, 1))).weights.tolist() == [0.0]
    past = PastExperiments(np.ones((20, 2)), np.tile(np.eye(2), (20, 1, 1)))
    assert effect_covariance(past).tolist() == [[0.0, 0.0], [0.0, 0.0]]
    found = quality(past, [1.0], np.eye(1))
    assert np.isnan(found.value)
    assert (found.low, found.high) == (-1.0, 1.0)


def test_moments_of_units_give_effects_and_their_noise() -> None:
    """Of members of 12 experiments, by hand."""
    rng = np.random.default_rng(7)
    arms = [[rng.normal(size=(units, 2)) for units in (50, 30)] for _ in range(12)]
    past = PastExperiments.of_arms(
        [[arm.mean(axis=0) for arm in pair] for pair in arms],
        [[np.cov(arm.T) for arm in pair] for pair in arms],
        [[len(arm) for arm in pair] for pair in arms],
    )
    control, treated = arms[3]
    assert past.effects[3] == pytest.approx(treated.mean(axis=0) - control.mean(axis=0))
    expected = np.cov(treated[:, 0], control[:30, 0])[0, 0] / 30 + control[:, 0].var(ddof=1) / 50
    assert past.noise[3, 0, 0] == pytest.approx(expected)


def test_the_interval_of_quality_covers() -> None:
    """300 sets of 80 experiments, for fixed weights. The bootstrap is asked for 95 %, and held to
    90 %: fewer hits than the bound have one chance in 200 at that.
    """
    rng = np.random.default_rng(8)
    weights = [-0.4, 0.5]
    truth = proxy_quality(weights, TRUE, NOISE[:2, :2] / 3)
    hits = 0
    for run in range(300):
        past = experiments(80, rng, 3.0)
        found = quality(past, weights, NOISE[:2, :2] / 3, resamples=200, seed=run)
        hits += found.low <= truth <= found.high
    assert hits >= binom.ppf(0.005, 300, 0.9)
    assert hits < 300


def test_cross_fitted_weights_are_judged_honestly() -> None:
    """The quality that weights have in the experiments that taught them is too high, on average
    over 60 sets of 16; that of cross-fitted ones is not above what the weights are truly worth.
    """
    rng = np.random.default_rng(10)
    noise = NOISE[:2, :2] / 5
    promised, honest, truly = [], [], []
    for _ in range(60):
        past = experiments(16, rng, 5.0)
        best = optimal_proxy(effect_covariance(past), noise)
        fitted = cross_fitted(past, noise, folds=4)
        promised.append(best.quality)
        honest.append(quality(past, fitted, noise, resamples=2).value)
        truly.append(proxy_quality(best.weights, TRUE, noise))
    gap = np.array(promised) - truly
    assert np.nanmean(gap) > 3 * np.nanstd(gap) / np.sqrt(60)
    apart = np.array(honest) - truly
    assert np.nanmean(apart) < 2 * np.nanstd(apart) / np.sqrt(60)


def test_weights_of_others_alone() -> None:
    """An experiment's own effects do not change its weights."""
    past = experiments(40, np.random.default_rng(11), 5.0)
    changed = past.effects.copy()
    changed[7] += 50.0
    one = cross_fitted(past, NOISE[:2, :2])
    two = cross_fitted(PastExperiments(changed, past.noise), NOISE[:2, :2])
    assert np.array_equal(one[7], two[7])
    assert not np.array_equal(one[8], two[8])


def test_equal_seeds_give_equal_intervals_in_any_number_of_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    past = experiments(50, np.random.default_rng(12), 5.0)
    one = quality(past, [1.0, 1.0], NOISE[:2, :2], seed=3)
    monkeypatch.setattr("matinee.experiments.proxies.CELLS", 1_000)
    assert quality(past, [1.0, 1.0], NOISE[:2, :2], seed=3) == one
    assert quality(past, [1.0, 1.0], NOISE[:2, :2], seed=4).low != one.low


GOOD: dict[str, Any] = {"effects": np.zeros((20, 3)), "noise": np.tile(NOISE, (20, 1, 1))}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"effects": np.zeros((9, 3)), "noise": np.tile(NOISE, (9, 1, 1))}, "9 experiments .* 10"),
        ({"effects": np.zeros((0, 3)), "noise": np.zeros((0, 3, 3))}, "0 experiments are too few"),
        ({"effects": np.zeros((20, 11)), "noise": np.zeros((20, 11, 11))}, "give at least 22"),
        ({"effects": np.zeros((20, 1)), "noise": np.zeros((20, 1, 1))}, "K of 1 or more"),
        ({"effects": np.zeros(20)}, "give .J, K"),
        ({"effects": np.full((20, 3), np.nan)}, "effects must be finite"),
        ({"effects": np.full((20, 3), np.inf)}, "effects must be finite"),
        ({"noise": np.tile(NOISE, (19, 1, 1))}, r"give \(20, 3, 3\)"),
        ({"noise": np.full((20, 3, 3), np.inf)}, "noise must be finite"),
        ({"noise": np.tile(np.triu(NOISE), (20, 1, 1))}, "symmetric"),
        ({"noise": -np.tile(NOISE, (20, 1, 1))}, "negative variance"),
        ({"shares": [1.0] * 19}, "give 20 shares"),
        ({"shares": [-1.0] * 20}, "at least 0"),
        ({"shares": [np.nan] * 20}, "finite"),
        ({"shares": [0.0] * 20}, "not all 0"),
        ({"shares": [1.0] + [0.0] * 19}, "most of all shares"),
    ],
)
def test_what_cannot_be_past_experiments(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PastExperiments(**(GOOD | wrong))


def test_wrong_settings() -> None:
    past = PastExperiments(**GOOD)
    short = NOISE[:2, :2]
    for wrong, match in (
        ({"weights": [1.0]}, "give .*each experiment's own"),
        ({"weights": [1.0, np.nan]}, "finite"),
        ({"noise": NOISE}, r"give \(2, 2\)"),
        ({"resamples": 1}, "resamples"),
        ({"alpha": 1.0}, "alpha"),
    ):
        with pytest.raises(ValueError, match=match):
            quality(past, **({"weights": [1.0, 1.0], "noise": short} | wrong))
    for folds in (1, 21):
        with pytest.raises(ValueError, match="folds"):
            cross_fitted(past, short, folds=folds)
    with pytest.raises(ValueError, match="covariance has shape"):
        optimal_proxy(TRUE[:2], short)
    with pytest.raises(ValueError, match="covariance must be a covariance"):
        optimal_proxy(TRUE - 2 * np.eye(3), short)
    with pytest.raises(ValueError, match="one for each of 2 metrics"):
        proxy_quality([1.0], TRUE, short)
    with pytest.raises(ValueError, match="above 0 in both arms"):
        noise_of_arms([NOISE, NOISE], [10, 0])
    with pytest.raises(ValueError, match=r"give .*2, D, D"):
        noise_of_arms(NOISE, [10, 10])
    with pytest.raises(ValueError, match="control first"):
        PastExperiments.of_arms(np.zeros((20, 3)), np.zeros((20, 2, 3, 3)), np.ones((20, 2)))
