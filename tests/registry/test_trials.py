"""Experiments and holdouts on record: who may start what, what halts, and what a win needs."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier

import pytest
from msgspec.structs import replace

from matinee.errors import MatineeError
from matinee.experiments.plan import Holdout
from matinee.models import Dataset, Histories, Popularity, Vocabulary
from matinee.policies import PlackettLuce
from matinee.registry import Approvals, Registry, Trials, against_champion
from matinee.store import Store

AS_OF = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def registry(tmp_path):
    """Three versions, the first of them champion."""
    with Store(tmp_path / "matinee.db") as store:
        registry = Registry(store, tmp_path / "versions")
        for _ in range(3):
            model = Popularity().fit(Dataset.of(Vocabulary(["alien"]), Histories.of([[0]])))
            registry.register(
                "titles", model, PlackettLuce(), data_as_of=AS_OF, settings={}, metrics={}, by="ann"
            )
        registry.promote("titles", "titles@1", "ann", "the first")
        yield registry


@pytest.fixture
def trials(registry):
    return Trials(registry)


def one(name="fresh", version="titles@2", **more):
    return against_champion(name, "titles", version, **more)


def better(trials, name="fresh", champion="titles@1", outcome="better"):
    trials.read(name, outcome, "bob", champion=champion, reasons=["so it is"])


def test_what_is_started_is_in_the_plan_and_in_the_history(trials):
    before = trials.generation()
    trials.start(one(share=0.1), "ann", "a first look")
    (found,) = trials.plan().experiments
    assert [(arm.name, arm.share, arm.serves) for arm in found.arms] == [
        ("control", 0.9, "titles@1"),  # whoever is champion later
        ("treatment", 0.1, "titles@2"),
    ]
    assert trials.generation() > before
    (step,) = trials.history("fresh")
    assert (step.by, step.action, step.reason) == ("ann", "start", "a first look")


@pytest.mark.parametrize(
    ("started", "said"),
    [
        (one(version="titles@9"), "there is no version"),
        (one(), "before"),
        (one("other"), "go together"),
        (replace(one("odd", to=(0.0, 1.0)), arms=one().arms[::-1]), "is not the control"),
        (against_champion("o", "artwork", "artwork@1"), "artwork has no champion"),
    ],
)
def test_what_cannot_run_is_refused_and_leaves_no_trace(trials, started, said):
    trials.start(one(), "ann", "")
    with pytest.raises(MatineeError, match=said):
        trials.start(started, "ann", "")
    assert len(trials.history()) == 1


def test_a_surface_without_a_champion_has_nothing_to_compare_with(tmp_path):
    with Store(tmp_path / "matinee.db") as store:
        registry = Registry(store, tmp_path / "versions")
        model = Popularity().fit(Dataset.of(Vocabulary(["alien"]), Histories.of([[0]])))
        registry.register(
            "titles", model, PlackettLuce(), data_as_of=AS_OF, settings={}, metrics={}, by="ann"
        )
        with pytest.raises(MatineeError, match="no champion"):
            Trials(registry).start(one(version="titles@1"), "ann", "")


def test_slices_side_by_side_run_at_once(trials):
    trials.start(one(to=(0.0, 0.5)), "ann", "")
    trials.start(one("other", "titles@3", to=(0.5, 1.0)), "ann", "")
    assert [found.name for found in trials.plan().experiments] == ["fresh", "other"]
    with pytest.raises(MatineeError, match="go together"):
        trials.widen("fresh", (0.0, 0.6), "ann", "")
    trials.end("other", "ann", "")
    trials.widen("fresh", (0.0, 0.6), "ann", "room now")
    assert trials.get("fresh").slice == (0.0, 0.6)
    with pytest.raises(MatineeError, match="only grows"):
        trials.widen("fresh", (0.1, 0.6), "ann", "")


def test_what_is_halted_says_why_and_goes_on_when_it_is_told(trials):
    trials.start(one(), "ann", "")
    with pytest.raises(MatineeError, match="why"):
        trials.halt("fresh", "ann", "  ")
    trials.halt("fresh", "ann", "complaints")
    assert trials.get("fresh").halted == "complaints"
    trials.resume("fresh", "ann", "it was not us")
    assert trials.get("fresh").halted is None
    with pytest.raises(MatineeError, match="not halted"):
        trials.resume("fresh", "bob", "it was not us")
    assert [step.action for step in trials.history("fresh")] == ["start", "halt", "resume"]
    with pytest.raises(MatineeError, match="not halted"):
        trials.resume("fresh", "ann", "once more")


def test_what_is_halted_for_another_reason_by_now_is_not_resumed(trials):
    trials.start(one(), "ann", "")
    trials.halt("fresh", "ann", "complaints\nof many")
    trials.halt("fresh", "matinee", "takes fell")
    with pytest.raises(MatineeError, match="another reason by now: takes fell"):
        trials.resume("fresh", "bob", "it was not us", halted="complaints of many")
    trials.halt("fresh", "ann", "complaints\nof many")
    trials.resume("fresh", "bob", "it was not us", halted="complaints\r\nof many")
    assert trials.get("fresh").halted is None


def test_no_number_of_a_card_is_kept_in_a_reason(trials):
    trials.start(one(), "ann", "they paid with 4111 1111 1111 1111")
    trials.halt("fresh", "ann", "card 4111111111111111")
    assert "4111111111111111" not in trials.get("fresh").halted
    kept = [(step.reason, str(step.body)) for step in trials.history("fresh")]
    assert not [said for said in kept if "1111111" in "".join(said).replace(" ", "")]


def test_what_is_over_stays_over(trials):
    trials.start(one(), "ann", "")
    trials.end("fresh", "ann", "enough")
    for change in (trials.halt, trials.resume, trials.end):
        with pytest.raises(MatineeError, match="is over"):
            change("fresh", "ann", "again")
    with pytest.raises(MatineeError, match="before"):
        trials.start(one(), "ann", "")


def test_what_has_not_started_can_be_halted_and_widened(trials):
    later = datetime.now(UTC) + timedelta(days=1)
    trials.start(one(start=later, to=(0.0, 0.5)), "ann", "")
    trials.widen("fresh", (0.0, 1.0), "ann", "")
    trials.halt("fresh", "ann", "not yet")
    assert trials.get("fresh").halted == "not yet"


@pytest.mark.parametrize("name", ["x" * 201, "", "a:b"])
def test_a_name_that_could_not_be_read_again_is_refused(trials, name):
    with pytest.raises(MatineeError):
        trials.start(one(name), "ann", "")
    with pytest.raises(MatineeError):
        trials.hold(Holdout(name=name, share=0.1, surface="titles", serves="titles@1"), "ann", "")
    assert trials.all() == []
    assert trials.plan().holdouts == ()


def test_two_who_widen_at_once_never_narrow_it(trials):
    trials.start(one(to=(0.0, 0.1)), "ann", "")
    together = Barrier(2)

    def widen(ends):
        together.wait()
        try:
            trials.widen("fresh", (0.0, ends), "ann", "")
        except MatineeError:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(widen, [0.5, 0.3]))
    assert trials.get("fresh").slice == (0.0, 0.5)
    assert done[0]


@pytest.mark.parametrize("to", [(-1.0, 1.0), (0.0, 2.0)])
def test_a_slice_stays_within_its_layer(trials, to):
    trials.start(one(to=(0.0, 0.5)), "ann", "")
    with pytest.raises(MatineeError, match="cannot be changed so"):
        trials.widen("fresh", to, "ann", "")


def test_a_win_makes_the_champion_and_ends_the_experiment(trials, registry):
    trials.start(one(), "ann", "")
    better(trials)
    assert trials.win("fresh", "bob", "more plays") == "titles@2"
    assert registry.alias("titles", "champion").id == "titles@2"
    change = registry.history("titles")[-1]
    assert (change.action, change.by, change.new) == ("approve", "bob", "titles@2")
    assert "fresh" in change.reason
    assert not trials.get("fresh").runs(datetime.now(UTC) + timedelta(seconds=1))
    assert registry.roll_back("titles", "ann", "fewer plays").id == "titles@1"


@pytest.mark.parametrize(
    "read", ["never", "open", "worse", "broken", "before", "other champion", "halted"]
)
def test_nothing_wins_that_was_not_shown_to_be_better(trials, registry, read):
    trials.start(one(), "ann", "")
    if read == "before":
        better(trials)
        better(trials, outcome="open")
    elif read == "other champion":
        better(trials)
        Approvals(registry).override("titles", "titles@3", "ann", "it is urgent")
    elif read == "halted":
        better(trials)
        trials.halt("fresh", "ann", "complaints")
    elif read != "never":
        better(trials, outcome=read)
    with pytest.raises(MatineeError, match="has won nothing yet"):
        trials.win("fresh", "bob", "I like it")
    assert registry.alias("titles", "champion").id != "titles@2"


def test_what_was_ended_wins_no_more(trials):
    trials.start(one(), "ann", "")
    better(trials)
    trials.end("fresh", "ann", "")
    with pytest.raises(MatineeError, match="won nothing"):
        trials.win("fresh", "bob", "late")


def test_a_holdout_grows_and_is_released(trials):
    small = Holdout(name="before", share=0.02, surface="titles", serves="titles@1")
    trials.hold(small, "ann", "what all of it brings")
    trials.hold(
        Holdout(name="before", share=0.05, surface="titles", serves="titles@1"), "ann", "more"
    )
    assert [held.share for held in trials.plan().holdouts] == [0.05]
    with pytest.raises(MatineeError, match="keeps its members"):
        trials.hold(small, "ann", "less")
    with pytest.raises(MatineeError, match="stay as they are"):
        trials.hold(
            Holdout(name="before", share=0.05, surface="titles", serves="titles@2"), "ann", ""
        )
    with pytest.raises(MatineeError, match="there is no version"):
        trials.hold(Holdout(name="x", share=0.1, surface="titles", serves="titles@9"), "ann", "")
    trials.release("before", "ann", "over")
    assert trials.plan().holdouts == ()
    with pytest.raises(MatineeError, match="no holdout"):
        trials.release("before", "ann", "again")


def test_the_history_cannot_be_changed(trials, registry):
    trials.start(one(), "ann", "")
    for statement in ("UPDATE trials_history SET by = 'eve'", "DELETE FROM trials_history"):
        with pytest.raises(sqlite3.IntegrityError), registry.store.transaction() as connection:
            connection.execute(statement)


def test_readings_change_nothing_that_is_served(trials):
    trials.start(one(), "ann", "")
    before = trials.generation()
    better(trials)
    assert trials.generation() == before
    assert trials.latest("fresh").body == {"champion": "titles@1", "reasons": ["so it is"]}
    assert trials.latest("other") is None
