"""A version that is asked about its own decisions says what the records say."""

import numpy as np
import pytest

from matinee.decisions import Counterfactual, Home
from matinee.lake.records import Eligible
from matinee.policies import PlackettLuce
from matinee.surfaces import History


@pytest.fixture
def asked(decider, histories, log, request_of):
    """Plain decisions and a page, for members who watched something and for one who did not."""
    histories.watch("m1", "t003", "t007")
    histories.watch("m2", "t001")
    for member in ("m1", "m2", "m3"):
        decider.decide(request_of("plain", member), log)
    Home(decider).decide(request_of("page", "m1"), log)
    sets = {row.eligible: row.candidates for row in log.rows.values() if isinstance(row, Eligible)}
    records = log.decisions()
    return records, sets, [histories.history(record.member_id) for record in records]


def test_a_version_prefers_what_it_preferred_when_it_decided(decider, asked):
    records, sets, histories = asked
    found = Counterfactual(decider.model, decider.policy).preferences(records, sets, histories)
    assert any(record.row == "because" and record.actions for record in records)
    for record, preference in zip(records, found, strict=True):
        assert preference.segment.tolist() == record.segment
        assert preference.logits == pytest.approx(record.scores, abs=1e-5)


def test_another_policy_is_asked_for_its_own_probabilities(decider, asked):
    records, sets, histories = asked
    sharp = PlackettLuce(temperature=0.01, segment=10)
    found = Counterfactual(decider.model, sharp).preferences(records, sets, histories)
    best = records[0].segment[0]
    chance = sharp.propensities(found[0], np.array([best], np.int32))[0]
    assert chance > 0.99
    assert not set(found[0].segment) & set(records[0].removed)


def test_a_longer_history_takes_nothing_back_that_the_record_allowed(decider, asked):
    records, sets, _ = asked
    later = [History(("t000",), (1,), 9)] * len(records)
    found = Counterfactual(decider.model, decider.policy).preferences(records, sets, later)
    assert found[0].segment.tolist() == records[0].segment


def test_the_order_of_records_does_not_matter(decider, asked):
    records, sets, histories = asked
    version = Counterfactual(decider.model, decider.policy)
    forth = version.preferences(records, sets, histories)
    back = version.preferences(records[::-1], sets, histories[::-1])[::-1]
    for one, other in zip(forth, back, strict=True):
        assert one.segment.tolist() == other.segment.tolist()
        assert one.logits.tolist() == other.logits.tolist()
