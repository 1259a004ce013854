"""Estimators of sequences: known answers, truth by full enumeration, merging, and limits."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matinee.evaluation.off_policy.batch import Batch
from matinee.evaluation.off_policy.dr import DR
from matinee.evaluation.off_policy.ips import IPS
from matinee.evaluation.off_policy.per_decision import (
    PerDecisionIS,
    SelfNormalisedPerDecisionIS,
    SequenceEstimator,
    SequentialDR,
)
from matinee.evaluation.off_policy.sequences import Sequences
from matinee.evaluation.off_policy.snips import SNIPS

GAMMA = 0.9
ALL: list[SequenceEstimator] = [
    PerDecisionIS(),
    PerDecisionIS(GAMMA),
    SequentialDR(GAMMA),
    SelfNormalisedPerDecisionIS(GAMMA, horizon=3),
]
every = pytest.mark.parametrize("estimator", ALL, ids=repr)

# Two states, two actions, at most two decisions; after the first a unit goes to state 0 or 1, or
# ends. Rewards have two values each.
START = np.array([0.25, 0.75])
LOGGING = np.array([[0.5, 0.5], [0.2, 0.8]])
TARGET = np.array([[0.9, 0.1], [0.7, 0.3]])
REWARD = np.array([[1.0, 3.0], [-2.0, 0.5]])
NEXT = np.array([[[0.5, 0.2, 0.3], [0.1, 0.1, 0.8]], [[0.0, 0.6, 0.4], [0.3, 0.3, 0.4]]])

# What the candidate may expect from each step on, by going backwards.
LAST_V = (TARGET * REWARD).sum(axis=1)
FIRST_Q = REWARD + GAMMA * NEXT[:, :, :2] @ LAST_V
RIGHT = np.array([FIRST_Q, REWARD])
WRONG = np.array([[[4.0, -1.0], [0.0, 7.0]], [[2.0, 2.0], [-5.0, 1.0]]])
TRUTH = float(START @ (TARGET * FIRST_Q).sum(axis=1))


def trajectories(noise: float = 1.0, q: np.ndarray = RIGHT) -> tuple[np.ndarray, Sequences]:
    """Every unit that may be logged: its probability, and all of them as sequences."""
    chances, reward, state, action, taken = [], [], [], [], []
    steps = [(s, a, e) for s in (0, 1) for a in (0, 1) for e in (-noise, noise)]
    for s, a, e in steps:
        first = 0.5 * START[s] * LOGGING[s, a]
        chances.append(first * NEXT[s, a, 2])
        reward.append([REWARD[s, a] + e, np.nan])
        state.append([s, 0])
        action.append([a, 0])
        taken.append([True, False])
        for t, b, f in steps:
            chances.append(first * NEXT[s, a, t] * 0.5 * LOGGING[t, b])
            reward.append([REWARD[s, a] + e, REWARD[t, b] + f])
            state.append([s, t])
            action.append([a, b])
            taken.append([True, True])
    states, actions, step = np.array(state), np.array(action), np.array([0, 1])
    units = Sequences.of(
        reward,
        LOGGING[states, actions],
        TARGET[states, actions],
        taken=taken,
        predicted=q[step, states, actions],
        expected=(TARGET[states] * q[step, states]).sum(axis=-1),
    )
    return np.array(chances), units


def each(estimator: SequenceEstimator, units: Sequences) -> np.ndarray:
    """The value of every unit alone, [N]."""
    return np.array([estimator.add(units.rows([i])).result().value for i in range(len(units))])


def mean_and_variance(estimator: SequenceEstimator, q: np.ndarray = RIGHT) -> tuple[float, float]:
    chances, units = trajectories(q=q)
    values = each(estimator, units)
    mean = float(chances @ values)
    return mean, float(chances @ (values - mean) ** 2)


def random_units(seed: int, units: int, steps: int) -> Sequences:
    """Random sequences of all lengths, in clusters."""
    rng = np.random.default_rng(seed)
    shape = (units, steps)
    return Sequences.of(
        rng.normal(size=shape),
        rng.uniform(0.2, 1.0, shape),
        rng.uniform(0.1, 1.0, shape),
        taken=np.arange(steps) < rng.integers(0, steps + 1, units)[:, None],
        predicted=rng.normal(size=shape),
        expected=rng.normal(size=shape),
        cluster=rng.integers(0, max(units // 2, 1), units),
    )


class TestTruth:
    """Over all units that may be logged, each by its probability."""

    def test_the_enumeration_is_whole(self) -> None:
        chances, units = trajectories()
        assert len(units) == 72
        assert chances.sum() == pytest.approx(1.0, abs=1e-15)
        ratio = units.ratio
        np.testing.assert_allclose(chances @ ratio, 1.0, atol=1e-15)

    def test_per_decision_is_is_unbiased(self) -> None:
        assert mean_and_variance(PerDecisionIS(GAMMA))[0] == pytest.approx(TRUTH, abs=1e-12)

    @pytest.mark.parametrize("q", [RIGHT, WRONG, 0 * WRONG], ids=["right", "wrong", "none"])
    def test_sequential_dr_is_unbiased_whatever_the_outcome_model(self, q: np.ndarray) -> None:
        assert mean_and_variance(SequentialDR(GAMMA), q)[0] == pytest.approx(TRUTH, abs=1e-12)

    def test_the_self_normalised_form_is_right_at_the_true_means(self) -> None:
        chances, units = trajectories()
        estimator = SelfNormalisedPerDecisionIS(GAMMA, horizon=2)
        assert estimator.value(chances @ estimator.terms(units)) == pytest.approx(TRUTH, abs=1e-12)

    def test_the_right_outcome_model_gives_the_smallest_variance(self) -> None:
        right = mean_and_variance(SequentialDR(GAMMA), RIGHT)[1]
        none = mean_and_variance(PerDecisionIS(GAMMA))[1]
        wrong = mean_and_variance(SequentialDR(GAMMA), WRONG)[1]
        assert right < 0.5 * none
        assert none < wrong

    def test_its_variance_is_that_of_theorem_1(self) -> None:
        """Jiang and Li (2016), with the right Q: states, and noise under squared ratios, alone."""
        ratio = TARGET / LOGGING
        first_v = (TARGET * FIRST_Q).sum(axis=1)
        of_start = START @ (first_v - TRUTH) ** 2
        ahead = np.append(LAST_V, 0.0)
        of_next = NEXT @ ahead**2 - (NEXT @ ahead) ** 2
        second_noise = NEXT[:, :, :2] @ (LOGGING * ratio**2).sum(axis=1)
        each_first = 1.0 + GAMMA**2 * (of_next + second_noise)
        want = of_start + START @ (LOGGING * ratio**2 * each_first).sum(axis=1)
        got = mean_and_variance(SequentialDR(GAMMA), RIGHT)[1]
        assert got == pytest.approx(want, rel=1e-12)

    def test_without_chance_the_right_outcome_model_is_exact_on_every_unit(self) -> None:
        sure = np.array([[0.0, 1.0], [1.0, 0.0]])  # state 0 is the start, and 1 always follows
        action = np.array([[a, b] for a in (0, 1) for b in (0, 1)])
        v = (TARGET * REWARD).sum(axis=1)
        first = REWARD[0] + GAMMA * (sure[0] @ v)
        q = np.array([first, REWARD[1]])
        state = np.tile([0, 1], (4, 1))
        units = Sequences.of(
            REWARD[state, action],
            LOGGING[state, action],
            TARGET[state, action],
            predicted=q[[0, 1], action],
            expected=np.tile([TARGET[0] @ first, v[1]], (4, 1)),
        )
        exact = np.full(4, TARGET[0] @ first)
        np.testing.assert_allclose(each(SequentialDR(GAMMA), units), exact, rtol=1e-14)
        assert np.ptp(each(PerDecisionIS(GAMMA), units)) > 1


class TestKnownAnswers:
    """By hand: ratios 0.5, 1 and 2, 6 in the first unit; 2, then ended, in the second."""

    UNITS = Sequences.of(
        [[4.0, 1.0, -1.0], [3.0, 9.0, 9.0]],
        [[0.5, 0.25, 0.1], [0.25, 0.5, 0.5]],
        [[0.25, 0.5, 0.6], [0.5, 0.1, 0.1]],
        taken=[[True, True, True], [True, False, False]],
        predicted=[[2.0, 2.0, 1.0], [1.0, 9.0, 9.0]],
        expected=[[1.0, 3.0, 0.5], [5.0, 9.0, 9.0]],
    )

    def test_ratios(self) -> None:
        np.testing.assert_allclose(self.UNITS.ratio, [[0.5, 1.0, 6.0], [2.0, 2.0, 2.0]])

    @pytest.mark.parametrize(
        ("estimator", "want"),
        [
            (PerDecisionIS(), (2.0 + 1.0 - 6.0 + 6.0) / 2),
            (PerDecisionIS(0.5), (2.0 + 0.5 - 1.5 + 6.0) / 2),
            (PerDecisionIS(0.0), (2.0 + 6.0) / 2),
            (SequentialDR(), (1.0 + 1.0 - 1.0 + 1.5 - 12.0 + 0.5 + 4.0 + 5.0) / 2),
            (SequentialDR(0.5), (1.0 + 1.0 - 0.5 + 0.75 - 3.0 + 0.125 + 4.0 + 5.0) / 2),
            (SelfNormalisedPerDecisionIS(horizon=3), 8.0 / 2.5 + 1.0 / 3.0 - 6.0 / 8.0),
            (SelfNormalisedPerDecisionIS(0.5, 3), 8.0 / 2.5 + 0.5 / 3.0 - 0.25 * 6.0 / 8.0),
        ],
        ids=repr,
    )
    def test_values(self, estimator: SequenceEstimator, want: float) -> None:
        result = estimator.add(self.UNITS).result()
        assert result.value == pytest.approx(want, rel=1e-14)
        assert (result.decisions, result.clusters) == (2, 2)

    def test_the_error_of_a_mean_is_the_textbook_one(self) -> None:
        values = np.array([-3.0, 6.0])
        error = PerDecisionIS().add(self.UNITS).result().error
        assert error == pytest.approx(values.std(ddof=1) / math.sqrt(2), rel=1e-14)

    @every
    def test_gradient_is_the_derivative_of_the_value(self, estimator: SequenceEstimator) -> None:
        means = np.array([0.7, 0.4, -0.5, 1.3, 0.8, 2.0])[: estimator.count]
        step = 1e-6 * np.eye(estimator.count)
        slopes = [(estimator.value(means + s) - estimator.value(means - s)) / 2e-6 for s in step]
        np.testing.assert_allclose(estimator.gradient(means), slopes, rtol=1e-8, atol=1e-9)

    def test_the_self_normalised_error_is_that_of_its_linear_part(self) -> None:
        units = random_units(3, 50, 3)
        estimator = SelfNormalisedPerDecisionIS(GAMMA, horizon=3).add(units)
        rho, total = units.ratio, np.zeros(50)
        for t in range(3):
            ratio = rho[:, t] / rho[:, t].mean()
            part = (rho[:, t] @ units.reward[:, t]) / rho[:, t].sum()
            total += GAMMA**t * ratio * (units.reward[:, t] - part)
        sums = np.array([total[units.cluster == c].sum() for c in np.unique(units.cluster)])
        groups = len(sums)
        want = math.sqrt(groups / (groups - 1) * (sums @ sums)) / 50
        assert estimator.result().error == pytest.approx(want, rel=1e-10)

    @every
    def test_names_its_paper(self, estimator: SequenceEstimator) -> None:
        assert estimator.name
        assert estimator.references


class TestLimits:
    @pytest.mark.parametrize(
        ("sequential", "single"),
        [
            (PerDecisionIS(GAMMA), IPS()),
            (SequentialDR(GAMMA), DR()),
            (SelfNormalisedPerDecisionIS(GAMMA, horizon=1), SNIPS()),
        ],
        ids=repr,
    )
    def test_one_decision_a_unit_is_the_single_action_estimator(
        self, sequential: SequenceEstimator, single: IPS | DR | SNIPS
    ) -> None:
        units = random_units(1, 40, 1)
        columns = ("reward", "propensity", "target", "predicted", "expected")
        flat = {name: getattr(units, name)[:, 0] for name in columns}
        batch = Batch.of(**flat, cluster=units.cluster)
        mine, its = sequential.add(units).result(), single.add(batch).result()
        assert mine.value == pytest.approx(its.value, rel=1e-14)
        assert mine.error == pytest.approx(its.error, rel=1e-12)

    def test_without_an_outcome_model_dr_is_per_decision_is(self) -> None:
        units = random_units(2, 30, 4)
        plain = Sequences.of(units.reward, units.propensity, units.target, taken=units.taken)
        mine, its = (e(GAMMA).add(plain).result() for e in (SequentialDR, PerDecisionIS))
        assert mine.value == pytest.approx(its.value, rel=1e-14)
        assert mine.error == pytest.approx(its.error, rel=1e-14)

    def test_a_candidate_that_is_the_logger_gets_the_mean_return(self) -> None:
        reward = np.random.default_rng(0).normal(size=(20, 3))
        same = Sequences.of(reward, np.full((20, 3), 0.25), np.full((20, 3), 0.25))
        want = (reward @ GAMMA ** np.arange(3)).mean()
        for estimator in ALL[1:]:
            assert estimator.add(same).result().value == pytest.approx(want, rel=1e-13)

    def test_the_self_normalised_form_does_not_move_with_a_constant(self) -> None:
        units = random_units(4, 30, 3)
        full = Sequences.of(np.full((30, 3), 7.0), units.propensity, units.target)
        result = SelfNormalisedPerDecisionIS(GAMMA, horizon=3).add(full).result()
        assert result.value == pytest.approx(7.0 * (1 + GAMMA + GAMMA**2), rel=1e-14)
        assert result.error == pytest.approx(0.0, abs=1e-7)

    def test_a_huge_ratio_stays_finite(self) -> None:
        chance = [[1e-12, 0.5], [0.5, 0.5]]
        units = Sequences.of([[1.0, 1.0], [0.0, 0.0]], chance, [[1.0, 0.5], [0.0, 0.5]])
        result = PerDecisionIS().add(units).result()
        assert result.value == pytest.approx(1e12, rel=1e-14)
        assert result.error == pytest.approx(1e12, rel=1e-14)
        own = SelfNormalisedPerDecisionIS(horizon=2).add(units).result()
        assert own.value == pytest.approx(2.0, rel=1e-14)

    @every
    def test_one_unit_has_a_value_and_no_error(self, estimator: SequenceEstimator) -> None:
        result = estimator.add(Sequences.of([[1.0, 2.0]], [[0.5, 0.5]], [[0.5, 0.5]])).result()
        assert math.isfinite(result.value)
        assert math.isnan(result.error)
        assert result.decisions == 1

    @every
    def test_no_unit_has_no_value(self, estimator: SequenceEstimator) -> None:
        nothing = np.empty((0, 2))
        result = estimator.add(Sequences.of(nothing, nothing, nothing)).result()
        assert math.isnan(result.value)
        assert result.decisions == 0

    def test_a_candidate_that_never_gets_there_has_no_self_normalised_value(self) -> None:
        units = Sequences.of([[1.0, 1.0]], [[0.5, 0.5]], [[0.5, 0.0]])
        result = SelfNormalisedPerDecisionIS(horizon=2).add(units).result()
        assert math.isnan(result.value)
        assert math.isnan(result.error)


class TestPadding:
    @every
    @given(st.integers(0, 10_000))
    @settings(max_examples=20, deadline=None)
    def test_what_stands_in_padding_does_not_matter(
        self, estimator: SequenceEstimator, seed: int
    ) -> None:
        units, rng = random_units(seed, 12, 3), np.random.default_rng(seed)
        names = ("reward", "propensity", "target", "predicted", "expected")
        junk = rng.choice([np.nan, -5.0, 1e300], (12, 3))
        dirty = {name: np.where(units.taken, getattr(units, name), junk) for name in names}
        other = Sequences.of(**dirty, taken=units.taken, cluster=units.cluster)
        assert estimator.add(other).result() == estimator.add(units).result()

    @every
    @given(st.integers(0, 10_000))
    @settings(max_examples=20, deadline=None)
    def test_steps_that_nobody_took_do_not_matter(
        self, estimator: SequenceEstimator, seed: int
    ) -> None:
        units = random_units(seed, 12, 2)
        names = ("reward", "propensity", "target", "taken", "predicted", "expected")
        wider = {name: np.pad(getattr(units, name), ((0, 0), (0, 1))) for name in names}
        result = estimator.add(units).result()
        padded = estimator.add(Sequences.of(**wider, cluster=units.cluster)).result()
        assert padded.value == pytest.approx(result.value, rel=1e-13)
        assert padded.error == pytest.approx(result.error, rel=1e-13)

    def test_a_longer_horizon_changes_nothing(self) -> None:
        units = random_units(6, 20, 2)
        short, long = (
            SelfNormalisedPerDecisionIS(GAMMA, horizon=h).add(units).result() for h in (2, 5)
        )
        assert long.value == pytest.approx(short.value, rel=1e-14)
        assert long.error == pytest.approx(short.error, rel=1e-12)


class TestMonoid:
    @every
    @given(seed=st.integers(0, 10_000), cuts=st.lists(st.integers(0, 24), max_size=5))
    @settings(max_examples=20, deadline=None)
    def test_shards_in_any_order_are_the_whole(
        self, estimator: SequenceEstimator, seed: int, cuts: list[int]
    ) -> None:
        units = random_units(seed, 24, 3)
        units = units.rows(np.argsort(units.cluster, kind="stable"))
        edges = np.unique(np.searchsorted(units.cluster, units.cluster[np.array(cuts, int) % 24]))
        parts = np.split(np.arange(24), edges)
        np.random.default_rng(seed).shuffle(order := list(range(len(parts))))
        merged = estimator
        for index in order:
            merged = merged + estimator.add(units.rows(parts[index]))
        whole, result = estimator.add(units).result(), merged.result()
        assert result.value == pytest.approx(whole.value, rel=1e-12, abs=1e-12)
        assert result.error == pytest.approx(whole.error, rel=1e-12, nan_ok=True)
        assert (result.decisions, result.clusters) == (whole.decisions, whole.clusters)

    @every
    def test_the_order_of_units_does_not_matter(self, estimator: SequenceEstimator) -> None:
        units = random_units(8, 30, 3)
        shuffled = units.rows(np.random.default_rng(1).permutation(30))
        result, other = estimator.add(units).result(), estimator.add(shuffled).result()
        assert other.value == pytest.approx(result.value, rel=1e-12)
        assert other.error == pytest.approx(result.error, rel=1e-12)

    def test_shards_of_other_lengths_merge(self) -> None:
        estimator = SelfNormalisedPerDecisionIS(GAMMA, horizon=3)
        short, long = random_units(9, 10, 2), random_units(10, 10, 3)
        merged = estimator.add(short) + estimator.add(long)
        ratio = np.vstack([np.pad(short.ratio, ((0, 0), (0, 1)), mode="edge"), long.ratio])
        reward = np.vstack([np.pad(short.reward, ((0, 0), (0, 1))), long.reward])
        each_step = (ratio * reward).sum(axis=0) / ratio.sum(axis=0)
        want = each_step @ GAMMA ** np.arange(3)
        assert merged.result().value == pytest.approx(want, rel=1e-12)

    def test_other_settings_do_not_add_up(self) -> None:
        with pytest.raises(ValueError, match="do not add up"):
            PerDecisionIS(0.5) + PerDecisionIS(0.6)
        with pytest.raises(ValueError, match="do not add up"):
            SelfNormalisedPerDecisionIS(horizon=2) + SelfNormalisedPerDecisionIS(horizon=3)


class TestRefusals:
    GOOD = ([[1.0, 2.0]], [[0.5, 0.5]], [[0.5, 0.5]])

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            ({"reward": [[1.0, np.nan]]}, "reward of step 1 must be finite; row 0 has nan"),
            (
                {"propensity": [[0.0, 0.5]]},
                r"propensity of step 0 must be in \(0, 1\]; row 0",
            ),
            ({"propensity": [[0.5, 1.5]]}, r"propensity of step 1 must be in \(0, 1\]"),
            ({"target": [[0.5, -0.1]]}, r"target of step 1 must be in \[0, 1\]; row 0 has -0.1"),
            ({"target": [[1.1, 0.5]]}, r"target of step 0 must be in \[0, 1\]"),
            ({"predicted": [[np.inf, 0.0]]}, "predicted of step 0 must be finite"),
            ({"expected": [[0.0, np.nan]]}, "expected of step 1 must be finite"),
            ({"expected": [0.0, 1.0]}, r"expected has shape \(2,\); give \(1, 2\)"),
            ({"taken": [[True]]}, r"taken has shape \(1, 1\); give \(1, 2\)"),
            ({"cluster": [1, 2]}, r"cluster has shape \(2,\); give \(1,\)"),
            ({"reward": [1.0, 2.0]}, r"reward has shape \(2,\); give a table"),
            ({"reward": [[]]}, r"with T >= 1"),
        ],
    )
    def test_what_is_out_of_range_is_named(self, change: dict[str, object], match: str) -> None:
        columns = dict(zip(("reward", "propensity", "target"), self.GOOD, strict=True))
        with pytest.raises(ValueError, match=match):
            Sequences.of(**{**columns, **change})  # type: ignore[arg-type]

    def test_a_product_of_ratios_that_overflows_is_refused(self) -> None:
        with pytest.raises(ValueError, match="the product of target / propensity must be finite"):
            Sequences.of([[1.0, 1.0]], [[1e-200, 1e-200]], [[1.0, 1.0]])

    @pytest.mark.parametrize("discount", [-0.1, 1.1, np.nan])
    @pytest.mark.parametrize("make", [PerDecisionIS, SequentialDR, SelfNormalisedPerDecisionIS])
    def test_discounts_out_of_range(self, make: type[SequenceEstimator], discount: float) -> None:
        with pytest.raises(ValueError, match=r"discount must be in \[0, 1\]"):
            make(discount)

    def test_horizons_that_do_not_fit(self) -> None:
        with pytest.raises(ValueError, match="horizon must be at least 1, got 0"):
            SelfNormalisedPerDecisionIS(horizon=0)
        with pytest.raises(ValueError, match="give horizon=2 or more"):
            SelfNormalisedPerDecisionIS(horizon=1).add(Sequences.of(*self.GOOD))
