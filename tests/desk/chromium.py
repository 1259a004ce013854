"""A server of its own for a browser, and what a browser is asked."""

import re
import shutil
import subprocess
import sys
from contextlib import contextmanager

import pytest

CHROMIUM = shutil.which("chromium")
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDTHS = {"desktop": (1280, 900), "phone": (390, 844)}

in_chromium = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]


@contextmanager
def serving(folder):
    """The address of a server on the service in `folder`."""
    command = [sys.executable, "-m", "matinee", "serve", "--service", str(folder), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        found = re.search(r"http://[^/]+", server.stderr.readline())
        yield found[0]
        server.terminate()
        server.communicate()


def fits(page):
    """Whether the page is no wider than the window."""
    return page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@contextmanager
def opened(browser, site, name, scheme):
    """A page of a width and a colour scheme; errors and requests to elsewhere fail the test."""
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
