"""The pages about pictures, whatever the pictures and the log are like."""

from __future__ import annotations

import asyncio
import html
import re
import shutil
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import httpx
import pictured
import pytest
from pictured import BARRED, ODD
from starlette.applications import Starlette

from matinee.desk import artwork
from matinee.desk.cards import source
from matinee.desk.pages import pages
from matinee.lake.records import Picture
from matinee.service.folder import Service
from matinee.service.runtime import Runtime

Look = Callable[[str], tuple[int, str]]


async def ask(app: Starlette, path: str) -> httpx.Response:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        return await client.get(path)


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """The folder of the service that was written by hand, without a champion."""
    folder = tmp_path_factory.mktemp("pictured") / "shows"
    with Service.create(folder, {"surfaces.artwork.window": "24h"}) as service:
        pictured.fill(service)
    return folder


@pytest.fixture(scope="module")
def promoted(filled, tmp_path_factory):
    """The same with one."""
    folder = shutil.copytree(filled, tmp_path_factory.mktemp("promoted") / "shows")
    with Service.open(folder) as service:
        pictured.promote(service)
    return folder


def looking(folder) -> Look:
    with Service.open(folder) as service, Runtime(service) as runtime:
        app = Starlette(routes=pages(runtime))

        def at(path: str) -> tuple[int, str]:
            answer = asyncio.run(ask(app, path))
            return answer.status_code, answer.text

        yield at


@pytest.fixture(scope="module", autouse=True)
def patient():
    """Beside other tests the log is read slowly."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(artwork, "PATIENCE", 120.0)
        yield


@pytest.fixture(scope="module")
def look(promoted):
    yield from looking(promoted)


@pytest.fixture(scope="module")
def look_without_champion(filled):
    yield from looking(filled)


def names(page: str) -> list[str]:
    """The names of the titles of a page, in order."""
    return [html.unescape(one) for one in re.findall(r"<h3><a [^>]*>(.*?)</a>", page)]


def text(page: str) -> str:
    """What a page says, without its markup."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", page)))


def test_the_headline_and_who_chose(look):
    status, page = look("/desk/artwork")
    assert status == 200
    said = text(page)
    assert re.search(r"Titles taken [+−]?\d+\.\d percentage points", said)
    assert "Of 60 first choices for 60 members and 1 title, read" in said
    assert "artwork@1 linear, the champion 60 60 members 25% 16% to 38% 0.0" in said
    assert "artwork@fixed always the fixed picture 20 20 members 0% 0% to 16% 0.0" in said


def test_titles_by_how_often_they_were_drawn(look):
    _, page = look("/desk/artwork")
    assert names(page)[:3] == ["Heat", f"Odd {ODD}", "Number 00"]
    said = text(page)
    assert "80 drawn 75% 60 drawn 25% taken 25% 20 drawn 0% taken the fixed one" in said
    assert "100% 3 drawn 0% 0 drawn" not in said
    assert "No Picture" not in said


def test_pages_of_24(look):
    _, first = look("/desk/artwork")
    assert len(names(first)) == 24
    assert 'href="/desk/artwork?page=2"' in first
    assert "Page 1 of 2, 29 titles" in text(first)
    _, second = look("/desk/artwork?page=2")
    assert names(second) == [f"Number {n:02d}" for n in range(22, 27)]
    assert 'href="/desk/artwork?page=1"' in second
    assert "What personal pictures bring" not in second


@pytest.mark.parametrize("page", ["0", "-1", "x", "²", "1e9", "9" * 5000])
def test_a_page_that_cannot_be_is_the_first(look, page):
    assert names(look(f"/desk/artwork?page={page}")[1])[0] == "Heat"


def test_a_page_after_the_last_is_the_last(look):
    assert len(names(look("/desk/artwork?page=99")[1])) == 5


@pytest.mark.parametrize(
    ("q", "found"),
    [
        ("hEAT", ["Heat"]),
        ("  heat ", ["Heat"]),
        ("t0", [f"Number 0{n}" for n in range(10)]),
        ('"c" <i>', [f"Odd {ODD}"]),
        ("No Picture", []),
    ],
)
def test_search_by_name_and_by_id(look, q, found):
    status, page = look(f"/desk/artwork?q={quote_plus(q)}")
    assert status == 200
    assert names(page) == found
    assert ("No title that has pictures holds this" in page) == (not found)


def test_a_search_goes_on_over_pages(look):
    _, page = look("/desk/artwork?q=number")
    assert 'href="/desk/artwork?q=number&amp;page=2"' in page
    assert len(names(look("/desk/artwork?q=number&page=2")[1])) == 3


def test_what_was_searched_for_is_never_markup(look):
    _, page = look("/desk/artwork?q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E")
    assert "<script" not in page
    assert "&#34;&gt;&lt;script&gt;" in page


def test_odd_ids_names_and_reasons_are_never_markup(look):
    for path in ("/desk/artwork", f"/desk/title?id={quote_plus(ODD)}", "/desk/title?id=heat"):
        status, page = look(path)
        assert status == 200
        assert "<i>é" not in page
        assert BARRED not in page
    assert f"/v1/pictures/{quote(ODD, safe='')}1?ratio=2:3" in look("/desk/artwork")[1]
    links = re.findall(r'<h3><a href="([^"]*)"', look("/desk/artwork")[1])
    assert f"Pictures of Odd {ODD}" in html.unescape(look(html.unescape(links[1]))[1])


def test_a_barred_picture_stands_last_with_its_reason(look):
    _, page = look("/desk/artwork")
    shown = re.findall(r"/v1/pictures/(heat\.\d)", page)
    assert shown == ["heat.1", "heat.2"], "nobody may see the third"
    assert "not shown" in page
    assert f"Barred: {BARRED}" in html.unescape(page)
    assert page.count('<li class="barred">') == 1


def test_one_title_in_detail(look):
    status, page = look("/desk/title?id=heat")
    assert status == 200
    said = text(page)
    assert "Heat 1995 · Crime · Drama Pictures 4 Drawn 80" in said
    assert "all of them 75% 60 25% 16% to 38% artwork@1 linear, the champion 100% 60 25%" in said
    assert "artwork@fixed always the fixed picture 0% 0" in said
    assert "Crime 0.90" in said
    assert "only in NL from 16 years of age from 2026-01-01 00:00 UTC" in said
    assert "no file" in said
    assert "/v1/pictures/heat.1?ratio=16:9" in page
    assert "/v1/pictures/heat.2?ratio=2:3" in page


def test_open_windows_say_so(look):
    assert "artwork@world no version of this service 100% 3 not known yet" in text(
        look(f"/desk/title?id={quote_plus(ODD)}")[1]
    )


def test_a_title_without_pictures_and_one_that_is_not_there(look):
    assert "This title has no picture yet" in look("/desk/title?id=bare")[1]
    status, page = look("/desk/title?id=%3Cnone%3E")
    assert status == 404
    assert "there is no such title" in page


def test_no_member_is_named(look):
    for path in ("/desk/artwork", "/desk/title?id=heat", f"/desk/title?id={quote_plus(ODD)}"):
        assert "secret" not in look(path)[1]


def test_without_a_champion_it_says_what_to_type(look_without_champion):
    status, page = look_without_champion("/desk/artwork")
    assert status == 200
    assert "matinee train artwork, then matinee promote artwork@1" in page
    assert names(page)[0] == "Heat"
    assert look_without_champion("/desk/title?id=heat")[0] == 200


def test_a_champion_of_which_nothing_is_known(tmp_path):
    with Service.create(tmp_path / "shows") as service:
        pictured.append(service, "titles", pictured.titles(), pictured.AT)
        pictured.append(service, "pictures", pictured.pictures(), pictured.AT)
        (made,) = pictured.training.train(service, surface="artwork", by="t")
        service.registry.promote("artwork", made.id, by="t", reason="")
    for look in looking(tmp_path / "shows"):
        status, page = look("/desk/artwork")
    assert status == 200
    assert "nothing is known yet of what artwork@1 brings" in page


def test_a_service_without_pictures(made, tmp_path):
    for look in looking(shutil.copytree(made, tmp_path / "shows")):
        status, page = look("/desk/artwork")
        assert status == 200
        assert "No title has a picture yet" in page
        assert "artwork has no champion yet" in page
        assert '<a href="/desk/artwork">Pictures</a>' in look("/desk/member?id=m00042")[1]
        assert "<img" not in look("/desk/member?id=m00042")[1]


def test_two_services_are_never_mixed(promoted, filled, made, tmp_path):
    other = shutil.copytree(made, tmp_path / "other")
    with (
        Service.open(promoted) as one,
        Service.open(other) as two,
        Runtime(one) as first,
        Runtime(two) as second,
    ):
        apps = [Starlette(routes=pages(runtime)) for runtime in (first, second)]
        said = [asyncio.run(ask(app, "/desk/artwork")).text for app in apps]
        again = [asyncio.run(ask(app, "/desk/artwork")).text for app in reversed(apps)]
    assert ["Heat" in page for page in said] == [True, False]
    assert ["Heat" in page for page in again] == [False, True]


def test_an_address_holds_any_id():
    picture = Picture(picture_id=ODD, title_id="t", files={"1:1": "x.svg"})
    path = source(picture).removesuffix("?ratio=2:3")
    assert httpx.URL(f"http://h{path}").path == f"/v1/pictures/{ODD}"
    assert source(Picture(picture_id="x", title_id="t")) is None
