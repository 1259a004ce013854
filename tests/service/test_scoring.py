"""Batch scoring: what it writes is what a decider would draw from, whole or not at all."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from matinee.engine import Processes
from matinee.errors import MatineeError
from matinee.lake.records import Event, Title, Window
from matinee.models import EASE
from matinee.policies import EpsilonGreedy
from matinee.service import scoring
from matinee.service.folder import Service
from matinee.service.runtime import Runtime
from matinee.surfaces import Request
from notes import Notes, champion

ABROAD = 40
"""Titles that are to be had in one country alone."""


@pytest.fixture(scope="module")
def folder(made, tmp_path_factory) -> Path:
    """The small service with windows, a new title, and members who searched or were not pleased."""
    folder = tmp_path_factory.mktemp("scoring") / "shows"
    shutil.copytree(made, folder)
    at = datetime.now(UTC) - timedelta(minutes=1)
    with Service.open(folder) as service:
        ids = service.lake.current("titles")["title_id"].to_list()
        members = service.lake.current("members")
        country = members["country"].drop_nulls().mode().sort()[0]
        some = members["member_id"].to_list()[:20]
        service.lake.put(
            [Window(title_id=title, country=country) for title in ids[:ABROAD]]
            + [Title(title_id="new", name="New")]
            + [
                Event(event_id=f"s{m}", member_id=m, kind="search", ts=at, title_id=ids[50])
                for m in some
            ]
            + [
                Event(event_id=f"t{m}", member_id=m, kind="thumb", ts=at, title_id=t, value=-1.0)
                for m, t in zip(some, ids, strict=False)
            ]
        )
    return folder


@pytest.fixture(scope="module")
def service(folder):
    with Service.open(folder) as opened:
        yield opened


@pytest.fixture(scope="module")
def written(service, tmp_path_factory) -> pl.DataFrame:
    to = tmp_path_factory.mktemp("written") / "scores.parquet"
    scored = scoring.score(service, "titles", to, top=30)
    frame = pl.read_parquet(to)
    assert (scored.version, scored.rows) == ("titles@2", frame.height)
    assert scored.members == frame["member_id"].n_unique()
    return frame


def seen_by_the_decider(service, overheard):
    """For each member: every title that may be shown, with its score, best first."""
    believed = overheard(EASE)
    with Runtime(service) as runtime:
        decider = runtime.champion("titles")
        for member in service.lake.current("members")["member_id"].sort():
            request = Request(request_id="r", member_id=member, at=datetime.now(UTC))
            decision = decider.propose(runtime.located(request))
            ids = decider.surface.eligible(runtime.located(request)).ids
            open_ = sorted(set(range(len(ids))) - set(decision.removed))
            order = sorted(open_, key=lambda place: (-believed[-1][place], place))
            yield member, [ids[place] for place in order], believed[-1][order]


def test_it_writes_what_the_decider_sees(service, written, overheard):
    members = 0
    for member, titles, scores in seen_by_the_decider(service, overheard):
        rows = written.filter(member_id=member)
        np.testing.assert_allclose(rows["score"], scores[:30], rtol=1e-5, atol=1e-6)
        found = dict(zip(titles, scores, strict=True))
        np.testing.assert_allclose(
            [found[title] for title in rows["title_id"]], rows["score"], rtol=1e-5, atol=1e-6
        )
        members += 1
    assert members == written["member_id"].n_unique() > 100
    events = set(service.lake.scan("events").collect()["member_id"])
    assert 50 < len(events) < members, "some have no history"


def test_titles_are_of_the_members_country(service, written):
    ids = set(service.lake.current("titles")["title_id"][:ABROAD])
    windows = service.lake.current("windows")
    members = service.lake.current("members").select("member_id", "country")
    abroad = written.filter(pl.col("title_id").is_in(ids)).join(members, on="member_id")
    assert set(abroad["country"]) == set(windows["country"])


def test_rows_are_sorted_and_ranked_from_one(written):
    assert dict(written.schema) == scoring.SCHEMA
    assert written.equals(written.sort("member_id", "rank"))
    ranks = written.group_by("member_id").agg("rank")["rank"].to_list()
    assert all(sorted(rank) == list(range(1, len(rank) + 1)) for rank in ranks)
    assert written["rank"].max() == 30
    falling = written.select(pl.col("score").diff().over("member_id").fill_null(0.0) <= 0)
    assert falling["score"].all()
    assert written.select("member_id", "title_id").is_unique().all()


@pytest.mark.parametrize("size", [1, 7])
def test_it_does_not_matter_how_many_are_scored_at_once(
    service, written, tmp_path, monkeypatch, size
):
    monkeypatch.setattr(scoring, "MEMBERS", 5)
    monkeypatch.setattr(scoring, "BATCH", size)
    scoring.score(service, "titles", tmp_path / "s.parquet", top=30)
    found = pl.read_parquet(tmp_path / "s.parquet")
    assert found.drop("score").equals(written.drop("score"))
    np.testing.assert_allclose(found["score"], written["score"], rtol=1e-5, atol=1e-6)


def test_two_processes_write_the_same(service, tmp_path):
    at = datetime.now(UTC)
    for name, executor in (("one", None), ("two", Processes(2))):
        scoring.score(service, "titles", tmp_path / name, as_of=at, executor=executor)
    assert pl.read_parquet(tmp_path / "one").equals(pl.read_parquet(tmp_path / "two"))


def test_every_part_is_told(service, tmp_path):
    told = []
    scoring.score(service, "titles", tmp_path / "s.parquet", top=1, advance=told.append)
    assert told == [1] * service.lake.tables["events"].bucket_count


def test_as_of_an_earlier_time_only_what_was_known_then_counts(service, written, tmp_path):
    first = service.lake.scan("events").select(pl.col("known_at").min()).collect().item()
    at = first + timedelta(days=1)
    scoring.score(service, "titles", tmp_path / "s.parquet", as_of=at, top=30)
    early, late = (service.lake.scan("events", as_of=when).collect() for when in (at, None))
    found = pl.read_parquet(tmp_path / "s.parquet")
    known = service.lake.current("members", as_of=at)
    assert set(found["member_id"]) <= {*early["member_id"], *known["member_id"]}
    newcomers = set(late["member_id"]) - set(early["member_id"])
    lists = (
        found.filter(pl.col("member_id").is_in(newcomers))
        .group_by("member_id")
        .agg("title_id")
        .join(service.lake.current("members"), on="member_id")
    )
    assert lists.height == len(newcomers) > lists["country"].n_unique()
    assert lists.select("country", "title_id").unique().height == lists["country"].n_unique()
    now = written.filter(pl.col("member_id").is_in(newcomers)).group_by("member_id").agg("title_id")
    assert now["title_id"].n_unique() > lists["title_id"].n_unique()
    with pytest.raises(MatineeError, match="nobody to score"):
        scoring.score(service, "titles", tmp_path / "t.parquet", as_of=first - timedelta(days=1))
    with pytest.raises(MatineeError, match="future"):
        scoring.score(
            service, "titles", tmp_path / "t.parquet", as_of=datetime(2999, 1, 1, tzinfo=UTC)
        )
    assert [path.name for path in tmp_path.iterdir()] == ["s.parquet"]


@pytest.mark.parametrize(
    ("given", "told", "then"),
    [
        ({"version": "titles@9"}, "there is no version titles@9", "matinee versions titles"),
        ({"version": "nonsense"}, "nonsense", ""),
        ({"surface": "nowhere"}, "nowhere", ""),
        ({"top": 0}, "--top 0", "from 1"),
    ],
)
def test_what_cannot_be_scored_is_told(service, tmp_path, given, told, then):
    asked = {"surface": "titles", "to": tmp_path / "s.parquet", **given}
    with pytest.raises(MatineeError, match=told) as error:
        scoring.score(service, **asked)
    assert then in error.value.next_step
    assert list(tmp_path.iterdir()) == []


def test_without_a_champion_it_says_what_to_type(tmp_path):
    with Service.create(tmp_path / "shows") as empty:
        with pytest.raises(MatineeError, match="no champion yet") as told:
            scoring.score(empty, "titles", tmp_path / "s.parquet")
        assert told.value.next_step == "matinee train titles"


def test_a_place_that_cannot_be_written_is_told(service, tmp_path):
    for to, told in (
        (tmp_path, "is a folder"),
        (Path("/dev/null"), "is no file"),
        (tmp_path / "missing" / "s.parquet", "could not be written"),
        (Path("/proc/s.parquet"), "could not be written"),
    ):
        with pytest.raises(MatineeError, match=told):
            scoring.score(service, "titles", to)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ValueError])
def test_what_is_cut_short_leaves_the_file_that_was_there(service, tmp_path, failure):
    (tmp_path / "s.parquet").write_text("before")

    def stop(_):
        raise failure

    with pytest.raises(failure):
        scoring.score(service, "titles", tmp_path / "s.parquet", advance=stop)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]


def test_a_score_that_is_no_number_is_told(service, tmp_path, monkeypatch):
    monkeypatch.setattr(EASE, "_scores", lambda *_: np.full((1, 1), np.nan))
    with pytest.raises(MatineeError, match="titles@2 gave a score that is NaN"):
        scoring.score(service, "titles", tmp_path / "s.parquet")
    assert list(tmp_path.iterdir()) == []


def test_a_surface_of_ones_own(notes_service, tmp_path):
    made = champion(notes_service, EpsilonGreedy(epsilon=0.3))
    play = {"kind": "play", "ts": datetime.now(UTC), "title_id": "heat", "value": 60.0}
    notes_service.lake.put(
        [Event(event_id=member, member_id=member, **play) for member in ("b", "a")]
    )
    scored = scoring.score(notes_service, Notes.name, tmp_path / "s.parquet", top=2)
    assert (scored.version, scored.members, scored.rows) == (made.id, 2, 4)
    found = pl.read_parquet(tmp_path / "s.parquet").select("member_id", "rank", "title_id")
    assert found.rows() == [
        ("a", 1, "none"),
        ("a", 2, "finale"),
        ("b", 1, "none"),
        ("b", 2, "finale"),
    ]
