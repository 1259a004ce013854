"""Commands of models and versions, and what they say when something is not right."""

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from matinee.cli import run
from matinee.lake.records import Event
from matinee.service import training
from matinee.service.folder import Service


@pytest.fixture
def empty(tmp_path: Path, monkeypatch, capsys) -> Path:
    folder = tmp_path / "empty"
    assert run(["init", str(folder)]) == 0
    monkeypatch.setenv("MATINEE_SERVICE", str(folder))
    capsys.readouterr()
    return folder


def table(text: str) -> list[dict[str, str]]:
    """The first table printed."""
    head, *lines = [line.split("\t") for line in text.splitlines() if "\t" in line]
    return [dict(zip(head, line, strict=True)) for line in lines if len(line) == len(head)]


def test_train_lists_the_new_versions(shows, capsys):
    assert run(["train", "titles", "--model", "ease", "--model", "popularity"]) == 0
    printed = capsys.readouterr()
    rows = table(printed.out)
    assert [(row["version"], row["model"]) for row in rows] == [
        ("titles@3", "ease"),
        ("titles@4", "popularity"),
    ]
    assert "next: matinee evaluate titles --candidate titles@4" in printed.err
    with Service.open(shows) as service:
        assert service.registry.alias("titles", "champion").id == "titles@2"


def test_the_first_version_is_told_to_be_promoted(empty, capsys):
    at = datetime(2026, 1, 1, tzinfo=UTC)
    play = {"kind": "play", "ts": at, "title_id": "heat", "value": 95.0}
    with Service.open(empty) as service:
        service.lake.put([Event(event_id="e", member_id="m", **play)])
    assert run(["train", "titles", "--model", "popularity"]) == 0
    assert "matinee promote titles@1" in capsys.readouterr().err
    assert run(["promote", "titles@1"]) == 0
    assert "titles@1 is the champion of titles" in capsys.readouterr().err


def test_train_as_of_an_earlier_time(shows):
    with Service.open(shows) as service:
        middle = service.lake.scan("events").select(pl.col("known_at").median()).collect().item()
    at = f"{middle:%Y-%m-%dT%H:%M:%S}"
    assert run(["train", "titles", "--model", "popularity", "--as-of", at]) == 0
    with Service.open(shows) as service:
        assert f"{service.registry.versions('titles')[-1].data_as_of:%Y-%m-%dT%H:%M:%S}" == at


def test_evaluate_prints_the_table_and_says_where_it_is_kept(shows, capsys):
    assert run(["evaluate", "titles", "--model", "ease", "--protocol", "time-split"]) == 0
    printed = capsys.readouterr()
    for word in ("popularity", "ease", "ndcg", "global_time_split"):
        assert word in printed.out
    with Service.open(shows) as service:
        assert f"saved in {training.reports(service, 'titles')[-1]}" in printed.err


def test_versions_says_which_is_the_champion(shows, capsys):
    assert run(["versions", "titles"]) == 0
    aliases = {row["version"]: row["alias"] for row in table(capsys.readouterr().out)}
    assert aliases == {"titles@1": "", "titles@2": "champion"}


def test_work_once_ends_with_one_where_a_job_failed(shows, capsys, monkeypatch):
    def full(_):
        raise OSError("no space left on device")

    monkeypatch.setattr("matinee.service.jobs.compact", full)
    assert run(["work", "--once"]) == 1
    printed = capsys.readouterr()
    assert "compact\tfailed: no space left on device" in printed.out
    assert "compact failed" in printed.err


def test_work_once_runs_every_job(shows, capsys):
    with Service.open(shows) as service:
        one = service.lake.scan("events").filter(kind="play").head(1).collect().to_dicts()[0]
        play = {name: one[name] for name in ("kind", "ts", "title_id", "value")}
        service.lake.put([Event(event_id="x", member_id="m", decision_id="none", **play)])
    assert run(["work", "--once"]) == 0
    did = {row["job"]: row["did"] for row in table(capsys.readouterr().out)}
    assert list(did) == ["repair", "seal", "outcomes", "experiments", "compact", "expire", "desk"]
    assert did["seal"] == "1 events"
    assert "events without a decision" in did["outcomes"]
    assert not any("failed" in what for what in did.values())


def test_repair_says_what_is_whole_and_what_it_rebuilt(shows, capsys):
    assert run(["repair"]) == 0
    assert "Every file is whole." in capsys.readouterr().err
    torn = next(iter((shows / "lake" / "tables" / "events").glob("bucket=*/*.parquet")))
    torn.write_bytes(torn.read_bytes()[:-100])
    assert run(["repair"]) == 0
    printed = capsys.readouterr()
    assert [row["table"] for row in table(printed.out)] == ["events"]


@pytest.mark.parametrize(
    "command",
    [
        ["train", "titles"],
        ["evaluate", "titles"],
        ["versions", "titles"],
        ["promote", "titles@1"],
        ["approve", "titles@1"],
        ["override", "titles@1", "--reason", "why"],
        ["roll-back", "titles"],
        ["work", "--once"],
        ["serve"],
        ["import", "x"],
        ["tables"],
        ["quarantine"],
        ["repair"],
        ["forget", "m", "--yes"],
    ],
    ids=lambda command: command[0],
)
def test_where_there_is_no_service(tmp_path, monkeypatch, capsys, command):
    monkeypatch.delenv("MATINEE_SERVICE", raising=False)
    monkeypatch.chdir(tmp_path)
    assert run(command) == 1
    said = capsys.readouterr().err
    assert "is not a service folder" in said
    assert f"next: matinee init {tmp_path}" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "told", "then"),
    [
        ("train titles", "nothing to learn from", "matinee import"),
        ("evaluate titles", "nothing to evaluate on", "matinee import"),
        ("versions titles", "no versions", "matinee train titles"),
        ("train nowhere", "no surface 'nowhere'", "for one of your own, name"),
        ("evaluate nowhere", "no surface 'nowhere'", "for one of your own, name"),
        ("promote titles@1", "there is no version titles@1", "matinee versions"),
        ("roll-back titles", "cannot be rolled back", "matinee versions"),
    ],
)
def test_where_there_is_nothing_yet(empty, capsys, command, told, then):
    assert run(command.split()) == 1
    said = capsys.readouterr().err
    assert told in said
    assert f"next: {then}" in said


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("train titles --model nope", "nope"),
        ("evaluate titles --model nope", "nope"),
        ("train titles --as-of 2099-01-01", "lies in the future"),
        ("train titles --as-of 1999-01-01", "nothing to learn from"),
        ("evaluate titles --protocol time-split --at 1999-01-01", "cannot be evaluated so"),
    ],
)
def test_what_cannot_be_done_is_said_and_why(shows, capsys, command, told):
    assert run(command.split()) == 1
    assert told in capsys.readouterr().err
    with Service.open(shows) as service:
        assert len(service.registry.versions("titles")) == 2


@pytest.mark.parametrize("command", ["evaluate", "frobnicate", "train titles --x"])
def test_a_command_given_wrong_ends_with_two(shows, capsys, command):
    assert run(command.split()) == 2
    assert "error" in capsys.readouterr().err


def test_evaluate_judges_a_candidate_and_says_where_the_page_is(shows, capsys):
    """Nothing was decided yet: there is nothing to judge by, and no number."""
    assert run(["evaluate", "titles", "--candidate", "titles@1"]) == 0
    printed = capsys.readouterr()
    assert "titles@1 against titles@2: insufficient support" in printed.err
    assert "candidate less champion" not in printed.out
    (page,) = (shows / "reports").glob("titles@1-*.html")
    assert str(page) in printed.err
    assert "insufficient support" in page.read_text()


@pytest.mark.parametrize("version", ["titles@2", "titles@9", "artwork@1", "../x"])
def test_what_cannot_be_judged_is_told_plainly(shows, capsys, version):
    assert run(["evaluate", "titles", "--candidate", version]) == 1
    assert capsys.readouterr().err.startswith("error: ")
