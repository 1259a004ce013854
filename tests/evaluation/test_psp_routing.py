"""The benchmark on card payments: purchases, windows and ratios are what they say."""

import os
from datetime import datetime, timedelta
from importlib import import_module
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2_contingency

from matinee.evaluation.off_policy import IPS, SNIPS, Batch, PerDecisionIS, SequentialDR

DATA = Path(os.environ.get("MATINEE_DATA", "")) / "psp"
BEGIN = datetime(2019, 1, 1)


@pytest.fixture(scope="module", autouse=True)
def benchmark():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2])
        yield import_module("benchmarks.psp")


def frame(rows):
    """Attempts (second, card, success, processor) of 99 EUR in Austria."""
    return pl.DataFrame(
        {
            "at": [BEGIN + timedelta(seconds=second) for second, *_ in rows],
            "country": ["Austria"] * len(rows),
            "amount": [99] * len(rows),
            "secure": [0] * len(rows),
            "card": [card for _, card, *_ in rows],
            "success": [success for _, _, success, _ in rows],
            "processor": [processor for *_, processor in rows],
        },
        schema_overrides={"at": pl.Datetime("us"), "amount": pl.Int64, "success": pl.Boolean},
    )


def plain(rows):
    return frame([(second, card, success, "Goldcard") for second, card, success in rows])


def test_tries_follow_within_a_minute_until_one_succeeds(benchmark):
    rows = [
        (0, "Visa", False),
        (60, "Visa", False),  # a minute later: the same
        (70, "Master", False),  # another's
        (100, "Visa", True),
        (110, "Visa", False),  # paid before: a new one
        (171, "Visa", False),  # 61 seconds
    ]
    found = benchmark.purchases(plain(rows))
    assert found["purchase"].to_list() == [0, 0, 1, 0, 2, 3]
    assert found["number"].to_list() == [0, 1, 0, 2, 0, 0]
    assert benchmark.unclear(found) == {"after a success": 1, "by another card or 3D": 1}


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 400), st.sampled_from(["Visa", "Master"]), st.booleans()),
        min_size=1,
        max_size=30,
    )
)
def test_purchases_are_those_of_a_plain_loop(rows):
    rows = sorted(rows, key=lambda row: row[0])
    last: dict[str, tuple[int, bool, int, int]] = {}
    expected, begun = [], 0
    for second, card, success in rows:
        before, paid, purchase, number = last.get(card, (-1_000, True, 0, 0))
        if paid or second - before > 60:
            purchase, number, begun = begun, -1, begun + 1
        last[card] = (second, success, purchase, number + 1)
        expected.append((purchase, number + 1))
    found = import_module("benchmarks.psp").purchases(plain(rows))
    assert list(found.select("purchase", "number").iter_rows()) == expected


def test_a_log_holds_the_tries_of_each_purchase(benchmark):
    rows = [
        (0, "Visa", False, "UK_Card"),
        (9, "Master", True, "Goldcard"),
        (20, "Visa", True, "Moneycard"),
    ]
    log = benchmark.Log.of(benchmark.purchases(frame(rows)))
    assert log.taken.tolist() == [[True, True], [True, False]]
    assert log.action[log.taken].tolist() == [3, 1, 0]
    assert log.net[log.taken].tolist() == [-1, 99 - 5, 99 - 10]
    assert log.shares().tolist() == [[0.5, 0, 0, 0.5], [0, 1, 0, 0]]


def test_a_window_sees_what_came_before_the_purchase(benchmark):
    rows = [
        (0, "Visa", False, "Goldcard"),
        (30, "Visa", False, "Goldcard"),  # a retry: no window is read
        (100, "Visa", True, "UK_Card"),
        (200, "Visa", True, "Goldcard"),
        (300, "Visa", False, "Goldcard"),
    ]
    found = benchmark.policies.window_rates(benchmark.purchases(frame(rows)), size=2)
    assert found.tolist() == [
        [1.0, 1.0, 1.0, 1.0],
        [0.0, 1.0, 1.0, 1.0],
        [0.0, 1.0, 1.0, 1.0],
        [0.5, 1.0, 1.0, 1.0],
    ]


def test_a_blind_mix_keeps_the_floor_at_the_least_fees(benchmark):
    rates = np.array([0.4, 0.2, 0.16, 0.2])
    mix = benchmark.policies.blind_mix(rates, 0.95)
    assert mix.sum() == pytest.approx(1)
    assert mix @ rates == pytest.approx(0.95 * 0.4)
    fees = benchmark.policies.fee(rates)
    others = [0.9, 0.1] @ np.array([[1, 0, 0, 0], [0, 1, 0, 0]])  # the floor by Moneycard
    assert others @ rates == pytest.approx(0.95 * 0.4)
    assert mix @ fees < others @ fees


def test_independence_is_tested_within_strata(benchmark):
    rng = np.random.default_rng(0)
    columns = {"a": rng.integers(0, 3, 900), "b": rng.integers(0, 2, 900), "c": ["x"] * 900}
    one = pl.DataFrame(columns)
    log = import_module("benchmarks.psp_log")
    table = one.group_by("a", "b").len().pivot("b", index="a", values="len").drop("a")
    expected = chi2_contingency(table.to_numpy(), correction=False).pvalue
    assert log.independent(one, "a", "b") == pytest.approx(expected)
    assert log.independent(one, "a", "b", "c") == pytest.approx(expected)
    alike = pl.DataFrame({"c": columns["b"], "a": columns["b"], "b": columns["b"]})
    assert log.independent(alike, "a", "b") < 1e-9
    assert log.independent(alike, "a", "b", "c") == 1.0  # within a stratum nothing varies


def test_a_ratio_to_the_mean_weight_is_what_snips_says(benchmark):
    rng = np.random.default_rng(1)
    size = 500
    columns = (rng.uniform(0.2, 1, size), rng.uniform(0, 1, size))
    whose = {"cluster": np.arange(size) // 2}
    rewards, ones = (Batch.of(r, *columns, **whose) for r in (rng.random(size), np.ones(size)))
    found, expected = benchmark.ratio(IPS(), [rewards], [ones]), SNIPS().add(rewards).result()
    assert found.value == pytest.approx(expected.value)
    assert found.error == pytest.approx(expected.error)
    assert benchmark.difference(IPS(), rewards, rewards).error == 0.0


def test_a_purchase_is_valued_with_all_its_tries(benchmark):
    """Known chances of success and of another try: the truth is a sum over four tries."""
    rng = np.random.default_rng(2)
    size, tries = 40_000, 4
    shares, again = np.array([[0.3, 0.7, 0, 0], [0.5, 0.5, 0, 0]]), np.array([0.6, 0.4, 0, 0])
    won, amount = np.array([0.4, 0.2, 0.1, 0.1]), 100.0
    action = np.stack(
        [rng.choice(4, size, p=shares[min(t, 1)]) for t in range(tries)], axis=1
    ).astype(np.int32)
    success = (rng.random((size, tries)) < won[action]).astype(float)
    goes_on = (success == 0) & (rng.random((size, tries)) < again[action])
    taken = np.cumprod(np.column_stack([np.ones(size, bool), goes_on[:, :-1]]), 1).astype(bool)
    told = ({},) * size
    nowhere = np.zeros(size, np.int64)
    log = benchmark.Log(
        nowhere, nowhere, np.full(size, amount), told, taken, success * taken, action
    )
    q = np.broadcast_to(won, (size, tries, 4))
    judge = benchmark.Judge(log, q, benchmark.propensities(log, shares))
    gold = won[0] * amount - (won[0] * 10 + (1 - won[0]) * 5)
    truth = gold * sum(((1 - won[0]) * again[0]) ** t for t in range(tries))
    units = judge.purchases(benchmark.policies.always(log, 0), again)
    for estimator in (PerDecisionIS(), SequentialDR()):
        found = estimator.add(units).result()
        assert abs(found.value - truth) < 3.5 * found.error
        assert found.error < 1.5


@pytest.mark.data
@pytest.mark.skipif(
    not os.environ.get("MATINEE_DATA") or not DATA.is_dir(), reason="no psp in MATINEE_DATA"
)
def test_the_purchases_of_january_are_paid_once_and_last(benchmark):
    found = benchmark.purchases(benchmark.attempts(DATA.parent))
    assert found.height == 26_304
    each = found.group_by("purchase").agg(
        pl.col("success").sum().alias("paid"),
        pl.col("success").sort_by("number").last().alias("last"),
        pl.col("card", "secure", "amount", "country").n_unique(),
        (pl.col("number").max() + 1 == pl.len()).alias("whole"),
    )
    assert each["paid"].max() == 1
    assert each.filter(pl.col("paid") == 1)["last"].all()
    assert each["whole"].all()
    assert each.select(pl.max_horizontal("card", "secure", "amount", "country")).max().item() == 1
