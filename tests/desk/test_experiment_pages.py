"""The pages of experiments: all of them, and one with what was done to it."""

from matinee.registry import against_champion
from matinee.service.folder import Service


def started(service: Service) -> Service:
    service.trials.start(against_champion("fresh <b>", "titles", "titles@1"), "ann", "a look")
    service.trials.halt("fresh <b>", "bob", "complaints & more")
    return service


def test_without_experiments_the_page_says_what_to_type(service, look):
    status, html = look(service, "/desk/experiments")
    assert status == 200
    assert "matinee experiments start" in html


def test_all_experiments_with_their_state(service, look):
    status, html = look(started(service), "/desk/experiments")
    assert status == 200
    assert "fresh &lt;b&gt;" in html
    assert "halted: complaints &amp; more" in html
    assert 'href="/desk/experiment?name=fresh%20%3Cb%3E"' in html


def test_one_experiment_says_what_it_shows_and_who_did_what(service, look):
    status, html = look(started(service), "/desk/experiment?name=fresh%20%3Cb%3E")
    assert status == 200
    assert "nothing shown yet" in html
    for word in ("ann", "start", "a look", "bob", "halt", "titles@1", "control", "treatment"):
        assert word in html
    assert "<b>" not in html.replace("<b>Mat", "")


def test_one_that_there_is_not_is_not_found(service, look):
    status, html = look(service, "/desk/experiment?name=none")
    assert status == 404
    assert "there is no experiment" in html
