"""decide: what is recorded, what is repeated, what is empty."""

from datetime import timedelta
from itertools import product
from threading import Thread

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from matinee.decisions import Decider, Row, context_hash, decision_id, rebuild, seed_of
from matinee.lake.records import Decision, Eligible, Title, Window
from matinee.models import Dataset, Histories, Popularity, Vocabulary
from matinee.policies import EpsilonGreedy, PlackettLuce
from matinee.surfaces import Candidates, History, Only, Surface, Titles

ODD = ["it's", 'a "b"', "a/../b", "🎬", "né", " ", "a\x00b", "\u202e"]


def other(decider, **changes):
    parts = {
        "surface": decider.surface,
        "model": decider.model,
        "policy": decider.policy,
        "version": decider.version,
        "histories": decider.histories,
        "salt": b"salt",
        **changes,
    }
    return Decider(parts.pop("surface"), parts.pop("model"), parts.pop("policy"), **parts)


def test_a_decision_shows_distinct_eligible_titles_with_their_propensities(
    decider, log, request_of
):
    decision = decider.decide(request_of(), log)
    assert len(set(decision.actions)) == 5
    assert all(0 < propensity <= 1 for propensity in decision.propensities)
    assert (decision.policy, decision.propensity_kind) == ("titles@1", "conditional")
    assert log.decisions() == [decision]
    msgspec.convert(msgspec.to_builtins(decision), Decision)


def test_the_same_request_gets_the_same_decision_bit_for_bit(decider, histories, log, request_of):
    first = decider.decide(request_of(), log)
    histories.watch("m1", *first.actions)
    later = request_of(at=request_of().at + timedelta(hours=3), slots=9)
    newer = other(decider, version="titles@2", policy=EpsilonGreedy(0.5))
    assert newer.decide(later, log) == first
    assert log.decisions() == [first]


def test_other_requests_members_and_surfaces_have_other_ids_and_seeds():
    parts = [("s", "m", "r", None), ("s", "m", "r2", None), ("s", "m2", "r", None)]
    parts += [("s2", "m", "r", None), ("s", "m", "r", "picks"), ("s", "mr", "", None)]
    ids = [decision_id(*part) for part in parts]
    assert len(set(ids)) == len({seed_of(b"salt", each) for each in ids}) == len(parts)
    assert seed_of(b"salt", ids[0]) != seed_of(b"pepper", ids[0])


def test_a_decision_is_rebuilt_from_its_record_alone(decider, histories, log, request_of):
    histories.watch("m1", "t000", "t003")
    for number in range(30):
        decision = decider.decide(request_of(f"r{number}"), log)
        line = msgspec.json.decode(msgspec.json.encode(decision), type=Decision)
        slate = rebuild(line, PlackettLuce(**decider.policy.settings()))
        ids = log.rows[decision.eligible].candidates
        assert [ids[position] for position in slate.actions] == decision.actions
        assert slate.propensities.tolist() == decision.propensities


def test_what_is_about_a_subject_is_rebuilt_by_the_unit_that_it_was_drawn_for(
    decider, log, request_of
):
    for number in range(30):
        decision = decider.decide(request_of(f"r{number}", subject="i1"), log)
        assert rebuild(decision, decider.policy, "member").propensities.tolist() == (
            decision.propensities
        )


def test_a_record_of_another_policy_is_not_rebuilt(decider, log, request_of):
    decision = decider.decide(request_of(), log)
    with pytest.raises(ValueError, match="titles@1"):
        rebuild(decision, PlackettLuce(temperature=0.1))


def test_titles_are_drawn_as_often_as_the_record_says(decider, request_of):
    requests = [request_of(f"r{number}", slots=1) for number in range(4000)]
    decisions = [decider.propose(request) for request in requests]
    chances = {decision.actions[0]: decision.propensities[0] for decision in decisions}
    assert sum(chances.values()) == pytest.approx(1)
    for title, chance in chances.items():
        seen = sum(decision.actions == [title] for decision in decisions) / len(decisions)
        assert abs(seen - chance) < 5 * np.sqrt(chance * (1 - chance) / len(decisions))


def test_what_was_watched_is_not_shown_and_the_record_says_so(decider, histories, log, request_of):
    histories.watch("m1", "t000", "t001", "t002", "not in the catalogue")
    decision = decider.decide(request_of(slots=100), log)
    assert decision.removed == [0, 1, 2]
    assert {"t000", "t001", "t002"}.isdisjoint(decision.actions)
    assert not set(decision.removed) & set(decision.segment)
    assert [(mask.name, mask.count) for mask in decision.masks] == [("watched", 3)]


def test_a_fresh_event_changes_the_next_decision(decider, histories, request_of):
    greedy = other(decider, policy=EpsilonGreedy(0.0))
    first = greedy.propose(request_of()).actions
    assert greedy.propose(request_of("again")).actions == first
    histories.watch("m1", first[0])
    assert greedy.propose(request_of()).actions[0] == first[1]


class Everything(Popularity):
    """Scores that change with the history, the country, the hour and the candidates."""

    def _scores(self, context, candidates):
        hour = int(context.at[0] // 3_600_000_000 % 24)
        country = sum(map(ord, context.histories.countries[0] or ""))
        state = np.random.default_rng([hour, country, *context.histories.titles + 1])
        return state.normal(size=len(self.titles))[None, candidates]


def test_a_warm_decider_decides_as_a_fresh_one(decider, request_of):
    at = request_of().at
    windows = [
        Window(title_id="t005", country="NL", ends_at=at + timedelta(minutes=10)),
        Window(title_id="t007", starts_at=at + timedelta(minutes=30)),
    ]
    surface = Titles(decider.surface.catalogue.values(), windows)
    titles = Vocabulary(sorted(surface.catalogue))
    model = Everything().fit(Dataset.of(titles, Histories.of([[0]])))
    source = type(decider.histories)()
    drama = Only(surface.of_genre("Drama"), "only Drama")
    rows = {
        None: None,
        "genre": Row("genre-1", "Drama for you", "Why.", drama),
        "popular": Row("popular", "Popular", "Why.", history=History()),
    }
    warm = other(decider, surface=surface, model=model, histories=source)
    for watched in ("t001", "t002"):
        for member, country, minutes, row in product(
            ("m1", "m2"), (None, "NL", "US"), (0, 20, 40, 70), rows
        ):
            later = at + timedelta(minutes=minutes)
            request = request_of("r", member, country=country, at=later)
            fresh = other(decider, surface=surface, model=model, histories=source)
            assert warm.propose(request, rows[row]) == fresh.propose(request, rows[row])
        source.watch("m1", watched)
        source.watch("m2", f"t01{watched[-1]}")


def test_an_unknown_member_gets_what_is_popular(decider, request_of):
    greedy = other(decider, policy=EpsilonGreedy(0.0))
    decision = greedy.propose(request_of(member_id="never seen"))
    assert decision.actions == ["t000", "t001", "t002", "t003", "t004"]
    assert decision.removed == []


def test_the_eligible_set_is_stored_once(decider, log, request_of):
    for number in range(5):
        decider.decide(request_of(f"r{number}"), log)
    sets = [record for put in log.puts for record in put if isinstance(record, Eligible)]
    assert [candidates.candidates for candidates in sets] == [sorted(decider.surface.catalogue)]


def test_an_eligible_set_that_was_not_acknowledged_is_sent_again(decider, log, request_of):
    class FullDisk:
        def put(self, records):
            raise OSError

    with pytest.raises(OSError):
        decider.decide(request_of(), FullDisk())
    decision = decider.decide(request_of(), log)
    assert decision.eligible in log.rows


@pytest.mark.parametrize(
    ("surface", "masks"),
    [
        (Titles([]), ["eligible"]),
        (
            Titles([Title(title_id="t", name="T")], [Window(title_id="t", country="US")]),
            ["availability"],
        ),
    ],
)
def test_nothing_eligible_is_an_empty_decision_with_a_reason(
    decider, log, request_of, surface, masks
):
    decision = other(decider, surface=surface).decide(request_of(country="NL"), log)
    assert decision.actions == decision.propensities == decision.segment == []
    assert [mask.name for mask in decision.masks] == masks
    assert decision.eligible in log.rows
    assert len(rebuild(decision, decider.policy).actions) == 0


def test_everything_watched_is_an_empty_decision_with_a_reason(decider, histories, log, request_of):
    histories.watch("m1", *decider.surface.catalogue)
    decision = decider.decide(request_of(), log)
    assert decision.actions == []
    assert decision.masks[-1].reason == "already watched"


def test_one_title_is_certain(decider, histories, log, request_of):
    one = other(decider, surface=Titles([Title(title_id="🎬", name="One")]))
    decision = one.decide(request_of(), log)
    assert (decision.actions, decision.propensities) == (["🎬"], [1.0])


def test_more_slots_than_titles_shows_the_segment(decider, request_of):
    assert len(decider.propose(request_of(slots=1000)).actions) == 10


def test_a_model_that_knows_none_of_the_titles_still_decides(decider, request_of):
    stranger = Popularity().fit(Dataset.of(Vocabulary(["x"]), Histories.of([[0]])))
    assert len(other(decider, model=stranger).propose(request_of()).actions) == 5


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    titles=st.lists(st.one_of(st.sampled_from(ODD), st.text(min_size=1, max_size=9)), max_size=20),
    watched=st.sets(st.integers(0, 25)),
    slots=st.integers(1, 30),
    member=st.sampled_from(["m", "it's", "🎬/..", "m" * 200]),
)
def test_any_ids_make_a_sound_record(  # noqa: PLR0917
    decider, log, request_of, histories_of, titles, watched, slots, member
):
    surface = Titles([Title(title_id=title, name="n") for title in titles])
    ids = sorted(set(titles))
    seen = tuple(ids[number] for number in watched if number < len(ids))
    history = History((*seen, "gone"), tuple(range(len(seen) + 1)), 1)
    model = Popularity().fit(Dataset.of(Vocabulary(ids), Histories.of([[]])))
    source = histories_of({member: history})
    one = other(decider, surface=surface, model=model, histories=source)
    request = request_of(str((titles, seen, slots)), member, slots=slots)
    decision = one.decide(request, log)
    assert set(decision.actions) <= set(ids) - set(seen)
    assert len(decision.actions) == min(slots, 10, len(ids) - len(seen))
    assert [ids[position] for position in decision.removed] == sorted(seen)
    assert log.rows[decision.eligible].candidates == ids
    again = rebuild(decision, one.policy)
    assert [ids[position] for position in again.actions] == decision.actions


def test_a_row_is_narrowed_given_those_above(decider, log, request_of):
    drama = Only(decider.surface.of_genre("Drama"), "only Drama")
    row = Row("genre-1", "Drama for you", "You often watch Drama.", drama)
    above = ["t001", "t003", "t000"]
    decision = decider.propose(request_of(slots=50), row, above)
    assert set(decision.actions) <= decider.surface.of_genre("Drama") - set(above)
    log.put(decider.records([decision]))
    narrowed = log.rows[decision.eligible].candidates
    assert set(narrowed) == decider.surface.of_genre("Drama")
    assert [narrowed[position] for position in decision.removed] == ["t001", "t003"]
    named = {mask.name: mask.count for mask in decision.masks}
    assert named == {"only": 20, "on_page": 2}


def test_the_context_hash_ignores_the_order_of_keys(decider, request_of):
    one = decider.propose(request_of(features={"a": 1, "b": [1, 2]}))
    two = decider.propose(request_of(features={"b": [1, 2], "a": 1}))
    assert one.context_hash == two.context_hash == context_hash(one.context)
    assert one.context_hash != decider.propose(request_of()).context_hash


def test_threads_decide_as_one_would(decider, histories, log, request_of):
    expected = [other(decider).propose(request_of(f"r{number}")) for number in range(60)]
    found = {}

    def work(start):
        for number in range(start, 60, 3):
            found[number] = decider.propose(request_of(f"r{number}"))

    threads = [Thread(target=work, args=(start,)) for start in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[number] for number in range(60)] == expected


class Notifications(Surface):
    """A user's surface: which notification to send, or none."""

    name = "notifications"
    unit = "member"
    reward_range = (0.0, 1.0)
    window = timedelta(hours=24)
    choices = Candidates.of(["none", "new-season", "unfinished"])

    def eligible(self, request):
        return self.choices

    def reward(self, decisions, events):
        raise NotImplementedError

    def policies(self):
        return {"explore": EpsilonGreedy(epsilon=0.2)}


def test_a_surface_from_outside_decides_like_a_built_in_one(decider, log, request_of):
    surface = Notifications()
    model = Popularity().fit(Dataset.of(Vocabulary(surface.choices.ids), Histories.of([[2]])))
    mine = other(
        decider, surface=surface, model=model, policy=surface.policies()["explore"], version="n@1"
    )
    decision = mine.decide(request_of(slots=1, features={"hour": 20}), log)
    assert decision.surface == "notifications"
    assert decision.context["features"] == {"hour": 20}
    assert rebuild(decision, EpsilonGreedy(epsilon=0.2)).propensities.tolist() == (
        decision.propensities
    )


def test_a_history_of_fifty_thousand_events(decider, histories, request_of):
    titles = sorted(decider.surface.catalogue)[:30] * 1_700
    histories.members["m1"] = History(tuple(titles), tuple(range(len(titles))), 1)
    decision = decider.propose(request_of(slots=50))
    assert len(decision.removed) == 30
    assert len(decision.actions) == 10
