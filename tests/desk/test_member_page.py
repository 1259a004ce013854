"""A member's page: who decides for them, what they get and what else it could be, and what came."""

import asyncio
import html as markup
import re
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import httpx
import msgspec
import pytest
from msgspec.structs import replace
from starlette.applications import Starlette

from matinee.desk.member import member_view, members_view
from matinee.desk.pages import pages
from matinee.experiments.plan import Holdout
from matinee.lake.records import Event, Title
from matinee.registry import against_champion
from matinee.service.folder import Service
from matinee.service.outcomes import GRACE
from matinee.service.runtime import Runtime
from matinee.surfaces import Request

STRANGE = "a/b..\"'><script>alert(1)</script>&é🎬"
NOW = datetime.now(UTC)


def told(service: Service, member: str, **query: str) -> dict:
    """What the page of a member shows, as JSON."""

    async def ask(app: Starlette) -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.get("/v1/desk/member", params={"id": member, **query})

    with Runtime(service) as runtime:
        answer = asyncio.run(ask(Starlette(routes=pages(runtime))))
    assert answer.status_code == 200
    return msgspec.json.decode(answer.content)


def at(member: str, **query: str) -> str:
    more = "".join(f"&{name}={quote(value, safe='')}" for name, value in query.items())
    return f"/desk/member?id={quote(member, safe='')}{more}"


def facts(html: str) -> str:
    (found,) = re.findall(r'<ul class="facts">(.*?)</ul>', html, re.DOTALL)
    return " ".join(re.sub(r"<.*?>", " ", found).split())


def deciding(html: str) -> dict[str, str]:
    """What decides on each surface, and why, as the page says it."""
    (table,) = re.findall(r"Who decides for them.*?<tbody>(.*?)</tbody>", html, re.DOTALL)
    found = {}
    for row in table.split("</tr>")[:-1]:
        first, *others = (
            " ".join(re.sub(r"<.*?>", " ", cell).split())
            for cell in re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row, re.DOTALL)
        )
        found[first] = " because ".join(others)
    return found


def test_the_page_of_a_member(service, look):
    status, html = look(service, at("m00042"))
    assert status == 200
    assert html.count("<h1>") == 1
    assert "<h1>m00042</h1>" in html
    assert "Policy of this page titles@2" in facts(html)
    assert html.count('<section class="row shown"') >= 3
    assert "What else could have stood here" in html
    assert "<script" not in html


def test_facts_of_a_member(service, look):
    seen = NOW - timedelta(hours=3)
    play = Event(event_id="e", member_id="new", kind="play", title_id="x", value=60.0, ts=seen)
    service.lake.put([play])
    _, html = look(service, at("new"))
    assert facts(html) == (
        f"Country any Watched 1 Last met a title {seen:%Y-%m-%d %H:%M} Policy of this page titles@2"
    )


def test_nobody_knows_them_and_they_get_a_page(service, look):
    status, html = look(service, at("nobody"))
    assert status == 200
    assert "Nothing has been heard of this member" in html
    assert "What other members like best." in html
    assert facts(html).startswith("Country any Watched 0 Last met a title never")
    assert "Nothing yet." in html


def test_the_champion_decides_where_nothing_else_does(service, look):
    assert deciding(look(service, at("m00042"))[1]) == {
        "titles": "titles@2 because the champion",
        "artwork": "nobody yet because it has no champion yet",
        "payments": "payments@fallback because the rule of the surface, which has no champion",
    }


def in_arm(service: Service, arm: str) -> str:
    """A member who is in an arm of an experiment on titles, or of none."""
    with Runtime(service) as runtime:
        for number in range(1000):
            asked = Request(request_id="r", member_id=f"x{number}", at=datetime.now(UTC))
            if runtime.deciding("titles", asked).arm == arm:
                return f"x{number}"
    raise AssertionError(f"nobody is in {arm}")


def test_an_arm_of_an_experiment_decides_for_its_members(service, look):
    service.trials.start(against_champion("fresh <b>", "titles", "titles@1"), "ann", "")
    treated, control = in_arm(service, "fresh <b>:treatment"), in_arm(service, "fresh <b>:control")
    _, html = look(Service.open(service.folder), at(treated))
    assert "Policy of this page titles@1" in facts(html)
    assert deciding(html)["titles"] == (
        "titles@1 because they are in the arm treatment of the experiment fresh &lt;b&gt;"
    )
    assert 'href="/desk/experiment?name=fresh%20%3Cb%3E"' in html
    _, html = look(Service.open(service.folder), at(control))
    assert "Policy of this page titles@2" in facts(html)
    assert "the arm control of the experiment" in deciding(html)["titles"]


def test_an_experiment_on_some_devices_is_told_of_those(service, look):
    one = against_champion("tubes", "titles", "titles@1")
    service.trials.start(replace(one, devices=("phone", "tv")), "ann", "")
    _, html = look(service, at("m00042"))
    found = deciding(html)
    assert found["titles"] == "titles@2 because the champion"
    for device in ("phone", "tv"):
        assert "of the experiment tubes" in found[f"titles on {device}"]


def test_a_holdout_is_told(service, look):
    service.trials.hold(Holdout(name="since <may>", share=1.0, surface="titles"), "ann", "")
    found = deciding(look(service, at("m00042"))[1])
    assert found["titles"] == "titles@2 because they are in the holdout since &lt;may&gt;"


def test_another_policy_may_be_picked(service, look):
    status, html = look(service, at("m00042", policy="titles@1"))
    assert status == 200
    assert "Policy of this page titles@1" in facts(html)
    assert re.search(r'<option value="titles@1" selected>', html)
    assert "The page that titles@1 would give them" in html


@pytest.mark.parametrize("name", ["policy", "beside"])
@pytest.mark.parametrize("version", ["titles@99", "artwork@1", "<b>", "..", "'", "x" * 3_000])
def test_a_version_that_there_is_not_is_not_found(service, look, name, version):
    status, html = look(service, at("m", **{name: version}))
    assert status == 404
    assert "<b>&lt;" not in html
    assert "no version" in html or "not a version" in html


def test_without_anything_beside_it_the_page_says_so(service, look):
    _, html = look(service, at("m00042"))
    assert "There is no challenger, and no experiment on titles runs." in html


def test_beside_the_challenger(service, look):
    service.registry.challenge("titles", "titles@1", "ann", "")
    _, html = look(service, at("m00042"))
    side = html[html.index("Side by side") :]
    assert "titles@2 beside titles@1, the challenger." in side
    assert "same random numbers" in side
    assert "In the first row they " in side
    assert ", only here" in side


def test_a_version_beside_itself_shows_the_same(service):
    beside = told(service, "m00042", beside="titles@2")["beside"]
    assert (beside["left"], beside["right"], beside["because"]) == ("titles@2", "titles@2", "asked")
    assert len(beside["rows"]) >= 3
    for row in beside["rows"]:
        assert row["left"] == row["right"]
        assert (row["share"], row["moved"]) == (1.0, 0.0)
        assert not any(title["alone"] for title in row["left"]["titles"])


def test_the_champion_stands_beside_what_is_tried_on_this_member(service):
    service.trials.start(against_champion("fresh", "titles", "titles@1"), "ann", "")
    found = told(Service.open(service.folder), in_arm(service, "fresh:treatment"))
    beside = found["beside"]
    assert found["page"]["version"] == "titles@1"
    assert (beside["left"], beside["right"]) == ("titles@2", "titles@1")
    assert (beside["because"], beside["experiment"]) == ("experiment", "fresh")
    tried = {row["slot"]: row["right"]["titles"] for row in beside["rows"]}
    for row in found["page"]["rows"]:
        shown = [title["title_id"] for title in row["titles"]]
        assert [title["title_id"] for title in tried[row["slot"]]] == shown


def test_json_has_all_that_the_page_has(service):
    found = told(service, "m00042")
    first = found["page"]["rows"][0]["titles"][0]
    assert found["member_id"] == "m00042"
    assert {one["surface"] for one in found["decides"]} == {"titles", "artwork", "payments"}
    assert 0 < first["propensity"] <= 1
    assert len(first["instead"]) == 5
    assert [one["id"] for one in found["versions"]] == ["titles@2", "titles@1"]


def test_alternatives_stand_in_the_page(service, look):
    first = told(service, "m00042")["page"]["rows"][0]["titles"][0]
    _, html = look(Service.open(service.folder), at("m00042"))
    (table,) = re.findall(r'<details class="instead">(.*?)</details>', html, re.DOTALL)[:1]
    line = markup.unescape(re.findall(r"<tr>.*?</tr>", table)[1])
    names = [first["name"], *(one["name"] for one in first["instead"])]
    assert re.findall(r"<td>(.*?) <b>", line) == names


def test_their_latest_decisions_with_links(service, look):
    with Runtime(service) as runtime:
        for number in range(3):
            asked = Request(request_id=f"r{number}", member_id=STRANGE, at=NOW, slots=4)
            runtime.home(asked).decide(asked, service.lake)
    logged = set(service.lake.scan("decisions").collect()["decision_id"])
    _, html = look(service, at(STRANGE))
    (table,) = re.findall(r"decided for them of late(.*)", html, re.DOTALL)
    links = re.findall(r'href="/desk/decision\?id=([0-9a-f]{32})&amp;member=', table)
    assert len(set(links)) == len(links) == 10
    assert set(links) <= logged
    closes = NOW + service.surfaces["titles"].window + GRACE
    assert table.count(f"open until {closes:%Y-%m-%d %H:%M}") == 10
    assert f'href="/desk/log?member={quote(STRANGE)}"' in table


def test_looking_logs_nothing(service, look):
    look(service, at("m00042"))
    with Service.open(service.folder) as again:
        assert not again.lake.scan("decisions").collect().height


def test_an_id_is_never_markup(service, look):
    status, html = look(service, at(STRANGE))
    assert status == 200
    assert "<script" not in html
    assert (
        f"<h1>{markup.escape(STRANGE).replace('&quot;', '&#34;').replace('&#x27;', '&#39;')}"
        in html
    )


def test_neither_is_the_name_of_a_title(service, look):
    (title, *_) = service.lake.current("titles")["title_id"]
    names = service.lake.current("titles")["title_id"].to_list()
    bad = [Title(title_id=one, name='"><script>alert(1)</script>', genres=["<i>"]) for one in names]
    service.lake.put(bad)
    status, html = look(service, at("nobody"))
    assert status == 200
    assert title
    assert "<script" not in html
    assert "&lt;script&gt;" in html


@pytest.mark.parametrize("member", ["ann@example.org", "x" * 201, "@"])
def test_what_cannot_be_an_id_is_refused(service, look, member):
    status, html = look(service, at(member))
    assert status == 404
    assert "this cannot be a member" in html


@pytest.mark.parametrize("member", ["x" * 200, "..", "a/b/../c", "%2e", " ", "'; --", "NaN"])
def test_any_other_is_a_member(service, look, member):
    status, html = look(service, at(member))
    assert status == 200
    assert "What other members like best." in html


def test_a_page_of_nobody_asks_for_a_name(service, look):
    status, html = look(service, "/desk/member")
    assert status == 404
    assert "no member is named" in html


def test_members_link_to_their_pages(tmp_path, look):
    service = Service.create(tmp_path / "one")
    play = Event(event_id="e", member_id=STRANGE, kind="play", title_id="x", value=60.0, ts=NOW)
    service.lake.put([play])
    status, html = look(service, "/desk/members")
    assert status == 200
    assert html.count("<h1>") == 1
    assert f'href="/desk/member?id={quote(STRANGE)}"' in html
    assert f"1 title watched, the last on {NOW:%Y-%m-%d}" in html
    assert '<form class="switch" method="get" action="/desk/member">' in html
    assert "<script" not in html


def test_an_empty_service_has_both_pages(tmp_path, look):
    with Service.create(tmp_path / "new") as service:
        with Runtime(service) as runtime:
            views = [members_view(runtime), member_view(runtime)]
        assert [view.path for view in views] == ["/desk/members", "/desk/member"]
    assert look(Service.open(tmp_path / "new"), "/desk/members")[0] == 200
    status, html = look(Service.open(tmp_path / "new"), at("m"))
    assert status == 503
    assert "matinee train titles" in html
