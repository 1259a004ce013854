"""Versions on payments are held against each other on the champion's own log."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from matinee.lake.records import Decision
from matinee.lake.rows import frame_of_records, records_of
from matinee.lake.schemas import SCHEMAS
from matinee.service import training
from matinee.service.folder import Service
from matinee.service.judging import judge
from matinee.service.outcomes import close_windows
from matinee.world.payments import PaymentsWorld
from matinee.world.payments_settings import PaymentsSettings
from matinee.world.recovery import Step, run
from renewing import Deciding

START = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=150)
APART = timedelta(days=75)
STILL = {"surfaces.payments.gamma": 1e9, "surfaces.payments.epsilon": 0.0}


class Days:
    """A day and another processor for each attempt, whatever was said."""

    def next(self, invoice, tried, now, rng):
        by = ["alder", "birch"][len(tried) % 2]
        return Step(now + timedelta(days=1), by) if len(tried) < 4 else None

    def saw(self, attempt):
        pass


def written(service, name, rows, known):
    service.lake.append(name, frame_of_records(rows, SCHEMAS[name], known), source="test")


def world_at(service, start):
    """Some weeks of one service, whose invoices are in the lake."""
    world = PaymentsWorld(
        PaymentsSettings(members=500, days=20, start=start, countries=(("NL", 1.0),))
    )
    for name, rows in (
        ("processors", world.processors()),
        ("invoices", world.invoices()),
        ("instruments", world.instruments()),
    ):
        written(service, name, rows, start)
    return world


def judged(folder: Path, settings):
    """A candidate held against the champion, its decisions and what they brought."""
    with Service.create(folder, settings) as service:
        first = run(world_at(service, START), Days(), most=4)
        rows = frame_of_records(attempts(first), SCHEMAS["attempts"], "at")
        service.lake.append("attempts", rows, source="test")
        champion, candidate = (
            training.train(service, [name], surface="payments", as_of=START + APART, by="test")[
                0
            ].id
            for name in ("recovery", "cascade")
        )
        service.registry.promote("payments", champion, by="test", reason="")
        world = world_at(service, START + APART)
        deciding = Deciding(service, champion)
        done = run(world, deciding, most=4)
        written(service, "attempts", attempts(done), "at")
        both = deciding.decider.records(deciding.log)
        written(service, "eligible", [o for o in both if not isinstance(o, Decision)], START)
        written(service, "decisions", deciding.log, "at")
        close_windows(service, only="payments")
        outcomes = service.lake.scan("outcomes").collect()
        return judge(service, candidate, by="test"), deciding.log, outcomes


def attempts(done):
    return records_of(done.attempts, SCHEMAS["attempts"])


@pytest.fixture(scope="module")
def exploring(tmp_path_factory):
    return judged(tmp_path_factory.mktemp("gate") / "shows", {})


def test_all_that_the_champion_decided_counts_with_what_the_invoice_brought(exploring):
    found, log, outcomes = exploring
    chosen = [one for one in log if one.actions]
    assert found.diagnostics.support.decisions == len(chosen) == outcomes.height
    rewards = dict(zip(outcomes["decision_id"], outcomes["reward"], strict=True))
    assert set(rewards) == {one.decision_id for one in chosen}
    assert max(rewards.values()) > 5.0  # EUR: a renewal was recovered
    assert found.diagnostics.closed.all


def test_without_exploration_the_gate_says_what_the_log_could_not_show(tmp_path):
    found, *_ = judged(tmp_path / "shows", {**STILL})
    assert found.verdict.outcome == "insufficient support"
    assert any("never possible" in reason for reason in found.verdict.reasons)
