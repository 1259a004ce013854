"""What a decision on a payment brought is what its invoice brought after it."""

from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from matinee.lake.billing import Attempt
from matinee.lake.rows import frame_of_records
from matinee.lake.schemas import SCHEMAS
from matinee.service.folder import Service
from matinee.service.outcomes import GRACE, close_windows
from service_rows import AT, HOUR, decision

WINDOW = timedelta(days=10)
CLOSES = AT + 2 * HOUR + WINDOW + GRACE


@pytest.fixture
def service(tmp_path: Path):
    settings = {"surfaces.payments.window": "10d", "surfaces.payments.dispute": 0.0}
    with Service.create(tmp_path / "shows", settings) as service:
        yield service


def attempt(name, hours, status="declined", **more):
    told = {
        "attempt_id": name,
        "member_id": "ann",
        "invoice_id": "i1",
        "instrument_id": "c1",
        "processor": "gold",
        "at": AT + hours * HOUR,
        "amount": 1_000,
        "currency": "EUR",
    }
    return Attempt(status=status, **{**told, **more})


def written(service, decisions, attempts):
    """Put them into the lake, each known when it was made."""
    for name, rows in (("decisions", decisions), ("attempts", attempts)):
        frame = frame_of_records(rows, SCHEMAS[name], "at")
        service.lake.append(name, frame, source="-")


def about(name, hours, action, subject="i1"):
    facts = {"worth": 500, "unit": 0.01}
    made = decision(name, "ann", AT + hours * HOUR, [action], "payments")
    return replace(made, subject=subject, context={"features": {"payment": facts}})


def rewards(service):
    rows = service.lake.scan("outcomes").collect().iter_rows(named=True)
    return {row["decision_id"]: row["reward"] for row in rows}


def test_every_attempt_on_the_invoice_after_a_decision_counts_for_it(service):
    decided = [
        about("route", 0, "gold/1"),
        about("when", 2, "+024h"),
        about("later", 40, "+024h"),
        about("other", 0, "gold/1", subject="i2"),
    ]
    attempts = [
        attempt("before", -5, fee=90),
        attempt("a1", 1, fee=7),
        attempt("a2", 26, "sent"),
        attempt("a2", 26.5, "approved", fee=20),
        attempt("b1", 30, invoice_id="i2", fee=3),
        attempt("late", 243, fee=800),
    ]
    written(service, decided, attempts)
    assert close_windows(service, CLOSES) == "3 outcomes"
    expected = {"route": 15 - 0.27, "when": 15 - 0.20, "other": -0.03}
    assert rewards(service) == pytest.approx(expected)
    close_windows(service)
    assert rewards(service)["later"] == pytest.approx(-8.0)
