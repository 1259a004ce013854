"""A model sees all that was met, when it decides and when it is asked again."""

import numpy as np
import pytest

from matinee.decisions import Counterfactual, Decider, Home
from matinee.decisions.sequences import sequences
from matinee.lake.records import Eligible
from matinee.models import Dataset, Histories, Model, Vocabulary
from matinee.models.base import on_candidates
from matinee.policies import PlackettLuce
from matinee.surfaces import History, Met


class Attentive(Model):
    """Scores that turn with every part of a history."""

    name = "attentive"
    references = ()

    def settings(self):
        return {}

    def _fit(self, dataset, run):
        """Nothing is learned."""

    def _scores(self, context, candidates):
        seen = context.histories
        parts = (seen.titles + 2.0) * (1.0 + seen.signals) * (0.1 + seen.weights)
        turn = np.bincount(seen.members(), parts * (1 + seen.times % 97), minlength=len(seen))
        return on_candidates(np.sin(turn[:, None] * (1 + np.arange(len(self.titles)))), candidates)

    def _arrays(self):
        return {}

    def _restore(self, arrays):
        """Nothing was learned."""


MET = Met(
    ("t003", "gone", "t007", "t008", "t011"), (5, 6, 7, 8, 9), (32, 1, 17, 16, 3),
    (0.0, 1.0, 0.25, 0.0, 1.0),
)  # fmt: skip


@pytest.fixture
def attentive(surface, histories):
    titles = Vocabulary(sorted(surface.catalogue))
    model = Attentive().fit(Dataset.of(titles, Histories.of([[]])))
    policy = PlackettLuce(temperature=0.5, epsilon=0.1, segment=10)
    histories.members["m1"] = History.of(MET, 1)
    return Decider(surface, model, policy, version="titles@2", histories=histories, salt=b"salt")


def test_sequences_hold_all_that_was_met():
    found = sequences(
        [History.of(MET), History(), History(("t007",), (3,))], ["NL", None, "US"],
        Vocabulary(["t003", "t007"]),
    )  # fmt: skip
    assert found.offsets.tolist() == [0, 5, 5, 6]
    assert found.titles.tolist() == [0, -1, 1, -1, -1, 1]
    assert found.times.tolist() == [*MET.times, 3]
    assert found.signals.tolist() == [*MET.signals, 0]
    assert found.weights.tolist() == [*MET.weights, 1]
    assert found.countries == ("NL", None, "US")


def test_rules_see_what_was_watched_and_the_record_tells_of_both(attentive, request_of):
    decision = attentive.propose(request_of())
    ids = sorted(attentive.surface.catalogue)
    assert [ids[place] for place in decision.removed] == ["t007", "t011"]
    assert decision.context["history"] == {"titles": 3, "last": 9, "met": 5}


def test_a_click_changes_what_the_model_prefers(attentive, histories, request_of):
    before = attentive.propose(request_of())
    more = Met(*(old + new for old, new in zip(
        (MET.titles, MET.times, MET.signals, MET.weights), (("t001",), (10,), (32,), (0.0,)),
        strict=True,
    )))  # fmt: skip
    histories.members["m1"] = History.of(more, 2)
    after = attentive.propose(request_of())
    assert after.removed == before.removed
    assert after.scores != before.scores


def test_asked_again_it_prefers_what_it_preferred(attentive, histories, log, request_of):
    attentive.decide(request_of("plain"), log)
    Home(attentive).decide(request_of("page"), log)
    sets = {row.eligible: row.candidates for row in log.rows.values() if isinstance(row, Eligible)}
    records = log.decisions()
    assert any(record.row == "because" and record.actions for record in records)
    known = [histories.history(record.member_id) for record in records]
    version = Counterfactual(attentive.model, attentive.policy)
    for record, preference in zip(records, version.preferences(records, sets, known), strict=True):
        assert preference.segment.tolist() == record.segment
        assert preference.logits == pytest.approx(record.scores, abs=1e-5)


def test_two_members_who_watched_one_title_differently_share_no_scores(
    attentive, histories, request_of
):
    histories.members["m2"] = History(("t007",), (7,), 1)
    histories.members["m3"] = History.of(Met(("t007",), (7,), (17,), (0.25,)), 1)
    rows = [
        next(d for d in Home(attentive).propose(request_of(member_id=member)) if d.row == "because")
        for member in ("m2", "m3")
    ]
    assert rows[0].context["row"]["history"] == rows[1].context["row"]["history"] == ["t007"]
    assert rows[0].scores != rows[1].scores
