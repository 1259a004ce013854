"""The pages of the lake: all tables, and one, whatever is in them."""

import asyncio
import re
import sqlite3
from datetime import UTC, datetime, timedelta
from html import unescape

import httpx
import msgspec
import polars as pl
import pytest
from starlette.applications import Starlette
from starlette.responses import HTMLResponse

from matinee.desk.data import data_view, table_view
from matinee.desk.rendering import templates
from matinee.desk.views import NotFoundError
from matinee.errors import MatineeError
from matinee.lake.records import Event
from matinee.lake.schemas import SCHEMAS
from matinee.service.folder import Service
from matinee.service.leases import Leases

HOSTILE = '<script>alert("x")</script>'
CARD = "4111 1111 1111 1111"
NOW = datetime.now(UTC)


@pytest.fixture
def empty(tmp_path):
    with Service.create(tmp_path / "none", {"lake.buckets": 2}) as made:
        yield made


def ask(service, path, params=None):
    """An address of the pages of the lake alone."""

    def render(_request, template, status=200, **values):
        page = templates().get_template(template)
        return HTMLResponse(page.render(service="shows", simulated=False, **values), status)

    routes = [*data_view(service).routes(render), *table_view(service).routes(render)]

    async def asking():
        transport = httpx.ASGITransport(Starlette(routes=routes))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.get(path, params=params)

    return asyncio.run(asking())


def page(service, path, **params):
    answer = ask(service, path, params)
    html = answer.text
    assert len(re.findall("<h1", html)) == 1
    assert "<script" not in html
    assert not re.search(r"<[^>]*\son\w+=", html)
    return answer.status_code, html


def plays(count, member="m1", title="t1"):
    return [
        Event(event_id=f"e{n}", member_id=member, kind="play", ts=NOW, title_id=title)
        for n in range(count)
    ]


def refuse(service, count, source="bad.csv", title="t1"):
    rows = pl.DataFrame({"event_id": [f"b{n}" for n in range(count)]}).with_columns(
        member_id=pl.lit("m1"),
        kind=pl.lit("play"),
        title_id=pl.lit(title),
        ts=pl.lit(None, pl.Datetime("us", "UTC")),
    )
    assert service.lake.append("events", rows, source=source).rejected == count


def cells_of(html, name):
    """What stands in the row of a table."""
    row, *_ = re.findall(rf'<tr><th scope="row"><a[^>]*>{name}</a></th>(.*?)</tr>', html)
    return [re.sub("<[^>]+>", " ", cell).split() for cell in re.findall("<td>(.*?)</td>", row)]


def test_an_empty_lake_shows_every_table_as_never_written(empty):
    status, html = page(empty, "/desk/data")
    assert status == 200
    for name in SCHEMAS:
        picture, state, rows, *_ = cells_of(html, name)
        assert (picture, state, rows) == ([], ["never", "written"], ["0"])
        assert page(empty, "/desk/table", name=name)[0] == 200
    assert "No row was refused." in html
    assert "<svg" not in html


def test_a_table_shows_its_rows_what_waits_and_what_was_refused(empty):
    empty.lake.put(plays(1_200))
    refuse(empty, 3)
    _, html = page(empty, "/desk/data")
    assert 'href="/desk/table?name=events"' in html
    picture, state, rows, known, _, waits, refused, *_ = cells_of(html, "events")
    assert rows == ["1,200"]
    assert waits[0] == "1,200"
    assert refused == ["3"]
    assert state == ["too", "young", "to", "say"]
    assert known[0] in {f"{NOW:%Y-%m-%d}", f"{datetime.now(UTC):%Y-%m-%d}"}  # midnight may pass
    assert picture[-1] == "1,200"
    assert "ts is missing" in html
    assert "bad.csv, row 3" in html


def test_the_picture_of_days_says_its_numbers_in_words(empty):
    rows = pl.DataFrame([{"title_id": "a", "name": "A"}])
    for back, names in ((0, "ab"), (2, "cdef"), (13, "g"), (14, "h")):
        titles = pl.concat([rows.with_columns(title_id=pl.lit(name)) for name in names])
        known = titles.with_columns(known_at=pl.lit(datetime.now(UTC) - timedelta(days=back)))
        empty.lake.append("titles", known, source="x")
    _, html = page(empty, "/desk/data")
    (svg,) = re.findall("<svg.*?</svg>", html)
    assert 'role="img"' in svg
    label, *_ = re.findall('aria-label="rows of titles by day: (.*?)"', svg)
    said = label.split("; ")
    assert [day.rsplit(" ", 1)[1] for day in said] == ["1", *["0"] * 10, "4", "0", "2"]
    assert said[-1] == f"{datetime.now(UTC):%d %B} 2"
    heights = [float(tall) for tall in re.findall('<rect .*? height="(.*?)"', svg)]
    assert heights[11] == 24 == max(heights)
    assert heights[13] == 12
    assert heights[0] == 6
    assert heights[1] == 1
    _, html = page(empty, "/desk/table", name="titles")
    assert html.count("<svg") == 1
    assert re.findall(r"<tbody><tr><td>1</td><td>0</td>.*?<td>2</td></tr></tbody>", html)


def test_all_tables_may_be_narrowed_to_one(empty):
    refuse(empty, 1)
    _, html = page(empty, "/desk/data", table="events")
    assert 'name=events"' in html
    assert "ts is missing" in html
    _, html = page(empty, "/desk/data", table="titles")
    assert 'name=events"' not in html
    assert "ts is missing" not in html
    assert page(empty, "/desk/data", table="")[1].count('href="/desk/table') > len(SCHEMAS)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "", HOSTILE, "a" * 5_000, "events\0", "é"])
def test_a_table_that_there_is_not_is_not_found(empty, name):
    status, html = ask(empty, "/desk/table", {"name": name}).status_code, ""
    assert status == 404
    html = ask(empty, "/desk/table", {"name": name}).text
    assert "there is no table" in html
    assert "<script" not in html
    assert len(html) < 5_000
    if name:
        assert ask(empty, "/desk/data", {"table": name}).status_code == 404
    assert ask(empty, "/desk/table").status_code == 404


def test_one_that_there_is_not_is_not_found_as_json(empty):
    for path in ("/v1/desk/table?name=..%2Fx", "/v1/desk/data?table=..%2Fx"):
        with pytest.raises(NotFoundError, match="there is no table"):
            ask(empty, path)


def test_both_are_told_as_json(empty):
    empty.lake.put(plays(2))
    refuse(empty, 1)
    told = msgspec.json.decode(ask(empty, "/v1/desk/data").content)
    (events,) = [one for one in told["tables"] if one["name"] == "events"]
    assert (events["rows"], events["waiting"]["rows"], events["refused"]) == (2, 2, 1)
    age = datetime.now(UTC) - datetime.fromisoformat(events["known_at"])
    assert timedelta(0) <= age < timedelta(hours=1)
    assert len(events["days"]) == 14
    assert told["reasons"][0]["reason"] == "ts is missing"
    told = msgspec.json.decode(ask(empty, "/v1/desk/table?name=events").content)
    assert [row["event_id"] for row in told["latest"]] == ["e1", "e0"]
    assert told["latest"][0]["value"] is None
    assert told["key"] == ["member_id", "event_id"]
    assert told["columns"][0]["name"] == "event_id"


def test_one_table_shows_its_columns_its_rows_and_what_was_refused(empty):
    empty.lake.put([*plays(1), Event(event_id="s", member_id="m2", kind="search", ts=NOW)])
    refuse(empty, 25)
    status, html = page(empty, "/desk/table", name="events")
    assert status == 200
    for words in (
        "Something a member did, or was shown.",
        "member_id, event_id are the same",
        "sorted by member_id, ts, seq",
        "pseudonymous id of a member",
        "one of click, complete",
        "20 of 25, first the latest",
        "bad.csv, row 25",
    ):
        assert words in html
    assert "bad.csv, row 5<" not in html
    assert html.index(">search<") < html.index(">e0<")


def test_hostile_text_is_shown_as_it_is_and_does_nothing(empty):
    empty.lake.put(plays(1, member=HOSTILE, title=HOSTILE))
    refuse(empty, 1, source=HOSTILE, title=f"{HOSTILE}'\"&{CARD}")
    leases = Leases(empty.store)
    with leases.hold("seal"):
        leases.finished("seal", result=f"failed: {HOSTILE} {CARD}", failed=True)
    for path, params in (("/desk/data", {}), ("/desk/table", {"name": "events"})):
        status, html = page(empty, path, **params)
        assert status == 200
        assert "&lt;script&gt;" in html
        assert CARD not in unescape(html)
    assert "4111 11** **** 1111" in html


def test_ten_thousand_refused_rows_make_a_page_of_ordinary_length(empty):
    refuse(empty, 10_000)
    status, html = page(empty, "/desk/data")
    assert status == 200
    assert "10,000" in html
    assert len(html) < 40_000
    status, html = page(empty, "/desk/table", name="events")
    assert status == 200
    assert "20 of 10,000" in html
    assert len(html) < 40_000


def test_what_is_wrong_is_said_with_what_to_type(empty):
    start = NOW - timedelta(days=40)
    days = [start + timedelta(days=day) for day in range(36)]
    frame = pl.DataFrame({"event_id": [f"e{n}" for n in range(36)], "ts": days, "known_at": days})
    more = {"member_id": "m1", "kind": "play", "title_id": "t1"}
    rows = frame.with_columns(**{name: pl.lit(value) for name, value in more.items()})
    assert empty.lake.append("events", rows, source="x").rows == 36
    leases = Leases(empty.store)
    with leases.hold("compact"):
        leases.finished("compact", result="failed: no space", failed=True)
    _, html = page(empty, "/desk/data")
    (said,) = re.findall('<ul class="notes">.*?</ul>', html)
    assert re.search(r"<b>events</b> is late: nothing new for 5(\.\d)? days; usually", said)
    assert "failed 1 time: failed: no space<code>matinee work</code>" in said
    for path in (empty.folder / "lake/tables/events").glob("bucket=*/*.parquet"):
        path.write_bytes(b"torn")
    for path, params in (("/desk/data", {}), ("/desk/table", {"name": "events"})):
        status, html = page(empty, path, **params)
        assert status == 200
        assert "<b>events</b> cannot be read" in html
        assert "<code>matinee repair</code>" in html


def test_what_the_disk_does_not_give_is_not_said_to_be_missing(empty, monkeypatch):
    def full():
        raise MatineeError("quarantine.db cannot be opened") from sqlite3.OperationalError("full")

    monkeypatch.setattr(empty.lake, "quarantine", full)
    status, html = page(empty, "/desk/data")
    assert status == 503
    assert "quarantine.db cannot be opened" in html


def test_a_service_that_lives_has_no_alarm(service):
    with service:
        status, html = page(service, "/desk/data")
        assert status == 200
        assert cells_of(html, "titles")[1] == ["changes", "seldom"]
        assert cells_of(html, "titles")[2] == ["120"]
        assert 'class="notes"' not in html
        for name in ("events", "members", "titles"):
            assert page(service, "/desk/table", name=name)[0] == 200
