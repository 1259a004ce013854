"""One picture for a member and a title: drawn once, with its chance, and then standing."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import msgspec
import numpy as np
import pytest
from remembered import AT, MemoryHistories, MemoryLog
from scipy.stats import chisquare

from matinee.decisions import Assigner, Counterfactual, Decider, choices_of, rebuild
from matinee.features.pictured import pictured
from matinee.lake.records import Decision, Picture, Title, micros
from matinee.models import Content, Dataset, Linear, Vocabulary
from matinee.models.data import Context, Histories, InMemory, Responses
from matinee.policies import EpsilonGreedy, InverseGap, Thompson
from matinee.surfaces import Artwork, History, Request
from matinee.surfaces.artwork import bandit

DAY = timedelta(days=1)
GAP = InverseGap(gamma=20.0, epsilon=0.1)
TITLES = [Title(title_id=f"t{n}", name=f"Title {n}", genres=["Crime"]) for n in range(30)]
PICTURES = [
    Picture(
        picture_id=f"{title.title_id}.{n}",
        title_id=title.title_id,
        features={"Crime": 1.0} if n == 1 else {"dark": n / 10},
        fixed=n == 2,
    )
    for place, title in enumerate(TITLES)
    for n in range(1, 4 + place % 3)
]


class MemoryChoices:
    """What was chosen, in a dictionary."""

    def __init__(self, memory: timedelta) -> None:
        self.memory, self.chosen = memory, {}

    def recent(self, surface, member_id, at):
        raise AssertionError("there are subjects")

    def recent_of(self, surface, member_id, subjects, at):
        since = at - self.memory // timedelta(microseconds=1)
        found = [self.chosen.get((surface, member_id, subject), {}) for subject in subjects]
        rows = [[one for chosen in each.values() for one in chosen] for each in found]
        return [
            tuple(sorted((c for c in row if since < c.at <= at), key=lambda c: c.at))
            for row in rows
        ]

    def note(self, decision):
        whose = (decision.surface, decision.member_id, decision.subject)
        self.chosen.setdefault(whose, {})[decision.decision_id] = choices_of(decision)


def learned(surface: Artwork) -> Linear:
    """A model that has seen who likes crime take pictures that show it."""
    rng = np.random.default_rng(3)
    ids = Vocabulary(surface.pictures)
    actions = rng.integers(len(ids), size=4_000).astype(np.int32)
    likes = rng.random(4_000)
    shows = np.array([one.features.get("Crime", 0.0) for one in surface.pictures.values()])
    rewards = (rng.random(4_000) < 0.1 + 0.3 * likes * shows[actions]).astype(float)
    context = Context(
        Histories.of([[]] * 4_000),
        np.zeros(4_000, np.int64),
        features=tuple({"taste": {"Crime": like}} for like in likes.tolist()),
    )
    rows = Responses(actions, rewards, np.full(4_000, 0.25), context)
    content = Content.of(pictured(surface.pictures.values(), surface.catalogue))
    return bandit().fit(Dataset(ids, [], 0, responses=[InMemory(rows)], content=content))


@pytest.fixture(scope="module")
def model() -> Linear:
    return learned(Artwork(PICTURES, TITLES))


def service(model, policy=GAP, pictures=PICTURES, **settings):
    """An assigner, and the log, histories and choices that it works with."""
    surface = Artwork(pictures, TITLES, **{"fixed": 0.0, "uniform": 0.0, **settings})
    histories, choices = MemoryHistories(), MemoryChoices(surface.memory)
    assigner = Assigner(
        surface,
        model,
        policy,
        version="artwork@1",
        histories=histories,
        choices=choices,
        salt=b"salt",
    )
    return assigner, MemoryLog()


def another(assigner, **changed):
    """One more of the same service: another process, or after a change of its pictures."""
    made = {
        name: getattr(assigner, name)
        for name in ("surface", "model", "policy", "version", "histories", "choices")
    }
    return Assigner(**{**made, "salt": b"salt", **changed})


def request(member="m", at=AT, **fields):
    return Request(request_id="r", member_id=member, at=at, **fields)


ALL = [title.title_id for title in TITLES]


def test_every_title_gets_a_picture_of_its_own(model):
    assigner, log = service(model)
    found = assigner.assign(request(), [*ALL, "unknown", ALL[0]], log)
    assert sorted(found) == sorted(ALL)
    assert all(choice.action.split(".")[0] == subject for subject, choice in found.items())
    decisions = {one.subject: one for one in log.decisions()}
    assert decisions.keys() == found.keys()
    for subject, choice in found.items():
        decision = decisions[subject]
        assert (choice.decision_id, choice.policy) == (decision.decision_id, "artwork@1")
        assert [choice.action] == decision.actions
        assert [choice.propensity] == decision.propensities


def test_what_stands_is_not_drawn_again(model):
    assigner, log = service(model)
    first = assigner.assign(request(), ALL, log)
    later = assigner.assign(request(at=AT + 13 * DAY, device="tv"), ALL[::-1], log)
    assert later == first
    assert len(log.decisions()) == len(ALL)


def test_row_and_detail_page_show_the_same(model):
    assigner, log = service(model)
    row = assigner.assign(request(), ALL[:20], log)
    detail = assigner.assign(request(at=AT + DAY), [ALL[3]], log)
    assert detail == {ALL[3]: row[ALL[3]]}


def test_a_page_draws_what_one_at_a_time_would(model):
    """Whatever else is asked for: a batch of one is the same."""
    for policy in (InverseGap(gamma=20.0), EpsilonGreedy(0.5), Thompson(draws=30, epsilon=0.2)):
        together, log = service(model, policy)
        alone, other = service(model, policy)
        found = together.assign(request(), ALL, log)
        assert found == {one: alone.assign(request(), [one], other)[one] for one in reversed(ALL)}
        assert sorted(log.decisions(), key=_name) == sorted(other.decisions(), key=_name)


def _name(decision: Decision) -> str:
    return decision.decision_id


def test_each_can_be_drawn_again_from_its_record(model):
    for policy in (InverseGap(gamma=20.0), EpsilonGreedy(0.5), Thompson(draws=30, epsilon=0.2)):
        assigner, log = service(model, policy)
        assigner.assign(request(), ALL, log)
        sets = {name: record for name, record in log.rows.items() if isinstance(name, str)}
        for decision in log.decisions():
            slate = rebuild(decision, policy, "subject")
            candidates = sets[decision.eligible].candidates
            assert [candidates[place] for place in slate.actions] == decision.actions


def test_a_propensity_is_the_frequency_of_the_draw(model):
    """Over members who like the same, each picture of a title is drawn as often as it is said."""
    assigner, log = service(model, InverseGap(gamma=5.0, epsilon=0.1))
    for number in range(3_000):
        assigner.assign(request(f"m{number}"), ["t1"], log)
    decisions = log.decisions()
    drawn = Counter(one.actions[0] for one in decisions)
    chances = assigner.policy.chances(np.array([decisions[0].scores], np.float32))[0]
    segment = decisions[0].segment
    ids = assigner.surface.eligible(request(subject="t1")).ids
    counts = [drawn[ids[place]] for place in segment]
    assert chisquare(counts, 3_000 * chances).pvalue > 1e-4
    said = {one.actions[0]: one.propensities[0] for one in decisions}
    assert said == {ids[place]: chance for place, chance in zip(segment, chances, strict=True)}


def test_two_processes_draw_one_picture(model):
    """Both find nothing that stands; the log has room for one, and both show that."""
    one, log = service(model, EpsilonGreedy(epsilon=1.0))
    other = another(one, choices=MemoryChoices(one.surface.memory), salt=b"another")
    first = one.propose(request(), ALL)[1]
    second = other.propose(request(at=AT + timedelta(milliseconds=5)), ALL)[1]
    assert [decision.actions for decision in first] != [decision.actions for decision in second]
    shown = one.standing(log.put(one.records(first)))
    assert not other.standing(log.put(other.records(second))), "others were first"
    assert other.assign(request(), ALL, log) == shown
    assert len(log.decisions()) == len(ALL)


def test_whoever_was_asked_first_and_wrote_last_shows_what_stands(model):
    """Two servers' clocks, or two requests that overtake each other."""
    slow, log = service(model, EpsilonGreedy(epsilon=1.0))
    quick = another(slow, choices=MemoryChoices(slow.surface.memory), salt=b"another")
    steps = slow.steps(request(), ALL)
    records = next(steps)
    shown = quick.assign(request(at=AT + timedelta(milliseconds=5)), ALL, log)
    assert finished(steps, records, log) == shown
    assert len(log.decisions()) == len(ALL)


def finished(steps, records, log):
    """What steps come to, once they have been given what they want of the log."""
    try:
        while True:
            records = steps.send(log.put(records))
    except StopIteration as done:
        return done.value


def test_who_comes_second_sees_nothing_that_is_not_for_them(model):
    """An adult and a child on one profile at the same moment: the first choice counts, unless it is
    not to be seen by who comes second.
    """
    adult = [replace_picture(one, min_age=16) if one.fixed else one for one in PICTURES]
    one, log = service(model, EpsilonGreedy(epsilon=1.0), adult)
    child = another(one, choices=MemoryChoices(one.surface.memory))
    limited = request(at=AT + timedelta(milliseconds=5), features={"age_limit": 12})
    steps = child.steps(limited, ALL)
    records = next(steps)
    shown = one.assign(request(), ALL, log)
    assert any(one.surface.pictures[choice.action].fixed for choice in shown.values())
    found = finished(steps, records, log)
    assert found.keys() == shown.keys()
    for subject, choice in found.items():
        may = not one.surface.pictures[shown[subject].action].fixed
        assert (choice == shown[subject]) == may
        assert not one.surface.pictures[choice.action].fixed


def test_after_a_fortnight_another_may_be_drawn_from_no_more_than_three(model):
    assigner, log = service(model, EpsilonGreedy(epsilon=1.0), change=0.0)
    shown = [
        {one: choice.action for one, choice in found.items()}
        for found in (
            assigner.assign(request(at=AT + days * DAY), ALL, log) for days in range(0, 90, 15)
        )
    ]
    assert len(log.decisions()) == 6 * len(ALL)
    changed = sum(len({page[one] for page in shown}) > 1 for one in ALL)
    assert changed > len(ALL) / 2
    assert max(len({page[one] for page in shown}) for one in ALL) == 3
    capped = [one for one in log.decisions() if any(m.name == "few_different" for m in one.masks)]
    assert capped
    assert all(len(one.segment) == 3 and one.removed for one in capped)


def test_a_new_draw_has_an_id_of_its_own_also_after_the_memory(model):
    """What fell out of memory may have been the first: its id must not come again."""
    assigner, log = service(model)
    for days in (0, 15, 200, 500):
        assigner.assign(request(at=AT + days * DAY), ALL[:1], log)
    assert len({one.decision_id for one in log.decisions()}) == 4


def test_a_watch_ends_it(model):
    assigner, log = service(model)
    first = assigner.assign(request(), ALL[:2], log)
    assigner.histories.members["m"] = _history(ALL[0], AT + DAY)
    later = assigner.assign(request(at=AT + 2 * DAY), ALL[:2], log)
    assert later[ALL[1]] == first[ALL[1]]
    assert later[ALL[0]].decision_id != first[ALL[0]].decision_id


def _history(title, at):
    return History((title,), (micros(at),), 1)


def test_what_is_barred_goes_at_once(model):
    assigner, log = service(model)
    first = assigner.assign(request(), ALL, log)
    barred = {first[one].action for one in ALL[:5]}
    fewer = [
        replace_picture(one, barred="rights") if one.picture_id in barred else one
        for one in PICTURES
    ]
    changed = another(assigner, surface=Artwork(fewer, TITLES, fixed=0.0, uniform=0.0))
    later = changed.assign(request(at=AT + DAY), ALL, log)
    for one in ALL[:5]:
        assert later[one].action not in barred
    assert {one: later[one] for one in ALL[5:]} == {one: first[one] for one in ALL[5:]}
    eligible = {n: r.candidates for n, r in log.rows.items() if isinstance(n, str)}
    redrawn = [one for one in log.decisions() if one.at == AT + DAY]
    assert len(redrawn) == 5
    assert not any(set(eligible[one.eligible]) & barred for one in redrawn)


def replace_picture(picture, **changed):
    return msgspec.structs.replace(picture, **changed)


def test_a_child_on_the_same_profile_is_not_shown_what_stands_for_adults(model):
    adult = [replace_picture(one, min_age=16) if one.fixed else one for one in PICTURES]
    assigner, log = service(model, EpsilonGreedy(epsilon=1.0), adult)
    for number in range(10):
        assigner.assign(request(f"m{number}"), ALL, log)
    for number in range(10):
        limited = request(f"m{number}", at=AT + DAY, features={"age_limit": 12})
        found = assigner.assign(limited, ALL, log)
        assert len(found) == len(ALL)
        assert not any(assigner.surface.pictures[one.action].fixed for one in found.values())


def test_changing_costs_as_much_as_it_says(model):
    """What another picture is better by is held against the cost, and the record says so."""
    dear, log = service(model, EpsilonGreedy(epsilon=0.0), change=1.0)
    free, other = service(model, EpsilonGreedy(epsilon=0.0), change=0.0)
    taste = {"taste": {"Crime": 0.9}}
    for assigner, rows in ((dear, log), (free, other)):
        assigner.surface.told = lambda situation: {}
        assigner.assign(request(features={"taste": {"Crime": 0.0}}), ALL, rows)
        assigner.assign(request(at=AT + 15 * DAY, features=taste), ALL, rows)
    kept, changed = (
        sum(first.actions == second.actions for first, second in _pairs(rows.decisions()))
        for rows in (log, other)
    )
    assert kept == len(ALL) > changed
    for decision in log.decisions()[len(ALL) :]:
        assert decision.context["bonus"] == {decision.actions[0]: 1.0}


def _pairs(decisions):
    half = len(decisions) // 2
    return zip(decisions[:half], decisions[half:], strict=True)


def test_another_version_is_asked_what_was_known(model):
    """A version that is asked again about its own decisions prefers as it did: the bonus, what the
    surface told of the member, and what masks took away are all in the record.
    """
    assigner, log = service(model, InverseGap(gamma=20.0, epsilon=0.1), change=0.05)
    assigner.histories.watch("m", "t1", "t2")
    for days in range(0, 75, 15):
        assigner.assign(request(at=AT + days * DAY), ALL, log)
    decisions = log.decisions()
    assert any(one.removed for one in decisions)
    assert any("bonus" in one.context for one in decisions)
    eligible = {n: r.candidates for n, r in log.rows.items() if isinstance(n, str)}
    history = assigner.histories.history("m")
    asked = Counterfactual(model, assigner.policy)
    found = asked.preferences(decisions, eligible, [history] * len(decisions))
    for decision, preference in zip(decisions, found, strict=True):
        assert preference.segment.tolist() == decision.segment
        np.testing.assert_allclose(preference.logits, decision.scores, atol=1e-5)
        assert decision.context["features"] == {"taste": {"Crime": round(2 / 6, 3)}}


def test_arms_are_shares_of_members_and_hold_their_rule(model):
    assigner, log = service(model, fixed=0.2, uniform=0.3)
    arms = Counter(assigner.arm(f"m{number}") for number in range(4_000))
    expected = {"fixed": 0.2, "uniform": 0.3, None: 0.5}
    counts, shares = [arms[one] for one in expected], np.array(list(expected.values()))
    assert chisquare(counts, 4_000 * shares).pvalue > 1e-4
    for number in range(60):
        assigner.assign(request(f"m{number}"), ALL, log)
    for decision in log.decisions():
        arm = assigner.arm(decision.member_id)
        assert decision.arm == arm
        assert decision.policy == f"artwork@{arm or 1}"
        pictures = assigner.surface.of(decision.subject)
        if arm == "fixed":
            assert decision.actions == [f"{decision.subject}.2"]
            assert decision.propensities == [1.0]
        if arm == "uniform":
            assert decision.propensities == [pytest.approx(1 / len(pictures))]


def test_an_arm_that_grows_keeps_its_members(model):
    small, _ = service(model, fixed=0.1, uniform=0.1)
    large, _ = service(model, fixed=0.3, uniform=0.5)
    for arm in ("fixed", "uniform"):
        kept = [f"m{n}" for n in range(500) if small.arm(f"m{n}") == arm]
        assert kept
        assert all(large.arm(one) == arm for one in kept)


def test_who_likes_crime_is_shown_it(model):
    assigner, log = service(model, EpsilonGreedy(epsilon=0.0))
    assigner.histories.watch("fan", *ALL[:20])
    shows = {}
    for member in ("fan", "new"):
        found = assigner.assign(request(member), ALL[20:], log)
        shows[member] = sum(
            "Crime" in assigner.surface.pictures[one.action].features for one in found.values()
        )
    assert shows["fan"] == 10


def test_new_pictures_are_known_by_what_they_show(model):
    """The model has never met them: it adopts their content."""
    fresh = [
        Picture(picture_id=f"new.{n}", title_id="new", features=shown, fixed=n == 1)
        for n, shown in ((1, {}), (2, {"Crime": 1.0}))
    ]
    title = Title(title_id="new", name="New", genres=["Crime"])
    everything = [*PICTURES, *fresh]
    titles = {one.title_id: one for one in [*TITLES, title]}
    content = Content.of(pictured(everything, titles))
    responses = replace(Dataset(Vocabulary(PICTURES_IDS), [], 0), content=content)
    rng = np.random.default_rng(3)
    actions = rng.integers(len(PICTURES), size=6_000).astype(np.int32)
    shows = np.array([one.features.get("Crime", 0.0) for one in PICTURES])
    rewards = (rng.random(6_000) < 0.1 + 0.3 * shows[actions]).astype(float)
    context = Context(Histories.of([[]] * 6_000), np.zeros(6_000, np.int64), features=({},) * 6_000)
    rows = Responses(actions, rewards, np.full(6_000, 0.25), context)
    taught = bandit().fit(replace(responses, responses=[InMemory(rows)]))
    surface = Artwork(everything, titles.values(), fixed=0.0, uniform=0.0)
    assigner, log = service(taught, EpsilonGreedy(epsilon=0.0))
    knowing = another(assigner, surface=surface, model=taught.adopt(content))
    assert knowing.assign(request(), ["new"], log)["new"].action == "new.2"


PICTURES_IDS = [one.picture_id for one in PICTURES]


def test_a_decider_does_not_take_a_surface_of_subjects(model):
    with pytest.raises(ValueError, match="Assigner"):
        Decider(
            Artwork(PICTURES),
            model,
            EpsilonGreedy(),
            version="artwork@1",
            histories=MemoryHistories(),
            salt=b"",
        )


def test_what_speaks_for_a_picture_is_what_the_member_likes(model):
    assigner, log = service(model, EpsilonGreedy(epsilon=0.0))
    assigner.histories.watch("fan", *ALL[:20])
    found = assigner.assign(request("fan"), ALL[20:], log)
    assert assigner.leading(request("fan"), found.values()) == dict.fromkeys(
        ALL[20:], "taste.Crime"
    )
    strange = [msgspec.structs.replace(choice, action="gone") for choice in found.values()]
    assert not assigner.leading(request("fan"), strange)


def test_nothing_speaks_for_what_is_worse_for_everybody(model):
    assigner, log = service(model, EpsilonGreedy(epsilon=0.0))
    assigner.histories.watch("fan", *ALL[:20])
    (choice,) = assigner.assign(request("fan"), ["t20"], log).values()
    others = [
        msgspec.structs.replace(choice, action=one.picture_id)
        for one in assigner.surface.of("t20")
        if one.picture_id != choice.action
    ]
    leading = [assigner.leading(request("fan"), [one])["t20"] for one in others]
    assert "taste.Crime" not in leading
