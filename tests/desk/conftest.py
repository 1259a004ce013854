"""A browser, and pages in it at desktop and phone width, for modules that have a `site`; and pages
without one.
"""

import asyncio
import shutil

import httpx
import pytest
from chromium import CHROMIUM, OPTIONS, WIDTHS, opened
from starlette.applications import Starlette

from matinee.desk.pages import pages
from matinee.service.folder import Service
from matinee.service.runtime import Runtime


async def ask(app: Starlette, path: str) -> httpx.Response:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        return await client.get(path)


@pytest.fixture
def look():
    """Look at a path of a service: status and HTML."""

    def at(service: Service, path: str) -> tuple[int, str]:
        with service, Runtime(service) as runtime:
            answer = asyncio.run(ask(Starlette(routes=pages(runtime)), path))
        return answer.status_code, answer.text

    return at


@pytest.fixture
def service(made, tmp_path) -> Service:
    return Service.open(shutil.copytree(made, tmp_path / "shows"))


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
    with opened(browser, site, *request.param) as page:
        yield page
