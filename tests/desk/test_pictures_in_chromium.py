"""Pictures as a browser shows them, at desktop and phone width."""

import shutil
from urllib.parse import quote_plus

import pictured
import pytest
from chromium import fits, in_chromium, serving
from pictured import BARRED, ODD

from matinee.lake.records import Picture, Title
from matinee.service import training
from matinee.service.folder import Service
from visits import append
from waiting import eventually

LONG = "Supercalifragilisticexpialidocious" * 3
STRAINED = "long/title"

pytestmark = in_chromium


@pytest.fixture(scope="module")
def site(made, tmp_path_factory):
    """The address of a server on a service that was trained, with pictures written by hand."""
    folder = shutil.copytree(made, tmp_path_factory.mktemp("pictures") / "shows")
    with Service.open(folder) as service:
        known = service.lake.current("titles")["title_id"].to_list()
        pictured.fill(service)
        append(service, "titles", [Title(title_id=STRAINED, name=LONG, genres=[LONG])])
        pictures = [
            Picture(
                picture_id=f"{title}/{LONG}{number}",
                title_id=title,
                features={LONG: 0.5},
                files={"2:3": "one.svg"},
                barred=LONG if number == 3 else None,
            )
            for title in [*known, STRAINED]
            for number in (1, 2, 3)
        ]
        append(service, "pictures", pictures)
        (champion,) = training.train(service, surface="artwork", by="t")
        service.registry.promote("artwork", champion.id, by="t", reason="")
    with serving(folder) as address:
        yield address


def all_load(page):
    """Whether every image that can be seen is there, once all were scrolled to."""
    for image in page.locator("img:visible").all():
        image.scroll_into_view_if_needed()
    seen = "Array.from(document.images).filter(image => image.checkVisibility())"
    sizes = f"{seen}.map(image => image.naturalWidth)"
    return eventually(lambda: all(page.evaluate(sizes)) and len(page.evaluate(sizes)))


def go_to_pictures(page):
    """The page once the log has been read: until then it comes again by itself."""

    def whole():
        page.goto("/desk/artwork")
        return not page.locator("meta[http-equiv=refresh]").count()

    assert eventually(whole)


def test_titles_and_their_pictures(page):
    go_to_pictures(page)
    assert fits(page)
    assert all_load(page) > 24
    assert page.locator("article.title h3").first.inner_text().startswith("Heat")
    barred = page.locator("li.barred").first
    assert BARRED in barred.inner_text()
    assert "grayscale" in barred.locator(".picture").evaluate("it => getComputedStyle(it).filter")


@pytest.mark.slow
def test_the_way_from_a_search_to_a_title_and_back(page):
    page.goto("/desk")
    page.get_by_role("link", name="Pictures", exact=True).click()
    page.get_by_role("searchbox").fill('"c" <i>')
    page.get_by_role("button", name="Find").click()
    page.wait_for_url("**q=*")
    page.locator("article.title h3 a").click()
    page.wait_for_url("**/desk/title?id=*")
    assert page.locator("h1").inner_text() == f"Odd {ODD}"
    assert fits(page)
    assert all_load(page) == 1
    page.get_by_role("link", name="All titles").click()
    page.wait_for_url("**/artwork")


@pytest.mark.slow
def test_a_title_in_detail(page):
    page.goto("/desk/title?id=heat")
    assert fits(page)
    assert all_load(page) == 2
    assert page.locator("article.one").count() == 4


@pytest.mark.slow
def test_long_ids_and_reasons_are_broken(page):
    for path in (f"/desk/title?id={quote_plus(STRAINED)}", f"/desk/artwork?q={LONG}"):
        page.goto(path)
        assert LONG in page.locator("main").inner_text()
        assert fits(page)


@pytest.mark.slow
def test_a_home_page_with_pictures_that_says_why(page):
    page.goto("/desk/members")
    page.locator(".members a").nth(1).click()
    page.wait_for_url("**/desk/member?id=*")
    assert fits(page)
    opened = page.locator(".reasons details").first
    why = opened.locator("p").first
    assert not why.is_visible()
    summary = opened.locator("summary")
    assert summary.bounding_box()["height"] >= 24
    summary.click()
    assert why.is_visible()
    assert len(why.inner_text()) > 20
    assert fits(page)
    assert all_load(page) > 0
