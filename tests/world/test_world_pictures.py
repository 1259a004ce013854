from datetime import timedelta
from itertools import combinations

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from matinee.lake.records import Picture
from matinee.lake.rows import frame_of_records
from matinee.lake.schemas import SCHEMAS
from matinee.lake.validate import split
from matinee.world import Settings, World
from matinee.world.artwork import Artwork
from matinee.world.behaviour import examination
from matinee.world.catalogue import GENRES, Catalogue
from matinee.world.members import Members
from matinee.world.pictures import CAST, FACET_OF, LOOKS
from matinee.world.taste import Taste

PICTURED = Settings(members=600, titles=200, days=6, seed=11, pictures=5)
AT = PICTURED.start + timedelta(days=2, hours=20)


@pytest.fixture(scope="module")
def world() -> World:
    return World(PICTURED)


@pytest.fixture(scope="module")
def artwork() -> Artwork:
    catalogue, members = Catalogue(PICTURED), Members(PICTURED)
    return Artwork(PICTURED, catalogue, members, Taste(PICTURED, catalogue, members))


def of_titles(pictures: list[Picture]) -> dict[str, list[Picture]]:
    found: dict[str, list[Picture]] = {}
    for picture in pictures:
        found.setdefault(picture.title_id, []).append(picture)
    return found


def test_every_title_has_its_pictures_and_the_first_is_fixed(world: World) -> None:
    pictures = of_titles(world.pictures())
    assert [*pictures] == [title.title_id for title in world.titles()]
    for title, own in pictures.items():
        assert [picture.picture_id for picture in own] == [f"{title}.{n}" for n in range(1, 6)]
        assert [picture.fixed for picture in own] == [True] + [False] * 4
        assert all(picture.files["2:3"] == f"{picture.picture_id}-2x3.svg" for picture in own)
        assert all(picture.files["16:9"] == f"{picture.picture_id}-16x9.svg" for picture in own)


def test_a_world_has_no_pictures_unless_asked_for() -> None:
    assert World(Settings(members=5, titles=5, days=0)).pictures() == []


@pytest.mark.parametrize("count", [-1, 9])
def test_numbers_of_pictures_that_make_no_world_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match=r"pictures must lie in \[0, 8\]"):
        Settings(pictures=count)


def test_pictures_show_what_is_in_the_title(world: World) -> None:
    titles = {title.title_id: title for title in world.titles()}
    for picture in world.pictures():
        title = titles[picture.title_id]
        genres = [feature for feature in picture.features if feature in FACET_OF]
        actors = [f.removeprefix(CAST) for f in picture.features if f.startswith(CAST)]
        looks = set(picture.features) & set(LOOKS)
        assert 1 <= len(genres) <= 2
        assert set(genres) <= set(title.genres)
        assert len(actors) == ("face" in looks) <= 1
        assert set(actors) <= set(title.cast)
        assert len(picture.features) == len(genres) + len(actors) + len(looks)
        assert looks - {"face"}
        assert all(0 < weight <= 1 for weight in picture.features.values())


@pytest.mark.parametrize("count", [2, 5, 8])
def test_pictures_of_one_title_differ_clearly(count: int) -> None:
    world = World(Settings(members=5, titles=400, days=0, pictures=count))
    for own in of_titles(world.pictures()).values():
        for one, other in combinations(own, 2):
            names = set(one.features) | set(other.features)
            apart = [abs(one.features.get(n, 0.0) - other.features.get(n, 0.0)) for n in names]
            assert max(apart) >= 0.5


def test_a_title_of_two_genres_has_pictures_of_each(world: World) -> None:
    pictures = of_titles(world.pictures())
    several = 0
    for title in world.titles():
        facets = {FACET_OF[genre] for genre in title.genres}
        alone = {
            FACET_OF[feature]
            for picture in pictures[title.title_id]
            for feature, weight in picture.features.items()
            if feature in FACET_OF and weight == 1.0
        }
        assert len(alone) == min(len(facets), 3)
        several += len(facets) > 1
    assert several > 100


def test_the_lake_takes_every_picture(world: World) -> None:
    schema = SCHEMAS["pictures"]
    good, bad = split(frame_of_records(world.pictures(), schema, AT), schema, AT)
    assert bad.is_empty()
    assert len(good) == 1_000
    assert good["picture_id"].is_unique().all()


def test_effects_are_centred_over_the_pictures_of_a_title(artwork: Artwork) -> None:
    rng = np.random.default_rng(2)
    members, titles = rng.integers(600, size=4_000), rng.integers(200, size=4_000)
    for day in (0, 3):
        effects = artwork.effects(day, members, titles)
        assert effects.shape == (4_000, 5)
        np.testing.assert_allclose(effects.mean(axis=1), 0.0, atol=1e-12)
        assert 0.3 < effects.std() < 0.6


def test_who_likes_a_genre_prefers_the_picture_that_shows_it(artwork: Artwork) -> None:
    catalogue, members = Catalogue(PICTURED), Members(PICTURED)
    tastes = Taste(PICTURED, catalogue, members).on(0)[:, :GENRES]
    found = []
    for title, own in enumerate(artwork.records):
        first, second = (next(iter(picture.features)) for picture in own[:2])
        if FACET_OF[first] != FACET_OF[second]:
            effects = artwork.effects(0, np.arange(600), np.full(600, title))
            gap = tastes[:, FACET_OF[first]] - tastes[:, FACET_OF[second]]
            found.append(np.corrcoef(gap, effects[:, 0] - effects[:, 1])[0, 1])
    assert len(found) > 100
    assert min(found) > 0.9


def test_a_liking_for_an_actor_is_the_same_in_all_titles(artwork: Artwork) -> None:
    faces: dict[str, list[tuple[int, int, Picture]]] = {}
    for title, own in enumerate(artwork.records):
        for place, picture in enumerate(own):
            for feature in picture.features:
                if feature.startswith(CAST):
                    faces.setdefault(feature, []).append((title, place, picture))
    shared = [seen for seen in faces.values() if len(seen) > 1]
    assert len(shared) > 5
    tail = slice(GENRES + len(LOOKS), None)
    for (one, place, _), (other, elsewhere, _) in (seen[:2] for seen in shared):
        # of unit traits, less the mean of the title: at least 0.64 - 0.32 - 0.04 if they are one's
        alike = artwork.traits[one, place, tail] @ artwork.traits[other, elsewhere, tail]
        assert alike > 0.27


def exposures(world: World) -> pl.DataFrame:
    """What the log showed to whom and when: member_id, at, title_id."""
    decisions = pl.concat([day.decisions for day in world.days()])
    return decisions.select("member_id", "at", title_id="actions").explode("title_id")


def takes(world: World, shown: pl.DataFrame) -> NDArray[np.float64]:
    """The probability of playing what was shown with each of the pictures, [N, 5]."""
    members, at, titles = (shown[name].to_list() for name in shown.columns)
    ways = [[f"{title}.{number}" for title in titles] for number in range(1, 6)]
    return np.array([world.take(members, at, titles, way) for way in ways]).T


def test_choosing_pictures_is_worth_what_it_should_be(world: World) -> None:
    shown = exposures(world)
    chances = takes(world, shown)
    numbers = shown["title_id"].rank("dense").to_numpy() - 1
    total = np.zeros((200, 5))
    np.add.at(total, numbers, chances)
    single = chances[np.arange(len(shown)), total.argmax(axis=1)[numbers]].mean()
    members, at, titles = (shown[name].to_list() for name in shown.columns)
    personal = world.take(members, at, titles, world.best_pictures(members, at, titles))
    np.testing.assert_allclose(personal, chances.max(axis=1))
    assert 1.08 < single / chances.mean() < 1.12
    assert 1.15 < personal.mean() / single < 1.25
    plain = World(Settings(members=600, titles=200, days=6, seed=11))
    assert abs(chances.mean() / plain.take(members, at, titles).mean() - 1) < 0.06


def test_taking_is_as_frequent_as_responses_say() -> None:
    world, rng = World(PICTURED), np.random.default_rng(4)
    for choose in (world.best_pictures, lambda _, __, titles: [f"{t}.3" for t in titles]):
        wanted, plays = [], 0
        for member in world.members():
            who = member.member_id
            slate = list(world.logging()(who, world.eligible(who, AT), rng))
            pictures = choose([who] * 20, AT, slate)
            chance = world.take([who] * 20, AT, slate, pictures) * examination(20)
            reward = world.expected_reward([who], AT, [slate], [pictures])[0]
            np.testing.assert_allclose(chance, reward)
            events = world.respond(who, "d", slate, AT, rng, pictures=pictures)
            plays += sum(event.kind == "play" for event in events)
            wanted.append(chance)
        chances = np.array(wanted)
        error = np.sqrt((chances * (1 - chances)).sum())
        assert abs(plays - chances.sum()) < 4 * error < 0.15 * chances.sum()


def test_without_pictures_named_the_fixed_ones_are_shown(world: World) -> None:
    members = [member.member_id for member in world.members()[:20]]
    slates = [world.eligible(member, AT)[:5] for member in members]
    fixed = [[f"{title}.1" for title in slate] for slate in slates]
    told = world.expected_reward(members, AT, slates)
    np.testing.assert_array_equal(told, world.expected_reward(members, AT, slates, fixed))
    other = [[f"{title}.2" for title in slate] for slate in slates]
    assert (told != world.expected_reward(members, AT, slates, other)).mean() > 0.9


@pytest.mark.parametrize(
    ("picture", "told"),
    [
        ("titanic-1997.6", "no picture 'titanic-1997.6'; pictures"),
        ("gravity-2013.1", "is one of title 'gravity-2013', not of 'titanic-1997'"),
    ],
)
def test_pictures_that_do_not_belong_are_refused(world: World, picture: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        world.take(["m00000"], AT, ["titanic-1997"], [picture])
    with pytest.raises(ValueError, match=told):
        world.expected_reward(["m00000"], AT, [["titanic-1997"]], [[picture]])
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=told):
        world.respond("m00000", "d", ["titanic-1997"], AT, rng, pictures=[picture])


def test_each_title_needs_a_picture(world: World) -> None:
    with pytest.raises(ValueError, match="one picture for each title"):
        world.expected_reward(["m00000"], AT, [["titanic-1997", "gravity-2013"]], [["x"]])
    with pytest.raises(ValueError, match="one picture for each title"):
        world.take(["m00000"], AT, ["titanic-1997"], [])


def test_a_world_without_pictures_says_so() -> None:
    plain = World(Settings(members=5, titles=5, days=0))
    title = plain.titles()[0].title_id
    with pytest.raises(ValueError, match="has no pictures"):
        plain.assigned("m00000", title)
    with pytest.raises(ValueError, match="has no pictures"):
        plain.best_pictures(["m00000"], AT, [title])
    assert plain.take(["m00000"], AT, [title]).shape == (1,)
    assert plain.take([], AT, []).shape == (0,)
