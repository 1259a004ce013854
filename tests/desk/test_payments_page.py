"""The page of payments says how they went, or what to report; and so does its JSON."""

import asyncio
import json
import re
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import HTMLResponse

from matinee.desk.processing import lasting, page, payments_view
from matinee.desk.rendering import templates
from matinee.insights.processing import processing
from matinee.lake.billing import Attempt, Invoice, Outage
from matinee.lake.records import Decision, Masked
from matinee.service.folder import Service

NOW = datetime.now(UTC)
DUE = NOW - timedelta(days=20)
HOSTILE = "<script>alert(1)</script>\"'&"
SECTIONS = ("From due to paid", "Processors over time", "Failed renewals", "Rules that bit")


@pytest.fixture
def service(tmp_path):
    with Service.create(tmp_path / "shows", {"lake.buckets": 2}) as service:
        yield service


def get(service, path):
    """The page, or what stands at a path below it, as served by the view alone."""

    def render(_, template, status=200, **values):
        html = templates().get_template(template)
        return HTMLResponse(html.render(service="shows", simulated=False, **values), status)

    async def ask():
        app = Starlette(routes=payments_view(service).routes(render))
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            for _ in range(20):  # it waits for two seconds each
                answer = await client.get(path)
                if answer.status_code != 503 and "being read" not in answer.text:
                    break
            return answer

    return asyncio.run(ask())


def attempt(number, name, days, status, processor="gold", **more):
    return Attempt(
        attempt_id=name,
        member_id=f"m{number}",
        invoice_id=f"i{number}",
        instrument_id="c1",
        processor=processor,
        status=status,
        at=DUE + timedelta(days=days),
        amount=1000,
        currency="EUR",
        **more,
    )


def invoice(number):
    return Invoice(
        invoice_id=f"i{number}",
        member_id=f"m{number}",
        amount=1000,
        currency="EUR",
        due_at=DUE,
        grace_until=DUE + timedelta(days=28),
        instruments=["c1"],
    )


def fill(service, processor="gold", said="gold fails of late"):
    """Of four renewals two are approved, one is recovered a day later, one was not tried."""
    service.lake.put(
        [
            *map(invoice, range(1, 5)),
            attempt(1, "a1", 0, "approved", processor),
            attempt(2, "a2", 0, "approved", processor),
            attempt(3, "a3", 0, "declined", processor, code="51"),
            attempt(3, "a4", 4, "approved", processor, fee=10),
            Outage(
                processor=processor,
                starts_at=DUE + timedelta(days=1),
                ends_at=DUE + timedelta(days=2),
                source=said,
            ),
            Decision(
                decision_id="d1",
                request_id="r1",
                surface="payments",
                member_id="m3",
                at=DUE + timedelta(days=1, hours=1),
                policy="payments@1",
                actions=[f"{processor}/1"],
                propensities=[1.0],
                propensity_kind="joint",
                eligible="all",
                removed=[],
                segment=[],
                scores=[],
                seed=1,
                masks=[Masked("down", said, 3)],
            ),
        ]
    )


def test_the_page_tells_all_of_it(service):
    fill(service)
    answer = get(service, "/desk/payments")
    assert answer.status_code == 200
    html = answer.text
    assert html.count("<h1") == 1
    for title in SECTIONS:
        assert title in html
    words = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", html))
    assert "First attempt made 3 (money 30.00), 75.0 % of those due" in words
    assert "Recovered within 10 days 1 (money 10.00), 100.0 % of those tried again" in words
    assert (
        "Recovered in 10 days is of those that were due ten days ago or earlier; recovered,"
        in words
    )
    assert "down gold fails of late. A processor whose latest answers failed" in words
    assert "reported: gold fails of late" in words
    assert 'aria-label="share from' in html
    assert 'href="/desk/log?surface=payments"' in html


def test_the_page_of_a_service_without_payments_says_what_to_report(service):
    answer = get(service, "/desk/payments")
    assert answer.status_code == 200
    assert answer.text.count("<h1") == 1
    assert "What to report" in answer.text
    assert "POST /v1/payments" in answer.text
    assert "<svg" not in answer.text
    assert get(service, "/v1/desk/payments").json()["invoices"] == 0


def test_where_a_currency_has_no_rate_the_page_says_what_to_add(service):
    yen = Invoice(
        invoice_id="i9",
        member_id="m9",
        amount=1000,
        currency="JPY",
        due_at=DUE,
        grace_until=DUE + timedelta(days=28),
        instruments=["c1"],
    )
    service.lake.put([invoice(1), yen])
    answer = get(service, "/desk/payments")
    assert answer.status_code == 404
    assert "surfaces.payments.rates" in answer.text


def test_the_json_has_the_same_numbers_and_null_for_what_is_not_known(service):
    fill(service)
    told = get(service, "/v1/desk/payments").json()
    steps = {one["name"]: one for one in told["funnel"]}
    assert (steps["due"]["count"], steps["due"]["share"]) == (4, None)
    assert (steps["tried"]["count"], steps["tried"]["share"]) == (3, 0.75)
    (gold,) = told["processors"]
    assert (gold["name"], gold["whole"]["attempts"], len(gold["spans"])) == ("gold", 4, 2)
    assert told["rules"]["bit"][0]["ever"] == {"decisions": 1, "actions": 3}
    assert told["outages"][0]["routes"] == {"gold": 1}


def test_what_others_named_is_escaped(service):
    fill(service, processor=HOSTILE, said=HOSTILE)
    html = get(service, "/desk/payments").text
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)" in html
    json.loads(get(service, "/v1/desk/payments").text)


def test_long_names_and_an_outage_without_an_attempt_do_no_harm(service):
    service.lake.put([Outage(processor="x" * 200, starts_at=NOW - timedelta(hours=1))])
    html = get(service, "/desk/payments").text
    assert "x" * 200 in html
    assert "What to report" not in html
    assert "lasts" in html


def test_the_report_stands_alone_with_all_parts(service):
    fill(service)
    html = page(processing(service), "shows", simulated=False)
    for title in SECTIONS:
        assert title in html
    assert "stylesheet" not in html
    assert "/desk/" not in html
    assert html.count("<svg") == 1  # the only processor: no interval is to be had of one renewal


@pytest.mark.parametrize(("seconds", "words"), [(0.0, "0 s"), (3_661.4, "1 h"), (None, "not told")])
def test_how_long_it_took(seconds, words):
    assert lasting(seconds) == words
