"""What Today says: what was earned beside a holdout, what waits, what is unwell."""

from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import polars as pl
import pytest
from msgspec.structs import replace

from matinee.decisions import Decider
from matinee.desk.views import encode
from matinee.evaluation.gate import Verdict
from matinee.evaluation.intervals.base import Interval
from matinee.experiments.plan import Holdout
from matinee.insights.today import today
from matinee.lake.billing import Outage, Processor
from matinee.lake.rows import records_of
from matinee.lake.schemas import SCHEMAS
from matinee.models import Dataset, Histories, Popularity, Vocabulary
from matinee.policies import EpsilonGreedy
from matinee.registry import Approvals, against_champion
from matinee.service.arms import Arms
from matinee.service.leases import Leases
from matinee.service.outcomes import close_windows
from matinee.surfaces import Request
from matinee.surfaces.base import Holdout as ByRule
from notes import START, WORTH, Nobody, Notes, append, champion, decided, version, written
from service_rows import HOUR, decision, log, play

KEEN = EpsilonGreedy(epsilon=0.1)
PASS = Verdict(
    "passes", ("it is better",), (), 0.03, 9000, 4000.0, 0.0, Interval(0.03, 0.01, 0.05, 0.97, "n")
)


@pytest.fixture
def service(notes_service):
    return notes_service


def lived(service, members=1_000):
    """A champion that likes the best, and a quarter of the members who keep the worst."""
    (service.folder / "salt").write_bytes(bytes(32))  # the same members are held out in each run
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


def reward(service, **more):
    """What was earned on the surface `notes`."""
    (measured,) = of(today(service, **more)).measures
    assert measured.measure == "reward"
    return measured


def notes_of(notes):
    return {note.about: note for note in notes}


def test_what_was_earned_stands_beside_the_holdout(service):
    made = lived(service)
    standing = of(today(service))
    assert standing.champion == made.id
    (measured,) = standing.measures
    week = measured.week
    assert week.decisions == 1_000
    assert week.total == pytest.approx(1_000 * week.value)
    assert 0.4 < week.value < 0.6
    (beside,) = week.beside
    assert beside.holdout == "before"
    assert 0.1 < beside.held < 0.4
    assert 990 < beside.decisions + beside.members <= 1_000  # some came before the first held
    expected = 0.9 * (WORTH["finale"] - WORTH["none"])
    assert beside.difference.low < expected < beside.difference.high
    assert beside.difference.high - beside.difference.low < 0.4
    for end in ("value", "low", "high"):
        whole = beside.decisions * getattr(beside.difference, end)
        assert getattr(beside.total, end) == pytest.approx(whole)


def test_the_difference_is_known_at_the_ends_of_days_and_the_last_is_of_all(service):
    lived(service)
    measured = reward(service)
    assert measured.looks
    assert measured.looks[-1][1] == measured.ever.beside[0].difference
    assert [end for end, _ in measured.looks] == sorted({end for end, _ in measured.looks})


def test_what_others_decided_is_not_what_the_service_earned(service):
    lived(service, members=200)
    (row,) = records_of(service.lake.scan("decisions").head(1).collect(), SCHEMAS["decisions"])
    strange = {"decision_id": "s", "request_id": "s", "policy": "notes@world"}
    append(service, "decisions", [replace(row, **strange)])
    Notes.answers["s"] = 1.0
    close_windows(service)
    assert reward(service).ever.decisions == 200


def test_a_week_is_of_what_closed_in_seven_days_and_ever_is_all(service):
    lived(service, members=200)
    last = START + timedelta(seconds=60 * 199) + Notes.window + timedelta(minutes=10)
    found = reward(service, now=last.replace(hour=0, minute=0) + timedelta(days=7))
    assert found.week.decisions == 0
    assert found.week.beside == ()
    assert found.ever.decisions == 200
    assert len(found.ever.beside) == 1
    assert reward(service, now=last + timedelta(days=6)).week.decisions == 200


def handmade(service, rows):
    """Decisions of the champion but for (member, hours from the start, arm, reward)."""
    made = champion(service, KEEN, best="finale")
    (one,) = decided(service, made, 1)
    decisions = []
    for number, (member, hours, arm, answered) in enumerate(rows):
        policy = f"notes@{arm}" if arm in HELD else made.id
        told = {"decision_id": f"h{number}", "request_id": f"h{number}", "member_id": member}
        told |= {"at": START + timedelta(hours=hours), "arm": arm, "policy": policy}
        decisions.append(replace(one, **told))
        Notes.answers[f"h{number}"] = answered
    assert written(service, *decisions).rejected == 0
    close_windows(service)


HELD = {
    name: ByRule(0.1, EpsilonGreedy(epsilon=1.0), lambda candidates: np.zeros(len(candidates)))
    for name in ("fixed", "even")
}


def test_a_surfaces_own_holdouts_and_one_that_was_held_are_told_alike(service, monkeypatch):
    """Each against those who are in none; who was in two arms counts in none of the others."""
    monkeypatch.setattr(Notes, "holdouts", lambda self: HELD)
    service.trials.hold(Holdout(name="long", share=0.2, surface="notes"), "ann", "")
    rows = [(f"free{number}", 3.0, None, float(number % 2)) for number in range(300)]
    for name, worth in (("fixed", 0.0), ("even", 1.0), ("long", 0.0)):
        rows += [(f"{name}{number}", 3.0, name, worth) for number in range(150)]
    rows += [(f"fixed{number}", 4.0, None, 1.0) for number in range(150)]
    rows += [(f"early{number}", 1.0, None, 1.0) for number in range(100)]
    handmade(service, rows)
    found = {one.holdout: one for one in reward(service).ever.beside}
    assert set(found) == {"fixed", "even", "long"}
    for name, expected in (("fixed", 0.5), ("even", -0.5), ("long", 0.5)):
        one = found[name]
        assert one.difference.value == pytest.approx(expected)
        assert (one.members, one.decisions) == (150, 300)  # what was before it began is aside
        assert one.held == {"fixed": 0.0, "even": 1.0, "long": 0.0}[name]
        assert one.difference.level == pytest.approx(1 - 0.05 / 6)  # of three, this week and ever


def test_without_a_holdout_what_each_version_and_arm_earned_is_told(service):
    rows = [(f"a{number}", 1.0, None, 1.0) for number in range(30)]
    rows += [(f"b{number}", 1.0, "fresh:treatment", float(number < 5)) for number in range(10)]
    handmade(service, rows)
    found = reward(service)
    assert found.ever.beside == ()
    assert found.looks == ()
    assert [(one.name, one.decisions, one.value.value) for one in found.arms] == [
        ("notes@1", 30, 1.0),
        ("fresh:treatment", 10, 0.5),
    ]


def test_titles_are_told_in_minutes_of_what_answered_and_in_plays(service):
    """A play counts that names the decision, of what it showed, in its window, known in time."""
    one = decision("d1", "m1", PAST, ("a", "b"))
    log(service, one, decision("d2", "m2", PAST, ("a", "b")))
    log(service, play("right", at=PAST + timedelta(hours=1), minutes=60.0))
    log(service, play("right too", at=PAST + timedelta(hours=2), title="b", minutes=20.0))
    log(service, play("late", at=PAST + timedelta(hours=25), minutes=600.0))
    log(service, play("of another title", at=PAST + timedelta(hours=1), title="z", minutes=600.0))
    log(service, play("of none", at=PAST + timedelta(hours=1), decision_id=None, minutes=600.0))
    log(service, play("strange", "m2", PAST + timedelta(hours=1), minutes=600.0))
    reported = play("known late", at=PAST + timedelta(hours=1), minutes=600.0)
    log(service, reported, known=PAST + timedelta(days=2))
    version_of_titles(service)
    close_windows(service)
    minutes, plays = of(today(service), "titles").measures
    assert (minutes.measure, plays.measure) == ("minutes", "reward")
    assert (minutes.ever.decisions, minutes.ever.total, minutes.ever.value) == (2, 80.0, 40.0)
    assert (plays.ever.total, plays.ever.value) == (2.0, 1.0)


def test_minutes_are_of_the_plays_that_may_count_whether_they_name_the_title_or_its_slot(service):
    log(service, decision("d1", "m1", PAST, ("a", "b")))
    slot = replace(play("by slot", at=PAST + HOUR, minutes=60.0), title_id=None, position=0)
    log(service, slot, replace(play("by both", at=PAST + HOUR, minutes=20.0), position=0))
    other = play("of another slot", at=PAST + HOUR, title="b", minutes=600.0)
    log(service, replace(other, position=0))
    version_of_titles(service)
    close_windows(service)
    minutes, plays = of(today(service), "titles").measures
    assert plays.ever.total == 1.0
    assert minutes.ever.total == 80.0


PAST = datetime.now(UTC) - timedelta(days=3)


def version_of_titles(service):
    """A version that is called as in the rows of tests."""
    model = Popularity().fit(Dataset.of(Vocabulary(["a", "b"]), Histories.of([[0, 1]])))
    made = {"data_as_of": PAST, "settings": {}, "metrics": {}, "by": "test"}
    assert service.registry.register("titles", model, KEEN, **made).id == "titles@1"


def test_the_money_of_a_service_is_named_where_it_is_known(service):
    assert today(service).currency is None
    service.lake.put([Processor(processor="gold", currency="EUR")])
    assert today(service).currency == "EUR"
    service.lake.put([Processor(processor="silver", currency="USD")])
    assert today(service).currency is None


def test_all_of_it_is_plain_data(service):
    lived(service, members=200)
    told = msgspec.json.decode(encode(today(service)))
    (notes,) = [one for one in told["standings"] if one["surface"] == "notes"]
    assert notes["measures"][0]["ever"]["decisions"] == 200
    assert told["explored"] is None


def test_a_service_without_anything_is_well_and_has_earned_nothing(service):
    found = today(service)
    weeks = [measured.week for one in found.standings for measured in one.measures]
    assert [one.champion for one in found.standings] == [None] * 4
    assert [week.decisions for week in weeks] == [0] * 6
    (first,) = found.waiting
    assert (first.about, first.step) == ("shows", "matinee import SOURCE")
    assert found.unwell == ()


def test_what_passed_waits_until_it_is_approved(service):
    other = version(service, "finale", KEEN)
    first = notes_of(today(service).waiting)["notes"]
    assert first.step == f"matinee promote {other.id}"
    assert first.change == ("promote", other.id)
    assert first.link == "/desk/surface?name=notes"
    made = champion(service, KEEN)
    assert today(service).waiting == ()
    approvals = Approvals(service.registry)
    kinds = {"champion": made.id, "turn": 1, "anytime": True, "by": "ann"}
    approvals.record_verdict("notes", other.id, PASS, **kinds)
    (note,) = today(service).waiting
    assert note.about == other.id
    assert note.change == ("approve", other.id)
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
    note = notes_of(found.waiting)["best"]
    assert (note.what, note.change) == ("it is better", ("win", "best"))
    assert note.link == "/desk/experiment?name=best"
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


def test_an_experiment_whose_arms_are_uneven_is_told_with_its_reason(service):
    made = champion(service, KEEN)
    service.trials.start(
        against_champion("best", "notes", version(service, "finale", KEEN).id), "ann", ""
    )
    service.trials.read("best", "broken", "ann", champion=made.id, reasons=["900 and 100"])
    note = notes_of(today(service).unwell)["best"]
    assert (note.what, note.change) == ("900 and 100", ("end", "best"))
    service.trials.read("best", "open", "ann", champion=made.id, reasons=["nothing yet"])
    assert "best" not in notes_of(today(service).unwell)


def said(service, now, about="notes"):
    return [note.what for note in today(service, now).unwell if note.about == about]


def test_a_surface_that_falls_silent_is_told_and_one_that_decides_seldom_is_not(service):
    made = champion(service, KEEN)
    written(service, *decided(service, made, 40, days=4))
    close_windows(service)
    last = START + timedelta(days=4) * 39 / 40
    assert said(service, last + timedelta(hours=23)) == []
    assert said(service, last + timedelta(hours=30)) == ["no decision for 30 hours"]
    assert said(service, last + timedelta(days=9)) == ["no decision for 9 days"]


def test_a_day_without_a_decision_is_usual_where_there_are_few(service):
    made = champion(service, KEEN)
    written(service, *decided(service, made, 2, days=4))
    close_windows(service)
    assert said(service, START + timedelta(days=4)) == []


def test_outcomes_that_are_not_written_are_told_an_hour_after_they_are_due(service):
    made = champion(service, KEEN)
    written(service, *decided(service, made, 5, days=0.001))
    due = START + Notes.window + timedelta(minutes=10)
    assert said(service, due + timedelta(minutes=59)) == []
    (note,) = said(service, due + timedelta(hours=2))
    assert note.startswith("5 decisions are over")
    close_windows(service)
    assert said(service, due + timedelta(hours=2)) == []


@pytest.mark.parametrize(("often", "told"), [(0, False), (5, False), (6, True)])
def test_a_fallback_that_decides_too_often_is_told(service, often, told):
    """Six of a hundred are more than one in twenty; the rule of a holdout is as it should be."""
    made = champion(service, KEEN)
    service.trials.hold(Holdout(name="long", share=0.2, surface="notes"), "ann", "")
    rows = decided(service, made, 150, days=0.01)
    ruled = [replace(one, policy="notes@fallback", arm="long") for one in rows[100:]]
    fell = [replace(one, policy="notes@fallback") for one in rows[100 - often : 100]]
    written(service, *rows[: 100 - often], *fell, *ruled)
    found = said(service, START + timedelta(hours=1))
    assert found == (["the fallback made 6% of the last day's decisions"] if told else [])


def test_rows_that_wait_in_the_inbox_for_an_hour_are_told_until_they_are_sealed(service):
    service.lake.put([Processor(processor="gold", currency="EUR")])
    now = datetime.now(UTC)
    assert said(service, now + timedelta(minutes=50), "processors") == []
    (note,) = said(service, now + timedelta(hours=3), "processors")
    assert note.startswith("rows wait to be sealed, the oldest for ")
    service.lake.seal()
    assert said(service, now + timedelta(hours=3), "processors") == []


def test_broken_propensities_and_a_policy_that_cannot_be_read_are_told(service):
    made = champion(service, KEEN)
    rows = decided(service, made, 60, days=0.01)
    written(service, *(replace(one, propensities=[1.0]) for one in rows))
    found = notes_of(today(service, START + timedelta(hours=1)).unwell)[made.id]
    assert "of the latest 50 decisions cannot be rebuilt" in found.what
    assert found.link.startswith("/desk/decision?id=")
    (service.registry.folder / "notes" / str(made.number) / "policy.json").unlink()
    assert said(service, START + timedelta(hours=1)) == [f"the policy of {made.id} cannot be read"]


def test_what_moved_is_told_from_what_to_what(service):
    made = champion(service, KEEN)
    start = START - timedelta(days=31)
    rows = [
        replace(one, at=start + number * timedelta(minutes=24), member_id=f"m{number % 150}")
        for number, one in enumerate(decided(service, made, 2_100))
    ]
    late = start + timedelta(days=28)
    moved = [replace(one, context={"country": "DE"}) if one.at > late else one for one in rows]
    written(service, *moved)
    close_windows(service)
    found = said(service, start + timedelta(days=35))
    assert any("DE from 0.0% to 100.0%" in what for what in found)
