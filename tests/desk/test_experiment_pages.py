"""The pages of experiments: all of them, and one with what was done to it."""

import asyncio
import re
from datetime import UTC, datetime
from threading import Event

import httpx
import msgspec
from starlette.applications import Starlette

from matinee.desk.pages import pages
from matinee.experiments.plan import Arm, Experiment
from matinee.registry import against_champion
from matinee.service.folder import Service
from matinee.service.readings import read
from matinee.service.runtime import Runtime


def started(service: Service) -> Service:
    service.trials.start(against_champion("fresh <b>", "titles", "titles@1"), "ann", "a look")
    service.trials.halt("fresh <b>", "bob", "complaints & more")
    return service


def test_without_experiments_the_page_says_what_to_type(service, look):
    status, html = look(service, "/desk/experiments")
    assert status == 200
    assert "matinee experiments start" in html


def test_all_experiments_with_their_state(service, look):
    status, html = look(started(service), "/desk/experiments")
    assert status == 200
    assert "fresh &lt;b&gt;" in html
    assert "halted: complaints &amp; more" in html
    assert 'href="/desk/experiment?name=fresh%20%3Cb%3E"' in html


def test_one_experiment_says_what_it_shows_and_who_did_what(service, look):
    status, html = look(started(service), "/desk/experiment?name=fresh%20%3Cb%3E")
    assert status == 200
    assert "nothing shown yet" in html
    assert "resume it, or end it" in html
    assert "let it run" not in html  # it is halted
    for word in ("ann", "start", "a look", "bob", "halt", "titles@1", "control", "treatment"):
        assert word in html
    assert "<b>" not in html.replace("<b>Mat", "")


def test_one_that_there_is_not_is_not_found(service, look):
    status, html = look(service, "/desk/experiment?name=none")
    assert status == 404
    assert "there is no experiment" in html


def of_three(service: Service) -> Service:
    """An experiment of two treatments, without members."""
    arms = (
        Arm(name="control", share=0.5, serves="champion"),
        Arm(name="this <i>", share=0.25, serves="titles@1"),
        Arm(name="that", share=0.25, serves="titles@2"),
    )
    one = Experiment(
        name="three",
        surface="titles",
        layer="titles",
        slice=(0.0, 1.0),
        start=datetime.now(UTC),
        arms=arms,
    )
    service.trials.start(one, "ann", "a look")
    return service


def headings(html: str) -> list[str]:
    return re.findall(r"<h[12]>(.*?)(?: <small>.*?)?</h[12]>", html)


def test_sections_stand_in_one_order(service, look):
    _, html = look(started(service), "/desk/experiment?name=fresh%20%3Cb%3E")
    assert headings(html) == [
        "fresh &lt;b&gt;",
        "What to do",
        "Who is in it",
        "What came of it",
        "What else came of it",
        "Guardrails",
        "What was done",
    ]
    assert html.count("too few members yet") >= 5
    assert not re.search(r"\b(nan|inf)\b", html)
    assert "http-equiv" not in html


def test_each_treatment_of_several_has_its_lines(service, look):
    status, html = look(of_three(service), "/desk/experiment?name=three")
    assert status == 200
    for arm in ("this &lt;i&gt;", "that"):
        for metric in ("reward", "minutes watched", "reward a decision", "median minutes watched"):
            assert f'<th scope="row">{arm}: {metric}</th>' in html
    assert "each at 98.75 %" in html  # two treatments of two metrics each share 5 %
    assert "this <i>" not in html


def test_the_json_tells_of_treatments_and_guardrails(service, look):
    _, told = look(of_three(service), "/v1/desk/experiment?name=three")
    found = msgspec.json.decode(told)
    assert found["recorded"] is False
    first, second = found["reading"]["treatments"]
    assert (first["arm"], second["arm"]) == ("this <i>", "that")
    (reward, minutes) = first["guardrails"]
    assert (reward["metric"], reward["tolerance"], reward["state"]) == ("reward", 0.02, "open")
    assert minutes["metric"] == "minutes watched"


def test_while_the_log_is_read_the_page_shows_what_stands_on_record(service, look, monkeypatch):
    read(started(service), "fresh <b>").remember(service, by="ann")
    at_hand = Event()

    def slow(service, name):
        assert at_hand.wait(30)
        return read(service, name)

    monkeypatch.setattr("matinee.desk.experiments.read", slow)
    with service, Runtime(service) as runtime:
        first, later = asyncio.run(twice(Starlette(routes=pages(runtime)), at_hand))
    assert "As it was read on" in first
    assert '<meta http-equiv="refresh"' in first
    for word in ("nothing shown yet", "halted: complaints", "Guardrails", "bob"):
        assert word in first
    assert "As it was read on" not in later
    assert "nothing shown yet" in later


async def twice(app: Starlette, at_hand: Event) -> tuple[str, str]:
    """The page while the log is being read, and as soon as it has been."""
    here = "/desk/experiment?name=fresh%20%3Cb%3E"
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        try:
            first = (await client.get(here)).text
        finally:
            at_hand.set()
        for _ in range(100):
            later = (await client.get(here)).text
            if "As it was read on" not in later:
                break
    return first, later
