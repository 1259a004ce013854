"""What every policy must keep: run it on your own.

from matinee.testing import PolicyConformance

class TestMine(PolicyConformance):
    def make(self):
        return Mine(temperature=0.3)
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from itertools import permutations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chisquare

from matinee.policies.base import Policy, Preference

SCORES: tuple[tuple[float, ...], ...] = (
    (0.3, 1.2, -0.4, 0.9),
    (5.0,),
    (2.0, 2.0, 2.0),
    (-0.0, 0.0, 1.0),
    (1000.0, 0.0, -1000.0, 1.0),
    (3e-9, 1e-9, 2e-9, 0.0, -1e-9),
)
"""Scores that a policy meets: plain, one candidate, ties, signed zeros, far apart, close."""
DRAWS = 4_000
LEAST_P = 1e-4
"""A right policy fails a seeded frequency check for one seed in ten thousand."""


class PolicyConformance(ABC):
    """The tests of the policy contract; subclass it as ``Test...`` and return your policy."""

    @abstractmethod
    def make(self) -> Policy:
        """A fresh policy, the same settings each time."""

    def test_settings_make_the_same_policy_again(self) -> None:
        policy = self.make()
        settings = json.loads(json.dumps(policy.settings()))
        again = type(policy)(**settings)
        assert again.settings() == settings
        scores = np.array(SCORES[0])
        _same_preference(policy.prefer(scores), again.prefer(scores))

    def test_it_names_itself_and_its_sources(self) -> None:
        policy = self.make()
        assert policy.name.isidentifier()
        assert policy.references
        assert policy.kind in {"conditional", "marginal", "joint"}

    def test_many_preferences_are_those_of_each(self) -> None:
        policy, rng = self.make(), np.random.default_rng(5)
        scores = rng.normal(size=(7, 5)).round(1)
        found = policy.prefer_all(scores)
        samples = rng.normal(size=(9, 7, 5)).round(1)
        among = policy.prefer_all_among(samples)
        for row in range(7):
            _same_preference(found.at(row), policy.prefer(scores[row]))
            _same_preference(among.at(row), policy.prefer_among(samples[:, row]))

    def test_chances_are_the_propensities_of_one_slot(self) -> None:
        policy = self.make()
        found = policy.prefer_all(np.random.default_rng(6).normal(size=(7, 5)))
        chances = policy.chances(found.logits)
        for row, logits in enumerate(found.logits):
            preference = found.at(row)
            each = [policy.propensities(preference, one[None])[0] for one in preference.segment]
            np.testing.assert_allclose(chances[row], each, rtol=1e-9, atol=1e-12)
            alone = policy.chances(logits[None])[0]
            assert np.array_equal(alone, chances[row]), "a batch has other chances than one alone"

    def test_a_pick_is_as_frequent_as_its_propensity(self) -> None:
        policy = self.make()
        logits = policy.prefer(np.array(SCORES[0])).logits
        luck = (np.arange(DRAWS) + 0.5) / DRAWS
        places, propensities = policy.pick(np.tile(logits, (DRAWS, 1)), luck)
        shares = np.bincount(places, minlength=len(logits)) / DRAWS
        chances = policy.chances(logits[None])[0]
        np.testing.assert_allclose(shares, chances, atol=1 / DRAWS)
        assert np.array_equal(propensities, chances[places])

    def test_a_segment_holds_distinct_candidates(self) -> None:
        for scores in SCORES:
            preference = self.make().prefer(np.array(scores))
            positions = preference.segment.tolist()
            assert len(set(positions)) == len(positions) == len(preference.logits)
            assert set(positions) <= set(range(len(scores)))
            assert preference.segment.dtype == np.int32
            assert preference.logits.dtype == np.float32
            assert np.isfinite(preference.logits).all()

    def test_probabilities_sum_to_one(self) -> None:
        policy = self.make()
        for scores in SCORES:
            probabilities = policy.probabilities(policy.prefer(np.array(scores)), len(scores))
            assert (probabilities >= 0).all()
            assert abs(probabilities.sum() - 1) < 1e-9

    def test_probabilities_are_the_propensities_of_the_first_slot(self) -> None:
        policy = self.make()
        for scores in SCORES:
            preference = policy.prefer(np.array(scores))
            probabilities = policy.probabilities(preference, len(scores))
            for action in range(len(scores)):
                (chance,) = policy.propensities(preference, np.array([action], np.int32))
                assert abs(probabilities[action] - chance) < 1e-12, (
                    "probabilities() and propensities() of one action differ"
                )

    def test_the_joint_over_all_slates_sums_to_one(self) -> None:
        policy = self.make()
        for scores in SCORES:
            preference = policy.prefer(np.array(scores))
            for slots in range(1, len(preference.segment) + 1):
                _, joint = _slates(policy, preference, slots)
                assert abs(joint.sum() - 1) < 1e-9

    def test_draws_are_as_frequent_as_the_joint_says(self) -> None:
        policy = self.make()
        preference = policy.prefer(np.array(SCORES[0]))
        slots = min(3, len(preference.segment))
        slates, joint = _slates(policy, preference, slots)
        rng = np.random.default_rng(20_260_101)
        counts = dict.fromkeys(slates, 0)
        for _ in range(DRAWS):
            counts[tuple(policy.draw(preference, slots, rng).actions.tolist())] += 1
        seen = np.array(list(counts.values()))
        assert not seen[joint == 0].any(), "a slate of probability 0 was drawn"
        assert _agree(seen[joint > 0], DRAWS * joint[joint > 0])

    def test_propensities_replay_a_draw(self) -> None:
        policy, rng = self.make(), np.random.default_rng(7)
        for scores in SCORES:
            preference = policy.prefer(np.array(scores))
            for slots in (1, 2, 100):
                slate = policy.draw(preference, slots, rng)
                again = policy.propensities(preference, slate.actions)
                np.testing.assert_array_equal(again, slate.propensities)
                assert (slate.propensities > 0).all()
                assert (slate.propensities <= 1).all()
                assert slate.kind == policy.kind

    def test_many_are_chosen_for_as_one_is(self) -> None:
        policy = self.make()
        for scores in SCORES:
            preference = policy.prefer(np.array(scores))
            probabilities = policy.probabilities(preference, len(scores))
            many = np.tile(np.array(scores), (DRAWS, 1))
            found = policy.choose(many, np.random.default_rng(20_260_102))
            assert found.actions.shape == found.propensities.shape == (DRAWS,)
            chances = probabilities[found.actions]
            np.testing.assert_allclose(found.propensities, chances, rtol=1e-12, atol=1e-12)
            seen = np.bincount(found.actions, minlength=len(scores))
            assert not seen[probabilities == 0].any(), "an action of probability 0 was chosen"
            possible = probabilities > 0
            assert _agree(seen[possible], DRAWS * probabilities[possible])

    def test_each_of_many_is_chosen_for_by_its_own_scores(self) -> None:
        policy, rng = self.make(), np.random.default_rng(5)
        scores = rng.normal(size=(50, 6))
        found = policy.choose(scores, rng)
        for row, action, propensity in zip(scores, found.actions, found.propensities, strict=True):
            chance = policy.propensities(policy.prefer(row), np.array([action], np.int32))[0]
            assert abs(chance - propensity) < 1e-12
        assert len(policy.choose(scores[:0], rng).actions) == 0

    def test_a_slate_holds_distinct_candidates_of_the_segment(self) -> None:
        policy, rng = self.make(), np.random.default_rng(11)
        for scores in SCORES:
            preference = policy.prefer(np.array(scores))
            for slots in (0, 1, len(scores), 10 * len(scores)):
                actions = policy.draw(preference, slots, rng).actions.tolist()
                assert len(set(actions)) == len(actions)
                assert len(actions) == min(slots, len(preference.segment))
                assert set(actions) <= set(preference.segment.tolist())

    def test_the_same_seed_draws_the_same_slate(self) -> None:
        policy = self.make()
        preference = policy.prefer(np.array(SCORES[0]))
        size = len(preference.segment)
        for seed in range(20):
            one = policy.draw(preference, 10 * size, np.random.default_rng(seed))
            two = policy.draw(preference, size, np.random.default_rng(seed))
            np.testing.assert_array_equal(one.actions, two.actions)
            np.testing.assert_array_equal(one.propensities, two.propensities)

    def test_drawing_changes_nothing(self) -> None:
        policy, scores = self.make(), np.array(SCORES[0])
        preference = policy.prefer(scores)
        before = Preference(preference.segment.copy(), preference.logits.copy())
        policy.draw(preference, 3, np.random.default_rng(3))
        policy.propensities(preference, preference.segment)
        _same_preference(preference, before)
        np.testing.assert_array_equal(scores, SCORES[0])
        assert policy.settings() == self.make().settings()

    def test_what_cannot_be_drawn_has_propensity_zero(self) -> None:
        policy = self.make()
        preference = policy.prefer(np.array(SCORES[0]))
        first = int(preference.segment[0])
        outside_then_twice = np.array([len(SCORES[0]), first, first], np.int32)
        propensities = policy.propensities(preference, outside_then_twice)
        assert propensities[0] == propensities[2] == 0
        assert propensities[1] > 0

    def test_no_candidates_make_an_empty_slate(self) -> None:
        policy = self.make()
        preference = policy.prefer(np.array([]))
        slate = policy.draw(preference, 5, np.random.default_rng(1))
        assert len(preference.segment) == len(slate.actions) == len(slate.propensities) == 0

    def test_single_and_double_precision_prefer_the_same(self) -> None:
        policy, scores = self.make(), np.array([0.25, 1.5, -0.75, 1.0])
        _same_preference(policy.prefer(scores), policy.prefer(scores.astype(np.float32)))


def _slates(
    policy: Policy, preference: Preference, slots: int
) -> tuple[list[tuple[int, ...]], NDArray[np.float64]]:
    """Every slate of `slots` candidates and its probability, the product of its propensities."""
    slates = list(permutations(preference.segment.tolist(), slots))
    joint = [policy.propensities(preference, np.array(slate, np.int32)).prod() for slate in slates]
    return slates, np.array(joint)


def _agree(seen: NDArray[np.int_], expected: NDArray[np.float64]) -> bool:
    """Pearson's test, with the rare slates (fewer than 5 expected) taken together."""
    rare = expected < 5
    if rare.any():
        seen = np.append(seen[~rare], seen[rare].sum())
        expected = np.append(expected[~rare], expected[rare].sum())
    if len(expected) == 1:
        return True
    return bool(chisquare(seen, expected * seen.sum() / expected.sum()).pvalue > LEAST_P)


def _same_preference(one: Preference, two: Preference) -> None:
    np.testing.assert_array_equal(one.segment, two.segment)
    np.testing.assert_array_equal(one.logits, two.logits)
