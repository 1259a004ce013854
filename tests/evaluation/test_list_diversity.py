"""How much the titles of a list differ: known answers, and shards that merge."""

from math import sqrt

import numpy as np
import pytest

from matinee.evaluation import diversity as module
from matinee.evaluation.diversity import diversity
from matinee.models import Dataset, Histories, InMemory, Vocabulary

LOG = Histories.of([[0, 1, 2], [0, 1], [0, 1, 3], [3], [4, 4], []])
TRAIN = Dataset.of(Vocabulary("abcdef"), LOG)


def test_titles_of_the_same_members_do_not_differ_and_those_of_others_do() -> None:
    found = diversity(np.array([[0, 1], [0, 4], [0, 3], [2, 0]]), TRAIN)
    assert found == pytest.approx([0, 1, 1 - 1 / sqrt(3 * 2), 1 - 1 / sqrt(3)])


def test_a_list_is_the_mean_of_its_pairs() -> None:
    pairs = diversity(np.array([[0, 1], [0, 3], [1, 3]]), TRAIN)
    assert diversity(np.array([[3, 0, 1]]), TRAIN) == pytest.approx([pairs.mean()])


def test_places_that_are_not_filled_do_not_count() -> None:
    short = np.array([[0, 3, -1, -1], [2, -1, -1, -1], [-1, -1, -1, -1]])
    whole = diversity(np.array([[0, 3]]), TRAIN)[0]
    assert diversity(short, TRAIN) == pytest.approx([whole, 1, 1])


def test_a_title_that_nobody_watched_is_like_no_other() -> None:
    assert diversity(np.array([[5, 0], [0, 1]]), TRAIN) == pytest.approx([1, 0])


def test_lists_of_one_title_or_none_at_all() -> None:
    assert diversity(np.array([[3], [0]]), TRAIN).tolist() == [1, 1]
    assert diversity(np.zeros((0, 10), np.int64), TRAIN).shape == (0,)


@pytest.mark.parametrize("block", [1, 40, 1 << 24])
def test_blocks_and_shards_give_what_plain_counting_gives(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK", block)
    rng = np.random.default_rng(0)
    log = Histories.of([rng.integers(0, 20, 6).tolist() for _ in range(30)])
    shards = [InMemory(log.rows(0, 9)), InMemory(log.rows(9, 9)), InMemory(log.rows(9, 30))]
    lists = np.array([rng.permutation(20)[:5] for _ in range(7)])
    watched = log.matrix(20).toarray().astype(float)
    lengths = np.maximum(np.linalg.norm(watched, axis=0), 1)
    cosines = watched.T @ watched / lengths / lengths[:, None]
    expected = [
        np.mean([1 - cosines[i, j] for a, i in enumerate(row) for j in row[:a]]) for row in lists
    ]
    found = diversity(lists, Dataset(Vocabulary(map(str, range(20))), shards, 100))
    assert found == pytest.approx(expected)
