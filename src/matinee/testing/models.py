"""What every model must keep: run it on your own.

from matinee.testing import ModelConformance

class TestMine(ModelConformance):
    def make(self):
        return Mine(strength=3.0)
"""

from __future__ import annotations

import json
import tempfile
from abc import ABC, abstractmethod
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from matinee.engine import Executor, Processes, Serial
from matinee.models.base import Floats, Model
from matinee.models.data import Context, Dataset, Histories, InMemory, Responses, Vocabulary

TITLES = 12
MEMBERS = 40
HUGE = 50_000
COUNTRIES = ("NL", "US", None)


class ModelConformance(ABC):
    """The tests of the model contract; subclass it as ``Test...`` and return your model.

    Set `personal` to False for a model that looks at a member's country and not at their history,
    and `tolerance` to the relative difference in scores that your arithmetic needs between one
    shard and many.
    """

    personal: ClassVar[bool] = True
    tolerance: ClassVar[float] = 1e-4

    @abstractmethod
    def make(self) -> Model:
        """A fresh model, the same settings each time, not yet fitted."""

    def test_it_names_itself_and_its_sources(self) -> None:
        model = self.make()
        assert model.name.isidentifier(), f"name {model.name!r} must be a plain word"
        assert model.references, "references is empty; name the paper behind the model"

    def test_settings_make_the_same_model_again(self) -> None:
        model = self.make()
        settings = json.loads(json.dumps(model.settings()))
        again = type(model)(**settings)
        assert again.settings() == model.settings(), (
            "type(model)(**settings()) has other settings; return every argument of __init__"
        )
        log = _log()
        _same(
            _scores(model.fit(_dataset(log)), log),
            _scores(again.fit(_dataset(log)), log),
            "a model made again from settings() learned something else",
        )

    def test_a_checkerboard_is_learned(self) -> None:
        board = _checkerboard(with_countries=not self.personal)
        scores = _scores(self.make().fit(_dataset(board)), board)
        for member in range(len(board)):
            own = np.arange(TITLES) % 2 == member % 2
            unseen = ~np.isin(np.arange(TITLES), board.titles_of(member))
            worst, best = scores[member, own & unseen].min(), scores[member, ~own].max()
            assert worst > best, (
                f"member {member} watches only titles of one colour, yet a title of the other "
                f"scores {best}, not below {worst}; the model misses the plainest structure"
            )

    def test_a_batch_agrees_with_one_member_at_a_time(self) -> None:
        model, log = self.make().fit(_dataset(_log())), _log(seed=1)
        whole = _scores(model, log)
        single = [_scores(model, log.rows(member, member + 1)) for member in range(len(log))]
        _close(whole, np.concatenate(single), 1e-5, "a batch differs from single members")

    def test_candidates_are_columns_of_the_whole(self) -> None:
        model, log = self.make().fit(_dataset(_log())), _log(seed=1)
        candidates = np.array([7, 0, 7, 3], np.int32)
        _close(
            _scores(model, log, candidates),
            _scores(model, log)[:, candidates],
            1e-6,
            "scores on candidates differ from the same columns of all scores",
        )

    def test_an_unknown_title_scores_finite_and_the_same_anywhere(self) -> None:
        model, log = self.make().fit(_dataset(_log())), _log(seed=1)
        unknown = np.array([-1, 2, -1], np.int32)
        scores = _finite(_scores(model, log, unknown), log, 3)
        _same(scores[:, 0], scores[:, 2], "the unknown title -1 has two different scores")
        _close(
            scores[:, 1],
            _scores(model, log)[:, 2],
            1e-6,
            "an unknown candidate changed the score of a known one",
        )

    def test_no_candidates_give_an_empty_answer(self) -> None:
        model = self.make().fit(_dataset(_log()))
        _finite(_scores(model, _log(), np.array([], np.int32)), _log(), 0)

    def test_no_watch_moved_a_title_that_is_unknown(self) -> None:
        model, log = self.make().fit(_dataset(_log())), _log(seed=1)
        member = int(np.diff(log.offsets).argmax())
        asked = Context(log.rows(member, member + 1), np.zeros(1, np.int64))
        _, moved = model.effects(asked, np.array([-1, 2], np.int32))
        assert not moved[:, 0].any(), (
            f"watches moved the unknown title -1 by {moved[:, 0]}; nothing is known of it"
        )

    def test_unknown_titles_in_a_history_are_as_if_absent(self) -> None:
        model = self.make().fit(_dataset(_log()))
        _close(
            _scores(model, Histories.of([[-1, 3, -1, 4], [-1]], [[0, 1, 2, 3], [0]])),
            _scores(model, Histories.of([[3, 4], []], [[1, 3], []])),
            1e-6,
            "events on unknown titles (-1) changed the scores",
        )

    def test_a_member_without_history_gets_what_is_popular(self) -> None:
        popular = Histories.of([[0, 1], [0, 2], [0, 3], [0, 1]])
        model = self.make().fit(_dataset(popular))
        scores = _finite(_scores(model, Histories.of([[]])), Histories.of([[]]), TITLES)
        assert scores[0].argmax() == 0, "a cold member must get the most watched title first"
        assert scores[0, 11] < scores[0, 0], "a title nobody watched must not lead"

    def test_one_event_and_one_title(self) -> None:
        log = Histories.of([[0]])
        model = self.make().fit(_dataset_of(Vocabulary(["only"]), log))
        _finite(_scores(model, log), log, 1)
        _finite(_scores(model, Histories.of([[]])), Histories.of([[]]), 1)

    def test_no_events_give_finite_scores_or_a_clear_refusal(self) -> None:
        nobody = Histories.of([])
        for log in (nobody, Histories.of([[], []])):
            try:
                model = self.make().fit(_dataset(log))
            except ValueError as refusal:
                assert len(str(refusal)) > 20, "say what is missing and what to do"
            else:
                _finite(_scores(model, _log()), _log(), TITLES)
                _finite(_scores(model, nobody), nobody, TITLES)

    def test_a_catalogue_without_titles(self) -> None:
        log = Histories.of([[-1], []])
        model = self.make().fit(_dataset_of(Vocabulary([]), log))
        _finite(_scores(model, log), log, 0)
        _finite(_scores(model, log, np.array([-1], np.int32)), log, 1)

    def test_a_member_with_a_huge_history(self) -> None:
        rng = np.random.default_rng(0)
        huge = Histories.of([rng.integers(0, TITLES, HUGE).tolist(), [1]])
        model = self.make().fit(_dataset(huge))
        _finite(_scores(model, huge), huge, TITLES)

    def test_believe_changes_nothing(self) -> None:
        model, log = self.make().fit(_dataset(_log())), _log(seed=1)
        kept = {name: array.copy() for name, array in model._arrays().items()}
        given = _copies(log)
        first = model.believe(_context(log)).mean
        remembered = first.copy()
        first[:] = -7.0
        _same(
            _scores(model, log),
            remembered,
            "writing into the scores that believe returned changed the model; return a copy",
        )
        for name, array in model._arrays().items():
            _same(array, kept[name], f"believe changed the learned array {name!r}")
        _untouched(log, given, "believe")

    def test_fit_leaves_the_data_alone(self) -> None:
        log = _log()
        given = _copies(log)
        self.make().fit(_dataset(log))
        _untouched(log, given, "fit")

    def test_fit_is_deterministic_and_forgets_what_came_before(self) -> None:
        log, other = _log(), _log(seed=1)
        fresh = self.make().fit(_dataset(log))
        again = self.make().fit(_dataset(other)).fit(_dataset(log))
        expected = fresh._arrays()
        for name, array in again._arrays().items():
            _same(array, expected[name], f"two fits on the same data differ in {name!r}")

    def test_save_and_load_keep_every_bit(self) -> None:
        model, log = self.make().fit(_dataset(_log())), _log(seed=1)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.npz"
            model.save(path)
            loaded = type(model).load(path)
        assert loaded.titles == model.titles, "the titles were lost on the way"
        assert loaded.settings() == model.settings(), "the settings were lost on the way"
        _same(_scores(loaded, log), _scores(model, log), "a loaded model scores differently")

    def test_shards_merge_to_the_whole(self) -> None:
        log = _log()
        whole = self.make().fit(_dataset(log))
        sharded = self.make().fit(_dataset(log, shards=3))
        _close(
            _scores(sharded, log),
            _scores(whole, log),
            self.tolerance,
            "a fit on three shards differs from a fit on one; partial sums must merge",
        )

    def test_processes_learn_the_same_as_one(self) -> None:
        log = _log()
        serial = self.make().fit(_dataset(log, shards=3))
        spread = self.make().fit(_dataset(log, shards=3, executor=Processes(2)))
        _same(
            _scores(spread, log),
            _scores(serial, log),
            "another executor learned something else; kernels must be pure",
        )

    def test_it_refuses_to_speak_before_it_has_learned(self) -> None:
        try:
            self.make().believe(_context(_log()))
        except ValueError as refusal:
            assert "fit" in str(refusal), "say that fit must be called first"
        else:
            raise AssertionError("a model that was never fitted gave scores")


def _log(seed: int = 0) -> Histories:
    """Members with 0 to 9 events, some of them repeated, in three countries."""
    rng = np.random.default_rng(seed)
    rows = [rng.integers(0, TITLES - 1, rng.integers(0, 10)).tolist() for _ in range(MEMBERS)]
    times = [sorted(rng.integers(0, 10**12, len(row)).tolist()) for row in rows]
    return Histories.of(rows, times, [COUNTRIES[member % 3] for member in range(MEMBERS)])


def _checkerboard(*, with_countries: bool) -> Histories:
    """Member m watched the titles of the parity of m, all but one, in an order of their own."""
    rng = np.random.default_rng(0)
    rows = [
        rng.permutation(np.arange(member % 2, TITLES, 2))[1:].tolist() for member in range(MEMBERS)
    ]
    countries = [COUNTRIES[member % 2] if with_countries else None for member in range(MEMBERS)]
    return Histories.of(rows, countries=countries)


def _dataset(log: Histories, shards: int = 1, executor: Executor | None = None) -> Dataset:
    return _dataset_of(
        Vocabulary(f"title {title}" for title in range(TITLES)), log, shards, executor
    )


def _dataset_of(
    titles: Vocabulary, log: Histories, shards: int = 1, executor: Executor | None = None
) -> Dataset:
    """The histories, and responses that say the same: every title was offered to every member."""
    edges = np.linspace(0, len(log), shards + 1).astype(int)
    parts = [log.rows(int(start), int(stop)) for start, stop in pairwise(edges)]
    as_of = int(log.times.max(initial=0)) + 1
    return Dataset(
        titles,
        [InMemory(part) for part in parts],
        as_of,
        executor or Serial(),
        [InMemory(_responses(part, len(titles))) for part in parts],
    )


def _responses(log: Histories, titles: int) -> Responses:
    """What members watched is worth 1 and all else 0, each choice one of all titles."""
    chosen = len(log) * titles
    countries = tuple(country for country in log.countries for _ in range(titles))
    nothing = Histories.of([[]] * chosen, countries=countries)
    return Responses(
        np.tile(np.arange(titles, dtype=np.int32), len(log)),
        log.matrix(titles).toarray().astype(np.float64).ravel(),
        np.full(chosen, 1 / max(titles, 1)),
        Context(nothing, np.zeros(chosen, np.int64)),
    )


def _context(log: Histories) -> Context:
    return Context(log, np.full(len(log), 10**12))


def _scores(model: Model, log: Histories, candidates: NDArray[np.int32] | None = None) -> Floats:
    return model.believe(_context(log), candidates).mean


def _copies(log: Histories) -> list[NDArray[Any]]:
    return [array.copy() for array in (log.offsets, log.titles, log.times, log.weights)]


def _untouched(log: Histories, given: list[NDArray[Any]], who: str) -> None:
    for now, before in zip(_copies(log), given, strict=True):
        _same(now, before, f"{who} changed the histories it was given; work on a copy")


def _finite(scores: Floats, log: Histories, titles: int) -> Floats:
    expected = (len(log), titles)
    assert scores.shape == expected, f"scores are {scores.shape}, expected {expected}"
    assert np.isfinite(scores).all(), "a score is NaN or infinite"
    return scores


def _same(actual: NDArray[Any], expected: NDArray[Any], message: str) -> None:
    assert np.array_equal(actual, expected), message


def _close(actual: NDArray[Any], expected: NDArray[Any], tolerance: float, message: str) -> None:
    largest = np.abs(expected).max(initial=0.0)  # a sum may cancel to less than its rounding
    assert np.allclose(actual, expected, rtol=tolerance, atol=tolerance * 0.1 * largest), (
        f"{message} (largest difference {np.abs(actual - expected).max():.3g})"
    )
