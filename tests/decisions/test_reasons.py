"""Which watched titles moved a member's recommendations, and where the page says so."""

import numpy as np
import pytest

from matinee.decisions import Counterfactual, Decider, Home, Reasons
from matinee.lake.records import Eligible, Title
from matinee.models import EASE, Context, CoVisitation, Dataset, Histories, Vocabulary
from matinee.policies import PlackettLuce
from matinee.surfaces import History, Met, Titles

IDS = [f"t{number:02d}" for number in range(40)]
SEEN = ("t03", "t11", "t17", "t22", "t05", "t30", "t08")


def fitted(model):
    rng = np.random.default_rng(7)
    tastes = [rng.permutation(40)[:12].tolist() for _ in range(150)]
    return model.fit(Dataset.of(Vocabulary(IDS), Histories.of(tastes)))


@pytest.fixture(params=[CoVisitation, EASE])
def model(request):
    return fitted(request.param())


@pytest.fixture
def asked(model, histories):
    """A decider whose catalogue lacks t08, the title that the member watched last."""
    histories.watch("m1", *SEEN)
    titles = Titles(Title(title_id=one, name=f"Film {one}") for one in IDS if one != "t08")
    policy = PlackettLuce(temperature=0.3, epsilon=0.1, segment=15)
    return Decider(titles, model, policy, version="titles@1", histories=histories, salt=b"salt")


def scores(model, titles):
    row = model.titles.encode(titles).tolist()
    return model.believe(Context(Histories.of([row]), np.zeros(1, np.int64))).mean[0]


def without(title):
    return [one for one in SEEN if one != title]


def row_of(page, slot):
    return next(row for row in page.rows if row.slot == slot)


def test_the_row_is_of_the_title_without_which_the_best_picks_lose_most(asked, model, request_of):
    whole = scores(model, SEEN)
    open_to = [place for place, one in enumerate(IDS) if one not in SEEN]
    best = sorted(open_to, key=lambda place: (-whole[place], place))[:10]
    lost = {
        title: np.maximum(whole - scores(model, without(title)), 0)[best].sum()
        for title in SEEN[-5:-1]
    }
    most = max(lost, key=lost.get)
    row = row_of(Home(asked).preview(request_of()), "because")
    assert row.name == f"Because you watched Film {most}"
    assert row.why == f"Of what you watched lately, Film {most} moved your picks most."


def test_each_pick_names_the_title_without_which_it_loses_most(asked, model, request_of):
    whole = scores(model, SEEN)
    picks = row_of(Home(asked).preview(request_of(slots=15)), "picks").titles
    for pick in picks:
        place = IDS.index(pick.title_id)
        lost = {one: whole[place] - scores(model, without(one))[place] for one in SEEN[-5:-1]}
        if pick.because is None:
            assert max(lost.values()) <= 1e-6
        else:
            assert lost[pick.because.removeprefix("Film ")] >= max(lost.values()) - 1e-6
    assert any(pick.because for pick in picks)


def test_other_rows_name_none(asked, request_of):
    page = Home(asked).preview(request_of())
    others = [title for row in page.rows if row.slot != "picks" for title in row.titles]
    assert others
    assert all(title.because is None for title in others)


def test_a_repeated_request_gives_the_reasons_that_stood(asked, histories, log, request_of):
    home = Home(asked)
    preview, first = home.preview(request_of()), home.decide(request_of(), log)
    assert [row.titles for row in preview.rows] == [row.titles for row in first.rows]
    histories.watch("m1", "t01", "t02")
    assert home.decide(request_of(), log) == first
    assert home.preview(request_of()) != preview


def test_what_is_on_record_is_judged_as_it_was_decided(asked, histories, log, request_of):
    Home(asked).decide(request_of(), log)
    sets = {row.eligible: row.candidates for row in log.rows.values() if isinstance(row, Eligible)}
    records = log.decisions()
    known = [histories.history("m1")] * len(records)
    found = Counterfactual(asked.model, asked.policy).preferences(records, sets, known)
    for record, preference in zip(records, found, strict=True):
        assert preference.segment.tolist() == record.segment
    because = next(record for record in records if record.row == "because")
    assert len(because.context["row"]["history"]) == 1


def test_the_model_is_asked_once_until_the_history_changes(asked, histories, request_of):
    first = asked.reasons(request_of())
    assert asked.reasons(request_of("r2")) is first
    histories.watch("m1", "t01")
    assert asked.reasons(request_of()).watched == ("t01", "t08", "t30", "t05", "t22")


def test_a_model_that_makes_nothing_of_histories_names_what_was_watched_last(
    decider, histories, request_of
):
    histories.watch("m1", "t001", "t003", "unknown")
    page = Home(decider).preview(request_of())
    row = row_of(page, "because")
    assert row.name == "Because you watched Title 3"
    assert row.why == "Chosen from Title 3 alone, which you watched last."
    assert all(title.because is None for row in page.rows for title in row.titles)


def test_a_title_that_was_met_and_not_watched_is_no_reason(asked, histories, request_of):
    met = Met(("t03", "t11"), (1, 2), (1, 32), (1.0, 0.0))
    histories.members["m2"] = History.of(met, 1)
    assert asked.reasons(request_of(member_id="m2")).watched == ("t03",)


def test_of_equals_the_latest_is_the_reason():
    reasons = Reasons(("late", "early"), ("a", "b"), np.ones((2, 2)))
    assert reasons.most({"late", "early"}) == "late"
    assert reasons.by_title({"late", "early"}) == {"a": "late", "b": "late"}
    assert reasons.most({"early"}) == "early"
    assert reasons.most(set()) is None
    assert Reasons().by_title({"late"}) == {}
