"""Outcome models, and that no prediction has seen what it must not."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matinee.evaluation.off_policy.batch import Batch
from matinee.evaluation.off_policy.columns import Floats, Integers
from matinee.evaluation.off_policy.dr import DR
from matinee.evaluation.off_policy.ips import IPS
from matinee.evaluation.off_policy.outcome_models import (
    ActionMean,
    Outcome,
    OutcomeModel,
    RidgePerAction,
    cross_fitted,
    doubling,
    folds_of,
    predictable,
)

ACTIONS = 3
MODELS: list[OutcomeModel] = [ActionMean(ACTIONS, 2.0), RidgePerAction(ACTIONS, 2.0)]
both = pytest.mark.parametrize("model", MODELS, ids=repr)
makes = pytest.mark.parametrize("make", [ActionMean, RidgePerAction])
NEVER = np.iinfo(np.int64).max


@dataclass
class Log:
    """A random log of N rows: members decide often, and rewards close after a while."""

    seed: int
    size: int = 40
    features: Floats = field(init=False)
    action: Integers = field(init=False)
    reward: Floats = field(init=False)
    cluster: Integers = field(init=False)
    at: Integers = field(init=False)
    closed_at: Integers = field(init=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        self.features = rng.normal(size=(self.size, 2))
        self.action = rng.integers(0, ACTIONS, self.size)
        self.reward = rng.normal(size=self.size)
        self.cluster = rng.integers(-5, 10, self.size)
        self.at = rng.integers(0, 30, self.size)
        self.closed_at = self.at + rng.integers(0, 15, self.size)

    def crossed(self, model: OutcomeModel, reward: Floats | None = None, **how: int) -> Floats:
        rewards = self.reward if reward is None else reward
        return cross_fitted(model, self.features, self.action, rewards, self.cluster, **how)

    def predicted(
        self, model: OutcomeModel, refits: Integers, reward: Floats | None = None, **how: float
    ) -> Floats:
        rewards = self.reward if reward is None else reward
        return predictable(
            model,
            self.features,
            self.action,
            rewards,
            at=self.at,
            closed_at=self.closed_at,
            refits=refits,
            **how,
        )


class Spy:
    """An outcome model that keeps what it was fitted on, and predicts how many rows that was."""

    actions = ACTIONS

    def __init__(self) -> None:
        self.fits: list[Floats] = []

    def fit(self, features: Floats, action: Integers, reward: Floats) -> Outcome:
        self.fits.append(reward)
        return self

    def predict(self, features: Floats) -> Floats:
        return np.full((len(features), ACTIONS), float(len(self.fits[-1])))


class TestCrossFitting:
    @both
    @given(st.integers(0, 10_000), st.integers(0, 39))
    @settings(max_examples=30, deadline=None)
    def test_no_row_is_predicted_from_its_own_member_or_fold(
        self, model: OutcomeModel, seed: int, row: int
    ) -> None:
        log = Log(seed)
        fold = folds_of(log.cluster, 5)
        own = fold == fold[row]
        assert own[log.cluster == log.cluster[row]].all()
        changed = np.where(own, log.reward + 100.0, log.reward)
        q, other = log.crossed(model), log.crossed(model, changed)
        np.testing.assert_array_equal(other[own], q[own])
        assert (other[~own] != q[~own]).any(axis=1).all()

    def test_each_fold_is_predicted_from_all_others(self) -> None:
        log, spy = Log(1), Spy()
        q = log.crossed(spy)
        fold = folds_of(log.cluster, 5)
        np.testing.assert_array_equal(q[:, 0], len(fold) - np.bincount(fold, minlength=5)[fold])
        for one, fitted in zip(np.unique(fold), spy.fits, strict=True):
            np.testing.assert_array_equal(fitted, log.reward[fold != one])

    @both
    def test_the_order_of_rows_does_not_matter(self, model: OutcomeModel) -> None:
        log, order = Log(2), np.random.default_rng(0).permutation(40)
        q = log.crossed(model)
        columns = (log.features, log.action, log.reward, log.cluster)
        shuffled = cross_fitted(model, *(column[order] for column in columns))
        np.testing.assert_allclose(shuffled, q[order], rtol=1e-12, atol=1e-14)

    @both
    def test_the_same_again_gives_the_same_and_another_seed_does_not(
        self, model: OutcomeModel
    ) -> None:
        log = Log(3)
        np.testing.assert_array_equal(log.crossed(model), log.crossed(model))
        assert (log.crossed(model) != log.crossed(model, seed=1)).any()

    @both
    def test_one_row_and_one_member_get_the_prior(self, model: OutcomeModel) -> None:
        one = cross_fitted(model, [[1.0, 2.0]], [1], [9.0], [4], prior=0.5)
        np.testing.assert_array_equal(one, [[0.5] * ACTIONS])
        many = cross_fitted(model, np.ones((6, 2)), [0] * 6, [9.0] * 6, [4] * 6)
        np.testing.assert_array_equal(many, np.zeros((6, ACTIONS)))

    @both
    def test_folds_without_a_member_are_no_matter(self, model: OutcomeModel) -> None:
        q = cross_fitted(model, np.ones((2, 2)), [0, 1], [1.0, 5.0], [1, 3], folds=1000)
        np.testing.assert_allclose(q, [[5.0] * ACTIONS, [1.0] * ACTIONS], rtol=1e-14)

    def test_dr_on_it_is_nearer_than_ips_in_a_log_that_a_line_explains(self) -> None:
        rng = np.random.default_rng(0)
        size = 4000
        x, member = rng.normal(size=(size, 2)), rng.integers(0, 800, size)
        means = np.column_stack([3 + x[:, 0], 1 - x[:, 1], x.sum(axis=1)])
        a = rng.integers(0, ACTIONS, size)
        r = means[np.arange(size), a] + 0.1 * rng.normal(size=size)
        pi = np.tile([0.7, 0.2, 0.1], (size, 1))
        q = cross_fitted(RidgePerAction(ACTIONS), x, a, r, member)
        batch = Batch.of_distributions(r, a, np.full(size, 1 / 3), pi, q=q, cluster=member)
        ips, dr = IPS().add(batch).result(), DR().add(batch).result()
        assert dr.error < 0.5 * ips.error
        assert abs(dr.value - (pi * means).sum(axis=1).mean()) < 4 * 0.1 * 2 / np.sqrt(size)


class TestFolds:
    def test_a_fold_is_a_matter_of_the_id_alone(self) -> None:
        ids = np.random.default_rng(0).integers(-(2**62), 2**62, 500)
        whole = folds_of(ids, 7, seed=3)
        np.testing.assert_array_equal(folds_of(ids[::-1], 7, seed=3)[::-1], whole)
        assert [int(folds_of([one], 7, seed=3)[0]) for one in ids] == whole.tolist()

    @pytest.mark.parametrize("ids", [np.arange(50_000), 1000 * np.arange(50_000)])
    @pytest.mark.parametrize("seed", [0, 1, -1])
    def test_folds_are_even_for_ids_in_a_row(self, ids: Integers, seed: int) -> None:
        counts = np.bincount(folds_of(ids, 5, seed), minlength=5)
        assert ((counts - 10_000) ** 2 / 10_000).sum() < 23.5  # chi-squared, 4 degrees, 1e-4

    def test_seeds_part_members_independently(self) -> None:
        ids = np.arange(50_000)
        together = np.bincount(5 * folds_of(ids, 5, 0) + folds_of(ids, 5, 1), minlength=25)
        assert ((together - 2000) ** 2 / 2000).sum() < 60.0  # chi-squared, 24 degrees, 1e-4

    @pytest.mark.parametrize("folds", [1, 0, -1])
    def test_fewer_than_two_folds_are_refused(self, folds: int) -> None:
        with pytest.raises(ValueError, match="folds must be at least 2"):
            folds_of([1, 2], folds)

    def test_clusters_are_whole_numbers(self) -> None:
        with pytest.raises(ValueError, match=r"cluster must be a whole number .* row 0 has 0\.2"):
            folds_of([0.2, 0.9], 5)


class TestPredictable:
    @both
    @given(st.integers(0, 10_000), st.integers(0, 39), st.lists(st.integers(-2, 35), max_size=6))
    @settings(max_examples=50, deadline=None)
    def test_no_prediction_knows_a_reward_that_had_not_closed(
        self, model: OutcomeModel, seed: int, row: int, refits: list[int]
    ) -> None:
        log, cuts = Log(seed), np.unique(np.array(refits, np.int64))
        open_then = log.closed_at >= log.at[row]
        assert open_then[row]
        changed = np.where(open_then, log.reward - 50.0, log.reward)
        early = log.at <= log.at[row]
        q, other = log.predicted(model, cuts), log.predicted(model, cuts, changed)
        np.testing.assert_array_equal(other[early], q[early])

    @given(st.integers(0, 10_000), st.lists(st.integers(-2, 35), max_size=6))
    @settings(max_examples=50, deadline=None)
    def test_it_is_the_model_of_the_last_refit_before(self, seed: int, refits: list[int]) -> None:
        log, cuts = Log(seed), np.unique(np.array(refits, np.int64))
        q = log.predicted(ActionMean(ACTIONS, 2.0), cuts, prior=0.25)
        for row in range(log.size):
            before = [cut for cut in cuts if cut < log.at[row]]
            known = log.closed_at <= (before[-1] if before else -100)
            want = np.full(ACTIONS, 0.25)
            if known.any():
                m = log.reward[known].mean()
                for action in range(ACTIONS):
                    mine = log.reward[known & (log.action == action)]
                    want[action] = (mine.sum() + 2.0 * m) / (len(mine) + 2.0)
            np.testing.assert_allclose(q[row], want, rtol=1e-12, atol=1e-14)

    @both
    @given(st.integers(0, 10_000), st.integers(0, 30))
    @settings(max_examples=30, deadline=None)
    def test_what_comes_later_changes_no_earlier_prediction(
        self, model: OutcomeModel, seed: int, now: int
    ) -> None:
        """Not even through the instants of `doubling`, which are those of the whole log here."""
        log = Log(seed)
        seen = log.at <= now
        whole = log.predicted(model, doubling(log.closed_at, 2))
        part = Log(seed)
        names = ("features", "action", "reward", "at", "closed_at")
        for name in names:
            setattr(part, name, getattr(log, name)[seen])
        late = part.closed_at > now
        part.reward, part.closed_at = part.reward.copy(), part.closed_at.copy()
        part.reward[late], part.closed_at[late] = np.nan, NEVER
        cuts = doubling(part.closed_at, 2)
        q = part.predicted(model, cuts[cuts < NEVER])
        np.testing.assert_allclose(q, whole[seen], rtol=1e-12, atol=1e-14)

    @both
    def test_the_order_of_rows_does_not_matter(self, model: OutcomeModel) -> None:
        log, order = Log(4), np.random.default_rng(0).permutation(40)
        cuts = doubling(log.closed_at, 4)
        q = log.predicted(model, cuts)
        for name in ("features", "action", "reward", "at", "closed_at"):
            setattr(log, name, getattr(log, name)[order])
        np.testing.assert_allclose(log.predicted(model, cuts), q[order], rtol=1e-12, atol=1e-14)
        np.testing.assert_array_equal(log.predicted(model, cuts), log.predicted(model, cuts))

    def test_a_reward_that_closes_at_the_refit_is_known_just_after_it(self) -> None:
        when: dict[str, Any] = {"at": [0, 10, 11], "closed_at": [10, 20, 20], "refits": [10]}
        q = predictable(ActionMean(1), np.empty((3, 0)), [0] * 3, [4.0, 0.0, 0.0], **when)
        assert q[:, 0].tolist() == [0.0, 0.0, 4.0]

    @both
    def test_before_anything_is_known_it_is_the_prior(self, model: OutcomeModel) -> None:
        log = Log(5)
        for refits in (np.array([], np.int64), np.array([-10]), np.array([100])):
            q = log.predicted(model, refits, prior=0.5)
            np.testing.assert_array_equal(q, np.full((40, ACTIONS), 0.5))

    @both
    def test_one_row_and_none(self, model: OutcomeModel) -> None:
        when: dict[str, Any] = {"at": [5], "closed_at": [6], "refits": [0, 4]}
        q = predictable(model, [[1.0, 2.0]], [0], [np.nan], **when)
        np.testing.assert_array_equal(q, np.zeros((1, ACTIONS)))
        nothing: dict[str, Any] = {"at": [], "closed_at": [], "refits": []}
        assert predictable(model, np.empty((0, 2)), [], [], **nothing).shape == (0, ACTIONS)

    def test_a_reward_that_never_closes_may_be_nan_and_one_that_closed_may_not(self) -> None:
        log = Log(6)
        log.reward[3], log.closed_at[3] = np.nan, log.at[3]
        with pytest.raises(ValueError, match=r"reward must be finite where .* row 3 has nan"):
            log.predicted(ActionMean(ACTIONS), np.array([29]))
        log.closed_at[3] = NEVER
        assert np.isfinite(log.predicted(ActionMean(ACTIONS), np.array([29]))).all()

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            ({"closed_at": [1, 0]}, "closed_at must be no earlier than at; row 1 has 0"),
            ({"at": [0]}, r"at has shape \(1,\); give one for each of the 2 rows"),
            ({"closed_at": [9, 9, 9]}, r"closed_at has shape \(3,\)"),
            ({"refits": [2, 2]}, "refits must be a list of ascending"),
            ({"refits": [3, 2]}, "refits must be a list of ascending"),
            ({"refits": 3}, "refits must be a list of ascending"),
        ],
    )
    def test_times_that_do_not_fit_are_refused(self, change: dict[str, object], match: str) -> None:
        when: dict[str, Any] = {"at": [0, 1], "closed_at": [3, 3], "refits": [2], **change}
        with pytest.raises(ValueError, match=match):
            predictable(ActionMean(1), np.empty((2, 0)), [0, 0], [1.0, 1.0], **when)


class TestDoubling:
    @given(st.lists(st.integers(-5, 50), max_size=60), st.integers(1, 9))
    @settings(max_examples=50)
    def test_twice_as_many_have_closed_at_each(self, closed: list[int], first: int) -> None:
        instants = doubling(np.array(closed, np.int64), first)
        want, many = set(), first
        while many <= len(closed):
            want.add(sorted(closed)[many - 1])
            many *= 2
        assert instants.tolist() == sorted(want)

    def test_a_first_below_one_is_refused(self) -> None:
        with pytest.raises(ValueError, match="first must be at least 1"):
            doubling([1], 0)


class TestModels:
    def test_action_mean_is_its_formula(self) -> None:
        log = Log(7)
        q = ActionMean(5, 3.0).fit(log.features, log.action, log.reward).predict(log.features)
        m = log.reward.mean()
        for action in range(ACTIONS):
            mine = log.reward[log.action == action]
            want = (mine.sum() + 3.0 * m) / (len(mine) + 3.0)
            np.testing.assert_allclose(q[:, action], want, rtol=1e-13)
        np.testing.assert_allclose(q[:, ACTIONS:], m, rtol=1e-13)

    def test_ridge_minimises_what_it_says(self) -> None:
        log, strength = Log(8), 3.0
        x = log.features * [1.0, 50.0] + [0.0, 1e3]
        outcome = RidgePerAction(ACTIONS, strength).fit(x, log.action, log.reward)
        z = np.column_stack([np.ones(log.size), (x - x.mean(axis=0)) / x.std(axis=0)])
        m = log.reward.mean()
        for action in range(ACTIONS):
            mine = log.action == action
            rows = np.vstack([z[mine], np.sqrt(strength) * np.eye(3)])
            b = np.linalg.lstsq(rows, np.append(log.reward[mine] - m, np.zeros(3)))[0]
            want = np.clip(m + z @ b, log.reward.min(), log.reward.max())
            np.testing.assert_allclose(outcome.predict(x)[:, action], want, rtol=1e-9, atol=1e-12)

    def test_ridge_recovers_lines(self) -> None:
        rng = np.random.default_rng(1)
        x, a = rng.normal(size=(300, 2)), rng.integers(0, 2, 300)
        means = np.column_stack([x[:, 0] - 2 * x[:, 1], 5 + 3 * x[:, 1]])
        outcome = RidgePerAction(2, 1e-9).fit(x, a, means[np.arange(300), a])
        inside = 0.3 * x
        want = np.column_stack([inside[:, 0] - 2 * inside[:, 1], 5 + 3 * inside[:, 1]])
        np.testing.assert_allclose(outcome.predict(inside), want, atol=1e-8)

    def test_ridge_without_features_is_the_action_mean(self) -> None:
        log, nothing = Log(9), np.empty((40, 0))
        ridge = RidgePerAction(5, 4.0).fit(nothing, log.action, log.reward)
        means = ActionMean(5, 4.0).fit(nothing, log.action, log.reward)
        np.testing.assert_allclose(ridge.predict(nothing), means.predict(nothing), rtol=1e-13)

    def test_ridge_does_not_mind_the_units_of_features(self) -> None:
        log, model = Log(10), RidgePerAction(ACTIONS)
        moved = log.features * [1e6, 1e-6] + [1e9, -3.0]
        q = model.fit(log.features, log.action, log.reward).predict(log.features)
        other = model.fit(moved, log.action, log.reward).predict(moved)
        np.testing.assert_allclose(other, q, rtol=1e-6)

    def test_collinear_and_constant_features_are_no_matter(self) -> None:
        log, model = Log(11), RidgePerAction(ACTIONS, 1e-300)
        x = log.features[:, :1]
        many = np.hstack([x, x, -3 * x, np.full((40, 1), 0.1), np.full((40, 1), 1e15)])
        q = model.fit(many, log.action, log.reward).predict(many)
        plain = RidgePerAction(ACTIONS, 1e-9).fit(x, log.action, log.reward).predict(x)
        assert np.isfinite(q).all()
        steady = RidgePerAction(ACTIONS, 1e-6).fit(many, log.action, log.reward).predict(many)
        np.testing.assert_allclose(steady, plain, atol=1e-5)

    @both
    def test_predictions_stay_within_the_rewards_seen(self, model: OutcomeModel) -> None:
        log = Log(12)
        outcome = model.fit(log.features, log.action, np.clip(log.reward, 0.0, 1.0))
        q = outcome.predict(1e6 * log.features)
        assert q.shape == (40, ACTIONS)
        assert ((q >= 0) & (q <= 1)).all()

    @both
    @pytest.mark.parametrize("constant", [0.0, 0.1, -1e12])
    def test_a_constant_reward_is_predicted(self, model: OutcomeModel, constant: float) -> None:
        log = Log(13)
        outcome = model.fit(log.features, log.action, np.full(40, constant))
        np.testing.assert_allclose(outcome.predict(log.features), constant, rtol=1e-14)

    @both
    def test_one_row_is_enough(self, model: OutcomeModel) -> None:
        outcome = model.fit(np.array([[1.0, 2.0]]), np.array([1]), np.array([3.0]))
        assert outcome.predict(np.zeros((2, 2))).tolist() == [[3.0] * ACTIONS] * 2

    @both
    def test_a_fit_leaves_no_trace(self, model: OutcomeModel) -> None:
        one, two = Log(14), Log(15)
        first = model.fit(one.features, one.action, one.reward)
        before = first.predict(one.features)
        model.fit(two.features, two.action, two.reward)
        again = model.fit(one.features, one.action, one.reward)
        np.testing.assert_array_equal(first.predict(one.features), before)
        np.testing.assert_array_equal(again.predict(one.features), before)

    @both
    @pytest.mark.parametrize(
        ("change", "match"),
        [
            ({"action": [0, 3]}, r"action must be in 0\.\.2, .* row 1 has 3"),
            ({"action": [-1, 0]}, r"action must be in 0\.\.2, .* row 0 has -1"),
            ({"action": [0, 0.5]}, r"action must be a whole number .* row 1 has 0\.5"),
            ({"reward": [0.0, np.nan]}, "reward must be finite; row 1 has nan"),
            ({"features": [[0.0], [np.inf]]}, "features that are not finite must be 0; row 1"),
            ({"features": [0.0, 1.0]}, r"features has shape \(2,\)"),
            ({"reward": [0.0]}, r"reward \(1,\)"),
            ({"action": [0]}, r"action \(1,\)"),
        ],
    )
    def test_what_does_not_fit_is_refused(
        self, model: OutcomeModel, change: dict[str, Any], match: str
    ) -> None:
        rows: dict[str, Any] = {
            "features": [[0.0], [1.0]],
            "action": [0, 1],
            "reward": [1.0, 2.0],
            **change,
        }
        with pytest.raises(ValueError, match=match):
            model.fit(**rows)
        with pytest.raises(ValueError, match=match):
            cross_fitted(model, **rows, cluster=[0, 1])

    @both
    def test_no_row_at_all_is_refused(self, model: OutcomeModel) -> None:
        with pytest.raises(ValueError, match="needs at least one row"):
            model.fit(np.empty((0, 2)), np.empty(0, np.int64), np.empty(0))

    @makes
    @pytest.mark.parametrize("strength", [0.0, -1.0, np.inf, np.nan])
    def test_settings_out_of_range_are_refused(
        self, make: type[ActionMean | RidgePerAction], strength: float
    ) -> None:
        with pytest.raises(ValueError, match="strength must be above 0 and finite"):
            make(ACTIONS, strength)
        with pytest.raises(ValueError, match="actions must be at least 1"):
            make(0)
