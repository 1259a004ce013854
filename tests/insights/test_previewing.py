"""Pages that are looked at: what else could have stood in each place, and how likely."""

import shutil
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import log

import numpy as np
import pytest

from matinee.errors import MatineeError
from matinee.insights.previewing import bare, likeliest, preview
from matinee.lake.records import Decision, Picture
from matinee.policies import EpsilonGreedy, InverseGap, PlackettLuce, Policy, Preference, Thompson
from matinee.service import training
from matinee.service.folder import Service
from matinee.service.runtime import NoChampionError, Runtime
from matinee.surfaces import Request
from visits import append

NOW = datetime.now(UTC)
IDS = [f"t{number}" for number in range(7)]


@pytest.fixture
def service(made, tmp_path):
    with Service.open(shutil.copytree(made, tmp_path / "shows")) as service:
        yield service


@dataclass(frozen=True)
class Neighbours(Policy):
    """What is left, each alike, but twice as often what stood beside the last one before."""

    name = "neighbours"
    references = ("none",)

    def settings(self):
        return {}

    def prefer(self, scores):
        order = np.argsort(-scores, kind="stable").astype(np.int32)
        return Preference(order, scores[order].astype(np.float32))

    def draw(self, preference, slots, rng):
        raise NotImplementedError

    def propensities(self, preference, actions):
        segment, found = preference.segment.tolist(), []
        for slot, action in enumerate(actions.tolist()):
            left = [one for one in segment if one not in actions[:slot]]
            last = segment.index(actions[slot - 1]) if slot else None
            weights = [
                2.0 if last is not None and abs(segment.index(one) - last) == 1 else 1.0
                for one in left
            ]
            found.append(weights[left.index(action)] / sum(weights) if action in left else 0.0)
        return np.array(found)


def record(policy, preference, slate):
    """A decision that showed these positions of `IDS`."""
    actions = np.array(slate, np.int32)
    return Decision(
        decision_id="d",
        request_id="r",
        surface="titles",
        member_id="m",
        at=NOW,
        policy="titles@1",
        actions=[IDS[one] for one in slate],
        propensities=policy.propensities(preference, actions).tolist(),
        propensity_kind="conditional",
        eligible="all",
        removed=[],
        segment=preference.segment.tolist(),
        scores=preference.logits.tolist(),
        seed=1,
    )


def rounded(slots):
    return [[(title, round(chance, 6)) for title, chance in slot] for slot in slots]


def test_known_chances():
    policy = PlackettLuce(standardise=False)
    preference = policy.prefer(np.log([4.0, 3.0, 2.0, 1.0]))
    found = likeliest(policy, record(policy, preference, [0, 2, 3, 1]), IDS)
    assert rounded(found) == [
        [("t1", 0.3), ("t2", 0.2), ("t3", 0.1)],
        [("t1", 0.5), ("t3", 0.166667)],
        [("t1", 0.75)],
        [],
    ]


@pytest.mark.parametrize(
    "policy",
    [
        PlackettLuce(temperature=0.4, epsilon=0.1, segment=6),
        EpsilonGreedy(epsilon=0.3, segment=6),
        InverseGap(gamma=5.0, epsilon=0.05, segment=6),
        Thompson(draws=20, epsilon=0.2),
        Neighbours(),
    ],
)
def test_they_are_what_the_policy_says_of_each_title_given_the_slots_before(policy):
    preference = policy.prefer(np.array([0.3, 1.2, -0.4, 0.9, 0.9, 0.0, -1.0]))
    segment = preference.segment.tolist()
    slate = [segment[place] for place in (3, 0, 4, 1)]
    one = record(policy, preference, slate)
    for slot, found in enumerate(likeliest(policy, one, IDS, most=7)):
        said = dict(found)
        for title in set(segment) - set(slate[: slot + 1]):
            asked = np.array([*slate[:slot], title], np.int32)
            chance = policy.propensities(preference, asked)[-1]
            assert said[IDS[title]] == pytest.approx(chance, abs=1e-9)
        assert sum(said.values()) + one.propensities[slot] == pytest.approx(1)
        assert [chance for _, chance in found] == sorted(said.values(), reverse=True)


def test_what_never_could_is_not_told():
    policy = EpsilonGreedy(epsilon=0.0)
    preference = policy.prefer(np.array([1.0, 3.0, 2.0]))
    assert likeliest(policy, record(policy, preference, [1, 2]), IDS) == [[], []]


def test_no_more_than_wanted_and_of_equals_the_better_liked():
    policy = EpsilonGreedy(epsilon=0.7)
    preference = policy.prefer(np.arange(7.0))
    (found,) = likeliest(policy, record(policy, preference, [6]), IDS, most=3)
    assert [title for title, _ in found] == ["t5", "t4", "t3"]
    assert [chance for _, chance in found] == pytest.approx([0.1] * 3)


def asked(runtime, member="m00042", request="preview"):
    return runtime.located(Request(request_id=request, member_id=member, at=datetime.now(UTC)))


def test_the_page_is_the_one_that_deciding_would_draw(service):
    with Runtime(service) as runtime:
        request = asked(runtime)
        found, drawn = preview(runtime, request), runtime.home(request).preview(request)
        assert found.version == "titles@2"
        told = [
            [(one.title_id, one.name, one.propensity, one.because) for one in row.titles]
            for row in found.rows
        ]
        assert told == [
            [(one.title_id, one.name, one.propensity, one.because) for one in row.titles]
            for row in drawn.rows
        ]
        assert [(row.slot, row.name, row.why) for row in found.rows] == [
            (row.slot, row.name, row.why) for row in drawn.rows
        ]
    assert not service.lake.scan("decisions").collect().height


def test_alternatives_stand_even_after_the_champion_has_logged_its_sets(service):
    with Runtime(service) as runtime:
        request = asked(runtime, request="real")
        runtime.home(request).decide(request, service.lake)
        assert all(one.instead for one in preview(runtime, asked(runtime)).rows[0].titles)


def test_nothing_instead_is_on_a_row_above_or_in_a_slot_before(service):
    with Runtime(service) as runtime:
        page = preview(runtime, asked(runtime))
    above = set()
    for row in page.rows:
        for slot in row.titles:
            others = {one.title_id for one in slot.instead}
            assert slot.title_id not in others
            assert not above & others
            assert sum(one.chance for one in slot.instead) + slot.propensity <= 1 + 1e-9
            above.add(slot.title_id)


def test_a_title_comes_first_as_often_as_its_chance(service):
    with Runtime(service) as runtime:
        first = preview(runtime, asked(runtime)).rows[0].titles[0]
        chances = {one.title_id: one.chance for one in first.instead}
        chances[first.title_id] = first.propensity
        decider, draws = runtime.decider("titles@2"), 3_000
        counts = Counter(
            decider.propose(asked(runtime, request=f"r{number}")).actions[0]
            for number in range(draws)
        )
    assert len(chances) == 6
    for title, chance in chances.items():
        error = (chance * (1 - chance) / draws) ** 0.5
        assert abs(counts[title] / draws - chance) < 5 * error


def test_a_bare_page_is_the_same_without_alternatives(service):
    with Runtime(service) as runtime:
        whole, plain = (
            preview(runtime, asked(runtime), "titles@1"),
            bare(runtime, asked(runtime), "titles@1"),
        )
    assert [[one.title_id for one in row.titles] for row in whole.rows] == [
        [one.title_id for one in row.titles] for row in plain.rows
    ]
    assert not any(one.instead or one.picture for row in plain.rows for one in row.titles)


@pytest.mark.parametrize("version", ["titles@99", "titles", "artwork@1", "", "titles@1'--", "é@1"])
def test_a_version_that_draws_no_pages_is_refused(service, version):
    with Runtime(service) as runtime, pytest.raises(MatineeError):
        preview(runtime, asked(runtime), version)


def test_without_a_champion_there_is_no_page(tmp_path):
    service = Service.create(tmp_path / "new")
    with service, Runtime(service) as runtime, pytest.raises(NoChampionError):
        preview(runtime, asked(runtime))


@pytest.fixture
def pictured(service):
    """Three pictures of each title, the second one fixed; the champion of `artwork` takes what it
    likes best, but for a tenth of the time.
    """
    pictures = [
        Picture(picture_id=f"{title}.{number}", title_id=title, fixed=number == 2)
        for title in service.lake.current("titles")["title_id"]
        for number in (1, 2, 3)
    ]
    append(service, "pictures", pictures)
    (made,) = training.train(service, surface="artwork", policy="best first", by="t")
    service.registry.promote("artwork", made.id, by="t", reason="")
    return service


def pictures(service, member):
    with Runtime(service) as runtime:
        page = preview(runtime, asked(runtime, member))
    return [slot.picture for row in page.rows for slot in row.titles]


def in_arm(service, name):
    """A member of a holdout of `artwork`, or of none."""
    with Runtime(service) as runtime:
        arm = runtime.assigner("artwork").arm
        return next(f"m{n}" for n in range(10_000) if arm(f"m{n}") == name)


def test_a_picture_is_told_with_the_chances_of_all(pictured):
    found = pictures(pictured, in_arm(pictured, None))
    assert len(found) > 20
    for one in found:
        odds = {each.picture_id: each.chance for each in one.odds}
        assert len(odds) == 3
        assert sum(odds.values()) == pytest.approx(1)
        assert odds[one.picture_id] == pytest.approx(one.propensity)
        assert not one.stands
        assert not one.seen


@pytest.mark.parametrize(("arm", "chances"), [("fixed", [1, 0, 0]), ("uniform", [1 / 3] * 3)])
def test_in_a_holdout_they_are_those_of_its_rule(pictured, arm, chances):
    for one in pictures(pictured, in_arm(pictured, arm)):
        assert one.policy == f"artwork@{arm}"
        assert [each.chance for each in one.odds] == pytest.approx(chances)


def test_one_that_stands_has_the_chance_it_had_and_those_of_today(pictured):
    member = in_arm(pictured, None)
    with Runtime(pictured) as runtime:
        (title, *_) = [
            one.title_id for one in preview(runtime, asked(runtime, member)).rows[0].titles
        ]
    before = Decision(
        decision_id="d",
        request_id="r",
        surface="artwork",
        member_id=member,
        at=NOW - timedelta(days=1),
        policy="artwork@1",
        actions=[f"{title}.3"],
        propensities=[0.0625],
        propensity_kind="conditional",
        eligible="all",
        removed=[],
        segment=[0],
        scores=[log(2)],
        seed=1,
        subject=title,
    )
    append(pictured, "decisions", [before], NOW)
    first, *others = pictures(pictured, member)
    assert (first.picture_id, first.propensity, first.stands) == (f"{title}.3", 0.0625, True)
    assert sum(one.chance for one in first.odds) == pytest.approx(1)
    assert not any(one.stands for one in others)
