"""The demonstration has lived its days, and says so."""

import json
import re
import shutil
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest

from matinee import demo
from matinee.cli import run
from matinee.decisions.rebuild import rebuild
from matinee.demo.calendar import Calendar
from matinee.insights.ahead import ALL
from matinee.insights.recovered import recovered
from matinee.insights.today import today
from matinee.lake.records import Decision
from matinee.lake.rows import records_of
from matinee.lake.schemas import SCHEMAS
from matinee.registry import Approvals
from matinee.service import training
from matinee.service.arms import Arms
from matinee.service.folder import Service
from matinee.service.leases import Leases
from matinee.service.logged import logged
from matinee.service.outcomes import GRACE, Unmatched
from matinee.surfaces import Request
from matinee.world import Settings, World
from matinee.world.payments import PaymentsWorld
from matinee.world.payments_settings import PaymentsSettings

SIZE = {
    "members": 900,
    "titles": 150,
    "days": 26,
    "sessions_per_day": 0.9,
    "slots": 10,
    "pictures": 2,
}
SMALL = partial(Settings, **SIZE)
TINY = partial(Settings, members=120, titles=80, days=12, slots=6)
"""Too small for any verdict but that support is lacking."""


@pytest.fixture(scope="module")
def simulated(tmp_path_factory) -> Path:
    """A small demonstration, made once and only looked at."""
    folder = tmp_path_factory.mktemp("demo") / "demo-service"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            demo.ranking, "MEASURED", 40
        )  # the truth is told of few, and is not looked at
        demo.simulated(folder, SMALL()).close()
    return folder


@pytest.fixture
def service(simulated: Path):
    with Service.open(simulated) as opened:
        yield opened


@pytest.fixture
def days(service) -> Calendar:
    """The days of the service, even where midnight has passed since it was made."""
    first = service.registry.get("titles@1").data_as_of
    return Calendar.of(
        SIZE["days"], first - timedelta(days=Calendar.of(SIZE["days"], first).logged)
    )


def decided(service, surface: str) -> pl.DataFrame:
    return service.lake.scan("decisions").filter(pl.col("surface") == surface).collect()


@pytest.mark.slow
def test_it_says_what_it_does_and_how_to_go_on(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(demo.loop, "SIZE", {**SIZE, "days": 12, "pictures": 0})
    folder = tmp_path / "my demo"
    assert run(["demo", str(folder), "--no-serve"]) == 0
    printed = capsys.readouterr()
    said, table = printed.err, printed.out
    for model in ("popularity", "covisitation", "ease"):
        assert model in table
    assert "simulated" in said.splitlines()[0]
    assert "is the champion: highest NDCG@10 on the validation targets" in said
    assert "What stands on the desk:" in said
    assert f"next: matinee serve --service '{folder}'" in said


def test_everything_in_it_is_called_simulated(service):
    assert service.simulated


def test_it_has_lived_until_this_morning_and_nothing_is_later_than_now(service, days):
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    assert days.end in {midnight, midnight - timedelta(days=1)}  # midnight may have passed
    decisions = service.lake.scan("decisions").select("at", "known_at", "surface").collect()
    assert decisions["at"].min() < days.at(1)
    for surface in ("titles", "artwork", "payments"):
        last = decisions.filter(pl.col("surface") == surface)["at"].max()
        assert days.at(days.days - 1) < last < days.end + timedelta(minutes=1)
    assert decisions["at"].to_list() == decisions["known_at"].to_list()
    assert service.lake.scan("events").select(pl.col("ts").max()).collect().item() < datetime.now(
        UTC
    )


def test_the_first_champion_is_the_best_on_validation_and_knew_nothing_later(service, days):
    first = service.registry.get("titles@4")
    promoted = [one for one in service.registry.history("titles") if one.action == "promote"]
    assert [(one.new, one.by) for one in promoted] == [("titles@4", "demo")]
    assert first.data_as_of == days.at(days.logged)
    assert first.model == training.best_on_validation(service, as_of=first.data_as_of)
    assert first.metrics["report"] == training.reports(service, "titles")[-1].name
    own = decided(service, "titles").filter(pl.col("policy") == "titles@4")
    assert own["at"].min() >= first.data_as_of


def test_one_version_passed_the_gate_and_was_approved_and_one_was_refused(service, days, simulated):
    passed, refused = Approvals(service.registry).verdicts("titles")
    assert (passed.candidate, passed.outcome) == ("titles@5", "passes")
    assert (refused.candidate, refused.outcome) == ("titles@6", "fails")
    assert {passed.champion, refused.champion} == {"titles@4"}
    approved = [one for one in service.registry.history("titles") if one.action == "approve"]
    assert [(one.new, one.by) for one in approved] == [("titles@5", "demo")]
    champion = service.registry.alias("titles", "champion")
    assert (champion.id, champion.data_as_of) == ("titles@5", days.at(days.learned))
    for one in (passed, refused):
        assert list((simulated / "reports").glob(f"{one.candidate}-*.html"))


def test_an_experiment_runs_and_was_read_every_day(service, days):
    (one,) = service.trials.plan().experiments
    assert one.runs(datetime.now(UTC))
    assert not one.halted
    assert one.start == days.at(days.judged)
    assert [arm.serves for arm in one.arms] == ["titles@5", "titles@7"]
    read = [step for step in service.trials.history(one.name) if step.action == "read"]
    assert len(read) == days.days - days.judged + 1, "each midnight, and by the job"
    assert {step.reason for step in read} <= {"open", "better"}
    members = [step.body["members"] for step in read]
    assert min(members[-1].values()) > 300
    assert all(sum(a.values()) <= sum(b.values()) for a, b in pairwise(members))


def test_members_are_decided_for_by_their_arm_and_a_holdout_by_the_first_champion(service, days):
    late = decided(service, "titles").filter(pl.col("at") >= days.at(days.judged))
    assert dict(late.select("arm", "policy").unique().iter_rows()) == {
        "before": "titles@4",
        "fresh:control": "titles@5",
        "fresh:treatment": "titles@7",
    }
    assert late.select("member_id", "arm").n_unique() == late["member_id"].n_unique()
    held = late.filter(pl.col("arm") == "before")["member_id"].unique()
    earlier = decided(service, "titles").filter(
        pl.col("at").is_between(days.at(days.logged), days.at(days.judged), closed="left")
    )
    assert earlier["policy"].unique().to_list() == ["titles@4"]
    theirs = earlier.filter(pl.col("member_id").is_in(held.implode()))
    assert theirs["arm"].unique().to_list() == ["before"]
    arms, row = Arms(service), late.row(0, named=True)
    asked = Request(request_id="r", member_id=row["member_id"], at=row["at"])
    assert arms.of("titles", asked).arm == row["arm"]


@pytest.mark.parametrize("surface", ["titles", "artwork", "payments"])
def test_what_versions_decided_can_be_drawn_again_from_its_record(service, surface):
    rows = decided(service, surface).filter(pl.col("actions").list.len() > 0).sort("at")
    loaded = {
        one.id: service.registry.load(one.id)[1] for one in service.registry.versions(surface)
    }
    own = rows.filter(pl.col("policy").is_in(list(loaded)))
    made: list[Decision] = records_of(
        own.gather_every(max(own.height // 60, 1)), SCHEMAS["decisions"]
    )
    assert len(made) >= 60
    for one in made:
        rebuild(one, loaded[one.policy], service.surface(surface).unit)


def test_what_was_known_at_each_decision_is_what_the_log_says_of_that_time(service, days):
    parts = list(logged(service.lake, "titles", days.at(days.logged), 5.0))
    assert sum(len(part.records) for part in parts) > 5_000
    assert sum(part.unlike for part in parts) == 0


def test_every_decision_is_paid_out_and_every_event_has_its_decision(service, days):
    rows = (
        service.lake.scan("decisions").select("decision_id", "surface", "at", "actions").collect()
    )
    for name, surface in service.surfaces.items():
        over = rows.filter(
            pl.col("surface") == name, pl.col("at") < days.end - surface.window - GRACE
        )
        outcomes = service.lake.scan("outcomes").filter(pl.col("surface") == name).collect()
        told = outcomes.join(over, on="decision_id", how="semi").height
        assert told == over["actions"].list.len().sum() > 0
    assert Unmatched(service.store).count() == 0
    assert service.lake.quarantine().is_empty()


def test_all_that_the_desk_shows_was_read_ahead_and_can_be_read_again(service):
    assert [one.name for one in ALL if one.taken(service) is None] == []


def test_what_renewals_brought_is_of_all_attempts_that_were_known_when_windows_closed(service):
    """Nothing was written down before what was on its way by then had happened."""
    surface, keys = service.surface("payments"), ["member_id", "decision_id"]
    outcomes = service.lake.scan("outcomes").filter(pl.col("surface") == "payments").collect()
    asked = decided(service, "payments").join(
        outcomes.select(*keys, "closed_at", "reward"), on=keys, suffix="_told"
    )
    about = asked.select(
        "member_id", "closed_at", answers_to="decision_id", invoice_id="subject", made="at"
    )
    answers = (
        service.lake.scan("attempts")
        .collect()
        .join(about, on=["member_id", "invoice_id"])
        .filter(
            pl.col("at").is_between("made", pl.col("made") + surface.window, closed="left"),
            pl.col("known_at") <= pl.col("closed_at"),
        )
    )
    again = surface.reward(asked.drop("reward"), answers).rename({"reward": "again"})
    both = asked.join(again, on="decision_id")
    assert both.height == asked.height > 100
    assert both["reward"].to_list() == pytest.approx(both["again"].to_list())


def test_the_jobs_ran_and_nothing_that_they_keep_well_is_unwell(service):
    jobs = Leases(service.store).statuses()
    assert {"seal", "outcomes", "experiments", "compact"} <= {job.name for job in jobs}
    assert not [job for job in jobs if job.failures]
    now = today(service)
    assert {one.surface for one in now.standings if one.champion} == {
        "titles",
        "artwork",
        "payments",
    }
    told = " ".join(note.what for note in now.unwell)
    for word in ("failed", "no decision", "not written", "sealed", "days old", "refused"):
        assert word not in told


def test_renewals_were_charged_as_decided_and_one_outage_is_over(service, days):
    (outage,) = service.lake.records("outages")
    assert days.at(days.broken) == outage.starts_at < outage.ends_at < days.end
    attempts = service.lake.scan("attempts").collect()
    during = attempts.filter(
        pl.col("processor") == outage.processor,
        pl.col("status") != "sent",
        pl.col("at").is_between(outage.starts_at, outage.ends_at),
    )
    assert (during["status"] == "failed").sum() >= 1
    known = service.lake.scan("outages").select(pl.col("known_at").min()).collect().item()
    sent = attempts.filter(pl.col("status") == "sent")
    assert sent.filter(
        pl.col("processor") == outage.processor, pl.col("at").is_between(known, outage.ends_at)
    ).is_empty()
    assert sent.filter(
        pl.col("at") > outage.ends_at, pl.col("processor") == outage.processor
    ).height
    decisions = decided(service, "payments")
    assert sent.join(decisions, on=["decision_id", "member_id"], how="anti").is_empty()
    policies = set(decisions.select("policy", "arm").unique().iter_rows())
    assert policies == {
        ("payments@fallback", None),
        ("payments@fallback", "schedule"),
        ("payments@1", None),
    }
    first = decisions.filter(pl.col("policy") == "payments@1")["at"].min()
    assert first >= days.at(days.learned)


def test_the_members_who_are_billed_are_those_who_watch(service):
    watchers = set(service.lake.current("members").select("member_id", "country").iter_rows())
    billed = set(service.lake.current("invoices").select("member_id", "country").iter_rows())
    assert len(billed) > 500
    assert billed <= watchers
    found = recovered(service)
    assert found.invoices > 600
    assert found.lines[0].failed > 40
    assert not service.lake.scan("settlements").collect().is_empty()


def test_a_finished_demonstration_is_not_made_again(simulated, tmp_path, capsys):
    folder = Path(shutil.copytree(simulated, tmp_path / "again"))
    assert run(["demo", str(folder), "--no-serve"]) == 0
    assert "has been made before" in capsys.readouterr().err
    with Service.open(folder) as service:
        assert len(service.registry.versions("titles")) == 7


def test_pictures_are_drawn_shown_learned_from_and_judged(service, days):
    pictures = service.lake.current("pictures")
    assert pictures.height == SIZE["titles"] * 2
    posters = list((service.folder / "artwork").glob("*.svg"))
    assert len(posters) == 2 * pictures.height
    champion = service.registry.alias("artwork", "champion")
    assert (champion.model, champion.id) == ("linear", "artwork@1")
    decisions = decided(service, "artwork")
    counts = dict(decisions.group_by("policy").len().iter_rows())
    assert set(counts) == {"artwork@world", "artwork@1", "artwork@fixed", "artwork@uniform"}
    drawn = decisions.filter(pl.col("policy") == "artwork@world")
    assert drawn.select("member_id", "subject").n_unique() == drawn.height, "drawn once"
    own = decisions.filter(pl.col("policy") == "artwork@1")
    assert own["at"].min() >= champion.data_as_of == days.at(days.learned)
    (verdict,) = Approvals(service.registry).verdicts("artwork")
    assert (verdict.candidate, verdict.champion) == ("artwork@2", "artwork@1")


def test_the_log_tells_what_members_liked_when_each_picture_was_drawn(service):
    """Of what they had watched before, and of nothing later."""
    drawn = (
        service.lake.scan("decisions")
        .filter(pl.col("policy") == "artwork@world")
        .collect()
        .sort("at")
    )
    told = [json.loads(text)["features"]["taste"] for text in drawn["context"]]
    assert not told[0], "nobody had watched anything"
    watched = (
        service.lake.scan("events")
        .filter(
            (pl.col("kind") == "complete") | ((pl.col("kind") == "play") & (pl.col("value") >= 5))
        )
        .select("member_id", "ts")
        .collect()
    )
    first = dict(watched.group_by("member_id").agg(pl.col("ts").min()).iter_rows())
    early = [
        taste
        for taste, (member, at) in zip(
            told, drawn.select("member_id", "at").iter_rows(), strict=True
        )
        if member not in first or at <= first[member]
    ]
    assert len(early) > 100
    assert not any(early)
    assert sum(map(bool, told)) > len(told) / 5


@pytest.mark.slow
def test_the_true_values_are_told_in_a_sensible_order(tmp_path, capsys):
    demo.simulated(tmp_path / "shows", TINY()).close()
    told = re.findall(r"^  (\S.*?) +(\d\.\d{3})  \(", capsys.readouterr().err, re.MULTILINE)
    values = {name: float(value) for name, value in told}
    assert len(values) == 7
    assert values["chance"] < values["titles@3 (ease)"] < values["the best possible"]
    assert max(values.values()) == values["the best possible"]


@pytest.mark.slow
def test_one_that_was_cut_short_before_anything_decided_goes_on(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "shows"

    def cut(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(demo.ranking, "begin", cut)
        patch.setattr(demo.loop, "WorldSettings", lambda **_: TINY())
        assert run(["demo", str(folder), "--no-serve"]) == 130
    with demo.simulated(folder, TINY()) as service:
        for table, key in (("events", "event_id"), ("decisions", "decision_id")):
            rows = service.lake.scan(table).select("member_id", key).collect()
            assert rows.n_unique() == rows.height
        assert service.registry.alias("titles", "champion") is not None


@pytest.mark.slow
def test_one_that_was_cut_short_later_has_to_begin_anew(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "shows"

    def cut(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo.ranking, "settle", cut)
    monkeypatch.setattr(demo.loop, "WorldSettings", lambda **_: TINY())
    assert run(["demo", str(folder), "--no-serve"]) == 130
    capsys.readouterr()
    assert run(["demo", str(folder), "--no-serve"]) == 1
    said = capsys.readouterr().err
    assert "was cut short" in said
    assert f"rm -r {folder}" in said


def test_a_movielens_folder_of_ones_own(tmp_path, capsys):
    source = tmp_path / "my-ml"
    source.mkdir()
    films = "".join(f"{n},Film {n} (1990),Drama|Crime\n" for n in range(1, 13))
    (source / "movies.csv").write_text("movieId,title,genres\n" + films)
    ratings = "".join(
        f"{member},{1 + (member * 5 + n) % 12},4.0,{1_000_000_000 + member * 100 + n}\n"
        for member in range(1, 31)
        for n in range(8)
    )
    (source / "ratings.csv").write_text("userId,movieId,rating,timestamp\n" + ratings)
    folder = tmp_path / "shows"
    assert run(["demo", str(folder), "--movielens", str(source), "--no-serve"]) == 0
    printed = capsys.readouterr()
    assert "events\t240\t0\t0" in printed.out
    assert "simulated" not in printed.err
    with Service.open(folder) as service:
        assert (service.name, service.simulated) == ("my-ml", False)
        assert service.registry.alias("titles", "champion") is not None


def test_a_folder_that_is_not_movielens_leaves_nothing_behind(tmp_path, capsys):
    folder = tmp_path / "shows"
    assert run(["demo", str(folder), "--movielens", str(tmp_path), "--no-serve"]) == 1
    assert "is not a MovieLens folder" in capsys.readouterr().err
    assert not folder.exists()


def test_visits_are_the_sessions_of_the_log_and_go_on_after_it():
    world = World(Settings(members=40, titles=80, days=2, sessions_per_day=1.0))
    (_, day) = world.days()
    visits = world.visits(1)
    assert [one.at for one in visits] == day.decisions["at"].to_list()
    assert [one.member_id for one in visits] == day.decisions["member_id"].to_list()
    contexts = [json.loads(text) for text in day.decisions["context"]]
    assert [(one.country, one.device) for one in visits] == [
        (each["country"], each["device"]) for each in contexts
    ]
    later = world.visits(30)
    assert later
    start = world.settings.start + timedelta(days=30)
    assert all(start <= one.at < start + timedelta(days=1) for one in later)


def test_titles_arrive_on_the_days_that_are_asked_for():
    usual, late = (
        World(Settings(titles=400, members=1, days=0, **more)).windows()
        for more in ({}, {"arrivals": (20, 25)})
    )
    start = Settings().start
    assert {one.title_id for one in usual} == {one.title_id for one in late}
    days = {(one.starts_at - start).days for one in late if one.starts_at}
    assert days == {20, 21, 22, 23, 24}
    with pytest.raises(ValueError, match="arrivals must be days"):
        Settings(arrivals=(5, 5))


def test_a_world_of_payments_may_bill_the_members_of_another():
    members = tuple(World(Settings(members=60, days=0)).members())
    world = PaymentsWorld(PaymentsSettings(members=60, days=40, billed=members))
    countries = {one.member_id: one.country for one in members}
    assert [one.member_id for one in world.members()] == [one.member_id for one in members]
    assert world.invoices()
    assert all(countries[one.member_id] == one.country for one in world.invoices())
    assert {one.member_id for one in world.instruments()} <= set(countries)
    with pytest.raises(ValueError, match="as many as are billed"):
        PaymentsSettings(members=59, billed=members)


def test_a_world_without_outages_of_its_own_has_those_of_its_settings_alone():
    assert PaymentsWorld(PaymentsSettings(members=5, days=300)).outages()
    assert not PaymentsWorld(PaymentsSettings(members=5, days=300, outages_a_month=0.0)).outages()
