"""A home page with pictures: which one stands for a title, and why."""

import asyncio
import html
import re
import shutil
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote

import httpx
import msgspec
import pictured
import polars as pl
import pytest
from pictured import SVG
from starlette.applications import Starlette

from matinee.desk.pages import pages
from matinee.lake.records import Picture
from matinee.service import training
from matinee.service.folder import Service
from matinee.service.runtime import Runtime
from visits import append

NOW = datetime.now(UTC) - timedelta(minutes=1)
STRANGE = "a/b \"<i>'%20é🎬#?"


@pytest.fixture
def service(made, tmp_path):
    """Two pictures of each title but every third name; those of every fifth have no file."""
    with Service.open(shutil.copytree(made, tmp_path / "shows")) as service:
        (service.folder / "artwork").mkdir()
        (service.folder / "artwork" / "one.svg").write_text(SVG)
        titles = service.lake.current("titles").with_columns(place=pl.col("name").rank("dense"))
        several = [
            Picture(
                picture_id=f"{STRANGE}{title}.{number}",
                title_id=title,
                features={genres[0]: 1.0} if number == 1 else {},
                files={} if place % 5 == 1 else {"2:3": "one.svg"},
                fixed=number == 2,
            )
            for place, title, genres in titles.select("place", "title_id", "genres").rows()
            for number in (1, 2)
            if place % 3
        ]
        append(service, "pictures", several)
        yield service


def champion(service):
    (made,) = training.train(service, surface="artwork", by="t")
    service.registry.promote("artwork", made.id, by="t", reason="")


def one_of(service, arm):
    """A member of this arm of the pictures' holdouts, or of none of them."""
    with Runtime(service) as runtime:
        found = runtime.assigner("artwork").arm
        return next(one for one in map("m{:05}".format, range(1000)) if found(one) == arm)


def page(service, member):
    async def ask(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.get(f"/desk/member?id={member}")

    with Runtime(service) as runtime:
        answer = asyncio.run(ask(Starlette(routes=pages(runtime))))
    assert answer.status_code == 200
    return answer.text


def home(service, member="m00042"):
    return re.findall(r'<li class="card">.*?</div>\s*</li>', page(service, member), re.DOTALL)


def test_a_picture_for_each_title_that_has_one(service):
    champion(service)
    cards = home(service)
    catalogue = service.lake.current("titles")
    places = dict(catalogue.select("name", place=pl.col("name").rank("dense")).rows())
    names = dict(catalogue.select("title_id", "name").rows())
    assert 0 < sum("<img" in card for card in cards) < len(cards)
    for card in cards:
        found = re.search(r'<img src="([^"]*)" alt="([^"]*)" width="240" height="360"', card)
        name = html.unescape(found[2] if found else re.search("<strong>(.*?)<", card)[1])
        assert (found is not None) == (places[name] % 3 > 0 and places[name] % 5 != 1)
        assert ("Why this picture" in card) == (places[name] % 3 > 0)
        if found:
            picture = unquote(html.unescape(found[1]).removeprefix("/v1/pictures/"))
            title = picture.removeprefix(STRANGE).removesuffix("?ratio=2:3")[:-2]
            assert names[title] == name
            assert f'<p class="name">{found[2]}</p>' in card
            assert f'href="/desk/title?id={quote(title)}"' in card


def test_why_is_said_in_words(service):
    champion(service)
    said = {
        re.search(r"</summary>\s*<p>(.*?)</p>", card)[1] for card in home(service) if "<img" in card
    }
    assert said <= {
        "Tried, to learn who likes it; it had a chance of 50%.",
        "The fixed picture: a share of members always see these.",
        "Drawn at random: for a share of members all pictures are.",
    }


def test_the_chances_of_all_pictures_are_told(service):
    champion(service)
    cards = home(service, one_of(service, None))
    told = [card for card in cards if "Why this picture" in card]
    assert told
    for card in told:
        odds = re.findall(r"</i>([0-9.]+)%</b>(<small>this one</small>)?", card)
        assert [chance for chance, _ in odds] == ["50", "50"]  # nothing is known of either yet
        assert sorted(mine for _, mine in odds) == ["", "<small>this one</small>"]


def test_members_of_a_holdout_are_told(service):
    toml = service.folder / "matinee.toml"
    toml.write_text("[surfaces.artwork]\nfixed = 0.5\n")
    with Service.open(service.folder) as changed:
        champion(changed)
        member = one_of(changed, "fixed")
        html = page(changed, member)
        cards = [card for card in home(changed, member) if "<img" in card]
    assert cards
    assert "<td>artwork@fixed</td><td>they are in the holdout fixed</td>" in html
    for card in cards:
        assert ".2?ratio=2:3" in card
        assert "The fixed picture: a share of members always see these." in card


def test_what_no_version_chose_was_tried(service):
    champion(service)
    title = re.search(r"/desk/title\?id=([^\"]*)", "".join(home(service)))[1]
    picture = service.surfaces["artwork"].of(title)[0].picture_id
    (stands, *_) = pictured.chosen(42, picture, title, "artwork@before", None)
    changed = msgspec.structs.replace(stands, member_id="m00042", propensities=[0.2], at=NOW)
    append(service, "decisions", [changed], NOW)
    (card,) = (card for card in home(service) if f"/desk/title?id={title}" in card)
    assert quote(picture, safe="") in card or "<strong>" in card
    assert "Tried, to learn who likes it; it had a chance of 20%." in card
    assert "It was drawn earlier, at 20%, and stands." in card


def test_without_a_champion_the_page_is_as_before(service):
    cards = home(service)
    assert cards
    assert not any("<img" in card or "<details" in card for card in cards)


def test_looking_decides_nothing(service):
    champion(service)
    home(service)
    assert not service.lake.scan("decisions").collect().height
