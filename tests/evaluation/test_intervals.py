"""Intervals for one look: known answers, their range, and how often they miss."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from matinee.evaluation.intervals import Interval, empirical_bernstein, normal
from matinee.evaluation.off_policy import IPS, Batch, Value


def test_normal_is_the_value_and_its_error_times_a_quantile() -> None:
    interval = normal(Value(2.0, 0.5, decisions=10, clusters=10), alpha=0.1)
    assert interval.low == pytest.approx(2.0 - 0.5 * 1.6448536269514722)
    assert interval.high == pytest.approx(2.0 + 0.5 * 1.6448536269514722)
    assert (interval.value, interval.level, interval.method) == (2.0, 0.9, "normal")


def test_normal_of_one_decision_says_nothing() -> None:
    interval = normal(IPS().add(Batch.of([1.0], [0.5], [0.5])).result())
    assert np.isnan([interval.low, interval.high]).all()


def test_empirical_bernstein_by_hand() -> None:
    interval = empirical_bernstein([1.0, 2.0, 3.0, 2.0] * 100, 0.0, 4.0, alpha=0.1)
    log = np.log(40)
    reach = np.sqrt(2 * (200 / 399) * log / 400) + 7 * 4 * log / (3 * 399)
    assert interval.low == pytest.approx(2.0 - reach, rel=1e-12)
    assert interval.high == pytest.approx(2.0 + reach, rel=1e-12)
    assert (interval.value, interval.level) == (2.0, 0.9)


@given(st.lists(st.floats(-2, 3), max_size=40), st.floats(0.001, 0.5))
def test_empirical_bernstein_stays_in_the_range_around_the_mean(
    terms: list[float], alpha: float
) -> None:
    interval = empirical_bernstein(terms, -2, 3, alpha=alpha)
    assert -2 <= interval.low <= interval.high <= 3
    if terms:
        assert interval.low - 1e-9 <= interval.value <= interval.high + 1e-9
        assert interval.value == pytest.approx(np.mean(terms), abs=1e-12)


@pytest.mark.parametrize("terms", [[], [0.5]])
def test_empirical_bernstein_of_less_than_two_is_the_whole_range(terms: list[float]) -> None:
    interval = empirical_bernstein(terms, 0.0, 1.0)
    assert (interval.low, interval.high) == (0.0, 1.0)


def test_clusters_are_the_units() -> None:
    terms, cluster = [0.0, 1.0, 1.0, 1.0, 0.0, 0.5], [7, 7, 3, 3, 3, 5]
    by_cluster = empirical_bernstein(terms, 0.0, 1.0, cluster=cluster)
    assert by_cluster == empirical_bernstein([2 / 3, 0.5, 0.5], 0.0, 1.0)


def test_clusters_are_whole_and_one_for_each_term() -> None:
    with pytest.raises(ValueError, match=r"cluster must be a whole number .*; row 0 has 0\.2"):
        empirical_bernstein([0.0, 1.0], 0.0, 1.0, cluster=[0.2, 0.9])
    with pytest.raises(ValueError, match=r"cluster has shape \(1,\); give \(2,\)"):
        empirical_bernstein([0.0, 1.0], 0.0, 1.0, cluster=[1])


def test_terms_outside_the_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"terms must be in \[0.0, 1.0\]; row 1 has 2.0"):
        empirical_bernstein([0.0, 2.0], 0.0, 1.0)
    with pytest.raises(ValueError, match="low must be below high"):
        empirical_bernstein([0.0], 1.0, 1.0)


@pytest.mark.parametrize("alpha", [0.0, 1.0, float("nan"), 1e-20])
def test_alpha_is_a_chance(alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha must be above 0 and below 1"):
        normal(Value(0.0, 1.0, 2, 2), alpha)
    with pytest.raises(ValueError, match="alpha must be above 0 and below 1"):
        empirical_bernstein([0.0], 0.0, 1.0, alpha=alpha)


def test_ends_that_cross_are_refused() -> None:
    with pytest.raises(ValueError, match=r"low must be at most high, got 0\.05 and 0\.01"):
        Interval(0.03, 0.05, 0.01, 0.95, "normal")
    nan = float("nan")
    for low, high in ((0.5, 0.5), (nan, nan), (nan, 1.0), (-np.inf, np.inf)):
        assert Interval(0.5, low, high, 0.95, "normal").level == 0.95


@pytest.mark.parametrize("level", [95, 1.0, 0.0, -0.5, float("nan")])
def test_a_level_is_a_chance(level: float) -> None:
    with pytest.raises(ValueError, match="level must be above 0 and below 1"):
        Interval(0.0, -1.0, 1.0, level, "normal")


def coverage(intervals: list[Interval], truth: float) -> int:
    return sum(i.low <= truth <= i.high for i in intervals)


def fixed_logger(repetitions: int, size: int, seed: int) -> list[Batch]:
    """Logs of a fixed uniform policy over two actions; the candidate's value is 0.56."""
    rng = np.random.default_rng(seed)
    action = rng.integers(2, size=(repetitions, size))
    reward = (rng.random((repetitions, size)) < np.array([0.6, 0.4])[action]).astype(float)
    target = np.array([0.8, 0.2])[action]
    return [Batch.of(r, np.full(size, 0.5), t) for r, t in zip(reward, target, strict=True)]


def test_under_a_fixed_logger_both_hold_at_one_look() -> None:
    logs = fixed_logger(1000, 400, seed=1)
    normals = [normal(IPS().add(log).result()) for log in logs]
    bernsteins = [empirical_bernstein(IPS().terms(log)[:, 0], 0.0, 1.6) for log in logs]
    low, high = binom.ppf([0.005, 0.995], 1000, 0.95)
    assert low <= coverage(normals, 0.56) <= high
    assert coverage(bernsteins, 0.56) >= low


@pytest.mark.slow
def test_normal_covers_95_percent_under_a_fixed_logger() -> None:
    logs = fixed_logger(5000, 1000, seed=2)
    covered = coverage([normal(IPS().add(log).result()) for log in logs], 0.56)
    assert 0.94 <= covered / 5000 <= 0.96
