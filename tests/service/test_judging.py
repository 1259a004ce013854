"""A candidate is judged on the champion's log, and what is said goes on record."""

import numpy as np
import pytest

from matinee.desk import proof
from matinee.errors import MatineeError
from matinee.policies import EpsilonGreedy
from matinee.registry import Approvals
from matinee.service.judging import judge
from matinee.service.outcomes import close_windows
from notes import champion, decided, version, written


@pytest.fixture(scope="module")
def verdicts(log_of_choices):
    """What the gate says of each candidate, in this order."""
    names = ("titles@1", "titles@3", "titles@4")
    return {name: judge(log_of_choices, name, by="ann") for name in names}


def test_a_candidate_that_is_better_passes(verdicts):
    found = verdicts["titles@3"]
    assert found.verdict.outcome == "passes", found.verdict.reasons
    assert found.verdict.estimate.low > 0


def test_a_candidate_that_is_worse_fails_and_is_called_so(verdicts):
    found = verdicts["titles@4"]
    assert found.verdict.outcome == "fails", found.verdict.reasons
    assert "worse" in found.verdict.reasons[0]


def test_without_support_there_is_no_number_anywhere(verdicts):
    found = verdicts["titles@1"]
    assert found.verdict.outcome == "insufficient support"
    assert found.verdict.estimate is None
    assert found.values == {}
    assert found.looks == ()
    page = proof.page(found, "Shows")
    assert "insufficient support" in page
    assert "candidate less champion" not in page


def test_verdicts_are_on_record_and_share_the_budget_of_error(verdicts, log_of_choices):
    kept = Approvals(log_of_choices.registry).verdicts("titles")
    assert [one.candidate for one in kept] == list(verdicts)
    assert [one.turn for one in kept] == [1, 1, 2]  # no number of the first was shown
    assert {one.champion for one in kept} == {"titles@2"}
    assert sum(one.alpha for one in kept if one.outcome != "insufficient support") < 0.05
    assert kept[0].alpha == pytest.approx(0.05 * 6 / np.pi**2)


def test_judging_again_says_the_same_and_spends_nothing(verdicts, log_of_choices):
    again = judge(log_of_choices, "titles@3", by="ben")
    assert again.verdict == verdicts["titles@3"].verdict


def test_a_page_holds_verdict_reasons_interval_and_plots(verdicts):
    found = verdicts["titles@3"]
    page = proof.page(found, "Shows & <b>", simulated=True)
    assert "passes" in page
    assert "candidate less champion" in page
    assert page.count("<svg") == 4
    assert "matinee approve titles@3" in page
    assert "Shows &amp; &lt;b&gt;" in page
    assert "Simulated service" in page
    assert "src=" not in page
    assert "http" not in page.replace("http://www.w3.org", "").replace("https://www.w3.org", "")


def test_what_it_stands_on_is_told(verdicts):
    told = dict(proof.facts(verdicts["titles@3"]))
    assert told["decisions judged on"] == "3,000"
    assert told["mean weight by day"].endswith("checked, 0 not at 1")
    assert told["rewards"].startswith("all closed, the last at")
    assert told["without a reward"].startswith("0 decisions")
    assert float(told["latency p99, ms"]) > 0
    assert "change of the share of new titles" not in told  # none has a window
    lacking = dict(proof.facts(verdicts["titles@1"]))
    missing = verdicts["titles@1"].diagnostics.missing
    assert all(action in lacking["outside the log"] for action, _ in missing)
    assert any(missing[0][0] in step for step in verdicts["titles@1"].verdict.next_steps)
    assert told["chance of error spent"] == "0.0304"
    assert lacking["chance of error spent"] == "none"  # it took no turn


def test_a_judgement_is_printed_with_what_is_judged_first(verdicts, capsys):
    proof.show_judgement(verdicts["titles@3"])
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert lines[1].startswith("candidate less champion\t")
    assert lines[2].startswith("champion, its own mean\t")
    assert any(line.startswith("effective decisions\t") for line in lines)
    assert "titles@3 against titles@2: passes" in printed.err
    assert "next: let a person approve it: matinee approve titles@3" in printed.err
    proof.show_judgement(verdicts["titles@1"])
    printed = capsys.readouterr()
    assert "candidate less champion" not in printed.out
    assert "insufficient support" in printed.err


def test_looks_end_at_the_verdict(verdicts):
    found = verdicts["titles@3"]
    sizes = [size for size, _ in found.looks]
    assert sizes == sorted(sizes)
    assert sizes[-1] == found.verdict.decisions
    assert found.looks[-1][1] == found.verdict.estimate


def test_there_must_be_a_champion_other_than_the_candidate(log_of_choices):
    with pytest.raises(MatineeError, match="is the champion itself"):
        judge(log_of_choices, "titles@2", by="ann")
    with pytest.raises(MatineeError, match="there is no version"):
        judge(log_of_choices, "titles@99", by="ann")


def test_a_champion_that_changes_meanwhile_leaves_nothing_on_record(notes_service):
    """Of either champion this is the first turn, and against the second nothing was judged."""
    bold, mild = EpsilonGreedy(epsilon=0.9), EpsilonGreedy(epsilon=0.3)
    written(notes_service, *decided(notes_service, champion(notes_service, bold), 3000))
    close_windows(notes_service)
    candidate, other = version(notes_service, "finale", mild), version(notes_service, "none", mild)
    approvals = Approvals(notes_service.registry)

    def meanwhile(_):
        if notes_service.registry.alias("notes", "champion") != other:
            approvals.override("notes", other.id, "bob", "meanwhile")

    with pytest.raises(MatineeError, match=f"judged against notes@1, and {other.id} is the champ"):
        judge(notes_service, candidate.id, by="ann", advance=meanwhile)
    assert approvals.verdicts("notes") == []
    with pytest.raises(MatineeError, match="cannot be approved"):
        approvals.approve("notes", candidate.id, "bob", "")
