"""What reports on attempts say together, in whatever order they come."""

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from payment_rows import START, a_report, after, declines

from matinee.lake.billing import STATUSES
from matinee.lake.records import micros
from matinee.payments.attempts import in_flight, merged

REPORTS = st.lists(
    st.builds(
        a_report,
        st.sampled_from(["a1", "a2", "a3"]),
        st.integers(-3, 3).map(after),
        st.sampled_from(list(STATUSES)),
        code=st.sampled_from([None, "05", "51"]),
        fee=st.sampled_from([0, 0, 10, 20]),
        penalty=st.sampled_from([0, 15]),
        amount=st.sampled_from([999, 500]),
    ),
    max_size=12,
    min_size=1,
)


@given(REPORTS, st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_neither_order_nor_repetition_changes_what_is_known(reports, random):
    expected = merged(reports)
    again = [*reports, *random.choices(reports, k=5)]
    random.shuffle(again)
    assert merged(again) == expected
    assert [(one.sent_at, one.attempt_id) for one in expected] == sorted(
        (one.sent_at, one.attempt_id) for one in expected
    )
    assert {one.attempt_id for one in expected} == {one.attempt_id for one in reports}
    assert all(one.answered_at is None or one.answered_at >= one.sent_at for one in expected)


@given(REPORTS)
@settings(max_examples=100, deadline=None)
def test_the_status_that_comes_last_in_the_order_of_statuses_holds(reports):
    for one in merged(reports):
        mine = {row.status for row in reports if row.attempt_id == one.attempt_id}
        assert one.status == [status for status in STATUSES if status in mine][-1]


def test_an_answer_that_comes_before_its_question_is_known_all_the_same():
    answer, question = a_report("a1", after(1), code="51"), a_report("a1", after(0), "sent")
    (early,) = merged([answer])
    assert (early.sent_at, early.answered_at) == (micros(after(1)), micros(after(1)))
    (both,) = merged([answer, question])
    assert (both.sent_at, both.answered_at) == (micros(START), micros(after(1)))


def test_an_answer_dated_before_its_question_moves_neither():
    rows = [a_report("a1", after(5), "sent"), a_report("a1", after(-900), code="51")]
    (one,) = merged(rows)
    assert one.sent_at == one.answered_at == micros(after(5))


def test_what_was_charged_stays_charged_when_a_late_decline_comes():
    (one,) = merged([a_report("a1", after(1), "approved"), a_report("a1", after(9))])
    assert one.status == "approved"
    assert one.answered_at == micros(after(1))


def test_of_two_answers_with_one_status_the_later_holds():
    (one,) = merged([a_report("a1", after(2), code="51"), a_report("a1", after(1), code="05")])
    assert one.held.code == "51"


def test_fees_are_the_latest_that_are_not_nothing():
    rows = [
        a_report("a1", after(0), "sent"),
        a_report("a1", after(1), fee=7, penalty=50),
        a_report("a1", after(1) + timedelta(seconds=1), fee=9),
        a_report("a1", after(2), "unknown"),
    ]
    (one,) = merged(rows)
    assert (one.fee, one.penalty) == (9, 50)


def test_attempts_are_in_flight_until_they_are_answered():
    rows = [
        *declines(0),
        a_report("a2", after(1), "sent"),
        a_report("a3", after(2), "unknown"),
        a_report("a4", after(3), "failed"),
        a_report("a5", after(4), "approved"),
    ]
    assert [one.in_flight for one in merged(rows)] == [False, True, True, False, False]
    assert in_flight(merged(rows)) == 2


def test_what_no_network_saw_counts_for_none():
    rows = [
        a_report("a1", after(0), "failed"),
        a_report("a2", after(1), "failed", processor_code="down"),
        a_report("a3", after(2), "failed", code="91"),
        a_report("a4", after(3), "approved"),
        a_report("a5", after(4), "unknown"),
        a_report("a6", after(5), "declined"),
    ]
    assert [one.counts for one in merged(rows)] == [False, False, True, False, True, True]


def test_nothing_reported_is_nothing_tried():
    assert merged([]) == []
    assert in_flight([]) == 0
