"""What Today says: what was earned beside a holdout, what waits, what is unwell."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from msgspec.structs import replace
from notes import START, WORTH, Nobody, Notes, append, champion, version, written

from matinee.decisions import Decider
from matinee.evaluation.gate import Verdict
from matinee.evaluation.intervals.base import Interval
from matinee.experiments.plan import Holdout
from matinee.lake.billing import Outage, Processor
from matinee.lake.rows import records_of
from matinee.lake.schemas import SCHEMAS
from matinee.policies import EpsilonGreedy
from matinee.registry import Approvals, against_champion
from matinee.service.arms import Arms
from matinee.service.leases import Leases
from matinee.service.outcomes import close_windows
from matinee.service.today import today
from matinee.surfaces import Request

KEEN = EpsilonGreedy(epsilon=0.1)
PASS = Verdict(
    "passes", ("it is better",), (), 0.03, 9000, 4000.0, 0.0, Interval(0.03, 0.01, 0.05, 0.97, "n")
)


@pytest.fixture
def service(notes_service):
    return notes_service


def lived(service, members=1_000):
    """A champion that likes the best, and a quarter of the members who keep the worst."""
    made = champion(service, KEEN, best="finale")
    before = version(service, "none", KEEN)
    held = Holdout(name="before", share=0.25, surface="notes", serves=before.id)
    service.trials.hold(held, "ann", "")
    arms, chance, decisions = Arms(service), np.random.default_rng(7), []
    for number in range(members):
        asked = Request(
            request_id="r", member_id=f"m{number}", at=START + number * timedelta(seconds=60)
        )
        serves = arms.of("notes", asked)
        name = serves.version or made.id
        model, policy = service.registry.load(name)
        sources = {"version": name, "histories": Nobody(), "salt": bytes(32), "arm": serves.arm}
        decisions.append(Decider(Notes(), model, policy, **sources).propose(asked))
        answered = float(chance.random() < WORTH[decisions[-1].actions[0]])
        Notes.answers[decisions[-1].decision_id] = answered
    written(service, *decisions)
    close_windows(service)
    return made


def of(found, surface="notes"):
    return next(one for one in found.standings if one.surface == surface)


def notes_of(notes):
    return {note.about: note for note in notes}


def test_what_was_earned_stands_beside_the_holdout(service):
    made = lived(service)
    standing = of(today(service))
    assert standing.champion == made.id
    week = standing.week
    assert week.decisions == 1_000
    assert week.holdout == "before"
    expected = 0.9 * (WORTH["finale"] - WORTH["none"])
    assert week.beside.low < expected < week.beside.high
    assert week.beside.high - week.beside.low < 0.4
    assert 0.4 < week.value < 0.6
    assert 0.1 < week.held < 0.4


def test_what_others_decided_is_not_what_the_service_earned(service):
    lived(service, members=200)
    (row,) = records_of(service.lake.scan("decisions").head(1).collect(), SCHEMAS["decisions"])
    strange = {"decision_id": "s", "request_id": "s", "policy": "notes@world"}
    append(service, "decisions", [replace(row, **strange)])
    Notes.answers["s"] = 1.0
    close_windows(service)
    assert of(today(service)).ever.decisions == 200


def test_a_week_is_seven_days_and_ever_is_all(service):
    lived(service, members=200)
    standing = of(today(service, now=START + timedelta(days=40)))
    assert standing.week.decisions == 0
    assert standing.week.beside is None
    assert standing.ever.decisions == 200
    assert standing.ever.beside is not None


def test_a_service_without_anything_is_well_and_has_earned_nothing(service):
    found = today(service)
    assert all(one.champion is None and one.week.decisions == 0 for one in found.standings)
    assert found.waiting == ()
    assert found.unwell == ()


def test_what_passed_waits_until_it_is_approved(service):
    other = version(service, "finale", KEEN)
    assert notes_of(today(service).waiting)["notes"].step == f"matinee promote {other.id}"
    made = champion(service, KEEN)
    assert today(service).waiting == ()
    approvals = Approvals(service.registry)
    kinds = {"champion": made.id, "turn": 1, "anytime": True, "by": "ann"}
    approvals.record_verdict("notes", other.id, PASS, **kinds)
    (note,) = today(service).waiting
    assert note.about == other.id
    assert "matinee approve" in note.step
    approvals.approve("notes", other.id, "bob", "read it")
    assert today(service).waiting == ()


def test_a_won_experiment_waits_and_a_halted_one_is_unwell(service):
    made = champion(service, KEEN)
    service.trials.start(
        against_champion("best", "notes", version(service, "finale", KEEN).id), "ann", ""
    )
    service.trials.read("best", "better", "ann", champion=made.id, reasons=["it is better"])
    found = today(service)
    assert notes_of(found.waiting)["best"].what == "it is better"
    service.trials.halt("best", "ann", "complaints")
    found = today(service)
    assert found.waiting == ()
    assert notes_of(found.unwell)["best"].what == "halted: complaints"


def test_what_win_would_refuse_does_not_wait(service):
    made = champion(service, KEEN)
    other, third = version(service, "finale", KEEN), version(service, "season", KEEN)
    service.trials.start(against_champion("best", "notes", other.id), "ann", "")
    service.trials.read("best", "better", "ann", champion=made.id, reasons=["it is better"])
    assert [note.about for note in today(service).waiting] == ["best"]
    Approvals(service.registry).override("notes", third.id, "bob", "it is urgent")
    assert today(service).waiting == ()


def test_jobs_that_fail_old_champions_and_refused_rows_are_unwell(service):
    champion(service, KEEN)
    leases = Leases(service.store)
    with leases.hold("seal") as held:
        assert held
        leases.finished("seal", result="failed: no space", failed=True)
    service.lake.append("events", pl.DataFrame({"event_id": [None]}), source="bad.csv")
    found = notes_of(today(service, now=datetime.now(UTC) + timedelta(days=60)).unwell)
    assert "no space" in found["job seal"].what
    assert "days old" in found["notes@1"].what
    assert "1 rows were refused" in found["quarantine"].what


def test_a_processor_in_an_outage_is_unwell_while_it_lasts(service):
    now = datetime.now(UTC)
    rows = [
        Processor(processor="gold", currency="EUR"),
        Outage(processor="gold", starts_at=now - timedelta(hours=1), ends_at=now),
    ]
    service.lake.put(rows)
    assert (
        "an outage is known"
        in notes_of(today(service, now - timedelta(minutes=5)).unwell)["gold"].what
    )
    assert "gold" not in notes_of(today(service, now + timedelta(minutes=5)).unwell)
