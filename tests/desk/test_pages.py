"""What the pages say, whatever the service is like."""

import shutil
from datetime import UTC, datetime, timedelta

import pytest

from matinee.lake.records import Event, Window
from matinee.service.folder import Service


@pytest.mark.parametrize("simulated", [True, False])
def test_an_invented_service_is_called_so_on_every_page(made, tmp_path, look, simulated):
    folder = shutil.copytree(made, tmp_path / "shows")
    toml = folder / "matinee.toml"
    value = str(simulated).lower()
    toml.write_text(toml.read_text().replace("#simulated = false", f"simulated = {value}"))
    for path in ("/desk/members", "/desk/member?id=m00042", "/desk/member?id=a@b"):
        _, html = look(Service.open(folder), path)
        assert ("Simulated service" in html) == simulated


def test_an_address_is_no_id(service, look):
    status, html = look(service, "/desk/member?id=ann@example.org")
    assert status == 404
    assert "no @: it is never an e-mail address" in html


def test_an_id_is_never_markup(service, look):
    status, html = look(
        service, "/desk/member?id=%22%3E%3Cscript%3Ealert(1)%3C/script%3E'%F0%9F%8E%AC"
    )
    assert status == 200
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&#39;🎬" in html


def test_a_service_without_a_champion_says_what_to_type(tmp_path, look):
    status, html = look(Service.create(tmp_path / "new"), "/desk/member?id=m")
    assert status == 503
    assert "matinee train titles" in html
    status, html = look(Service.open(tmp_path / "new"), "/desk/members")
    assert status == 200
    assert "matinee import SOURCE" in html


@pytest.mark.parametrize(("surface", "window"), [("titles", "24 h"), ("payments", "30 days")])
def test_a_surface_says_how_long_what_counts_may_take(service, look, surface, window):
    status, html = look(service, f"/desk/surface?name={surface}")
    assert status == 200
    assert f"What counts comes within <b>{window}</b>" in html


def test_a_page_without_titles_says_so(service, look):
    ended = datetime.now(UTC) - timedelta(days=1)
    ids = service.lake.current("titles")["title_id"]
    service.lake.put([Window(title_id=title, ends_at=ended) for title in ids])
    status, html = look(service, "/desk/member?id=m00042")
    assert status == 200
    assert "No title can be shown to this member now" in html


def test_one_title_is_one_title(service, look):
    now = datetime.now(UTC)
    play = Event(event_id="e", member_id="new", kind="play", title_id="x", value=60.0, ts=now)
    service.lake.put([play])
    assert "1 title watched" in look(service, "/desk/members")[1]
