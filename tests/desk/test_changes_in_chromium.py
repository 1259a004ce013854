"""Changes by hand as a person makes them in a browser, from the click to what members then get."""

import json
import shutil
import urllib.request
from datetime import UTC, datetime

import pytest
from chromium import fits, in_chromium, opened, serving

from matinee.evaluation.gate import Verdict
from matinee.evaluation.intervals.base import Interval
from matinee.registry import Approvals, against_champion
from matinee.service.folder import Service
from waiting import eventually

pytestmark = in_chromium
PASS = Verdict(
    "passes", ("it earns more",), (), 0.03, 90, 40.0, 0.0, Interval(0.03, 0.01, 0.05, 0.97, "n")
)


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made, tmp_path / "shows")


@pytest.fixture
def site(folder):
    """A server of its own for each test: they change who decides."""
    with serving(folder) as address:
        yield address


@pytest.fixture(params=[("desktop", "light"), ("phone", "dark")])
def page(request, browser, site):
    """As for other pages, but at two of the four looks: each test has a server of its own."""
    with opened(browser, site, *request.param) as page:
        yield page


def candidate(folder) -> tuple[str, str]:
    """The champion, and a version that passed the gate against it."""
    with Service.open(folder) as service:
        champion = service.registry.alias("titles", "champion").id
        (other, *_) = [v.id for v in service.registry.versions("titles") if v.id != champion]
        Approvals(service.registry).record_verdict(
            "titles", other, PASS, champion=champion, turn=1, anytime=True, by="ann"
        )
    return champion, other


def decides(site, request_id: str) -> str:
    """The policy of a decision that is asked for now."""
    body = json.dumps({"request_id": request_id, "member_id": "m00001"}).encode()
    asked = urllib.request.Request(  # noqa: S310 - our own server
        f"{site}/v1/decide/titles", body, {"content-type": "application/json"}
    )
    with urllib.request.urlopen(asked) as answer:  # noqa: S310
        return json.load(answer)["policy"]


def served(site, version: str) -> bool:
    numbers = iter(range(10_000))
    return eventually(lambda: decides(site, f"{version}-{next(numbers)}") == version)


def history(folder) -> list[tuple[str, str]]:
    with Service.open(folder) as service:
        return [(one.action, one.reason) for one in service.registry.history("titles")]


def test_an_approval_from_the_click_to_changed_traffic_and_back(page, folder, site):
    champion, other = candidate(folder)
    assert decides(site, "before") == champion
    page.goto("/desk/surface?name=titles")
    assert fits(page)
    page.get_by_role("link", name="Approve").click()
    assert "Where it passed the gate" in page.inner_text("main")
    assert "it earns more" in page.inner_text("main")
    assert fits(page)
    page.get_by_role("button", name="Approve").click()  # the browser asks for a reason first
    assert "/desk/change" in page.url
    page.get_by_label("Why").fill("more plays <b>& more</b>")
    page.get_by_role("button", name="Approve").click()
    page.wait_for_url("**/desk/surface?name=titles*")
    assert "Done: approve" in page.get_by_role("status").inner_text()
    assert "more plays <b>& more</b>" in page.inner_text("main")
    assert served(site, other)
    assert history(folder)[-1] == ("approve", "more plays <b>& more</b>")

    page.get_by_role("link", name="Roll back").click()
    page.get_by_label("Why").fill("complaints")
    page.get_by_role("button", name="Roll back").click()
    page.wait_for_url("**/desk/surface?name=titles*")
    assert served(site, champion)
    assert history(folder)[-1] == ("roll_back", "complaints")


def test_an_experiment_from_its_start_to_the_kill_switch_and_its_end(page, folder, site):
    page.goto("/desk/surface?name=titles")
    page.get_by_role("link", name="Try in an experiment").first.click()
    page.get_by_label("Share of the members").fill("0.5")
    page.get_by_label("Why").fill("what would it bring?")
    page.get_by_role("button", name="Try in an experiment").click()
    page.wait_for_url("**/desk/surface?name=titles*")
    with Service.open(folder) as service:
        (one,) = service.trials.plan().experiments
    page.get_by_role("link", name="Halt all experiments").click()
    page.get_by_label("Why").fill("complaints")
    page.get_by_role("button", name="Halt all experiments").click()
    page.wait_for_url("**/desk/surface?name=titles*")
    page.goto(f"/desk/experiment?name={one.name}")
    assert "halted: complaints" in page.inner_text("h1")
    for label in ("Resume", "Halt", "End"):
        page.get_by_role("link", name=label, exact=True).click()
        page.get_by_label("Why").fill(f"{label}: because")
        page.get_by_role("button", name=label, exact=True).click()
        page.wait_for_url("**/desk/experiment?name=*")
    with Service.open(folder) as service:
        steps = [step.action for step in service.trials.history(one.name, readings=False)]
    assert steps == ["start", "halt", "resume", "halt", "end"]


def test_whoever_may_only_look_has_no_buttons_and_signs_in_and_out(page, folder, site):
    candidate(folder)
    with Service.open(folder) as service:
        token = service.people.grant("eve", "viewer", by="root", reason="to look")
    assert eventually(lambda: page.goto("/desk/surface?name=titles").url.find("/sign-in") > 0)
    assert fits(page)
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/desk/surface?name=titles")
    assert page.get_by_role("link", name="Approve").count() == 0
    page.goto("/desk/change?action=approve&about=titles@2")
    assert page.get_by_role("button", name="Approve").count() == 0
    assert "needs the role approver" in page.inner_text("main")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in")
    page.goto("/desk/surface?name=titles")
    assert "/sign-in" in page.url


def test_a_won_experiment_becomes_the_champion(page, folder, site):
    champion, other = candidate(folder)
    with Service.open(folder) as service:
        service.trials.start(against_champion("fresh", "titles", other), "ann", "a look")
        reasons = ["the treatment is better"]
        service.trials.read("fresh", "better", "ann", champion=champion, reasons=reasons)
    assert eventually(lambda: page.goto("/desk/experiment?name=fresh").status == 200)
    page.get_by_role("link", name="Make it the champion").click()
    assert "the treatment is better" in page.inner_text("main")
    page.get_by_label("Why").fill("more plays")
    page.get_by_role("button", name="Make it the champion").click()
    page.wait_for_url("**/desk/experiment?name=fresh*")
    assert "over since" in page.inner_text("h1")
    assert served(site, other)
    assert history(folder)[-1] == ("approve", "it won the experiment fresh: more plays")


def test_the_first_champion_of_a_surface_is_promoted_from_today(page, folder, site):
    with Service.open(folder) as service:
        model, policy = service.surface("payments").fallback()
        made = {"data_as_of": datetime.now(UTC), "settings": {}, "metrics": {}, "by": "ann"}
        version = service.registry.register("payments", model, policy, **made).id
    assert eventually(
        lambda: page.goto("/desk") and page.get_by_role("link", name="Promote").count()
    )
    page.get_by_role("link", name="Promote").click()
    page.get_by_label("Why").fill("the schedule, as a version")
    page.get_by_role("button", name="Promote").click()
    page.wait_for_url("**/desk/surface?name=payments*")
    with Service.open(folder) as service:
        assert service.registry.alias("payments", "champion").id == version
