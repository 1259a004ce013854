"""Rewards that are not what a surface promised are not written, and other surfaces go on."""

from datetime import timedelta

import polars as pl
import pytest

from matinee.errors import MatineeError
from matinee.policies import EpsilonGreedy
from matinee.service.folder import Service
from matinee.service.jobs import Worker
from matinee.service.outcomes import close_windows
from matinee.surfaces import SURFACES, Candidates, Surface
from service_rows import AT, decision, log, play


class Banner(Surface):
    name = "banner"
    reward_range = (0.0, 1.0)
    window = timedelta(hours=1)
    choices = Candidates.of(["blue", "red"])
    gives = staticmethod(lambda rows: rows)

    def eligible(self, request):
        return self.choices

    def policies(self):
        return {"explore": EpsilonGreedy()}

    def reward(self, decisions, events):
        return self.gives(decisions.select("decision_id", position=0, reward=1.0))


@pytest.fixture
def service(tmp_path, monkeypatch):
    monkeypatch.setitem(SURFACES, "banner", Banner)
    with Service.create(tmp_path / "shows") as made:
        log(made, decision("t1", actions=["a"]), play(decision_id="t1"))
        log(made, decision("b1", actions=["red"], surface="banner"))
        yield made


def written(service):
    return sorted(service.lake.scan("outcomes").collect()["decision_id"])


@pytest.mark.parametrize(
    ("gives", "says"),
    [
        (lambda rows: rows.with_columns(reward=pl.lit(float("nan"))), "gave nan"),
        (lambda rows: rows.with_columns(reward=pl.lit(None, pl.Float64)), "gave None"),
        (lambda rows: rows.with_columns(reward=pl.lit(1.5)), "outside its range 0.0 to 1.0"),
        (lambda rows: rows.with_columns(reward=pl.lit(float("inf"))), "gave inf"),
        (lambda rows: rows.clear(), "gave 0 rows for 1 positions"),
        (lambda rows: pl.concat([rows, rows]), "gave 2 rows for 1 positions"),
        (lambda rows: rows.with_columns(position=pl.lit(1)), "one row"),
        (lambda rows: rows.with_columns(decision_id=pl.lit("other")), "one row"),
        (lambda rows: rows.drop("reward"), "reward() of banner failed: ColumnNotFoundError"),
        (lambda rows: rows.with_columns(reward=pl.lit("much")), "reward() of banner failed"),
        (lambda rows: rows.lazy(), "reward() of banner failed"),
        (lambda rows: None, "reward() of banner failed: TypeError"),
        (lambda rows: 1 / 0, "reward() of banner failed: ZeroDivisionError: division by zero"),
    ],
)
def test_wrong_rewards_are_told_and_wait_until_they_are_mended(service, monkeypatch, gives, says):
    monkeypatch.setattr(Banner, "gives", staticmethod(gives))
    for _ in range(2):
        with pytest.raises(MatineeError) as told:
            close_windows(service)
        assert says in told.value.why
        assert written(service) == ["t1"]
    monkeypatch.undo()
    monkeypatch.setitem(SURFACES, "banner", Banner)
    assert close_windows(service) == "1 outcomes"
    assert written(service) == ["b1", "t1"]


def test_the_worker_says_so_and_does_its_other_jobs(service, monkeypatch):
    monkeypatch.setattr(Banner, "gives", staticmethod(lambda rows: rows.clear()))
    done = Worker(service).run_once()
    assert "banner: outcomes cannot be written" in done["outcomes"]
    assert not done["seal"].startswith("failed")
    assert written(service) == ["t1"]


def test_an_event_after_the_window_of_its_own_surface_does_not_reach_its_reward(
    service, monkeypatch
):
    """The banner's window is one hour, that of titles a day: the platform keeps both."""
    seen = []

    def reward(self, decisions, events):
        seen.extend(events["event_id"])
        return decisions.select("decision_id", position=0, reward=0.0)

    monkeypatch.setattr(Banner, "reward", reward)
    at = AT + timedelta(minutes=59)
    log(service, play("in time", decision_id="b1", at=at))
    log(service, play("too late", decision_id="b1", at=AT + timedelta(hours=1)))
    log(service, play("not ours", member="m2", decision_id="b1", at=at))
    close_windows(service)
    assert seen == ["in time"]


def test_a_decision_of_nothing_is_not_asked_about(service):
    log(service, decision("nothing", actions=[], surface="banner"))
    assert close_windows(service) == "2 outcomes"
    assert written(service) == ["b1", "t1"]


def test_a_surface_that_was_away_goes_on_where_it_was(service, monkeypatch):
    monkeypatch.delitem(SURFACES, "banner")
    service.refresh()
    assert close_windows(service) == "1 outcomes"
    assert written(service) == ["t1"]
    monkeypatch.setitem(SURFACES, "banner", Banner)
    service.refresh()
    assert close_windows(service) == "1 outcomes"
    assert written(service) == ["b1", "t1"]
