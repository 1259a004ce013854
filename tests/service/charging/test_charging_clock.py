"""Whoever sets the clock: nothing is charged twice, and nothing after grace."""

from datetime import UTC, datetime, timedelta

from charging_service import (
    DAY,
    DUE,
    HOUR,
    Clock,
    Odd,
    new_charger,
    new_service,
    statuses,
)

from fake_processor import DECLINED
from matinee.service.charging.gateway import Answer
from matinee.service.charging.tally import Charged

JUMPS = [timedelta(hours=h) for h in (-7, 9, -30, 25, -1, 300, -300)]


def test_a_clock_that_jumps_charges_nothing_twice(service, processor, gateways, clock):
    """Each answer is a decline: what is sent is told by slots that were chosen, one each."""
    processor.answer = lambda body: DECLINED
    charger = new_charger(service, gateways, clock)
    charger.charge_due()
    for jump in JUMPS:
        clock.jump(jump)
        sent = len(processor.posts())
        for _ in range(3):
            charger.charge_due()
        assert len(processor.posts()) <= sent + 1
    assert len(set(processor.posts())) == len(processor.posts()) == len(statuses(service))


def test_a_slot_that_was_used_is_not_used_again_when_the_clock_goes_back(
    service, processor, gateways, clock
):
    processor.answer = lambda body: DECLINED
    charger = new_charger(service, gateways, clock)
    charger.charge_due()
    clock.jump(HOUR)
    assert charger.charge_due().declined == 1
    for hours in range(-5, 2):
        clock.at = DUE + hours * HOUR
        assert charger.charge_due().sent == 0
    clock.at = DUE + 2 * HOUR
    assert charger.charge_due().sent == 1


def test_a_clock_that_runs_ahead_does_not_give_up_what_was_just_sent(
    service, processor, gateways, clock
):
    """The request is on its way still, and is charged after everything was looked at again."""
    processor.fault = lambda method, key: "late" if method == "POST" else ""
    charger = new_charger(service, gateways, clock)
    charger.charge_due()
    for _ in range(4):
        clock.jump(3 * HOUR)
        done = charger.charge_due()
        assert (done.sent, done.failed, done.in_flight) == (0, 0, 1)
    processor.deliver_late()
    assert charger.charge_due().paid == 1
    assert processor.approved() == {"i1": 1}


def test_a_clock_that_goes_back_after_grace_tries_nothing_more(service, processor, gateways, clock):
    processor.answer = lambda body: DECLINED
    charger = new_charger(service, gateways, clock)
    charger.charge_due()
    clock.jump(15 * DAY)
    assert charger.charge_due().lapsed == 1
    clock.jump(-15 * DAY + 2 * HOUR)
    assert charger.charge_due() == Charged()
    assert len(processor.posts()) == 1


def test_a_clock_set_back_between_answer_and_record_loses_no_answer(tmp_path):
    """The lake takes no row of the future: the answer stands with the time that it is then."""
    ahead = []

    class Sets(Odd):
        def charge(self, attempt, instrument):
            ahead.append(timedelta(hours=3))
            return super().charge(attempt, instrument)

    odd = Sets(Answer(status="approved", code="00"))
    with new_service(tmp_path / "shows", 1, grace_until=datetime(2100, 1, 1, tzinfo=UTC)) as made:
        now = lambda: datetime.now(UTC) + (ahead.pop() if ahead else timedelta(0))  # noqa: E731
        done = new_charger(made, {"goldcard": odd}, Clock(), now=now).charge_due()
        assert (done.paid, done.errors) == (1, 0)
        assert statuses(made) == [["sent", "approved"]]
