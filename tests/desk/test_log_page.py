"""The pages of the log: what is found, and one decision with all that can be told of it."""

import asyncio
import re
import shutil
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import msgspec
import pytest
from msgspec.structs import replace
from starlette.applications import Starlette
from starlette.responses import HTMLResponse

from matinee.desk.decision import decision_view
from matinee.desk.log import log_view
from matinee.desk.rendering import templates
from matinee.errors import MatineeError
from matinee.lake.billing import Attempt
from matinee.lake.records import Decision, Event, Masked, Outcome
from matinee.service.folder import Service
from visits import VISITED, append, decide

AT = datetime(2026, 3, 31, 12, tzinfo=UTC)
ODD = "<script>alert(\"1\")</script> & 'é🎬' a/b?c=#.."


class Page(HTMLParser):
    """The words and links of a page, and that it is one: one h1, its fields labelled, no script."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html, self.links, self.tags = html, [], []
        self.values, self.unlabelled, self._inside = {}, [], []
        self.feed(html)
        self.text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))

    def handle_starttag(self, tag, attrs):
        told = dict(attrs)
        self.tags.append(tag)
        assert not [name for name in told if name.startswith("on")]
        if tag == "a":
            self.links.append(told["href"])
        if tag == "label":
            self._inside.append(tag)
        if tag in {"input", "select"}:
            self.values[told["name"]] = told.get("value", "")
            if not self._inside:
                self.unlabelled.append(told["name"])
        if tag == "option" and "selected" in told:
            self.values["surface"] = told["value"]

    def handle_endtag(self, tag):
        if tag == "label":
            self._inside.pop()

    def to(self, path):
        """What the links to a path ask."""
        split = [urlsplit(link) for link in self.links]
        return [
            {name: texts[0] for name, texts in parse_qs(link.query).items()}
            for link in split
            if link.path == path
        ]


@pytest.fixture
def app():
    """The pages over a service."""

    def made(service):
        def render(request, template, status=200, **values):
            page = templates().get_template(template)
            html = page.render(service=service.name, simulated=False, **values)
            return HTMLResponse(html, status)

        views = log_view(service), decision_view(service)
        return Starlette(routes=[route for view in views for route in view.routes(render)])

    return made


@pytest.fixture
def open_page(app):
    def opened(service, path, status=200):
        answer = asyncio.run(_ask(app(service), path))
        assert answer.status_code == status
        page = Page(answer.text)
        assert page.unlabelled == []
        assert "script" not in page.tags
        assert status != 200 or page.tags.count("h1") == 1
        return page

    return opened


async def _ask(app, path):
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        return await client.get(path)


def made(decision_id="d1", member="m1", at=AT, actions=("heat",), **told):
    usual = {
        "surface": "titles",
        "policy": "titles@1",
        "propensities": [0.25] * len(actions),
        "propensity_kind": "conditional",
        "eligible": "none",
        "removed": [],
        "segment": [],
        "scores": [],
        "seed": 7,
    }
    ids = {"decision_id": decision_id, "request_id": "r", "member_id": member}
    return Decision(**{**usual, **told}, **ids, at=at, actions=list(actions))


def path(name, **asked):
    return f"/desk/{name}?" + "&".join(f"{key}={quote(text)}" for key, text in asked.items())


@pytest.fixture
def empty(tmp_path):
    with Service.create(tmp_path / "new", {"lake.buckets": 2}) as fresh:
        yield fresh


@pytest.fixture(scope="module")
def decided(made, tmp_path_factory):
    """The champion decided twice for ten members; the service, and what it decided."""
    folder = shutil.copytree(made, tmp_path_factory.mktemp("decided") / "shows")
    with Service.open(folder) as service:
        yield service, decide(service, "titles@2", members=10, visits=2, slots=3)[0]


def test_a_line_leads_to_the_decision_its_member_and_its_surface(decided, open_page):
    service, decisions = decided
    page = open_page(service, "/desk/log")
    assert "20 decisions" in page.text
    told = {(asked["id"], asked["member"]) for asked in page.to("/desk/decision")}
    assert told == {(each.decision_id, each.member_id) for each in decisions}
    assert {each["id"] for each in page.to("/desk/member")} == {one.member_id for one in decisions}
    assert page.to("/desk/surface") == [{"name": "titles"}] * 20
    name = service.surfaces["titles"].name_of(decisions[0].actions[0])
    assert name in page.text


def test_the_form_says_what_was_asked(decided, open_page):
    service, decisions = decided
    mine = decisions[0].member_id
    day = VISITED.date().isoformat()
    asked = {
        "member": mine,
        "surface": "titles",
        "policy": "titles@2",
        "from": day,
        "until": f"{VISITED + timedelta(minutes=1):%Y-%m-%dT%H:%M}",
    }
    page = open_page(service, path("log", **asked))
    assert "2 decisions" in page.text
    until = (VISITED + timedelta(minutes=1)).replace(second=0, microsecond=0)
    said = {**asked, "until": until.isoformat().replace("+00:00", "Z"), "title": "", "arm": ""}
    assert page.values == said
    again = open_page(service, path("log", **said))
    assert again.values == said
    assert "2 decisions" in again.text


def test_a_whole_day_is_said_as_it_was_asked(decided, open_page):
    service, _ = decided
    day = VISITED.date().isoformat()
    page = open_page(service, path("log", until=day))
    assert page.values["until"] == day
    assert "20 decisions" in page.text


def follow(open_page, service, page, words):
    """The page behind a link that has these words."""
    (address,) = re.findall(rf'href="([^"]+)">{words}</a>', page.html)
    return open_page(service, address.replace("&amp;", "&"))


def test_one_goes_on_to_earlier_pages_and_days_and_back(empty, open_page):
    many = [made(f"d{n:03}", f"m{n % 7}", AT - timedelta(minutes=n)) for n in range(120)]
    append(empty, "decisions", [*many, made("old", "m1", AT - timedelta(days=9))], AT)
    page = open_page(empty, "/desk/log?policy=titles%401")
    assert "Newest" not in page.text
    seen = [asked["id"] for asked in page.to("/desk/decision")]
    assert "120 decisions" in page.text
    for _ in range(2):
        page = follow(open_page, empty, page, "Earlier")
        seen += [asked["id"] for asked in page.to("/desk/decision")]
    assert seen == [each.decision_id for each in many]
    assert "Earlier</a>" not in page.html
    further = follow(open_page, empty, page, "The days before")
    assert [asked["id"] for asked in further.to("/desk/decision")] == ["old"]
    assert further.values["policy"] == "titles@1"
    newest = follow(open_page, empty, page, "Newest")
    assert newest.to("/desk/decision")[0]["id"] == "d000"


def test_a_log_without_decisions_says_so(empty, open_page):
    page = open_page(empty, "/desk/log")
    assert "0 decisions" in page.text
    assert "No decision was made on these days" in page.text
    asked = open_page(empty, "/desk/log?member=m1")
    assert "No decision is as you ask" in asked.text
    assert "there is no decision" in open_page(empty, path("decision", id="d1"), 404).text


@pytest.mark.parametrize("name", ["member", "title", "surface", "policy", "arm"])
def test_what_one_types_is_never_markup(decided, open_page, name):
    service, _ = decided
    page = open_page(service, path("log", **{name: ODD}))
    assert page.values[name] == ODD
    assert "No decision is as you ask" in page.text


def test_what_cannot_be_meant_says_what_to_type(decided, open_page):
    service, _ = decided
    page = open_page(service, path("log", **{"from": "<b>NaN"}), 404)
    assert "from cannot be" in page.text
    assert "2026-11-24" in page.text
    assert "<b>NaN" not in page.html
    assert "no @" in open_page(service, path("log", member="ann@example.org"), 404).text


@pytest.mark.parametrize("decision_id", ["", "..", "../a", "a@b", ODD, "x" * 3_000])
def test_an_unknown_decision_is_not_found(decided, open_page, decision_id):
    service, _ = decided
    page = open_page(service, path("decision", id=decision_id), 404)
    assert "no decision" in page.text
    assert len(page.text) < 1_500


def test_a_decision_is_shown_whole(decided, open_page):
    service, decisions = decided
    decision = decisions[4]
    page = open_page(service, path("decision", id=decision.decision_id))
    for action, propensity in zip(decision.actions, decision.propensities, strict=True):
        assert action in page.text
        assert f"{100 * propensity:.3g}%" in page.text
        assert f"--p: {100 * propensity:.4f}%" in page.html
    left = 120 - len(decision.removed)
    assert f"There were {left} to choose from" in page.text
    assert "agrees" in page.text
    assert "its seed draws the same again" in page.text
    assert "Its window closes at" in page.text
    assert page.text.count(" open ") == 3
    assert page.to("/desk/member") == [{"id": decision.member_id}]
    assert page.to("/desk/log") == [{}, {"member": decision.member_id}]
    assert f"&#34;last&#34;: {decision.context['history']['last']}" in page.html


def test_propensities_that_no_policy_gives_are_called_out(service, open_page):
    decisions, _ = decide(service, "titles@2", members=1, slots=3)
    wrong = replace(decisions[0], decision_id="wrong", masks=[], propensities=[1.0, 1.0, 1.0])
    append(service, "decisions", [wrong])
    page = open_page(service, path("decision", id="wrong"))
    assert "differs" in page.text
    assert "other propensities than are logged" in page.text
    for propensity in decisions[0].propensities:
        assert f"<td>{100 * propensity:.3g}%</td>" in page.html


def test_what_came_of_it_is_told(empty, open_page):
    done = {"decision_id": "d", "member_id": "m1", "surface": "titles", "decided_at": AT}
    decision = made("d", "m1", AT, ("heat", "up"), masks=[Masked("seen", ODD, 1_234)])
    closed = AT + timedelta(days=1)
    append(empty, "decisions", [decision], AT)
    append(
        empty,
        "outcomes",
        [
            Outcome(position=0, action="heat", reward=0.0, closed_at=closed, **done),
            Outcome(position=1, action="up", reward=0.75, closed_at=closed, **done),
        ],
        closed,
    )
    play = {"member_id": "m1", "kind": "play", "title_id": "up", "position": 1}
    plays = [
        Event(event_id="1", ts=AT + timedelta(hours=1), value=30.5, decision_id="d", **play),
        Event(event_id="2", ts=AT + timedelta(days=40), value=9.0, decision_id="d", **play),
    ]
    append(empty, "events", plays, AT + timedelta(days=41))
    page = open_page(empty, path("decision", id="d"))
    assert "Its window closed at 2026-04-01 12:00 UTC. It brought 0.75 in all." in page.text
    assert ">30.5</td><td>2</td>" in page.html
    assert page.html.count("<td>no</td>") == 2
    assert ">1,234</td>" in page.html
    assert "alert(&#34;1&#34;)" in page.html
    assert "cannot be rebuilt: the log does not have what it was chosen from" in page.text


def test_an_outcome_that_is_due_and_not_written_says_what_to_type(empty, open_page):
    append(empty, "decisions", [made("d"), made("none", actions=())], AT)
    assert "matinee work" in open_page(empty, path("decision", id="d")).text
    assert "Nothing was chosen" in open_page(empty, path("decision", id="none")).text


def test_a_decision_on_a_payment_shows_what_it_cost(empty, open_page):
    decision = made("d", "m1", AT, ("gold/1",), surface="payments", subject="i1")
    tried = {"member_id": "m1", "invoice_id": "i1", "instrument_id": "c1", "processor": "gold"}
    told = {"attempt_id": "a", "decision_id": "d", "at": AT, **tried}
    append(empty, "decisions", [decision], AT)
    append(
        empty,
        "attempts",
        [
            Attempt(status="sent", amount=123_456, currency="EUR", **told),
            Attempt(status="approved", amount=123_456, currency="JPY", fee=40, penalty=2, **told),
        ],
        AT,
    )
    page = open_page(empty, path("decision", id="d"))
    assert "1,234.56 EUR" in page.text
    assert "123,456 JPY" in page.text
    assert "42 JPY" in page.text
    assert "For i1" in page.text


def test_a_choice_of_a_picture_leads_to_its_title(empty, open_page):
    decision = made("d", "m1", AT, ("p1",), surface="artwork", subject="a/b & c")
    append(empty, "decisions", [decision], AT)
    page = open_page(empty, path("decision", id="d"))
    assert page.to("/desk/title") == [{"id": "a/b & c"}]
    assert "a/b &amp; c" in open_page(empty, "/desk/log").html


def test_no_id_of_a_log_is_markup(empty, open_page):
    odd = made(
        ODD, ODD, AT, (ODD,), surface="titles", policy=ODD, arm=ODD, subject=ODD, row=ODD,
        context={ODD: [ODD], "country": ODD},
    )  # fmt: skip
    append(empty, "decisions", [odd], AT)
    (asked,) = open_page(empty, "/desk/log").to("/desk/decision")
    assert asked == {"id": ODD, "member": ODD}
    page = open_page(empty, path("decision", **asked))
    assert page.to("/desk/member") == [{"id": ODD}]
    assert "cannot be rebuilt: the log does not have what it was chosen from" in page.text


def test_the_same_stands_in_json(decided, app):
    service, decisions = decided
    mine = decisions[0]
    log = asyncio.run(_ask(app(service), "/v1/desk/log?member=" + mine.member_id)).json()
    assert mine.decision_id in {each["decision_id"] for each in log["made"]}
    assert log["asked"]["member"] == mine.member_id
    assert log["total"] == 2
    address = f"/v1/desk/decision?id={mine.decision_id}&member={mine.member_id}"
    told = asyncio.run(_ask(app(service), address)).json()
    assert told["record"]["propensities"] == mine.propensities
    assert msgspec.convert(told["record"]["at"], datetime) == mine.at
    assert told["alternatives"]["candidates"] == 120
    assert told["rebuilt"]["agrees"] is True
    with pytest.raises(MatineeError, match="there is no decision"):
        asyncio.run(_ask(app(service), "/v1/desk/decision?id=none"))


def test_it_is_shown_in_the_words_of_its_kind(empty, open_page):
    one = made("d", "m1", AT, ("heat", "up"), propensities=[0.125], propensity_kind="joint")
    append(empty, "decisions", [one], AT)
    page = open_page(empty, path("decision", id="d"))
    assert "12.5% for the whole list" in page.text
