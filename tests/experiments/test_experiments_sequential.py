"""Sequences of effects and quantiles: the papers' formulas, exact martingales, every look."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import beta, binom, binomtest, norm

from matinee.experiments.arms import Arm
from matinee.experiments.effects import Effect, compare, fixed
from matinee.experiments.sequential import (
    AsymptoticSequence,
    quantile,
    quantile_difference,
    sharpness,
)

ALPHAS = st.floats(1e-6, 0.5)


def effect_of(z: float, units: int = 1_000) -> Effect:
    """One with error 2 / sqrt(units), z of them from 0."""
    return Effect(z * 2 / units**0.5, (units // 2, units // 2), (1.0, 1.0), "difference of means")


@given(st.floats(-6, 6), st.integers(100, 10**6), st.floats(1, 1e7), ALPHAS)
def test_the_interval_is_that_of_the_paper(z: float, t: int, at: float, alpha: float) -> None:
    t = 2 * t
    interval, _ = AsymptoticSequence(tightest_at=at, alpha=alpha).read(effect_of(z, t))
    rho2, sigma = sharpness(alpha) / at, 2.0
    reach = sigma * np.sqrt(
        2 * (t * rho2 + 1) / (t**2 * rho2) * np.log(np.sqrt(t * rho2 + 1) / alpha)
    )
    assert interval.high - interval.value == pytest.approx(reach)
    assert interval.value - interval.low == pytest.approx(reach)


@given(st.floats(-8, 8), st.integers(1, 10**5), ALPHAS)
def test_the_pvalue_rejects_what_the_interval_leaves_out(z: float, at: int, alpha: float) -> None:
    interval, pvalue = AsymptoticSequence(tightest_at=at, alpha=alpha).read(effect_of(z))
    edge = min(abs(interval.low), abs(interval.high)) < 1e-9
    assert edge or (pvalue <= alpha) == (not interval.low <= 0 <= interval.high)


@pytest.mark.parametrize("z", [0.0, 1.0, -2.5, 4.0])
def test_the_pvalue_is_of_a_mixture(z: float) -> None:
    """The likelihood ratio of an effect, in standard deviations, over a normal law, integrated."""
    t, at = 1_000, 3_000
    rho = (sharpness(0.05) / at) ** 0.5
    total = z * t**0.5

    def ratio(mean: float) -> float:
        return float(np.exp(mean * total - mean**2 * t / 2) * norm.pdf(mean, 0, rho))

    capital = quad(ratio, -12 * rho, 12 * rho, points=[z / t**0.5], limit=200)[0]
    _, pvalue = AsymptoticSequence(tightest_at=at).read(effect_of(z, t))
    assert pvalue == pytest.approx(min(1.0, 1 / capital), rel=1e-6)


@given(ALPHAS)
def test_it_is_tightest_where_it_is_said_to_be(alpha: float) -> None:
    def width(x: Any) -> Any:
        return (1 + x) / x * (np.log1p(x) - 2 * np.log(alpha))

    others = np.geomspace(1e-3, 1e3, 2_001)
    assert width(sharpness(alpha)) <= width(others).min() * (1 + 1e-12)


def test_looked_at_daily_it_is_seldom_wrong_where_one_look_often_is() -> None:
    """600 experiments of two arms without an effect, 30 looks; the least p of all is looked at."""
    rng = np.random.default_rng(0)
    runs, looks, daily = 600, 30, 100
    days = rng.normal(size=(runs, looks, 2, daily))
    sequence = AsymptoticSequence(tightest_at=looks * daily * 2)
    wrong = {"sequence": 0, "one look": 0}
    for run in days:
        arms = [Arm.of(day[:, None]) for day in run[0]]
        least = {"sequence": 1.0, "one look": 1.0}
        for day in run[1:]:
            arms = [arm + Arm.of(more[:, None]) for arm, more in zip(arms, day, strict=True)]
            effect = compare(arms[0], arms[1])
            least["sequence"] = min(least["sequence"], sequence.read(effect)[1])
            least["one look"] = min(least["one look"], fixed(effect)[1])
        for name, pvalue in least.items():
            wrong[name] += pvalue <= 0.05
    assert binomtest(wrong["sequence"], runs, 0.05, alternative="greater").pvalue > 1e-4
    assert binomtest(wrong["one look"], runs, 0.2, alternative="less").pvalue > 1e-4


def test_a_small_arm_without_events_is_not_taken_for_sure() -> None:
    """600 experiments with an event of 1 %, 20 and 180 units a day, 28 looks from 100 units on."""
    rng, runs = np.random.default_rng(1), 600
    wrong = {1_000: 0, 0: 0}
    sequences = {k: AsymptoticSequence(tightest_at=5_600, steady=k) for k in wrong}
    for _ in range(runs):
        n = [np.arange(1, 29) * daily for daily in (20, 180)]
        p = [np.cumsum(rng.binomial(daily, 0.01, 28)) / n[k] for k, daily in enumerate((20, 180))]
        seen = [
            Effect(
                p[0][day] - p[1][day],
                (int(n[0][day]), int(n[1][day])),
                (p[0][day] * (1 - p[0][day]), p[1][day] * (1 - p[1][day])),
                "difference of means",
            )
            for day in range(28)
        ]
        for k, sequence in sequences.items():
            wrong[k] += min(sequence.read(effect)[1] for effect in seen) <= 0.05
    assert binomtest(wrong[1_000], runs, 0.05, alternative="greater").pvalue > 1e-4
    assert binomtest(wrong[0], runs, 0.15, alternative="less").pvalue > 1e-4


def test_many_units_speak_for_themselves() -> None:
    effect = Effect(1.0, (10**8, 10**8), (1.0, 9.0), "difference of means")
    steady, plain = (AsymptoticSequence(tightest_at=1e8, steady=k) for k in (1_000, 0))
    assert steady.read(effect)[0].low == pytest.approx(plain.read(effect)[0].low, rel=1e-6)
    few = Effect(1.0, (200, 200), (1.0, 9.0), "difference of means")
    # (200 * 1 + 1,000 * 9) / 1,200 for the first arm, and its own for the second.
    reach = [one.read(few)[0].high - 1.0 for one in (steady, plain)]
    assert reach[0] / reach[1] == pytest.approx(((9_200 / 1_200 + 9) / 10) ** 0.5)


def test_a_lift_is_found_when_its_difference_is() -> None:
    control, treatment = Arm.published(500, 1.0, 9.0), Arm.published(500, 2.0, 9.0)
    sequence = AsymptoticSequence(tightest_at=1_000)
    plain = sequence.read(compare(treatment, control))
    lift = sequence.read(compare(treatment, control, relative=True))
    assert lift[1] == pytest.approx(plain[1])
    assert lift[0].low > 0
    assert lift[0].high - lift[0].value > lift[0].value - lift[0].low


@pytest.mark.parametrize(
    "effect",
    [
        effect_of(9.0, 198),
        Effect(1.0, (10**6, 99), (1.0, 1.0), "one arm too small"),
        Effect(1.0, (500, 500), (0.0, 0.0), "nothing varies"),
        Effect(np.nan, (500, 500), (1.0, 1.0), "no value"),
        Effect(0.0, (0, 0), (0.0, 0.0), "no units"),
    ],
)
def test_before_there_is_enough_nothing_is_shown(effect: Effect) -> None:
    interval, pvalue = AsymptoticSequence(tightest_at=1_000).read(effect)
    assert (interval.low, interval.high, pvalue) == (-np.inf, np.inf, 1.0)


def test_huge_counts_and_effects() -> None:
    sequence = AsymptoticSequence(tightest_at=1e15)
    interval, pvalue = sequence.read(effect_of(1e8, 10**15))
    assert pvalue == 0.0
    assert 0 < interval.low < interval.high


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"tightest_at": 0.5}, "tightest_at"),
        ({"tightest_at": np.nan}, "tightest_at"),
        ({"tightest_at": np.inf}, "tightest_at"),
        ({"tightest_at": 10, "alpha": 0.0}, "alpha"),
        ({"tightest_at": 10, "burn_in": 1}, "burn_in"),
        ({"tightest_at": 10, "steady": -1}, "steady"),
    ],
)
def test_settings_that_are_none(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        AsymptoticSequence(**settings)


@pytest.mark.parametrize(
    ("values", "p", "at", "says"),
    [
        ([1.0, np.nan], 0.5, 10, "values must be finite"),
        ([[1.0]], 0.5, 10, r"give \[N\]"),
        ([1.0], 0.0, 10, "p must be"),
        ([1.0], np.nan, 10, "p must be"),
        ([1.0], 0.5, 0, "tightest_at"),
    ],
)
def test_quantiles_that_are_none(values: Any, p: float, at: float, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        quantile(values, p, tightest_at=at)
    with pytest.raises(ValueError, match=says):
        quantile_difference([1.0, 2.0], values, p, tightest_at=at)


def reached(t: int, p: float, c: float) -> Any:
    """M [t + 1] for each k, by integration over chances instead of by beta functions."""
    k = np.arange(t + 1)
    grid = (np.arange(200_000) + 0.5) / 200_000
    prior = beta.pdf(grid, c * p, c * (1 - p)) / 200_000
    return np.array([(binom.pmf(one, t, grid) * prior).sum() for one in k]) / binom.pmf(k, t, p)


@pytest.mark.parametrize(("t", "p", "at"), [(40, 0.5, 100), (60, 0.8, 60), (25, 0.3, 200)])
def test_the_order_statistics_are_those_that_the_martingale_leaves(
    t: int, p: float, at: float
) -> None:
    """Of the values 1..t the k-th is k. M has mean 1 under its own law, so it is a fair bet."""
    m = reached(t, p, at / sharpness(0.05))
    assert (binom.pmf(np.arange(t + 1), t, p) * m).sum() == pytest.approx(1.0, rel=1e-4)
    left = np.flatnonzero(m < 1 / 0.05)
    interval = quantile(np.arange(1, t + 1)[::-1], p, tightest_at=at)
    ends = np.array([-np.inf, *range(1, t + 1), np.inf])
    assert (interval.low, interval.high) == (ends[left[0]], ends[left[-1] + 1])
    assert interval.value == np.quantile(np.arange(1, t + 1), p, method="inverted_cdf")


@pytest.mark.parametrize("sizes", [(30, 30), (12, 45)])
def test_differences_are_those_of_all_pairs_that_are_left(sizes: tuple[int, int]) -> None:
    rng, p, alpha, at = np.random.default_rng(1), 0.4, 0.1, 60.0
    c = at / 2 / sharpness(alpha**0.5)
    a, b = (np.array([-np.inf, *np.sort(rng.normal(size=size)), np.inf]) for size in sizes)
    both = reached(sizes[0], p, c)[:, None] * reached(sizes[1], p, c)
    pairs = np.argwhere(both < 1 / alpha)
    known = min(a[i] - b[j + 1] for i, j in pairs), max(a[i + 1] - b[j] for i, j in pairs)
    found = quantile_difference(a[1:-1], b[1:-1], p, tightest_at=at, alpha=alpha)
    assert (found.low, found.high) == pytest.approx(known)


@given(
    st.lists(st.integers(-5, 5), max_size=40),
    st.lists(st.integers(-5, 5), max_size=40),
    st.floats(0.05, 0.95),
)
def test_swapped_arms_swap_the_ends(a: list[int], b: list[int], p: float) -> None:
    one = quantile_difference(a, b, p, tightest_at=50, alpha=0.2)
    other = quantile_difference(b, a, p, tightest_at=50, alpha=0.2)
    assert (one.low, one.high) == (-other.high, -other.low)
    assert np.isnan(one.value) == (not (a and b))
    if a and b:
        assert one.low <= one.value <= one.high


@pytest.mark.parametrize("kind", ["normal", "counts", "zeros"])
def test_quantiles_are_held_at_every_look(kind: str) -> None:
    """300 streams of two arms, looked at 8 times; of counts a median is 2, and of values that are
    mostly zeros it is 0.
    """
    rng, runs, t, p = np.random.default_rng(2), 300, 1_000, 0.5
    looks = np.unique(np.geomspace(25, t, 8).astype(int)).tolist()
    draw = {
        "normal": lambda: rng.normal(size=(2, t)),
        "counts": lambda: rng.poisson(2.0, size=(2, t)),
        "zeros": lambda: np.where(rng.random((2, t)) < 0.6, 0.0, rng.random((2, t))),
    }[kind]
    truth = {"normal": 0.0, "counts": 2.0, "zeros": 0.0}[kind]
    missed = np.zeros(2)
    for _ in range(runs):
        arms = draw()
        one, two = False, False
        for n in looks:
            found = quantile(arms[0, :n], p, tightest_at=t, alpha=0.1)
            one |= not found.low <= truth <= found.high
            found = quantile_difference(arms[0, :n], arms[1, :n], p, tightest_at=2 * t, alpha=0.1)
            two |= not found.low <= 0 <= found.high
        missed += one, two
    for misses in missed.tolist():
        assert binomtest(int(misses), runs, 0.1, alternative="greater").pvalue > 1e-3


def test_one_interval_of_both_is_shorter_than_two() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(2, 20_000))
    both = quantile_difference(a, b, 0.5, tightest_at=40_000)
    alone = [quantile(values, 0.5, tightest_at=20_000, alpha=0.025) for values in (a, b)]
    apart = sum(one.high - one.low for one in alone)
    assert 0.65 < (both.high - both.low) / apart < 0.8


def test_few_units_leave_the_quantile_open() -> None:
    interval = quantile([3.0], 0.5, tightest_at=100)
    assert (interval.low, interval.value, interval.high) == (-np.inf, 3.0, np.inf)
    assert np.isnan(quantile([], 0.5, tightest_at=100).value)


def test_a_million_units() -> None:
    values = np.random.default_rng(4).exponential(size=1_000_000)
    interval = quantile(values, 0.9, tightest_at=1_000_000)
    spread = 0.3 / 0.1 / 1_000  # sqrt(p (1 - p)) over the density, over the root of the units
    assert interval.low < np.log(10) < interval.high
    assert (interval.high - interval.low) / 2 == pytest.approx(
        (1 + sharpness(0.05)) ** 0.5 * spread, rel=0.05
    )
