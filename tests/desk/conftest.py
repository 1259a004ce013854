"""A browser, and pages in it at desktop and phone width, for modules that have a `site`."""

import pytest
from chromium import CHROMIUM, OPTIONS, WIDTHS


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture(params=[(width, scheme) for width in WIDTHS for scheme in ("light", "dark")])
def page(request, browser, site):
    """A page that fails the test on a console error or a request to anywhere else."""
    name, scheme = request.param
    width, height = WIDTHS[name]
    page = browser.new_page(
        viewport={"width": width, "height": height}, color_scheme=scheme, base_url=site
    )
    wrong = []
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "request",
        lambda asked: None if asked.url.startswith((site, "data:")) else wrong.append(asked.url),
    )
    yield page
    page.close()
    assert wrong == []
