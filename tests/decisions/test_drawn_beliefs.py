"""Decisions by draws from a posterior: what is recorded, what is judged, and that it learns."""

from datetime import timedelta

import numpy as np
import pytest

from matinee.decisions import Counterfactual, Decider, rebuild
from matinee.models import Context, Dataset, Histories, InMemory, Linear, Responses, Vocabulary
from matinee.policies import Thompson
from matinee.surfaces import Candidates, Surface

PICTURES = Vocabulary(["duel", "kiss", "storm"])
TASTES = ("action", "love")
TRUTH = {"action": (0.7, 0.2, 0.4), "love": (0.2, 0.7, 0.4)}


class Posters(Surface):
    name = "posters"
    reward_range = (0.0, 1.0)
    window = timedelta(hours=24)
    choices = Candidates.of(PICTURES.ids)

    def eligible(self, request):
        return self.choices

    def reward(self, decisions, events):
        raise NotImplementedError

    def policies(self):
        return {"thompson": Thompson()}

    def models(self):
        return (Linear(by=["likes"]),)


def dataset(decisions=(), rewards=()):
    features = tuple(decision.context["features"] for decision in decisions)
    context = Context(
        Histories.of([[]] * len(features)), np.zeros(len(features), np.int64), (), features
    )
    actions = PICTURES.encode(decision.actions[0] for decision in decisions)
    chances = np.array([decision.propensities[0] for decision in decisions])
    responses = Responses(actions, np.array(rewards, float), chances, context)
    return Dataset(PICTURES, [], 0, responses=[InMemory(responses)])


def decider(model, policy, histories):
    sources = {"version": "posters@1", "histories": histories, "salt": b"salt"}
    return Decider(Posters(), model, policy, **sources)


@pytest.fixture
def learned():
    """A model that has seen ten responses, so that it is not sure."""
    rng = np.random.default_rng(0)
    features = tuple({"likes": TASTES[one]} for one in rng.integers(0, 2, 10))
    context = Context(Histories.of([[]] * 10), np.zeros(10, np.int64), (), features)
    responses = Responses(
        rng.integers(0, 3, 10).astype(np.int32), rng.random(10), np.full(10, 1 / 3), context
    )
    data = Dataset(PICTURES, [], 0, responses=[InMemory(responses)])
    return Linear(by=["likes"], strength=1.0).fit(data)


def test_what_is_recorded_is_the_chance_it_was_chosen_with(learned, histories, log, request_of):
    policy = Thompson(draws=64, epsilon=0.1)
    chosen = decider(learned, policy, histories)
    counts, expected = np.zeros(3), None
    for number in range(3_000):
        decision = chosen.propose(request_of(f"r{number}", slots=1, features={"likes": "love"}))
        counts[PICTURES.encode(decision.actions)] += 1
        found = rebuild(decision, policy)
        assert found.actions.tolist() == [Posters.choices.ids.index(decision.actions[0])]
        assert found.propensities.tolist() == decision.propensities
        chances = np.exp(decision.scores)
        expected = np.zeros(3)
        expected[decision.segment] = chances / chances.sum()
    assert expected.min() > 0.1 / 3 * 0.99
    assert np.count_nonzero(expected > 0.05) > 1, "a model so unsure leaves more than one a chance"
    assert (np.abs(counts - 3_000 * expected) < 5 * np.sqrt(3_000 * expected)).all()


def test_a_version_that_draws_prefers_what_it_preferred(learned, histories, log, request_of):
    policy = Thompson(draws=64)
    chosen = decider(learned, policy, histories)
    asked = [
        chosen.propose(request_of(f"r{number}", slots=1, features={"likes": TASTES[number % 2]}))
        for number in range(20)
    ]
    sets = {asked[0].eligible: PICTURES.ids}
    nothing = [histories.history("m1")] * len(asked)
    found = Counterfactual(learned, policy).preferences(asked, sets, nothing)
    for record, preference in zip(asked, found, strict=True):
        assert preference.segment.tolist() == record.segment
        assert preference.logits == pytest.approx(record.scores, abs=1e-6)


def test_it_comes_to_show_each_member_what_they_like(histories, request_of):
    """400 decisions in batches of 20, each learned from before the next: by the end most members
    get the picture that earns most of them, and all three still have a chance.
    """
    rng, model = np.random.default_rng(1), Linear(by=["likes"], strength=2.0).fit(dataset())
    right = []
    for batch in range(20):
        chosen = decider(model, Thompson(epsilon=0.1), histories)
        decisions, rewards = [], []
        for number in range(20):
            likes = TASTES[rng.integers(0, 2)]
            request = request_of(f"r{batch}-{number}", slots=1, features={"likes": likes})
            decision = chosen.propose(request)
            mean = TRUTH[likes][PICTURES.encode(decision.actions)[0]]
            decisions.append(decision)
            rewards.append(float(rng.random() < mean))
            right.append(mean == 0.7)
            assert decision.propensities[0] >= 0.1 / 3 * 0.999
        model = model.update(dataset(decisions, rewards))
    assert np.mean(right[-100:]) > 0.75
    assert np.mean(right[:40]) < 0.6
