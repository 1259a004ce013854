"""When a model is asked: the same when deciding and when judging the decision."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from matinee.decisions import Counterfactual, Decider
from matinee.decisions.sequences import SECOND, moment
from matinee.lake.records import micros
from matinee.models import Dataset, Histories, Popularity
from matinee.surfaces import History

TIMES = st.integers(0, 2**52)


@given(at=TIMES, last=TIMES | st.none())
def test_it_is_not_later_than_the_decision_nor_much_earlier(at, last):
    found = moment(at, last)
    assert 0 <= at - found < 3600 * SECOND
    if last is not None and at >= last:
        assert found >= last - SECOND or at - last >= 8 * 3600 * SECOND
        assert at - found <= max(SECOND, (at - last) / 8) or at - last >= 8 * 3600 * SECOND


class Clock(Popularity):
    """Remembers when it was asked."""

    def _scores(self, context, candidates):
        self.asked = [*getattr(self, "asked", []), *context.at.tolist()]
        return super()._scores(context, candidates)


def test_deciding_and_judging_tell_a_model_the_same_time(decider, histories, request_of):
    clock = Clock().fit(Dataset.of(decider.model.titles, Histories.of([[0]])))
    deciding = Decider(
        decider.surface,
        clock,
        decider.policy,
        version="titles@1",
        histories=histories,
        salt=b"salt",
    )
    at = request_of().at
    watched = histories.members["m1"] = History(("t000",), (micros(at),), 1)
    records = [
        deciding.propose(request_of(f"r{seconds}", at=at + timedelta(seconds=seconds)))
        for seconds in (3, 61, 64, 1_800, 90_000)
    ]
    decided, clock.asked = clock.asked, []
    eligible = {records[0].eligible: deciding.surface.eligible(request_of()).ids}
    Counterfactual(clock, decider.policy).preferences(records, eligible, [watched] * len(records))
    assert micros(at) // SECOND % 128 == 64
    assert [(asked - micros(at)) // SECOND for asked in decided] == [3, 60, 64, 1_728, 90_000]
    assert clock.asked == decided
