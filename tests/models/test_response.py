"""The mean reward of each action: right whatever the logger preferred, and drawn together."""

import numpy as np
import pytest

from matinee.models import (
    Context,
    Dataset,
    Histories,
    InMemory,
    Response,
    Responses,
    Vocabulary,
    response,
)

ACTIONS = Vocabulary(["none", "new", "unfinished"])


def context(countries, devices=(), features=()):
    size = len(countries)
    nobody = Histories.of([[]] * size, countries=countries)
    return Context(nobody, np.zeros(size, np.int64), tuple(devices), tuple(features))


def fitted(actions, rewards, propensities, seen, **settings):
    rows = Responses(
        np.array(actions, np.int32), np.array(rewards, float), np.array(propensities, float), seen
    )
    return Response(**settings).fit(Dataset(ACTIONS, [], 0, responses=[InMemory(rows)]))


def means(model, asked, candidates=None):
    return model.believe(asked, candidates).mean


def test_a_mean_by_hand():
    """Of "new": weights 2 and 4, mean 4/6 = 2/3, effective number 36/20 = 1.8."""
    model = fitted([1, 1], [0.0, 1.0], [0.5, 0.25], context([None] * 2), by=[], strength=0.2)
    new = (1.8 * (2 / 3) + 0.2 * 0.5) / 2.0
    assert means(model, context([None]))[0] == pytest.approx([0.5, new, 0.5])


def test_a_logger_that_knows_does_not_mislead():
    """Which members get "new" depends on how they respond; weights by 1 / p undo that."""
    rng = np.random.default_rng(0)
    keen = rng.random(200_000) < 0.5
    chance = np.where(keen, 0.9, 0.1)
    new = rng.random(len(keen)) < chance
    rewards = np.where(new, keen * 0.8, 0.3)
    propensities = np.where(new, chance, 1 - chance)
    model = fitted(new.astype(int), rewards, propensities, context([None] * len(keen)), by=[])
    assert means(model, context([None]))[0, :2] == pytest.approx([0.3, 0.4], abs=0.005)
    assert rewards[new].mean() > 0.7  # what a plain mean would say


def test_a_cell_is_drawn_to_all_and_all_to_the_mean_of_everything():
    seen = context(["NL"] * 1000 + ["US"] * 1000 + ["FR"])
    actions, rewards = [1] * 2001, [1.0] * 1000 + [0.0] * 1000 + [1.0]
    model = fitted(actions, rewards, [0.5] * 2001, seen, strength=50.0)
    found = means(model, context(["NL", "US", "FR", "DE"]))[:, 1]
    assert found[0] > 0.95
    assert found[1] < 0.05
    assert 0.5 < found[2] < 0.52  # one choice moves little
    assert found[3] == pytest.approx(0.5, abs=0.001)


def test_members_are_told_apart_by_device_and_by_what_the_app_says():
    seen = context([None] * 4, ["tv", "tv", "web", "web"], [{"late": True}, {}, {"late": True}, {}])
    model = fitted([1] * 4, [1.0, 0, 0, 0], [1.0] * 4, seen, by=["device", "late"], strength=1e-6)
    asked = context([None] * 3, ["tv", "tv", "web"], [{"late": True}, {}, {"late": True}])
    assert means(model, asked)[:, 1] == pytest.approx([1.0, 0.0, 0.0], abs=1e-5)


def test_before_any_response_all_actions_are_alike():
    model = Response().fit(Dataset(ACTIONS, [], 0))
    found = means(model, context(["NL"]), np.array([0, 2, -1], np.int32))
    assert found.tolist() == [[0.0, 0.0, 0.0]]


def test_choices_of_actions_that_are_gone_teach_nothing():
    seen = context(["NL"] * 3)
    with_gone = fitted([1, -1, 1], [1.0, 9.0, 1.0], [0.5] * 3, seen)
    without = fitted([1, 1], [1.0, 1.0], [0.5] * 2, context(["NL"] * 2))
    assert np.array_equal(means(with_gone, seen), means(without, seen))


@pytest.mark.parametrize("by", [["country"], ["device"], ["plan"], []])
def test_settings_are_kept(by):
    assert Response(by=by).settings() == {"by": by, "strength": 50.0}


def test_what_would_not_fit_into_memory_is_refused(monkeypatch):
    monkeypatch.setattr(response, "MOST_MEANS", 5)
    fitted([0], [0.0], [1.0], context(["NL"]))
    with pytest.raises(ValueError, match="country have 2 values, more than 1"):
        fitted([0, 0], [0.0, 0.0], [1.0, 1.0], context(["NL", "US"]))


def test_what_is_no_class_of_members_is_refused():
    with pytest.raises(ValueError, match="give a list of names"):
        Response(by="country")
    with pytest.raises(ValueError, match="positive number"):
        Response(strength=0.0)
    ids = context([None] * 10_001, features=[{"id": number} for number in range(10_001)])
    with pytest.raises(ValueError, match="leave out what is a number or an id"):
        fitted([0] * 10_001, [0.0] * 10_001, [1.0] * 10_001, ids, by=["id"])
