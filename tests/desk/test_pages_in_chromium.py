"""The pages as a browser shows them, at desktop and phone width."""

import json
import shutil
from urllib.parse import quote

import pytest
from chromium import WIDTHS, fits, in_chromium, serving

from matinee.lake.records import Event
from matinee.service.folder import Service

STRANGE = '<script>alert("x")</script> é🎬/..'

pytestmark = in_chromium


@pytest.fixture(scope="module")
def site(made, tmp_path_factory):
    """The address of a server on a copy of the small service, one member with a strange id."""
    folder = shutil.copytree(made, tmp_path_factory.mktemp("site") / "shows")
    with Service.open(folder) as service:
        one = service.lake.scan("events").filter(kind="play").head(1).collect().to_dicts()[0]
        play = {name: one[name] for name in ("kind", "ts", "title_id", "value")}
        service.lake.put([Event(event_id="strange", member_id=STRANGE, **play)])
    with serving(folder) as address:
        yield address


def member_of(page):
    return page.locator(".members a b").nth(1).inner_text()


def test_the_way_from_the_members_to_a_home_page(page):
    page.goto("/desk/members")
    assert fits(page)
    member = member_of(page)
    page.locator(".members a").nth(1).click()
    page.wait_for_url("**/desk/member?id=*")
    assert fits(page)
    assert page.locator("h1").inner_text() == member
    rows = page.locator("section.shown")
    assert rows.count() >= 3
    for row in rows.all():
        assert row.locator("h3").inner_text().strip()
        assert row.locator(".why").inner_text().strip()
        assert row.locator(".card").count() >= 1


def test_no_title_stands_twice(page):
    page.goto("/desk/members")
    page.goto(f"/desk/member?id={quote(member_of(page))}")
    names = page.locator(".poster strong").all_inner_texts()
    details = page.locator(".poster small").all_inner_texts()
    shown = list(zip(names, details, strict=True))
    assert len(shown) == len(set(shown)) > 20


def test_the_switch_of_member_and_of_policy(page):
    page.goto("/desk/members")
    first, second = page.locator(".members a b").all_inner_texts()[1:3]
    page.goto(f"/desk/member?id={quote(first)}")
    assert page.locator("select[name=policy]").input_value() == ""
    assert "titles@2" in page.locator(".facts").inner_text()
    before = page.locator(".poster strong").all_inner_texts()
    page.locator("input[name=id]").fill(second)
    page.get_by_role("button", name="Show").click()
    page.wait_for_url(f"**id={quote(second)}**")
    assert page.locator("h1").inner_text() == second
    assert page.locator(".poster strong").all_inner_texts() != before
    page.locator("select[name=policy]").select_option("titles@1")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**policy=titles%401**")
    assert "titles@1" in page.locator(".facts").inner_text()


def test_a_strange_id_is_shown_as_it_is(page):
    page.goto(f"/desk/member?id={quote(STRANGE, safe='')}")
    assert page.locator("h1").inner_text() == STRANGE
    assert page.locator("input[name=id]").input_value() == STRANGE
    assert page.locator("section.shown").count() >= 3


def test_an_unknown_member_gets_what_others_like(page):
    page.goto("/desk/member?id=nobody-knows")
    assert "What other members like best." in page.locator(".shown .why").first.inner_text()


def test_the_keyboard_reaches_the_rows(page):
    page.goto("/desk/member?id=nobody-knows")
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.classList.contains('shelf')"):
            return
    raise AssertionError("no row had the focus after thirty tabs")


def test_two_versions_side_by_side(page):
    page.goto("/desk/member?id=nobody-knows")
    page.locator("select[name=beside]").select_option("titles@1")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**beside=titles%401**")
    assert fits(page)
    assert page.locator("select[name=beside]").input_value() == "titles@1"
    left, right = (page.locator(".side").nth(place) for place in (0, 1))
    assert ("titles@2" in left.inner_text(), "titles@1" in right.inner_text()) == (True, True)
    first, second = left.bounding_box(), right.bounding_box()
    if page.viewport_size["width"] == WIDTHS["phone"][0]:
        assert second["y"] >= first["y"] + first["height"]
    else:
        assert second["y"] == first["y"]
        assert second["x"] >= first["x"] + first["width"]


def test_alternatives_open_by_the_keyboard(page):
    page.goto("/desk/member?id=nobody-knows")
    table = page.locator("details.instead table").first
    assert not table.is_visible()
    page.locator("details.instead summary").first.focus()
    page.keyboard.press("Enter")
    assert table.is_visible()
    assert table.locator("tbody tr").count() == page.locator(".shelf").first.locator("li").count()
    assert fits(page)


def test_looking_logs_nothing(page, site):
    page.goto("/desk/member?id=nobody-knows")
    assert "matinee_decisions_total{" not in page.request.get(f"{site}/metrics").text()


def test_a_version_that_is_not_there(browser, site):
    page = browser.new_page(base_url=site)
    answer = page.goto("/desk/member?id=m&policy=titles@99")
    assert answer.status == 404
    assert "there is no version titles@99" in page.locator("main").inner_text()
    page.close()


def test_pages_forbid_scripts_and_frames(browser, site):
    page = browser.new_page(base_url=site)
    headers = page.goto("/desk/members").headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"
    assert json.loads(page.evaluate("JSON.stringify(document.scripts.length)")) == 0
    page.close()
