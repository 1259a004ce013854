from itertools import product
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matinee.lake.records import Picture, Title
from matinee.world import Settings, World
from matinee.world.lettering import LEADING, fit, width, wrap
from matinee.world.motifs import MOTIFS
from matinee.world.palettes import PALETTES, toned
from matinee.world.pictures import FACET_OF
from matinee.world.portraits import portrait
from matinee.world.posters import LAYOUTS, poster

SVG = "{http://www.w3.org/2000/svg}"
HEAT = Title(title_id="heat", name="Heat", genres=["Crime", "Drama"])
RATIOS = ("2:3", "16:9")


@pytest.fixture(scope="module")
def world() -> World:
    return World(Settings(members=5, titles=250, days=0, pictures=5))


def of_heat(features: dict[str, float], number: int = 1) -> Picture:
    return Picture(picture_id=f"heat.{number}", title_id="heat", features=features)


def parsed(svg: str) -> ET.Element:
    return ET.fromstring(svg)  # noqa: S314 - written by the code under test


def texts(svg: str) -> list[str]:
    return ["".join(text.itertext()) for text in parsed(svg).iter(f"{SVG}text")]


def test_every_genre_of_the_catalogue_has_a_motif_and_colours() -> None:
    assert set(MOTIFS) == set(PALETTES) == set(FACET_OF)
    named = {g for title in World(Settings(titles=1_000, members=1)).titles() for g in title.genres}
    assert named <= set(MOTIFS)


@pytest.mark.parametrize("ratio", RATIOS)
def test_posters_are_small_well_formed_and_self_contained(world: World, ratio: str) -> None:
    titles = {title.title_id: title for title in world.titles()}
    for picture in world.pictures():
        assert ratio in picture.files
        svg = poster(titles[picture.title_id], picture, ratio)
        assert len(svg.encode()) < 4_096
        for element in parsed(svg).iter():
            assert element.tag.removeprefix(SVG) not in {"script", "image", "use", "style", "a"}
            assert element.get("font-family") in {None, "serif", "sans-serif"}
            for name, value in element.attrib.items():
                assert not name.startswith("on")
                assert "href" not in name
                assert "url(" not in value or value.startswith("url(#p")


def test_a_poster_is_the_same_each_time_and_another_for_each_picture(world: World) -> None:
    titles = {title.title_id: title for title in world.titles()}
    made = [poster(titles[picture.title_id], picture) for picture in world.pictures()]
    assert made == [poster(titles[picture.title_id], picture) for picture in world.pictures()]
    assert len(set(made)) == len(made)


def test_what_is_emphasised_is_what_is_drawn() -> None:
    looks = [{genre: 1.0} for genre in MOTIFS]
    looks += [{"Drama": 1.0, look: 1.0} for look in ("dark", "bright", "warm", "cool")]
    looks += [{"Crime": 0.5, "Drama": 0.5}, {"Drama": 0.9, "cast: Al Pacino": 1.0, "face": 1.0}]
    assert len({poster(HEAT, of_heat(features)) for features in looks}) == len(looks)


def test_looks_do_what_they_say() -> None:
    def mean(colour: str) -> list[int]:
        return list(bytes.fromhex(colour[1:]))

    for palette in PALETTES.values():
        plain = mean(palette.glow)
        assert sum(mean(toned(palette, {"dark": 1.0}).glow)) < sum(plain)
        assert sum(mean(toned(palette, {"bright": 1.0}).glow)) > sum(plain)
        warm, cool = (mean(toned(palette, {look: 1.0}).glow) for look in ("warm", "cool"))
        assert warm[0] - warm[2] > cool[0] - cool[2]
        assert toned(palette, {}) == palette


def test_an_actor_looks_alike_in_every_title_and_is_named() -> None:
    picture = of_heat({"Crime": 0.9, "cast: Al Pacino": 1.0, "face": 1.0})
    assert texts(poster(HEAT, picture)) == ["AL PACINO", "Heat"]
    assert texts(poster(HEAT, of_heat({"Crime": 1.0}))) == ["Heat"]
    assert texts(poster(HEAT, of_heat({"Crime": 1.0, "cast:  ": 1.0}))) == ["Heat"]
    alike = [
        portrait("Al Pacino", PALETTES[genre]).split('<path d="')[-1].split('"')[0]
        for genre in ("Crime", "Romance")
    ]
    assert alike[0] == alike[1]


@pytest.mark.parametrize("ratio", RATIOS)
def test_names_are_escaped(ratio: str) -> None:
    name = '<b> & "it\'s" \x00 \ud800 ]]> &amp;'
    title = Title(title_id="odd", name=name)
    features = {"Comedy": 0.9, 'cast: <i>O\'Neal & "Co"': 1.0}
    svg = poster(title, Picture(picture_id="<&\"'>", title_id="odd", features=features), ratio)
    credit, shown = texts(svg)
    assert credit == '<I>O\'NEAL & "CO"'
    assert "".join(shown.split()) == '<b>&"it\'s"]]>&amp;'


def test_other_ratios_are_refused() -> None:
    with pytest.raises(ValueError, match=r"no poster of ratio '4:3'; choose one of"):
        poster(HEAT, of_heat({"Crime": 1.0}), "4:3")


def test_a_picture_that_shows_no_known_genre_still_has_a_poster() -> None:
    assert texts(poster(HEAT, of_heat({"explosions": 1.0}))) == ["Heat"]


names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=500)


@settings(max_examples=60, deadline=None)
@given(names, st.sampled_from(RATIOS))
def test_any_name_is_set_within_its_box(name: str, ratio: str) -> None:
    layout = LAYOUTS[ratio]
    _, across, down = layout.text
    found = fit(name, (across, down), layout.sizes)
    assert len(found.lines) * found.size * LEADING <= down
    assert all(width(line) * found.size <= across + 1e-6 for line in found.lines)
    parsed(poster(Title(title_id="t", name=name), of_heat({"Drama": 1.0}), ratio))


def test_titles_of_the_catalogue_are_set_whole() -> None:
    for title, ratio in product(World(Settings(titles=1_000, members=1)).titles(), RATIOS):
        layout = LAYOUTS[ratio]
        found = fit(title.name, layout.text[1:], layout.sizes)
        assert " ".join(found.lines) == " ".join(title.name.split())


def test_long_words_are_broken_and_long_names_end_in_an_ellipsis() -> None:
    assert wrap("abcdefgh", 2.2) == ["abc", "def", "gh"]
    found = fit("M" * 200, (100, 50), (40, 20))
    assert found.size == 20
    assert found.lines[-1].endswith("…")
    assert fit("", (100, 50), (40, 20)).lines == []
