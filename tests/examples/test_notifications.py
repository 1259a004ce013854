"""A surface from outside the package goes round the loop: log, train, evaluate, gate, serve."""

import ast
import asyncio
import shutil
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import numpy as np
import polars as pl
import pytest

import matinee
from matinee.api.app import Api
from matinee.api.guard import Limits
from matinee.cli import run
from matinee.lake.records import Decision, Eligible, Event, Member
from matinee.lake.rows import frame_of_records
from matinee.lake.schemas import SCHEMAS
from matinee.service.folder import Service
from matinee.service.outcomes import close_windows
from matinee.service.runtime import Runtime
from matinee.surfaces import SURFACES, Request
from matinee.testing import SurfaceConformance

EXAMPLE = Path(__file__).parents[2] / "examples" / "notifications.py"
MIDNIGHT = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
START = MIDNIGHT - timedelta(days=9)
DAY = timedelta(days=1)
OPENED = {
    ("NL", "new-season"): 0.6,
    ("NL", "unfinished"): 0.1,
    ("US", "new-season"): 0.1,
    ("US", "unfinished"): 0.6,
}
"""How likely a member opens a message: what the platform has to find out."""
MEMBERS = 2_000


@pytest.fixture(scope="module")
def service(tmp_path_factory, own_surfaces):
    """A service that sent messages by a policy that knew nothing, and learned from four days."""
    folder = tmp_path_factory.mktemp("notes") / "shows"
    Service.create(folder, {"service.extensions": ["notifications"]}).close()
    shutil.copy(EXAMPLE, folder)
    (folder / "salt").write_bytes(bytes(32))  # the same draws in each run
    members = [
        Member(member_id=f"m{number}", country=("NL", "US")[number % 2])
        for number in range(MEMBERS)
    ]
    with Service.open(folder) as opened:
        append(opened, "members", members, START)
        command(folder, "train", "notifications", "--as-of", START.isoformat())
        command(folder, "promote", "notifications@1", "--reason", "nothing is known yet")
        for day in range(1, 5):
            visit(opened, members, START + day * DAY, seed=day)
        close_windows(opened)
        command(folder, "train", "notifications", "--as-of", (START + 5.5 * DAY).isoformat())
        for day in range(6, 8):
            visit(opened, members, START + day * DAY, seed=day)
        close_windows(opened)
        yield opened


def command(folder, *words):
    assert run([*words, "--service", str(folder)]) == 0


def append(service, table, records, known):
    frame = frame_of_records(records, SCHEMAS[table], known)
    added = service.lake.append(table, frame, source="test")
    assert added.rejected == 0


def visit(service, members, day, seed):
    """Every member is decided for in the morning, and opens what the world says."""
    chance, at = np.random.default_rng(seed), day + timedelta(hours=9)
    with Runtime(service) as runtime:
        decider = runtime.champion("notifications")
        requests = [
            Request(request_id=f"day {seed}", member_id=member.member_id, at=at)
            for member in members
        ]
        decisions = [decider.propose(runtime.located(request)) for request in requests]
        sets = [one for one in decider.records(decisions) if isinstance(one, Eligible)]
    opens = [
        Event(
            event_id=decision.decision_id,
            member_id=decision.member_id,
            kind="click",
            ts=at + timedelta(hours=1),
            decision_id=decision.decision_id,
        )
        for member, decision in zip(members, decisions, strict=True)
        if chance.random() < OPENED.get((member.country, decision.actions[0]), 0.0)
    ]
    append(service, "eligible", sets, at)
    append(service, "decisions", decisions, "at")
    append(service, "events", opens, "ts")


def test_it_is_short_and_imports_public_names_alone():
    text = EXAMPLE.read_text()
    assert len(text.splitlines()) <= 40
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module.startswith(matinee.__name__):
            room = sys.modules[node.module]
            assert {name.name for name in node.names} <= set(room.__all__)
        if isinstance(node, ast.Attribute):
            assert not node.attr.startswith("_")


class TestConformance(SurfaceConformance):
    @pytest.fixture(autouse=True)
    def _made(self, service):
        """The module was imported with the service."""

    def make(self):
        return SURFACES["notifications"]()

    def succeed(self, decision):
        return [
            Event(
                event_id="e",
                member_id=decision.member_id,
                kind="click",
                ts=decision.at,
                decision_id=decision.decision_id,
            )
        ]


def test_sending_costs_and_an_opened_message_earns(service):
    outcomes = service.lake.scan("outcomes").collect()
    none = outcomes.filter(pl.col("action") == "none")["reward"]
    sent = outcomes.filter(pl.col("action") != "none")["reward"]
    assert outcomes.height == 6 * MEMBERS
    assert none.unique().to_list() == [0.0]
    assert sent.round(6).unique().sort().to_list() == [-0.1, 0.9]


def test_the_model_learned_what_each_country_opens(service):
    model, _ = service.registry.load("notifications@2")
    with Runtime(service) as runtime:
        decider = runtime.decider("notifications@2")
        for member, best in (("m0", "new-season"), ("m1", "unfinished")):
            request = Request(request_id="any", member_id=member, at=datetime.now(UTC))
            decision = decider.propose(runtime.located(request))
            ids = SURFACES["notifications"].messages.ids
            assert ids[decision.segment[0]] == best
            assert decision.scores[0] == pytest.approx(0.5, abs=0.1)
    assert model.settings()["by"] == ["country", "device"]


def asked(api, body):
    async def post():
        transport = httpx.ASGITransport(api.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.post("/v1/decide/notifications", json=body)

    return asyncio.run(post()).json()


def test_it_passes_the_gate_is_approved_and_served_with_its_cap(service, capsys):
    folder = service.folder
    command(folder, "evaluate", "notifications", "--candidate", "notifications@2")
    printed = capsys.readouterr()
    assert "notifications@2 against notifications@1: passes" in printed.err
    command(folder, "approve", "notifications@2", "--reason", "it earns more")
    with Runtime(service) as runtime:
        api = Api(runtime, Limits())
        answers = [
            asked(api, {"request_id": f"r{number}", "member_id": "m1", "country": "US"})
            for number in range(20)
        ]
    assert {answer["policy"] for answer in answers} == {"notifications@2"}
    sent = [answer for answer in answers if answer["actions"] != ["none"]]
    assert len(sent) == 1
    capped = answers[answers.index(sent[0]) + 1 :]
    assert {tuple(answer["propensities"]) for answer in capped} == {(1.0,)}
    masks = service.lake.scan("decisions").filter(pl.col("request_id") == "r19").collect()["masks"]
    assert "no more than 1 a day" in masks[0]


def test_another_process_learns_what_was_sent(service):
    """The cap holds for a server that starts later: it reads what was decided from the lake."""
    at = datetime.now(UTC)
    with Runtime(service) as first:
        sent = None
        for number in range(20):
            request = Request(request_id=f"s{number}", member_id="m3", at=at, country="US")
            sent = first.decide("notifications", request)
            if sent.actions != ["none"]:
                break
        assert isinstance(sent, Decision)
        assert sent.actions != ["none"]
    with Runtime(service) as second:
        later = Request(request_id="later", member_id="m3", at=at, country="US")
        assert second.decide("notifications", later).actions == ["none"]


def test_what_the_command_line_says_of_a_surface_without_held_out_views(service, capsys):
    assert run(["evaluate", "notifications", "--service", str(service.folder)]) != 0
    assert "next: matinee train notifications" in capsys.readouterr().err  # @2 is the champion
    assert run(["train", "nothing", "--service", str(service.folder)]) != 0
    assert "this service has artwork, notifications, payments, titles" in capsys.readouterr().err
    words = ["train", "notifications", "--policy", "greedy", "--service", str(service.folder)]
    assert run(words) != 0
    assert "'explore'" in capsys.readouterr().err
