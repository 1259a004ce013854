"""Sizes, detectable effects and days with known answers, and A/A checks that find what is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import minimize_scalar
from scipy.stats import binom, chi, norm, t, ttest_ind

from matinee.experiments.design import Baseline, a_a, boundary, days, mde, power, size

UNIT = Baseline(0.0, 1.0)


@pytest.mark.parametrize(
    ("effect", "target", "expected"),
    [(0.2, 0.8, 394), (0.5, 0.8, 64), (0.8, 0.8, 26), (0.5, 0.9, 86), (0.2, 0.95, 651)],
)
def test_sizes_of_the_textbook(effect: float, target: float, expected: int) -> None:
    """J. Cohen, Statistical Power Analysis for the Behavioral Sciences, 2nd edition, 1988, table
    2.4.1 (rounded up, as G*Power does): two-sided, 5 %.
    """
    assert size(UNIT, effect, target=target) == (expected, expected)


@pytest.mark.parametrize("effect", [0.0, 0.01, 0.3, 1.5])
@pytest.mark.parametrize("units", [(2, 2), (3, 50), (40, 40), (900, 100)])
@pytest.mark.parametrize("alpha", [0.05, 0.001])
def test_power_is_the_integral_over_the_estimated_error(
    effect: float, units: tuple[int, int], alpha: float
) -> None:
    """A noncentral t is (Z + distance) / S, with S^2 chi-square over its degrees of freedom."""
    parts = np.array([4.0 / n for n in units])
    freedom = parts.sum() ** 2 / (parts**2 / (np.array(units) - 1)).sum()
    edge, distance = t.ppf(1 - alpha / 2, freedom), effect / np.sqrt(parts.sum())

    def given_error(s: float) -> Any:
        beyond = norm.sf(edge * s - distance) + norm.cdf(-edge * s - distance)
        return beyond * chi.pdf(s * np.sqrt(freedom), freedom) * np.sqrt(freedom)

    expected = quad(given_error, 0, 1, limit=200)[0] + quad(given_error, 1, 12, limit=200)[0]
    found = power(Baseline(1.0, 4.0), effect, units, alpha=alpha)
    assert found == pytest.approx(expected, abs=1e-6)
    assert power(Baseline(1.0, 4.0), -effect, units, alpha=alpha) == found


@pytest.mark.parametrize("baseline", [Baseline(3.0, 7.0), Baseline.proportion(0.04)])
def test_power_of_many_is_normal(baseline: Baseline) -> None:
    units, effect = (30_000_000, 10_000_000), 0.0002
    after = 7.0 if not baseline.share else 0.0402 * (1 - 0.0402)
    distance = effect / np.sqrt(baseline.variance / units[0] + after / units[1])
    expected = norm.sf(norm.ppf(0.975) - distance) + norm.cdf(-norm.ppf(0.975) - distance)
    assert power(baseline, effect, units) == pytest.approx(expected, abs=1e-6)


def test_size_of_shares_is_that_of_the_formula() -> None:
    """n = (z + z)^2 (p q / f + p' q' / f') / d^2, with f the part of all that an arm has."""
    z = norm.ppf(0.975) + norm.ppf(0.9)
    whole = z**2 * (0.1 * 0.9 / 0.8 + 0.11 * 0.89 / 0.2) / 0.01**2
    found = size(Baseline.proportion(0.1), 0.01, shares=(4, 1), target=0.9)
    assert found == pytest.approx((0.8 * whole, 0.2 * whole), rel=1e-3)


def test_power_is_how_often_welch_s_test_sees_it() -> None:
    """20,000 experiments each; 4 standard errors of the share that is seen."""
    rng, runs = np.random.default_rng(0), 20_000
    one, other = rng.normal(0, 2, (runs, 12)), rng.normal(1.5, 2, (runs, 30))
    clicks = rng.binomial(1, 0.3, (2_000, 400)), rng.binomial(1, 0.4, (2_000, 200))
    for arms, expected in (
        ((one, other), power(Baseline(0.0, 4.0), 1.5, (12, 30))),
        (clicks, power(Baseline.proportion(0.3), 0.1, (400, 200))),
    ):
        seen = (ttest_ind(*arms, axis=1, equal_var=False).pvalue < 0.05).mean()
        bound = 4 * np.sqrt(expected * (1 - expected) / len(arms[0]))
        assert seen == pytest.approx(expected, abs=bound)


def test_the_variance_of_a_ratio_is_that_of_many_samples() -> None:
    """4,000 samples of 500 members: a variance within 9 % of it, 4 standard errors."""
    rng = np.random.default_rng(1)
    pages = rng.poisson(6, (4_000, 500)) + 1
    clicks = rng.binomial(pages, rng.beta(2, 6, pages.shape))
    ratios = clicks.sum(axis=1) / pages.sum(axis=1)
    baseline = Baseline.ratio(clicks.ravel(), pages.ravel())
    assert baseline.value == pytest.approx(0.25, abs=1e-3)
    assert baseline.variance == pytest.approx(500 * ratios.var(ddof=1), rel=4 * np.sqrt(2 / 4_000))


def test_a_ratio_of_ones_is_a_mean() -> None:
    values = np.random.default_rng(0).exponential(size=50)
    one, other = Baseline.ratio(values, np.ones(50)), Baseline.mean(values)
    assert (one.value, one.variance) == pytest.approx((other.value, other.variance))
    assert other.variance == pytest.approx(np.var(values, ddof=1))


@given(
    effect=st.floats(0.005, 0.2),
    share=st.floats(0.01, 0.7),
    other=st.floats(0.05, 0.95),
    target=st.floats(0.1, 0.99),
    correlation=st.floats(-0.95, 0.95),
    anytime=st.booleans(),
    proportion=st.booleans(),
)
def test_the_size_is_the_fewest_and_the_effect_its_reverse(
    effect: float, share: float, other: float, target: float, proportion: bool, **options: Any
) -> None:
    baseline = Baseline.proportion(share) if proportion else Baseline(share, 0.3)
    found = size(baseline, effect, shares=(1 - other, other), target=target, **options)
    assert power(baseline, effect, found, **options) >= target - 1e-9
    least = mde(baseline, found, target=target, **options)
    assert power(baseline, least, found, **options) == pytest.approx(target, abs=1e-6)
    assert least <= effect * (1 + 1e-6)
    if min(found) > 2:
        assert power(baseline, effect, [n - 1 for n in found], **options) < target + 1e-9


def test_what_cuped_saves() -> None:
    for correlation in (0.5, -0.5):
        assert mde(UNIT, (500, 300), correlation=correlation) == pytest.approx(
            mde(UNIT, (500, 300)) * np.sqrt(0.75)
        )
    assert size(UNIT, 0.01, correlation=0.8)[0] == pytest.approx(
        0.36 * size(UNIT, 0.01)[0], rel=1e-4
    )


def test_more_arms_share_the_level_and_the_smallest_is_the_weakest() -> None:
    assert power(UNIT, 0.3, (200, 150, 100, 150)) == power(UNIT, 0.3, (200, 100), alpha=0.05 / 3)
    found = size(UNIT, 0.3, shares=(2, 1, 1))
    assert found[0] in (2 * found[1], 2 * found[1] - 1)
    assert found[1] == found[2] > size(UNIT, 0.3, shares=(2, 1))[1]


@pytest.mark.parametrize("alpha", [0.2, 0.05, 1e-4])
def test_the_boundary_is_the_narrowest_of_all_settings(alpha: float) -> None:
    def wide(log: float) -> Any:
        s = np.exp(log)
        return np.sqrt(2 * (s + 1) / s * np.log(np.sqrt(s + 1) / alpha))

    found = minimize_scalar(wide, bounds=(-3, 6), method="bounded", options={"xatol": 1e-9})
    assert boundary(alpha) == pytest.approx(found.fun, abs=1e-9)


def test_what_looking_every_day_costs() -> None:
    more = size(UNIT, 0.01, anytime=True)[0] / size(UNIT, 0.01)[0]
    z = norm.ppf(0.8)
    assert more == pytest.approx(((boundary(0.05) + z) / (norm.ppf(0.975) + z)) ** 2, rel=1e-4)
    assert round(more, 2) == 1.91


def test_a_sequence_of_that_size_errs_seldom_and_sees_often_enough() -> None:
    """2,000 experiments looked at 500 times: at most alpha, and at least the power, by 3 errors."""
    rng, runs, looks = np.random.default_rng(0), 2_000, 500
    s = (boundary(0.05) ** 2 - 1) * np.arange(1, looks + 1) / looks
    edges = np.sqrt(2 * (s + 1) / s * np.log(np.sqrt(s + 1) / 0.05))
    steps = rng.normal(size=(runs, looks)).cumsum(axis=1)
    times = np.arange(1, looks + 1)
    wrong = (np.abs(steps / np.sqrt(times)) > edges).any(axis=1).mean()
    assert wrong <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs)
    units = size(UNIT, 0.1, anytime=True)
    drift = 0.1 / np.sqrt(sum(1 / n for n in units)) / np.sqrt(looks)
    z = (steps + drift * times) / np.sqrt(times)
    assert (np.abs(z[:, -1]) > edges[-1]).mean() == pytest.approx(0.8, abs=4 * np.sqrt(0.16 / runs))
    assert (np.abs(z) > edges).any(axis=1).mean() > 0.8


@given(
    arrivals=st.lists(st.integers(0, 500), min_size=1, max_size=20),
    needed=st.integers(1, 5_000),
    half=st.booleans(),
)
def test_days_are_counted_one_by_one(arrivals: list[int], needed: int, half: bool) -> None:
    share = 0.5 if half else 1.0
    week = arrivals[-7:]
    if sum(arrivals) * share < needed and not any(week):
        with pytest.raises(ValueError, match="and then none"):
            days(needed, arrivals, share)
        return
    day, come = 0, 0.0
    while come < needed * (1 - 1e-12):
        come += share * (arrivals[day] if day < len(arrivals) else sum(week) / len(week))
        day += 1
    assert days(needed, arrivals, share) == day


def members(seed: int = 0, size: int = 5_000) -> tuple[Any, Any]:
    """Pages of each member [M], and clicks, by tastes of their own."""
    rng = np.random.default_rng(seed)
    pages = rng.poisson(10, size) + 1
    return pages, rng.binomial(pages, rng.beta(2, 5, size))


def test_a_fit_metric_passes() -> None:
    found = a_a(np.random.default_rng(0).lognormal(0, 1, 20_000))
    assert found.fit
    assert found.reasons == ()
    assert found.rejected.low < 0.05 < found.rejected.high
    assert len(found.pvalues) == 1_000


def test_rows_of_members_taken_for_independent_fail_and_the_ratio_passes() -> None:
    pages, clicks = members()
    whose = np.arange(len(pages)).repeat(pages)
    rows = np.concatenate([np.arange(n) < k for n, k in zip(pages, clicks, strict=True)])
    shuffled = np.random.default_rng(0).permutation(len(rows))
    names = np.array([f"m{one}" for one in whose])
    found = a_a(rows[shuffled], members=names[shuffled])
    assert not found.fit
    assert found.rejected.low > 0.1
    assert "one value a member" in found.reasons[0]
    assert a_a(clicks, per=pages).fit


def test_tails_too_heavy_and_values_too_rare_fail() -> None:
    rng = np.random.default_rng(0)
    one_whale = a_a(np.append(rng.normal(size=4_999), 1e6))
    assert one_whale.rejected.high < 0.05
    assert "cap their values" in one_whale.reasons[0]
    heavy = rng.lognormal(0, 2, 5_000)
    small_arm = a_a(heavy, share=0.02)
    assert small_arm.rejected.low > 0.05
    assert "cap their values" in small_arm.reasons[0]
    rare = a_a(np.arange(20_000) < 8)
    assert rare.uniform < 1e-6
    assert not rare.fit


def test_p_values_are_those_of_welch_s_test_and_of_the_delta_method() -> None:
    pages, clicks = members(size=300)
    masks = np.random.default_rng(7).random((100, 300), np.float32) < 0.3
    expected = [ttest_ind(clicks[one], clicks[~one], equal_var=False).pvalue for one in masks]
    assert a_a(clicks, 100, 7, share=0.3).pvalues == pytest.approx(expected)
    ratios = []
    for one in masks:
        arms = [Baseline.ratio(clicks[some], pages[some]) for some in (one, ~one)]
        sizes = one.sum(), (~one).sum()
        parts = np.array([arm.variance / n for arm, n in zip(arms, sizes, strict=True)])
        freedom = parts.sum() ** 2 / (parts**2 / (np.array(sizes) - 1)).sum()
        distance = abs(arms[0].value - arms[1].value) / np.sqrt(parts.sum())
        ratios.append(2 * t.sf(distance, freedom))
    assert a_a(clicks, 100, 7, per=pages, share=0.3).pvalues == pytest.approx(ratios)


def test_a_fit_metric_is_seldom_called_unfit() -> None:
    """400 metrics at 5 %: as many as chance would exceed once in a thousand, at most."""
    rng = np.random.default_rng(3)
    unfit = sum(not a_a(rng.normal(size=300), 200, one, alpha=0.05).fit for one in range(400))
    assert unfit <= binom.isf(1e-3, 400, 0.05)


def test_units_and_offsets_change_nothing() -> None:
    values = np.random.default_rng(0).exponential(size=1_000)
    plain = a_a(values, 100).pvalues
    for other in (values * 1e306, values * 1e-306, values + 1e6, -values):
        assert a_a(other, 100).pvalues == pytest.approx(plain, abs=1e-5)
    assert a_a(values, 100, per=np.full(1_000, 1e300)).pvalues == pytest.approx(plain, abs=1e-9)


def test_too_few_members_are_no_metric() -> None:
    for few in ([0.0, 1.0], [1.0, 2.0, 4.0]):
        assert not a_a(few).fit


def test_extremes_have_their_answers() -> None:
    assert power(UNIT, 1e300, (2, 2)) == pytest.approx(1.0)
    assert power(Baseline(0.0, 1e300), 1e-300, (2, 2)) == pytest.approx(0.05)
    assert power(UNIT, 100.0, (2, 2), alpha=1e-9) < 0.01
    assert power(UNIT, 1e-6, (2**53, 2**53)) == pytest.approx(1.0)
    assert size(UNIT, 1e6) == (2, 2)
    assert 0 < mde(UNIT, (2**53, 2**53), target=0.0500001) < 1e-8


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: Baseline.mean([]), "two or more"),
        (lambda: Baseline.mean([1.0]), "two or more"),
        (lambda: Baseline.mean([[1.0, 2.0]]), "one number for each"),
        (lambda: Baseline.mean([2.0, 2.0]), "members who differ"),
        (lambda: Baseline.mean([1.0, np.nan]), "finite"),
        (lambda: Baseline.mean([1.0, np.inf]), "finite"),
        (lambda: Baseline.mean([1e308, -1e308]), "finite"),
        (lambda: Baseline.proportion(0.0), "members who differ"),
        (lambda: Baseline.proportion(1.5), "members who differ"),
        (lambda: Baseline.ratio([1.0, 2.0], [1.0]), "two or more"),
        (lambda: Baseline.ratio([1.0, 2.0], [1.0, 2.0, 3.0]), "as the others have it"),
        (lambda: Baseline.ratio([1.0, 2.0], [0.0, 0.0]), "give some above 0"),
        (lambda: Baseline.ratio([1.0, 2.0], [3.0, -1.0]), "give some above 0"),
        (lambda: size(UNIT, 0.0), "least one that matters"),
        (lambda: size(UNIT, np.nan), "finite number"),
        (lambda: size(UNIT, 1e-9), "more members than"),
        (lambda: size(UNIT, 0.1, shares=(1.0,)), "two arms or more"),
        (lambda: size(UNIT, 0.1, shares=(1.0, 0.0)), "above 0"),
        (lambda: size(UNIT, 0.1, target=0.05), "power above alpha"),
        (lambda: size(UNIT, 0.1, target=1.0), "below 1"),
        (lambda: size(UNIT, 0.1, alpha=0.0), "alpha"),
        (lambda: size(UNIT, 0.1, correlation=1.0), "below 1"),
        (lambda: size(Baseline.proportion(0.9), 0.2), "give a smaller"),
        (lambda: mde(Baseline.proportion(0.9), (10, 10)), "rise of more"),
        (lambda: mde(UNIT, ()), "two arms or more"),
        (lambda: mde(UNIT, (10, 1)), "2 members at least"),
        (lambda: mde(UNIT, (10, np.nan)), "2 members at least"),
        (lambda: mde(UNIT, (10, -5)), "2 members at least"),
        (lambda: power(UNIT, np.inf, (10, 10)), "finite number"),
        (lambda: days(10, []), "one day at least"),
        (lambda: days(10, [5, np.nan]), "from 0"),
        (lambda: days(10, [5, -1]), "from 0"),
        (lambda: days(10, [5], share=0.0), "share of them"),
        (lambda: days(np.nan, [5]), "give members"),
        (lambda: a_a([1.0]), "two or more"),
        (lambda: a_a([1.0, np.nan]), "finite"),
        (lambda: a_a([3.0] * 50), "varies"),
        (lambda: a_a([0.0] * 50), "varies"),
        (lambda: a_a([1.0, 2.0], splits=10), "or more"),
        (lambda: a_a([1.0, 2.0], share=1.0), "share < 1"),
        (lambda: a_a([1.0, 2.0], members=[1]), "as the others have it"),
        (lambda: a_a([1.0, 2.0], per=[1.0, 2.0, 3.0]), "as the others have it"),
        (lambda: a_a([1.0, 2.0], per=[1.0, -2.0]), "above 0"),
        (lambda: a_a([1.0, 2.0], alpha=0.0), "alpha"),
    ],
)
def test_what_is_refused(wrong: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        wrong()
