"""Batches refuse what would mislead; moments merge without loss and know who hangs together."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from matinee.evaluation.off_policy import (
    DR,
    IPS,
    SNIPS,
    Batch,
    DRos,
    Moments,
    PerDecisionIS,
    PseudoInverse,
    Sequences,
    SlateIPS,
    Slates,
    Slope,
    SwitchDR,
)

ok = {"reward": [1.0, 0.0], "propensity": [0.5, 0.5], "target": [0.2, 1.0]}


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("reward", np.nan, "reward must be finite; row 1 has nan"),
        ("reward", np.inf, "reward must be finite"),
        ("propensity", 0.0, r"propensity must be in \(0, 1\]; row 1 has 0.0"),
        ("propensity", -0.1, r"propensity must be in \(0, 1\]"),
        ("propensity", 1.5, r"propensity must be in \(0, 1\]"),
        ("propensity", np.nan, "propensity must be finite"),
        ("propensity", 5e-324, "propensity must be large enough that target / propensity"),
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


TWO = [[0.5, 0.5]] * 3


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"action": [0, 1, -1]}, r"action must be in 0\.\.1; row 2 has -1"),
        ({"action": [0, 2, 0]}, r"action must be in 0\.\.1; row 1 has 2"),
        ({"action": [0, 0.7, 0]}, r"action must be a whole number .*; row 1 has 0\.7"),
        ({"action": [0]}, r"action has shape \(1,\); give \(3,\)"),
        ({"target": TWO[:1]}, r"target has shape \(1, 2\); give \(3, 2\)"),
        ({"target": TWO[0]}, r"target has shape \(2,\); give \(3, 2\)"),
        ({"target": 0.5}, "target has shape"),
        ({"target": np.full((3, 2, 1), 0.5)}, "target has shape"),
        ({"target": [*TWO[1:], [0.9, 0.9]]}, r"sum of target must be 1; row 2 has 1\.8"),
        ({"target": [[0.4, 0.5], *TWO[1:]]}, r"sum of target must be 1; row 0 has 0\.9"),
        ({"target": [TWO[0], [1.2, -0.2], TWO[0]]}, r"least chance of target .*; row 1 has -0\.2"),
        ({"target": [*TWO[1:], [np.nan, 1.0]]}, "target .*; row 2 has nan"),
        ({"target": [*TWO[1:], [np.inf, 1.0]]}, "target .*; row 2 has inf"),
        ({"q": TWO[:1]}, r"q has shape \(1, 2\); give \(3, 2\)"),
        ({"q": [[1.0]]}, r"q has shape \(1, 1\); give \(3, 2\)"),
        ({"q": [*TWO[1:], [np.nan, 1.0]]}, "must be finite; row 2 has nan"),
        ({"reward": [[1.0]]}, r"reward has shape \(1, 1\)"),
    ],
)
def test_distributions_that_mislead_are_refused(change, told):
    columns = {"reward": [1.0, 0.0, 1.0], "action": [0, 1, 0], "target": TWO, "q": TWO}
    with pytest.raises(ValueError, match=told):
        Batch.of_distributions(**{**columns, "propensity": [0.5] * 3, **change})


def test_distributions_may_be_of_single_precision_and_any_layout():
    rng = np.random.default_rng(0)
    pi, q = rng.dirichlet(np.ones(3000), 40), rng.normal(size=(40, 3000))
    action, rest = rng.integers(0, 3000, 40), (np.zeros(40), np.full(40, 0.5))
    whole = Batch.of_distributions(rest[0], action, rest[1], pi, q=q)
    assert (whole.target == [row[a] for row, a in zip(pi, action, strict=True)]).all()
    turned = Batch.of_distributions(rest[0], action, rest[1], np.asfortranarray(pi), q=q)
    assert (turned.target == whole.target).all()
    single = Batch.of_distributions(rest[0], action, rest[1], pi.astype(np.float32))
    assert single.target == pytest.approx(whole.target, rel=1e-6)


def test_no_decisions_have_no_distributions():
    nothing = np.empty((0, 3))
    assert len(Batch.of_distributions([], [], [], nothing, q=nothing)) == 0


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


def test_shards_add_up_by_sum():
    shards = [Batch.of([one], [0.5], [0.5]) for one in (1.0, 2.0, 6.0)]
    for kind in (IPS(), Slope((IPS(), DR()))):
        assert sum(kind.add(shard) for shard in shards).result().value == 3.0
    with pytest.raises(TypeError, match="unsupported operand"):
        1 + IPS()


SLATES = Slates.of([[1.0, 0.0]], [[0.5, 0.5]], [[0.5, 0.5]])
SEQUENCES = Sequences.of([[1.0, 0.0]], [[0.5, 0.5]], [[0.5, 0.5]])


@pytest.mark.parametrize(
    ("estimator", "batch", "told"),
    [
        (IPS(), SLATES, "ips was given Slates; give a Batch"),
        (DR(), SEQUENCES, "dr was given Sequences; give a Batch"),
        (SlateIPS(), Batch.of(**ok), "slate_ips was given a Batch; give Slates"),
        (PseudoInverse(), SEQUENCES, "was given Sequences; give Slates"),
        (PerDecisionIS(), SLATES, "pdis was given Slates; give Sequences"),
        (Slope((IPS(),)), SLATES, "give a Batch"),
        (IPS(), [1.0, 0.0], "ips was given a list; give a Batch"),
    ],
)
def test_a_batch_of_another_kind_is_refused(estimator, batch, told):
    with pytest.raises(TypeError, match=told):
        estimator.add(batch)


@pytest.mark.parametrize("kind", [IPS, DR, SlateIPS, SwitchDR, DRos, PerDecisionIS])
def test_a_setting_that_is_no_number_is_refused(kind):
    for setting in (SLATES, Batch.of(**ok), "5", None):
        with pytest.raises(TypeError, match="must be a number, got"):
            kind(setting)
    assert kind(np.float32(0.5)) == kind(0.5)


def test_weights_too_large_to_square_have_an_infinite_error():
    rare = Batch.of([1.0, 1.0, 0.0], [1e-300, 0.5, 0.5], [1.0, 0.5, 0.5])
    same = Batch.of(rare.reward, rare.propensity, rare.target, cluster=[0, 0, 1])
    for estimator, value in ((IPS(), 1e300 / 3), (DR(), 1e300 / 3), (SNIPS(), 1.0)):
        seen = estimator.add(rare)
        for result in (seen.result(), (seen + seen).result()):
            assert result.value == pytest.approx(value)
            assert result.error == np.inf
        assert estimator.add(same).result().error == np.inf


def test_values_beyond_numbers_are_none():
    beyond = IPS().add(Batch.of([1e100, -1e100], [1e-300] * 2, [1.0] * 2)).result()
    assert np.isnan([beyond.value, beyond.error]).all()


def test_different_settings_do_not_add_up():
    with pytest.raises(ValueError, match="not the same estimator"):
        IPS(clip=2.0) + IPS(clip=3.0)
