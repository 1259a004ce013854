from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matinee.features.watched import SIGNALS
from matinee.lake.lake import Lake
from matinee.lake.records import Event, Member, Title, micros
from matinee.service.members import Members
from matinee.surfaces import History, Met

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def lake(tmp_path: Path):
    with Lake.create(tmp_path / "lake", buckets=4) as made:
        yield made


def play(number, member="m1", title="t1", hour=0, **more):
    return Event(
        event_id=f"e{number}",
        member_id=member,
        ts=START + timedelta(hours=hour),
        **{"kind": "play", "title_id": title, "value": 60.0, **more},
    )


def content(history: History):
    return history.titles, history.times, history.met


def test_nobody_has_watched_anything_in_an_empty_lake(lake):
    members = Members(lake, 5.0)
    assert len(members) == 0
    assert members.history("m") == History()
    assert members.country("m") is None
    assert members.recent(5) == []


def test_who_met_a_title_last_stands_first_whether_read_or_told(lake):
    lake.put([play(0, "a", hour=2), play(1, "b", hour=9), play(2, "c", hour=5)])
    members = Members(lake, 5.0)
    assert members.recent(5) == ["b", "c", "a"]
    members.apply(play(3, "a", "t2", hour=10), 10)
    members.apply(play(4, "d", hour=11), 11)
    members.apply(play(5, "a", "t3", hour=12), 12)
    assert members.recent(5) == ["a", "d", "b", "c"]
    assert members.recent(2) == ["a", "d"]


def test_a_title_stands_once_at_its_last_time(lake):
    lake.put([play(0, title="a"), play(1, title="b", hour=1), play(2, title="a", hour=2)])
    for seal in (False, True):
        if seal:
            lake.seal()
        assert Members(lake, 5.0).history("m1").titles == ("b", "a")


def test_what_is_no_watch_is_left_out(lake):
    members = Members(lake, 5.0)
    for number, more in enumerate(
        ({"value": 4.9}, {"kind": "impression"}, {"kind": "search", "title_id": None})
    ):
        members.apply(play(number, **more), number + 1)
    assert members.history("m1") == History()
    members.apply(play(9, value=None), 10)
    assert members.history("m1").titles == ("t1",)


def test_the_generation_changes_with_the_history_and_only_then(lake):
    members = Members(lake, 5.0)
    members.apply(play(0), 5)
    first = members.history("m1")
    members.apply(play(0), 5)
    assert members.history("m1") is first
    members.apply(play(1, hour=1), 6)
    assert members.generation("m1") == members.history("m1").generation != first.generation


KINDS = [
    ("play", 1.0), ("play", 60.0), ("play", 45.5), ("play", None), ("complete", 1.0),
    ("rating", 2.0), ("thumb", -1.0), ("thumb", 2.0), ("click", None), ("search", None),
    ("impression", None),
]  # fmt: skip


def told(number, member, title, hour, how):
    kind, value = how
    return play(number, member, title, hour, kind=kind, value=value)


events = st.lists(
    st.builds(
        told,
        st.integers(0, 10**6),
        st.sampled_from(["m1", "m2"]),
        st.sampled_from("abcde"),
        st.integers(0, 9),
        st.sampled_from(KINDS),
    ),
    max_size=25,
    unique_by=lambda event: event.event_id,
)
catalogue = [Title(title_id=title, name=title, runtime_minutes=90.0) for title in "abc"]


@settings(max_examples=25, deadline=None)
@given(events=events, known=st.integers(0, 25), data=st.data())
def test_events_in_any_order_and_again_give_what_the_lake_gives(
    tmp_path_factory, events, known, data
):
    """Some of the events are in the lake before the first of the others is told."""
    with Lake.create(tmp_path_factory.mktemp("members") / "lake", buckets=2) as lake:
        lake.put([*catalogue, *events[:known]])
        live = Members(lake, 5.0)
        receipts = lake.put(events) if events else []
        for receipt in data.draw(st.permutations(receipts * 2)):
            live.apply(receipt.record, receipt.seq)
        live.follow()
        anew = Members(lake, 5.0)
        for member in ("m1", "m2"):
            assert content(live.history(member)) == content(anew.history(member))
            assert list(live.history(member).times) == sorted(live.history(member).times)
        assert len(live) == len(anew)


def test_what_was_only_met_is_no_watch_and_models_hear_of_it(lake):
    members = Members(lake, 5.0)
    for number, (kind, value, title) in enumerate(
        [("search", None, "a"), ("play", 60.0, "b"), ("click", None, "b"), ("thumb", -1.0, "c")]
    ):
        members.apply(play(number, title=title, hour=number, kind=kind, value=value), number + 1)
    history = members.history("m1")
    assert history.titles == ("b",)
    assert history.met == Met(
        ("a", "b", "c"),
        tuple(micros(START + timedelta(hours=hour)) for hour in (0, 1, 3)),
        tuple(sum(1 << SIGNALS.index(name) for name in names) for names in
              [("search",), ("play", "click"), ("thumb_down",)]),
        (0.0, 1.0, 0.0),
    )  # fmt: skip


def test_a_runtime_that_comes_later_weighs_again_what_was_watched(lake):
    lake.put([play(0, title="a")])
    members = Members(lake, 5.0)
    (receipt,) = lake.put([play(1, "m2", "a")])
    members.apply(receipt.record, receipt.seq)
    before = [members.history(member) for member in ("m1", "m2")]
    lake.put([Title(title_id="a", name="A", runtime_minutes=120.0)])
    assert members.follow() == {"titles"}
    for history, member in zip(before, ("m1", "m2"), strict=True):
        again = members.history(member)
        assert (history.met.weights, again.met.weights) == ((1.0,), (0.5,))
        assert members.generation(member) == again.generation != history.generation
    lake.put([Title(title_id="a", name="Another name", runtime_minutes=120.0)])
    members.follow()
    assert members.generation("m1") == again.generation


def test_rows_of_other_processes_are_followed(lake):
    members = Members(lake, 5.0)
    with Lake.open(lake.folder) as other:
        other.put([play(0), Member(member_id="m1", country="NL")])
    assert members.follow() == set()
    assert members.history("m1").titles == ("t1",)
    assert members.country("m1") == "NL"


def test_an_event_that_comes_while_all_is_read_anew_is_not_lost(lake, monkeypatch):
    lake.put([play(0, title="before")])
    members = Members(lake, 5.0)
    current = lake.current

    def meanwhile(table):
        (receipt,) = lake.put([play(1, title="meanwhile", hour=1)])
        members.apply(receipt.record, receipt.seq)
        return current(table)

    monkeypatch.setattr(lake, "current", meanwhile)
    members.load()
    assert members.history("m1").titles == ("before", "meanwhile")


def test_a_member_with_50_000_events(lake):
    count = 50_000
    frame = pl.DataFrame(
        {
            "event_id": [f"e{n}" for n in range(count)],
            "title_id": [f"t{n % 700}" for n in range(count)],
            "ts": [START + timedelta(seconds=n) for n in range(count)],
        }
    ).with_columns(member_id=pl.lit("fan"), kind=pl.lit("play"), value=pl.lit(60.0))
    assert lake.append("events", frame, source="test").rows == count
    members = Members(lake, 5.0)
    assert len(members.history("fan").titles) == 700
    members.apply(play(count, "fan", "t0", hour=100), count + 1)
    assert members.history("fan").titles[-1] == "t0"
    assert len(members.history("fan").titles) == 700


def test_members_with_fresh_events_come_first(lake):
    lake.put([play(n, f"m{n}") for n in range(4)])
    members = Members(lake, 5.0)
    members.apply(play(9, "m2", "new"), 9)
    assert members.recent(3)[0] == "m2"
    assert len(set(members.recent(10))) == 4
