"""Boosted trees: what they recover, how they are calibrated, and what may be in a file of them."""

import re
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matinee.errors import MatineeError
from matinee.models import (
    Boosted,
    Context,
    Dataset,
    Histories,
    InMemory,
    Responses,
    Vocabulary,
    load_model,
)
from matinee.models.boosted.calibration import Calibration
from matinee.models.boosted.columns import Columns, column_of
from matinee.models.boosted.text import check_text
from matinee.models.data import DAY

PROCESSORS = Vocabulary(["gold", "money", "new"])


def context(size, countries=None, at=None, **told):
    """Of members with these features, each a list of values."""
    rows = zip(*told.values(), strict=True) if told else [()] * size
    features = tuple(dict(zip(told, row, strict=True)) for row in rows)
    times = np.arange(size) if at is None else np.asarray(at)
    return Context(Histories.of([[]] * size, countries=countries), times, (), features)


def dataset(actions, rewards, seen, propensities=None, shards=1):
    actions, rewards = np.array(actions, np.int32), np.array(rewards, float)
    chances = np.full(len(actions), 0.5) if propensities is None else np.asarray(propensities)
    edges = np.linspace(0, len(actions), shards + 1).astype(int)
    parts = [
        Responses(actions[a:b], rewards[a:b], chances[a:b], seen.rows(a, b))
        for a, b in pairwise(edges)
    ]
    return Dataset(PROCESSORS, [], len(actions), responses=[InMemory(part) for part in parts])


def expected(model, asked, candidates=None):
    return model.believe(asked, candidates).mean


def steps(amounts, countries, actions):
    """Money succeeds with small amounts, gold in one country, each in two steps."""
    money = np.where(amounts < 200, 0.3, 0.1)
    return np.where(actions == 0, np.where(np.array(countries) == "DE", 0.7, 0.4), money)


def test_steps_that_are_known_are_found():
    rng = np.random.default_rng(0)
    size = 30_000
    amounts, countries = rng.integers(1, 400, size), rng.choice(["DE", "AT"], size).tolist()
    actions = rng.integers(0, 2, size)
    rewards = rng.random(size) < steps(amounts, countries, actions)
    seen = context(size, countries, amount=amounts.tolist())
    model = Boosted(["country", "amount"]).fit(dataset(actions, rewards, seen))
    for country in ("DE", "AT"):
        for amount in (50, 150, 250, 350):
            asked = context(1, [country], amount=[amount])
            truth = [steps(np.array([amount]), [country], action)[0] for action in (0, 1)]
            assert expected(model, asked)[0, :2] == pytest.approx(truth, abs=0.06)


def gap(model, asked, actions, truth):
    """The mean distance, over tenths of the predictions, to the true chance there."""
    found = expected(model, asked)[np.arange(len(actions)), actions]
    tenths = np.array_split(np.argsort(found, kind="stable"), 10)
    return np.mean([abs(found[rows].mean() - truth[rows].mean()) for rows in tenths])


def noisy(size, rng):
    """One number tells something, and four nothing."""
    told = {f"x{number}": rng.normal(size=size) for number in range(5)}
    actions = rng.integers(0, 2, size)
    truth = 1 / (1 + np.exp(1.5 - 0.8 * told["x0"] * actions))
    seen = context(size, **{name: column.tolist() for name, column in told.items()})
    return actions, truth, seen, rng.random(size) < truth


def test_probabilities_are_calibrated_on_rows_that_were_not_seen():
    rng = np.random.default_rng(1)
    actions, _, seen, paid = noisy(20_000, rng)
    fresh = noisy(20_000, rng)
    greedy = {
        "by": [f"x{number}" for number in range(5)],
        "leaves": 63,
        "learning_rate": 0.3,
        "rounds": 60,
    }
    model = Boosted(**greedy).fit(dataset(actions, paid, seen))
    loose = Boosted(**greedy, held_out=0).fit(dataset(actions, paid, seen))
    asked = (fresh[2], fresh[0], fresh[1])
    assert gap(model, *asked) < 0.02
    assert gap(loose, *asked) > 0.05


def test_a_level_that_moved_is_followed():
    """Approvals fell when four fifths were over: what comes next is at the later level."""
    rng = np.random.default_rng(2)
    size = 10_000
    actions = rng.integers(0, 2, size)
    level = np.where(np.arange(size) < 0.8 * size, 0.6, 0.3)
    paid = rng.random(size) < level
    model = Boosted(["x"]).fit(dataset(actions, paid, context(size, x=rng.random(size).tolist())))
    assert expected(model, context(1, x=[0.5]))[0, :2] == pytest.approx([0.3, 0.3], abs=0.03)


def test_what_only_tells_of_its_own_day_is_not_believed():
    """Each batch has a luck of its own and does not come back: knowing it helps within a batch, so
    rows held out at random would praise it; later rows do not.
    """
    rng = np.random.default_rng(3)
    days, a_day = 50, 200
    luck = rng.uniform(0.1, 0.9, days)
    day = np.repeat(np.arange(days), a_day)
    paid = rng.random(len(day)) < luck[day]
    seen = context(len(day), batch=[f"b{one}" for one in day.tolist()])
    data = dataset(np.zeros(len(day)), paid, seen)
    asked = context(days, batch=[f"b{one}" for one in range(days)])
    trusting = expected(Boosted(["batch"], held_out=0).fit(data), asked)[:, 0]
    assert np.corrcoef(trusting, luck)[0, 1] > 0.95
    careful = expected(Boosted(["batch"]).fit(data), asked)[:, 0]
    assert np.ptp(careful) < 0.05
    assert careful.mean() == pytest.approx(paid[-len(day) // 5 :].mean(), abs=0.02)


def test_rows_of_one_moment_are_not_parted_and_without_later_ones_nothing_is_calibrated():
    rng = np.random.default_rng(4)
    size = 2_000
    actions, paid = rng.integers(0, 2, size), rng.random(size) < 0.5
    x = rng.random(size).tolist()
    once = dataset(actions, paid, context(size, at=np.zeros(size), x=x))
    assert Boosted(["x"], rounds=5).fit(once)._calibration.line == (1.0, 0.0)
    twice = dataset(actions, paid, context(size, at=np.arange(size) // 1_000, x=x))
    halves = Boosted(["x"], rounds=5).fit(twice)
    assert halves._calibration.line != (1.0, 0.0)


def test_the_mean_of_any_reward():
    rng = np.random.default_rng(5)
    size = 20_000
    actions, x = rng.integers(0, 2, size), rng.random(size)
    minutes = 50 * actions + 100 * (x > 0.5) - 30 + rng.normal(0, 20, size)
    model = Boosted(["x"], probability=False).fit(
        dataset(actions, minutes, context(size, x=x.tolist()))
    )
    found = expected(model, context(2, x=[0.2, 0.8]))[:, :2]
    assert found == pytest.approx(np.array([[-30, 20], [70, 120]]), abs=4)


def test_weights_undo_what_a_logger_knew_and_the_model_cannot():
    """Who gets money depends on how they respond, which nobody tells the model."""
    rng = np.random.default_rng(6)
    size = 40_000
    keen = rng.random(size) < 0.5
    chance = np.where(keen, 0.9, 0.1)
    money = rng.random(size) < chance
    paid = rng.random(size) < np.where(money, keen * 0.8, 0.3)
    data = dataset(money, paid, context(size), np.where(money, chance, 1 - chance))
    asked = context(1)
    weighted = Boosted([], weighted=True).fit(data)
    assert expected(weighted, asked)[0, :2] == pytest.approx([0.3, 0.4], abs=0.02)
    assert expected(Boosted([]).fit(data), asked)[0, 1] > 0.65


@pytest.fixture(scope="module")
def model():
    """Of gold, three times as often, and money; amounts are always known, plans are not."""
    rng = np.random.default_rng(7)
    size = 8_000
    actions = (rng.random(size) < 0.25).astype(int)
    amounts = rng.integers(1, 401, size)
    plans = rng.choice(np.array(["basic", "premium", None]), size).tolist()
    by_plan = np.array([{"basic": 0.2, "premium": 0.5, None: 0.8}[plan] for plan in plans])
    paid = rng.random(size) < by_plan * np.where(amounts > 200, 1.0, 0.5) * (1 - 0.4 * actions)
    seen = context(size, amount=amounts.tolist(), plan=plans)
    return Boosted(["amount", "plan"], rounds=12, learning_rate=0.3).fit(
        dataset(actions, paid, seen)
    )


def test_a_missing_class_is_a_class(model):
    asked = context(3, amount=[300] * 3, plan=["basic", "premium", None])
    assert expected(model, asked)[:, 0] == pytest.approx([0.2, 0.5, 0.8], abs=0.07)


@pytest.mark.parametrize(
    "amount", [None, float("nan"), float("inf"), 10**400, [3], {"x": 1}, "much", True], ids=repr
)
def test_a_number_that_was_never_missing_counts_as_the_median(model, amount):
    usual = expected(model, context(1, amount=[int(model._columns.fill[0])], plan=["basic"]))
    assert expected(model, context(1, amount=[amount], plan=["basic"])).tolist() == usual.tolist()


def test_no_class_that_was_never_met_is_told_from_another(model):
    asked = context(3, amount=[300] * 3, plan=["gold", "family", "x" * 10_000])
    found = expected(model, asked)
    assert np.isfinite(found).all()
    assert (found == found[0]).all()


def test_an_action_that_is_unknown_or_was_never_chosen_gets_the_mean_of_the_others(model):
    asked = context(2, amount=[100, 300], plan=["premium", None])
    found = expected(model, asked, np.array([0, 1, 2, -1], np.int32))
    shares = model._counts[:2] / model._counts.sum()
    assert 0.7 < shares[0] < 0.8
    for unknown in (2, 3):
        assert found[:, unknown] == pytest.approx(found[:, :2] @ shares)
    assert np.ptp(found[:, 3]) > 0.1  # by context


def test_what_is_new_in_the_rows_held_out_counts_as_new():
    """Trees never met the second action, nor an amount that is missing."""
    rng = np.random.default_rng(10)
    size = 5_000
    late = np.arange(size) >= 0.9 * size
    amounts = rng.integers(100, 200, size)
    paid = rng.random(size) < np.where(amounts > 150, 0.8, 0.2)
    told = [None if gone else amount for gone, amount in zip(late, amounts.tolist(), strict=True)]
    model = Boosted(["amount"]).fit(dataset(late, paid, context(size, amount=told)))
    found = expected(model, context(2, amount=[120, 180]))
    assert found[:, 1].tolist() == found[:, 0].tolist()
    missing = expected(model, context(1, amount=[None]))
    median = expected(model, context(1, amount=[np.median(amounts[~late]).item()]))
    assert missing.tolist() == median.tolist()


def test_before_anything_was_chosen_all_is_nothing():
    model = Boosted(["x"]).fit(dataset([], [], context(0)))
    assert (
        expected(model, context(2, x=[1, 2]), np.array([0, -1], np.int32)).tolist() == [[0, 0]] * 2
    )


@pytest.mark.parametrize("rewards", [[1.0], [1.0] * 50, [0.0] * 50])
def test_rewards_that_never_differ(rewards):
    data = dataset([0] * len(rewards), rewards, context(len(rewards)))
    found = expected(Boosted([]).fit(data), context(1))
    assert found == pytest.approx(np.full((1, 3), rewards[0]), abs=1e-6)


def test_the_clock_is_of_the_decision_unless_it_is_told():
    friday = int(np.datetime64("2026-02-27T05:30", "us").astype(int))
    asked = context(2, at=[friday, friday + DAY], hour=[None, 23])
    assert column_of(asked, "hour").numbers.tolist() == [5, 23]
    assert column_of(asked, "weekday").numbers.tolist() == [4, 5]
    assert column_of(asked, "day").numbers.tolist() == [27, 28]
    before = context(1, at=[-1])
    assert [column_of(before, name).numbers[0] for name in ("hour", "weekday", "day")] == [
        23,
        2,
        31,
    ]


def test_a_row_is_read_for_serving_as_it_was_for_learning():
    told = (
        {"plan": "basic", "age": 3, "paid": True},
        {"plan": "new", "age": float("nan"), "paid": 1e400},
        {"plan": "x" * 500, "age": 10**400, "paid": [1]},
        {},
    )
    names = ("plan", "age", "paid", "hour")
    asked = Context(Histories.of([[]] * 4), np.arange(4) * 3_600_000_000, (), told)
    learned = Columns.of(names, [column_of(asked.take(np.arange(1)), name) for name in names])
    found = learned.encode(asked)
    np.testing.assert_array_equal(found, learned.rows([column_of(asked, n) for n in names], 4))


def test_a_column_may_hold_numbers_and_classes():
    rng = np.random.default_rng(8)
    values = [*rng.integers(0, 10, 3_000).tolist(), *["none"] * 3_000]
    chance = np.array([0.5 if value == "none" else 0.05 + 0.09 * value for value in values])
    order = rng.permutation(6_000)
    told = [values[place] for place in order]
    paid = rng.random(6_000) < chance[order]
    model = Boosted(["x"]).fit(dataset(np.zeros(6_000), paid, context(6_000, x=told)))
    found = expected(model, context(3, x=[1, 9, "none"]))[:, 0]
    assert found == pytest.approx([0.14, 0.86, 0.5], abs=0.07)


def test_of_too_many_rows_a_sample_by_moments_is_learned_from():
    rng = np.random.default_rng(9)
    size, most = 4_000, 1_000
    at = np.repeat(rng.permutation(size // 4), 4)  # four rows a moment
    paid, x = rng.random(size) < 0.5, rng.random(size)
    seen = context(size, at=at, x=x.tolist())

    def kept(shards, seed=0):
        data = dataset(np.zeros(size), paid, seen, shards=shards)
        return Boosted(["x"], most=most, rounds=3, held_out=0, seed=seed).fit(data)

    whole = kept(1)
    assert whole._counts.sum() == most
    assert kept(8)._text == whole._text
    assert kept(1, seed=1)._text != whole._text


@pytest.mark.parametrize("reward", [1.5, -0.1, float("nan"), float("inf")])
def test_a_reward_that_is_no_chance_is_refused(reward):
    data = dataset([0, 0], [1.0, reward], context(2))
    with pytest.raises(ValueError, match="a reward is"):
        Boosted([]).fit(data)


@pytest.mark.parametrize(
    "wrong",
    [
        {"by": "country"},
        {"rounds": 0},
        {"leaves": 1},
        {"leaves": 1e9},
        {"min_rows": 0.5},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"held_out": 0.9},
        {"most": 0},
        {"seed": -1},
    ],
    ids=str,
)
def test_settings_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Boosted(**wrong)


def test_without_the_library_the_next_step_is_named(monkeypatch, tmp_path, model):
    model.save(tmp_path / "model.npz")
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(MatineeError, match="apt-get install libgomp1"):
        Boosted([]).fit(dataset([0], [1.0], context(1)))
    with pytest.raises(MatineeError, match="apt-get install libgomp1"):
        load_model(tmp_path / "model.npz")


# Calibration


def simulated(slope, level, size, seed=0):
    rng = np.random.default_rng(seed)
    scores = rng.normal(0, 1.5, size)
    chances = 1 / (1 + np.exp(-slope * scores - level))
    return scores, (rng.random(size) < chances).astype(float), chances


def test_a_line_is_fitted_to_few_rows_and_steps_to_many():
    scores, rewards, chances = simulated(0.5, -1.0, 3_000)
    line = Calibration.fitted(scores, rewards, np.ones(3_000), probability=True)
    assert line.line == pytest.approx((0.5, -1.0), abs=0.1)
    assert not line.steps.size
    scores, rewards, chances = simulated(0.5, -1.0, 30_000)
    steps = Calibration.fitted(scores, rewards, np.ones(30_000), probability=True)
    assert steps.steps.size
    assert np.abs(steps(scores) - chances).mean() < 0.02


@pytest.mark.parametrize("size", [3_000, 30_000])
def test_scores_that_mislead_say_nothing(size):
    scores, rewards, _ = simulated(-1.0, 0.0, size)
    found = Calibration.fitted(scores, rewards, np.ones(size), probability=True)
    assert np.ptp(found(scores)) < 0.05
    assert found(scores).mean() == pytest.approx(rewards.mean(), abs=0.01)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(-3, 3), st.floats(-5, 5), st.floats(0.1, 3)), min_size=10),
    st.lists(st.floats(-10, 10), min_size=2),
)
def test_what_is_expected_never_falls_and_is_finite(rows, asked):
    scores, rewards, weights = np.array(rows).T
    for size in (len(rows), 2_500):
        take = np.arange(size) % len(rows)
        found = Calibration.fitted(scores[take], rewards[take], weights[take], probability=False)
        values = found(np.sort(asked))
        assert np.isfinite(values).all()
        assert (np.diff(values) >= -1e-9).all()


def test_equal_scores_are_one():
    found = Calibration.fitted(
        np.zeros(100), np.tile([0.0, 1.0], 50), np.ones(100), probability=True
    )
    assert found(np.array([-1.0, 0.0, 1.0])) == pytest.approx([0.5] * 3)


# Files


def test_a_saved_model_holds_its_trees_as_text(model, tmp_path):
    model.save(tmp_path / "model.npz")
    with np.load(tmp_path / "model.npz", allow_pickle=False) as file:
        (text,) = file["trees"]
    assert text.startswith(b"tree\nversion=v4\n")
    assert text.endswith(b"end of trees\n")


def damage(model, tmp_path: Path, text: str) -> Path:
    path = tmp_path / "model.npz"
    model.save(path)
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    with path.open("wb") as out:
        np.savez(out, **{**arrays, "trees": np.array([text.encode()])})
    return path


DAMAGES = {
    "nothing": lambda text: "",
    "cut": lambda text: text[: len(text) // 2],
    "another kind": lambda text: text.replace("cross_entropy", "lambdarank", 1),
    "other features": lambda text: text.replace("max_feature_idx=4", "max_feature_idx=400", 1),
    "a size beyond the end": lambda text: re.sub("tree_sizes=.", "tree_sizes=9", text),
    "a huge size": lambda text: re.sub("tree_sizes=", "tree_sizes=99999999", text),
    "its own child": lambda text: re.sub(r"left_child=\S+", "left_child=0", text, count=1),
    "a leaf that is not": lambda text: re.sub(r"right_child=\S+", "right_child=-99", text, count=1),
    "a feature that is not": lambda text: re.sub(r"split_feature=\d", "split_feature=9", text),
    "no number": lambda text: re.sub(r"leaf_value=-?\d", "leaf_value=n", text, count=1),
    "many leaves": lambda text: re.sub(r"num_leaves=\d+", "num_leaves=9999999", text, count=1),
    "bytes": lambda text: text.replace("tree", "tr\N{LATIN SMALL LETTER E WITH ACUTE}e", 1),
}


@pytest.mark.parametrize("damaged", DAMAGES.values(), ids=DAMAGES.keys())
def test_trees_that_are_not_whole_are_refused(model, tmp_path, damaged):
    with pytest.raises(ValueError, match="train the model again"):
        Boosted.load(damage(model, tmp_path, damaged(model._text)))


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_whatever_stands_in_a_text_it_is_refused_or_answers(model, data):
    """Each of these would be a crash of the process, were it let through."""
    text, asked = model._text, context(2, amount=[100, 300], plan=["premium", None])
    for _ in range(data.draw(st.integers(1, 3))):
        spans = [found.span() for found in re.finditer(r"-?\d+", text)]
        first, last = spans[data.draw(st.integers(0, len(spans) - 1))]
        new = str(data.draw(st.sampled_from([-99, -2, -1, 0, 1, 2, 3, 9, 2**31, 10**30])))
        size = last - first
        new = new if len(new) > size else new[:1] + "0" * (size - len(new)) + new[1:]
        text = text[:first] + new + text[last:]
    try:
        check_text(text, 5, "cross_entropy")
    except (KeyError, ValueError):
        return
    again = Boosted(model.by)
    again.titles = model.titles
    again._keep(model._columns, model._calibration, model._counts, text)
    assert np.isfinite(expected(again, asked)).all()
