import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_slates import (
    SLOTS,
    TITLES,
    Choice,
    Slate,
    conditionals,
    independent,
    marginals,
    plackett_luce,
    ranked,
    repeated,
)

from matinee.evaluation.off_policy.cascade_dr import CascadeDR
from matinee.evaluation.off_policy.pseudo_inverse import (
    PseudoInverse,
    SelfNormalisedPseudoInverse,
)
from matinee.evaluation.off_policy.pseudo_inverse_control import (
    PseudoInverseControl,
    PseudoInverseSlotControl,
)
from matinee.evaluation.off_policy.slate_iips import IndependentIPS
from matinee.evaluation.off_policy.slate_ips import SlateIPS
from matinee.evaluation.off_policy.slate_rips import (
    RewardInteractionIPS,
    SelfNormalisedRewardInteractionIPS,
)
from matinee.evaluation.off_policy.slates import Slates
from matinee.policies import PlackettLuce

RNG = np.random.default_rng(20210607)
LOGGING = plackett_luce([0.2, 1.0, -0.5, 0.0], 0.2)
CANDIDATE = plackett_luce([1.0, -0.7, 0.3, 0.6], 0.0)
CHANCES, OTHERS = (RNG.dirichlet(np.ones(TITLES), SLOTS) for _ in range(2))
OWN = RNG.normal(size=(SLOTS, TITLES))
PARTS = RNG.normal(size=(SLOTS, SLOTS, TITLES))


def own_title(slate: Slate) -> list[float]:
    """A slot's reward depends on its own title alone."""
    return [OWN[k, title] for k, title in enumerate(slate)]


def cascade(slate: Slate) -> list[float]:
    """A slot's reward is damped by what those above it earned."""
    own = own_title(slate)
    return [own[k] * np.exp(-sum(own[:k])) for k in range(len(slate))]


def anything(slate: Slate) -> list[float]:
    """A slot's reward depends on titles above and below it."""
    return [own * np.cos(sum(own_title(slate)) + k) for k, own in enumerate(own_title(slate))]


def additive(slate: Slate) -> list[float]:
    """A slot's reward is a sum of parts of single slots, its own and others."""
    return [sum(PARTS[k, j, title] for j, title in enumerate(slate)) for k in range(len(slate))]


def logged(reward, logging: Choice, candidate: Choice, slates: list[Slate], **columns) -> Slates:
    """Every slate once."""
    return Slates.of(
        [reward(slate) for slate in slates],
        conditionals(logging, slates),
        conditionals(candidate, slates),
        marginal=marginals(logging, slates),
        marginal_target=marginals(candidate, slates),
        **columns,
    )


def truth(reward, candidate: Choice, slates: list[Slate]) -> float:
    chance = conditionals(candidate, slates).prod(axis=1)
    return float(chance @ [sum(reward(slate)) for slate in slates])


def bias(estimator, reward, logging=LOGGING, candidate=CANDIDATE, space=ranked, **columns):
    """The estimator's mean over every slate that could be logged, less the candidate's value."""
    slates = space()
    chance = conditionals(logging, slates).prod(axis=1)
    log = logged(reward, logging, candidate, slates, **columns)
    each = [estimator.add(log.rows([row])).result().value for row in range(len(log))]
    return float(chance @ each) - truth(reward, candidate, slates)


def test_the_tiny_problem_is_that_of_the_policy():
    policy = PlackettLuce(epsilon=0.2, standardise=False)
    preference = policy.prefer(np.array([0.2, 1.0, -0.5, 0.0]))
    for slate, chances in zip(ranked(), conditionals(LOGGING, ranked()), strict=True):
        found = policy.propensities(preference, np.array(slate, np.int32))
        np.testing.assert_allclose(found, chances, rtol=1e-6)


@pytest.mark.parametrize(
    ("estimator", "reward"),
    [
        (SlateIPS(), own_title),
        (SlateIPS(), cascade),
        (SlateIPS(), anything),
        (RewardInteractionIPS(), own_title),
        (RewardInteractionIPS(), cascade),
        (IndependentIPS(), own_title),
    ],
)
def test_unbiased_where_the_rewards_are_as_assumed(estimator, reward):
    assert bias(estimator, reward) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("estimator", "reward"),
    [
        (RewardInteractionIPS(), anything),
        (CascadeDR(), anything),
        (IndependentIPS(), cascade),
        (PseudoInverse(), cascade),
    ],
)
def test_biased_where_they_are_not(estimator, reward):
    assert abs(bias(estimator, reward)) > 0.01


def test_a_clip_biases_towards_zero():
    assert bias(SlateIPS(clip=0.5), lambda slate: [1.0] * len(slate)) < -0.1


def test_conditional_propensities_cannot_stand_in_for_marginal_ones():
    slates = ranked()
    given, target = conditionals(LOGGING, slates), conditionals(CANDIDATE, slates)
    rewards = [own_title(slate) for slate in slates]
    wrong = Slates.of(rewards, given, target, marginal=given, marginal_target=target)
    each = [IndependentIPS().add(wrong.rows([row])).result().value for row in range(len(wrong))]
    assert abs(given.prod(axis=1) @ each - truth(own_title, CANDIDATE, slates)) > 0.01


@pytest.mark.parametrize(
    "estimator",
    [
        IndependentIPS(),
        PseudoInverse(),
        SelfNormalisedPseudoInverse(),
        PseudoInverseControl(),
        PseudoInverseSlotControl(slots=1),
    ],
)
def test_without_marginal_propensities_there_is_no_answer(estimator):
    slates = Slates.of([[1.0]], [[0.5]], [[0.5]])
    with pytest.raises(ValueError, match="simulated_marginals"):
        estimator.add(slates)


def to_go(above: Slate) -> float:
    """What the candidate earns below the titles above in a cascade, from the definition."""
    if len(above) == SLOTS:
        return 0.0
    choice = CANDIDATE(above)
    return sum(choice[title] * true_q((*above, title)) for title in range(TITLES) if choice[title])


def true_q(titles: Slate) -> float:
    return cascade(titles)[-1] + to_go(titles)


def any_q(titles: Slate) -> float:
    return float(np.sin(1 + sum((title + 2) * 3**k for k, title in enumerate(titles))))


def predictions(q) -> dict[str, np.ndarray]:
    def mean(above: Slate) -> float:
        choice = CANDIDATE(above)
        return sum(choice[title] * q((*above, title)) for title in range(TITLES) if choice[title])

    slates = ranked()
    return {
        "predicted": np.array([[q(s[: k + 1]) for k in range(SLOTS)] for s in slates]),
        "expected": np.array([[mean(s[:k]) for k in range(SLOTS)] for s in slates]),
    }


@pytest.mark.parametrize("q", [true_q, any_q])
def test_cascade_dr_is_unbiased_with_any_model(q):
    assert bias(CascadeDR(), cascade, **predictions(q)) == pytest.approx(0, abs=1e-12)


def test_cascade_dr_with_the_true_value_to_go_needs_one_slate():
    log = logged(cascade, LOGGING, CANDIDATE, ranked(), **predictions(true_q))
    value = truth(cascade, CANDIDATE, ranked())
    for row in range(len(log)):
        assert CascadeDR().add(log.rows([row])).result().value == pytest.approx(value, abs=1e-12)


def test_cascade_dr_without_a_model_is_rips():
    log = logged(cascade, LOGGING, CANDIDATE, ranked())
    assert CascadeDR().add(log).result() == RewardInteractionIPS().add(log).result()


@pytest.mark.parametrize("reward", [own_title, additive])
def test_pseudo_inverse_is_unbiased_for_sums_where_slots_are_logged_independently(reward):
    logging, candidate = independent(CHANCES), independent(OTHERS)
    assert bias(PseudoInverse(), reward, logging, candidate, repeated) == pytest.approx(
        0, abs=1e-12
    )


def test_the_candidate_of_a_pseudo_inverse_may_choose_slots_dependently():
    found = bias(PseudoInverse(), additive, independent(CHANCES), CANDIDATE, repeated)
    assert found == pytest.approx(0, abs=1e-12)


def test_pseudo_inverse_by_marginals_is_biased_where_no_title_is_shown_twice():
    assert abs(bias(PseudoInverse(), own_title)) > 0.01


def test_independent_ips_is_biased_where_titles_of_other_slots_bear_on_a_reward():
    logging, candidate = independent(CHANCES), independent(OTHERS)
    assert abs(bias(IndependentIPS(), additive, logging, candidate, repeated)) > 0.01


UNIFORM = independent(np.full((SLOTS, TITLES), 1 / TITLES))


@pytest.mark.parametrize(
    "estimator",
    [
        PseudoInverse(),
        SelfNormalisedPseudoInverse(),
        PseudoInverseControl(),
        PseudoInverseSlotControl(slots=SLOTS),
    ],
)
def test_the_pseudo_inverse_family_is_true_where_every_slate_was_logged_equally(estimator):
    candidate = independent(OTHERS)
    log = logged(additive, UNIFORM, candidate, repeated())
    found = estimator.add(log).result()
    assert found.value == pytest.approx(truth(additive, candidate, repeated()), abs=1e-12)


def test_self_normalised_rips_is_true_where_every_slate_was_logged_equally():
    log = logged(cascade, plackett_luce([0.0] * TITLES, 0.0), CANDIDATE, ranked())
    found = SelfNormalisedRewardInteractionIPS(slots=SLOTS).add(log).result()
    assert found.value == pytest.approx(truth(cascade, CANDIDATE, ranked()), abs=1e-12)


def sampled(size: int, seed: int) -> Slates:
    """Slates of independent slots with additive rewards and noise, of clustered members."""
    rng = np.random.default_rng(seed)
    slots = np.arange(SLOTS)
    titles = np.column_stack([rng.choice(TITLES, size, p=CHANCES[k]) for k in slots])
    rewards = np.array([additive(tuple(slate)) for slate in titles.tolist()]).reshape(-1, SLOTS)
    propensity, target = CHANCES[slots, titles], OTHERS[slots, titles]
    return Slates.of(
        rewards + rng.normal(size=rewards.shape),
        propensity,
        target,
        predicted=rng.normal(size=rewards.shape),
        expected=rng.normal(size=rewards.shape),
        marginal=propensity,
        marginal_target=target,
        cluster=np.arange(size) // 2,
    )


def weights(slates: Slates) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """G R, Y - 1 and G by their formulas."""
    control = slates.marginal_target / slates.marginal - 1
    weight = 1 + control.sum(axis=1)
    return weight * slates.reward.sum(axis=1), control, weight


@pytest.mark.parametrize("by_slot", [False, True])
def test_a_controlled_pseudo_inverse_is_the_intercept_of_least_squares(by_slot):
    slates = sampled(300, 3)
    slates = Slates.of(
        slates.reward,
        slates.propensity,
        slates.target,
        marginal=slates.marginal,
        marginal_target=slates.marginal_target,
    )
    earned, control, weight = weights(slates)
    controls = control if by_slot else (weight - 1)[:, None]
    design = np.column_stack([np.ones(300), controls])
    line = np.linalg.lstsq(design, earned)[0]
    left = earned - controls @ line[1:]
    estimator = PseudoInverseSlotControl(slots=SLOTS) if by_slot else PseudoInverseControl()
    found = estimator.add(slates).result()
    assert found.value == pytest.approx(line[0], rel=1e-10)
    assert found.error == pytest.approx(left.std(ddof=1) / np.sqrt(300), rel=1e-9)
    assert found.error < PseudoInverse().add(slates).result().error


def test_controls_that_hang_together_are_shared():
    slates = sampled(50, 4)
    doubled = Slates.of(
        np.hstack([slates.reward[:, :1], np.zeros((50, 1))]),
        np.full((50, 2), 0.5),
        np.full((50, 2), 0.5),
        marginal=slates.marginal[:, [0, 0]],
        marginal_target=slates.marginal_target[:, [0, 0]],
    )
    by_slot = PseudoInverseSlotControl(slots=2).add(doubled).result()
    single = PseudoInverseControl().add(doubled).result()
    assert by_slot.value == pytest.approx(single.value, rel=1e-9)


ESTIMATORS = [
    SlateIPS(),
    SlateIPS(clip=2.0),
    IndependentIPS(),
    RewardInteractionIPS(),
    SelfNormalisedRewardInteractionIPS(slots=SLOTS),
    CascadeDR(),
    PseudoInverse(),
    SelfNormalisedPseudoInverse(),
    PseudoInverseControl(),
    PseudoInverseSlotControl(slots=SLOTS),
]


@pytest.mark.parametrize("estimator", ESTIMATORS)
@given(seed=st.integers(0, 2**32), half=st.integers(2, 40), cut=st.integers(0, 40))
def test_shards_in_any_order_give_the_whole(estimator, seed, half, cut):
    slates, cut = sampled(2 * half, seed), 2 * min(cut, half)
    whole = estimator.add(slates)
    left = estimator.add(slates.rows(slice(None, cut)))
    right = estimator.add(slates.rows(slice(cut, None)))
    for merged in (left + right, right + left):
        np.testing.assert_allclose(merged.moments.mean, whole.moments.mean, rtol=1e-12, atol=1e-12)
    if half >= 20:
        results = [(left + right).result(), (right + left).result()]
        for result in results:
            assert result.value == pytest.approx(whole.result().value, rel=1e-10, abs=1e-12)
            assert result.error == pytest.approx(whole.result().error, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("estimator", ESTIMATORS[:-2])
def test_the_gradient_is_the_derivative_of_the_value(estimator):
    means = estimator.add(sampled(100, 5)).moments.means
    steps = 1e-6 * np.eye(len(means))
    slopes = [(estimator.value(means + s) - estimator.value(means - s)) / 2e-6 for s in steps]
    np.testing.assert_allclose(estimator.gradient(means), slopes, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_slots_not_shown_change_nothing(estimator):
    short = sampled(60, 6)
    columns = {
        name: np.hstack([getattr(short, name)[:, :2], np.full((60, 1), np.nan)])
        for name in (
            "reward",
            "propensity",
            "target",
            "predicted",
            "expected",
            "marginal",
            "marginal_target",
        )
    }
    shown = np.tile([True, True, False], (60, 1))
    padded = estimator.add(Slates.of(**columns, shown=shown, cluster=short.cluster)).result()
    first = {name: column[:, :2] for name, column in columns.items()}
    fewer = type(estimator)(slots=2) if hasattr(estimator, "slots") else estimator
    expected = fewer.add(Slates.of(**first, cluster=short.cluster)).result()
    assert padded.value == pytest.approx(expected.value, rel=1e-12)
    assert padded.error == pytest.approx(expected.error, rel=1e-9)


@pytest.mark.parametrize(
    "estimator",
    [SelfNormalisedPseudoInverse(), PseudoInverseControl(), PseudoInverseSlotControl(slots=SLOTS)],
)
def test_equal_rewards_are_given_back_as_they_are(estimator):
    slates = sampled(40, 7)
    equal = Slates.of(
        np.full((40, SLOTS), 2.0),
        slates.propensity,
        slates.target,
        marginal=slates.marginal,
        marginal_target=slates.marginal_target,
    )
    found = estimator.add(equal).result()
    assert found.value == pytest.approx(2.0 * SLOTS, rel=1e-12)
    assert found.error == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_one_slate_has_a_value_and_no_error(estimator):
    found = estimator.add(sampled(1, 8)).result()
    assert np.isfinite(found.value)
    assert np.isnan(found.error)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_weights_of_a_trillion_stay_numbers(estimator):
    slates = sampled(30, 9)
    tiny = slates.propensity.copy()
    tiny[0, 0] = 1e-12
    found = estimator.add(
        Slates.of(
            slates.reward,
            tiny,
            slates.target,
            marginal=tiny,
            marginal_target=slates.marginal_target,
        )
    ).result()
    assert np.isfinite([found.value, found.error]).all()


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_no_slates_have_no_value(estimator):
    assert np.isnan(estimator.result().value)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"reward": [[1.0, np.nan]]}, "reward must be finite; slate 0 has nan in slot 1"),
        ({"propensity": [[0.0, 0.5]]}, r"propensity must be in \(0, 1\]; slate 0 has 0.0 in slot"),
        ({"target": [[0.5, 1.5]]}, r"target must be in \[0, 1\]; slate 0 has 1.5 in slot 1"),
        ({"propensity": [[1e-200, 1e-200]]}, "propensity must be large enough that the products"),
        ({"marginal": [[0.0, 0.5]]}, r"marginal must be in \(0, 1\]"),
        ({"marginal_target": None}, "marginal and marginal_target together"),
        ({"marginal_error": [[-1.0, 0.0]]}, "marginal_error must be finite and at least 0"),
        ({"predicted": [[1.0]]}, r"predicted has shape \(1, 1\)"),
        ({"cluster": [1, 2]}, r"cluster has shape \(2,\)"),
        ({"reward": [1.0, 2.0]}, "a column for each slot"),
    ],
)
def test_columns_that_cannot_be_are_refused(columns, message):
    half = [[0.5, 0.5]]
    good = {"reward": half, "propensity": half, "target": half}
    with pytest.raises(ValueError, match=message):
        Slates.of(**{**good, "marginal": half, "marginal_target": half, **columns})


@pytest.mark.parametrize(
    "estimator", [SelfNormalisedRewardInteractionIPS(slots=2), PseudoInverseSlotControl(slots=2)]
)
def test_estimators_by_slot_say_when_slates_have_others(estimator):
    with pytest.raises(ValueError, match="give it slots=3"):
        estimator.add(sampled(4, 1))


def test_a_clip_must_be_above_zero():
    with pytest.raises(ValueError, match="clip must be above 0"):
        SlateIPS(clip=0.0)
