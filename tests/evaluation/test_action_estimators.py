"""Estimators of single-action decisions: known answers, truth by full enumeration, and limits."""

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from matinee.evaluation.off_policy.base import ActionEstimator, Estimator
from matinee.evaluation.off_policy.batch import Batch
from matinee.evaluation.off_policy.direct import DirectMethod
from matinee.evaluation.off_policy.dr import DR
from matinee.evaluation.off_policy.dros import DRos, shrunk
from matinee.evaluation.off_policy.ips import IPS
from matinee.evaluation.off_policy.loggers import balanced, mixture
from matinee.evaluation.off_policy.mips import embedding_mass, marginal_batch, marginal_weights
from matinee.evaluation.off_policy.replay import Replay
from matinee.evaluation.off_policy.slope import Slope
from matinee.evaluation.off_policy.sndr import SelfNormalisedDR
from matinee.evaluation.off_policy.snips import SNIPS
from matinee.evaluation.off_policy.switch_dr import SwitchDR

ALL: list[ActionEstimator] = [
    Replay(),
    DirectMethod(),
    IPS(),
    IPS(clip=1.5),
    SNIPS(),
    DR(),
    DR(clip=1.5),
    SelfNormalisedDR(),
    SwitchDR(threshold=1.5),
    DRos(shrinkage=2.0),
]
every = pytest.mark.parametrize("estimator", ALL, ids=repr)

# A problem so small that all its logs can be written down: two contexts, three actions, rewards
# of two values each.
CONTEXT = np.array([0.25, 0.75])
LOGGING = np.array([[0.5, 0.25, 0.25], [0.125, 0.5, 0.375]])
TARGET = np.array([[0.125, 0.25, 0.625], [0.75, 0.25, 0.0]])
REWARD = np.array([[1.0, 3.0, -2.0], [0.5, 4.0, 1.0]])
WRONG = np.array([[2.0, -1.0, 0.5], [3.0, 0.0, -7.0]])
NOISE = np.array([-1.0, 1.0])
EMBEDDING = np.array([4, 2, 4])
TRUTH = float(np.einsum("x,xa,xa->", CONTEXT, TARGET, REWARD))


def logs(
    rows: int, logging: list[np.ndarray], reward: np.ndarray
) -> Iterator[tuple[float, np.ndarray, np.ndarray, np.ndarray]]:
    """Every log of so many rows, row i by logging[i]: its probability, contexts, actions, rewards.

    The reward of a row is its mean less or plus one, with even odds.
    """
    cells = list(itertools.product(range(2), range(3), range(2)))
    for log in itertools.product(cells, repeat=rows):
        x, a, e = np.array(log).T
        chances = [0.5 * CONTEXT[x[i]] * logging[i][x[i], a[i]] for i in range(rows)]
        yield math.prod(chances), x, a, reward[x, a] + NOISE[e]


def expectation(estimator: ActionEstimator, q: np.ndarray | None = None, rows: int = 2) -> float:
    total = 0.0
    for chance, x, a, r in logs(rows, [LOGGING] * rows, REWARD):
        outcome = None if q is None else q[x]
        batch = Batch.of_distributions(r, a, LOGGING[x, a], TARGET[x], q=outcome)
        total += chance * estimator.add(batch).result().value
    return total


def batches(seed: int, rows: int) -> Batch:
    """A random batch with clusters, and rows on which a deterministic candidate agrees."""
    rng = np.random.default_rng(seed)
    return Batch.of(
        rng.normal(size=rows),
        rng.uniform(0.05, 1.0, rows),
        np.append(rng.choice([0.0, 0.3, 1.0], rows - 1), 1.0),
        predicted=rng.normal(size=rows),
        expected=rng.normal(size=rows),
        cluster=rng.integers(0, max(rows // 2, 1), rows),
    )


class TestKnownAnswers:
    """By hand: weights 0.5, 2 and 4, residuals 1, -2 and 3."""

    BATCH = Batch.of(
        [2.0, 0.0, 4.0],
        [0.5, 0.25, 0.25],
        [0.25, 0.5, 1.0],
        predicted=[1.0, 2.0, 1.0],
        expected=[3.0, 5.0, 1.0],
    )

    @pytest.mark.parametrize(
        ("estimator", "sum_of_three"),
        [
            (Replay(), 12.0),
            (DirectMethod(), 9.0),
            (DR(), 9.0 + 0.5 - 4.0 + 12.0),
            (DR(clip=1.0), 9.0 + 0.5 - 2.0 + 3.0),
            (SelfNormalisedDR(), 9.0 + 3 * (0.5 - 4.0 + 12.0) / 6.5),
            (SwitchDR(threshold=2.0), 9.0 + 0.5 - 4.0),
            (SwitchDR(threshold=1.9), 9.0 + 0.5),
            (DRos(shrinkage=4.0), 9.0 + 2 / 4.25 - 2 * 8 / 8 + 3 * 16 / 20),
        ],
        ids=repr,
    )
    def test_values(self, estimator: ActionEstimator, sum_of_three: float) -> None:
        result = estimator.add(self.BATCH).result()
        assert result.value == pytest.approx(sum_of_three / 3, rel=1e-14)
        assert (result.decisions, result.clusters) == (3, 3)

    def test_the_error_of_a_mean_is_the_textbook_one(self) -> None:
        each = np.array([3.5, 1.0, 13.0])
        assert DR().add(self.BATCH).result().error == pytest.approx(
            each.std(ddof=1) / math.sqrt(3), rel=1e-14
        )

    @every
    def test_gradient_is_the_derivative_of_the_value(self, estimator: ActionEstimator) -> None:
        means = np.array([0.7, 0.4, 1.3])[: estimator.count]
        step = 1e-6 * np.eye(estimator.count)
        slopes = [(estimator.value(means + s) - estimator.value(means - s)) / 2e-6 for s in step]
        np.testing.assert_allclose(estimator.gradient(means), slopes, rtol=1e-8, atol=1e-9)

    @every
    def test_names_its_paper(self, estimator: ActionEstimator) -> None:
        assert estimator.name
        assert estimator.references

    @pytest.mark.parametrize(
        ("make", "bad"),
        [
            (DR, 0.0),
            (DR, np.nan),
            (SwitchDR, -1.0),
            (SwitchDR, np.nan),
            (DRos, -1.0),
            (DRos, np.nan),
        ],
    )
    def test_settings_out_of_range_are_refused(
        self, make: type[ActionEstimator], bad: float
    ) -> None:
        with pytest.raises(ValueError, match="got"):
            make(bad)  # type: ignore[call-arg]


class TestTruth:
    """Over all logs, each by its probability."""

    @pytest.mark.parametrize(
        "q", [None, WRONG, REWARD, 0 * WRONG], ids=["none", "wrong", "right", "zero"]
    )
    def test_dr_is_unbiased_whatever_the_outcome_model(self, q: np.ndarray | None) -> None:
        assert expectation(DR(), q) == pytest.approx(TRUTH, abs=1e-12)

    def test_ips_is_unbiased(self) -> None:
        assert expectation(IPS()) == pytest.approx(TRUTH, abs=1e-12)

    @pytest.mark.parametrize(
        "estimator", [DirectMethod(), DR(clip=0.5), SwitchDR(1.0), DRos(1.0)], ids=repr
    )
    def test_all_that_use_a_right_outcome_model_are_unbiased(
        self, estimator: ActionEstimator
    ) -> None:
        assert expectation(estimator, REWARD) == pytest.approx(TRUTH, abs=1e-12)

    def test_switch_dr_is_off_by_the_model_error_beyond_the_threshold(self) -> None:
        beyond = TARGET * (TARGET / LOGGING > 1.0)
        bias = np.einsum("x,xa,xa->", CONTEXT, beyond, WRONG - REWARD)
        assert bias != pytest.approx(0.0)
        assert expectation(SwitchDR(1.0), WRONG) == pytest.approx(TRUTH + bias, abs=1e-12)

    def test_dros_is_off_by_what_shrinkage_takes(self) -> None:
        weight = TARGET / LOGGING
        lost = 1 - 2.0 / (weight**2 + 2.0)
        bias = np.einsum("x,xa,xa,xa->", CONTEXT, TARGET, lost, WRONG - REWARD)
        assert bias != pytest.approx(0.0)
        assert expectation(DRos(2.0), WRONG) == pytest.approx(TRUTH + bias, abs=1e-12)

    def test_clipped_ips_and_dr_are_off_by_what_is_clipped(self) -> None:
        kept = LOGGING * np.minimum(TARGET / LOGGING, 1.5)
        ips = np.einsum("x,xa,xa->", CONTEXT, kept, REWARD)
        assert expectation(IPS(clip=1.5)) == pytest.approx(ips, abs=1e-12)
        bias = np.einsum("x,xa,xa->", CONTEXT, TARGET - kept, WRONG - REWARD)
        assert expectation(DR(clip=1.5), WRONG) == pytest.approx(TRUTH + bias, abs=1e-12)

    def test_replay_on_a_random_log_is_right_on_average_where_it_speaks(self) -> None:
        uniform, best = np.full((2, 3), 1 / 3), np.eye(3)[[1, 0]]
        total = speaks = 0.0
        for chance, x, a, r in logs(2, [uniform] * 2, REWARD):
            value = Replay().add(Batch.of(r, uniform[x, a], best[x, a])).result().value
            if not math.isnan(value):
                total, speaks = total + chance * value, speaks + chance
        assert speaks == pytest.approx(1 - (2 / 3) ** 2)
        assert total / speaks == pytest.approx(0.25 * 3.0 + 0.75 * 0.5, abs=1e-12)


class TestLimits:
    BATCH = batches(7, 40)

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            (DRos(np.inf), DR()),
            (DRos(0.0), DirectMethod()),
            (SwitchDR(np.inf), DR()),
            (SwitchDR(0.0), DirectMethod()),
            (DR(clip=1e9), DR()),
        ],
        ids=repr,
    )
    def test_at_the_ends_of_its_setting_one_is_the_other(
        self, one: ActionEstimator, other: ActionEstimator
    ) -> None:
        mine, its = one.add(self.BATCH).result(), other.add(self.BATCH).result()
        assert (mine.value, mine.error) == (its.value, its.error)

    def test_dros_nears_its_ends_without_a_jump(self) -> None:
        near = [DRos(s).add(self.BATCH).result().value for s in (1e-12, 1e12)]
        ends = [e.add(self.BATCH).result().value for e in (DirectMethod(), DR())]
        assert near == pytest.approx(ends, abs=1e-8)
        assert near != ends

    @pytest.mark.parametrize(("dr", "ips"), [(DR(), IPS()), (SelfNormalisedDR(), SNIPS())])
    def test_without_an_outcome_model_dr_is_ips(
        self, dr: ActionEstimator, ips: ActionEstimator
    ) -> None:
        plain = Batch.of(self.BATCH.reward, self.BATCH.propensity, self.BATCH.target)
        mine, its = dr.add(plain).result(), ips.add(plain).result()
        assert mine.value == pytest.approx(its.value, rel=1e-14)
        assert mine.error == pytest.approx(its.error, rel=1e-14)

    def test_replay_of_a_deterministic_candidate_on_a_uniform_log_is_snips(self) -> None:
        b = self.BATCH
        target = (b.target == 1).astype(float)
        batch = Batch.of(b.reward, np.full(len(b), 0.25), target, cluster=b.cluster)
        replay, snips = Replay().add(batch).result(), SNIPS().add(batch).result()
        assert replay.value == pytest.approx(snips.value, rel=1e-14)
        assert replay.error == pytest.approx(snips.error, rel=1e-12)

    def test_self_normalised_dr_does_not_move_with_a_constant(self) -> None:
        b = self.BATCH
        moved = Batch.of(
            b.reward + 100,
            b.propensity,
            b.target,
            predicted=b.predicted,
            expected=b.expected,
        )
        value = SelfNormalisedDR().add(b).result().value
        assert SelfNormalisedDR().add(moved).result().value == pytest.approx(value + 100, rel=1e-12)


class TestWeights:
    @given(arrays(np.float64, 8, elements=st.floats(0, 1e6)), st.floats(1e-6, 1e6))
    @settings(max_examples=50)
    def test_shrunk_is_its_formula_below_overflow(self, w: np.ndarray, s: float) -> None:
        np.testing.assert_allclose(shrunk(w, s), s * w / (w**2 + s), rtol=1e-13, atol=1e-300)

    @pytest.mark.parametrize("shrinkage", [1e-300, 1e-3, 1.0, 1e3, 1e300])
    def test_shrunk_stays_finite_and_below_its_bound(self, shrinkage: float) -> None:
        weight = np.array([0.0, 1e-300, 1e-12, 1.0, 1e12, 1e200, 1.7e308])
        got = shrunk(weight, shrinkage)
        bound = np.minimum(weight, math.sqrt(shrinkage) / 2)
        assert np.isfinite(got).all()
        assert (got <= bound * (1 + 1e-14)).all()

    def test_a_huge_weight_is_dropped_by_those_that_say_so(self) -> None:
        batch = Batch.of([1.0, 1.0], [1e-200, 1.0], [1.0, 0.0], predicted=[0.5] * 2)
        for estimator in (SwitchDR(10.0), DRos(10.0), DirectMethod()):
            assert estimator.add(batch).result().value == pytest.approx(0.0, abs=1e-190)
        assert DR(clip=10.0).add(batch).result().value == pytest.approx(2.5)


class TestMonoid:
    @every
    @given(seed=st.integers(0, 10_000), cuts=st.lists(st.integers(0, 24), max_size=5))
    @settings(max_examples=15, deadline=None)
    def test_shards_in_any_order_are_the_whole(
        self, estimator: ActionEstimator, seed: int, cuts: list[int]
    ) -> None:
        b = batches(seed, 24)
        whole = Batch.of(  # every row its own cluster, so that any cut is a fair one
            b.reward, b.propensity, b.target, predicted=b.predicted, expected=b.expected
        )
        edges = [0, *sorted(cuts), 24]
        shards = [estimator.add(whole.rows(slice(*pair))) for pair in itertools.pairwise(edges)]
        np.random.default_rng(seed).shuffle(shards)
        merged = sum(shards, start=estimator).result()
        chained = estimator
        for pair in itertools.pairwise(edges):
            chained = chained.add(whole.rows(slice(*pair)))
        once = estimator.add(whole).result()
        scale = max(1.0, abs(once.value), once.error)
        for other in (merged, chained.result()):
            assert other.value == pytest.approx(once.value, abs=1e-12 * scale)
            assert other.error == pytest.approx(once.error, abs=1e-11 * scale)
            assert (other.decisions, other.clusters) == (24, 24)

    @every
    def test_the_order_of_rows_does_not_matter(self, estimator: ActionEstimator) -> None:
        whole = batches(3, 30)
        turned = whole.rows(np.random.default_rng(3).permutation(30))
        one, other = estimator.add(whole).result(), estimator.add(turned).result()
        assert other.value == pytest.approx(one.value, rel=1e-12)
        assert other.error == pytest.approx(one.error, rel=1e-12)

    @every
    def test_nothing_added_is_no_number(self, estimator: ActionEstimator) -> None:
        for empty in (estimator, estimator.add(batches(0, 4).rows(slice(0, 0)))):
            result = empty.result()
            assert math.isnan(result.value)
            assert math.isnan(result.error)
            assert result.decisions == 0

    @every
    def test_adding_leaves_what_it_added_to_as_it_was(self, estimator: ActionEstimator) -> None:
        estimator.add(batches(0, 4))
        assert estimator.result().decisions == 0

    @every
    def test_one_row_has_a_value_and_no_error(self, estimator: ActionEstimator) -> None:
        batch = Batch.of([2.0], [1.0], [1.0], predicted=[2.0], expected=[2.0])
        result = estimator.add(batch).result()
        assert result.value == pytest.approx(2.0)
        assert math.isnan(result.error)

    @every
    def test_constant_rewards_known_to_the_model(self, estimator: ActionEstimator) -> None:
        ones = np.ones(6)
        batch = Batch.of(ones, ones, ones, predicted=ones, expected=ones)
        result = estimator.add(batch).result()
        assert result.value == pytest.approx(1.0)
        assert result.error == pytest.approx(0.0, abs=1e-15)

    @pytest.mark.parametrize("estimator", [Replay(), SNIPS(), SelfNormalisedDR()], ids=repr)
    def test_ratios_without_a_weight_are_no_number(self, estimator: ActionEstimator) -> None:
        batch = Batch.of([1.0, 2.0], [0.5, 0.5], [0.0, 0.0])
        assert math.isnan(estimator.add(batch).result().value)

    @pytest.mark.parametrize(
        ("one", "other"), [(SwitchDR(1.0), SwitchDR(2.0)), (DRos(1.0), DRos(2.0)), (DR(), DR(3.0))]
    )
    def test_other_settings_do_not_add_up(
        self, one: Estimator[Batch], other: Estimator[Batch]
    ) -> None:
        with pytest.raises(ValueError, match="not the same"):
            one + other


class TestMips:
    FLAT = np.array([[1.0, 3.0, 1.0], [0.5, 4.0, 0.5]])
    """Rewards without a direct effect: the same within an embedding."""

    def expectation(
        self, estimator: ActionEstimator, reward: np.ndarray, q: np.ndarray | None = None
    ) -> float:
        total = 0.0
        for chance, x, a, r in logs(2, [LOGGING] * 2, reward):
            outcome = None if q is None else q[x]
            batch = marginal_batch(r, a, EMBEDDING, TARGET[x], LOGGING[x], q=outcome)
            total += chance * estimator.add(batch).result().value
        return total

    def test_unbiased_without_a_direct_effect(self) -> None:
        truth = np.einsum("x,xa,xa->", CONTEXT, TARGET, self.FLAT)
        assert self.expectation(IPS(), self.FLAT) == pytest.approx(truth, abs=1e-12)
        flat_q = WRONG[:, [0, 1, 0]]
        assert self.expectation(DR(), self.FLAT, flat_q) == pytest.approx(truth, abs=1e-12)

    def test_biased_with_one(self) -> None:
        pi, pi_0 = embedding_mass(TARGET, EMBEDDING), embedding_mass(LOGGING, EMBEDDING)
        weight = (pi / pi_0)[:, [1, 0, 1]]
        reached = np.einsum("x,xa,xa,xa->", CONTEXT, LOGGING, weight, REWARD)
        assert self.expectation(IPS(), REWARD) == pytest.approx(reached, abs=1e-12)
        assert reached != pytest.approx(TRUTH, abs=0.05)

    def test_dr_needs_only_the_differences_within_an_embedding(self) -> None:
        level = np.array([[5.0, -3.0, 5.0], [-2.0, 7.0, -2.0]])
        assert self.expectation(DR(), REWARD, REWARD + level) == pytest.approx(TRUTH, abs=1e-12)

    def test_an_embedding_for_each_action_changes_nothing(self) -> None:
        x, a, r = np.array([0, 1, 1, 0]), np.array([2, 0, 1, 1]), np.array([1.0, 2.0, 0.5, 3.0])
        fine = marginal_batch(r, a, [30, 10, 20], TARGET[x], LOGGING[x], q=WRONG[x])
        plain = Batch.of_distributions(r, a, LOGGING[x, a], TARGET[x], q=WRONG[x])
        for estimator in ALL:
            if not isinstance(estimator, Replay):
                assert estimator.add(fine).result() == estimator.add(plain).result()

    def test_one_embedding_for_all_gives_the_mean_reward(self) -> None:
        x, a = np.array([0, 1, 1]), np.array([2, 0, 1])
        batch = marginal_batch([1.0, 2.0, 6.0], a, [5, 5, 5], TARGET[x], LOGGING[x])
        assert IPS().add(batch).result().value == pytest.approx(3.0)

    def test_weights_are_written_from_the_formula(self) -> None:
        rng = np.random.default_rng(0)
        pi, pi_0 = rng.dirichlet(np.ones(12), 20), rng.dirichlet(np.ones(12), 20)
        embedding, action = rng.integers(0, 4, 12), rng.integers(0, 12, 20)
        same = embedding[action][:, None] == embedding
        want = (pi * same).sum(axis=1) / (pi_0 * same).sum(axis=1)
        got = marginal_weights(embedding, pi, pi_0, action)
        np.testing.assert_allclose(got, want, rtol=1e-13)

    def test_actions_without_mass_count_as_logged_where_their_embedding_is(self) -> None:
        candidate, log = [[0.25, 0.25, 0.5]], [[1.0, 0.0, 0.0]]
        batch = marginal_batch([1.0], [0], [1, 1, 2], candidate, log)
        assert batch.outside.tolist() == [0.5]
        assert batch.target.tolist() == [0.5]

    @pytest.mark.parametrize(
        ("action", "embedding", "match"),
        [
            ([3], [1, 1, 2], "action must be in 0..2"),
            ([-1], [1, 1, 2], "row 0"),
            ([0], [1, 1], "target has shape"),
            ([0, 0], [1, 1, 2], r"action has shape \(2,\); give \(1,\)"),
            ([0.5], [1, 1, 2], "action must be a whole number"),
            ([0], [[1, 1, 2]], "embedding has shape"),
            ([0], [1, 1.5, 2], r"embedding must be a whole number .*; row 1 has 1\.5"),
        ],
    )
    def test_what_does_not_fit_is_refused(
        self, action: list[int], embedding: list[int], match: str
    ) -> None:
        with pytest.raises(ValueError, match=match):
            marginal_batch([1.0], action, embedding, [[0.5, 0.25, 0.25]], [[0.5, 0.25, 0.25]])

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            ({"target": TARGET[:1]}, r"target has shape \(1, 3\); give \(2, 3\)"),
            ({"logging": LOGGING[:1]}, r"logging has shape \(1, 3\); give \(2, 3\)"),
            ({"q": WRONG[:1]}, r"q has shape \(1, 3\); give \(2, 3\)"),
            ({"q": [[1.0]]}, r"q has shape \(1, 1\); give \(2, 3\)"),
            ({"target": [[0.5, 0.5, 0.8], TARGET[1]]}, r"sum of target must be 1; row 0 has 1\.8"),
            ({"logging": [LOGGING[0], [0.1, 0.1, 0.1]]}, "sum of logging must be 1; row 1"),
        ],
    )
    def test_tables_that_mislead_are_refused(self, change: dict[str, Any], match: str) -> None:
        tables = {"target": TARGET, "logging": LOGGING, "q": WRONG, **change}
        with pytest.raises(ValueError, match=match):
            marginal_batch([1.0, 0.0], [0, 2], [1, 1, 2], **tables)


class TestLoggers:
    OTHER = np.array([[0.0, 0.5, 0.5], [0.75, 0.0, 0.25]])

    def test_balanced_is_unbiased_though_no_logger_covers_alone(self) -> None:
        loggers = [LOGGING, self.OTHER, self.OTHER]
        assert ((self.OTHER == 0) & (TARGET > 0)).any()
        for estimator, q in ((IPS(), None), (DR(), WRONG)):
            total = 0.0
            for chance, x, a, r in logs(3, loggers, REWARD):
                if chance == 0:
                    continue
                both = np.column_stack([LOGGING[x, a], self.OTHER[x, a]])
                propensity = balanced(both, [0, 1, 1])
                outcome = None if q is None else q[x]
                batch = Batch.of_distributions(r, a, propensity, TARGET[x], q=outcome)
                total += chance * estimator.add(batch).result().value
            assert total == pytest.approx(TRUTH, abs=1e-12)

    def test_its_variance_is_below_that_of_each_own_propensity(self) -> None:
        squares = {"own": 0.0, "mixture": 0.0}
        loggers = [LOGGING, np.array([[0.3, 0.3, 0.4], [0.6, 0.2, 0.2]])]
        for chance, x, a, r in logs(2, loggers, REWARD):
            both = np.column_stack([pi_0[x, a] for pi_0 in loggers])
            for name, p in (("own", np.diag(both)), ("mixture", balanced(both, [0, 1]))):
                value = IPS().add(Batch.of(r, p, TARGET[x, a])).result().value
                squares[name] += chance * (value - TRUTH) ** 2
        assert squares["mixture"] < squares["own"]

    def test_one_logger_keeps_its_propensity(self) -> None:
        assert balanced([[0.2], [0.7]], [0, 0]).tolist() == [0.2, 0.7]

    def test_shards_with_the_counts_of_the_whole_are_the_whole(self) -> None:
        rng = np.random.default_rng(1)
        table, logger = rng.uniform(size=(10, 3)), rng.integers(0, 3, 10)
        counts = np.bincount(logger, minlength=3)
        parts = [mixture(table[:4], counts), mixture(table[4:], counts)]
        np.testing.assert_allclose(np.concatenate(parts), balanced(table, logger), rtol=1e-15)

    def test_tables_of_other_lengths_are_refused(self) -> None:
        with pytest.raises(ValueError, match=r"propensities has shape \(1, 2\)"):
            balanced([[0.5, 0.5]], [0, 1])

    def test_a_logger_that_is_not_there_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"logger must be in 0\.\.1; row 1 has 2"):
            balanced([[0.5, 0.5], [0.5, 0.5]], [0, 2])


def test_slope_is_a_monoid_too() -> None:
    slope = Slope(tuple(ALL))
    whole = Batch.of(*(getattr(batches(5, 30), f) for f in ("reward", "propensity", "target")))
    merged = slope.add(whole.rows(slice(20, 30))) + slope.add(whole.rows(slice(0, 20)))
    assert merged.result().value == pytest.approx(slope.add(whole).result().value, rel=1e-12)
