"""The bootstrap is the plain one in distribution, and knows what hangs together."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, ks_2samp, kstest, poisson

from matinee.evaluation.intervals import bootstrap, normal
from matinee.evaluation.intervals.bootstrap import resampled_means
from matinee.evaluation.intervals.poisson_counts import poisson_tables
from matinee.evaluation.off_policy import IPS, SNIPS, Batch, Slates


@pytest.mark.parametrize("size", [3, 255, 256, 257, 700, 1024])
def test_resamples_are_those_of_a_plain_bootstrap(size: int) -> None:
    values = np.random.default_rng(size).pareto(3.0, size)
    fast = resampled_means(values[:, None], 4000, seed=1)[:, 0]
    rng = np.random.default_rng(2)
    plain = values[rng.integers(size, size=(4000, size))].mean(axis=1)
    assert ks_2samp(np.round(fast, 5), np.round(plain, 5)).pvalue > 0.01


def test_every_row_is_drawn_as_often_as_multinomial_counts() -> None:
    """Of 600 rows, some that stand first or last in their look-up, in their lane, or of all."""
    for row in (0, 3, 255, 256, 511, 512, 599):
        marked = np.arange(600) + 0.0
        column = np.where(marked == row, 1.0, 0.0)[:, None]
        other = (marked + 1.0)[:, None] / 600  # no row of it is at the median: all are drawn
        counts = resampled_means(np.hstack([column, other]), 20000, seed=row)[:, 0] * 600
        drawn = np.rint(counts)
        assert np.abs(counts - drawn).max() < 1e-3
        expected = binom.pmf(np.arange(5), 600, 1 / 600)
        seen = np.array([(drawn == times).mean() for times in range(5)])
        assert np.abs(seen - expected).max() < 0.015


def test_columns_are_of_the_same_draws() -> None:
    values = np.random.default_rng(0).normal(size=(1000, 1))
    means = resampled_means(np.hstack([values, 3 * values + 2]), 50, seed=0)
    np.testing.assert_allclose(means[:, 1], 3 * means[:, 0] + 2, atol=1e-6)


def test_tables_hold_four_independent_poisson_counts() -> None:
    (first, second), rare, cumulative = poisson_tables(0.97)
    left = 1 - len(first) / 2**16
    last = left * (1 - len(second) / 2**16) * np.diff(cumulative, prepend=0.0)
    assert 0 < left < 0.01
    chances = np.zeros((16,) * 4)
    for words, chance in ((first, 2**-16), (second, left * 2**-16), (rare, last)):
        np.add.at(chances, tuple(words.view(np.uint8).reshape(-1, 4).T), chance)
    one = poisson.pmf(np.arange(16), 0.97)
    every = np.einsum("a,b,c,d->abcd", one, one, one, one)
    np.testing.assert_allclose(chances, every, atol=1e-14, rtol=0)


def test_means_are_right_to_millionths_of_their_error() -> None:
    """Columns that tell how often each of ten values was drawn are whole numbers, and exact."""
    rng = np.random.default_rng(4)
    values, which = rng.lognormal(sigma=2.0, size=10), rng.integers(10, size=20_000)
    columns = np.column_stack([values[which], which[:, None] == np.arange(10)])
    means = resampled_means(columns, 300, seed=0)
    times = np.rint(means[:, 1:] * 20_000)
    assert (times.sum(axis=1) == 20_000).all()
    exact = times @ values / 20_000
    error = values[which].std() / np.sqrt(20_000)
    assert np.abs(means[:, 0] - exact).max() < 3e-6 * error
    assert exact.std() == pytest.approx(error, rel=0.15)


def test_weights_of_every_size_keep_their_seven_digits() -> None:
    values = np.array([1e12] + [1.0] * 300 + [2.0] * 299)
    means = resampled_means(values[:, None], 200, seed=3)[:, 0] * 600
    whole = np.rint(means / 1e12)
    assert set(whole) > {0.0, 1.0}
    without = means[whole == 0]
    assert ((without > 800) & (without < 1000)).all()


@settings(max_examples=20)
@given(st.integers(1, 600), st.integers(0, 5), st.integers(0, 3))
def test_means_lie_between_the_least_and_the_most(size: int, kinds: int, seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, kinds + 1, size).astype(float)
    means = resampled_means(values[:, None], 7, seed)
    assert means.shape == (7, 1)
    assert (means >= values.min() - 1e-6).all()
    assert (means <= values.max() + 1e-6).all()


def log(size: int, seed: int, members: int | None = None) -> Batch:
    """Decisions whose rewards hang together by member, or not where each is of its own."""
    rng = np.random.default_rng(seed)
    cluster = np.arange(size) if members is None else rng.integers(members, size=size)
    taste = rng.random(size)[cluster]
    reward = (rng.random(size) < 0.2 + 0.6 * (taste > 0.5)).astype(float)
    propensity = rng.uniform(0.2, 0.5, size)
    return Batch.of(reward, propensity, rng.uniform(0.2, 0.5, size), cluster=cluster)


@pytest.mark.parametrize("estimator", [IPS(), SNIPS()])
@pytest.mark.parametrize("members", [None, 300])
def test_it_agrees_with_the_normal_interval_where_both_hold(
    estimator: IPS | SNIPS, members: int | None
) -> None:
    batch = log(6000, 5, members)
    near = normal(estimator.add(batch).result())
    interval = bootstrap(estimator, batch, resamples=4000)
    assert interval.value == near.value
    width = near.high - near.low
    assert interval.low == pytest.approx(near.low, abs=0.05 * width)
    assert interval.high == pytest.approx(near.high, abs=0.05 * width)


def test_resamples_of_clusters_are_those_of_a_plain_clustered_bootstrap() -> None:
    batch = log(900, 8, members=100)
    terms, members = SNIPS().terms(batch), np.unique(batch.cluster)
    rng = np.random.default_rng(9)
    rows = {member: np.flatnonzero(batch.cluster == member) for member in members}
    plain = []
    for _ in range(2000):
        drawn = np.concatenate([rows[m] for m in rng.choice(members, len(members))])
        plain.append(terms[drawn, 0].sum() / terms[drawn, 1].sum())
    interval = bootstrap(SNIPS(), batch, resamples=4000, alpha=0.2)
    shares = [np.mean(np.array(plain) < end) for end in (interval.low, interval.high)]
    assert shares == pytest.approx([0.1, 0.9], abs=0.03)


def test_rows_that_hang_together_make_it_wider() -> None:
    clustered = log(6000, 6, members=150)
    alone = Batch.of(clustered.reward, clustered.propensity, clustered.target)
    wide, narrow = bootstrap(IPS(), clustered), bootstrap(IPS(), alone)
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


def test_what_the_estimator_has_seen_does_not_count_and_seeds_do() -> None:
    batch = log(500, 7)
    assert bootstrap(IPS().add(log(50, 1)), batch) == bootstrap(IPS(), batch)
    assert bootstrap(IPS(), batch, seed=1) != bootstrap(IPS(), batch, seed=2)


def test_hard_cases() -> None:
    none = bootstrap(IPS(), Batch.of([], [], []))
    assert np.isnan([none.value, none.low, none.high]).all()
    one = bootstrap(SNIPS(), Batch.of([0.7], [0.5], [0.25]))
    assert (one.low, one.high) == pytest.approx((0.7, 0.7))
    same = bootstrap(SNIPS(), Batch.of([0.5] * 1000, [0.5] * 1000, [0.2, 0.7] * 500))
    assert (same.low, same.high) == pytest.approx((0.5, 0.5), abs=1e-6)
    never = bootstrap(SNIPS(), Batch.of([1.0, 1.0], [0.5, 0.5], [0.0, 0.0]))
    assert np.isnan([never.value, never.low, never.high]).all()
    with pytest.raises(ValueError, match="alpha"):
        bootstrap(IPS(), log(5, 0), alpha=2)


@pytest.mark.parametrize("resamples", [0, 1, -5, 2.5, "1000", None])
def test_resamples_are_two_or_more(resamples: Any) -> None:
    with pytest.raises(ValueError, match="resamples must be a whole number of at least 2"):
        bootstrap(IPS(), log(5, 0), resamples=resamples)


def test_slates_are_no_batch() -> None:
    slates = Slates.of([[1.0]], [[0.5]], [[0.5]])
    with pytest.raises(TypeError, match="give a Batch"):
        bootstrap(IPS(), slates)  # type: ignore[arg-type]


@pytest.mark.parametrize("members", [None, 40])
def test_rounding_carries_no_end_beyond_the_terms(members: int | None) -> None:
    """Few rewards, none below 0: many resamples have none, and a mean of exactly 0."""
    rng = np.random.default_rng(3)
    cluster = np.arange(401) if members is None else np.sort(rng.integers(members, size=401))
    for place in range(0, 401, 50):
        reward = np.where(np.arange(401) == place, 1.0, 0.0)
        log = Batch.of(reward, np.full(401, 0.5), rng.uniform(0.1, 0.4, 401), cluster=cluster)
        interval = bootstrap(IPS(), log, resamples=200, seed=place)
        assert interval.low == 0.0
        assert 0.0 < interval.high < 0.1


def test_huge_weights_give_no_warning_and_no_number_that_is_none() -> None:
    rare = Batch.of([1.0, 1.0, 0.0], [1e-300, 0.5, 0.5], [1.0, 0.5, 0.5])
    interval = bootstrap(IPS(), rare, resamples=50)
    assert 0.0 <= interval.low <= interval.value <= interval.high < np.inf
    beyond = Batch.of([1e100, 1.0], [1e-300, 0.5], [1.0, 0.5])
    none = bootstrap(IPS(), beyond, resamples=50)
    assert np.isnan([none.low, none.high]).all()


@pytest.mark.slow
def test_it_covers_95_percent_under_a_fixed_logger_with_members() -> None:
    covered, rng = 0, np.random.default_rng(11)
    for repetition in range(600):
        member = np.repeat(np.arange(200), 5)
        taste = rng.uniform(0.3, 0.7, 200)[member]
        action = rng.integers(2, size=1000)
        reward = (rng.random(1000) < np.where(action == 0, taste, 0.5)).astype(float)
        batch = Batch.of(reward, np.full(1000, 0.5), np.array([0.8, 0.2])[action], cluster=member)
        interval = bootstrap(IPS(), batch, resamples=500, seed=repetition)
        covered += interval.low <= 0.5 <= interval.high
    assert 0.92 <= covered / 600 <= 0.98


@pytest.mark.slow
def test_means_are_normal_about_the_mean_in_a_large_log() -> None:
    values = np.random.default_rng(0).random(100_000)
    means = resampled_means(values[:, None], 4000, seed=0)[:, 0]
    z = (means - values.mean()) / (values.std() / np.sqrt(len(values)))
    assert kstest(z, "norm").pvalue > 0.01
