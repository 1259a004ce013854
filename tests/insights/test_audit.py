"""Who did what: what is told of whom, and on which surface it counts."""

import pytest

from matinee.experiments.plan import Holdout
from matinee.insights.audit import audit
from matinee.policies import EpsilonGreedy
from matinee.registry import against_champion
from notes import champion, version

FREE = EpsilonGreedy(0.5)


@pytest.fixture
def service(notes_service):
    """A surface with a champion, what is tried beside it, and a person."""
    first, second = champion(notes_service, FREE), version(notes_service, "finale", FREE)
    held = Holdout(name="notes-held", share=0.1, surface="notes", serves=first.id)
    notes_service.trials.start(against_champion("loud", "notes", second.id), "ann", "a try")
    notes_service.trials.hold(held, "ann", "for good")
    notes_service.people.grant("notes", "viewer", by="ann", reason="looks at notes")
    return notes_service


def told(lines):
    return [(line.kind, line.action, line.about) for line in reversed(lines)]


def test_every_change_is_told_the_newest_first(service):
    lines = audit(service)
    assert [line.at for line in lines] == sorted((line.at for line in lines), reverse=True)
    assert ("person", "grant", "notes") in told(lines)
    assert ("experiment", "start", "loud") in told(lines)


def test_of_a_surface_what_counts_there(service):
    lines = told(audit(service, surface="notes"))
    assert ("experiment", "start", "loud") in lines
    assert ("holdout", "hold", "notes-held") in lines
    assert {kind for kind, _, _ in lines} == {"version", "experiment", "holdout"}
    assert audit(service, surface="titles") == ()


def test_what_holds_everywhere_counts_on_each_surface(service):
    service.trials.hold(Holdout(name="all", share=0.1), "ann", "for good")
    (line,) = audit(service, surface="titles")
    assert (line.about, line.surface) == ("all", None)


def test_they_are_found_by_what_they_are_about_and_by_whom(service):
    assert told(audit(service, about="LOUD")) == [("experiment", "start", "loud")]
    assert audit(service, by="nobody") == ()
