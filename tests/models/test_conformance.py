"""The public conformance suite on every model that ships."""

import numpy as np

from matinee.models import (
    EASE,
    MODELS,
    Boosted,
    Cascade,
    Context,
    CoVisitation,
    Dataset,
    Diverse,
    Histories,
    Linear,
    Model,
    Popularity,
    Recovery,
    Response,
    Sequence,
    Vocabulary,
)
from matinee.testing import ModelConformance


class TestSequence(ModelConformance):
    tolerance = 1e-3

    def make(self) -> Model:
        return Sequence(
            width=16,
            blocks=1,
            window=8,
            batch=32,
            epochs=30,
            learning_rate=5e-3,
            dropout=0.2,
            negatives=32,
            average=0.9,
        )


class TestPopularity(ModelConformance):
    personal = False

    def make(self) -> Model:
        return Popularity(shrinkage=5.0)


class TestPopularityInAWindow(ModelConformance):
    personal = False

    def make(self) -> Model:
        return Popularity(days=5.0)


class TestEASE(ModelConformance):
    def make(self) -> Model:
        return EASE(l2=2.0)


class TestCoVisitation(ModelConformance):
    def make(self) -> Model:
        return CoVisitation()


class TestResponse(ModelConformance):
    personal = False

    def make(self) -> Model:
        return Response(strength=5.0)


class TestResponseOfAll(ModelConformance):
    personal = False

    def make(self) -> Model:
        return Response(by=["country", "device", "plan"])


class TestLinear(ModelConformance):
    personal = False

    def make(self) -> Model:
        return Linear(strength=5.0)


class TestLinearThatForgets(ModelConformance):
    personal = False

    def make(self) -> Model:
        return Linear(by=["country", "device", "plan"], strength=0.5, ridge=3.0, half_life=7.0)


class TestBoosted(ModelConformance):
    personal = False

    def make(self) -> Model:
        return Boosted(rounds=60, learning_rate=0.2, min_rows=2)


class TestBoostedOfAll(ModelConformance):
    personal = False

    def make(self) -> Model:
        return Boosted(["country", "plan", "hour"], weighted=True, rounds=60, min_rows=2)


class TestBoostedMean(ModelConformance):
    personal = False

    def make(self) -> Model:
        return Boosted(probability=False, rounds=60, learning_rate=0.2, min_rows=2)


class TestRecovery(ModelConformance):
    personal = False

    def make(self) -> Model:
        return Recovery(trees={"min_rows": 1})


class TestCascade(ModelConformance):
    """It knows no member apart from another; tests of its own say what it learns."""

    def make(self) -> Model:
        return Cascade()

    def test_a_checkerboard_is_learned(self) -> None:
        model, log = fitted(self.make())
        scores = model.believe(log).mean
        assert (scores == scores[0]).all()


class TestDiverse(ModelConformance):
    """A list is ordered as a whole: what is held column by column is held list by list here."""

    def make(self) -> Model:
        return Diverse("ease", {"l2": 2.0}, strength=2.0, segment=6)

    def test_candidates_are_columns_of_the_whole(self) -> None:
        model, log = fitted(self.make())
        shuffled = np.random.default_rng(0).permutation(len(model.titles)).astype(np.int32)
        twice = np.concatenate([shuffled, shuffled[:3]])
        whole = model.believe(log).mean
        assert (model.believe(log, twice).mean == whole[:, twice]).all()

    def test_an_unknown_title_scores_finite_and_the_same_anywhere(self) -> None:
        model, log = fitted(self.make())
        known = np.array([2, 5, 7], np.int32)
        scores = model.believe(log, np.array([-1, 2, 5, -1, 7], np.int32)).mean
        assert np.isfinite(scores).all()
        assert (scores[:, 0] == scores[:, 3]).all()
        assert (scores[:, [1, 2, 4]] == model.believe(log, known).mean).all()


def fitted(model: Model) -> tuple[Model, Context]:
    rng = np.random.default_rng(0)
    rows = [rng.integers(0, 11, rng.integers(0, 10)).tolist() for _ in range(40)]
    log = Histories.of(rows)
    titles = Vocabulary(f"title {title}" for title in range(12))
    return model.fit(Dataset.of(titles, log)), Context(log, np.full(len(log), 10**12))


def test_every_registered_model_is_tested_here() -> None:
    tested = {type(suite().make()) for suite in ModelConformance.__subclasses__()}
    assert set(MODELS.values()) <= tested
