import numpy as np
import pytest

from matinee.models import Context, CoVisitation, Dataset, Histories, Popularity, Vocabulary

DAY = 86_400_000_000


def vocabulary(size: int) -> Vocabulary:
    return Vocabulary(str(title) for title in range(size))


def context(rows: list[list[int]]) -> Context:
    return Context(Histories.of(rows), np.zeros(len(rows), np.int64))


def brute_force(
    rows: list[list[int]], times: list[list[int]], model: CoVisitation, size: int
) -> np.ndarray:
    """s [V, V] pair by pair from the docstring's formula."""
    together, watched = np.zeros((size, size)), np.zeros(size)
    for titles, moments in zip(rows, times, strict=True):
        for title in set(titles):
            watched[title] += 1
        for p in range(len(titles)):
            for q in range(p + 1, min(p + model.window, len(titles) - 1) + 1):
                if titles[p] != titles[q]:
                    gap = (moments[q] - moments[p]) / DAY
                    together[titles[p], titles[q]] += 0.5 ** (gap / model.gap_days)
    watched = np.maximum(watched, 1)
    return together / watched[:, None] / watched**model.alpha


def test_it_agrees_with_the_formula_pair_by_pair() -> None:
    rng = np.random.default_rng(0)
    rows = [rng.integers(0, 7, rng.integers(0, 12)).tolist() for _ in range(25)]
    times = [np.sort(rng.integers(0, 90 * DAY, len(row))).tolist() for row in rows]
    model = CoVisitation(window=3, gap_days=10, half_life=2, alpha=0.5)
    model.fit(Dataset.of(vocabulary(7), Histories.of(rows, times)))
    similar = brute_force(rows, times, model, 7)
    shares = Popularity().fit(Dataset.of(vocabulary(7), Histories.of(rows, times)))
    asked = context([[1], [4, 1, 4, 2]])
    expected = np.array(
        [
            similar[1],
            0.5**1.5 * similar[4] + 0.5 * similar[1] + 0.5**0.5 * similar[4] + similar[2],
        ]
    )
    expected += 1e-6 * shares.believe(asked).mean
    assert model.believe(asked).mean == pytest.approx(expected, rel=1e-5, abs=1e-9)


def test_what_came_after_counts_and_what_came_before_does_not() -> None:
    model = CoVisitation().fit(Dataset.of(vocabulary(3), Histories.of([[0, 1]] * 9)))
    forward, backward = model.believe(context([[0], [1]])).mean
    assert forward[1] > 0.1
    assert backward[0] < 1e-6


def test_the_latest_event_weighs_most() -> None:
    log = Histories.of([[0, 2], [1, 3]] * 5)
    model = CoVisitation(half_life=1.0).fit(Dataset.of(vocabulary(4), log))
    scores = model.believe(context([[0, 1], [1, 0]])).mean
    assert scores[0, 3] > scores[0, 2]
    assert scores[1, 2] > scores[1, 3]


def test_a_pair_a_gap_apart_counts_half() -> None:
    together = Histories.of([[0, 1], [0, 2]], [[0, 0], [0, 30 * DAY]])
    model = CoVisitation(gap_days=30, alpha=0.0).fit(Dataset.of(vocabulary(3), together))
    scores = model.believe(context([[0]])).mean[0]
    assert scores[1:] == pytest.approx([1 / 2, 1 / 4], abs=1e-5)


def test_members_do_not_flow_into_one_another() -> None:
    model = CoVisitation().fit(Dataset.of(vocabulary(3), Histories.of([[0], [1], [2]])))
    assert model.believe(context([[0]])).mean.max() < 1e-6


def test_weights_multiply_pairs_and_history() -> None:
    plain = Histories.of([[0, 1], [0, 2]])
    heavy = Histories(
        plain.offsets, plain.titles, plain.times, np.array([2, 3, 1, 1], np.float32), (None, None)
    )
    model = CoVisitation(alpha=0.0).fit(Dataset.of(vocabulary(3), heavy))
    assert model.believe(context([[0]])).mean[0, 1:] == pytest.approx([3.0, 0.5], abs=1e-5)


@pytest.mark.parametrize(
    "settings", [{"window": 0}, {"gap_days": 0}, {"half_life": -1}, {"alpha": 1.5}]
)
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        CoVisitation(**settings)  # type: ignore[arg-type]
