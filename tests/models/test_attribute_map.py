"""The map from content to vectors is the ridge regression it says it is."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from matinee.features.content import about
from matinee.lake.importers.movielens import MovieLens
from matinee.models import Content, Vocabulary
from matinee.models import attribute_map as module
from matinee.models.attribute_map import GRID, AttributeMap


def content(seed: int = 0, titles: int = 60, features: int = 12) -> Content:
    rng = np.random.default_rng(seed)
    cells = (rng.random((titles, features)) < 0.3).astype(np.float32)
    names = Vocabulary(f"word={n}" for n in range(features))
    return Content(Vocabulary(f"t{n}" for n in range(titles)), names, csr_array(cells))


def permuted(one: Content, rows: np.ndarray, columns: np.ndarray) -> Content:
    return Content(
        Vocabulary(one.titles.ids[n] for n in rows),
        Vocabulary(one.features.ids[n] for n in columns),
        csr_array(one.matrix[rows][:, columns]),
    )


def normal_equations(x: np.ndarray, y: np.ndarray, w: np.ndarray, l2: float) -> np.ndarray:
    mean = np.average(y, axis=0, weights=w)
    left = x.T @ (w[:, None] * x) + l2 * np.eye(x.shape[1])
    return np.linalg.solve(left, x.T @ (w[:, None] * (y - mean)))


@pytest.mark.parametrize("l2", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("features", [5, 12, 90])
def test_it_solves_the_normal_equations(l2: float, features: int) -> None:
    rng = np.random.default_rng(1)
    one = content(features=features)
    y, w = rng.normal(size=(60, 3)), rng.random(60)
    found = AttributeMap.fit(one, one.titles, y, w, l2)
    order = one.features.encode(found.features.ids)
    dense = normal_equations(one.matrix.toarray().astype(float), y, w, l2)
    assert np.abs(found.matrix - dense[order]).max() < 1e-4 * np.abs(dense).max()
    assert found.mean == pytest.approx(np.average(y, axis=0, weights=w), rel=1e-5)


def test_a_planted_map_is_recovered_and_predicts_titles_that_it_never_saw() -> None:
    """Features come in pairs that exclude each other, so that the mean and W say all there is."""
    rng = np.random.default_rng(2)
    sides = rng.random((400, 6)) < 0.5
    one = content(titles=400)
    cells = np.concatenate([sides, ~sides], axis=1).astype(np.float32)
    one = replace(one, matrix=csr_array(cells))
    true = 1.5 + cells @ rng.normal(size=(12, 4))
    noisy = true[:300] + 0.1 * rng.normal(size=(300, 4))
    found = AttributeMap.fit(one, Vocabulary(one.titles.ids[:300]), noisy, np.ones(300))
    assert np.abs(found.predict(one)[300:] - true[300:]).max() < 0.1
    exact = AttributeMap.fit(one, one.titles, true, np.ones(400), l2=1e-6)
    assert exact.predict(one) == pytest.approx(true, abs=1e-4)


def test_the_l2_is_the_best_when_each_title_is_left_out_in_turn() -> None:
    rng = np.random.default_rng(3)
    one = content(titles=40)
    x = one.matrix.toarray().astype(float)
    y = x @ rng.normal(size=(12, 2)) * 0.4 + rng.normal(size=(40, 2))
    w = rng.random(40) + 0.1
    centred = y - np.average(y, axis=0, weights=w)

    def error(l2: float) -> float:
        total = 0.0
        for out in range(40):
            rest = np.arange(40) != out
            left = x[rest].T @ (w[rest, None] * x[rest]) + l2 * np.eye(12)
            matrix = np.linalg.solve(left, x[rest].T @ (w[rest, None] * centred[rest]))
            total += w[out] * np.square(centred[out] - x[out] @ matrix).sum()
        return total

    found = AttributeMap.fit(one, one.titles, y, w)
    assert found.l2 == min(GRID, key=error)
    assert GRID[0] < found.l2 < GRID[-1]


def test_noise_wants_more_l2_than_a_planted_map() -> None:
    rng = np.random.default_rng(4)
    one = content(titles=200)
    planted = one.matrix @ rng.normal(size=(12, 2))
    weights = np.ones(200)
    clear = AttributeMap.fit(one, one.titles, planted, weights)
    noise = AttributeMap.fit(one, one.titles, rng.normal(size=(200, 2)), weights)
    assert noise.l2 > clear.l2


def test_stretched_predictions_lie_as_far_from_the_mean_as_learned_vectors() -> None:
    rng = np.random.default_rng(10)
    one = content(titles=900)
    y = one.matrix @ rng.normal(size=(12, 8)) * 0.8 + rng.normal(size=(900, 8))
    seen = Vocabulary(one.titles.ids[:450])
    found = AttributeMap.fit(one, seen, y[:450], np.ones(450))
    fresh = found.predict(one, stretch=found.spread)[450:] - found.mean
    learned = y[450:] - found.mean
    assert found.spread > 1.1
    assert np.square(fresh).sum() == pytest.approx(np.square(learned).sum(), rel=0.1)
    noise = AttributeMap.fit(one, seen, rng.normal(size=(450, 8)), np.ones(450))
    assert noise.spread == module.STRETCH


def test_a_part_of_many_titles_chooses_nearly_the_same_l2(monkeypatch) -> None:
    rng = np.random.default_rng(5)
    one = content(titles=600)
    y = one.matrix @ rng.normal(size=(12, 8)) * 0.3 + rng.normal(size=(600, 8))
    whole = AttributeMap.fit(one, one.titles, y, np.ones(600)).l2
    monkeypatch.setattr(module, "TRIED", 200)
    part = AttributeMap.fit(one, one.titles, y, np.ones(600)).l2
    assert abs(np.log10(part / whole)) <= 0.51, "one step of the grid"


permutations = st.tuples(st.permutations(range(20)), st.permutations(range(6)))


@settings(max_examples=30, deadline=None)
@given(permutations, permutations)
def test_titles_and_features_are_matched_by_name_whatever_their_order(learned, asked) -> None:
    rng = np.random.default_rng(6)
    one = content(titles=20, features=6)
    y, w = rng.normal(size=(20, 3)), rng.random(20)
    plain = AttributeMap.fit(one, one.titles, y, w)
    titles, features = (np.array(order) for order in learned)
    other = permuted(one, titles, features)
    found = AttributeMap.fit(other, other.titles, y[titles], w[titles])
    assert (found.l2, found.spread, found.features) == (plain.l2, plain.spread, plain.features)
    assert np.array_equal(found.matrix, plain.matrix)
    rows, columns = (np.array(order) for order in asked)
    again = found.predict(permuted(one, rows, columns))
    assert np.array_equal(again, plain.predict(one)[rows])


def test_unknown_features_and_titles_change_nothing() -> None:
    rng = np.random.default_rng(7)
    one = content()
    found = AttributeMap.fit(one, one.titles, rng.normal(size=(60, 3)), np.ones(60))
    names = Vocabulary([*one.features.ids, "word=never", "cast=nobody"])
    wider = csr_array(np.hstack([one.matrix.toarray(), np.ones((60, 2), np.float32)]))
    assert np.array_equal(found.predict(Content(one.titles, names, wider)), found.predict(one))
    asked = Vocabulary(["t5", "unheard of", "t0"])
    predicted = found.predict(one, asked)
    assert np.array_equal(predicted[[0, 2]], found.predict(one)[[5, 0]])
    assert np.array_equal(predicted[1], found.mean)


def test_a_title_without_a_known_feature_gets_the_mean() -> None:
    one = Content.of({"a": ["x"], "b": ["y"]})
    found = AttributeMap.fit(one, one.titles, np.array([[1.0], [4.0]]), np.array([2.0, 1.0]))
    bare = Content.of({"c": [], "d": ["z"]})
    assert found.predict(bare).tolist() == [[2.0], [2.0]]


def test_a_title_of_no_weight_counts_for_nothing() -> None:
    one = content(titles=20)
    y, w = np.random.default_rng(8).normal(size=(20, 2)), np.ones(20)
    w[7] = 0
    other = y.copy()
    other[7] = 1e6
    found = [AttributeMap.fit(one, one.titles, learned, w) for learned in (y, other)]
    assert np.array_equal(found[0].matrix, found[1].matrix)


@pytest.mark.parametrize("case", ["no titles", "no features", "no weight", "no content"])
def test_where_nothing_can_be_learned_everything_gets_the_mean(case: str) -> None:
    one, size = content(titles=4), 4
    y, w = np.arange(8.0).reshape(4, 2), np.ones(4)
    titles = one.titles
    if case == "no titles":
        titles, y, w = Vocabulary([]), np.zeros((0, 2)), np.zeros(0)
    elif case == "no features":
        one = Content(one.titles, Vocabulary([]), csr_array((size, 0), dtype=np.float32))
    elif case == "no weight":
        w = np.zeros(4)
    else:
        one = Content.of({})
    found = AttributeMap.fit(one, titles, y, w)
    mean = [0.0, 0.0] if case in {"no titles", "no weight"} else [3.0, 4.0]
    assert found.predict(content(titles=3)).tolist() == [mean] * 3


def test_arrays_restore_the_same_bits_through_a_file(tmp_path: Path) -> None:
    one = content()
    one = replace(one, features=Vocabulary([*one.features.ids[:-1], "cast=Zoë 王"]))
    y = np.random.default_rng(9).normal(size=(60, 3))
    found = AttributeMap.fit(one, one.titles, y, np.ones(60))
    np.savez(tmp_path / "map.npz", allow_pickle=False, **found.arrays())
    with np.load(tmp_path / "map.npz", allow_pickle=False) as file:
        again = AttributeMap.restore({name: file[name] for name in file.files})
    assert (again.features, again.l2, again.spread) == (found.features, found.l2, found.spread)
    assert again.predict(one).tobytes() == found.predict(one).tobytes()


def test_damaged_arrays_are_refused() -> None:
    one = content()
    arrays = AttributeMap.fit(one, one.titles, np.ones((60, 3)), np.ones(60)).arrays()
    with pytest.raises(ValueError, match="expected"):
        AttributeMap.restore({**arrays, "content matrix": arrays["content matrix"][:-1]})
    with pytest.raises(KeyError):
        AttributeMap.restore({})


@pytest.mark.parametrize(
    ("vectors", "weights", "l2", "said"),
    [
        (np.ones((59, 2)), np.ones(60), None, "one row of vectors"),
        (np.ones((60, 2)), np.ones(59), None, "one weight"),
        (np.full((60, 2), np.nan), np.ones(60), None, "finite"),
        (np.ones((60, 2)), -np.ones(60), None, "below 0"),
        (np.ones((60, 2)), np.ones(60), 0.0, "positive"),
    ],
)
def test_bad_input_says_what_to_give(vectors, weights, l2, said: str) -> None:
    one = content()
    with pytest.raises(ValueError, match=said):
        AttributeMap.fit(one, one.titles, vectors, weights, l2)


@pytest.mark.data
@pytest.mark.skipif(
    not (Path(os.environ.get("MATINEE_DATA", "")) / "ml-1m" / "ratings.parquet").is_file(),
    reason="no ml-1m in MATINEE_DATA",
)
def test_on_movielens_content_tells_the_taste_of_titles_that_were_held_out() -> None:
    """Half of the popular titles tell how alike the members' ratings of the other half are."""
    folder = Path(os.environ["MATINEE_DATA"]) / "ml-1m"
    ratings = pl.read_parquet(folder / "ratings.parquet", columns=["user_id", "movie_id"])
    popular = ratings.group_by("movie_id").len().sort("len", "movie_id").tail(1000)
    ids = popular["movie_id"].cast(pl.String).to_list()
    kept = ratings.join(popular, on="movie_id", maintain_order="left")
    columns = Vocabulary(ids).encode(kept["movie_id"].cast(pl.String))
    watched = np.zeros((int(kept["user_id"].max()) + 1, len(ids)))
    watched[kept["user_id"].to_numpy(), columns] = 1
    together = watched.T @ watched
    lift = np.log((together + 1) / np.outer(watched.sum(0), watched.sum(0)) * len(watched))
    values, vectors = np.linalg.eigh(lift)
    learned = vectors[:, -16:] * np.sqrt(values[-16:])
    titles = next(iter(MovieLens(folder).batches())).frame
    known = Content.of(about(titles))
    warm, cold = Vocabulary(ids[::2]), Vocabulary(ids[1::2])
    found = AttributeMap.fit(known, warm, learned[::2], np.ones(500))
    error = np.square(found.predict(known, cold) - learned[1::2]).sum()
    without = np.square(learned[1::2] - learned[::2].mean(axis=0)).sum()
    assert error < 0.9 * without
