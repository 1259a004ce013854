import numpy as np
import pytest

from matinee.models import EASE, Context, Dataset, Histories, InMemory, Popularity, Vocabulary


def context(rows: list[list[int]], countries: list[str | None] | None = None) -> Context:
    return Context(Histories.of(rows, countries=countries), np.zeros(len(rows), np.int64))


def random_log(members: int = 60, titles: int = 8, seed: int = 0) -> Histories:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, titles, members)
    return Histories.of([rng.permutation(titles)[:length].tolist() for length in lengths])


def vocabulary(size: int) -> Vocabulary:
    return Vocabulary(str(title) for title in range(size))


def test_weights_solve_the_constrained_ridge_regression() -> None:
    """The gradient of Steck's objective vanishes off the diagonal, where B is free."""
    log, l2 = random_log(), 3.0
    model = EASE(l2).fit(Dataset.of(vocabulary(8), log))
    one_title_each = context([[title] for title in range(8)])
    weights = model.believe(one_title_each).mean.astype(float)
    watched = log.matrix(8).toarray().astype(float)
    gradient = watched.T @ (watched @ weights - watched) + l2 * weights
    np.fill_diagonal(gradient, 0.0)
    assert np.abs(gradient).max() < 1e-4
    assert (np.diag(weights) == 0).all()


def test_two_titles_have_a_closed_form() -> None:
    """Each of two titles is regressed on the other: co-watches / (watches + l2)."""
    log = Histories.of([[0, 1]] * 6 + [[0]] * 4 + [[1]])
    weights = EASE(5.0).fit(Dataset.of(vocabulary(2), log)).believe(context([[0], [1]])).mean
    assert weights == pytest.approx(np.array([[0, 6 / (10 + 5)], [6 / (7 + 5), 0]]), rel=1e-5)


def test_a_history_scores_the_sum_of_its_titles() -> None:
    model = EASE(3.0).fit(Dataset.of(vocabulary(8), random_log()))
    scores = model.believe(context([[1, 5, 1], [1], [5]])).mean
    assert scores[0] == pytest.approx(scores[1] + scores[2], rel=1e-4, abs=1e-6)


def test_a_member_without_known_titles_gets_the_popularity_of_the_country() -> None:
    log = Histories.of([[0, 1], [0], [2]], countries=["NL", "NL", "US"])
    data = Dataset.of(vocabulary(4), log)
    asked = context([[], [-1], [0]], ["NL", "US", "NL"])
    scores, popular = EASE(1.0).fit(data).believe(asked).mean, Popularity().fit(data)
    assert np.array_equal(scores[:2], popular.believe(asked).mean[:2])
    assert scores[2, 3] == 0, "popularity must not leak into a warm member's scores"


def test_blocks_of_members_sum_to_the_same_gram_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    data, asked = Dataset.of(vocabulary(8), random_log()), context([[1, 2]])
    whole = EASE(2.0).fit(data).believe(asked).mean
    monkeypatch.setattr("matinee.models.ease.BLOCK", 24)
    assert np.array_equal(EASE(2.0).fit(data).believe(asked).mean, whole)


def test_many_shards_give_the_same_bits() -> None:
    log = random_log()
    shards = [InMemory(log.rows(start, start + 20)) for start in (0, 20, 40)]
    whole = EASE(2.0).fit(Dataset.of(vocabulary(8), log))
    sharded = EASE(2.0).fit(Dataset(vocabulary(8), shards, as_of=100))
    asked = context([[1, 2]])
    assert np.array_equal(whole.believe(asked).mean, sharded.believe(asked).mean)


@pytest.mark.parametrize("l2", [0.0, -1.0, float("nan"), float("inf")])
def test_l2_must_be_positive(l2: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        EASE(l2)


def test_a_vanishing_l2_on_titles_always_watched_together_says_what_to_raise() -> None:
    with pytest.raises(ValueError, match="raise l2"):
        EASE(1e-300).fit(Dataset.of(vocabulary(2), Histories.of([[0, 1]] * 3)))
