"""The page Today says what waits, what is unwell, what was earned and what exploring cost."""

import asyncio
import json
import re
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from chromium import fits, in_chromium, serving

from matinee.desk.rendering import templates
from matinee.desk.today import (
    Unit,
    amount,
    card,
    each,
    explained,
    headline,
    shown,
    today_view,
    unit_of,
)
from matinee.evaluation.intervals.base import Interval
from matinee.insights.bought import Bought, Promotion
from matinee.insights.earned import Beside, Earned, Measured, Standing, Valued
from matinee.insights.exploration import Explored
from matinee.insights.notes import Note
from matinee.insights.spent import Spent
from matinee.insights.today import Today
from matinee.lake.records import Event
from matinee.registry import Approvals, against_champion
from matinee.service.folder import Service

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
STRANGE = '<script>alert("x")</script> & \'é'
INF, NAN = float("inf"), float("nan")
HOURS = unit_of("titles", "minutes", None)


def interval(value, low, high):
    return Interval(value, low, high, 0.95, "n")


def beside(name="before", *, value=6.0, low=-1.2, high=13.2, decisions=1_200):
    """A holdout of a hundred members, beside decisions in minutes."""
    ends = (value, low, high)
    total = interval(*(decisions * end for end in ends))
    return Beside(name, 100, 20.0, decisions, interval(*ends), total)


def earned(*besides, decisions=1_500, value=25.0):
    return Earned(decisions, value, decisions * value, besides)


def today_of(*standings, waiting=(), unwell=(), explored=()):
    return Today(AT, "EUR", standings, waiting, unwell, explored)


def drawn(found):
    """The page of what was found."""
    html = templates().get_template("today.html")
    return html.render(service="Shows", simulated=False, may_change=True, **shown(found))


def test_today_of_a_service_that_lives(service, look):
    service.trials.start(against_champion("fresh <b>", "titles", "titles@1"), "ann", "")
    service.trials.halt("fresh <b>", "ann", "complaints & more")
    status, html = look(service, "/desk")
    assert status == 200
    for word in ("Waits for you", "Unwell", "What was earned", "titles@2", "Nothing closed yet"):
        assert word in html
    assert html.count("<h1") == 1
    assert "fresh &lt;b&gt;" in html
    assert "halted: complaints &amp; more" in html
    assert 'href="/desk/experiment?name=fresh+%3Cb%3E"' in html
    assert 'href="/desk/surface?name=titles"' in html
    assert "<script" not in html


def test_the_same_is_told_as_json(service, look):
    status, text = look(service, "/v1/desk")
    assert status == 200
    told = json.loads(text)
    assert {one["surface"] for one in told["standings"]} == {"titles", "artwork", "payments"}
    assert told["explored"][0]["spent"]["why"] == "no decision of it is closed yet"


def test_a_service_without_anything_has_a_page(tmp_path, look):
    status, html = look(Service.create(tmp_path / "empty"), "/desk")
    assert status == 200
    assert "Nothing was found of jobs" in html
    assert "<b>empty</b></a> nothing is known yet of titles and members" in html
    assert "<code>matinee import SOURCE</code>" in html
    assert "No champion explores yet" in html


def test_a_service_that_heard_of_plays_and_learned_nothing_says_what_to_type(tmp_path, look):
    service = Service.create(tmp_path / "heard")
    play = Event(event_id="e", member_id="m", kind="play", title_id="x", value=60.0, ts=AT)
    service.lake.put([play])
    _, html = look(service, "/desk")
    assert "nothing decides yet" in html
    assert "<code>matinee train titles</code>" in html
    assert "matinee import SOURCE" not in html


def test_a_change_is_seen_at_once(service):
    async def looked():
        read = today_view(service).read
        before = await read({})
        service.trials.start(against_champion("fresh", "titles", "titles@1"), "ann", "")
        service.trials.halt("fresh", "ann", "complaints")
        after = await read({})
        return before.unwell, after.unwell

    with service:
        before, after = asyncio.run(looked())
    assert "fresh" not in {note.about for note in before}
    assert "fresh" in {note.about for note in after}


def test_what_may_be_done_has_a_button_for_whoever_may():
    note = Note("titles@2", "it is better", "type this", "/desk/surface?name=titles")
    assert 'class="button' not in drawn(today_of(waiting=(note,)))
    html = drawn(today_of(waiting=(replace(note, change=("approve", "titles@2")),)))
    (address,) = re.findall(r'class="button[^"]*" href="([^"]+)"', html)
    assert address == "/desk/change?action=approve&amp;about=titles%402"


def test_the_week_in_one_number():
    assert headline(earned(beside()), HOURS) == (
        "No difference shown yet",
        "this week, beside the holdout before: +120 hours watched, which may be anything from −24 "
        "to +264",
        "",
    )
    assert headline(earned(beside(low=1.0)), HOURS) == (
        "About +120 hours watched",
        "this week, beside the holdout before: between +20 and +264",
        "more",
    )
    assert headline(earned(beside(value=-6.0, low=-9.0, high=-1.0)), HOURS)[2] == "less"
    few = headline(earned(beside(low=-INF, high=INF)), HOURS)
    assert few[0] == "625 hours watched"
    assert "too few members yet" in few[1]
    assert headline(Earned(0, NAN, 0.0), HOURS)[0] == "Nothing closed yet"


@pytest.mark.parametrize(
    ("value", "unit", "signed", "said"),
    [
        (0.0, Unit("", ""), True, "0"),
        (-0.001, Unit("", ""), True, "0"),
        (1_234.5, Unit("", ""), False, "1,234"),
        (-12.34, Unit("", ""), True, "−12.3"),
        (0.25, Unit("", ""), False, "0.25"),
        (100.0, Unit("", ""), True, "+100"),
        (1_200.0, Unit("", ""), False, "1,200"),
        (20.0, Unit("", ""), False, "20"),
    ],
)
def test_amounts_read_well(value, unit, signed, said):
    assert amount(value, unit, signed=signed) == said


def test_a_share_and_what_is_not_known():
    taken = unit_of("artwork", "reward", None)
    assert each(0.085, taken) == "8.5%"
    assert each(0.012, taken, signed=True) == "+1.2 points"
    assert each(NAN, taken) == "none yet"
    assert unit_of("payments", "money", None).total == "money"
    assert unit_of("notes", "reward", "EUR").total == "reward"


def test_both_kinds_of_holdout_stand_in_one_table_and_the_first_is_drawn():
    looks = tuple((AT + timedelta(days=day), interval(0.1, 0.0, 0.2)) for day in range(3))
    week = earned(beside("fixed"), beside("held for good", low=-INF, high=INF))
    measured = Measured("minutes", week, week, looks)
    found = card(Standing("titles", "titles@3", AT, (measured,)), "EUR")
    ((_, lines),) = found.tables
    assert [line.span for line in lines] == [
        "this week",
        "this week, held for good",
        "since launch",
        "since launch, held for good",
    ]
    assert lines[0].cells[0] == "1,500"
    assert lines[0].cells[-1] == "+120 (−24 to +264)"
    assert lines[1].cells[:3] == ("", "", "")
    assert lines[1].cells[-1] == "too few members yet"
    assert "Beside fixed" in found.caption
    assert found.picture.startswith("<svg")
    assert 'aria-label="from 2026-03-01 to 2026-03-03' in found.picture


def test_without_a_holdout_those_who_decided_are_drawn_whatever_they_are_called():
    arms = (Valued(STRANGE, 10, interval(0.5, 0.4, 0.6)), Valued("b", 1, interval(0.1, NAN, NAN)))
    measured = Measured("reward", Earned(11, 0.4, 4.4), Earned(11, 0.4, 4.4), (), arms)
    html = drawn(today_of(Standing(STRANGE, None, None, (measured,))))
    assert "<svg" in html
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_what_exploring_cost_and_bought_in_words():
    each_, total = interval(0.04, 0.03, 0.05), interval(80.0, 60.0, 100.0)
    promotion = Promotion("titles@3", AT, interval(0.03, 0.01, 0.05), "decision")
    got = Bought(2, 1, 1, 0, 0.29, "titles@3", 0.5, (promotion,))
    spent = Spent("titles@2", 2_000, 1_500, 900.0, each_, total)
    found = explained(Explored("titles", spent, got, AT), None)
    assert found["gain"] == "Cost about 80 plays that count"
    assert "+80 plays that count more (+60 to +100)" in found["said"]
    assert "2,000 decisions" in found["said"]
    told = " ".join(found["bought"])
    for said in (
        "29% of the log",
        "2 candidates were judged",
        "Of the verdicts 1 passed, 1 failed",
        "titles@3",
    ):
        assert said in told
    assert "measured to bring +0.03 (+0.01 to +0.05) plays a decision more" in told


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ((-80.0, -100.0, -60.0), "Brought about 80 plays that count"),
        ((10.0, -5.0, 25.0), "No cost shown yet"),
    ],
)
def test_drawing_that_costs_nothing_is_not_called_a_cost(ends, said):
    spent = Spent("titles@2", 2_000, 1_500, 900.0, interval(*ends), interval(*ends))
    found = explained(Explored("titles", spent, Bought(0, 0, 0, 0, NAN, None, NAN, ()), AT), None)
    assert found["gain"] == said


def test_without_support_there_is_no_number():
    spent = Spent("titles@2", 20, 20, 3.0, None, None, "insufficient support: 3")
    html = drawn(
        today_of(explored=(Explored("titles", spent, Bought(0, 0, 0, 0, NAN, None, NAN, ()), AT),))
    )
    assert "No number" in html
    assert "insufficient support: 3" in html
    assert "nan" not in html


def test_what_takes_long_is_told_with_the_time_at_which_it_was_known():
    spent = Spent("titles@2", 20, 20, 3.0, None, None, "insufficient support: 3")
    got = Bought(0, 0, 0, 0, NAN, None, NAN, ())
    html = drawn(today_of(explored=(Explored("titles", spent, got, AT - timedelta(hours=9)),)))
    assert f"as known at {AT:%Y-%m-%d %H:%M} UTC" in html
    assert f"as it was known at {AT - timedelta(hours=9):%Y-%m-%d %H:%M} UTC" in html


def test_while_it_is_worked_out_the_page_says_so_and_looks_again():
    html = drawn(today_of(explored=None))
    assert "It is being worked out" in html
    assert '<meta http-equiv="refresh"' in html
    assert "It is being worked out" not in drawn(today_of(explored=()))


def test_the_page_after_an_approval_says_who_decides(service, look):
    Approvals(service.registry).override("titles", "titles@1", "ann", "it is urgent")
    _, html = look(service, "/desk")
    assert "titles@1" in html


@pytest.fixture(scope="module")
def site(made, tmp_path_factory):
    folder = shutil.copytree(made, tmp_path_factory.mktemp("today") / "shows")
    with Service.open(folder) as service:
        service.trials.start(against_champion("fresh" * 20, "titles", "titles@1"), "ann", "")
        service.trials.halt("fresh" * 20, "ann", "complaints " * 30)
    with serving(folder) as address:
        yield address


@in_chromium[0]
@in_chromium[1]
def test_it_fits_a_phone_and_a_desk(page):
    page.goto("/desk")
    page.wait_for_selector(".standings")
    assert fits(page)
    assert page.locator("h1").count() == 1
    assert page.locator(".notes a").first.get_attribute("href").startswith("/desk/")
