"""The page Today says what waits, what is unwell and what was earned, whatever the service."""

from matinee.registry import against_champion


def test_today_of_a_service_that_lives(service, look):
    service.trials.start(against_champion("fresh <b>", "titles", "titles@1"), "ann", "")
    service.trials.halt("fresh <b>", "ann", "complaints & more")
    status, html = look(service, "/desk")
    assert status == 200
    for word in ("Waits for you", "Unwell", "What was earned", "titles@2", "nothing closed yet"):
        assert word in html
    assert "fresh &lt;b&gt;" in html
    assert "halted: complaints &amp; more" in html
