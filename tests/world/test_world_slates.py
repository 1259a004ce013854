from itertools import permutations
from math import exp

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from matinee.world.slates import draw_slates, leading, propensities

LOGITS = [1.5, 0.0, -0.7, 0.4, -3.0]


def by_hand(logits: list[float], slate: tuple[int, ...], epsilon: float) -> list[float]:
    """The conditional propensities of one slate, straight from the formula."""
    left, found = list(range(len(logits))), []
    for action in slate:
        softmax = exp(logits[action]) / sum(exp(logits[i]) for i in left)
        found.append((1 - epsilon) * softmax + epsilon / len(left))
        left.remove(action)
    return found


@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0])
def test_every_slate_has_the_propensity_of_the_formula_and_they_sum_to_one(epsilon: float) -> None:
    slates = list(permutations(range(5), 3))
    found = propensities(np.array([LOGITS] * len(slates)), np.array(slates), epsilon)
    wanted = [by_hand(LOGITS, slate, epsilon) for slate in slates]
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    assert found.prod(axis=1).sum() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("epsilon", [0.0, 0.4, 1.0])
def test_slates_are_drawn_as_often_as_their_joint_propensity_says(epsilon: float) -> None:
    draws = 40_000
    drawn = draw_slates(np.array([LOGITS] * draws), 3, epsilon, np.random.default_rng(5))
    for slate in permutations(range(5), 3):
        joint = float(np.prod(by_hand(LOGITS, slate, epsilon)))
        frequency = (drawn == slate).all(axis=1).mean()
        assert frequency == pytest.approx(joint, abs=4.5 * (joint * (1 - joint) / draws) ** 0.5)


def logits_of(rows: list[list[float]]) -> NDArray[np.float64]:
    return np.array(rows, np.float64)


matrices = st.integers(1, 8).flatmap(
    lambda width: st.lists(
        st.lists(st.floats(-30, 30), min_size=width, max_size=width), min_size=1, max_size=4
    ).map(logits_of)
)


@settings(max_examples=50, deadline=None)
@given(matrices, st.integers(1, 8), st.floats(0, 1), st.integers(0, 1_000))
def test_slates_are_distinct_titles_with_valid_propensities(
    logits: NDArray[np.float64], slots: int, epsilon: float, seed: int
) -> None:
    slates = draw_slates(logits, slots, epsilon, np.random.default_rng(seed))
    assert slates.shape == (len(logits), min(slots, logits.shape[1]))
    assert all(len(set(slate)) == len(slate) for slate in slates.tolist())
    found = propensities(logits, slates, epsilon)
    assert ((found > 0) & (found <= 1 + 1e-12)).all()
    np.testing.assert_allclose(propensities(logits + 3.0, slates, epsilon), found, rtol=1e-9)


@settings(max_examples=50, deadline=None)
@given(matrices, st.integers(1, 8))
def test_leading_takes_the_highest_scores_in_order(scores: NDArray[np.float64], size: int) -> None:
    top = np.take_along_axis(scores, leading(scores, size), axis=1)
    np.testing.assert_array_equal(top, -np.sort(-scores, axis=1)[:, :size])
