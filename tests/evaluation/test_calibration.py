"""Wrong propensities are caught, true ones are let be."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matinee.evaluation.off_policy.calibration import Calibration

SEEDS = 60


def softmax_log(seed: int, size: int = 20_000, actions: int = 5):
    """Propensities [N, A] that hang on the context, and actions drawn by them."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(size, actions)) * 0.7
    pi = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return pi, (pi.cumsum(axis=1) < random.random((size, 1))).sum(axis=1)


def chosen(pi, action):
    return np.take_along_axis(pi, action[:, None], axis=1)[:, 0]


def test_cells_by_hand():
    # action 0 is chosen 200 times of 400 with 1/2; action 1 could be chosen in 300 of them only
    action = np.repeat([0, 0, 1], [100, 100, 200])
    propensity = np.repeat([0.5, 0.25, 0.5], [100, 100, 200])
    possible = np.ones((400, 2), bool)
    possible[:100, 1] = False
    cells = {
        cell.action: cell
        for cell in Calibration(2).add(action, propensity, weight=possible).result().tested
    }
    assert (cells[0].decisions, cells[0].chosen) == (400, 200)
    assert cells[0].mean == pytest.approx(600 / 400)
    assert cells[0].error == pytest.approx(np.sqrt((2000 / 600 - 1) / 400))
    assert (cells[1].decisions, cells[1].mean) == (300, pytest.approx(400 / 300))
    # all together: 1/p of every decision against the 700 chances to be chosen
    assert cells[None].mean == pytest.approx(1000 / 700)
    seen = (1 / propensity).var()
    expected = (400 * 2000 / 600 + 300 * 2) / 400 - (700 / 400) ** 2
    assert expected > seen
    assert cells[None].error == pytest.approx(np.sqrt(expected / 400) * 400 / 700)


def test_the_mean_of_every_action_is_1_over_all_logs():
    pi = np.array([0.2, 0.3, 0.5])
    means = np.zeros(3)
    for action in range(3):
        log = Calibration(3).add(np.full(200, action), np.full(200, pi[action]))
        for cell in log.result().tested:
            if cell.action is not None:
                means[cell.action] += pi[action] * cell.mean
    np.testing.assert_allclose(means, 1.0)


def test_true_propensities_are_seldom_called_wrong():
    alarms = 0
    for seed in range(SEEDS):
        pi, action = softmax_log(seed, size=5000)
        segment = np.array(["fi", "jp", "us"])[np.random.default_rng(seed).integers(3, size=5000)]
        alarms += (
            Calibration(5).add(action, chosen(pi, action), segment=segment).result().calibrated
            is False
        )
    assert alarms <= 3  # above which a share of 1 % has a chance below 1 %


def test_rare_actions_do_not_cry_wolf():
    alarms = 0
    for seed in range(300):
        random = np.random.default_rng(seed)
        action = random.choice(3, p=[0.01, 0.02, 0.97], size=12_000)
        pi = np.array([0.01, 0.02, 0.97])
        alarms += Calibration(3).add(action, pi[action]).result().calibrated is False
    assert alarms <= 9  # above which a share of 1 % has a chance below 0.2 %


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_all_shifted_by_a_tenth_are_caught_each_time(factor):
    for seed in range(20):
        pi, action = softmax_log(seed)
        shifted = np.minimum(chosen(pi, action) * factor, 1.0)
        found = Calibration(5).add(action, shifted).result()
        assert None in {cell.action for cell in found.wrong}


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_one_action_shifted_by_a_tenth_is_caught_and_named(factor):
    for seed in range(20):
        pi, action = softmax_log(seed)
        pi[:, 2] *= factor
        found = Calibration(5).add(action, np.minimum(chosen(pi, action), 1.0)).result()
        assert 2 in {cell.action for cell in found.wrong}


def test_a_segment_with_wrong_propensities_is_named():
    pi, action = softmax_log(1, size=30_000)
    segment = np.repeat(["fi", "jp", "us"], 10_000)
    propensity = chosen(pi, action)
    propensity[10_000:20_000] *= 0.85
    found = Calibration(5).add(action, propensity, segment=segment).result()
    assert {cell.segment for cell in found.wrong} <= {None, "jp"}
    assert "jp" in {cell.segment for cell in found.wrong}


def test_a_uniform_logger_whose_propensities_are_all_wrong():
    action = np.arange(1000) % 10
    assert Calibration(10).add(action, np.full(1000, 0.1)).result().calibrated
    assert Calibration(10).add(action, np.full(1000, np.float32(0.1))).result().calibrated
    wrong = Calibration(10).add(action, np.full(1000, 0.11)).result().wrong
    assert [cell.action for cell in wrong] == [None]
    assert wrong[0].z < -1000


def test_a_logger_that_never_draws():
    sure = Calibration(2).add(np.zeros(500, int), np.ones(500), weight=[[True, False]] * 500)
    assert sure.result().calibrated
    unsure = Calibration(2).add(np.zeros(500, int), np.full(500, 0.9))
    assert not unsure.result().calibrated


def test_a_logger_that_seldom_explores_is_not_wrong_before_it_did():
    alarms = 0
    pi = np.array([0.991, *np.full(9, 0.001)])
    for seed in range(200):
        action = np.random.default_rng(seed).choice(10, p=pi, size=300)
        alarms += Calibration(10).add(action, pi[action]).result().calibrated is False
    assert alarms <= 7  # above which a share of 1 % has a chance below 0.2 %


def test_a_logger_that_explores_evenly_by_a_few_is_not_wrong():
    alarms = 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        pi = 0.25 + 0.001 * random.uniform(-1, 1, size=(4000, 1)) * [1, -1, 1, -1]
        action = (pi.cumsum(axis=1)[:, :3] < random.random((4000, 1))).sum(axis=1)
        alarms += Calibration(4).add(action, chosen(pi, action)).result().calibrated is False
    assert alarms <= 7


def mixed_log(seed: int, cells: int = 40, size: int = 300):
    """Cells [N] of a few decisions each, in which one action is near certain or nearly ruled out.

    One in twelve has a chance just above 1/20, all others about 9/10.
    """
    random = np.random.default_rng(seed)
    pi = np.where(random.random((cells, size)) < 1 / 12, 0.055, random.uniform(0.85, 0.95))
    return pi, random.random((cells, size)) < pi


def of_cells(pi, first, weighed):
    """A log in which each cell has two actions of its own, the second taking what is left."""
    cells, size = pi.shape
    found = Calibration(2 * cells)
    for cell in range(cells):
        chance = np.column_stack([pi[cell], 1 - pi[cell]])
        weight = np.zeros((size, 2 * cells))
        weight[:, 2 * cell : 2 * cell + 2] = chance if weighed else chance >= 0.05
        action = np.where(first[cell], 0, 1)
        found = found.add(2 * cell + action, chosen(chance, action), weight=weight)
    return found.result()


def test_small_cells_of_likely_and_rare_choices_do_not_cry_wolf_where_chances_are_known():
    alarms = dict.fromkeys((False, True), 0)
    for seed in range(40):
        for weighed in alarms:
            alarms[weighed] += of_cells(*mixed_log(seed), weighed).calibrated is False
    assert alarms[True] <= 3  # above which a share of 1 % has a chance below 0.1 %
    assert alarms[False] > 3  # each decision counted alike, too few rare choices tell of themselves


def test_the_wrong_chance_of_a_picture_is_caught_in_small_cells_too():
    caught = 0
    for seed in range(20):
        pi, first = mixed_log(seed, size=1000)
        first[3] &= np.random.default_rng(seed).random(first[3].shape) < 0.85
        caught += {cell.action for cell in of_cells(pi, first, weighed=True).wrong} >= {6}
    assert caught == 20


def test_weighed_by_its_chance_a_mean_is_of_choices_seen_over_choices_expected():
    pi, action = softmax_log(5)
    cells = Calibration(5).add(action, chosen(pi, action), weight=pi).result().tested
    for cell in cells[1:]:
        of = pi[:, cell.action]
        assert cell.mean == pytest.approx((action == cell.action).sum() / of.sum())
        assert cell.error == pytest.approx(np.sqrt((of * (1 - of)).sum()) / of.sum())


def test_what_is_hardly_ever_left_is_not_tested():
    pi, rng = np.array([0.97, 0.03]), np.random.default_rng(0)
    action = rng.choice(2, p=pi, size=500)
    found = Calibration(2).add(action, pi[action]).result()
    assert found.calibrated is None  # 15 are left, as expected: a Poisson count
    assert Calibration(2).add(np.tile(action, 2), np.tile(pi[action], 2)).result().calibrated


def test_too_few_choices_are_no_verdict():
    few = Calibration(3).add([0, 1], [0.5, 0.5]).result()
    assert few.calibrated is None
    assert few.untested == 3
    assert Calibration(3).result().calibrated is None
    one = Calibration(1).add([0] * 10**4, [1e-12] + [0.999999] * 9999).result()
    assert one.calibrated is None  # a weight of 1e12 is one choice


@pytest.mark.parametrize(
    ("action", "propensity", "weight", "what"),
    [
        ([2], [0.5], None, "action must be below 2"),
        ([0], [0.0], None, "propensity"),
        ([0], [np.nan], None, "propensity"),
        ([0], [1.5], None, "propensity"),
        ([0.5], [0.5], None, "action must be a whole number"),
        ([0, 1], [0.5], None, "action has shape"),
        ([0], [0.5], [[1.0]], "weight has shape"),
        ([0], [0.5], [[1.0, -1.0]], "weight must be finite and at least 0"),
        ([0], [0.5], [[np.nan, 1.0]], "weight must be finite and at least 0"),
    ],
)
def test_what_cannot_be_is_refused(action, propensity, weight, what):
    with pytest.raises(ValueError, match=what):
        Calibration(2).add(action, propensity, weight=weight)


def test_chances_below_a_floor_may_be_left_out_and_what_came_of_them_counts_as_none():
    """An action that is likely in half of the contexts and hardly ever comes in the others."""
    rng = np.random.default_rng(0)
    likely = rng.random(2000) < 0.5
    chance = np.where(likely, 0.9, 0.0005)
    first = rng.random(2000) < chance
    action, propensity = np.where(first, 0, 1), np.where(first, chance, 1 - chance)
    counted = np.column_stack([likely, ~likely])
    found = Calibration(2).add(action, propensity, weight=counted).result()
    assert found.calibrated
    counts = {cell.action: (cell.decisions, cell.chosen) for cell in found.tested}
    assert counts[0] == (likely.sum(), (likely & first).sum())


def test_only_equal_numbers_of_actions_add_up():
    with pytest.raises(ValueError, match="2 and 3 actions"):
        Calibration(2) + Calibration(3)


@given(st.integers(0, 2**32), st.integers(0, 2000), st.booleans())
def test_shards_give_the_whole(seed, cut, swap):
    pi, action = softmax_log(seed, size=2000, actions=3)
    segment = np.array(["fi", "jp"])[(pi[:, 0] > 0.5).astype(int)]
    propensity = chosen(pi, action)

    def of(rows):
        return Calibration(3).add(action[rows], propensity[rows], segment=segment[rows])

    parts = [of(slice(cut)), of(slice(cut, None))]
    if swap:
        parts.reverse()
    whole, merged = of(slice(None)).result(), (parts[0] + parts[1]).result()
    assert [(cell.segment, cell.action) for cell in merged.tested] == [
        (cell.segment, cell.action) for cell in whole.tested
    ]
    for one, other in zip(merged.tested, whole.tested, strict=True):
        assert one.mean == pytest.approx(other.mean, rel=1e-12)
        assert one.error == pytest.approx(other.error, rel=1e-9)


def test_a_propensity_too_small_to_be_squared_leaves_its_action_untested():
    found = Calibration(2).add([0] * 500 + [1] * 500, [0.5] * 999 + [1e-200]).result()
    assert [cell.action for cell in found.tested] == [None, 0]
    assert found.untested == 1
