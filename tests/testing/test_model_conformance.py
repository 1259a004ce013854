"""The suite catches what it is there to catch: each broken model fails the check that names it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from matinee.models import EASE, Context, Dataset, Model
from matinee.models.base import Floats
from matinee.models.data import Indices
from matinee.models.run import Run
from matinee.testing import ModelConformance


class LearnsNothing(EASE):
    def _scores(self, context: Context, candidates: Indices | None) -> Floats:
        return super()._scores(context, candidates) * np.float32(0)


class LendsItsMemory(EASE):
    def _scores(self, context: Context, candidates: Indices | None) -> Floats:
        return self._weights[: len(context)]


class CountsItsCalls(EASE):
    def _scores(self, context: Context, candidates: Indices | None) -> Floats:
        self._weights = self._weights + np.float32(1e-3)
        return super()._scores(context, candidates)


class IgnoresCandidates(EASE):
    def _scores(self, context: Context, candidates: Indices | None) -> Floats:
        size = len(self.titles) if candidates is None else len(candidates)
        return super()._scores(context, None)[:, :size]


class GivesNaNToUnknownTitles(EASE):
    def _scores(self, context: Context, candidates: Indices | None) -> Floats:
        scores = super()._scores(context, None)
        if candidates is None:
            return scores
        return np.where(candidates < 0, np.float32("nan"), scores[:, candidates])


class ScoresByBatchSize(EASE):
    def _scores(self, context: Context, candidates: Indices | None) -> Floats:
        return super()._scores(context, candidates) + np.float32(len(context))


class ForgetsASetting(EASE):
    def settings(self) -> dict[str, Any]:
        return {}


class LosesPrecision(EASE):
    def _arrays(self) -> dict[str, NDArray[Any]]:
        arrays = super()._arrays()
        return arrays | {"weights": arrays["weights"].round(2)}


class AddsToWhatItKnew(EASE):
    def _fit(self, dataset: Dataset, run: Run) -> None:
        before = getattr(self, "_weights", np.float32(0))
        super()._fit(dataset, run)
        self._weights = self._weights + before


class SeesOnlyTheFirstShard(EASE):
    def _fit(self, dataset: Dataset, run: Run) -> None:
        super()._fit(Dataset(dataset.titles, dataset.shards[:1], dataset.as_of), run)


class SortsItsInput(EASE):
    def _fit(self, dataset: Dataset, run: Run) -> None:
        for shard in dataset.shards:
            shard.load().titles.sort()
        super()._fit(dataset, run)


def suite(broken: Callable[..., Model]) -> ModelConformance:
    class Suite(ModelConformance):
        def make(self) -> Model:
            return broken(l2=2.0)

    return Suite()


@pytest.mark.parametrize(
    ("broken", "check", "message"),
    [
        (LearnsNothing, "test_a_checkerboard_is_learned", "plainest structure"),
        (LendsItsMemory, "test_believe_changes_nothing", "return a copy"),
        (CountsItsCalls, "test_believe_changes_nothing", "changed"),
        (IgnoresCandidates, "test_candidates_are_columns_of_the_whole", "same columns"),
        (
            GivesNaNToUnknownTitles,
            "test_an_unknown_title_scores_finite_and_the_same_anywhere",
            "NaN or infinite",
        ),
        (ScoresByBatchSize, "test_a_batch_agrees_with_one_member_at_a_time", "single members"),
        (ForgetsASetting, "test_settings_make_the_same_model_again", "learned something else"),
        (LosesPrecision, "test_save_and_load_keep_every_bit", "scores differently"),
        (
            AddsToWhatItKnew,
            "test_fit_is_deterministic_and_forgets_what_came_before",
            "two fits on the same data",
        ),
        (SeesOnlyTheFirstShard, "test_shards_merge_to_the_whole", "three shards"),
        (SortsItsInput, "test_fit_leaves_the_data_alone", "work on a copy"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_a_broken_model_is_caught(broken: type[Model], check: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        getattr(suite(broken), check)()


def test_the_suite_needs_no_test_framework() -> None:
    import subprocess
    import sys

    code = "import sys, matinee.testing; sys.exit('pytest' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
