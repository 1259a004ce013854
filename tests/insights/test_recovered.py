"""What came of failed renewals, counted by hand."""

from datetime import UTC, datetime, timedelta
from math import isnan

import msgspec
import pytest

from matinee.cli import run
from matinee.errors import MatineeError
from matinee.insights.recovered import recovered
from matinee.lake.billing import Attempt, Invoice, Settlement
from matinee.service.folder import Service

NOW = datetime.now(UTC)
DUE = NOW - timedelta(days=20)
DAY = timedelta(days=1)
OVER = DUE + 29 * DAY
"""When the grace of all of them is over."""


def invoice(number, country="NL", **more):
    told = {
        "invoice_id": f"i{number}",
        "member_id": f"m{number}",
        "amount": 1000,
        "currency": "EUR",
        "due_at": DUE,
        "grace_until": DUE + 28 * DAY,
        "instruments": ["c1"],
        "country": country,
    }
    return Invoice(**{**told, **more})


def attempt(number, days, status, processor="gold", **more):
    told = {
        "attempt_id": f"a{number}-{days}",
        "member_id": f"m{number}",
        "invoice_id": f"i{number}",
        "instrument_id": "c1",
        "processor": processor,
        "amount": 1000,
        "currency": "EUR",
        "at": DUE + days * DAY,
    }
    return Attempt(status=status, **{**told, **more})


@pytest.fixture
def service(tmp_path):
    """1 pays at once; 2 after 3 days and 2 attempts; 3 after 15 days and 1; 4 lapses; 5 is open."""
    with Service.create(tmp_path / "shows") as service:
        service.lake.put(
            [
                *(invoice(n, "NL" if n < 4 else "DE") for n in range(1, 6)),
                invoice(4, "DE", closed="lapsed", closed_at=NOW),
                attempt(1, 0, "approved", fee=10),
                attempt(2, 0, "declined", code="51"),
                attempt(2, 1, "sent"),
                attempt(2, 1, "declined", fee=5, penalty=20, code="51"),
                attempt(2, 3, "approved", "moon", fee=10),
                attempt(3, 0, "declined", "moon", code="05"),
                attempt(3, 15, "approved", "moon", fee=10),
                attempt(4, 0, "declined", code="41"),
                attempt(5, 0, "failed"),
                attempt(5, 2, "declined", fee=5),
                Settlement(
                    settlement_id="s1",
                    member_id="m3",
                    attempt_id="a3-15",
                    kind="chargeback",
                    amount=1000,
                    currency="EUR",
                    at=NOW,
                    fee=150,
                ),
            ]
        )
        yield service


def test_failed_renewals_are_counted(service):
    assert recovered(service).lines[0].open == 1
    found = recovered(service, now=OVER)
    assert found.invoices == 5
    whole = found.lines[0]
    assert (whole.failed, whole.members, whole.open) == (4, 4, 0)
    assert whole.soon.value == pytest.approx(1 / 4)
    assert whole.final.value == pytest.approx(2 / 4)
    assert whole.attempts.value == pytest.approx((2 + 1 + 0 + 1) / 2)
    assert whole.brought == pytest.approx(10 + 10 - 11.5)
    assert whole.fees == pytest.approx(0.05 + 0.1 + 0.1 + 0.05)
    assert whole.penalties == pytest.approx(0.2)
    assert whole.net.value == pytest.approx((8.5 - 0.3 - 0.2) / 4)
    assert whole.final.low < 2 / 4 < whole.final.high


def test_who_paid_soon_is_not_counted_before_who_did_not(service):
    """Or a young log would tell of the paid alone: nobody's grace is over yet."""
    whole = recovered(service).lines[0]
    assert isnan(whole.final.value)
    assert isnan(whole.attempts.value)
    assert isnan(recovered(service, now=DUE + 9 * DAY).lines[0].soon.value)


def test_what_came_later_was_not_known_before(service):
    whole = recovered(service, now=DUE + 4 * DAY).lines[0]
    assert whole.brought == pytest.approx(10)
    assert recovered(service).lines[0].brought == pytest.approx(10 + 10 - 11.5)


def test_lines_tell_invoices_apart_by_the_first_attempt(service):
    lines = {(one.group, one.name): one for one in recovered(service, now=OVER).lines}
    assert {name for group, name in lines if group == "processor"} == {"gold", "moon"}
    assert lines["processor", "gold"].failed == 3
    assert lines["country", "DE"].failed == 2
    assert lines["country", "NL"].final.value == 1.0
    assert lines["reason", "insufficient_funds"].failed == 1
    assert lines["reason", "processor_error"].failed == 1
    assert sum(one.failed for (group, _), one in lines.items() if group == "reason") == 4


def test_only_those_due_since_a_time_count(service):
    with pytest.raises(MatineeError, match="no renewal has failed"):
        recovered(service, since=NOW - DAY)


def test_currencies_need_rates(service):
    yen = invoice(6, currency="JPY")
    service.lake.put([yen, msgspec.structs.replace(attempt(6, 0, "declined"), currency="JPY")])
    with pytest.raises(MatineeError, match="EUR, JPY") as refused:
        recovered(service)
    assert "rates" in refused.value.next_step


def test_the_command_prints_and_writes_it(service, tmp_path, capsys):
    where = ["--service", str(service.folder)]
    assert run(["payments", "report", "--to", str(tmp_path / "r.html"), *where]) == 0
    said = capsys.readouterr()
    assert "4 of 5 renewals failed at first" in said.err
    assert "25.0 %" in said.out
    page = (tmp_path / "r.html").read_text()
    assert page.count("<svg") >= 3
    assert "stylesheet" not in page
    assert run(["payments", "report", "--to", str(tmp_path / "no" / "r.html"), *where]) == 1


def test_the_command_lists_rules_and_takes_more(service, tmp_path, capsys):
    where = ["--service", str(service.folder)]
    own = tmp_path / "ours.csv"
    own.write_text("rule_id,network,kind,source,most,hours\nours,*,limit,us,2,24\n")
    assert run(["payments", "rules", "--add", str(own), *where]) == 0
    assert "ours\t*\tlimit" in capsys.readouterr().out
    own.write_text("rule_id,network,kind,source\nours,*,dance,us\n")
    assert run(["payments", "rules", "--add", str(own), *where]) == 1
    assert "dance" in capsys.readouterr().err


def test_a_service_without_invoices_says_what_to_do(tmp_path, capsys):
    Service.create(tmp_path / "new").close()
    assert run(["payments", "report", "--service", str(tmp_path / "new")]) == 1
    said = capsys.readouterr().err
    assert "no invoice is due" in said
