import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_slates import SLOTS, TITLES, conditionals, marginals, plackett_luce, ranked

from matinee.evaluation.off_policy.marginals import simulated_marginals
from matinee.evaluation.off_policy.slate_iips import IndependentIPS
from matinee.evaluation.off_policy.slates import Slates
from matinee.policies import EpsilonGreedy, PlackettLuce

SCORES = np.array([0.0, 1.5, -1.0, 0.5])


def luce(epsilon: float, segment: int = 100) -> PlackettLuce:
    return PlackettLuce(epsilon=epsilon, segment=segment, standardise=False)


def simulated(policy, scores, slate, draws=2000, seed=7):
    preference = policy.prefer(np.asarray(scores))
    return simulated_marginals(policy, preference, np.array(slate, np.int32), draws, seed)


@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("start", range(TITLES))
def test_plackett_luce_marginals_are_those_of_enumeration(epsilon, start):
    slates = ranked(slots=TITLES)
    slate = tuple((start + k) % TITLES for k in range(TITLES))
    exact = marginals(plackett_luce(SCORES.tolist(), epsilon), slates)[slates.index(slate)]
    found, error = simulated(luce(epsilon), SCORES, slate)
    assert (np.abs(found - exact) <= 4 * error + 1e-9).all()
    assert (error < 0.02).all()


def test_marginals_of_any_other_policy_are_those_of_enumeration():
    policy, slate = EpsilonGreedy(epsilon=0.6), (2, 0, 1)
    preference = policy.prefer(SCORES)
    slates = ranked()
    chance = [policy.propensities(preference, np.array(each, np.int32)).prod() for each in slates]
    titles = np.array(slates)
    exact = np.array([sum(np.array(chance)[titles[:, k] == slate[k]]) for k in range(SLOTS)])
    found, error = simulated(policy, SCORES, slate, draws=1000)
    assert (np.abs(found - exact) <= 4 * error + 1e-12).all()
    assert (error < 0.02).all()


def test_the_errors_are_those_of_repeating_the_simulation():
    runs = [simulated(luce(0.2), SCORES, (3, 1, 0), draws=100, seed=[1, run]) for run in range(400)]
    found, errors = (np.array(column) for column in zip(*runs, strict=True))
    np.testing.assert_allclose(found[:, 1:].std(axis=0), errors[:, 1:].mean(axis=0), rtol=0.15)


def test_the_first_slot_is_exact():
    found, error = simulated(luce(0.2), SCORES, (3, 1, 0))
    conditional = conditionals(plackett_luce(SCORES.tolist(), 0.2), [(3, 1, 0)])
    assert found[0] == pytest.approx(conditional[0, 0], abs=1e-12)
    assert error[0] == 0
    assert (error[1:] > 0).all()


def test_a_title_that_almost_never_stands_there_has_a_chance_above_zero():
    scores = [40.0, 1.0, 0.5, 0.0]
    slate = (1, 2, 0)
    slates = ranked()
    exact = marginals(plackett_luce(scores, 0.0), slates)[slates.index(slate)]
    found, error = simulated(luce(0.0), scores, slate)
    assert exact[2] < 1e-30
    assert found[2] == pytest.approx(exact[2], rel=0.05)
    assert abs(found[2] - exact[2]) <= 4 * error[2]


def test_logits_thousands_apart_give_numbers():
    found, error = simulated(luce(0.0), [5000.0, 0.0, -5000.0, 1.0], (0, 3, 1))
    np.testing.assert_allclose(found, [1, np.e / (1 + np.e), np.e / (1 + np.e)], atol=1e-6)
    assert np.isfinite(error).all()


ALMOST_SURE = [np.log(99 * np.exp([1.0, 0.5, -1.0]).sum()), 1.0, 0.5, -1.0]
"""Luce chooses title 0 for the first slot with a chance of 0.99."""


@pytest.mark.parametrize("slate", [(1, 0, 2, 3), (1, 2, 0, 3), (1, 2, 3, 0)])
def test_a_title_passed_over_only_by_coins_that_hardly_show_is_estimated_well(slate):
    slot, slates = slate.index(0), ranked(slots=TITLES)
    exact = marginals(plackett_luce(ALMOST_SURE, 0.05), slates)[slates.index(slate)][slot]
    runs = [simulated(luce(0.05), ALMOST_SURE, slate, 32, [3, run]) for run in range(200)]
    found, errors = (np.array(column)[:, slot] for column in zip(*runs, strict=True))
    assert abs(found.mean() - exact) <= 4 * found.std() / np.sqrt(len(runs))
    assert np.abs(found / exact - 1).max() < 0.5
    assert ((found - exact) / errors).std() == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("epsilon", [0.0, 0.3])
@pytest.mark.parametrize("slate", [(3, 0, 1, 2), (1, 3, 2, 0)])
def test_a_title_hundreds_of_logits_below_leaves_the_others_their_chances(slate, epsilon):
    scores, slates = [0.0, 1.5, 0.5, -700.0], ranked(slots=TITLES)
    exact = marginals(plackett_luce(scores, epsilon), slates)[slates.index(slate)]
    found, error = simulated(luce(epsilon), scores, slate)
    assert (np.abs(found - exact) <= 4 * error + 1e-9).all()


LOGITS = st.floats(-2000, 2000)


@settings(max_examples=50, deadline=None)
@given(st.lists(LOGITS, min_size=2, max_size=8))
def test_with_the_coin_always_uniform_every_title_has_the_same_chance_everywhere(scores):
    found, error = simulated(luce(1.0), scores, range(len(scores)), draws=2)
    np.testing.assert_allclose(found, 1 / len(scores))
    np.testing.assert_allclose(error, 0, atol=1e-12)


@settings(max_examples=50, deadline=None)
@given(LOGITS, st.floats(-50, 50), st.sampled_from([0.0, 0.05, 0.5]))
def test_the_second_of_two_titles_is_there_when_the_first_is_first(first, less, epsilon):
    found, error = simulated(luce(epsilon), [first, first - less], (0, 1), draws=2)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-9)
    np.testing.assert_allclose(error, 0, atol=1e-12)


def test_outside_the_segment_and_below_it_the_chance_is_zero():
    found, error = simulated(luce(0.2, segment=2), SCORES, (1, 0, 3))
    assert found[0] > 0
    np.testing.assert_array_equal(found[1:], 0)
    np.testing.assert_array_equal(error[1:], 0)


def test_a_title_outside_the_segment_leaves_the_slots_below_as_they_are():
    segment = plackett_luce([0.0, 1.5, -1e9, 0.5], 0.0)
    slates = [slate for slate in ranked() if 2 not in slate]
    exact = marginals(segment, slates)[slates.index((0, 1, 3))]
    found, error = simulated(luce(0.0, segment=3), SCORES, (0, 2, 3))
    assert found[1] == 0
    assert (np.abs(found - exact)[[0, 2]] <= 4 * error[[0, 2]] + 1e-9).all()


def test_a_seed_gives_the_same_numbers_and_another_seed_others():
    one, again, other = (simulated(luce(0.2), SCORES, (3, 1, 0), seed=s)[0] for s in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert (one[1:] != other[1:]).all()


def test_one_draw_has_no_error_and_is_refused():
    with pytest.raises(ValueError, match="draws must be at least 2"):
        simulated(luce(0.2), SCORES, (0, 1), draws=1)


def _simulated_slates(slate, rewards, seeds, draws) -> Slates:
    """One slate logged again and again, its marginals simulated each time apart."""
    logging = [simulated(luce(0.2), SCORES, slate, draws, [0, seed]) for seed in range(seeds)]
    target = [simulated(luce(0.0), SCORES, slate, draws, [1, seed]) for seed in range(seeds)]
    ones = np.ones((seeds, len(slate)))
    return Slates.of(
        ones * rewards,
        ones,
        ones,
        marginal=[found for found, _ in logging],
        marginal_error=[error for _, error in logging],
        marginal_target=[found for found, _ in target],
        marginal_target_error=[error for _, error in target],
    )


def _exact_ratios(slate):
    slates = ranked(len(slate))
    row = slates.index(slate)
    target, logging = (
        marginals(plackett_luce(SCORES.tolist(), epsilon), slates)[row] for epsilon in (0.0, 0.2)
    )
    return target / logging


def test_the_noise_of_the_simulation_is_in_the_error_of_the_estimate():
    slate, rewards = (2, 1, 0), np.array([0.0, 0.0, 1.0])
    slates = _simulated_slates(slate, rewards, seeds=1000, draws=50)
    result = IndependentIPS().add(slates).result()
    noise = np.sqrt((slates.marginal_ratio_error[:, 2] ** 2).mean() / len(slates))
    assert result.error == pytest.approx(noise, rel=0.1)
    assert abs(result.value - _exact_ratios(slate)[2]) < 4 * result.error


def test_dividing_by_a_simulated_marginal_is_put_right_to_second_order():
    slate = (3, 2, 0)
    slates = _simulated_slates(slate, np.ones(3), seeds=1500, draws=2)
    exact = _exact_ratios(slate)[2]
    plain = (slates.marginal_target / slates.marginal)[:, 2].mean() - exact
    put_right = slates.marginal_ratio[:, 2].mean() - exact
    noise = slates.marginal_ratio[:, 2].std() / np.sqrt(len(slates))
    assert plain > 4 * noise
    assert abs(put_right) < plain / 2
