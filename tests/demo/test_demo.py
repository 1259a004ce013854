"""The demonstration goes round the loop, and says so."""

import json
import re
import shutil
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import polars as pl
import pytest

from matinee import demo
from matinee.cli import run
from matinee.registry import Approvals
from matinee.service import training
from matinee.service.folder import Service
from matinee.service.outcomes import Unmatched
from matinee.world import Settings

MEMBERS = 120
SMALL = partial(Settings, members=MEMBERS, titles=80, days=6, pictures=3)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory) -> Path:
    """A small demonstration, made once and only looked at."""
    folder = tmp_path_factory.mktemp("demo") / "demo-service"
    demo.simulated(folder, SMALL()).close()
    return folder


@pytest.fixture
def service(simulated: Path):
    with Service.open(simulated) as opened:
        yield opened


@pytest.mark.slow
def test_it_says_what_it_does_and_how_to_go_on(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(demo.loop, "WorldSettings", SMALL)
    monkeypatch.setattr(demo.loop, "PICTURES", 2)
    folder = tmp_path / "my demo"
    assert run(["demo", str(folder), "--no-serve"]) == 0
    printed = capsys.readouterr()
    said, table = printed.err, printed.out
    for model in ("popularity", "covisitation", "ease"):
        assert model in table
    assert "simulated" in said.splitlines()[0]
    assert "is the champion: highest NDCG@10 on the validation targets" in said
    assert f"next: matinee serve --service '{folder}'" in said


def test_everything_in_it_is_called_simulated(service):
    assert service.simulated


def test_the_champion_is_the_best_on_validation_and_knew_nothing_later(service):
    champion = service.registry.alias("titles", "champion")
    end = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
    assert champion.data_as_of in {end, end - timedelta(days=1)}  # midnight may have passed
    assert champion.model == training.best_on_validation(service, as_of=champion.data_as_of)
    assert champion.metrics["report"] == training.reports(service, "titles")[-1].name


@pytest.mark.slow
def test_the_true_values_are_told_in_a_sensible_order(tmp_path, capsys):
    demo.simulated(tmp_path / "shows", SMALL(pictures=0)).close()
    told = re.findall(r"^  (\S.*?) +(\d\.\d{3})  \(", capsys.readouterr().err, re.MULTILINE)
    values = {name: float(value) for name, value in told}
    assert len(values) == 6
    assert values["chance"] < values["titles@3 (ease)"] < values["the best possible"]
    assert max(values.values()) == values["the best possible"]


def test_visits_come_after_the_log_and_their_outcomes_are_taken_in(service):
    lake, champion = service.lake, service.registry.alias("titles", "champion")
    decisions = lake.scan("decisions").collect()
    visits = decisions.filter(pl.col("policy") == champion.id)
    assert visits.height == MEMBERS
    assert visits["at"].min() >= champion.data_as_of
    plays = (
        lake.scan("events")
        .filter(pl.col("kind") == "play", pl.col("value") >= 5)
        .join(visits.lazy().select("decision_id"), on="decision_id")
        .select("decision_id", "position")
        .unique()
        .collect()
    )
    outcomes = lake.scan("outcomes").join(visits.lazy(), on="decision_id").collect()
    assert plays.height > 0
    assert outcomes["reward"].sum() == plays.height
    assert outcomes.height == visits["actions"].list.len().sum()


def test_every_decision_is_paid_out_and_every_event_has_its_decision(service):
    decisions = service.lake.scan("decisions").select("decision_id", "actions").collect()
    positions = service.lake.scan("outcomes").select(pl.len()).collect().item()
    assert positions == decisions["actions"].list.len().sum()
    assert Unmatched(service.store).count() == 0
    assert service.lake.quarantine().is_empty()


def test_a_finished_demonstration_is_not_made_again(simulated, tmp_path, capsys):
    folder = Path(shutil.copytree(simulated, tmp_path / "again"))
    assert run(["demo", str(folder), "--no-serve"]) == 0
    assert "has been made before" in capsys.readouterr().err
    with Service.open(folder) as service:
        assert len(service.registry.versions("titles")) == 4
        assert len(training.reports(service, "titles")) == 1


def test_a_challenger_was_judged_and_the_verdict_stands(simulated):
    with Service.open(simulated) as service:
        (verdict,) = Approvals(service.registry).verdicts("titles")
        assert verdict.candidate == service.registry.alias("titles", "challenger").id
        assert verdict.champion == service.registry.alias("titles", "champion").id
        assert list((service.folder / "reports").glob(f"{verdict.candidate}-*.html"))


def test_pictures_are_drawn_shown_learned_from_and_judged(service):
    pictures = service.lake.current("pictures")
    assert pictures.height == 80 * 3
    posters = list((service.folder / "artwork").glob("*.svg"))
    assert len(posters) == 2 * pictures.height
    champion = service.registry.alias("artwork", "champion")
    assert (champion.model, champion.id) == ("linear", "artwork@1")
    decisions = service.lake.scan("decisions").filter(pl.col("surface") == "artwork").collect()
    counts = dict(decisions.group_by("policy").len().iter_rows())
    assert counts["artwork@world"] > counts["artwork@1"] > 100
    units = decisions.filter(pl.col("policy") == "artwork@world").select("member_id", "subject")
    assert units.n_unique() == units.height, "drawn once"
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
def test_one_that_was_cut_short_goes_on(tmp_path, monkeypatch):
    folder = tmp_path / "shows"

    def cut(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(demo.loop, "_learn", cut)
        patch.setattr(demo.loop, "WorldSettings", SMALL)
        assert run(["demo", str(folder), "--no-serve"]) == 130
    with demo.simulated(folder, SMALL(pictures=5)) as service:
        events = service.lake.scan("events").select("member_id", "event_id").collect()
        assert events.n_unique() == events.height
        assert service.registry.alias("titles", "champion") is not None


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
