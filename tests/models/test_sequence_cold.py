"""Titles that nobody watched: known by what they are about, the moment they are imported."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from matinee.models import Content, Context, Dataset, Histories, Sequence, Vocabulary, load_model

GENRES, TROUPES, EACH = 4, 4, 20
"""Titles are of a genre and play a troupe of actors, twenty titles for each pair."""
TITLES = tuple(
    f"{genre}-{troupe}-{number}"
    for genre in range(GENRES)
    for troupe in range(TROUPES)
    for number in range(EACH)
)
MEMBERS, SEEN = 400, 12


def about(title: str) -> list[str]:
    genre, troupe, _ = title.split("-")
    return [f"genre={genre}", f"cast={genre}{troupe}a", f"cast={genre}{troupe}b"]


CONTENT = Content.of({title: about(title) for title in TITLES})


def watched(rng: np.random.Generator) -> NDArray[np.int64]:
    """What a member watches: one troupe most, its genre otherwise, anything now and then."""
    genre, troupe = rng.integers(GENRES), rng.integers(TROUPES)
    weights = np.array(
        [
            1 + 8 * (title.startswith(f"{genre}-")) + 80 * (title.startswith(f"{genre}-{troupe}-"))
            for title in TITLES
        ],
        float,
    )
    return rng.choice(len(TITLES), SEEN, replace=False, p=weights / weights.sum())


@pytest.fixture(scope="module")
def logged() -> list[NDArray[np.int64]]:
    rng = np.random.default_rng(0)
    return [watched(rng) for _ in range(MEMBERS)]


@pytest.fixture(scope="module")
def hidden() -> NDArray[np.int64]:
    """A tenth of the titles."""
    return np.random.default_rng(1).choice(len(TITLES), len(TITLES) // 10, replace=False)


@pytest.fixture(scope="module")
def fitted(logged: list[NDArray[np.int64]], hidden: NDArray[np.int64]) -> Sequence:
    """A model that never heard of the hidden titles."""
    warm = Vocabulary(title for place, title in enumerate(TITLES) if place not in hidden)
    rows = [[place for place in row if place not in hidden] for row in logged]
    log = Histories.of([warm.encode(TITLES[place] for place in row).tolist() for row in rows])
    data = replace(Dataset.of(warm, log), content=CONTENT)
    model = Sequence(
        width=16, blocks=1, window=16, batch=32, epochs=15, learning_rate=5e-3, query_time=False
    )
    return model.fit(data)


def asked(model: Sequence, rows: list[list[int]]) -> Context:
    titles = [model.titles.encode(TITLES[place] for place in row).tolist() for row in rows]
    return Context(Histories.of(titles), np.zeros(len(rows), np.int64))


def test_hidden_titles_are_found_by_those_who_want_them(
    fitted: Sequence, logged: list[NDArray[np.int64]], hidden: NDArray[np.int64]
) -> None:
    """Recall of the best three hidden titles, beside popularity by genre and a random pick."""
    model = fitted.adopt(CONTENT)
    rows = [row for row in logged if np.isin(row, hidden).any()]
    wanted = [row[np.isin(row, hidden)] for row in rows]
    known = [row[~np.isin(row, hidden)] for row in rows]
    context = asked(model, [row.tolist() for row in known])
    candidates = model.titles.encode(TITLES[place] for place in hidden)
    ours = model.believe(context, candidates).mean
    genre_of = np.array([int(title[0]) for title in TITLES])
    shares = np.array([np.bincount(genre_of[row], minlength=GENRES) for row in known])
    popular = np.bincount(genre_of[np.concatenate(known)], minlength=GENRES)
    by_genre = (shares * popular)[:, genre_of[hidden]].astype(float)
    rng = np.random.default_rng(2)
    noise = 1e-6 * rng.random(ours.shape)

    def recall(scores: NDArray[np.floating]) -> float:
        best = hidden[np.argsort(-(scores + noise), axis=1)[:, :3]]
        found = [np.isin(own, three) for own, three in zip(wanted, best, strict=True)]
        return float(np.mean([hits.mean() for hits in found]))

    found, genre, chance = recall(ours), recall(by_genre), recall(np.zeros_like(ours))
    assert found > genre + 0.1, (found, genre, chance)
    assert genre > chance + 0.1, (found, genre, chance)


def test_a_new_title_can_come_first_and_learned_ones_keep_their_scores(fitted: Sequence) -> None:
    more = Content.of({"new": about("2-1-x"), "nothing known": []})
    model = fitted.adopt(more)
    member = asked(model, [[place for place, t in enumerate(TITLES) if t.startswith("2-1-")][:6]])
    size = len(fitted.titles)
    before, after = fitted.believe(member).mean, model.believe(member).mean
    assert np.array_equal(before, after[:, :size])
    assert model.titles.ids[size:] == ("new", "nothing known")
    unseen = np.setdiff1d(np.arange(size + 2), member.histories.titles)
    assert size in unseen[np.argsort(-after[0, unseen])[:5]]
    assert fitted.titles.ids == model.titles.ids[:size], "the model itself is as it was"


def test_a_new_title_of_what_is_popular_is_expected_to_be_popular() -> None:
    """Every fourth title has a star, and is watched eight times as often, by anybody."""
    names = [f"{'star' if place % 4 == 0 else 'plain'} {place}" for place in range(80)]
    content = Content.of({name: [f"cast={name.split()[0]}"] for name in names})
    shares = np.array([8.0 if name.startswith("star") else 1.0 for name in names])
    rng = np.random.default_rng(0)
    rows = [rng.choice(80, 8, replace=False, p=shares / shares.sum()) for _ in range(300)]
    log = Histories.of([row.tolist() for row in rows])
    data = replace(Dataset.of(Vocabulary(names), log), content=content)
    model = Sequence(width=8, blocks=1, window=16, epochs=4, query_time=False).fit(data)
    found = model.adopt(Content.of({"with": ["cast=star"], "without": ["cast=plain"]}))
    newcomer = Context(Histories.of([[]]), np.zeros(1, np.int64))
    famous, plain = found.believe(newcomer, np.array([80, 81], np.int32)).mean[0]
    assert famous > plain + 1


def test_a_history_with_a_new_title_says_something(fitted: Sequence) -> None:
    model = fitted.adopt(Content.of({"new": about("3-2-x")}))
    new = Context(Histories.of([[len(fitted.titles)]]), np.zeros(1, np.int64))
    scores = model.believe(new).mean[0]
    alike = [place for place, title in enumerate(fitted.titles.ids) if title.startswith("3-")]
    others = np.setdiff1d(np.arange(len(fitted.titles)), alike)
    assert scores[alike].mean() > scores[others].mean()


def test_what_was_saved_adopts_the_same(fitted: Sequence, tmp_path: Path) -> None:
    fitted.save(tmp_path / "model.npz")
    loaded = load_model(tmp_path / "model.npz")
    member = asked(fitted, [[0, 1, 2]])
    one, other = (model.adopt(CONTENT).believe(member).mean for model in (fitted, loaded))
    assert np.array_equal(one, other)


def test_a_map_of_another_width_is_not_taken(fitted: Sequence) -> None:
    arrays = fitted._arrays()
    for name in ("content mean", "content matrix"):
        arrays[name] = arrays[name][..., :-1].copy()
    model = Sequence(**fitted.settings())
    model.titles = fitted.titles
    with pytest.raises(ValueError, match="expected float32"):
        model._restore(arrays)


def test_content_that_comes_after_training_is_heard_of(tmp_path: Path) -> None:
    """Of a title that the catalogue had bare when the model learned, and nobody had watched."""
    rng = np.random.default_rng(0)
    log = Histories.of([watched(rng).tolist() for _ in range(200)])
    every, bare = Vocabulary((*TITLES, "bare", "other")), len(TITLES)
    data = replace(Dataset.of(every, log), content=CONTENT)
    model = Sequence(width=16, blocks=1, window=16, epochs=4, query_time=False).fit(data)
    model.save(tmp_path / "model.npz")
    lover = asked(model, [[place for place, t in enumerate(TITLES) if t.startswith("2-1-")][:6]])
    before = model.believe(lover).mean[0]
    late = Content.of({"bare": about("2-1-x"), "0-0-0": about("2-1-x")})
    for one in (model, load_model(tmp_path / "model.npz"), model.adopt(Content.of({"more": []}))):
        after = one.adopt(late).believe(lover).mean[0][: len(every)]
        assert after[bare] > before[bare] + 1
        assert np.array_equal(np.delete(after, bare), np.delete(before, bare))
    assert np.array_equal(model.believe(lover).mean[0], before), "the model itself is as it was"


def test_a_title_of_the_catalogue_that_nobody_watched_is_placed_in_training(
    logged: list[NDArray[np.int64]], hidden: NDArray[np.int64]
) -> None:
    """The vocabulary is the catalogue, so most new titles are in it at the next training."""
    every = Vocabulary(TITLES)
    log = Histories.of([[int(p) for p in row if p not in hidden] for row in logged])
    settings = {"width": 16, "blocks": 1, "window": 16, "epochs": 2, "query_time": False}
    told = Sequence(**settings).fit(replace(Dataset.of(every, log), content=CONTENT))
    untold = Sequence(**settings).fit(Dataset.of(every, log))
    assert untold.adopt(CONTENT) is untold
    lengths = [np.linalg.norm(model.vectors()[hidden], axis=1).mean() for model in (told, untold)]
    assert lengths[0] > 2 * lengths[1]
    genres = np.array([int(title[0]) for title in TITLES])
    warm = np.setdiff1d(np.arange(len(TITLES)), hidden)
    alike = told.vectors()[hidden] @ told.vectors()[warm].T
    own = genres[hidden][:, None] == genres[warm]
    assert alike[own].mean() > 2 * np.abs(alike[~own].mean())
