"""Every page of the desk as a browser has it: whole, and for everybody to use."""

import shutil
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from axe_playwright_python.sync_playwright import Axe
from chromium import fits, in_chromium, opened, serving

from matinee.desk.pages import PAGES, views
from matinee.experiments.plan import Holdout
from matinee.lake.billing import Attempt, Invoice
from matinee.registry import against_champion
from matinee.service.folder import Service
from matinee.service.runtime import Runtime
from matinee.surfaces import Request
from waiting import eventually

pytestmark = in_chromium
BAD = {"serious", "critical"}
NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture(scope="module")
def folder(made, tmp_path_factory):
    """The small service with something of everything."""
    folder = shutil.copytree(made, tmp_path_factory.mktemp("every") / "shows")
    with Service.open(folder) as service:
        first, second = (one.id for one in service.registry.versions("titles")[:2])
        champion = service.registry.alias("titles", "champion").id
        other = second if champion == first else first
        service.trials.start(against_champion("fresh", "titles", other), "ann", "a look")
        service.trials.hold(
            Holdout(name="before", share=0.1, surface="titles", serves=first), "ann", ""
        )
        service.lake.put([*_bill("i1", ("declined", "approved")), *_bill("i2", ("declined",))])
        with Runtime(service) as runtime:
            for number in range(5):
                asked = Request(request_id=f"r{number}", member_id="m00001", at=NOW)
                runtime.decide("titles", asked)
    return folder


def _bill(invoice_id, statuses):
    due = NOW - timedelta(days=20)
    yield Invoice(
        invoice_id=invoice_id,
        member_id="m00001",
        amount=999,
        currency="EUR",
        instruments=["c1"],
        country="NL",
        due_at=due,
        grace_until=due + timedelta(days=14),
    )
    for number, status in enumerate(statuses):
        yield Attempt(
            attempt_id=f"{invoice_id}-{number}",
            invoice_id=invoice_id,
            member_id="m00001",
            instrument_id="c1",
            processor="acme",
            amount=999,
            currency="EUR",
            status=status,
            at=due + timedelta(days=number),
        )


@pytest.fixture(scope="module")
def site(folder):
    with serving(folder) as address:
        yield address


@pytest.fixture(scope="module")
def known(folder):
    """A decision and a title that there are."""
    with Service.open(folder) as service:
        mine = service.lake.scan("decisions").filter(member_id="m00001").collect()
        title = service.lake.current("titles")["title_id"][0]
        return {"DECISION": quote(mine["decision_id"][0]), "TITLE": quote(title)}


PATHS = {
    "/desk": "",
    "/desk/surfaces": "",
    "/desk/surface": "?name=titles",
    "/desk/members": "",
    "/desk/member": "?id=m00001",
    "/desk/experiments": "",
    "/desk/experiment": "?name=fresh",
    "/desk/artwork": "",
    "/desk/title": "?id=TITLE",
    "/desk/payments": "",
    "/desk/log": "?member=m00001",
    "/desk/decision": "?id=DECISION",
    "/desk/data": "",
    "/desk/table": "?name=events",
    "/desk/changes": "",
    "/desk/change": "?action=stop&about=titles",
}
"""Every page, with what it is asked for."""


def test_no_page_is_left_out(folder):
    with Service.open(folder) as service, Runtime(service) as runtime:
        assert {view.path for view in views(runtime)} == PATHS.keys() - {"/desk/change"}


@contextmanager
def shown(browser, site, path, look):
    """The page once what it needs has been read."""
    with opened(browser, site, *look) as page:

        def whole():
            page.goto(path)
            return not page.locator("meta[http-equiv=refresh]").count()

        assert eventually(whole)
        yield page


def middles(page, which):
    """Where what a selector names stands, from left to right."""
    return page.evaluate(
        "which => [...document.querySelectorAll(which)].map(one => {"
        "const box = one.getBoundingClientRect(); return box.left + box.width / 2})",
        which,
    )


def test_each_page_can_be_seen_to_be_there_on_a_phone(browser, site):
    with opened(browser, site, "phone", "light") as page:
        page.goto("/desk")
        found = middles(page, "header nav a")
        assert len(found) == len(PAGES)
        assert all(0 < middle < 390 for middle in found)


@pytest.mark.parametrize("width", ["desktop", "phone"])
def test_the_bars_of_days_stand_over_their_days(browser, site, width):
    with opened(browser, site, width, "light") as page:
        page.goto("/desk/table?name=events")
        bars, days = middles(page, ".days rect"), middles(page, ".days th")
        assert len(bars) == len(days) == 14
        assert bars == pytest.approx(days, abs=3)


@pytest.mark.parametrize("look", [("desktop", "light"), ("phone", "dark")])
@pytest.mark.parametrize("path", PATHS)
def test_a_page_is_for_everybody(browser, site, known, path, look):
    asked = PATHS[path]
    for name, one in known.items():
        asked = asked.replace(name, one)
    with shown(browser, site, path + asked, look) as page:
        assert page.locator("h1").count() == 1
        assert fits(page)
        assert page.get_by_role("main").count() == 1
        assert page.title()
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to content"
        found = Axe().run(page).response
        assert len(found["passes"]) > 10
        bad = [
            (one["id"], one["nodes"][0]["html"])
            for one in found["violations"]
            if one["impact"] in BAD
        ]
        assert bad == []
