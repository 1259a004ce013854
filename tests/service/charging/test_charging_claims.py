"""One attempt an invoice, one scheduler an attempt."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from charging_service import attempt

from matinee.service.charging.claims import Claims
from matinee.store import Store


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "matinee.db") as made:
        yield made


@pytest.fixture
def claims(store, clock):
    return Claims(store, 60.0, clock.up)


def test_one_takes_an_invoice(claims, store, clock):
    mine = claims.take(attempt("d1"))
    assert (mine.attempt, mine.sends) == (attempt("d1"), 0)
    other = Claims(store, 60.0, clock.up)
    assert other.take(attempt("d1")) is None
    assert other.take(attempt("d2")) is None
    assert other.take(attempt("d1", number=2)) is not None
    claims.release(mine)
    assert other.take(attempt("d2")) is not None


def test_another_attempt_has_to_wait_for_the_one_in_flight(claims):
    mine = claims.take(attempt("d1"))
    assert claims.stamp(mine)
    claims.leave(mine)
    assert claims.take(attempt("d2")) is None
    assert claims.take(attempt("d1")).sends == 1


def test_a_dead_holder_loses_its_claim(claims, clock):
    mine = claims.take(attempt("d1"))
    clock.seconds += 59
    assert claims.unheld() == []
    assert claims.take(attempt("d1")) is None
    clock.seconds += 1
    assert [one.attempt for one in claims.unheld()] == [attempt("d1")]
    other = claims.take(attempt("d1"))
    assert not claims.stamp(mine)
    claims.release(mine)
    claims.leave(mine)
    assert claims.stamp(other)


def test_the_first_attempt_stands_in_the_claim(claims, clock):
    claims.take(attempt("d1", amount=500))
    clock.seconds += 100
    assert claims.take(attempt("d1", amount=700)).attempt.amount == 500


def test_an_attempt_without_a_claim_counts_as_sent_just_now(claims, clock):
    found = claims.take(attempt("d1"), sent=True)
    assert (found.sends, found.sent_at) == (1, clock.seconds)
    claims.leave(found)
    clock.seconds += 10
    again = claims.take(attempt("d1"), sent=True)
    assert (again.sends, claims.passed(again.sent_at)) == (1, 10)


def test_stamps_count_and_tell_when_it_was_sent_last(claims, clock):
    mine = claims.take(attempt("d1"))
    for _ in range(3):
        clock.seconds += 5
        assert claims.stamp(mine)
    claims.leave(mine)
    (found,) = claims.unheld()
    assert (found.sends, claims.passed(found.sent_at)) == (3, 0)


def test_when_the_machine_starts_anew_its_clock_does_too(claims, clock):
    mine = claims.take(attempt("d1"))
    claims.stamp(mine)
    clock.seconds = 30  # less has passed than the lease
    assert claims.passed(mine.sent_at) == 30
    assert claims.take(attempt("d1")) is None
    clock.seconds = 60
    assert claims.take(attempt("d1")).sends == 1


def test_a_forgotten_members_claims_go(claims):
    claims.take(attempt("d1"))
    claims.take(attempt("d2", number=2))
    assert (claims.forget("m1"), claims.forget("m1")) == (1, 0)
    assert claims.take(attempt("d3")) is not None


def test_of_many_threads_one_takes_it(store):
    claims = Claims(store)
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda _: claims.take(attempt("d1")), range(64)))
    assert sum(one is not None for one in taken) == 1
