"""What processors report later, as hostile as it may come."""

from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest
from charging_service import DUE, HOUR, attempt, decision, new_charger
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fake_processor import DECLINED
from matinee.lake.billing import STATUSES
from matinee.lake.rows import frame_of_records, records_of
from matinee.lake.schemas import SCHEMAS
from matinee.payments.attempts import merged
from matinee.service.charging.reports import Report, report


@pytest.fixture
def lake(service):
    service.lake.put([attempt("d1"), attempt("d1", "declined", code="51")])
    return service.lake


def test_a_report_is_on_record_with_its_reason(lake):
    told = attempt("d1", "approved", at=DUE + HOUR, code="00", fee=12)
    assert report(lake, [told]) == Report(accepted=1)
    rows = lake.scan("attempts").sort("seq").collect().to_dicts()
    assert [row["status"] for row in rows] == ["sent", "declined", "approved"]
    report(lake, [attempt("d2", "declined", code="51", reason="nonsense", mapping="r0")])
    last = lake.scan("attempts").sort("seq").collect().to_dicts()[-1]
    assert last["reason"] == "insufficient_funds"
    assert last["mapping"] not in {None, "r0"}


def test_the_same_again_is_counted_and_changes_nothing(lake):
    again = attempt("d1", "declined", at=DUE + HOUR, code="05")
    paid = attempt("d1", "approved")
    assert report(lake, [again, paid, paid]) == Report(accepted=1, duplicates=2)
    assert report(lake, [paid, again]) == Report(duplicates=2)
    assert lake.scan("attempts").collect().height == 3


def test_what_was_overtaken_is_counted(lake):
    late = attempt("d1", "failed")
    assert report(lake, [late]) == Report(accepted=1, out_of_order=1)
    (held,) = merged(records_of(lake.scan("attempts").collect(), SCHEMAS["attempts"]))
    assert held.status == "declined"


def test_what_nobody_knows_is_counted_and_kept(lake):
    lake.put([decision("r1", "m1", "goldcard/1")])
    known = decision("r1", "m1", "goldcard/1").decision_id
    told = [
        attempt("x1", "approved", decision_id=None),
        attempt("x2", "approved", decision_id="never"),
        attempt(known, "approved"),
        attempt("x4", "approved", number=2, decision_id=known),  # that was another member's
    ]
    done = report(lake, told)
    assert done == Report(accepted=4, unknown_attempt=4, unknown_decision=2)


def test_of_several_reports_on_an_unknown_attempt_the_first_is_unknown(lake):
    told = [attempt("x1", status, decision_id="never") for status in ("approved", "declined")]
    assert report(lake, told) == Report(
        accepted=2, out_of_order=1, unknown_attempt=1, unknown_decision=1
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"amount": 1},
        {"currency": "USD"},
        {"invoice_id": "i2"},
        {"instrument_id": "c1b"},
        {"processor": "simple"},
        {"decision_id": "d2"},
        {"at": datetime(2200, 1, 1, tzinfo=UTC)},
        {"at": datetime(1950, 1, 1, tzinfo=UTC)},
        {"processor_code": "4111111111111111"},
    ],
)
def test_what_cannot_be_is_refused(lake, changed, caplog):
    wrong = attempt("d1", "approved", **changed)
    good = attempt("d1", "unknown")
    assert report(lake, [wrong, good]) == Report(accepted=1, refused=1, out_of_order=1)
    assert "a report on attempt d1 is refused" in caplog.text
    assert "4111111111111111" not in caplog.text
    assert lake.scan("attempts").collect()["status"].to_list().count("approved") == 0


def test_a_report_without_a_decision_has_that_of_its_attempt(lake):
    report(lake, [attempt("d1", "approved", decision_id=None)])
    assert set(lake.scan("attempts").collect()["decision_id"]) == {"d1"}


def test_an_old_attempt_is_known_after_its_inbox_rows_are_gone(lake):
    lake.seal()
    assert lake.expire(timedelta(seconds=-60))[0] > 0
    assert report(lake, [attempt("d1", "declined")]) == Report(duplicates=1)
    assert report(lake, [attempt("d1", "approved")]) == Report(accepted=1)


def test_an_attempt_that_came_in_bulk_is_known(lake):
    frame = frame_of_records([attempt("b1", "sent")], SCHEMAS["attempts"], DUE)
    lake.append("attempts", frame, source="test")
    assert report(lake, [attempt("b1", "approved")]) == Report(accepted=1)


def test_nothing_is_nothing(lake):
    assert report(lake, []) == Report()


@pytest.mark.parametrize("order", list(permutations(["declined", "approved", "unknown"])))
def test_in_any_order_an_approval_stops_what_was_planned(
    service, processor, gateways, clock, order
):
    processor.answer = lambda body: DECLINED
    charger = new_charger(service, gateways, clock)
    charger.charge_due()
    (ours,) = processor.posts()
    for status in order:
        report(service.lake, [attempt(ours, status), attempt(ours, status)])
    clock.go(HOUR)
    done = charger.charge_due()
    assert (done.paid, done.sent) == (1, 0)


REPORTS = st.lists(
    st.builds(
        attempt,
        st.sampled_from(["d1", "d2", "x1"]),
        st.sampled_from(list(STATUSES)),
        decision_id=st.sampled_from([None, "d1"]),
        amount=st.sampled_from([1000, 1000, 1000, 7]),
    ),
    max_size=12,
)


@given(batches=st.lists(REPORTS, max_size=3))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_report_is_counted_once_and_the_record_never_contradicts_itself(service, batches):
    """Rows pile up from one example to the next, which makes later ones harder."""
    for batch in batches:
        before = service.lake.scan("attempts").collect().height
        done = report(service.lake, batch)
        assert done.accepted + done.duplicates + done.refused == len(batch)
        assert done.out_of_order + done.unknown_attempt <= 2 * done.accepted
        assert done.unknown_decision <= done.unknown_attempt
        rows = service.lake.scan("attempts").collect()
        assert rows.height == before + done.accepted
        assert rows.select("attempt_id", "status").is_unique().all()
        assert rows.select("attempt_id", "amount").unique().height == rows["attempt_id"].n_unique()
