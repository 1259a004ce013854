"""Ranking metrics against a reference in plain Python, known answers, and properties."""

import json
from dataclasses import replace
from datetime import datetime
from io import StringIO
from itertools import combinations
from math import log2, sqrt
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rich.console import Console

import matinee
from matinee.evaluation import Holdout, Report, Split, evaluate, global_time_split, leave_one_out
from matinee.evaluation.ranking import bootstrap, ranked
from matinee.lake.records import from_micros
from matinee.models import (
    EASE,
    Context,
    CoVisitation,
    Dataset,
    Diverse,
    Histories,
    Model,
    Popularity,
    Vocabulary,
)
from matinee.models.base import Floats
from matinee.models.data import Indices, InMemory
from matinee.models.run import Run

DAY = 86_400_000_000


class Given(Model):
    """A model whose scores stand in a table: one row for the first title of a member's history."""

    name: ClassVar[str] = "given"
    references: ClassVar[tuple[str, ...]] = ("none",)

    def __init__(self, table: list[list[float]]) -> None:
        self.table = table

    def settings(self) -> dict[str, Any]:
        return {}

    def _fit(self, dataset: Dataset, run: Run) -> None: ...

    def _scores(self, context: Context, candidates: Indices | None) -> Floats:
        firsts = context.histories.titles[context.histories.offsets[:-1]]
        return np.array([self.table[first] for first in firsts])

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {}

    def _restore(self, arrays: dict[str, NDArray[Any]]) -> None: ...


def reference(
    scores: list[list[float]],
    seen: list[set[int]],
    targets: list[set[int]],
    trained: list[set[int]],
) -> dict[str, float]:
    """The docstring's formulas, one title after the other."""
    catalogue = range(len(scores[0]))
    hits10 = hits50 = gain = bits = differ = 0.0
    shown: set[int] = set()
    for row, watched, wanted in zip(scores, seen, targets, strict=True):
        order = sorted(
            (title for title in catalogue if title not in watched),
            key=lambda title, row=row, wanted=wanted: (-row[title], title in wanted, title),
        )
        hits10 += any(title in wanted for title in order[:10])
        hits50 += any(title in wanted for title in order[:50])
        gained = sum(
            1 / log2(place + 1) for place, title in enumerate(order[:10], 1) if title in wanted
        )
        gain += gained / sum(1 / log2(place + 1) for place in range(1, min(10, len(wanted)) + 1))
        watchers = [max(1, sum(title in each for each in trained)) for title in order[:10]]
        bits += sum(-log2(count / len(trained)) for count in watchers) / len(watchers)
        pairs = list(combinations(order[:10], 2))
        cosines = sum(
            sum({one, other} <= each for each in trained)
            / sqrt(max(1, sum(one in each for each in trained)))
            / sqrt(max(1, sum(other in each for each in trained)))
            for one, other in pairs
        )
        differ += 1 - cosines / max(len(pairs), 1)
        shown.update(order[:10])
    members = len(scores)
    return {
        "hr@10": hits10 / members,
        "hr@50": hits50 / members,
        "ndcg@10": gain / members,
        "coverage@10": len(shown) / len(catalogue),
        "diversity@10": differ / members,
        "novelty@10": bits / members,
    }


def split_of(seen: list[list[int]], targets: list[list[int]], size: int) -> Split:
    context = Histories.of(seen)
    titles = Vocabulary(f"t{title:03}" for title in range(size))
    members = tuple(f"m{member}" for member in range(len(seen)))
    test = Holdout(members, Context(context, np.zeros(len(seen), np.int64)), Histories.of(targets))
    data = {"events": 0, "members": len(seen), "titles": size, "fingerprint": "none"}
    return Split({"name": "by hand"}, data, Dataset.of(titles, context), None, test)


def values(report: Report, model: str) -> dict[str, float]:
    (row,) = [row for row in report.rows if row.model == model]
    return {name: estimate.value for name, estimate in row.metrics.items()}


@st.composite
def questions(draw: st.DrawFn) -> tuple[list[list[float]], list[list[int]], list[list[int]]]:
    """Scores by first title, with many ties; histories; and new titles as targets."""
    size = draw(st.integers(3, 70))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    levels = draw(st.sampled_from([1, 2, 5, 1000]))
    table = rng.integers(0, levels, (size, size)).astype(float).tolist()
    seen, targets = [], []
    for _ in range(draw(st.integers(1, 12))):
        order = rng.permutation(size).tolist()
        known = draw(st.integers(1, size - 1))
        wanted = draw(st.integers(1, min(size - known, 15)))
        seen.append(order[:known])
        targets.append(order[known : known + wanted])
    return table, seen, targets


@given(questions())
@settings(max_examples=50, deadline=None)
def test_every_metric_agrees_with_the_reference(
    case: tuple[list[list[float]], list[list[int]], list[list[int]]],
) -> None:
    table, seen, targets = case
    split = split_of(seen, targets, len(table))
    found = values(evaluate([Given(table)], split, resamples=2), "given")
    scores = [table[row[0]] for row in seen]
    watched = [set(row) for row in seen]
    expected = reference(scores, watched, [set(row) for row in targets], watched)
    assert found == pytest.approx(expected, abs=1e-9)


def test_a_target_in_second_place_is_worth_what_the_formula_says() -> None:
    split = split_of([[0]], [[1]], 4)
    found = values(evaluate([Given([[9.0, 2.0, 3.0, 1.0]])], split, resamples=2), "given")
    assert found["hr@10"] == 1.0
    assert found["ndcg@10"] == pytest.approx(1 / log2(3))


def test_a_perfect_model_and_a_model_that_knows_nothing() -> None:
    size = 80
    targets = [[member + 40] for member in range(40)]
    perfect = [[float(title == row + 40) for title in range(size)] for row in range(size)]
    split = split_of([[member] for member in range(40)], targets, size)
    found = values(evaluate([Given(perfect)], split, resamples=2), "given")
    assert (found["hr@10"], found["ndcg@10"]) == (1.0, 1.0)
    nothing = values(evaluate([Given([[0.0] * size] * size)], split, resamples=2), "given")
    assert nothing["hr@50"] == 0.0, "a constant score must not gain from ties"


def test_lists_shorter_than_ten_are_filled_as_far_as_they_go() -> None:
    lists = ranked(np.array([[1.0, 2.0, 3.0]]), np.eye(1, 3) > 0, np.zeros((1, 3), bool), 3)
    assert lists.tolist() == [[2, 1, -1]]


@given(st.integers(1, 5), st.integers(1, 30), st.integers(1, 40), st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_a_list_holds_the_best_unseen_titles_once_each(
    members: int, size: int, length: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 4, (members, size)).astype(float)
    seen, targets = rng.random((2, members, size)) < 0.3
    lists = ranked(scores, seen, targets, length)
    for member, row in enumerate(lists):
        listed = row[row >= 0]
        assert len(listed) == min(length, (~seen[member]).sum())
        assert len(set(listed)) == len(listed)
        assert not seen[member, listed].any()
        rest = np.setdiff1d(np.flatnonzero(~seen[member]), listed)
        if len(listed) and len(rest):
            assert scores[member, rest].max() <= scores[member, listed].min()
        assert (np.diff(scores[member, listed]) <= 0).all()


def test_batches_do_not_change_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    orders = [rng.permutation(20).tolist() for _ in range(30)]
    split = split_of([row[:5] for row in orders], [row[5:7] for row in orders], 20)
    whole = values(evaluate([EASE(1.0)], split, resamples=2), "ease")
    monkeypatch.setattr("matinee.evaluation.ranking.BATCH", 7)
    assert values(evaluate([EASE(1.0)], split, resamples=2), "ease") == pytest.approx(whole)


def test_training_data_in_shards_gives_the_same_figures() -> None:
    split = leave_one_out(frame())
    (shard,) = split.train.shards
    log = shard.load()
    parts = [InMemory(log.rows(0, 11)), InMemory(log.rows(11, len(log)))]
    sharded = replace(split, train=replace(split.train, shards=parts))
    assert values(evaluate([], sharded), "popularity") == values(evaluate([], split), "popularity")


def test_a_nan_score_is_refused_with_the_model_named() -> None:
    with pytest.raises(ValueError, match=r"given model.*ModelConformance"):
        evaluate([Given([[0.0, float("nan")]] * 2)], split_of([[0]], [[1]], 2))


def test_an_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        sample = (rng.random((150, 1)) < 0.3).astype(float)
        low, high = bootstrap(sample, seed, resamples=200)
        covered += bool(low[0] <= 0.3 <= high[0])
    assert 180 <= covered <= 199  # binomial(200, 0.95) lies here with probability 0.998


def frame(members: int = 40, titles: int = 15, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    rows = [
        (f"m{member}", f"t{title}", int(rng.integers(0, 100)) * DAY)
        for member in range(members)
        for title in rng.permutation(titles)[:8]
    ]
    return pl.DataFrame(rows, ["member_id", "title_id", "ts"], orient="row").with_row_index("seq")


def test_popularity_is_always_in_the_table_and_only_once() -> None:
    split = leave_one_out(frame())
    assert [row.model for row in evaluate([EASE()], split).rows] == ["popularity", "ease"]
    own = Popularity(days=7.0)
    assert [row.settings for row in evaluate([own], split).rows] == [own.settings()]


def test_the_same_seed_gives_the_same_intervals_and_another_does_not() -> None:
    split = leave_one_out(frame())
    first, again, other = (evaluate([], split, seed=seed) for seed in (1, 1, 2))
    assert first.rows[0].metrics == again.rows[0].metrics
    assert first.rows[0].metrics != other.rows[0].metrics
    novelty = first.rows[0].metrics["novelty@10"]
    assert novelty.low is not None
    assert novelty.high is not None
    assert novelty.low < novelty.value < novelty.high


def test_validation_and_test_ask_different_questions() -> None:
    split = leave_one_out(frame())
    on_test = evaluate([EASE(1.0)], split)
    on_validation = evaluate([EASE(1.0)], split, holdout="validation")
    assert on_validation.protocol["holdout"] == "validation"
    assert values(on_test, "ease") != values(on_validation, "ease")


def test_validation_is_not_told_to_models_that_it_is_to_judge() -> None:
    told = []

    class Curious(Popularity):
        name = "curious"

        def _fit(self, dataset, run):
            told.append(dataset.validation)
            super()._fit(dataset, run)

    split = leave_one_out(frame())
    evaluate([Curious()], split, holdout="validation", resamples=2)
    evaluate([Curious()], split, holdout="test", resamples=2)
    assert told == [None, split.validation]


def test_json_says_how_the_figures_came_about() -> None:
    split = leave_one_out(frame())
    told = json.loads(evaluate([EASE(7.0)], split, seed=5, resamples=20).to_json())
    assert told["seed"] == 5
    assert told["resamples"] == 20
    assert told["version"] == matinee.__version__
    assert told["data"]["fingerprint"] == split.data["fingerprint"]
    assert told["protocol"]["name"] == "leave_one_out"
    (ease,) = [row for row in told["rows"] if row["model"] == "ease"]
    assert ease["settings"] == {"l2": 7.0}
    assert ease["metrics"]["coverage@10"]["low"] is None
    assert ease["metrics"]["hr@10"]["low"] <= ease["metrics"]["hr@10"]["value"]


def test_the_table_fits_a_terminal_of_80_columns() -> None:
    screen = StringIO()
    models = [EASE(), CoVisitation(), Diverse("ease", {"l2": 123.0})]
    Console(file=screen, width=80).print(evaluate(models, leave_one_out(frame()), resamples=10))
    text = screen.getvalue()
    for word in (
        "popularity",
        "ease",
        "shrinkage 100",
        "l2 123",
        "novelty",
        "@50",
        "leave_one_out",
    ):
        assert word in text
    assert "\N{HORIZONTAL ELLIPSIS}" not in text, "a cell was cut"


def test_nobody_to_ask_is_said() -> None:
    alone = pl.DataFrame({"member_id": ["a"], "title_id": ["x"], "ts": [0], "seq": [0]})
    with pytest.raises(ValueError, match="asks no member"):
        evaluate([], leave_one_out(alone))
    cut = global_time_split(frame(), at=day(50))
    with pytest.raises(ValueError, match="validation part"):
        evaluate([], cut, holdout="validation")


def day(days: int) -> datetime:
    return from_micros(days * DAY)
