"""Verdicts on record, approvals and overrides, and stores made before there were any."""

import sqlite3
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from matinee.errors import MatineeError
from matinee.evaluation.gate import Verdict
from matinee.evaluation.intervals.base import Interval
from matinee.models import Dataset, Histories, Popularity, Vocabulary
from matinee.policies import PlackettLuce
from matinee.registry import Approvals, Registry
from matinee.registry.tables import SCHEMA
from matinee.store import Schema, Store

AS_OF = datetime(2026, 1, 2, tzinfo=UTC)
PASS = Verdict(
    "passes",
    ("it is better",),
    ("matinee approve",),
    0.03,
    9000,
    4000.0,
    0.0,
    Interval(0.03, 0.01, float("inf"), 0.97, "normal"),
)
FAIL = Verdict("fails", ("it is worse",), (), 0.03, 9000, 4000.0, 0.0, PASS.estimate)
LACKING = Verdict("insufficient support", ("open", "few"), ("wait",), 0.03, 1, 1.0, 0.0)


@pytest.fixture
def registry(tmp_path):
    """Three versions, the first of them champion."""
    with Store(tmp_path / "matinee.db") as store:
        registry = Registry(store, tmp_path / "versions")
        for _ in range(3):
            register(registry)
        registry.promote("titles", "titles@1", "ann", "the first")
        yield registry


@pytest.fixture
def approvals(registry):
    return Approvals(registry)


def register(registry, surface="titles"):
    model = Popularity().fit(Dataset.of(Vocabulary(["alien"]), Histories.of([[0]])))
    return registry.register(
        surface, model, PlackettLuce(), data_as_of=AS_OF, settings={}, metrics={}, by="ann"
    )


def judged(approvals, version, verdict=PASS, *, anytime=True, against="titles@1"):
    turn = approvals.turn("titles", version, anytime=anytime)
    kinds = {"champion": against, "turn": turn, "anytime": anytime, "by": "ann"}
    return approvals.record_verdict("titles", version, verdict, **kinds)


def champion(registry):
    return registry.alias("titles", "champion").id


def test_a_verdict_comes_back_as_it_was_given(approvals):
    before = datetime.now(UTC)
    judged(approvals, "titles@2", LACKING)
    record = judged(approvals, "titles@3")
    first, second = approvals.verdicts("titles")
    assert second == record
    assert (first.candidate, first.champion, first.by) == ("titles@2", "titles@1", "ann")
    assert (first.outcome, first.alpha, first.reasons) == (
        "insufficient support",
        0.03,
        ("open", "few"),
    )
    assert first.evidence["estimate"] is None
    assert first.evidence["next_steps"] == ["wait"]
    assert second.evidence["estimate"]["low"] == 0.01
    assert second.evidence["estimate"]["high"] is None
    assert before <= first.at <= second.at
    assert approvals.verdicts("artwork") == []


def test_verdicts_stand_in_the_history(registry, approvals):
    record = judged(approvals, "titles@2", FAIL)
    line = registry.history("titles")[-1]
    assert (line.action, line.old, line.new, line.reason) == (
        "judge",
        "titles@1",
        "titles@2",
        "fails",
    )
    assert record.id == registry.generation()


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM registry_verdicts",
        "UPDATE registry_verdicts SET outcome = 'passes'",
        "INSERT OR REPLACE INTO registry_verdicts SELECT * FROM registry_verdicts",
        "DELETE FROM registry_history",
        "UPDATE registry_history SET by = 'eve'",
        "INSERT OR REPLACE INTO registry_history SELECT * FROM registry_history",
    ],
)
def test_records_cannot_be_changed_or_deleted(registry, approvals, sql):
    judged(approvals, "titles@2")
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        registry.store.rows(sql)


def test_a_pass_that_is_approved_makes_the_champion(registry, approvals):
    registry.challenge("titles", "titles@2", "ann", "")
    judged(approvals, "titles@2")
    assert champion(registry) == "titles@1"
    approvals.approve("titles", "titles@2", "bob", "I read it")
    assert champion(registry) == "titles@2"
    assert registry.alias("titles", "challenger") is None
    line = registry.history("titles")[-1]
    assert (line.action, line.old, line.new, line.by, line.reason) == (
        "approve",
        "titles@1",
        "titles@2",
        "bob",
        "I read it",
    )


@pytest.mark.parametrize("verdicts", [[], [FAIL], [LACKING], [PASS, FAIL], [PASS, LACKING]])
def test_without_a_pass_as_the_latest_verdict_nothing_is_approved(registry, approvals, verdicts):
    judged(approvals, "titles@3")
    for verdict in verdicts:
        judged(approvals, "titles@2", verdict)
    with pytest.raises(MatineeError, match="titles@2 cannot be approved"):
        approvals.approve("titles", "titles@2", "bob", "")
    assert champion(registry) == "titles@1"
    assert "approve" not in {line.action for line in registry.history("titles")}


def test_a_pass_against_an_earlier_champion_is_none(registry, approvals):
    for version in ("titles@2", "titles@3"):
        judged(approvals, version)
    approvals.approve("titles", "titles@2", "bob", "")
    with pytest.raises(MatineeError, match="not judged against titles@2, the champion now"):
        approvals.approve("titles", "titles@3", "bob", "")


def test_a_pass_is_good_for_one_approval(registry, approvals):
    judged(approvals, "titles@2")
    approvals.approve("titles", "titles@2", "bob", "")
    assert registry.roll_back("titles", "cid", "fewer plays").id == "titles@1"
    with pytest.raises(MatineeError, match="its pass was used"):
        approvals.approve("titles", "titles@2", "bob", "")
    judged(approvals, "titles@2")
    approvals.approve("titles", "titles@2", "bob", "judged again")
    assert champion(registry) == "titles@2"


def test_an_override_shows_for_ever(registry, approvals):
    judged(approvals, "titles@2", FAIL)
    approvals.override("titles", "titles@2", "bob", "the studio asked")
    approvals.override("titles", "titles@3", "bob", "and again")
    assert registry.roll_back("titles", "cid", "").id == "titles@2"
    assert registry.roll_back("titles", "cid", "").id == "titles@1"
    shown = [(line.new, line.reason) for line in registry.history("titles")]
    assert ("titles@2", "the studio asked") in shown
    assert [line.action for line in registry.history("titles")][-4:-2] == ["override", "override"]


@pytest.mark.parametrize("reason", ["", "  \n"])
def test_an_override_without_a_reason_is_refused(registry, approvals, reason):
    with pytest.raises(MatineeError, match="needs a reason"):
        approvals.override("titles", "titles@2", "bob", reason)
    assert champion(registry) == "titles@1"


def test_what_cannot_be_judged_or_approved(registry, approvals):
    register(registry, "artwork")
    for act in (approvals.approve, approvals.override):
        with pytest.raises(MatineeError, match="is the champion already"):
            act("titles", "titles@1", "bob", "why")
        with pytest.raises(MatineeError, match="there is no version"):
            act("titles", "titles@9", "bob", "why")
        with pytest.raises(MatineeError, match="not a version of titles"):
            act("titles", "artwork@1", "bob", "why")
    with pytest.raises(MatineeError, match="nothing to judge"):
        judged(approvals, "titles@1")
    register(registry, "artwork")
    with pytest.raises(MatineeError, match=r"no champion.*Next: matinee promote artwork@2"):
        approvals.approve("artwork", "artwork@2", "bob", "")
    with pytest.raises(MatineeError, match=r"no champion.*Next: matinee promote artwork@2"):
        approvals.turn("artwork", "artwork@2", anytime=True)


def test_insufficient_support_takes_no_turn_and_a_new_champion_begins_anew(approvals):
    assert judged(approvals, "titles@2", LACKING).turn == 1
    assert judged(approvals, "titles@3").turn == 1
    assert judged(approvals, "titles@2").turn == 2
    approvals.approve("titles", "titles@3", "ann", "")
    assert judged(approvals, "titles@2", against="titles@3").turn == 1
    assert judged(approvals, "titles@1", against="titles@3").turn == 2
    approvals.override("titles", "titles@1", "ann", "back on the old log")
    assert judged(approvals, "titles@2").turn == 2
    assert judged(approvals, "titles@3").turn == 1


def test_turns_are_taken_once_and_looking_again_is_free_if_anytime_valid(approvals):
    assert judged(approvals, "titles@2").turn == 1
    assert judged(approvals, "titles@2").turn == 1
    assert judged(approvals, "titles@3", anytime=False).turn == 2
    assert judged(approvals, "titles@3", anytime=False).turn == 3
    assert judged(approvals, "titles@2").turn == 1
    late = {"champion": "titles@1", "anytime": True, "by": "ann"}
    for turn in (2, 4):
        with pytest.raises(MatineeError, match="does not count: another judgement took its turn"):
            approvals.record_verdict("titles", "titles@2", PASS, turn=turn, **late)


def test_a_pass_against_a_champion_that_is_none_any_more_is_not_recorded(registry, approvals):
    """Both turns are the first: the turn alone would not tell."""
    turn = approvals.turn("titles", "titles@3", anytime=True)
    approvals.override("titles", "titles@2", "bob", "meanwhile")
    assert approvals.turn("titles", "titles@3", anytime=True) == turn
    kinds = {"champion": "titles@1", "turn": turn, "anytime": True, "by": "ann"}
    with pytest.raises(MatineeError, match=r"titles@3 does not count: .*titles@1, and titles@2 is"):
        approvals.record_verdict("titles", "titles@3", PASS, **kinds)
    assert approvals.verdicts("titles") == []
    assert registry.history("titles")[-1].action == "override"
    with pytest.raises(MatineeError, match="was not judged against titles@2"):
        approvals.approve("titles", "titles@3", "bob", "")


def test_a_store_of_the_first_schema_keeps_its_history(tmp_path):
    path = tmp_path / "matinee.db"
    with Store(path) as store:
        store.migrate(Schema("registry", SCHEMA.steps[:1]))
        with store.transaction() as connection:
            for number in (1, 2):
                connection.execute(
                    "INSERT INTO registry_versions VALUES"
                    " ('titles', ?, 'popularity', 'plackett_luce', 0, '0', '{}', '{}', 'ann', 0,"
                    " NULL)",
                    (number,),
                )
            for action, new in (("register", 1), ("register", 2), ("promote", 1)):
                connection.execute(
                    "INSERT INTO registry_history (surface, at, by, action, old, new, reason)"
                    " VALUES ('titles', 5, 'ann', ?, NULL, ?, 'it''s; so')",
                    (action, new),
                )
            connection.execute("INSERT INTO registry_aliases VALUES ('titles', 'champion', 1)")
        before = [tuple(row) for row in store.rows("SELECT * FROM registry_history ORDER BY id")]
    with Store(path) as store:
        registry = Registry(store, tmp_path / "versions")
        after = [tuple(row) for row in store.rows("SELECT * FROM registry_history ORDER BY id")]
        assert after == before
        assert registry.generation() == 3
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            store.rows("DELETE FROM registry_history")
        approvals = Approvals(registry)
        assert judged(approvals, "titles@2").id == 4
        approvals.approve("titles", "titles@2", "bob", "")
        assert registry.roll_back("titles", "bob", "").id == "titles@1"
        assert store.rows("PRAGMA foreign_key_check") == []


APPROVE = """
import sys
from matinee.errors import MatineeError
from matinee.registry import Approvals, Registry
from matinee.store import Store
with Store(sys.argv[1]) as store:
    approvals = Approvals(Registry(store, sys.argv[2]))
    sys.stdin.readline()
    try:
        approvals.approve("titles", sys.argv[3], sys.argv[3], "")
    except MatineeError as error:
        print(error)
    else:
        print("approved")
"""


def test_of_two_processes_approving_at_once_one_is_refused(registry, approvals, tmp_path):
    for version in ("titles@2", "titles@3"):
        judged(approvals, version)
    command = [sys.executable, "-c", APPROVE, str(tmp_path / "matinee.db"), str(registry.folder)]
    processes = [
        subprocess.Popen(
            [*command, version], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for version in ("titles@2", "titles@3")
    ]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate()[0].strip() for process in processes]
    winner = said.index("approved")
    assert "the champion now" in said[1 - winner]
    assert champion(registry) == ("titles@2", "titles@3")[winner]
    assert [line.action for line in registry.history("titles")].count("approve") == 1
