import json
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from matinee.lake.records import Decision, Eligible, Event, Member, Title, Window
from matinee.world import Day, Settings, World

SMALL = Settings(members=300, titles=150, days=4, seed=11, sessions_per_day=0.8, segment=40)


@pytest.fixture(scope="module")
def world() -> World:
    return World(SMALL)


@pytest.fixture(scope="module")
def days(world: World) -> list[Day]:
    return list(world.days())


@pytest.fixture(scope="module")
def events(days: list[Day]) -> pl.DataFrame:
    return pl.concat([day.events for day in days])


@pytest.fixture(scope="module")
def decisions(days: list[Day]) -> pl.DataFrame:
    return pl.concat([day.decisions for day in days])


def same(one: Day, other: Day) -> bool:
    return (
        one.events.equals(other.events)
        and one.decisions.equals(other.decisions)
        and one.eligible.equals(other.eligible)
    )


def test_equal_settings_give_equal_days(days: list[Day]) -> None:
    assert all(same(*pair) for pair in zip(days, World(SMALL).days(), strict=True))


def test_another_seed_gives_another_log(days: list[Day]) -> None:
    other = next(World(replace(SMALL, seed=12)).days())
    assert not days[0].decisions.equals(other.decisions)


def test_a_day_does_not_depend_on_how_many_follow(days: list[Day]) -> None:
    shorter = World(replace(SMALL, days=2)).days()
    assert all(same(*pair) for pair in zip(days[:2], shorter, strict=True))


def test_a_second_telling_is_the_same_whatever_members_did_in_between(days: list[Day]) -> None:
    world = World(SMALL)
    rng = np.random.default_rng(0)
    for member in world.members()[:50]:
        at = SMALL.start + timedelta(hours=1)
        world.respond(member.member_id, "d", world.eligible(member.member_id, at)[:30], at, rng)
    assert all(same(*pair) for pair in zip(days, world.days(), strict=True))


def nested(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "context": json.loads(row["context"]), "masks": json.loads(row["masks"])}


def fields(record: type[msgspec.Struct]) -> list[str]:
    return [field.name for field in msgspec.structs.fields(record)]


def test_rows_are_valid_records(world: World, days: list[Day]) -> None:
    day = days[1]
    assert day.events.columns == fields(Event)
    assert day.decisions.columns == fields(Decision)
    assert day.eligible.columns == fields(Eligible)
    msgspec.convert(day.events.to_dicts(), list[Event])
    msgspec.convert([nested(row) for row in day.decisions.to_dicts()], list[Decision])
    msgspec.convert(day.eligible.to_dicts(), list[Eligible])
    for record, rows in (
        (Title, world.titles()),
        (Window, world.windows()),
        (Member, world.members()),
    ):
        msgspec.json.decode(msgspec.json.encode(rows), type=list[record])  # type: ignore[valid-type]


def test_times_lie_in_their_day_and_come_in_order(days: list[Day]) -> None:
    for day in days:
        start = SMALL.start + timedelta(days=day.day)
        at = day.decisions["at"]
        assert at.dtype == pl.Datetime("us", "UTC")
        assert at.is_between(start, start + timedelta(days=1), closed="left").all()
        assert at.is_sorted()
        assert day.events["ts"].is_sorted()
        assert at.dt.hour().n_unique() > 12


def test_ids_are_unique(events: pl.DataFrame, decisions: pl.DataFrame) -> None:
    assert events["event_id"].is_unique().all()
    assert decisions["decision_id"].is_unique().all()


def test_every_slot_is_an_impression_and_all_else_follows_a_play(
    events: pl.DataFrame, decisions: pl.DataFrame
) -> None:
    slots = decisions.select(
        "decision_id",
        "member_id",
        "at",
        pl.col("actions").alias("title_id"),
        pl.col("actions").list.eval(pl.int_range(pl.len())).alias("position"),
    ).explode("title_id", "position")
    key = ["decision_id", "member_id", "title_id", "position"]
    by_kind = {
        kind: events.filter(kind=kind) for kind in ("impression", "play", "complete", "thumb")
    }
    impressions = by_kind["impression"].join(slots, on=key)
    assert len(impressions) == len(slots) == len(by_kind["impression"])
    assert (impressions["ts"] > impressions["at"]).all()
    plays = by_kind["play"]
    assert len(plays) == len(plays.join(slots, on=key)) > 100
    for kind in ("complete", "thumb"):
        joined = by_kind[kind].join(plays, on=key, suffix="_play")
        assert len(joined) == len(by_kind[kind]) > 10
        assert (joined["ts"] > joined["ts_play"]).all()


def test_values_are_in_their_units(world: World, events: pl.DataFrame) -> None:
    runtime = pl.DataFrame(
        [(title.title_id, title.runtime_minutes) for title in world.titles()],
        schema=["title_id", "runtime"],
        orient="row",
    )
    assert events.filter(kind="impression")["value"].is_null().all()
    plays = events.filter(kind="play").join(runtime, on="title_id")
    assert ((plays["value"] > 0) & (plays["value"] <= plays["runtime"])).all()
    assert events.filter(kind="complete")["value"].is_between(0.9, 1.0).all()
    assert set(events.filter(kind="thumb")["value"]) == {-1.0, 1.0, 2.0}


def conditional(scores: list[float], slate: list[int], epsilon: float) -> list[float]:
    """Propensities of a slate of places in the segment, straight from the formula."""
    weights, found = np.exp(scores), []
    left = np.ones(len(scores), bool)
    for place in slate:
        found.append((1 - epsilon) * weights[place] / weights[left].sum() + epsilon / left.sum())
        left[place] = False
    return found


def test_propensities_can_be_rebuilt_from_the_record(days: list[Day]) -> None:
    for day in days[:2]:
        sets = dict(day.eligible.iter_rows())
        for row in day.decisions.iter_rows(named=True):
            segment = [sets[row["eligible"]][position] for position in row["segment"]]
            places = [segment.index(action) for action in row["actions"]]
            epsilon = json.loads(row["context"])["epsilon"]
            np.testing.assert_allclose(
                row["propensities"], conditional(row["scores"], places, epsilon), rtol=1e-9
            )
            assert all(earlier >= later for earlier, later in pairwise(row["scores"]))


def test_first_slots_are_filled_as_often_as_recorded(decisions: pl.DataFrame) -> None:
    scores = np.array(decisions["scores"].to_list())
    softmax = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    first = (1 - SMALL.epsilon) * softmax + SMALL.epsilon / scores.shape[1]
    recorded = np.array(decisions["propensities"].list.first())
    drawn = np.abs(first - recorded[:, None]).argmin(axis=1)
    counts = np.bincount(drawn, minlength=scores.shape[1])
    spread = np.sqrt((first * (1 - first)).sum(axis=0))
    assert (np.abs(counts - first.sum(axis=0)) < 4.5 * spread).all()
    assert len(decisions) > 800


def test_windows_are_respected_and_sets_are_stored_once(world: World, days: list[Day]) -> None:
    country = {member.member_id: member.country for member in world.members()}
    for day in days:
        sets = dict(day.eligible.iter_rows())
        assert len(sets) == len(day.eligible) == day.decisions["eligible"].n_unique()
        for row in day.decisions.iter_rows(named=True):
            candidates = sets[row["eligible"]]
            assert candidates == world.eligible(row["member_id"], row["at"])
            assert set(row["actions"]) <= set(candidates)
            assert json.loads(row["context"])["country"] == country[row["member_id"]]


def test_nobody_is_there_before_joining(world: World, decisions: pl.DataFrame) -> None:
    joined = pl.DataFrame(
        [(member.member_id, member.joined_at) for member in world.members()],
        schema={"member_id": pl.String, "joined_at": pl.Datetime("us", "UTC")},
        orient="row",
    )
    both = decisions.join(joined, on="member_id")
    assert (both["joined_at"] <= both["at"]).all()
    assert (joined["joined_at"] > SMALL.start).any()


def test_a_day_without_sessions_is_empty_but_typed(days: list[Day]) -> None:
    quiet = next(World(Settings(members=5, titles=5, days=1, sessions_per_day=0.0)).days())
    assert quiet.events.schema == days[0].events.schema
    assert quiet.decisions.schema == days[0].decisions.schema
    assert quiet.eligible.schema == days[0].eligible.schema
    assert len(quiet.events) == len(quiet.decisions) == len(quiet.eligible) == 0


def test_a_world_of_one_title_and_one_member_turns() -> None:
    lone = World(Settings(members=1, titles=1, days=3, sessions_per_day=3.0, segment=20))
    decisions = pl.concat([day.decisions for day in lone.days()])
    assert decisions["propensities"].to_list() == [[1.0]] * len(decisions)
    assert len(decisions) > 0


def rates(played: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standardised difference of observed and true plays by slot."""
    error = np.sqrt((wanted * (1 - wanted)).sum(axis=0))
    return np.asarray((played - wanted).sum(axis=0) / error)


def test_logged_plays_are_as_frequent_as_the_truth_says_in_each_slot(
    world: World, events: pl.DataFrame, decisions: pl.DataFrame
) -> None:
    wanted = world.expected_reward(
        decisions["member_id"].to_list(), decisions["at"].to_list(), decisions["actions"].to_list()
    )
    row = {decision: number for number, decision in enumerate(decisions["decision_id"])}
    played = np.zeros_like(wanted)
    for decision, position in events.filter(kind="play")["decision_id", "position"].iter_rows():
        played[row[decision], position] = 1.0
    assert (np.abs(rates(played, wanted)) < 4.0).all()


def test_members_go_on_watching_the_genres_that_they_watched() -> None:
    random = Settings(
        members=200, titles=200, days=8, sessions_per_day=8.0, segment=200, epsilon=1.0
    )
    world = World(random)
    drama = [title.title_id for title in world.titles() if "Drama" in title.genres]
    plays = pl.concat([day.events for day in world.days()]).filter(kind="play")
    early = pl.col("ts") < random.start + timedelta(days=4)
    share = plays.group_by("member_id").agg(
        pl.col("title_id").filter(half).is_in(drama).mean().alias(name)
        for name, half in (("first", early), ("second", ~early))
    )
    assert share.drop_nulls().select(pl.corr("first", "second")).item() > 0.25


def test_a_finished_title_is_seldom_played_again() -> None:
    world = World(Settings(members=200, titles=60, days=12, sessions_per_day=2.0))
    events = pl.concat([day.events for day in world.days()])
    key = ["member_id", "title_id"]
    done = events.filter(kind="complete").group_by(key).agg(pl.col("ts").min().alias("done"))
    shown = events.filter(kind="impression").join(done, on=key)
    played = events.filter(kind="play").select("decision_id", "position", played=pl.lit(True))
    shown = shown.join(played, on=["decision_id", "position"], how="left")
    rate = shown.group_by(again=pl.col("ts") > pl.col("done")).agg(
        pl.col("played").fill_null(value=False).mean()
    )
    found = dict(rate.iter_rows())
    assert found[True] < 0.1 * found[False]


def test_the_truth_does_not_wait_for_the_log_to_be_told(world: World, days: list[Day]) -> None:
    complete = days[0].events.filter(kind="complete").head(50)
    members, titles = complete["member_id"].to_list(), complete["title_id"].to_list()
    slates, at = [[title] for title in titles], SMALL.start + timedelta(days=2)
    told = world.expected_reward(members, at, slates)
    np.testing.assert_array_equal(World(SMALL).expected_reward(members, at, slates), told)
    untold = World(replace(SMALL, days=0)).expected_reward(members, at, slates)
    assert (told < 0.3 * untold)[untold > 0].all()
