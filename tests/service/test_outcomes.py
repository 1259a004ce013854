"""Attribution windows close once, at the right time, on what was known by then."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from matinee.api.gauges import ServiceGauges
from matinee.errors import MatineeError
from matinee.lake.lake import Appended, Lake
from matinee.service.folder import Service
from matinee.service.jobs import Worker
from matinee.service.outcomes import GRACE, Progress, Unmatched, close_windows
from matinee.service.runtime import Runtime
from service_rows import AT, HOUR, decision, log, play

WINDOW = 2 * HOUR
CLOSES = AT + WINDOW + GRACE


@pytest.fixture
def new_service(tmp_path: Path):
    """Makes services whose window is two hours."""
    opened = []

    def make(name="shows", buckets=4) -> Service:
        settings = {"surfaces.titles.window": "2h", "lake.buckets": buckets}
        opened.append(Service.create(tmp_path / name, settings))
        return opened[-1]

    yield make
    for service in opened:
        service.close()


@pytest.fixture
def service(new_service) -> Service:
    return new_service()


def outcomes(service: Service):
    found = service.lake.scan("outcomes").collect()
    return {
        (row["decision_id"], row["position"]): row["reward"] for row in found.iter_rows(named=True)
    }


def test_a_window_closes_when_it_and_its_grace_have_passed(service):
    log(service, decision(), play())
    assert close_windows(service, CLOSES - timedelta(microseconds=1)) == ""
    assert outcomes(service) == {}
    assert close_windows(service, CLOSES) == "2 outcomes"
    assert outcomes(service) == {("d1", 0): 1.0, ("d1", 1): 0.0}


def test_an_outcome_says_what_it_is_of(service):
    log(service, decision(actions=["a"]), play())
    close_windows(service)
    (row,) = service.lake.scan("outcomes").drop("seq").collect().iter_rows(named=True)
    assert row == {
        "decision_id": "d1",
        "member_id": "m1",
        "surface": "titles",
        "position": 0,
        "action": "a",
        "reward": 1.0,
        "decided_at": AT,
        "closed_at": CLOSES,
        "known_at": CLOSES,
    }


def test_closing_again_adds_nothing(service):
    log(service, decision(), play())
    close_windows(service)
    before = service.lake.scan("outcomes").collect()
    assert close_windows(service) == ""
    Progress(service.store).advance("titles", 0)  # as if it had been lost
    assert close_windows(service) == ""
    assert service.lake.scan("outcomes").collect().equals(before)


@pytest.mark.parametrize(
    ("at", "known", "reward"),
    [
        (AT, AT, 1.0),
        (AT - timedelta(microseconds=1), AT, 0.0),
        (AT + WINDOW - timedelta(microseconds=1), CLOSES, 1.0),
        (AT + WINDOW, AT + WINDOW, 0.0),
        (AT + HOUR, CLOSES + timedelta(microseconds=1), 0.0),
    ],
    ids=["at once", "before it", "late but in the grace", "after the window", "known too late"],
)
def test_what_happened_in_the_window_counts_if_it_was_known_in_time(service, at, known, reward):
    log(service, decision(actions=["a"]))
    log(service, play(at=at), known=known)
    close_windows(service)
    assert outcomes(service) == {("d1", 0): reward}


def test_an_event_twice_counts_once(service):
    log(service, decision(), play(), play(), play(name="e2", at=AT + HOUR / 2))
    close_windows(service)
    assert outcomes(service) == {("d1", 0): 1.0, ("d1", 1): 0.0}


def test_events_of_others_and_of_no_decision_are_counted_and_never_credited(new_service):
    service = new_service(buckets=1)  # everyone is in the same bucket
    log(
        service,
        decision(actions=["a"]),
        play(name="of another member", member="m2"),
        play(name="of a decision that is not there", decision_id="d9"),
        play(name="of no decision", decision_id=None),
    )
    assert close_windows(service) == "1 outcomes, 2 events without a decision"
    assert outcomes(service) == {("d1", 0): 0.0}


def test_an_unmatched_event_is_counted_once_and_shown_in_the_metrics(service):
    log(service, play(decision_id="d9"))
    assert Worker(service).run_once()["outcomes"] == "1 events without a decision"
    assert close_windows(service) == ""
    log(service, play(name="e2", decision_id="d9"))
    close_windows(service)
    with Runtime(service) as runtime:
        samples = {
            sample.name: sample.value
            for family in ServiceGauges(runtime).collect()
            for sample in family.samples
        }
    assert samples["matinee_unmatched_events"] == Unmatched(service.store).count() == 2


def test_an_event_that_came_over_the_wire_finds_its_decision(service):
    service.lake.put([decision()])
    service.lake.put([play()])
    assert close_windows(service, CLOSES) == "2 outcomes"
    assert Unmatched(service.store).count() == 0


def test_the_checkpoint_waits_for_what_is_still_open(service):
    log(service, decision("old"), decision("open", at=AT + 5 * HOUR), decision("late comer"))
    assert close_windows(service, CLOSES) == "4 outcomes"
    assert {name for name, _ in outcomes(service)} == {"old", "late comer"}
    log(service, play(at=AT + 6 * HOUR, decision_id="open"))
    assert close_windows(service, CLOSES + 5 * HOUR) == "2 outcomes"
    assert outcomes(service)["open", 0] == 1.0
    assert len(outcomes(service)) == 6


def test_a_decision_without_actions_holds_nothing_up(service):
    log(service, decision("empty", actions=[]), decision("d2"))
    assert close_windows(service) == "2 outcomes"
    log(service, decision("d3"))
    assert close_windows(service) == "2 outcomes"


def test_imported_history_gets_its_outcomes(service):
    """Decisions of years ago, imported at once with their events."""
    log(service, decision("d1"), decision("d2", at=AT - timedelta(days=900), member="m2"))
    log(service, play("e2", "m2", AT - timedelta(days=900) + HOUR, decision_id="d2"))
    close_windows(service)
    assert outcomes(service)["d2", 0] == 1.0


class KilledError(BaseException):
    """Nothing catches it, as nothing catches SIGKILL."""


@pytest.mark.parametrize("survives", [0, 1, 2])
def test_a_run_killed_between_buckets_is_done_again(new_service, monkeypatch, survives):
    members = [f"m{number}" for number in range(12)]
    records = [decision(f"d-{m}", m) for m in members]
    records += [play(f"e-{m}", m, decision_id=f"d-{m}") for m in members[::2]]
    records += [play("stranger", decision_id="nowhere")]
    whole, cut = new_service("whole"), new_service("cut")
    for service in (whole, cut):
        log(service, *records)
    close_windows(whole)

    append, calls = Lake.append, []

    def dying(self, *args, **kwargs):
        if len(calls) == survives:
            raise KilledError
        calls.append(1)
        return append(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr("matinee.service.outcomes.HELD_ROWS", 1)  # a commit for every bucket
        patch.setattr(Lake, "append", dying)
        with pytest.raises(KilledError):
            close_windows(cut)
    assert (len(outcomes(cut)) > 0) == (survives > 0)
    close_windows(cut)
    assert outcomes(cut) == outcomes(whole)
    assert len(outcomes(cut)) == cut.lake.scan("outcomes").select(pl.len()).collect().item() == 24
    assert Unmatched(cut.store).count() == Unmatched(whole.store).count() == 1


def test_the_window_is_the_one_of_the_settings(service, tmp_path):
    assert service.surfaces["titles"].window == WINDOW
    with Service.create(tmp_path / "plain") as plain:
        assert plain.surfaces["titles"].window == plain.settings.surfaces.titles.window.delta


def test_decisions_of_a_surface_that_the_service_lacks_are_left_alone(service):
    log(service, decision("elsewhere", surface="billboard"), decision("d1"))
    assert close_windows(service) == "2 outcomes"
    assert {name for name, _ in outcomes(service)} == {"d1"}


def test_nobody_closes_what_is_to_come(service):
    log(service, decision())
    with pytest.raises(ValueError, match="in the future"):
        close_windows(service, datetime.now(UTC) + HOUR)
    assert outcomes(service) == {}


def test_outcomes_that_the_lake_refuses_stay_due(service, monkeypatch):
    log(service, decision(), play())
    refused = lambda *_, **__: Appended(0, 0, 2)  # noqa: E731
    with monkeypatch.context() as patch:
        patch.setattr(Lake, "append", refused)
        with pytest.raises(MatineeError, match="2 outcomes were refused"):
            close_windows(service)
    assert close_windows(service) == "2 outcomes"
