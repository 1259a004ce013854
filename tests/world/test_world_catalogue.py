import os
import re
import runpy
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from matinee.lake.records import Window
from matinee.world import Settings, World
from matinee.world.catalogue import HORIZON, Film, films, slugs

ROOT = Path(__file__).parents[2]


def open_at(windows: list[Window], country: str, at: datetime) -> bool:
    """The plain reading of a title's windows: [starts_at, ends_at), none means always."""
    return not windows or any(
        window.country in {"*", country}
        and (window.starts_at is None or window.starts_at <= at)
        and (window.ends_at is None or at < window.ends_at)
        for window in windows
    )


def test_the_extract_is_small_and_factual() -> None:
    table = ROOT / "src/matinee/world/films.csv"
    assert table.stat().st_size <= 250_000
    header = table.read_text(encoding="utf-8").splitlines()[0]
    assert header == "name,year,genres,director,cast,runtime,countries"
    rows = films(1_000)
    assert len({(film.name, film.year) for film in rows}) == 1_000
    assert {film.year // 10 for film in rows} == {194, 195, 196, 197, 198, 199, 200, 201}


def test_more_titles_than_the_extract_holds_are_refused() -> None:
    with pytest.raises(ValueError, match="knows 1000 films"):
        films(1_001)


def test_slugs_differ_even_where_names_do_not() -> None:
    def film(name: str) -> Film:
        return Film(name, 1999, ["Drama"], "A. Nobody", [], 90, ["NL"])

    names = ["Amélie's Café!", "Amelies Cafe", "七人の侍", "Up/Down"]
    assert slugs([film(name) for name in names]) == [
        "amelies-cafe-1999",
        "amelies-cafe-1999-2",
        "film-1999",
        "up-down-1999",
    ]


def test_title_ids_are_ascending_slugs_of_the_best_known_films() -> None:
    titles = World(Settings(titles=200)).titles()
    ids = [title.title_id for title in titles]
    assert ids == sorted(set(ids))
    assert set(ids) == set(slugs(films(200)))
    assert all(re.fullmatch(r"[a-z0-9-]+", title) for title in ids)


def test_eligible_titles_are_those_with_an_open_window() -> None:
    world = World(Settings(members=60, titles=300))
    windows: dict[str, list[Window]] = {title.title_id: [] for title in world.titles()}
    for window in world.windows():
        windows[window.title_id].append(window)
    one_of = {member.country: member.member_id for member in world.members()}
    instant = timedelta(microseconds=1)
    for country, member in one_of.items():
        assert country is not None
        for midnight in (world.settings.start + timedelta(days=d) for d in (1, 17, HORIZON, 300)):
            for at in (midnight - instant, midnight):
                wanted = [
                    title for title, opened in windows.items() if open_at(opened, country, at)
                ]
                assert world.eligible(member, at) == wanted


def test_titles_come_and_go_and_some_are_local() -> None:
    windows = World(Settings(titles=300)).windows()
    assert sum(window.starts_at is not None for window in windows) > 10
    assert sum(window.ends_at is not None for window in windows) > 10
    assert sum(window.country != "*" for window in windows) > 10


def test_windows_do_not_depend_on_the_length_of_the_log() -> None:
    assert World(Settings(days=1)).windows() == World(Settings(days=90)).windows()


@pytest.mark.data
@pytest.mark.skipif("MATINEE_DATA" not in os.environ, reason="MATINEE_DATA is not set")
def test_the_extract_can_be_made_again() -> None:
    database = Path(os.environ["MATINEE_DATA"]) / "wikidata-films/movies.db"
    if not database.exists():
        pytest.skip("MATINEE_DATA has no wikidata-films/movies.db")
    script = runpy.run_path(str(ROOT / "benchmarks/make_films.py"))
    made = script["best_known"](script["read"](database))
    assert [(film.name, film.year, film.runtime, film.countries) for film in made] == [
        (film.name, film.year, film.runtime, film.countries) for film in films(1_000)
    ]
