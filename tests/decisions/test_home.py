"""The home page."""

from datetime import timedelta

import msgspec
import pytest

from matinee.decisions import Decider, Home, rebuild
from matinee.decisions.home import HomePage
from matinee.lake.records import Title, Window
from matinee.models import CoVisitation, Dataset, Histories, Vocabulary
from matinee.policies import EpsilonGreedy
from matinee.surfaces import Titles

SLOTS = ["picks", "because", "popular", "new", "genre-1", "genre-2"]


@pytest.fixture
def home(decider):
    return Home(decider)


def shown(page):
    return [title.title_id for row in page.rows for title in row.titles]


def test_no_title_stands_twice_and_nothing_watched_is_shown(home, histories, log, request_of):
    histories.watch("m1", "t000", "t001", "t005")
    for number in range(20):
        titles = shown(home.decide(request_of(f"r{number}"), log))
        assert len(titles) == len(set(titles)) > 20
        assert not {"t000", "t001", "t005"} & set(titles)


def test_every_row_has_a_name_and_a_reason_and_answers_to_its_decision(
    home, histories, log, request_of
):
    histories.watch("m1", "t001", "t003", "t002")
    page = home.decide(request_of(country="NL"), log)
    assert [row.slot for row in page.rows] == SLOTS
    assert not page.preview
    names = {row.slot: row.name for row in page.rows}
    assert names["picks"] == "Top picks for you"
    assert names["because"].startswith("Because you watched Title ")
    assert names["popular"] == "Popular in NL"
    assert names["genre-1"] == "Drama for you"
    assert names["genre-2"] == "Comedy for you"
    assert all(row.why.endswith(".") for row in page.rows)
    stands = {decision.decision_id: decision for decision in log.decisions()}
    for row in page.rows:
        decision = stands[row.decision_id]
        assert decision.actions == [title.title_id for title in row.titles]
        assert (decision.row, row.policy) == (row.slot, "titles@1")
        assert row.titles[0].name == f"Title {int(row.titles[0].title_id[1:])}"


def test_each_row_is_conditional_on_the_rows_above(home, decider, histories, log, request_of):
    histories.watch("m1", "t001")
    home.decide(request_of(), log)
    above = set()
    for decision in log.decisions():
        ids = log.rows[decision.eligible].candidates
        removed = {ids[position] for position in decision.removed}
        assert removed == (above | {"t001"}) & set(ids)
        assert rebuild(decision, decider.policy).propensities.tolist() == decision.propensities
        above |= set(decision.actions)


def test_the_same_request_gets_the_same_page(home, decider, histories, log, request_of):
    first = home.decide(request_of(), log)
    histories.watch("m1", "t001", "t003")
    champion = Decider(
        decider.surface,
        decider.model,
        EpsilonGreedy(0.0),
        version="titles@2",
        histories=histories,
        salt=b"new",
    )
    later = request_of(at=request_of().at + timedelta(days=1))
    assert Home(champion).decide(later, log) == first
    assert len(log.decisions()) == len(SLOTS)
    assert Home(champion).decide(request_of("r2"), log) != first


def test_a_page_is_one_write(home, log, request_of):
    home.decide(request_of(), log)
    assert len(log.puts) == 1


def test_a_preview_shows_the_same_rows_and_logs_nothing(home, histories, log, request_of):
    histories.watch("m1", "t001")
    preview = home.preview(request_of())
    assert log.puts == []
    assert preview.preview
    assert all(row.decision_id is None for row in preview.rows)
    assert shown(preview) == shown(home.decide(request_of(), log))


def test_a_new_member_sees_what_is_popular_and_new(home, log, request_of):
    page = home.decide(request_of(member_id="new"), log)
    assert [row.slot for row in page.rows] == ["picks", "popular", "new"]
    assert page.rows[0].why == "What other members like best."
    empty = [decision for decision in log.decisions() if not decision.actions]
    reasons = [decision.masks[-1].reason for decision in empty]
    assert reasons == ["nothing watched yet", *["too few genres watched yet"] * 2]


def test_new_titles_are_the_latest_years_without_windows(home, log, request_of):
    page = home.decide(request_of(slots=2), log)
    (row,) = [row for row in page.rows if row.slot == "new"]
    assert row.name == "Newest releases"
    assert {title.title_id for title in row.titles} == {"t038", "t039"}


def test_new_titles_are_those_that_arrived_in_the_members_country(
    decider, histories, log, request_of
):
    at = request_of().at
    windows = [
        Window(title_id="t020", country="NL", starts_at=at - timedelta(days=3)),
        Window(title_id="t021", country="US", starts_at=at - timedelta(days=3)),
        Window(title_id="t022", starts_at=at - timedelta(days=400)),
        Window(title_id="t023", starts_at=at + timedelta(hours=1)),
    ]
    surface = Titles(decider.surface.catalogue.values(), windows)
    parts = {"version": "titles@1", "histories": histories, "salt": b""}
    page = Home(Decider(surface, decider.model, decider.policy, **parts)).decide(
        request_of(country="NL"), log
    )
    (row,) = [row for row in page.rows if row.slot == "new"]
    assert row.name == "New this month"
    assert [title.title_id for title in row.titles] == ["t020"]


def test_because_shows_what_goes_with_that_title(histories, log, request_of):
    ids = [f"{side}{number}" for side in "ab" for number in range(6)]
    catalogue = [Title(title_id=title, name=title.upper()) for title in ids]
    taste = [list(range(6)), list(range(6, 12))] * 5
    model = CoVisitation().fit(Dataset.of(Vocabulary(ids), Histories.of(taste)))
    decider = Decider(
        Titles(catalogue),
        model,
        EpsilonGreedy(0.0),
        version="titles@1",
        histories=histories,
        salt=b"",
    )
    histories.watch("m1", "a0", "b0", "a1", "b1")
    for number in range(6):
        histories.watch("m1", f"unknown {number}")
        (row,) = [
            row
            for row in Home(decider).decide(request_of(f"r{number}", slots=1), log).rows
            if row.slot == "because"
        ]
        side = row.name.removeprefix("Because you watched ")[0].lower()
        picks = log.decisions()[-6].actions
        left = {f"{side}{number}" for number in range(2, 6)} - set(picks)
        assert row.titles[0].title_id in left


def test_an_empty_catalogue_is_an_empty_page(decider, histories, log, request_of):
    parts = {"version": "titles@1", "histories": histories, "salt": b""}
    home = Home(Decider(Titles([]), decider.model, decider.policy, **parts))
    page = home.decide(request_of(), log)
    assert page.rows == []
    assert len(log.decisions()) == len(SLOTS)


def test_a_page_travels_as_json(home, log, request_of):
    page = home.decide(request_of("it's 🎬/"), log)
    assert msgspec.json.decode(msgspec.json.encode(page), type=HomePage) == page
