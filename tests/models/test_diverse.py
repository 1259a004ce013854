"""Known answers and properties of re-ordering for diversity."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from matinee.models import (
    EASE,
    MODELS,
    Content,
    Context,
    Dataset,
    Diverse,
    Histories,
    InMemory,
    Model,
    Popularity,
    Progress,
    Run,
    Vocabulary,
    load_model,
)

WIDE = Vocabulary(["a", "a again", "b", "c", "d", "e"])


class Given(Model):
    """Scores and vectors as they are given; one more title is adopted, with a score of 0."""

    name = "given"
    references = ("none",)

    def __init__(self, scores: list[list[float]], vectors: list[list[float]] | None) -> None:
        self.scores, self.given = scores, vectors
        self.runs: list[Run] = []

    def settings(self) -> dict[str, Any]:
        return {"scores": self.scores, "vectors": self.given}

    def vectors(self) -> NDArray[np.float64] | None:
        return None if self.given is None else np.array(self.given, float)

    def adopt(self, content: Content) -> "Given":
        zeros = [[*row, 0.0] for row in self.scores]
        adopted = Given(zeros, self.given and [*self.given, [0.0] * len(self.given[0])])
        adopted.titles = Vocabulary([*self.titles.ids, *content.titles.ids])
        return adopted

    def _fit(self, dataset: Dataset, run: Run) -> None:
        self.runs.append(run)

    def _scores(self, context: Context, candidates: NDArray[np.int32] | None) -> Any:
        rows = np.array(self.scores * (len(context) if len(self.scores) == 1 else 1), np.float32)
        if candidates is None:
            return rows
        return np.where(candidates < 0, np.float32(7.0), rows[:, candidates])

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {}

    def _restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        pass


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "given", Given)


def diverse(
    scores: list[list[float]],
    vectors: list[list[float]] | None,
    strength: float = 1.0,
    segment: int = 100,
    log: Histories | None = None,
) -> Diverse:
    own = {"scores": scores, "vectors": vectors}
    titles = WIDE if len(scores[0]) == len(WIDE) else Vocabulary(map(str, range(len(scores[0]))))
    known = Dataset.of(titles, log if log is not None else Histories.of([[0]]))
    return Diverse("given", own, strength, segment).fit(known)


def asked(*histories: list[int]) -> Context:
    return Context(Histories.of(histories or [[]]), np.zeros(max(len(histories), 1), np.int64))


def ranking(model: Model, *histories: list[int], candidates: list[int] | None = None) -> list[int]:
    chosen = None if candidates is None else np.array(candidates, np.int32)
    scores = model.believe(asked(*histories), chosen).mean[0]
    order = np.argsort(-scores, kind="stable")
    return order.tolist() if candidates is None else [candidates[place] for place in order]


FALLING = [[6.0, 5.9, 5.0, 4.0, 3.0, 2.0]]
TWINS = [[1, 0, 0, 0, 0], [1, 0, 0, 0, 0], *np.eye(5)[1:].tolist()]


def test_the_second_of_two_copies_falls_by_the_strength() -> None:
    """The scores have a standard deviation of 1.47: at .7 the copy is worth 5.9 - 1.03."""
    falls = {
        strength: ranking(diverse(FALLING, TWINS, strength)).index(1)
        for strength in (0.0, 0.5, 0.7, 1.5, 2.5, 3.0)
    }
    assert falls == {0.0: 1, 0.5: 1, 0.7: 2, 1.5: 3, 2.5: 4, 3.0: 5}


def test_the_scores_are_dealt_anew_and_none_is_new() -> None:
    dealt = diverse(FALLING, TWINS, 0.7).believe(asked()).mean[0]
    assert dealt.tolist() == pytest.approx([6.0, 5.0, 5.9, 4.0, 3.0, 2.0])


@pytest.mark.parametrize("opposite", [False, True])
def test_titles_that_have_nothing_in_common_stay(opposite: bool) -> None:
    vectors = np.kron(np.eye(3), [[1.0], [-1.0]]) if opposite else np.eye(6)
    model = diverse(FALLING, vectors.tolist(), 1000.0)
    assert (model.believe(asked()).mean == np.array(FALLING, np.float32)).all()


def test_a_strength_of_nothing_is_the_model_itself() -> None:
    model = diverse(FALLING, TWINS, 0.0)
    assert (model.believe(asked()).mean == np.array(FALLING, np.float32)).all()


def test_a_watched_title_keeps_its_score_and_pushes_nothing_down() -> None:
    model = diverse(FALLING, TWINS, 3.0)
    assert ranking(model, [0]) == [0, 1, 2, 3, 4, 5]
    watched_again = ranking(model, [3])
    assert watched_again.index(1) == 5
    assert model.believe(asked([3])).mean[0, 3] == 4.0


def test_a_title_that_is_no_candidate_pushes_nothing_down() -> None:
    model = diverse(FALLING, TWINS, 3.0)
    assert ranking(model, candidates=[1, 2, 3]) == [1, 2, 3]
    assert ranking(model, candidates=[5, 1, 0, 3]) == [0, 3, 5, 1]


def test_an_unknown_candidate_keeps_the_score_it_had() -> None:
    model = diverse(FALLING, TWINS, 3.0)
    scores = model.believe(asked(), np.array([-1, 0, 1, -1, 5, 1], np.int32)).mean[0]
    assert scores == pytest.approx([7.0, 6.0, 2.0, 7.0, 5.9, 2.0])


def test_titles_below_the_segment_stay_where_they_are() -> None:
    model = diverse(FALLING, TWINS, 1000.0, segment=3)
    assert model.believe(asked()).mean[0] == pytest.approx([6.0, 5.0, 5.9, 4.0, 3.0, 2.0])


def test_watched_titles_take_no_place_of_the_segment() -> None:
    model = diverse(FALLING, TWINS, 1000.0, segment=3)
    assert ranking(model, [3]) == [0, 2, 1, 3, 4, 5]
    assert ranking(diverse(FALLING, TWINS, 1000.0, segment=4), [2]) == [0, 3, 2, 4, 1, 5]


def test_a_member_who_watched_all_gets_the_models_scores() -> None:
    scores = diverse(FALLING, TWINS, 3.0).believe(asked([0, 1, 2, 3, 4, 5])).mean
    assert (scores == np.array(FALLING, np.float32)).all()


def by_hand(scores: list[float], vectors: NDArray[np.float64], strength: float) -> list[int]:
    """Maximal marginal relevance as the formula says it, one title after the other."""
    worth = (np.array(scores) - np.mean(scores)) / np.std(scores)
    lengths = np.linalg.norm(vectors, axis=1)
    cosines = vectors @ vectors.T / np.outer(lengths, lengths)
    placed: list[int] = []
    while len(placed) < len(scores):
        gains = {
            title: worth[title] - strength * max([0.0, *(cosines[title, j] for j in placed)])
            for title in range(len(scores))
            if title not in placed
        }
        placed.append(max(gains, key=lambda title: gains[title]))
    return placed


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 12), st.floats(0.1, 20))
def test_the_order_is_that_of_the_formula(seed: int, size: int, strength: float) -> None:
    rng = np.random.default_rng(seed)
    scores = [float(score) for score in rng.standard_normal(size).astype(np.float32)]
    vectors = rng.standard_normal((size, 3))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, "given", Given)
        assert ranking(diverse([scores], vectors.tolist(), strength)) == by_hand(
            scores, vectors, strength
        )


def test_of_equal_scores_at_the_end_of_the_segment_the_first_titles_are_in_it() -> None:
    """Titles 0 and 1 are twins, so the third of the segment comes before 1; it must be title 2."""
    rng = np.random.default_rng(0)
    for equals in range(2, 40):
        scores = [3.0, 2.5, *[2.0] * equals]
        vectors = [[1.0, 0.0], [1.0, 0.0], *[[0.0, 1.0]] * equals]
        model = diverse([scores], vectors, strength=10.0, segment=3)
        member = [2 + int(rng.integers(equals))]  # watched, and so no candidate for the segment
        expected = 2 if member != [2] else 3
        assert ranking(model, member)[:3] == [0, expected, 1]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 7), max_size=8), min_size=1, max_size=5),
    st.floats(0, 20),
    st.integers(1, 10),
    st.integers(0, 10_000),
)
def test_only_unwatched_titles_of_the_segment_move_and_the_scores_are_the_same_ones(
    histories: list[list[int]], strength: float, segment: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    log = Histories.of([rng.permutation(8)[: rng.integers(1, 8)].tolist() for _ in range(20)])
    data = Dataset.of(Vocabulary(map(str, range(8))), log)
    plain = EASE(2.0).fit(data).believe(asked(*histories)).mean
    model = Diverse("ease", {"l2": 2.0}, strength, segment).fit(data)
    dealt = model.believe(asked(*histories)).mean
    assert np.array_equal(np.sort(dealt, axis=1), np.sort(plain, axis=1))
    for member, history in enumerate(histories):
        unwatched = [title for title in range(8) if title not in history]
        best = sorted(unwatched, key=lambda title: (-plain[member, title], title))
        assert all(dealt[member, best[0]] >= dealt[member, title] for title in unwatched)
        still = np.ones(8, bool)
        still[best[:segment]] = False
        assert (dealt[member, still] == plain[member, still]).all()
        alone = model.believe(asked(history)).mean[0]
        assert np.array_equal(alone, dealt[member])


def test_titles_that_the_same_members_watched_are_alike_where_the_model_has_no_vectors() -> None:
    log = Histories.of([[0, 1]] * 5 + [[2, 3]] * 4 + [[4]] * 3 + [[0, 1, 2, 3]])
    vectors = diverse([[5.0, 4.0, 3.0, 2.0, 1.0]], None, log=log).vectors()
    cosines = np.asarray(vectors) @ np.asarray(vectors).T
    correlation = np.corrcoef(log.matrix(5).toarray(), rowvar=False)
    assert cosines == pytest.approx(correlation, abs=1e-5)


def test_vectors_of_many_titles_hold_the_principal_axes_of_their_correlation() -> None:
    """120 titles in eight groups: the 64 axes are those of an exact decomposition, nearly."""
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 8, 600)
    rows = [
        [title for title in range(120) if rng.random() < (0.5 if title % 8 == group else 0.03)]
        for group in groups
    ]
    log = Histories.of(rows)
    vectors = np.asarray(diverse([np.arange(120.0).tolist()], None, log=log).vectors())
    values, axes = np.linalg.eigh(np.corrcoef(log.matrix(120).toarray(), rowvar=False))
    exact = axes[:, -64:] * np.sqrt(values[-64:])
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    assert np.abs(vectors @ vectors.T - exact @ exact.T).mean() < 0.05


def test_a_title_that_nobody_or_everybody_watched_is_like_no_other() -> None:
    log = Histories.of([[0, 1], [0, 1], [0, 2]])
    vectors = diverse([[4.0, 3.0, 2.0, 1.0]], None, log=log).vectors()
    assert np.linalg.norm(np.asarray(vectors), axis=1) == pytest.approx([0, 1, 1, 0])


def test_shards_of_members_give_the_same_vectors() -> None:
    rng = np.random.default_rng(3)
    log = Histories.of([rng.integers(0, 9, 5).tolist() for _ in range(40)])
    titles = Vocabulary(map(str, range(9)))
    whole = Diverse("popularity").fit(Dataset.of(titles, log))
    parts = [InMemory(log.rows(0, 11)), InMemory(log.rows(11, 11)), InMemory(log.rows(11, 40))]
    sharded = Diverse("popularity").fit(Dataset(titles, parts, 100))
    alike = [np.asarray(model.vectors()) for model in (whole, sharded)]
    assert alike[0] @ alike[0].T == pytest.approx(alike[1] @ alike[1].T, abs=1e-5)


def test_titles_of_new_content_come_after_the_learned_ones() -> None:
    model = diverse(FALLING, TWINS, 1.0)
    wider = model.adopt(Content.of({"new": ["genre=Drama"]}))
    assert wider.titles.ids == (*WIDE.ids, "new")
    assert ranking(wider) == [0, 2, 3, 1, 4, 5, 6]
    assert np.asarray(wider.vectors()).shape == (7, 5)
    assert model.titles == WIDE
    assert ranking(model) == [0, 2, 1, 3, 4, 5]


def test_new_titles_of_a_model_without_vectors_are_like_no_other() -> None:
    model = diverse(FALLING, None, 3.0, log=Histories.of([[0, 1], [0, 1], [2], [3, 4]]))
    wider = model.adopt(Content.of({"new": ["genre=Drama"]}))
    assert (np.asarray(wider.vectors())[:6] == model.vectors()).all()
    assert not np.asarray(wider.vectors())[6].any()
    assert ranking(wider, candidates=[0, 1, 6]) == [0, 6, 1]


def test_a_model_that_adopts_nothing_stays_the_same() -> None:
    log = Dataset.of(Vocabulary(["a", "b"]), Histories.of([[0, 1]]))
    model = Diverse("popularity").fit(log)
    assert model.adopt(Content.of({"new": ["genre=Drama"]})) is model


def test_who_follows_the_fit_follows_the_model_inside() -> None:
    heard: list[Progress] = []
    run = Run(heard.append)
    model = Diverse("given", {"scores": FALLING, "vectors": TWINS})
    model.fit(Dataset.of(WIDE, Histories.of([[0]])), run)
    assert model.model.runs == [run]  # type: ignore[attr-defined]


def test_a_file_brings_back_the_model_inside(tmp_path: Path) -> None:
    log = Histories.of([[0, 1]] * 5 + [[2, 3]] * 4 + [[0, 2]])
    model = Diverse("ease", {"l2": 3.0}, 2.0, 50)
    model.fit(Dataset.of(Vocabulary("abcd"), log)).save(tmp_path / "model.npz")
    again = load_model(tmp_path / "model.npz")
    assert isinstance(again, Diverse)
    assert again.settings() == {
        "model": "ease",
        "settings": {"l2": 3.0},
        "strength": 2.0,
        "segment": 50,
    }
    assert (again.believe(asked([0])).mean == model.believe(asked([0])).mean).all()


def test_vectors_of_another_catalogue_are_refused(tmp_path: Path) -> None:
    model = Diverse("popularity").fit(Dataset.of(Vocabulary("ab"), Histories.of([[0, 1], [0]])))
    model.titles = Vocabulary("abc")
    model.save(tmp_path / "model.npz")
    with pytest.raises(ValueError, match="not a whole model file"):
        load_model(tmp_path / "model.npz")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"strength": -0.1}, "strength is -0.1"),
        ({"strength": float("nan")}, "strength is nan"),
        ({"segment": 0}, "segment is 0"),
        ({"model": "nope"}, "there is no model 'nope'"),
        ({"model": "diverse"}, "diverse does not rank titles by itself"),
        ({"model": "response"}, "response does not rank titles by itself"),
        ({"settings": {"l2": -1.0}}, "l2 is -1.0"),
    ],
)
def test_what_it_cannot_be_made_of(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Diverse(**arguments)


def test_most_models_have_no_vectors() -> None:
    log = Dataset.of(Vocabulary("ab"), Histories.of([[0, 1]]))
    assert Popularity().fit(log).vectors() is None
    assert EASE().fit(log).vectors() is None
