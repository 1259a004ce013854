"""Columns of logged actions, slates and sequences: what is refused, and how it is named."""

import numpy as np
import pytest

from matinee.evaluation.off_policy import Batch, Sequences, Slates
from matinee.evaluation.off_policy.columns import clusters, filled, integers, require


def whole(*shape: int) -> dict[str, np.ndarray]:
    return {"reward": np.zeros(shape), "propensity": np.ones(shape), "target": np.ones(shape)}


WHOLE = {Batch: whole(3), Slates: whole(3, 2), Sequences: whole(3, 2)}
every = pytest.mark.parametrize("kind", WHOLE, ids=lambda kind: kind.__name__)


@every
@pytest.mark.parametrize("field", ["propensity", "target", "predicted", "expected"])
def test_a_column_of_another_shape_is_told_the_right_one(kind, field):
    columns = WHOLE[kind]
    asked = str(columns["reward"].shape)
    with pytest.raises(ValueError, match=rf"{field} has shape \(1,\); give") as told:
        kind.of(**{**columns, field: [0.5]})
    assert asked in str(told.value)


@every
def test_clusters_are_one_for_each_row(kind):
    assert kind.of(**WHOLE[kind]).cluster.tolist() == [0, 1, 2]
    assert kind.of(**WHOLE[kind], cluster=[7, 7, 9]).cluster.tolist() == [7, 7, 9]
    with pytest.raises(ValueError, match=r"cluster has shape \(2,\); give \(3,\)"):
        kind.of(**WHOLE[kind], cluster=[7, 7])


@every
@pytest.mark.parametrize(
    ("cluster", "told"),
    [
        ([7, 0.2, 0.9], r"cluster must be a whole number .*; row 1 has 0\.2"),
        ([7, 8, np.nan], "cluster must be a whole number .*; row 2 has nan"),
        ([7, 8, np.inf], "cluster must be a whole number .*; row 2 has inf"),
        ([1e17, 7, 8], r"cluster must be a whole number .*; row 0 has 1e\+17"),
        (["a", "b", "c"], "cluster must be whole numbers"),
        ([7, None, 8], "cluster must be whole numbers"),
    ],
)
def test_clusters_are_whole_numbers(kind, cluster, told):
    with pytest.raises(ValueError, match=told):
        kind.of(**WHOLE[kind], cluster=cluster)


def test_whole_numbers_of_any_type_are_taken():
    for values in ([7.0, 8.0], np.array([7, 8], np.uint8), np.array([7, 8], np.float16)):
        assert integers("cluster", values, (2,)).tolist() == [7, 8]
    hashes = np.array([2**64 - 1, 2**63], np.uint64)
    assert len(set(integers("cluster", hashes, (2,)).tolist())) == 2


@every
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("reward", np.nan),
        ("reward", -np.inf),
        ("propensity", 0.0),
        ("propensity", np.nan),
        ("propensity", 1.1),
        ("target", -0.1),
        ("target", 1.1),
        ("target", np.nan),
        ("predicted", np.inf),
        ("expected", np.nan),
    ],
)
def test_a_bad_cell_of_the_last_row_is_found_by_all(kind, field, value):
    bad = np.full(WHOLE[kind]["reward"].shape, 0.5)
    bad[-1, ...] = value
    with pytest.raises(ValueError, match=rf"{field}.* must be .*(row|slate) 2 has {value}"):
        kind.of(**{**WHOLE[kind], field: bad})


@every
def test_rewards_of_other_dimensions_are_refused(kind):
    for reward in (0.0, np.zeros((1, 2, 3))):
        with pytest.raises(ValueError, match="reward has shape"):
            kind.of(reward, [0.5], [0.5])


@every
@pytest.mark.parametrize("field", ["propensity", "target"])
def test_what_rounding_carries_above_one_is_a_probability_still(kind, field):
    whole = WHOLE[kind]
    above = kind.of(**{**whole, field: whole[field] + 1e-12})
    assert (getattr(above, field) > 1).all()
    with pytest.raises(ValueError, match=f"{field}.* must be in"):
        kind.of(**{**whole, field: whole[field] + 1e-8})


def test_marginals_may_be_above_one_by_rounding_too():
    whole, above = WHOLE[Slates], np.full((3, 2), 1 + 1e-12)
    assert (Slates.of(**whole, marginal=above, marginal_target=above).marginal_ratio == 1).all()


def test_the_first_bad_cell_is_named():
    table = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    with pytest.raises(ValueError, match=r"t must be low; slate 1 has 4\.0 in slot 1"):
        require(table < 4, "t", table, "low")
    with pytest.raises(ValueError, match=r"t must be low; row 2 has 5\.0"):
        require(table[:, 0] < 4, "t", table[:, 0], "low")
    require(np.array([], bool), "t", np.array([]), "low")


def test_columns_are_filled_where_there_is_nothing():
    seen = np.array([True, False])
    assert filled("x", None, (2,), neutral=1.0).tolist() == [1.0, 1.0]
    assert filled("x", [5, np.nan], (2,), neutral=1.0, where=seen).tolist() == [5.0, 1.0]
    assert clusters(None, 0).tolist() == []
