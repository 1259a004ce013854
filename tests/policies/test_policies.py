"""Known answers and properties of the policies."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from scipy.stats import norm

from matinee import policies
from matinee.policies import (
    EpsilonGreedy,
    InverseGap,
    PlackettLuce,
    Policy,
    Preference,
    Thompson,
    top,
)
from matinee.policies.base import take_turns
from matinee.testing import PolicyConformance

finite = st.floats(-1e6, 1e6, width=32)


class TestPlackettLuce(PolicyConformance):
    def make(self) -> Policy:
        return PlackettLuce(temperature=0.7)


class TestPlackettLuceWithAUniformShare(PolicyConformance):
    def make(self) -> Policy:
        return PlackettLuce(temperature=0.7, epsilon=0.3, segment=3)


class TestPlackettLuceOnRawScores(PolicyConformance):
    def make(self) -> Policy:
        return PlackettLuce(temperature=2.0, epsilon=0.05, standardise=False)


class TestUniformSlates(PolicyConformance):
    def make(self) -> Policy:
        return PlackettLuce(epsilon=1.0)


class TestEpsilonGreedy(PolicyConformance):
    def make(self) -> Policy:
        return EpsilonGreedy(epsilon=0.25)


class TestGreedy(PolicyConformance):
    def make(self) -> Policy:
        return EpsilonGreedy(epsilon=0.0, segment=3)

    def test_draws_are_as_frequent_as_the_joint_says(self) -> None:
        preference = self.make().prefer(np.array([0.3, 1.2, -0.4, 0.9]))
        slate = self.make().draw(preference, 3, np.random.default_rng(1))
        assert slate.actions.tolist() == [1, 3, 0]
        assert slate.propensities.tolist() == [1.0, 1.0, 1.0]


class TestInverseGap(PolicyConformance):
    def make(self) -> Policy:
        return InverseGap(gamma=3.0)


class TestInverseGapWithAUniformShare(PolicyConformance):
    def make(self) -> Policy:
        return InverseGap(gamma=20.0, epsilon=0.2, segment=3)


class TestInverseGapOfAnySize(PolicyConformance):
    def make(self) -> Policy:
        return InverseGap(gamma=0.0)


class TestThompson(PolicyConformance):
    def make(self) -> Policy:
        return Thompson(epsilon=0.4)


def by_hand(logits: np.ndarray, places: list[int], epsilon: float) -> list[float]:
    """The definition: one softmax per slot over what is left."""
    left, found = list(range(len(logits))), []
    for place in places:
        weights = softmax(logits[left])
        found.append((1 - epsilon) * weights[left.index(place)] + epsilon / len(left))
        left.remove(place)
    return found


@settings(max_examples=60, deadline=None)
@given(st.lists(finite, min_size=1, max_size=30), st.floats(0, 1), st.integers(0, 2**32), st.data())
def test_propensities_are_one_softmax_per_slot(scores, epsilon, seed, data):
    policy = PlackettLuce(temperature=1e3, epsilon=epsilon, standardise=False)
    preference = policy.prefer(np.array(scores))
    slots = data.draw(st.integers(1, len(scores)))
    slate = policy.draw(preference, slots, np.random.default_rng(seed))
    places = [preference.segment.tolist().index(action) for action in slate.actions]
    expected = by_hand(preference.logits.astype(float), places, epsilon)
    np.testing.assert_allclose(slate.propensities, expected, rtol=1e-9, atol=1e-12)


def test_propensities_stay_exact_where_the_mass_left_would_cancel():
    logits = np.array([1000, 0.5, 0.0, -1000], np.float32)
    preference = Preference(np.arange(4, dtype=np.int32), logits)
    found = PlackettLuce().propensities(preference, np.array([0, 1, 2, 3], np.int32))
    np.testing.assert_allclose(found, [1, 1 / (1 + np.exp(-0.5)), 1, 1], rtol=1e-12)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-1000, 1000), min_size=2, max_size=20), st.integers(-1000, 1000))
def test_standardised_scores_forget_their_level(scores, level):
    policy = PlackettLuce()
    one = policy.prefer(np.array(scores, float))
    two = policy.prefer(np.array(scores, float) + level)
    assert one.segment.tolist() == two.segment.tolist()
    np.testing.assert_allclose(one.logits, two.logits, atol=1e-4)


@pytest.mark.parametrize("factor", [1e-12, 1.0, 1e30])
def test_standardised_scores_forget_their_scale(factor):
    scores = np.array([3.0, 1.0, 2.0])
    one, two = PlackettLuce().prefer(scores), PlackettLuce().prefer(scores * factor)
    np.testing.assert_allclose(one.logits, two.logits, rtol=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-3, 3), max_size=40), st.integers(1, 50))
def test_top_is_a_stable_sort_cut_short(scores, size):
    expected = sorted(range(len(scores)), key=lambda place: (-scores[place], place))[:size]
    assert top(np.array(scores, float), size).tolist() == expected


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_are_refused(bad):
    for policy in (PlackettLuce(), EpsilonGreedy(), InverseGap(), Thompson()):
        with pytest.raises(ValueError, match="finite"):
            policy.prefer(np.array([1.0, bad]))


def test_logits_beyond_single_precision_are_refused():
    with pytest.raises(ValueError, match="temperature"):
        PlackettLuce(temperature=1e-300).prefer(np.array([1.0, 2.0]))


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": 0},
        {"temperature": -1},
        {"temperature": np.nan},
        {"epsilon": 1.1},
        {"epsilon": -0.1},
        {"segment": 0},
    ],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        PlackettLuce(**wrong)
    if "temperature" not in wrong:
        with pytest.raises(ValueError, match=next(iter(wrong))):
            EpsilonGreedy(**wrong)


def test_epsilon_greedy_by_hand():
    policy = EpsilonGreedy(epsilon=0.3)
    preference = policy.prefer(np.array([5.0, 9.0, 7.0]))
    found = policy.propensities(preference, np.array([2, 1, 0], np.int32))
    np.testing.assert_allclose(found, [0.1, 0.7 + 0.15, 1.0])


@pytest.mark.parametrize("policy", [EpsilonGreedy(epsilon=0.2), InverseGap(gamma=30.0)])
def test_many_choices_cross_blocks_and_refuse_what_is_not_finite(policy):
    scores = np.random.default_rng(0).normal(size=(2_500, 4))
    found = policy.choose(scores, np.random.default_rng(1))
    for row in (0, 1_023, 1_024, 2_499):
        chances = policy.probabilities(policy.prefer(scores[row]), 4)
        assert found.propensities[row] == pytest.approx(chances[found.actions[row]])
    scores[2_000, 1] = np.nan
    with pytest.raises(ValueError, match="finite"):
        policy.choose(scores, np.random.default_rng(1))
    with pytest.raises(ValueError, match="nothing to choose"):
        policy.choose(scores[:, :0], np.random.default_rng(1))


@pytest.mark.parametrize("wrong", [{"gamma": -1.0}, {"gamma": np.inf}, {"gamma": np.nan}])
def test_a_gamma_out_of_range_is_refused(wrong):
    with pytest.raises(ValueError, match="gamma"):
        InverseGap(**wrong)


def test_inverse_gap_by_hand():
    """1 / (3 + 10 * 0.2) and 1 / (3 + 10 * 0.3) at first, then of the two that are left."""
    policy = InverseGap(gamma=10.0)
    preference = policy.prefer(np.array([0.5, 0.7, 0.4]))
    np.testing.assert_allclose(
        policy.probabilities(preference, 3), [1 / 5, 1 - 1 / 5 - 1 / 6, 1 / 6], rtol=1e-6
    )
    found = policy.propensities(preference, np.array([2, 0, 1], np.int32))
    np.testing.assert_allclose(found, [1 / 6, 1 / (2 + 10 * 0.2), 1.0], rtol=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-2, 2, width=32), min_size=1, max_size=8),
    st.floats(0, 100),
    st.floats(0, 1),
    st.randoms(use_true_random=False),
)
def test_inverse_gaps_of_a_slate_are_those_of_what_is_left(scores, gamma, epsilon, random):
    """Slot after slot, the definition."""
    policy = InverseGap(gamma=gamma, epsilon=epsilon)
    order, left = random.sample(range(len(scores)), len(scores)), set(range(len(scores)))
    expected = []
    for item in order:
        best = max(left, key=lambda one: (scores[one], -one))
        size = len(left)
        others = {one: 1 / (size + gamma * (scores[best] - scores[one])) for one in left - {best}}
        chances = others | {best: 1 - sum(others.values())}
        expected.append((1 - epsilon) * chances[item] + epsilon / size)
        left.remove(item)
    preference = policy.prefer(np.array(scores))
    found = policy.propensities(preference, np.array(order, np.int32))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-9)


def test_inverse_gaps_are_of_differences_wherever_the_scores_lie():
    policy, gaps = InverseGap(gamma=1000.0), np.array([0.0, 0.01, -0.02])
    plain, high = (policy.probabilities(policy.prefer(offset + gaps), 3) for offset in (0.0, 1e6))
    np.testing.assert_allclose(high, plain, rtol=1e-5)


@given(st.lists(finite, min_size=1, max_size=20), st.floats(1e-3, 1e6))
def test_what_inverse_gaps_cost_is_bounded(scores, gamma):
    """The expected gap is below A / gamma, the best keeps 1 / A, and no worse item is likelier."""
    policy, scores = InverseGap(gamma=gamma), np.array(scores, np.float32)
    chances = policy.probabilities(policy.prefer(scores), len(scores))
    gaps = scores.max().astype(float) - scores
    assert chances @ gaps <= (1 + 1e-9) * len(scores) / gamma
    assert chances.max() >= (1 - 1e-9) / len(scores)
    assert (np.diff(chances[np.argsort(-scores, kind="stable")][1:]) <= 0).all()


@pytest.mark.parametrize("wrong", [{"draws": 0}, {"epsilon": 0.0}, {"epsilon": 1.1}])
def test_thompson_out_of_range_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Thompson(**wrong)


def test_thompson_chooses_as_often_as_draws_are_best():
    """Of means 0 and 1 with deviations 1, the second is above with chance Phi(1 / sqrt 2)."""
    samples = np.random.default_rng(0).normal([0.0, 1.0], 1.0, (100_000, 2))
    policy = Thompson(epsilon=0.1)
    chances = policy.probabilities(policy.prefer_among(samples), 2)
    best = 0.9 * norm.cdf(1 / np.sqrt(2)) + 0.05
    np.testing.assert_allclose(chances, [1 - best, best], atol=0.005)


def test_draws_that_tie_share_their_chance():
    policy = Thompson(epsilon=0.2)
    samples = np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 3.0]])
    chances = policy.probabilities(policy.prefer_among(samples), 3)
    np.testing.assert_allclose(chances, 0.8 * np.array([0.25, 0.25, 0.5]) + 0.2 / 3, rtol=1e-6)


def test_other_policies_take_the_mean_of_draws():
    samples = np.array([[0.0, 1.0, 0.2], [0.9, 0.0, 0.2]])
    preference = EpsilonGreedy().prefer_among(samples)
    assert preference.segment.tolist() == [1, 0, 2]


def test_inverse_gaps_find_the_best_arm_and_keep_looking():
    """Three arms of known means, a mean of what was seen for a model: most pulls are of the best,
    and each arm is pulled about as often as its chances said.
    """
    means, rng = np.array([0.3, 0.5, 0.8]), np.random.default_rng(0)
    pulls, sums, expected = np.ones(3), np.full(3, 0.5), np.zeros(3)
    policy = InverseGap(gamma=50.0)
    for _ in range(4_000):
        preference = policy.prefer(sums / pulls)
        expected += policy.probabilities(preference, 3)
        (arm,) = policy.draw(preference, 1, rng).actions
        pulls[arm] += 1
        sums[arm] += rng.random() < means[arm]
    assert pulls[2] / 4_000 > 0.85
    assert (np.abs(pulls - 1 - expected) < 5 * np.sqrt(expected)).all()


@settings(max_examples=50, deadline=None)
@given(st.permutations(range(8)), st.permutations(range(8)), st.lists(st.booleans(), max_size=8))
def test_taking_turns_takes_the_first_item_left(preferred, other, coins):
    left, expected = set(range(8)), []
    for coin in coins:
        queue = other if coin else preferred
        expected.append(next(item for item in queue if item in left))
        left.remove(expected[-1])
    taken = take_turns(np.array(preferred), np.array(other), np.array(coins, bool))
    assert taken.tolist() == expected


def test_a_policy_of_ones_own_is_known_by_its_name(monkeypatch):
    class Mine(PlackettLuce):
        name = "mine"

    monkeypatch.setitem(policies.POLICIES, Mine.name, Mine)
    assert policies.policy_class("mine") is Mine


def test_an_unknown_policy_says_what_is_known():
    with pytest.raises(ValueError, match="plackett_luce"):
        policies.policy_class("nobody's")
