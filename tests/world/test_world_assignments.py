import json
from dataclasses import replace

import msgspec
import numpy as np
import polars as pl
import pytest

from matinee.lake.records import Decision
from matinee.lake.schemas import SCHEMAS
from matinee.lake.validate import split
from matinee.world import Day, Settings, World
from matinee.world.logging_policy import content_hash

PICTURED = Settings(members=300, titles=150, days=6, seed=11, sessions_per_day=0.8, pictures=5)
UNIT = ["member_id", "title_id"]


@pytest.fixture(scope="module")
def world() -> World:
    return World(PICTURED)


@pytest.fixture(scope="module")
def days(world: World) -> list[Day]:
    return list(world.days())


@pytest.fixture(scope="module")
def assignments(days: list[Day]) -> pl.DataFrame:
    return pl.concat([day.assignments for day in days])


def exposures(days: list[Day]) -> pl.DataFrame:
    decisions = pl.concat([day.decisions for day in days])
    return decisions.select(
        "decision_id", "member_id", "at", "context", title_id="actions"
    ).explode("title_id")


def test_pictures_change_what_members_do_and_nothing_else(days: list[Day]) -> None:
    plain = list(World(replace(PICTURED, pictures=0)).days())
    for with_pictures, without in zip(days, plain, strict=True):
        assert with_pictures.decisions.equals(without.decisions)
        assert without.assignments.is_empty()
        assert without.assignments.schema == with_pictures.assignments.schema
        assert not with_pictures.events.equals(without.events)


def test_each_unit_is_assigned_once_at_its_first_exposure(
    days: list[Day], assignments: pl.DataFrame
) -> None:
    first = exposures(days).sort("at").group_by(UNIT, maintain_order=True).first()
    named = assignments.select("member_id", "at", "request_id", title_id="subject")
    both = first.join(named, on=UNIT, suffix="_assigned")
    assert len(both) == len(first) == len(assignments) > 5_000
    assert (both["at"] == both["at_assigned"]).all()
    assert (both["decision_id"] == both["request_id"]).all()
    assert assignments["decision_id"].is_unique().all()
    for day in days:
        assert day.assignments["at"].is_sorted()
        assert set(day.assignments["request_id"]) <= set(day.decisions["decision_id"])


def test_the_world_knows_what_it_assigned(world: World, assignments: pl.DataFrame) -> None:
    for row in assignments.sample(300, seed=1).iter_rows(named=True):
        assert row["actions"] == [world.assigned(row["member_id"], row["subject"])]


def test_a_second_telling_assigns_the_same(world: World, days: list[Day]) -> None:
    for first, second in zip(days, world.days(), strict=True):
        assert first.assignments.equals(second.assignments)
        assert first.events.equals(second.events)
    shorter = list(World(replace(PICTURED, days=2)).days())
    assert all(shorter[day].assignments.equals(days[day].assignments) for day in range(2))


def test_pictures_are_drawn_uniformly(assignments: pl.DataFrame) -> None:
    place = assignments["actions"].list.first().str.tail(1).cast(pl.Int64).to_numpy() - 1
    counts, expected = np.bincount(place, minlength=5), len(place) / 5
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert chi_square < 18.47  # the 0.999 quantile at 4 degrees of freedom


def test_pictures_are_drawn_apart_from_what_members_like(
    world: World, assignments: pl.DataFrame
) -> None:
    members, titles = assignments["member_id"].to_list(), assignments["subject"].to_list()
    best = world.best_pictures(members, PICTURED.start, titles)
    hit = assignments["actions"].list.first() == pl.Series(best)
    assert abs(hit.mean() - 0.2) < 4 * (0.16 / len(hit)) ** 0.5


def test_members_react_to_the_picture_that_they_were_assigned(
    world: World, days: list[Day]
) -> None:
    shown = exposures(days)
    members, at, titles = (shown[name].to_list() for name in ("member_id", "at", "title_id"))
    pictures = [*map(world.assigned, members, titles)]
    slot = shown.select(pl.int_range(pl.len()).over("decision_id")).to_series().to_numpy()
    chance = world.take(members, at, titles, pictures) / np.sqrt(1 + slot / 2)
    plays = pl.concat([day.events for day in days]).filter(kind="play")
    error = np.sqrt((chance * (1 - chance)).sum())
    assert abs(len(plays) - chance.sum()) < 4 * error
    played = shown.join(plays, on=["decision_id", "title_id"], how="left", maintain_order="left")[
        "kind"
    ].is_not_null()
    gain = chance - world.take(members, at, titles, [f"{t}.1" for t in titles]) / np.sqrt(
        1 + slot / 2
    )
    better = gain > np.quantile(gain, 0.9)
    found, wanted = played.to_numpy()[better].sum(), chance[better].sum()
    assert abs(found - wanted) < 4 * np.sqrt(wanted)


def test_rows_are_valid_records_of_the_lake(days: list[Day]) -> None:
    day = days[1]
    for frame in (day.assignments, day.decisions):
        assert frame.columns == [field.name for field in msgspec.structs.fields(Decision)]
        now = frame["at"].max()
        good, bad = split(frame, SCHEMAS["decisions"], now)
        assert bad.is_empty()
        assert len(good) == len(frame)
    assert day.decisions["subject"].null_count() == len(day.decisions)
    rows = [
        {**row, "context": json.loads(row["context"]), "masks": json.loads(row["masks"])}
        for row in day.assignments.head(200).to_dicts()
    ]
    msgspec.convert(rows, list[Decision])


def test_an_assignment_says_what_it_was_drawn_from(days: list[Day]) -> None:
    for day in days:
        sets = dict(day.eligible.iter_rows())
        named = {*day.decisions["eligible"], *day.assignments["eligible"]}
        assert set(sets) == named
        assert len(day.eligible) == len(named)
        contexts = dict(day.decisions.select("decision_id", "context").iter_rows())
        for row in day.assignments.head(300).iter_rows(named=True):
            candidates = sets[row["eligible"]]
            assert candidates == [f"{row['subject']}.{number}" for number in range(1, 6)]
            assert row["eligible"] == content_hash(candidates)
            assert row["actions"][0] in candidates
            assert row["propensities"] == [0.2]
            assert (row["surface"], row["policy"]) == ("artwork", "artwork@world")
            assert (row["removed"], row["segment"]) == ([], [0, 1, 2, 3, 4])
            assert (row["scores"], row["seed"], row["row"], row["arm"]) == (
                [0.0] * 5,
                0,
                None,
                None,
            )
            context = json.loads(row["context"])
            assert row["context_hash"] == content_hash(context)
            asked = json.loads(contexts[row["request_id"]])
            told = {"features": {}, "simulated": True}
            assert context == {"country": asked["country"], "device": asked["device"], **told}


def test_one_picture_leaves_members_as_they_are() -> None:
    single, none = (World(replace(PICTURED, pictures=n, days=2)) for n in (1, 0))
    for one, other in zip(single.days(), none.days(), strict=True):
        assert one.events.equals(other.events)
        assert set(one.assignments["propensities"].list.first()) == {1.0}
