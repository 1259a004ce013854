"""What an invoice needs next: known answers, and what must hold whatever was reported."""

from datetime import timedelta

import pytest
from charging_service import DAY, DUE, GRACE, HOUR, attempt, invoice
from hypothesis import given
from hypothesis import strategies as st

from matinee.lake.billing import STATUSES
from matinee.service.charging.bill import (
    DONE,
    Ask,
    Bill,
    Carry,
    Close,
    Made,
    Resolve,
    Wait,
    asked_of,
    hindrance,
    name_of,
    next_step,
    request_id,
)

AGE = timedelta(minutes=10)
LATER = DUE + 3 * DAY


def bill(*attempts, made=(), **changed):
    """An invoice with these reports, and decisions made after so many attempts."""
    one = Bill(invoice(**changed))
    for report in attempts:
        one.report(report)
    for number, decided in made:
        one.decided(number, decided)
    return one


def route(at, name="d9", action="goldcard/1"):
    return Made(name, "route", action, at)


def when(at, action="+001h", name="w1"):
    return Made(name, "when", action, at)


DECLINED = attempt("d1", "declined")
PAID = attempt("d1", "approved", at=LATER)


@pytest.mark.parametrize(
    ("known", "at", "needed"),
    [
        (bill(), DUE - HOUR, Wait(DUE)),
        (bill(), DUE, Ask("i1:after0:route", "route")),
        (bill(), GRACE, Close("lapsed", GRACE)),
        (bill(closed="void"), DUE, DONE),
        (bill(closed="paid"), GRACE, DONE),
        (bill(made=[(0, route(DUE))]), DUE, Carry(route(DUE))),
        (bill(made=[(0, route(DUE))]), DUE + AGE, Carry(route(DUE))),
        (bill(made=[(0, route(DUE))]), DUE + 2 * AGE, Ask("i1:after0:route.1", "route")),
        (bill(made=[(0, route(DUE + HOUR))]), DUE, Ask("i1:after0:route.1", "route")),
        (bill(made=[(0, route(DUE))]), DUE - HOUR, Wait(DUE)),
        (bill(made=[(0, route(DUE, action=None))]), DUE, Ask("i1:after0:when", "when")),
        (bill(made=[(0, route(DUE, action="stop"))]), DUE, Ask("i1:after0:when", "when")),
        (bill(made=[(0, route(DUE, action=None)), (0, when(DUE))]), DUE, Wait(DUE + HOUR)),
        (bill(made=[(0, route(DUE, action=None)), (0, when(DUE))]), DUE + HOUR,
         Ask("i1:after0:route.1", "route")),
        (bill(attempt("d1")), DUE, Resolve(attempt("d1"))),
        (bill(attempt("d1"), attempt("d1", "unknown")), GRACE, Resolve(attempt("d1", "unknown"))),
        (bill(attempt("d1"), closed="lapsed"), GRACE, Resolve(attempt("d1"))),
        (bill(attempt("x", decision_id=None)), DUE, Resolve(attempt("x", decision_id=None))),
        (bill(attempt("x", decision_id=None), closed="void"), DUE, DONE),
        (bill(attempt("x", decision_id=None), attempt("d1")), DUE, Resolve(attempt("d1"))),
        (bill(DECLINED), DUE, Ask("i1:after1:when", "when")),
        (bill(attempt("d1", "failed")), DUE, Ask("i1:after1:when", "when")),
        (bill(DECLINED), GRACE, Close("lapsed", GRACE)),
        (bill(DECLINED, made=[(1, when(DUE))]), DUE, Wait(DUE + HOUR)),
        (bill(DECLINED, made=[(1, when(DUE - 5 * HOUR))]), DUE - 2 * HOUR, Wait(DUE)),
        (bill(DECLINED, made=[(1, when(DUE))]), DUE + HOUR, Ask("i1:after1:route", "route")),
        (bill(DECLINED, made=[(1, when(DUE, "+672h"))]), DUE, Wait(GRACE)),
        (bill(DECLINED, made=[(1, when(DUE, "stop"))]), LATER, Close("lapsed", DUE)),
        (bill(DECLINED, made=[(1, when(DUE, None))]), LATER, Wait(GRACE)),
        (bill(DECLINED, made=[(0, when(DUE))]), DUE, Ask("i1:after1:when", "when")),
        (bill(DECLINED, attempt("x", "declined"), made=[(1, when(DUE))]), LATER,
         Ask("i1:after2:when", "when")),
        (bill(PAID), LATER, Close("paid", LATER)),
        (bill(PAID, closed="lapsed"), GRACE, Close("paid", LATER)),
        (bill(PAID, closed="paid"), GRACE, DONE),
        (bill(PAID, closed="void"), GRACE, DONE),
        (bill(PAID, attempt("d2")), LATER, Close("paid", LATER)),
        (bill(PAID, attempt("d2"), closed="paid"), LATER, Resolve(attempt("d2"))),
    ],
)  # fmt: skip
def test_what_is_needed(known, at, needed):
    assert next_step(known, at, AGE) == needed


def test_what_was_refused_is_not_carried_out_again():
    known = bill(made=[(0, route(DUE))])
    known.refused.add("d9")
    assert next_step(known, DUE, AGE) == Ask("i1:after0:when", "when")


@given(st.permutations([attempt("d1", status) for status in STATUSES] * 2))
def test_the_last_status_holds_whatever_the_order_of_reports(reports):
    known = bill(*reports)
    assert known.attempts["d1"].status == "approved"
    assert known.report(attempt("d1", "declined")) is False


ACTIONS = {
    "route": st.sampled_from(["goldcard/1", "goldcard/2", "stop", None]),
    "when": st.sampled_from(["+001h", "+026h", "+672h", "stop", None]),
}
TIMES = st.integers(-100, 500).map(lambda hours: DUE + hours * HOUR)
REPORTS = st.builds(
    lambda number, status, ours, at: attempt(
        f"a{number}", status, at=at, decision_id=f"a{number}" if ours else None
    ),
    st.integers(1, 4),
    st.sampled_from(list(STATUSES)),
    st.booleans(),
    TIMES,
)
DECISIONS = st.one_of(
    st.tuples(
        st.integers(0, 4),
        st.builds(Made, st.integers(1, 99).map(str), st.just(step), ACTIONS[step], TIMES),
    )
    for step in ACTIONS
)


@given(
    reports=st.lists(REPORTS, max_size=8),
    made=st.lists(DECISIONS, max_size=8),
    closed=st.sampled_from([None, None, "paid", "lapsed", "void"]),
    at=TIMES,
)
def test_nothing_is_sent_that_must_not_be(reports, made, closed, at):
    known = bill(*reports, made=made, closed=closed)
    found = next_step(known, at, AGE)
    if isinstance(found, Carry):
        assert closed is None
        assert {one.status for one in known.attempts.values()} <= {"failed", "declined"}
        assert DUE <= at < GRACE
        assert abs(at - found.made.at) <= AGE
        assert found.made in known.made[len(known.attempts)]
    if isinstance(found, Wait):
        assert at < found.until <= max(GRACE, DUE)
    if isinstance(found, Ask):
        before = [one.step for one in known.made.get(len(known.attempts), [])]
        number = before.count(found.step)
        assert found.request_id == request_id("i1", len(known.attempts), found.step, number)


@pytest.mark.parametrize("name", ["i1", "i:1:after3:route", "a\nb", "i" * 150, "411111111111111"])
@pytest.mark.parametrize(("number", "step", "again"), [(0, "route", 0), (12, "when", 3)])
def test_a_request_names_its_invoice(name, number, step, again):
    asked = request_id(name, number, step, again)
    assert asked_of("d1", asked, ["x"], DUE) == (name, number, Made("d1", step, "x", DUE))


def test_the_id_of_a_long_invoice_is_short_in_requests():
    one, other = "i" * 199 + "1", "i" * 199 + "2"
    assert name_of(one) != name_of(other)
    assert len(request_id(one, 10**6, "route", 10**6)) <= 200
    assert asked_of("d1", request_id(one, 1, "when"), [], DUE)[0] == name_of(one)


@pytest.mark.parametrize(
    "asked", ["", "r1", "i1:1:when", ":after1:when", "i1:after1:what", "i1:afterx:when"]
)
def test_requests_of_others_are_not_ours(asked):
    assert asked_of("d1", asked, ["x"], DUE) is None


@pytest.mark.parametrize(
    ("known", "at", "told"),
    [
        (None, DUE, "the invoice is closed"),
        (bill(attempt("d1"), closed="void"), DUE, "the invoice is closed"),
        (bill(attempt("d1"), attempt("x", "approved")), DUE, "the invoice is paid"),
        (bill(attempt("d1"), grace_until=DUE), DUE, "it is not due, or grace is over"),
        (bill(attempt("d1")), DUE - AGE, "it is not due, or grace is over"),
        (bill(attempt("d1")), DUE + AGE, None),
        (bill(attempt("d1")), DUE + 2 * AGE, "the decision is too old"),
        (bill(due_at=DUE - HOUR), DUE - 2 * AGE, "the decision is too old"),
    ],
)
def test_what_forbids_sending_again(known, at, told):
    assert hindrance(known, attempt("d1"), at, AGE) == told
