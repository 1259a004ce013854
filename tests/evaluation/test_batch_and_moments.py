"""Batches refuse what would mislead; moments merge without loss and know who hangs together."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from matinee.evaluation.off_policy import DR, IPS, Batch, Moments

ok = {"reward": [1.0, 0.0], "propensity": [0.5, 0.5], "target": [0.2, 1.0]}


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("reward", np.nan, "reward must be finite; row 1 has nan"),
        ("reward", np.inf, "reward must be finite"),
        ("propensity", 0.0, "propensity must be above 0; row 1 has 0.0"),
        ("propensity", -0.1, "propensity must be above 0"),
        ("propensity", 1.5, "propensity must be at most 1"),
        ("propensity", np.nan, "propensity must be finite"),
        ("propensity", 5e-324, "propensity must be no smaller than that"),
        ("target", 1.1, r"target must be in \[0, 1\]"),
        ("target", -0.1, r"target must be in \[0, 1\]"),
    ],
)
def test_a_bad_cell_is_refused_by_name_and_row(field, value, told):
    columns = {**ok, field: [ok[field][0], value]}
    with pytest.raises(ValueError, match=told):
        Batch.of(**columns)


def test_an_empty_batch_is_one_and_changes_nothing():
    empty = Batch.of([], [], [])
    full = IPS().add(Batch.of(**ok))
    assert full.add(empty).result() == full.result()
    nothing = IPS().add(empty).result()
    assert np.isnan(nothing.value)
    assert nothing.decisions == 0


def test_distributions_give_the_columns_of_the_logged_actions():
    pi, q = [[0.1, 0.9], [0.7, 0.3]], [[1.0, 2.0], [3.0, 5.0]]
    batch = Batch.of_distributions([0, 1], [1, 0], [0.5, 0.5], pi, q=q)
    assert batch.target.tolist() == [0.9, 0.7]
    assert batch.predicted.tolist() == [2.0, 3.0]
    assert batch.expected == pytest.approx([0.1 * 1 + 0.9 * 2, 0.7 * 3 + 0.3 * 5])


def test_one_decision_has_a_value_and_no_error():
    result = IPS().add(Batch.of([1.0], [0.5], [0.25])).result()
    assert (result.value, result.decisions) == (0.5, 1)
    assert np.isnan(result.error)


def test_the_error_of_rows_of_their_own_is_that_of_the_mean():
    terms = np.random.default_rng(0).normal(size=(200, 1))
    moments = Moments.of(terms, np.arange(200))
    assert moments.error(np.ones(1)) == pytest.approx(terms.std(ddof=1) / np.sqrt(200))


def test_rows_that_hang_together_count_as_one():
    """Each member's four rows are equal: there is as much to learn from as in one row each."""
    once = np.random.default_rng(1).normal(size=(50, 1))
    four = np.repeat(once, 4, axis=0)
    single = Moments.of(once, np.arange(50)).error(np.ones(1))
    together = Moments.of(four, np.repeat(np.arange(50), 4)).error(np.ones(1))
    apart = Moments.of(four, np.arange(200)).error(np.ones(1))
    assert together == pytest.approx(single)
    assert apart < 0.6 * single


def test_the_order_of_rows_and_clusters_does_not_matter():
    rng = np.random.default_rng(2)
    terms, cluster = rng.normal(size=(60, 2)), rng.integers(0, 9, 60)
    order = rng.permutation(60)
    one, other = Moments.of(terms, cluster), Moments.of(terms[order], cluster[order])
    np.testing.assert_allclose(one.spread, other.spread, rtol=1e-12)
    np.testing.assert_allclose(one.means, other.means, rtol=1e-12)


@settings(max_examples=50)
@given(
    arrays(np.float64, st.tuples(st.integers(2, 40), st.just(2)), elements=st.floats(-1e3, 1e3)),
    st.integers(1, 39),
)
def test_shards_give_the_whole(terms, cut):
    cluster = np.arange(len(terms)) // 2
    whole = Moments.of(terms, cluster)
    cut = 2 * (min(cut, len(terms)) // 2)
    merged = Moments.of(terms[:cut], cluster[:cut]) + Moments.of(terms[cut:], cluster[cut:])
    scale = np.abs(terms).max() ** 2 * len(terms) + 1
    np.testing.assert_allclose(merged.means, whole.means, rtol=1e-12, atol=1e-12 * scale)
    np.testing.assert_allclose(merged.spread, whole.spread, rtol=1e-12, atol=1e-12 * scale)
    assert merged.rows == whole.rows == len(terms)


def test_sixteen_shards_give_the_whole_to_twelve_digits():
    rng = np.random.default_rng(3)
    propensity, target = rng.uniform(0.05, 1, 160_000), rng.uniform(0, 1, 160_000)
    q = rng.uniform(size=160_000)
    member = np.sort(rng.integers(0, 16_000, 160_000))
    batch = Batch.of(
        rng.random(160_000) < 0.3, propensity, target, predicted=q, expected=q, cluster=member
    )
    whole = DR().add(batch).result()
    shards = [DR().add(batch.rows(member % 16 == shard)) for shard in range(16)]
    merged = sum(shards[1:], start=shards[0]).result()
    assert merged.value == pytest.approx(whole.value, rel=1e-12)
    assert merged.error == pytest.approx(whole.error, rel=1e-12)
    assert (merged.decisions, merged.clusters) == (whole.decisions, whole.clusters)


def test_different_settings_do_not_add_up():
    with pytest.raises(ValueError, match="not the same estimator"):
        IPS(clip=2.0) + IPS(clip=3.0)
