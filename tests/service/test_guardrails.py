"""Guardrails of the gate, as they are measured on a log: a candidate that earns more may fail."""

import pytest

from matinee.evaluation.gate import COVERAGE, FRESH, LATENCY, WORST, Rules
from matinee.policies import EpsilonGreedy
from matinee.service.judging import judge
from matinee.service.outcomes import close_windows
from notes import Notes, champion, decided, version, written

RULES = Rules(least_effective=100)
BOLD, MILD = EpsilonGreedy(epsilon=0.9), EpsilonGreedy(epsilon=0.3)


@pytest.fixture
def judged(notes_service):
    """What is found of a candidate that likes "finale" best, with an answer to each decision."""

    def made(policy=MILD, answer=None):
        decisions = decided(notes_service, champion(notes_service, BOLD), 1200)
        for one in decisions if answer else ():
            Notes.answers[one.decision_id] = answer(one)
        written(notes_service, *decisions)
        close_windows(notes_service)
        candidate = version(notes_service, "finale", policy)
        return judge(notes_service, candidate.id, by="ann", rules=RULES)

    return made


def failed_by(found, name):
    assert found.verdict.outcome == "fails", found.verdict.reasons
    (reason,) = found.verdict.reasons
    assert f"a guardrail is breached: {name}" in reason
    return found.measured[name]


def test_all_are_measured_where_they_say_something(judged):
    found = judged()
    assert set(found.measured) == {COVERAGE, WORST, LATENCY}
    assert found.measured[COVERAGE] == 0.0
    assert 0 < found.measured[LATENCY] < 60


def test_a_candidate_that_shows_few_actions(judged):
    assert failed_by(judged(EpsilonGreedy(epsilon=0.0)), COVERAGE) == pytest.approx(1 / 3 - 1)


def test_a_candidate_that_shows_few_new_actions(judged, monkeypatch):
    monkeypatch.setattr(Notes, "fresh", lambda self, request: frozenset({"season"}))
    # a tenth of its choices is new, and three tenths of the champion's
    assert failed_by(judged(), FRESH) == pytest.approx(0.1 / 0.3 - 1, abs=0.05)


def test_a_candidate_that_is_slow(judged, monkeypatch):
    clock = iter(range(1000))
    monkeypatch.setattr("matinee.service.weighing.perf_counter", lambda: next(clock) * 0.1)
    assert failed_by(judged(), LATENCY) == pytest.approx(100.0)


def test_a_candidate_that_is_worse_in_one_country(judged):
    def answer(one):
        liked = "finale" if one.context["country"] == "NL" else "season"
        return float(one.actions[0] == liked)

    found = judged(answer=answer)
    assert found.verdict.outcome == "fails"
    assert any(WORST in reason for reason in found.verdict.reasons)
    assert found.measured[WORST] < 0
