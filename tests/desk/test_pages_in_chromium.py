"""The pages as a browser shows them, at desktop and phone width."""

import json
import shutil
from urllib.parse import quote

import pytest
from chromium import fits, in_chromium, serving

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
    page.goto("/")
    assert fits(page)
    member = member_of(page)
    page.locator(".members a").nth(1).click()
    page.wait_for_url("**/home?member=*")
    assert fits(page)
    assert member in page.locator(".facts").inner_text()
    rows = page.locator("section.row")
    assert rows.count() >= 3
    for row in rows.all():
        assert row.locator("h2").inner_text().strip()
        assert row.locator(".why").inner_text().strip()
        assert row.locator(".card").count() >= 1


def test_no_title_stands_twice(page):
    page.goto("/")
    page.goto(f"/home?member={quote(member_of(page))}")
    names = page.locator(".poster strong").all_inner_texts()
    details = page.locator(".poster small").all_inner_texts()
    shown = list(zip(names, details, strict=True))
    assert len(shown) == len(set(shown)) > 20


def test_the_switch_of_member_and_of_policy(page):
    page.goto("/")
    first, second = page.locator(".members a b").all_inner_texts()[1:3]
    page.goto(f"/home?member={quote(first)}")
    assert page.locator("select[name=policy]").input_value() == "titles@2"
    before = page.locator(".poster strong").all_inner_texts()
    page.locator("input[name=member]").fill(second)
    page.get_by_role("button", name="Show").click()
    page.wait_for_url(f"**member={quote(second)}**")
    assert second in page.locator(".facts").inner_text()
    assert page.locator(".poster strong").all_inner_texts() != before
    page.locator("select[name=policy]").select_option("titles@1")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**policy=titles%401**")
    assert "titles@1" in page.locator(".facts").inner_text()


def test_a_strange_id_is_shown_as_it_is(page):
    page.goto(f"/home?member={quote(STRANGE, safe='')}")
    assert STRANGE in page.locator(".facts").inner_text()
    assert page.locator("input[name=member]").input_value() == STRANGE
    assert page.locator("section.row").count() >= 3


def test_an_unknown_member_gets_what_others_like(page):
    page.goto("/home?member=nobody-knows")
    assert "What other members like best." in page.locator(".row .why").first.inner_text()


def test_the_keyboard_reaches_the_rows(page):
    page.goto("/home?member=nobody-knows")
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.classList.contains('shelf')"):
            return
    raise AssertionError("no row had the focus after twelve tabs")


def test_looking_logs_nothing(page, site):
    page.goto("/home?member=nobody-knows")
    assert "matinee_decisions_total{" not in page.request.get(f"{site}/metrics").text()


def test_a_version_that_is_not_there(browser, site):
    page = browser.new_page(base_url=site)
    answer = page.goto("/home?member=m&policy=titles@99")
    assert answer.status == 404
    assert "there is no version titles@99" in page.locator("main").inner_text()
    page.close()


def test_pages_forbid_scripts_and_frames(browser, site):
    page = browser.new_page(base_url=site)
    headers = page.goto("/").headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert json.loads(page.evaluate("JSON.stringify(document.scripts.length)")) == 0
    page.close()
