"""Two versions side by side: which, and how far apart."""

import shutil
from datetime import UTC, datetime, timedelta

import pytest

from matinee.insights.beside import Other, beside, other
from matinee.insights.previewing import Line, Preview, Slot
from matinee.registry import against_champion
from matinee.service.folder import Service

LATER = datetime.now(UTC) + timedelta(days=1)


@pytest.fixture
def service(made, tmp_path):
    """titles@2 is the champion; titles@1 is not."""
    with Service.open(shutil.copytree(made, tmp_path / "shows")) as service:
        yield service


def page(version, **rows):
    """A page with the titles of each row, one letter each."""
    return Preview(
        version,
        tuple(
            Line(
                slot,
                slot.title(),
                "",
                tuple(Slot(one, one, None, (), 0.5, None, None, ()) for one in titles),
            )
            for slot, titles in rows.items()
        ),
    )


def alone(shelf):
    return "".join(one.title_id for one in shelf.titles if one.alone)


def test_what_both_show_and_how_far_it_moved():
    found = beside(page("a@1", picks="abcd"), page("a@2", picks="bxaz"), Other("a@2", "asked"))
    (pair,) = found.rows
    assert (pair.common, pair.share) == (2, 0.5)
    assert pair.moved == 1.5  # a from 0 to 2, b from 1 to 0
    assert (alone(pair.left), alone(pair.right)) == ("cd", "xz")


def test_the_share_is_of_the_longer_row():
    (pair,) = beside(
        page("a@1", picks="ab"), page("a@2", picks="abcde"), Other("a@2", "asked")
    ).rows
    assert (pair.common, pair.share, pair.moved) == (2, 0.4, 0.0)


def test_a_title_in_another_row_of_the_other_page_is_not_alone():
    left, right = page("a@1", picks="ab", new="c"), page("a@2", picks="ac", new="d")
    picks, new = beside(left, right, Other("a@2", "asked")).rows
    assert (alone(picks.left), alone(picks.right)) == ("b", "")
    assert (alone(new.left), alone(new.right)) == ("", "d")
    assert (new.common, new.share, new.moved) == (0, 0.0, None)


def test_a_row_that_one_leaves_out_stands_by_itself():
    found = beside(page("a@1", picks="a"), page("a@2", picks="a", new="b"), Other("a@2", "asked"))
    new = found.rows[1]
    assert (new.slot, new.left, new.share, new.moved) == ("new", None, 0.0, None)
    assert alone(new.right) == "b"


def test_two_empty_pages():
    assert beside(page("a@1"), page("a@2"), Other("a@2", "asked")).rows == ()


def test_beside_the_only_version_there_is_nothing(service):
    assert other(service, "titles@2", None, LATER) is None


def test_what_is_asked_for_comes_first(service):
    service.registry.challenge("titles", "titles@1", "ann", "")
    assert other(service, "titles@2", "titles@7", LATER) == Other("titles@7", "asked")


def test_the_challenger_by_default(service):
    service.trials.start(against_champion("fresh", "titles", "titles@1"), "ann", "")
    service.registry.challenge("titles", "titles@1", "ann", "")
    assert other(service, "titles@2", None, LATER) == Other("titles@1", "challenger")


def test_else_the_treatment_of_an_experiment_that_runs(service):
    service.trials.start(against_champion("fresh", "titles", "titles@1"), "ann", "")
    assert other(service, "titles@2", None, LATER) == Other("titles@1", "experiment", "fresh")
    service.trials.halt("fresh", "ann", "complaints")
    assert other(service, "titles@2", None, LATER) is None


def test_beside_another_than_the_champion_stands_the_champion(service):
    service.registry.challenge("titles", "titles@1", "ann", "")
    assert other(service, "titles@1", None, LATER) == Other("titles@2", "champion")
