"""The titles surface: what is eligible, what is masked, what is rewarded."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matinee.errors import MatineeError
from matinee.lake.records import Title, Window
from matinee.lake.schemas import SCHEMAS
from matinee.surfaces import (
    Availability,
    Candidates,
    History,
    Met,
    Only,
    OnPage,
    Request,
    Situation,
    Surface,
    Titles,
    Watched,
)

T0 = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def request(at=T0, **more):
    return Request(request_id="r", member_id="m", at=at, **more)


def catalogue(*ids):
    return [Title(title_id=title, name=title.upper()) for title in ids]


def test_titles_without_windows_are_always_eligible():
    titles = Titles(catalogue("b", "a", "c"))
    assert titles.eligible(request()).ids == ("a", "b", "c")
    assert titles.eligible(request(country="NL")).ids == ("a", "b", "c")


def test_windows_open_by_country_and_time():
    windows = [
        Window(title_id="a", country="NL", starts_at=T0, ends_at=T0 + HOUR),
        Window(title_id="b"),
        Window(title_id="c", country="US", starts_at=T0),
        Window(title_id="gone", country="NL"),
    ]
    titles = Titles(catalogue("a", "b", "c", "d"), windows)

    def shown(country, at):
        return "".join(titles.eligible(request(at, country=country)).ids)

    just_before = timedelta(microseconds=1)
    assert shown("NL", T0 - just_before) == "bd"
    assert shown("NL", T0) == "abd"
    assert shown("NL", T0 + HOUR - just_before) == "abd"
    assert shown("NL", T0 + HOUR) == "bd"
    assert shown("US", T0) == "bcd"
    assert shown("FR", T0) == shown(None, T0) == "bd"


def test_the_eligible_set_is_worked_out_once_between_two_boundaries():
    windows = [Window(title_id="a", starts_at=T0, ends_at=T0 + 5 * HOUR)]
    titles = Titles(catalogue("a", "b"), windows)
    first = titles.eligible(request(T0, country="NL"))
    assert titles.eligible(request(T0 + 4 * HOUR, country="NL")) is first
    assert titles.eligible(request(T0 + 4 * HOUR, country="FR")) is first
    assert titles.eligible(request(T0 + 5 * HOUR)) is not first


times = st.one_of(st.none(), st.integers(0, 6).map(lambda hours: T0 + hours * HOUR))
windows_of = st.lists(
    st.builds(
        Window,
        title_id=st.sampled_from("abc"),
        country=st.sampled_from(["*", "NL", "US"]),
        starts_at=times,
        ends_at=times,
    ),
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(windows_of, st.sampled_from([None, "NL", "US", "FR"]), st.integers(-1, 7))
def test_eligible_is_what_the_rule_says_window_by_window(windows, country, hours):
    at = T0 + hours * HOUR
    expected = set()
    for title in "abc":
        mine = [window for window in windows if window.title_id == title]
        is_open = [
            window.country in {"*", country}
            and (window.starts_at is None or window.starts_at <= at)
            and (window.ends_at is None or at < window.ends_at)
            for window in mine
        ]
        if not mine or any(is_open):
            expected.add(title)
    asked = request(at, country=country)
    found = Titles(catalogue(*"abc"), windows).eligible(asked)
    assert set(found.ids) == expected
    allowed = Availability(windows).allowed(Situation(asked), Candidates.of("abc"))
    assert allowed.tolist() == [title in expected for title in "abc"]
    assert sum(mask.count for mask in found.masked) == 3 - len(expected)


def test_candidates_are_ordered_distinct_and_known_by_content():
    one, two = Candidates.of(["b", "a", "é", "🎬", "a"]), Candidates.of(["🎬", "é", "a", "b"])
    assert one.ids == ("a", "b", "é", "🎬")
    assert one.hash == two.hash
    assert Candidates.of(["ab"]).hash != Candidates.of(["a", "b"]).hash
    assert one.record().candidates == list(one.ids)
    assert one.positions(["🎬", "unknown", "a"]).tolist() == [3, 0]


def test_masks():
    candidates = Candidates.of(["a", "b", "it's", "🎬"])
    situation = Situation(request(), History(("b", "unknown"), (1, 2), 1))
    assert Watched().allowed(situation, candidates).tolist() == [True, False, True, True]
    assert OnPage(["it's"]).allowed(situation, candidates).tolist() == [True, True, False, True]
    only = Only(frozenset(["🎬", "unknown"]), "films in this row")
    assert only.allowed(situation, candidates).tolist() == [False, False, False, True]
    assert candidates.keep(only.allowed(situation, candidates), only).ids == ("🎬",)


def test_what_was_met_and_not_watched_may_be_shown():
    met = Met(("a", "b", "c"), (1, 2, 3), (32, 1, 16), (0.0, 0.1, 0.0))
    situation = Situation(request(), History.of(met))
    allowed = Watched().allowed(situation, Candidates.of(["a", "b", "c"]))
    assert allowed.tolist() == [True, False, True]


def test_a_history_of_some_titles_alone():
    met = Met(("a", "b", "c"), (1, 2, 3), (32, 1, 16), (0.0, 0.5, 0.0))
    history = History.of(met, 7)
    assert (history.titles, history.times, history.generation) == (("b",), (2,), 7)
    assert history.only(["c", "b", "gone"]) == History.of(
        Met(("c", "b", "gone"), (3, 2, 0), (16, 1, 0), (0.0, 0.5, 1.0))
    )
    assert history.only([]).seen() == History().seen() == Met((), (), (), ())
    assert History(("x",), (4,)).seen() == Met(("x",), (4,), (0,), (1.0,))


def test_genres_are_ordered_by_how_often_they_were_watched():
    titles = Titles(
        [
            Title(title_id="a", name="A", genres=["Drama", "Comedy"]),
            Title(title_id="b", name="B", genres=["Comedy"]),
            Title(title_id="c", name="C", genres=["Action"]),
        ]
    )
    assert titles.genres_of(["a", "b", "c", "unknown"]) == ["Comedy", "Action", "Drama"]
    assert titles.of_genre("Comedy") == {"a", "b"}
    assert titles.of_genre("Western") == frozenset()
    assert (titles.name_of("a"), titles.name_of("unknown")) == ("A", "unknown")


def decisions(*rows):
    """A frame of decisions in the lake's columns; each row is (id, member, at, actions)."""
    columns = SCHEMAS["decisions"].columns
    names = ("decision_id", "member_id", "at", "actions")
    return pl.DataFrame(rows, {name: columns[name] for name in names}, orient="row")


def events(*rows):
    """A frame of events; each row is (decision, member, kind, title, position, value, ts)."""
    columns = SCHEMAS["events"].columns
    names = ("decision_id", "member_id", "kind", "title_id", "position", "value", "ts")
    return pl.DataFrame(rows, {name: columns[name] for name in names}, orient="row")


SHOWN = decisions(("d1", "m", T0, ["a", "b", "c"]), ("d2", "m", T0, ["b"]), ("d3", "n", T0, []))


@pytest.mark.parametrize(
    ("event", "credited"),
    [
        (("d1", "m", "play", "b", 1, 30.0, T0 + HOUR), [("d1", 1)]),
        (("d1", "m", "play", "b", None, 30.0, T0 + HOUR), [("d1", 1)]),
        (("d1", "m", "play", None, 1, 30.0, T0 + HOUR), [("d1", 1)]),
        (("d1", "m", "complete", "c", 2, None, T0 + HOUR), [("d1", 2)]),
        (("d1", "m", "play", "a", 0, 5.0, T0), [("d1", 0)]),
        (("d1", "m", "play", "b", 1, 4.9, T0 + HOUR), []),
        (("d1", "m", "play", "b", 1, None, T0 + HOUR), []),
        (("d1", "m", "click", "b", 1, 30.0, T0 + HOUR), []),
        (("d1", "m", "play", "b", 0, 30.0, T0 + HOUR), []),
        (("d1", "m", "play", "z", None, 30.0, T0 + HOUR), []),
        (("d1", "m", "play", None, None, 30.0, T0 + HOUR), []),
        (("d1", "m", "play", "b", 9, 30.0, T0 + HOUR), []),
        ((None, "m", "play", "b", 1, 30.0, T0 + HOUR), []),
        (("d9", "m", "play", "b", 1, 30.0, T0 + HOUR), []),
    ],
)
def test_a_play_is_credited_only_through_its_decision(event, credited):
    rewards = Titles(catalogue("a")).reward(SHOWN, events(event))
    assert rewards["reward"].is_between(0, 1).all()
    assert rewards.select("decision_id", "position").rows() == [
        ("d1", 0),
        ("d1", 1),
        ("d1", 2),
        ("d2", 0),
    ]
    paid = rewards.filter(pl.col("reward") > 0)
    assert paid.select("decision_id", "position").rows() == credited


def test_a_play_reported_twice_counts_once():
    play = ("d1", "m", "play", "b", 1, 30.0, T0 + HOUR)
    again = ("d1", "m", "complete", "b", None, 1.0, T0 + 2 * HOUR)
    rewards = Titles([]).reward(SHOWN, events(play, play, again))
    assert rewards["reward"].to_list() == [0.0, 1.0, 0.0, 0.0]


def test_how_long_a_play_must_be_can_be_set():
    play = ("d1", "m", "play", "b", 1, 2.0, T0 + HOUR)
    assert Titles([], minutes=2.0).reward(SHOWN, events(play))["reward"].sum() == 1
    assert Titles([], minutes=2.1).reward(SHOWN, events(play))["reward"].sum() == 0


def test_no_events_and_no_decisions():
    titles = Titles([])
    assert titles.reward(SHOWN, events())["reward"].to_list() == [0.0] * 4
    empty = titles.reward(decisions(), events())
    assert empty.schema == titles.reward(SHOWN, events()).schema
    assert empty.is_empty()


def test_a_surface_with_a_name_that_cannot_be_a_folder_is_refused():
    with pytest.raises(MatineeError, match="cannot name a surface"):
        type("Bad", (Surface,), {"name": "../bad"})


def test_the_usual_policies_explore_the_whole_set_of_a_small_catalogue():
    for policy in Titles(catalogue(*"abc")).policies().values():
        preference = policy.prefer(np.array([3.0, 2.0, 1.0]))
        assert (policy.probabilities(preference, 3) > 0).all()
