import numpy as np
import pytest

from matinee.world.catalogue import Catalogue
from matinee.world.members import Members
from matinee.world.settings import Settings
from matinee.world.taste import DRIFT, MEMORY, SPREAD, Taste


@pytest.fixture(scope="module")
def taste() -> Taste:
    settings = Settings(members=3_000, titles=50)
    return Taste(settings, Catalogue(settings), Members(settings))


def test_tastes_wander_about_the_long_run_with_the_stated_spread_and_memory(taste: Taste) -> None:
    drift = {day: (taste.on(day) - taste.long_run) / (DRIFT * SPREAD) for day in (0, 40, 45, 90)}
    for standard in drift.values():
        assert standard.std() == pytest.approx(1.0, abs=0.02)
        assert standard.mean() == pytest.approx(0.0, abs=0.03)
    correlation = np.mean(drift[40] * drift[45])
    assert correlation == pytest.approx(MEMORY**5, abs=0.03)
    assert np.mean(drift[0] * drift[90]) == pytest.approx(0.0, abs=0.03)


def test_the_taste_of_a_day_does_not_depend_on_what_was_asked_before(taste: Taste) -> None:
    straight = taste.on(5)
    taste.on(30)
    np.testing.assert_array_equal(taste.on(5), straight)
    np.testing.assert_array_equal(taste.on(-3), taste.on(0))
