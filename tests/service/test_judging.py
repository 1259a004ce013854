"""A candidate is judged on the champion's log, and what is said goes on record."""

import numpy as np
import pytest

from matinee.desk import proof
from matinee.errors import MatineeError
from matinee.registry import Approvals
from matinee.service.judging import judge


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
    assert [one.turn for one in kept] == [1, 2, 3]
    assert {one.champion for one in kept} == {"titles@2"}
    assert sum(one.alpha for one in kept) < 0.05
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
    assert "Shows &amp; &lt;b&gt;" in page
    assert "Simulated service" in page
    assert "src=" not in page
    assert "http" not in page.replace("http://www.w3.org", "").replace("https://www.w3.org", "")


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
