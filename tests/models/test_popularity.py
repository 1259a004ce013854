import numpy as np
import pytest

from matinee.models import Context, Dataset, Histories, InMemory, Popularity, Vocabulary

DAY = 86_400_000_000
TITLES = Vocabulary(["heat", "alien", "up"])


def ask(countries: list[str | None]) -> Context:
    return Context(
        Histories.of([[] for _ in countries], countries=countries),
        np.zeros(len(countries), np.int64),
    )


def test_a_country_is_shrunk_to_the_world_by_the_formula() -> None:
    log = Histories.of([[0], [0, 1], [1, 2]], countries=["NL", "NL", "US"])
    model = Popularity(shrinkage=2.0).fit(Dataset.of(TITLES, log))
    world = np.array([2, 2, 1]) / 5
    dutch = (np.array([2, 1, 0]) + 2 * world) / (3 + 2)
    assert model.believe(ask(["NL", None, "FR"])).mean == pytest.approx(
        np.array([dutch, world, world]), rel=1e-6
    )


def test_a_window_counts_only_lately_and_falls_back_to_all_time() -> None:
    log = Histories.of([[0, 1], [0, 1]], [[0, 9 * DAY], [1, 9 * DAY]])
    lately = Popularity(days=2, shrinkage=1.0).fit(Dataset.of(TITLES, log, as_of=10 * DAY))
    expected = [0.5 / 3, (2 + 0.5) / 3, 0.0]
    assert lately.believe(ask([None])).mean[0] == pytest.approx(expected, rel=1e-6)
    silent = Popularity(days=2, shrinkage=1.0).fit(Dataset.of(TITLES, log, as_of=100 * DAY))
    assert silent.believe(ask([None])).mean[0] == pytest.approx([0.5, 0.5, 0.0])


def test_the_first_moment_of_the_window_is_in_it() -> None:
    log = Histories.of([[0, 1]], [[8 * DAY - 1, 8 * DAY]])
    model = Popularity(days=2, shrinkage=1e-9).fit(Dataset.of(TITLES, log, as_of=10 * DAY))
    assert model.believe(ask([None])).mean[0] == pytest.approx([0, 1, 0], abs=1e-6)


def test_watching_again_counts_once() -> None:
    log = Histories.of([[0] * 50, [1], [1]])
    scores = Popularity().fit(Dataset.of(TITLES, log)).believe(ask([None])).mean[0]
    assert scores == pytest.approx([1 / 3, 2 / 3, 0])


def test_shares_sum_to_one_in_every_country() -> None:
    rng = np.random.default_rng(0)
    rows = [rng.integers(0, 3, 4).tolist() for _ in range(30)]
    countries = [["NL", "US", "DE"][member % 3] for member in range(30)]
    model = Popularity().fit(Dataset.of(TITLES, Histories.of(rows, countries=countries)))
    assert model.believe(ask(["NL", "US", "DE", None])).mean.sum(axis=1) == pytest.approx(1)


def test_a_country_in_several_shards_is_one_country() -> None:
    halves = [Histories.of([[0]], countries=["NL"]), Histories.of([[1]], countries=["NL"])]
    sharded = Dataset(TITLES, [InMemory(half) for half in halves], as_of=1)
    whole = Dataset.of(TITLES, Histories.of([[0], [1]], countries=["NL", "NL"]))
    assert np.array_equal(
        Popularity().fit(sharded).believe(ask(["NL"])).mean,
        Popularity().fit(whole).believe(ask(["NL"])).mean,
    )


@pytest.mark.parametrize(
    "settings",
    [{"days": 0}, {"days": -1}, {"days": float("inf")}, {"shrinkage": 0}, {"shrinkage": -1}],
)
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="give a positive"):
        Popularity(**settings)
