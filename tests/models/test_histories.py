"""Compressed histories behave like the lists they were made from."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from matinee.models import Histories

rows = st.lists(st.lists(st.integers(-1, 6), max_size=8), max_size=8)


def lists(histories: Histories) -> list[list[int]]:
    return [histories.titles_of(member).tolist() for member in range(len(histories))]


@given(rows)
def test_lists_come_back(members: list[list[int]]) -> None:
    assert lists(Histories.of(members)) == members


@given(rows, st.integers(0, 8), st.integers(0, 8))
def test_rows_are_a_slice_of_members(members: list[list[int]], start: int, length: int) -> None:
    start = min(start, len(members))
    stop = min(start + length, len(members))
    part = Histories.of(members, countries=[str(n) for n in range(len(members))]).rows(start, stop)
    assert lists(part) == members[start:stop]
    assert part.countries == tuple(str(n) for n in range(start, stop))
    assert [len(part.times_of(member)) for member in range(len(part))] == [
        len(row) for row in members[start:stop]
    ]


@given(rows)
def test_watched_leaves_out_unknown_titles_and_their_times(members: list[list[int]]) -> None:
    known = Histories.of(members).watched()
    assert lists(known) == [[title for title in row if title >= 0] for row in members]
    for member, row in enumerate(members):
        places = [place for place, title in enumerate(row) if title >= 0]
        assert known.times_of(member).tolist() == places


def test_what_was_met_and_not_watched_is_in_no_matrix() -> None:
    """Weight 0 is a search click or a thumb down: known of the member, and no watch."""
    histories = replace(
        Histories.of([[0, 1, 2], [1]]),
        weights=np.array([1, 0, 0.5, 0], np.float32),
        signals=np.array([1, 32, 3, 16], np.uint8),
        devices=np.array([0, -1, 1, 0], np.int32),
    )
    assert histories.matrix(3).toarray().tolist() == [[1, 0, 1], [0, 0, 0]]
    watched = histories.watched()
    assert lists(watched) == [[0, 2], []]
    assert watched.signals.tolist() == [1, 3]
    assert watched.devices.tolist() == [0, 1]
    assert histories.rows(1, 2).signals.tolist() == [16]


@given(rows)
def test_the_matrix_marks_each_known_title_once_and_leaves_the_histories(
    members: list[list[int]],
) -> None:
    histories = Histories.of(members)
    dense = histories.matrix(7).toarray()
    expected = [[float(title in row) for title in range(7)] for row in members]
    assert np.array_equal(dense, np.array(expected).reshape(len(members), 7))
    assert lists(histories) == members


@given(rows, st.data())
def test_taken_members_keep_their_own(members: list[list[int]], data: st.DataObject) -> None:
    places = st.integers(0, max(len(members) - 1, 0))
    chosen = data.draw(st.lists(places, max_size=9 if members else 0))
    countries = [str(number) for number in range(len(members))]
    taken = Histories.of(members, countries=countries).take(np.array(chosen, np.int64))
    assert lists(taken) == [members[place] for place in chosen]
    assert taken.countries == tuple(str(place) for place in chosen)
