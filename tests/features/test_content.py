"""What titles are about, from tidy rows and from rows that are anything but."""

import os
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matinee.features.content import TEXT, about
from matinee.lake.importers.movielens import MovieLens
from matinee.lake.schemas import SCHEMAS

COLUMNS = SCHEMAS["titles"].columns


def frame(*rows: dict) -> pl.DataFrame:
    """The titles table; ids are a, b, c, ... where not given."""
    numbered = ({"title_id": chr(97 + n), **row} for n, row in enumerate(rows))
    whole = [{**dict.fromkeys(COLUMNS), **row} for row in numbered]
    return pl.DataFrame(whole, schema=COLUMNS)


def test_every_kind_of_feature() -> None:
    heat = {
        "name": "Heat",
        "year": 1995,
        "genres": ["Crime", "Drama"],
        "cast": ["Al Pacino", "Robert De Niro"],
        "synopsis": "A thief and the detective who hunts him.",
    }
    assert about(frame(heat), at_least=1) == {
        "a": [
            "genre=Crime",
            "genre=Drama",
            "decade=1990",
            "years=1995",
            "cast=Al Pacino",
            "cast=Robert De Niro",
            "name=heat",
            "word=thief",
            "word=detective",
            "word=hunts",
        ]
    }


@pytest.mark.parametrize(("year", "decade", "years"), [(1999, 1990, 1995), (2000, 2000, 2000)])
def test_years_begin_with_the_round_number(year: int, decade: int, years: int) -> None:
    assert about(frame({"year": year}))["a"] == [f"decade={decade}", f"years={years}"]


def test_what_few_titles_have_is_left_out_but_for_genres_and_years() -> None:
    titles = frame(
        {"genres": ["Noir"], "cast": ["Bacall", "Bogart"], "synopsis": "a heist heist"},
        {"year": 1946, "cast": ["Bogart"], "synopsis": "rain"},
        {"cast": ["Bogart"], "synopsis": "rain, and a letter"},
    )
    assert about(titles) == {
        "a": ["genre=Noir", "cast=Bogart"],
        "b": ["decade=1940", "years=1945", "cast=Bogart", "word=rain"],
        "c": ["cast=Bogart", "word=rain"],
    }
    assert about(titles, at_least=3)["c"] == ["cast=Bogart"]


def test_of_too_many_words_those_of_the_most_titles_stay_then_the_first_by_alphabet() -> None:
    said = ["moon star", "moon star sun", "moon sun"]
    titles = frame(*({"synopsis": text, "genres": ["Space"]} for text in said))
    assert about(titles, most_words=2)["b"] == ["genre=Space", "word=moon", "word=star"]
    assert about(titles, most_words=0)["b"] == ["genre=Space"]


def test_a_word_of_the_name_is_not_a_word_of_the_synopsis() -> None:
    assert about(frame({"name": "Heist", "synopsis": "heist"}), at_least=1)["a"] == [
        "name=heist",
        "word=heist",
    ]


def test_one_spelling_of_letters_cases_and_control_characters() -> None:
    one = {"cast": ["Zo\u00eb  K\x00"], "synopsis": "CAF\u00c9\x1bstra\u00dfe \ufb01lm"}
    other = {"cast": ["\tZoe\u0308\u00a0K\x7f\x00"], "synopsis": "cafe\u0301 STRASSE film"}
    found = about(frame(one, other))
    assert found["a"] == ["cast=Zo\u00eb K", "word=caf\u00e9", "word=strasse", "word=film"]
    assert found["b"] == found["a"]


def test_nothing_known_means_no_features() -> None:
    assert about(frame({})) == {"a": []}
    blank = {"name": "", "genres": [], "cast": [None, "", " \x00 "], "synopsis": "\x00 12 the"}
    assert about(frame(blank), at_least=1) == {"a": []}
    assert about(pl.DataFrame({"title_id": ["a"]})) == {"a": []}
    assert about(pl.DataFrame({"title_id": ["a"], "cast": [[]], "year": [None]})) == {"a": []}
    assert about(frame()) == {}


def test_a_huge_synopsis_is_read_in_part() -> None:
    text = "whale " * (TEXT // 6) + "beyond " * 1_000_000
    assert about(frame({"synopsis": text}), at_least=1)["a"] == ["word=whale"]


def test_of_two_rows_of_a_title_the_last_counts() -> None:
    rows = ({"title_id": "a", "genres": ["Old"]}, {"title_id": "a", "genres": ["New"]})
    assert about(frame(*rows)) == {"a": ["genre=New"]}


def test_a_frame_without_ids_says_what_to_give() -> None:
    with pytest.raises(ValueError, match="give the titles table"):
        about(pl.DataFrame({"movie": ["a"]}))


anything = st.none() | st.text(max_size=12)
rows = st.fixed_dictionaries(
    {
        "name": anything,
        "year": st.none() | st.integers(1870, 2200),
        "genres": st.none() | st.lists(anything, max_size=3),
        "cast": st.none() | st.lists(anything, max_size=3),
        "synopsis": anything,
    }
)


@settings(max_examples=50, deadline=None)
@given(st.lists(rows, max_size=5), st.randoms(use_true_random=False))
def test_features_are_clean_once_each_and_whatever_the_order_of_the_titles(listed, random) -> None:
    titles = frame(*listed)
    found = about(titles)
    assert sorted(found) == titles["title_id"].to_list()
    for names in found.values():
        assert len(set(names)) == len(names)
        assert all(name.partition("=")[2].strip("\x00 ") for name in names)
        assert all(name.isprintable() or not name.isascii() for name in names)
    order = random.sample(range(len(listed)), len(listed))
    assert about(titles[order]) == found


@pytest.mark.data
@pytest.mark.skipif(
    not (Path(os.environ.get("MATINEE_DATA", "")) / "ml-1m" / "ratings.parquet").is_file(),
    reason="no ml-1m in MATINEE_DATA",
)
def test_movielens_titles_have_their_genres_and_years() -> None:
    titles = next(iter(MovieLens(Path(os.environ["MATINEE_DATA"]) / "ml-1m").batches())).frame
    found = about(titles)
    assert len(found) == titles.height
    assert found["1"][:5] == [
        "genre=Animation",
        "genre=Children's",
        "genre=Comedy",
        "decade=1990",
        "years=1995",
    ]
    assert {"name=star", "name=trek"} <= set(found["1356"]), "Star Trek: First Contact"
