"""Arms and effects: against scipy, brute force and simulation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps
from scipy.optimize import brentq, minimize
from scipy.stats import norm, ttest_ind, ttest_ind_from_stats

from matinee.experiments.arms import Arm
from matinee.experiments.effects import compare, fixed

ROWS = nps.arrays(
    np.float64,
    st.tuples(st.integers(0, 30), st.just(2)),
    elements=st.floats(-1e6, 1e6, allow_subnormal=False),
)


def column(values: Any) -> Arm:
    return Arm.of(np.asarray(values, float)[:, None])


@given(ROWS, ROWS, ROWS)
def test_parts_in_any_order_are_the_whole(a: Any, b: Any, c: Any) -> None:
    whole = np.concatenate([a, b, c])
    parts = [Arm.of(rows) for rows in (a, b, c)]
    for merged in (parts[0] + parts[1] + parts[2], parts[2] + (parts[0] + parts[1])):
        assert merged.units == len(whole)
        if len(whole):
            np.testing.assert_allclose(merged.means, whole.mean(axis=0), rtol=1e-12, atol=1e-9)
        if len(whole) > 1:
            scale = max(1.0, float(np.abs(whole).max())) ** 2
            found, known = merged.covariance, np.cov(whole, rowvar=False)
            np.testing.assert_allclose(found, known, atol=1e-12 * scale)


@pytest.mark.parametrize("offset", [0.0, 1e9, -1e13])
def test_offsets_cost_no_digits(offset: float) -> None:
    """Multiples of 1/64 are exact next to 1e13, so the variance must not know the offset."""
    values = np.random.default_rng(0).integers(0, 640, 10_000) / 64
    merged = column(values[:3_000] + offset) + column(values[3_000:] + offset)
    assert merged.covariance[0, 0] == pytest.approx(values.var(ddof=1), rel=1e-4)
    alone = column(values + offset).covariance[0, 0]
    assert alone == pytest.approx(values.var(ddof=1), rel=1e-12)


def test_what_is_constant_has_no_variance() -> None:
    assert column(np.full(1_001, 0.1 + 1e10)).covariance[0, 0] == 0.0


def test_published_figures_are_those_of_the_rows() -> None:
    rows = np.random.default_rng(1).lognormal(size=(50, 3))
    arm = Arm.of(rows)
    again = Arm.published(50, rows.mean(axis=0), np.cov(rows, rowvar=False))
    np.testing.assert_allclose(again.means, arm.means)
    np.testing.assert_allclose(again.spread, arm.spread)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Arm.of([1.0, 2.0]), r"give \[N, C\]"),
        (lambda: Arm.of(np.zeros((3, 0))), r"give \[N, C\]"),
        (lambda: Arm.of([[1.0], [np.nan]]), "row 1 has nan"),
        (lambda: Arm.of([[1.0, np.inf]]), "row 0 has inf in column 1"),
        (lambda: Arm.of([[1e200], [-1e200]]), "finite"),
        (lambda: Arm.published(-1, 0.0, 1.0), "units must be"),
        (lambda: Arm.published(2.5, 0.0, 1.0), "units must be"),  # type: ignore[arg-type]
        (lambda: Arm.published(2**60, 0.0, 1.0), "units must be"),
        (lambda: Arm.published(5, np.nan, 1.0), "finite"),
        (lambda: Arm.published(5, 0.0, np.nan), "finite"),
        (lambda: Arm.published(5, 0.0, -1.0), "none below 0"),
        (lambda: Arm.published(5, [0.0, 0.0], [[1.0, 2.0], [2.0, 1.0]]), "none below 0"),
        (lambda: Arm.published(5, [0.0, 0.0], [[1.0, 0.5], [0.0, 1.0]]), "symmetric"),
        (lambda: Arm.published(5, [0.0, 0.0], 1.0), r"their square"),
        (lambda: Arm.of([[1.0]]) + Arm.of([[1.0, 2.0]]), "columns"),
        (lambda: compare(Arm.of([[1.0]]), Arm.of([[1.0, 2.0]])), "columns"),
        (lambda: compare(Arm.of([[1.0]]), Arm.of([[1.0]]), per=1), "columns are"),
        (lambda: compare(Arm.of([[1.0]]), Arm.of([[1.0]]), adjust=[0]), "columns are"),
        (lambda: compare(Arm.of([[1.0]]), Arm.of([[1.0]]), column=-1), "columns are"),
        (lambda: fixed(compare(column([1, 2]), column([1, 3])), alpha=1.0), "alpha"),
    ],
)
def test_what_is_refused(make: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make()


@given(
    st.integers(2, 10**7),
    st.integers(2, 10**7),
    st.floats(-100, 100),
    st.floats(1e-3, 1e3),
    st.floats(1e-3, 1e3),
)
def test_one_look_is_the_test_of_welch(n: int, m: int, mean: float, v: float, w: float) -> None:
    interval, pvalue = fixed(compare(Arm.published(n, mean, v), Arm.published(m, 1.0, w)), 0.1)
    known = ttest_ind_from_stats(mean, v**0.5, n, 1.0, w**0.5, m, equal_var=False)
    assert pvalue == pytest.approx(known.pvalue, abs=1e-9, rel=1e-6)
    ends = known.statistic, (mean - 1.0) / (v / n + w / m) ** 0.5
    assert ends[0] == pytest.approx(ends[1])
    assert (pvalue <= 0.1) == (not interval.low <= 0.0 <= interval.high)


def test_the_interval_is_that_of_scipy() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(1, 3, 12), rng.normal(0, 1, 7)
    known = ttest_ind(a, b, equal_var=False).confidence_interval(0.99)
    interval, _ = fixed(compare(column(a), column(b)), 0.01)
    assert (interval.low, interval.high) == pytest.approx((known.low, known.high), abs=1e-9)
    assert interval.value == pytest.approx(a.mean() - b.mean())


def test_an_effect_knows_its_units() -> None:
    effect = compare(Arm.published(100, 3.0, 4.0), Arm.published(300, 1.0, 6.0))
    assert (effect.value, effect.units, effect.variances) == (2.0, (100, 300), (4.0, 6.0))
    assert effect.error**2 == pytest.approx(4 / 100 + 6 / 300)
    assert effect.variance == pytest.approx(400 * (4 / 100 + 6 / 300))


@pytest.mark.parametrize("adjust", [[], [2]])
def test_a_ratio_has_the_error_of_its_residuals(adjust: list[int]) -> None:
    """The delta method is the variance of y - R n, per mean n; and the bootstrap agrees."""
    rng = np.random.default_rng(3)
    eager = rng.gamma(2.0, 1.0, (2, 2_000))
    plays = 1 + rng.poisson(3 * eager)
    minutes = rng.gamma(plays * eager, 10.0)
    rows = np.stack([minutes, plays, eager], axis=-1)
    effect = compare(Arm.of(rows[0]), Arm.of(rows[1]), per=1, adjust=adjust)
    ratios = minutes.sum(axis=1) / plays.sum(axis=1)
    if not adjust:
        rest = minutes - ratios[:, None] * plays
        known = rest.var(axis=1, ddof=1) / plays.mean(axis=1) ** 2
        assert effect.value == pytest.approx(ratios[0] - ratios[1])
        assert effect.variances == pytest.approx(known)
    drawn = [
        compare(*(Arm.of(arm[rng.integers(0, 2_000, 2_000)]) for arm in rows), per=1, adjust=adjust)
        for _ in range(1_000)
    ]
    # The standard deviation of 1,000 draws is within 2.2 % two thirds of the time.
    assert np.std([one.value for one in drawn]) == pytest.approx(effect.error, rel=0.09)


def test_a_lift_is_what_the_difference_allows() -> None:
    """Ends of Fieller's interval by root finding; its error by the delta method, written out."""
    n, m, a, b, v, w = 40, 60, 5.0, 4.0, 30.0, 20.0
    effect = compare(Arm.published(n, a, v), Arm.published(m, b, w), relative=True)
    assert effect.value == pytest.approx(a / b - 1)
    assert effect.error**2 == pytest.approx(v / n / b**2 + a**2 * w / m / b**4)

    def away(r: float, z: float) -> float:
        return abs(a - (1 + r) * b) / (v / n + (1 + r) ** 2 * w / m) ** 0.5 - z

    low, high = effect.within(1.7)
    assert low == pytest.approx(brentq(away, -1.0, 0.25, args=(1.7,)))
    assert high == pytest.approx(brentq(away, 0.25, 5.0, args=(1.7,)))
    plain = compare(Arm.published(n, a, v), Arm.published(m, b, w))
    assert effect.far == pytest.approx(plain.far)
    assert effect.variances == pytest.approx((v / b**2, w / b**2))
    assert fixed(effect)[1] == pytest.approx(fixed(plain)[1])


@pytest.mark.parametrize("adjust", [[], [1]])
def test_a_lift_of_a_huge_count_keeps_its_digits(adjust: list[int]) -> None:
    """With 10^13 units the ends are those of the delta method, to a millionth of the reach."""
    cov, n = [[4.0, 1.0], [1.0, 2.0]], 10**13
    arms = [Arm.published(n, [mean, 0.0], cov) for mean in (1.5e6, -1e6)]
    effect = compare(arms[0], arms[1], relative=True, adjust=adjust)
    assert effect.value == pytest.approx(-2.5)
    low, high = effect.within(2.0)
    assert high - effect.value == pytest.approx(2 * effect.error, rel=1e-3)
    assert effect.value - low == pytest.approx(2 * effect.error, rel=1e-3)


def test_a_lift_over_next_to_nothing_may_be_anything() -> None:
    effect = compare(Arm.published(50, 5.0, 4.0), Arm.published(50, 0.1, 4.0), relative=True)
    interval, pvalue = fixed(effect)
    assert (interval.low, interval.high) == (-np.inf, np.inf)
    assert pvalue < 1e-6  # the difference from the control is beyond doubt all the same


@pytest.mark.parametrize("sizes", [(300, 300), (100, 900)])
def test_theta_has_the_least_variance(sizes: tuple[int, int]) -> None:
    """Held against a numerical search over all thetas."""
    rng = np.random.default_rng(4)
    rows = []
    for size, slope in zip(sizes, (2.0, 0.5), strict=True):
        x = rng.normal(size=(size, 2)) @ np.array([[1.0, 0.6], [0.0, 0.8]])
        rows.append(np.column_stack([slope * x[:, 0] - x[:, 1] + rng.normal(size=size), x]))
    effect = compare(Arm.of(rows[0]), Arm.of(rows[1]), adjust=[1, 2])

    def variance(theta: Any) -> float:
        rest = [arm[:, 0] - arm[:, 1:] @ theta for arm in rows]
        return float(sum(one.var(ddof=1) / len(one) for one in rest))

    best = minimize(variance, np.zeros(2), tol=1e-12)
    n = sum(sizes)
    assert effect.error**2 == pytest.approx(best.fun * (n - 2) / (n - 4), rel=1e-6)
    means = [arm.mean(axis=0) for arm in rows]
    apart = means[0] - means[1]
    assert effect.value == pytest.approx(apart[0] - apart[1:] @ best.x, rel=1e-4)
    assert effect.removed == pytest.approx(
        1 - (effect.error / compare(*map(Arm.of, rows)).error) ** 2
    )


def test_it_comes_to_the_regression_of_lin_and_beats_pooling() -> None:
    """Uneven shares and slopes: within a hundredth of an error of ordinary least squares with
    centred interactions, where CUPED with pooled theta has a larger one than no adjustment.
    """
    rng = np.random.default_rng(5)
    treated = np.repeat([True, False], [2_000, 18_000])
    x = rng.normal(size=20_000)
    y = np.where(treated, -0.5, 3.0) * x + rng.normal(size=20_000)
    arms = [Arm.of(np.column_stack([y, x])[who]) for who in (treated, ~treated)]
    effect = compare(arms[0], arms[1], adjust=[1])
    centred = x - x.mean()
    design = np.column_stack([np.ones_like(x), treated, centred, treated * centred])
    lin = np.linalg.lstsq(design, y, rcond=None)[0][1]
    assert abs(effect.value - lin) < 0.05 * effect.error
    pooled = sum(arm.spread[0, 1] for arm in arms) / sum(arm.spread[1, 1] for arm in arms)
    rest = [(y - pooled * x)[who] for who in (treated, ~treated)]
    loss = sum(one.var(ddof=1) / len(one) for one in rest)
    assert effect.error**2 < compare(arms[0], arms[1]).error ** 2 < loss


def test_adjustment_takes_away_the_square_of_the_correlation() -> None:
    rng = np.random.default_rng(6)
    cov = [[1.0, 0.8], [0.8, 1.0]]
    arms = [Arm.of(rng.multivariate_normal([0, 0], cov, 50_000)) for _ in range(2)]
    assert compare(arms[0], arms[1], adjust=[1]).removed == pytest.approx(0.64, abs=0.01)


@given(st.floats(1e-6, 1e6), st.floats(-1e3, 1e3), st.booleans())
def test_units_of_covariates_do_not_matter(scale: float, shift: float, relative: bool) -> None:
    rng = np.random.default_rng(7)
    x = rng.normal(size=(2, 40))
    y = 5 + x + rng.normal(size=(2, 40))
    twice = np.stack([y, x, scale * x + shift * scale, np.ones_like(x)], axis=-1)
    arms = [Arm.of(rows) for rows in twice]
    one = compare(arms[0], arms[1], relative=relative, adjust=[1])
    other = compare(arms[0], arms[1], relative=relative, adjust=[2])
    assert other.value == pytest.approx(one.value, rel=1e-6)
    assert other.error == pytest.approx(one.error, rel=1e-6)
    # What hangs together, or is constant, adds nothing but the degrees that it is charged for.
    both = compare(arms[0], arms[1], adjust=[1, 2, 3])
    alone = compare(arms[0], arms[1], adjust=[1])
    assert both.value == pytest.approx(alone.value, rel=1e-6)
    assert both.error == pytest.approx(alone.error * (77 / 75) ** 0.5, rel=1e-6)


def test_intervals_hold_as_often_as_they_say() -> None:
    """95 % of 2,000 experiments, each way; by chance at most 2.2 % off once in 100,000."""
    rng = np.random.default_rng(8)
    truth = {"plain": 0.5, "lift": 0.25, "adjusted": 0.5, "adjusted lift": 0.25}
    held = dict.fromkeys(truth, 0)
    for _ in range(2_000):
        x = rng.normal(size=(2, 200))
        y = 2.0 + x + rng.normal(size=(2, 200))
        y[0] += 0.5 + 0.5 * x[0]
        arms = [Arm.of(np.column_stack(rows)) for rows in zip(y, x, strict=True)]
        for name, value in truth.items():
            adjust = [1] if "adjusted" in name else []
            effect = compare(arms[0], arms[1], relative="lift" in name, adjust=adjust)
            interval, _ = fixed(effect)
            held[name] += interval.low <= value <= interval.high
    for count in held.values():
        assert count / 2_000 == pytest.approx(
            0.95, abs=norm.isf(5e-6) * (0.95 * 0.05 / 2_000) ** 0.5
        )


@pytest.mark.parametrize("settings", [{}, {"relative": True}, {"per": 1}, {"adjust": [1]}])
@pytest.mark.parametrize(
    "rows",
    [
        np.zeros((0, 2)),
        np.ones((1, 2)),
        np.zeros((500, 2)),
        np.ones((500, 2)),
        np.tile([[0.0, 1.0]], (3, 1)),
    ],
)
def test_without_an_error_nothing_is_said(rows: Any, settings: dict[str, Any]) -> None:
    arm = Arm.of(rows)
    effect = compare(arm, arm, **settings)
    interval, pvalue = fixed(effect)
    assert (interval.low, interval.high, pvalue) == (-np.inf, np.inf, 1.0)
    assert not effect.telling


def test_what_never_varies_has_a_lift_all_the_same() -> None:
    effect = compare(column([2.0, 2.0]), column([1.0, 1.0]), relative=True)
    assert (effect.value, effect.telling) == (1.0, False)
    assert np.isnan(compare(column([2.0, 1.0]), column([1.0, -1.0]), relative=True).value)


def test_one_arm_that_varies_is_enough() -> None:
    effect = compare(column([1.0, 2.0, 4.0]), column([0.0, 0.0, 0.0]))
    known = ttest_ind([1.0, 2.0, 4.0], [0.0] * 3, equal_var=False)
    assert fixed(effect)[1] == pytest.approx(known.pvalue, abs=1e-12)
