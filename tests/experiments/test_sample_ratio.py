"""The sample-ratio check: known answers, honest rates, and the weeks that are known to be bad."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.stats import kstest

from matinee.experiments import irregular, sample_ratio, sample_ratio_anytime


def test_known_answers() -> None:
    """chi-square 16 with one degree of freedom, and 6 with two."""
    assert sample_ratio([5_200, 4_800]) == pytest.approx(6.334e-5, rel=1e-3)
    assert sample_ratio([130, 100, 70], shares=[0.4, 0.4, 0.2]) == pytest.approx(
        np.exp(-(100 / 120 + 400 / 120 + 100 / 60) / 2)
    )
    assert sample_ratio([0, 0]) == 1.0


def test_few_units_are_counted_exactly() -> None:
    """All 8 units in one of two arms: one chance in 128. Of 10 each in expectation, 19 or more in
    one arm: 42 in 2^20, where chi-square would say 57.
    """
    assert sample_ratio([8, 0]) == pytest.approx(2 / 256, abs=0.001)
    assert sample_ratio([4, 4]) == 1.0
    assert sample_ratio([1, 19]) == pytest.approx(42 / 2**20, abs=3e-5)


def test_shares_of_any_unit() -> None:
    assert sample_ratio([1_000, 10], shares=[1e308, 1e308]) < 1e-4


@pytest.mark.parametrize(("units", "shares"), [(10_000, [1, 1]), (2_000, [5, 3, 1])])
def test_without_anything_wrong_all_values_are_alike_likely(units: int, shares: list[int]) -> None:
    planned = np.array(shares) / np.sum(shares)
    counts = np.random.default_rng(0).multinomial(units, planned, 2_000)
    assert kstest([sample_ratio(row, shares) for row in counts], "uniform").pvalue > 1e-3


@pytest.mark.parametrize(
    "wrong",
    [
        {"counts": [5]},
        {"counts": [[1, 2], [3, 4]]},
        {"counts": [1, -1]},
        {"counts": [1.5, 2]},
        {"counts": [np.nan, 2]},
        {"counts": [1, 2], "shares": [1, 0]},
        {"counts": [1, 2], "shares": [1]},
        {"counts": [1, 2], "shares": [1, np.inf]},
        {"counts": [10.0**19, 3]},
    ],
)
def test_what_cannot_be_counts_or_shares(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"give|counts|shares"):
        sample_ratio(**wrong)


def test_a_period_is_seldom_named_wrongly() -> None:
    """300 services of 50 weeks with 20 sound experiments each: three are expected to name any."""
    rng = np.random.default_rng(0)
    weeks = np.repeat(np.arange(50), 20).tolist()
    wrong = sum(bool(irregular(weeks, rng.random(1_000))) for _ in range(300))
    assert wrong <= 9


def test_one_broken_experiment_condemns_no_period() -> None:
    assert irregular(["a"], [1e-9]) == []
    assert irregular(["a", "b", "c"], [1e-9, 0.5, 0.4], level=1e-3) == []
    assert irregular(["a", "a", "b"], [1e-9, 1e-9, 0.4]) == ["a"]


def test_no_experiments_no_periods() -> None:
    assert irregular([], []) == []
    with pytest.raises(ValueError, match="one p-value"):
        irregular(["a"], [0.1, 0.2])


@pytest.mark.data
def test_the_badly_randomised_weeks_of_upworthy_are_found() -> None:
    """The archive's authors name July 2013 to January 2014, weeks 201325 to 201402. The check finds
    all but the last, in which 4 of 29 tests have a value below 0.01, and one more, in which 3 of 9
    have.
    """
    path = Path(os.environ.get("MATINEE_DATA") or "/nowhere") / "upworthy" / "upworthy.parquet"
    if not path.exists():
        pytest.skip("needs upworthy under MATINEE_DATA")
    tests = (
        pl.read_parquet(path)
        .group_by("clickability_test_id", maintain_order=True)
        .agg(pl.col("test_week").first(), "impressions")
        .filter(pl.col("impressions").list.len() > 1)
    )
    values = [sample_ratio(counts) for counts in tests["impressions"].to_list()]
    weeks = irregular(tests["test_week"].to_list(), values)
    bad = set(tests["test_week"].filter(tests["test_week"].is_between(201325, 201402)).to_list())
    assert set(weeks) - bad == {201419}
    assert bad - set(weeks) == {201402}


def test_looking_at_fair_arms_every_day_calls_few_of_them_uneven():
    """2,000 experiments of 60 looks at a level of 1 %: at most 1 % are ever below it."""
    rng = np.random.default_rng(3)
    daily = rng.multinomial(50, [0.8, 0.2], (2_000, 60)).cumsum(axis=1)
    ever = sum(
        min(sample_ratio_anytime(counts, [4, 1]) for counts in looks) < 0.01 for looks in daily
    )
    assert ever <= 32  # 20 expected at most, and 2.7 standard deviations
    once = sum(min(sample_ratio(c, [4, 1]) for c in looks[::6]) < 0.01 for looks in daily[:300])
    assert once > 6  # one look's test is wrong more often, here in twice as many or more


def test_arms_that_lose_members_are_found_and_found_for_good():
    rng = np.random.default_rng(4)
    counts = rng.multinomial(200, [0.45, 0.55], 60).cumsum(axis=0)
    values = [sample_ratio_anytime(one) for one in counts]
    assert values[-1] < 1e-6
    assert sample_ratio_anytime([0, 0]) == 1.0
