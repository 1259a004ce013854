"""The linear model: the posterior in closed form, updates that are refits, draws that agree."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matinee.models import (
    Content,
    Context,
    Dataset,
    Histories,
    InMemory,
    Linear,
    Popularity,
    Responses,
    Vocabulary,
    load_model,
)
from matinee.models.data import DAY

PICTURES = Vocabulary(["duel", "kiss", "storm", "unseen"])
ABOUT = {"duel": ["action"], "kiss": ["love"], "storm": ["action", "love"], "unseen": ["love"]}
BY = ["country", "age", "taste"]


def context(size: int, rng: np.random.Generator, days: tuple[int, int] = (0, 100)) -> Context:
    countries = rng.choice(np.array(["NL", "US", None]), size).tolist()
    features = tuple(
        {"age": float(age), "taste": {"action": float(one), "love": float(other)}}
        for age, one, other in rng.normal(size=(size, 3))
    )
    at = np.sort(rng.integers(days[0] * DAY, days[1] * DAY, size))
    return Context(Histories.of([[]] * size, countries=countries), at, (), features)


def data(
    rng: np.random.Generator, size: int = 80, days: tuple[int, int] = (0, 100), shards: int = 1
) -> Dataset:
    """Choices among the first three pictures, of random reward."""
    asked = context(size, rng, days)
    actions, rewards = rng.integers(0, 3, size).astype(np.int32), rng.random(size)
    responses = Responses(actions, rewards, np.full(size, 1 / 3), asked)
    parts = np.array_split(np.arange(size), shards)
    return Dataset(
        PICTURES,
        [],
        days[1] * DAY,
        responses=[InMemory(taken(responses, part)) for part in parts],
        content=Content.of(ABOUT),
    )


def taken(responses: Responses, rows: Any) -> Responses:
    return Responses(
        responses.actions[rows],
        responses.rewards[rows],
        responses.propensities[rows],
        responses.context.take(rows),
    )


def rows_of(asked: Context) -> np.ndarray:
    """What the model reads of a member, written down once more."""
    return np.array(
        [
            [1.0, said["age"], country == "NL", country == "US", *said["taste"].values()]
            for country, said in zip(asked.histories.countries, asked.features, strict=True)
        ]
    )


def by_hand(dataset: Dataset, strength: float, ridge: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean [4, 6] and, for noise of variance 1, covariance [4, 6, 4, 6] of all coefficients, from
    one regression with a column for each shared and each own coefficient.
    """
    (shard,) = dataset.responses
    found = shard.load()
    facets = np.array([[1.0, "action" in of, "love" in of] for of in ABOUT.values()])
    x, size = rows_of(found.context), 6
    shared = np.einsum("np,nf->npf", x, facets[found.actions]).reshape(len(x), -1)
    own = np.einsum("np,na->nap", x, np.eye(4)[found.actions]).reshape(len(x), -1)
    design = np.hstack([shared, own])
    prior = np.diag([ridge] * shared.shape[1] + [strength] * own.shape[1])
    covariance = np.linalg.inv(design.T @ design + prior)
    mean = covariance @ design.T @ found.rewards
    # theta_a = M z_a + u_a, in terms of the columns
    to_shared = np.einsum("pq,af->apqf", np.eye(size), facets).reshape(4 * size, -1)
    total = np.hstack([to_shared, np.eye(4 * size)])
    theta = (total @ mean).reshape(4, size)
    return theta, (total @ covariance @ total.T).reshape(4, size, 4, size)


def test_the_posterior_is_that_of_one_big_regression() -> None:
    dataset = data(np.random.default_rng(0))
    model = Linear(by=BY, strength=5.0, ridge=0.7).fit(dataset)
    theta, _ = by_hand(dataset, 5.0, 0.7)
    asked = context(20, np.random.default_rng(1))
    assert np.allclose(model.believe(asked).mean, rows_of(asked) @ theta.T, rtol=0, atol=1e-9)


def test_draws_have_the_posterior_s_mean_and_covariance() -> None:
    dataset = data(np.random.default_rng(0))
    model = Linear(by=BY, strength=5.0, ridge=0.7).fit(dataset)
    _, covariance = by_hand(dataset, 5.0, 0.7)
    asked = context(3, np.random.default_rng(1))
    rows = rows_of(asked)
    drawn = model.sample(asked, draws=20_000, seed=2)
    assert drawn.shape == (20_000, 3, 4)
    expected = model._noise**2 * np.einsum("bp,apcq,bq->bac", rows, covariance, rows)
    deviations = np.sqrt(np.einsum("baa->ba", expected))
    mean = model.believe(asked).mean
    assert (np.abs(drawn.mean(axis=0) - mean) < 5 * deviations / np.sqrt(20_000)).all()
    for member in range(3):
        found = np.cov(drawn[:, member].T)
        scale = deviations[member][:, None] * deviations[member]
        assert (np.abs(found - expected[member]) < 0.05 * scale).all()


def test_beliefs_hold_the_same_draws_each_time_and_whoever_else_is_asked_about() -> None:
    model = Linear(by=BY).fit(data(np.random.default_rng(0)))
    asked = context(4, np.random.default_rng(1))
    many = model.believe(asked, draws=7).samples
    one = model.believe(asked.rows(2, 3), draws=7).samples
    assert many is not None
    assert one is not None
    assert many.shape == (7, 4, 4)
    assert np.allclose(many[:, 2:3], one, rtol=0, atol=1e-12)
    assert model.believe(asked).samples is None


def test_a_model_without_a_posterior_says_so() -> None:
    model = Popularity().fit(Dataset.of(PICTURES, Histories.of([[0]])))
    with pytest.raises(ValueError, match="popularity has no posterior"):
        model.believe(Context(Histories.of([[]]), np.zeros(1, np.int64)), draws=3)


def test_draws_on_candidates_are_columns_and_an_unknown_action_is_one_without_content() -> None:
    model = Linear(by=BY).fit(data(np.random.default_rng(0)))
    asked = context(2, np.random.default_rng(1))
    drawn = model.sample(asked, np.array([2, -1, 0], np.int32), draws=4_000)
    whole = model.sample(asked, draws=4_000)
    assert np.allclose(drawn[..., [0, 2]], whole[..., [2, 0]], rtol=0, atol=1e-12)
    nothing = model.adopt(Content.of({"nothing": []}))
    known = nothing.sample(asked, nothing.titles.encode(["nothing"]), draws=4_000)[..., 0]
    unknown = drawn[..., 1]
    assert model.believe(asked, np.array([-1], np.int32)).mean == pytest.approx(
        nothing.believe(asked, nothing.titles.encode(["nothing"])).mean
    )
    assert unknown.std(axis=0) == pytest.approx(known.std(axis=0), rel=0.1)
    assert unknown.mean(axis=0) == pytest.approx(
        known.mean(axis=0), abs=6 * float(known.std()) / np.sqrt(4_000)
    )


def test_how_sure_it_is_does_not_depend_on_the_unit_of_rewards() -> None:
    dataset = data(np.random.default_rng(0))
    (shard,) = dataset.responses
    found = shard.load()
    asked = context(2, np.random.default_rng(1))
    plain = Linear(by=BY).fit(dataset).sample(asked, draws=50)
    small = replace(found, rewards=found.rewards * 1e-3)
    scaled = Linear(by=BY).fit(replace(dataset, responses=[InMemory(small)]))
    assert np.allclose(scaled.sample(asked, draws=50), plain * 1e-3, rtol=1e-9)


def test_what_was_never_told_in_training_says_nothing_however_much_it_is() -> None:
    model = Linear(by=["likes"], strength=20.0).fit(truth(400, np.random.default_rng(8)))
    size = 4_000
    features = tuple({"likes": str(number)} for number in range(size))
    asked = Context(Histories.of([[]] * size), np.zeros(size, np.int64), (), features)
    silent = Context(Histories.of([[]]), np.zeros(1, np.int64))
    assert (model.believe(asked).mean == model.believe(silent).mean).all()


@pytest.mark.parametrize("half_life", [0.0, 20.0])
def test_updates_come_to_what_a_fit_on_everything_is(half_life: float) -> None:
    rng = np.random.default_rng(3)
    parts = [data(rng, days=(first, first + 10)) for first in (0, 10, 20, 30)]
    model = Linear(by=BY, half_life=half_life).fit(parts[0])
    for part in parts[1:]:
        model = model.update(part)
    responses = [shard for part in parts for shard in part.responses]
    whole = Linear(by=BY, half_life=half_life).fit(replace(parts[-1], responses=responses))
    asked = context(20, rng)
    expected = whole.believe(asked).mean
    assert np.allclose(model.believe(asked).mean, expected, rtol=0, atol=1e-10)
    one, other = (each.sample(asked, draws=3) for each in (model, whole))
    assert np.allclose(one, other, rtol=0, atol=1e-8)


def test_an_update_may_bring_actions_classes_and_content() -> None:
    rng = np.random.default_rng(4)
    first, second = data(rng, days=(0, 10)), data(rng, days=(10, 20))
    (shard,) = second.responses
    found = shard.load()
    features = tuple({**said, "plan": "basic"} for said in found.context.features)
    new = Vocabulary(["moon", *PICTURES.ids[:3]])
    moved = replace(found, context=replace(found.context, features=features))
    later = replace(
        second,
        titles=new,
        responses=[InMemory(moved)],
        content=Content.of({**ABOUT, "moon": ["love", "action"]}),
    )
    by = [*BY, "plan"]
    model = Linear(by=by).fit(first).update(later)
    assert model.titles.ids == (*PICTURES.ids, "moon")
    everything = Vocabulary(model.titles.ids)
    codes = everything.encode(new.ids)[found.actions]
    both = [*first.responses, InMemory(replace(moved, actions=codes))]
    whole = Linear(by=by).fit(
        Dataset(everything, [], later.as_of, responses=both, content=later.content)
    )
    asked = moved.context.take(np.arange(10))
    assert np.allclose(model.believe(asked).mean, whole.believe(asked).mean, rtol=0, atol=1e-10)
    assert Linear(by=by).fit(first).titles == PICTURES, "the model that was updated stays as it was"


def test_data_of_an_earlier_time_is_refused() -> None:
    rng = np.random.default_rng(5)
    model = Linear(by=BY).fit(data(rng, days=(10, 20)))
    with pytest.raises(ValueError, match="earlier"):
        model.update(data(rng, days=(0, 10)))


def test_shards_add_up() -> None:
    whole = Linear(by=BY).fit(data(np.random.default_rng(6)))
    parts = Linear(by=BY).fit(data(np.random.default_rng(6), shards=7))
    asked = context(9, np.random.default_rng(7))
    assert np.allclose(whole.believe(asked).mean, parts.believe(asked).mean, rtol=0, atol=1e-10)


def truth(size: int, rng: np.random.Generator) -> Dataset:
    """Who likes action clicks on what is about action, who likes love on love."""
    likes = rng.random(size) < 0.5
    features = tuple({"likes": "action" if one else "love"} for one in likes)
    actions = rng.integers(0, 2, size).astype(np.int32)
    rewards = (rng.random(size) < np.where(likes == (actions == 0), 0.6, 0.1)).astype(float)
    asked = Context(Histories.of([[]] * size), np.zeros(size, np.int64), (), features)
    responses = Responses(actions, rewards, np.full(size, 0.5), asked)
    return Dataset(PICTURES, [], 1, responses=[InMemory(responses)], content=Content.of(ABOUT))


def test_an_action_never_chosen_is_known_by_its_content() -> None:
    """To "unseen", which is about love, respond those who like love, about as they do to "kiss"."""
    model = Linear(by=["likes"], strength=20.0).fit(truth(4_000, np.random.default_rng(8)))
    asked = Context(
        Histories.of([[], []]), np.zeros(2, np.int64), (), ({"likes": "action"}, {"likes": "love"})
    )
    kiss, unseen = model.believe(asked, PICTURES.encode(["kiss", "unseen"])).mean.T
    assert kiss == pytest.approx([0.1, 0.6], abs=0.05)
    assert unseen == pytest.approx([0.1, 0.6], abs=0.1)
    fresh = model.adopt(Content.of({"duel": ["action"], "moon": ["love"]}))
    assert fresh.titles.ids == (*PICTURES.ids, "moon")
    moon = fresh.believe(asked, fresh.titles.encode(["moon", "duel"])).mean.T
    assert moon[0] == pytest.approx(unseen)
    assert moon[1] == pytest.approx(model.believe(asked, np.array([0], np.int32)).mean[:, 0])


def test_what_is_said_anew_of_an_action_counts_as_if_it_had_always_been_said() -> None:
    dataset = truth(400, np.random.default_rng(9))
    other = Content.of({"duel": ["love"], "kiss": ["action"], "storm": ["love", "action"]})
    adopted = Linear(by=["likes"]).fit(dataset).adopt(other)
    whole = Linear(by=["likes"]).fit(
        replace(dataset, content=Content.of({**ABOUT, "duel": ["love"], "kiss": ["action"]}))
    )
    asked = Context(
        Histories.of([[], []]), np.zeros(2, np.int64), (), ({"likes": "action"}, {"likes": "love"})
    )
    np.testing.assert_allclose(adopted.believe(asked).mean, whole.believe(asked).mean, atol=1e-10)


def test_a_model_that_has_learned_nothing_goes_on_as_if_it_began_then() -> None:
    """A service begins without a log: what its first real data shows is learned all the same."""
    dataset = truth(400, np.random.default_rng(10))
    nothing = replace(dataset, titles=Vocabulary(()), responses=[], as_of=0)
    asked = Context(
        Histories.of([[], []]), np.zeros(2, np.int64), (), ({"likes": "action"}, {"likes": "love"})
    )
    beliefs = [
        model.believe(asked, model.titles.encode(PICTURES.ids)).mean
        for model in (
            Linear(by=["likes"]).fit(nothing).update(dataset),
            Linear(by=["likes"]).fit(dataset),
        )
    ]
    np.testing.assert_allclose(*beliefs, atol=1e-10)


def test_there_is_room_for_so_many_actions_and_others_stay_unknown(monkeypatch) -> None:
    monkeypatch.setattr("matinee.models.linear.sums.MOST_SUMS", 5 * 9)
    model = Linear(by=["likes"]).fit(truth(400, np.random.default_rng(11)))
    more = model.adopt(Content.of({f"new {number}": ["love"] for number in range(9)}))
    assert more.titles.ids == (*PICTURES.ids, "new 0")


def test_old_choices_are_forgotten_at_the_half_life() -> None:
    """What was true until 60 days ago counts for a sixty-fourth with a half-life of ten."""
    size = 400
    at = np.repeat([30 * DAY, 90 * DAY], size // 2)
    responses = Responses(
        np.zeros(size, np.int32),
        np.repeat([0.0, 1.0], size // 2),
        np.ones(size),
        Context(Histories.of([[]] * size), at),
    )
    dataset = Dataset(Vocabulary(["a"]), [], 90 * DAY, responses=[InMemory(responses)])
    asked = Context(Histories.of([[]]), np.zeros(1, np.int64))
    settings: dict[str, Any] = {"by": [], "strength": 1e-6, "ridge": 1e-6}
    forgets = Linear(**settings, half_life=10.0).fit(dataset).believe(asked).mean
    assert forgets[0, 0] == pytest.approx(64 / 65, abs=1e-6)
    keeps = Linear(**settings).fit(dataset).believe(asked).mean
    assert keeps[0, 0] == pytest.approx(0.5, abs=1e-6)


words = st.text(max_size=3)
values = st.one_of(
    st.none(),
    st.booleans(),
    st.floats(),
    st.integers(),
    st.sampled_from([10**400, -(10**400)]),
    words,
    st.lists(st.one_of(st.floats(), words, st.just(10**400)), max_size=3),
    st.dictionaries(words, st.one_of(st.floats(), st.lists(st.floats(), max_size=1)), max_size=3),
)


@given(st.lists(st.dictionaries(st.sampled_from("abc"), values), min_size=1, max_size=6))
def test_whatever_the_app_says_scores_are_finite_and_kept(
    tmp_path_factory: pytest.TempPathFactory, said: list[dict[str, Any]]
) -> None:
    size = len(said)
    asked = Context(Histories.of([[]] * size), np.zeros(size, np.int64), (), tuple(said))
    rewards = np.linspace(0, 1, size)
    responses = Responses(np.zeros(size, np.int32), rewards, np.ones(size), asked)
    dataset = Dataset(Vocabulary("ab"), [], 0, responses=[InMemory(responses)])
    model = Linear(by=["a", "b", "c"]).fit(dataset)
    scores = model.believe(asked).mean
    assert np.isfinite(scores).all()
    path: Path = tmp_path_factory.mktemp("linear") / "model.npz"
    model.save(path)
    assert (load_model(path).believe(asked).mean == scores).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"by": "country"},
        {"by": [""]},
        {"strength": 0.0},
        {"ridge": float("nan")},
        {"ridge": 1e-9},
        {"half_life": -1.0},
        {"facets": -1},
    ],
)
def test_settings_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Linear(**wrong)


def test_features_without_number_are_refused_by_name() -> None:
    size = 20_000
    features = tuple({"id": str(number)} for number in range(size))
    asked = Context(Histories.of([[]] * size), np.zeros(size, np.int64), (), features)
    responses = Responses(np.zeros(size, np.int32), np.ones(size), np.ones(size), asked)
    dataset = Dataset(Vocabulary("a"), [], 0, responses=[InMemory(responses)])
    with pytest.raises(ValueError, match=r"20,000 features, such as 'id=19999'"):
        Linear(by=["id"]).fit(dataset)


def grouped(rng: np.random.Generator, size: int = 600, *, luck: bool = True) -> Dataset:
    """Pictures of two titles: one is watched far more often, and seldom shown as `kiss`."""
    titles = Vocabulary(["duel", "kiss", "hill", "lake"])
    about = {
        "duel": {"title=up": 1.0, "picture=action": 0.5},
        "kiss": {"title=up": 1.0, "picture=action": -0.5},
        "hill": {"title=down": 1.0, "picture=action": 0.5},
        "lake": {"title=down": 1.0, "picture=action": -0.5},
    }
    actions = rng.choice(4, size, p=[0.55, 0.05, 0.2, 0.2]).astype(np.int32)
    worth = np.array([0.6, 0.6, 0.1, 0.1])[actions]
    rewards = (rng.random(size) < worth).astype(float) if luck else worth
    responses = Responses(actions, rewards, np.full(size, 0.25), context(size, rng))
    return Dataset(
        titles, [], 100 * DAY, responses=[InMemory(responses)], content=Content.of(about)
    )


def everyone() -> Context:
    return Context(Histories.of([[]]), np.zeros(1, np.int64), (), ({},))


def test_within_groups_what_they_have_in_common_speaks_for_no_action() -> None:
    """`kiss` is no worse than `duel` and was shown seldom: what is known of it is drawn towards its
    title's mean, not towards that of all titles, which would keep it from being shown ever more.
    """
    dataset = grouped(np.random.default_rng(1), luck=False)
    gaps = {}
    for within in ("", "title"):
        model = Linear(by=["nothing"], facets=0, within=within).fit(dataset)
        duel, kiss, *_ = model.believe(everyone()).mean[0]
        gaps[within] = abs(duel - kiss)
    assert gaps["title"] < 1e-9
    assert gaps[""] > 0.05


def test_within_groups_is_a_regression_of_rewards_less_their_mean() -> None:
    dataset = grouped(np.random.default_rng(2))
    (shard,) = dataset.responses
    rows = shard.load()
    means = np.array(
        [rows.rewards[np.isin(rows.actions, pair)].mean() for pair in ((0, 1), (2, 3))]
    )
    level = means[[0, 0, 1, 1]]
    less = replace(rows, rewards=rows.rewards - level[rows.actions])
    plain = replace(dataset, responses=[InMemory(less)])
    grouped_model = Linear(by=BY, within="title").fit(dataset)
    found = Linear(by=BY, facets=1).fit(replace(plain, content=_without_titles(dataset)))
    asked = context(5, np.random.default_rng(3))
    np.testing.assert_allclose(
        grouped_model.believe(asked).mean, found.believe(asked).mean + level, atol=1e-9
    )
    drawn = grouped_model.sample(asked, draws=20)
    np.testing.assert_allclose(drawn, found.sample(asked, draws=20) + level, atol=1e-9)


def _without_titles(dataset: Dataset) -> Content:
    assert dataset.content is not None
    weights = dataset.content.matrix.toarray()[
        :, dataset.content.features.encode(["picture=action"])
    ]
    ids = dataset.content.titles.ids
    return Content.of(
        {
            name: {"picture=action": float(weight)}
            for name, (weight,) in zip(ids, weights, strict=True)
        }
    )


def test_within_groups_updates_are_refits_and_files_keep_them(tmp_path: Path) -> None:
    first, later = grouped(np.random.default_rng(4)), grouped(np.random.default_rng(5))
    both = replace(first, responses=[*first.responses, *later.responses])
    model = Linear(by=BY, within="title").fit(first).update(later)
    asked = context(4, np.random.default_rng(6))
    expected = Linear(by=BY, within="title").fit(both).believe(asked).mean
    np.testing.assert_allclose(model.believe(asked).mean, expected, atol=1e-10)
    model.save(tmp_path / "model")
    assert np.array_equal(
        load_model(tmp_path / "model").believe(asked).mean, model.believe(asked).mean
    )


def test_a_new_picture_has_its_titles_level_and_one_of_a_new_title_that_of_all() -> None:
    dataset = grouped(np.random.default_rng(7))
    more = {"dusk": {"title=up": 1.0}, "sand": {"title=new": 1.0}}
    model = Linear(by=["nothing"], within="title").fit(dataset).adopt(Content.of(more))
    ids = model.titles.encode(["duel", "kiss", "dusk", "sand", "unknown"])
    duel, kiss, dusk, sand, unknown = model.believe(everyone(), ids).mean[0]
    (shard,) = dataset.responses
    mean = shard.load().rewards.mean()
    assert abs(dusk - (duel + kiss) / 2) < 0.05
    assert abs(sand - mean) < 0.05
    assert abs(unknown - mean) < 0.05


def test_what_names_a_group_is_no_facet() -> None:
    """There are as many groups as titles: each would be a feature of its own."""
    model = Linear(by=["nothing"], within="title", facets=9).fit(grouped(np.random.default_rng(8)))
    assert model._facets == ("picture=action",)
