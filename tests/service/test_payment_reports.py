"""What is new in reports of payments, against a reader of the whole history."""

from datetime import UTC, datetime, timedelta
from itertools import count

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from matinee.lake.billing import STATUSES, Attempt, Instrument, Invoice, Outage, Processor
from matinee.lake.records import Decision
from matinee.service import reports as reports_module
from matinee.service.folder import Service
from matinee.service.reports import Reports

NOW = datetime.now(UTC) - timedelta(hours=1)
ORDER = list(STATUSES)
FRESH = count()
TWO_BATCHES = {"suppress_health_check": [HealthCheck.function_scoped_fixture], "deadline": None}


@pytest.fixture
def service(tmp_path):
    with Service.create(tmp_path / "shows") as service:
        yield service


@pytest.fixture
def reports(service):
    return Reports(service)


def attempt(status="sent", attempt_id="a1", **more):
    told = {
        "member_id": "ann", "invoice_id": "i1", "instrument_id": "c1", "processor": "gold",
        "at": NOW, "amount": 999, "currency": "EUR",
    }  # fmt: skip
    return Attempt(attempt_id=attempt_id, status=status, **{**told, **more})


def decision(name, at=NOW, surface="payments"):
    return Decision(
        decision_id=name, request_id=name, surface=surface, member_id="ann", at=at,
        policy="payments@1", actions=["gold/1"], propensities=[1.0], propensity_kind="joint",
        eligible="e", removed=[], segment=[], scores=[], seed=1,
    )  # fmt: skip


def kept(service, reports, rows):
    """Judge rows and write those that are new, as the API does."""
    judged = reports.judge(rows)
    service.lake.put([one.row for one in judged if not (one.repeated or one.wrong)])
    return judged


STEPS = st.lists(
    st.lists(st.tuples(st.sampled_from(["x", "y"]), st.sampled_from(ORDER)), max_size=4),
    max_size=4,
)


@settings(max_examples=20, **TWO_BATCHES)
@given(STEPS, st.sampled_from(["same", "anew", "other"]))
def test_oddities_are_those_of_the_history(service, reports, steps, reader):
    mark = next(FRESH)
    seen: dict[str, list[str]] = {"x": [], "y": []}
    for step in steps:
        judging = Reports(service) if reader == "anew" else reports
        rows = [attempt(status, f"{name}{mark}") for name, status in step]
        told = kept(service, judging, rows)
        if reader == "other":
            with Service.open(service.folder) as beside:
                assert all(one.repeated for one in Reports(beside).judge(rows))
        for (name, status), judged in zip(step, told, strict=True):
            before = seen[name]
            assert judged.repeated == (status in before)
            if not judged.repeated:
                assert judged.unknown_attempt == (status != "sent" and "sent" not in before)
                later = [one for one in before if ORDER.index(one) > ORDER.index(status)]
                assert judged.out_of_order == bool(later)
                before.append(status)


VERSIONS = st.lists(st.lists(st.tuples(st.booleans(), st.integers(1, 3)), max_size=4), max_size=5)


@settings(max_examples=20, **TWO_BATCHES)
@given(VERSIONS)
def test_an_invoice_is_written_when_it_changes_and_then_alone(service, reports, steps):
    mark, written, last = next(FRESH), 0, None
    for step in steps:
        rows = [
            Invoice(
                invoice_id=f"i{mark}", member_id="ann", amount=amount, currency="EUR", due_at=NOW,
                grace_until=NOW, instruments=["c1"],
            )
            for _, amount in step
        ]  # fmt: skip
        for others, row in zip((others for others, _ in step), rows, strict=True):
            if others:  # another process says so, and we have not looked since
                service.lake.put([row])
                written, last = written + (row != last), row
            else:
                (judged,) = kept(service, reports, [row])
                assert judged.repeated == (row == last)
                written, last = written + (row != last), row
    service.lake.seal()
    table = service.lake.scan("invoices").collect()
    assert table.filter(invoice_id=f"i{mark}").height == written


def test_every_versioned_table_knows_its_rows(service, reports):
    rows = [
        Processor(processor="gold", currency="EUR"),
        Outage(processor="gold", starts_at=NOW),
        Instrument(instrument_id="c1", member_id="ann", kind="card", network="visa"),
    ]
    assert [one.repeated for one in kept(service, reports, rows)] == [False] * 3
    assert [one.repeated for one in reports.judge(rows)] == [True] * 3
    changed = [
        msgspec.structs.replace(rows[0], fee_approved=3),
        msgspec.structs.replace(rows[1], ends_at=NOW),
        msgspec.structs.replace(rows[2], tokenised=True),
    ]
    assert [one.repeated for one in kept(service, reports, changed)] == [False] * 3
    assert [one.repeated for one in reports.judge(rows)] == [False] * 3


def test_decisions_are_known_for_sixty_days(service):
    service.lake.put(
        [
            decision("d1"),
            decision("old", NOW - timedelta(days=61)),
            decision("film", surface="titles"),
        ]
    )
    service.lake.seal()
    reports = Reports(service)
    service.lake.put([decision("d2"), decision("film2", surface="titles")])
    told = {
        name: reports.judge([attempt(decision_id=name)])[0].unknown_decision
        for name in ("d1", "d2", "old", "film", "film2", "never")
    }
    assert told == {
        "d1": False, "d2": False, "old": True, "film": True, "film2": True, "never": True,
    }  # fmt: skip
    (strangers,) = reports.judge([attempt(decision_id="d1", member_id="ben")])
    assert strangers.unknown_decision


def test_old_decisions_are_let_go_of(service, monkeypatch):
    reports = Reports(service)
    service.lake.put([decision("late", NOW - timedelta(days=61)), decision("d1")])
    (before,) = reports.judge([attempt(decision_id="late")])
    assert not before.unknown_decision
    monkeypatch.setattr(reports_module, "LOAD_SECONDS", -1.0)
    told = [reports.judge([attempt(decision_id=name)])[0] for name in ("late", "d1")]
    assert [one.unknown_decision for one in told] == [True, False]


def test_a_contradiction_within_one_report_is_found(reports):
    first, second = reports.judge([attempt(), attempt("approved", amount=1)])
    assert first.wrong is None
    assert second.wrong == "another amount than was reported before"
