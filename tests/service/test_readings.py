"""What an experiment shows: known effects, none, and arms that chance did not draw."""

from datetime import UTC, datetime, timedelta
from math import inf, isnan

import msgspec
import numpy as np
import polars as pl
import pytest

from matinee.decisions import Decider
from matinee.errors import MatineeError
from matinee.experiments.plan import Arm, Experiment, Holdout, Layer, Plan
from matinee.lake.records import Event, Outcome
from matinee.lake.table import Bucket, collect
from matinee.policies import EpsilonGreedy
from matinee.registry import against_champion
from matinee.service.arms import Arms
from matinee.service.folder import Service
from matinee.service.outcomes import close_windows
from matinee.service.readings import on_record, read, watch
from matinee.surfaces import Request
from notes import COUNTRIES, START, WORTH, Nobody, Notes, append, champion, version, written

KEEN, REWARD = EpsilonGreedy(epsilon=0.1), Notes.reward
MEMBERS = 1_500
"""By .2 and .6 of answers they show an effect of .36 a decision at once; by equal ones none."""


@pytest.fixture
def service(notes_service):
    Notes.answers.clear()
    return notes_service


def run(service, *, best="finale", members=MEMBERS, lost=0.0, visits=2):
    """An experiment that ran for four days: a member came `visits` times. Of the treated a share
    `lost` of members is missing from the log.
    """
    control = champion(service, KEEN)
    other = version(service, best, KEEN)
    service.trials.start(against_champion("best", "notes", other.id, start=START), "ann", "")
    return visited(service, control, members, visits, {"best:treatment": lost})


def run_three(service, *, second="finale", third="season", lost=0.0):
    """The same with half of the members in the control, and two arms."""
    control = champion(service, KEEN)
    arms = (
        Arm(name="control", share=0.5, serves="champion"),
        Arm(name="second", share=0.25, serves=version(service, second, KEEN).id),
        Arm(name="third", share=0.25, serves=version(service, third, KEEN).id),
    )
    one = Experiment(
        name="three", surface="notes", layer="notes", slice=(0.0, 1.0), start=START, arms=arms
    )
    service.trials.start(one, "ann", "")
    return visited(service, control, MEMBERS, 2, {"three:third": lost})


def visited(service, control, members, visits, lost):
    """Members come `visits` times in three days; of arms the shares `lost` are not in the log."""
    arms, chance, deciders, decisions = Arms(service), np.random.default_rng(5), {}, []
    luck = {f"m{number}": chance.random() for number in range(members)}
    for number in range(members * visits):
        member = f"m{number % members}"
        asked = Request(
            request_id=str(number),
            member_id=member,
            at=START + number * timedelta(days=3) / (members * visits),
            country=COUNTRIES[number % members % 2],
        )
        serves = arms.of("notes", asked)
        if luck[member] < lost.get(serves.arm, 0.0):
            continue
        if serves not in deciders:
            name = serves.version or control.id
            model, policy = service.registry.load(name)
            deciders[serves] = Decider(
                Notes(),
                model,
                policy,
                version=name,
                histories=Nobody(),
                salt=bytes(32),
                arm=serves.arm,
            )
        decisions.append(deciders[serves].propose(asked))
        answered = float(chance.random() < WORTH[decisions[-1].actions[0]])
        Notes.answers[decisions[-1].decision_id] = answered
    written(service, *decisions)
    close_windows(service)
    return decisions


def first_of_each(decisions):
    """The first decision of each member."""
    return list({one.member_id: one for one in reversed(decisions)}.values())


def watched(service, decisions, minutes, after=timedelta(hours=2)):
    """After each decision a play of as many minutes as `minutes` says of its place and itself."""
    plays = [
        Event(
            event_id=f"{after}-{place}",
            member_id=one.member_id,
            kind="play",
            title_id="t",
            ts=one.at + after,
            value=float(minutes(place, one)),
        )
        for place, one in enumerate(decisions)
    ]
    append(service, "events", plays, known="ts")


def test_a_better_treatment_is_called_so_with_an_effect_of_the_right_size(service):
    run(service)
    found = read(service, "best")
    assert found.outcome == "better", found.reasons
    (reward, minutes) = found.metrics
    # of two decisions, nine in ten by the best and one in ten by chance
    expected = 2 * 0.9 * (WORTH["finale"] - WORTH["none"])
    assert reward.difference.low < expected < reward.difference.high
    assert reward.difference.high - reward.difference.low < 0.4
    assert reward.pvalue < 1e-6
    assert minutes.treatment == minutes.control == 0.0
    assert {segment.name for segment in found.countries.segments} == set(COUNTRIES)
    assert found.evenness > 0.001
    assert sum(side.members for side in found.sides) == MEMBERS
    assert sum(side.decisions for side in found.sides) == 2 * MEMBERS


def test_looks_are_one_a_day_with_the_members_until_then(service):
    run(service)
    found = read(service, "best")
    reward = found.metrics[0].difference
    ends, sizes, intervals = zip(*found.looks, strict=True)
    assert list(ends) == sorted(ends)
    assert list(sizes) == sorted(sizes)
    assert sizes[-1] == MEMBERS
    assert 4 <= len(ends) <= 5
    assert intervals[-1].value == pytest.approx(reward.value)
    assert intervals[-1].low == pytest.approx(reward.low)


def test_versions_that_are_alike_show_nothing(service):
    run(service, best="none")
    found = read(service, "best")
    assert found.outcome == "open"
    assert found.metrics[0].difference.low < 0 < found.metrics[0].difference.high
    assert watch(service) == ""
    assert service.trials.latest("best").reason == "open"


def test_arms_that_chance_did_not_draw_are_not_read_and_are_halted(service):
    run(service, best="none", lost=0.5)
    found = read(service, "best")
    assert found.outcome == "broken"
    assert "beside chance" in found.reasons[0]
    assert watch(service) == "halted best"
    assert "beside chance" in service.trials.get("best").halted
    assert watch(service) == ""


def test_a_member_in_two_arms_is_left_out_and_counted(service):
    decisions = run(service, members=200)
    first = decisions[0]
    other = {"best:control": "best:treatment", "best:treatment": "best:control"}[first.arm]
    stray = msgspec.structs.replace(
        first, decision_id="stray", request_id="stray", arm=other, at=first.at + timedelta(hours=1)
    )
    Notes.answers["stray"] = 1.0
    append(service, "decisions", [stray])
    close_windows(service)
    found = read(service, "best")
    assert found.left_out == 1
    assert sum(side.members for side in found.sides) == 199


def test_a_treatment_that_costs_minutes_is_halted_though_it_earns_more(service):
    decisions, chance = run(service), np.random.default_rng(6)
    plays = [
        Event(
            event_id=f"{number}-{when}",
            member_id=decision.member_id,
            kind="play",
            title_id="t",
            ts=decision.at + hours,
            value=chance.uniform(30, 90)
            * (0.5 if when == "after" and decision.arm == "best:treatment" else 1.0),
        )
        for number, decision in enumerate(decisions)
        for when, hours in (("before", timedelta(days=-8)), ("after", timedelta(hours=2)))
    ]
    append(service, "events", plays, known="ts")
    found = read(service, "best")
    assert (found.outcome, found.breached) == ("worse", True)
    assert "minutes watched falls" in found.reasons[0]
    assert watch(service) == "halted best"


def test_where_rewards_are_costs_a_smaller_one_is_better(service, monkeypatch):
    monkeypatch.setattr(Notes, "reward_range", (-1.0, 0.0))
    monkeypatch.setattr(
        Notes,
        "reward",
        lambda self, decisions, events: REWARD(self, decisions, events).with_columns(
            reward=pl.col("reward") - 1
        ),
    )
    run(service)
    found = read(service, "best")
    assert found.metrics[0].control < found.metrics[0].treatment < 0
    assert (found.outcome, found.breached) == ("better", False)


def test_who_is_held_out_later_is_left_out(service):
    run(service, members=400)
    held = Holdout(name="before", share=0.5, surface="notes", serves="notes@1")
    service.trials.hold(held, "ann", "")
    found = read(service, "best")
    assert 150 < found.left_out < 250
    assert sum(side.members for side in found.sides) == 400 - found.left_out


def test_a_name_that_begins_alike_is_another_experiment(service):
    decisions = run(service, members=200)
    others = [
        msgspec.structs.replace(
            one, decision_id=f"o{number}", request_id="o", arm=f"best two:{arm}"
        )
        for number, (one, arm) in enumerate(
            zip(decisions, ["control", "treatment"] * 200, strict=True)
        )
    ]
    append(service, "decisions", others)
    close_windows(service)
    found = read(service, "best")
    assert found.left_out == 0
    assert sum(side.decisions for side in found.sides) == 400


def test_what_is_watched_after_a_halt_says_nothing_of_the_arms(service):
    run(service, members=400)
    service.trials.halt("best", "ann", "complaints")
    before = read(service, "best").metrics[1]
    later = [
        Event(
            event_id=f"later-{number}",
            member_id=f"m{number}",
            kind="play",
            title_id="t",
            ts=datetime.now(UTC) + timedelta(minutes=1),
            value=30.0 + number % 7,
        )
        for number in range(400)
    ]
    append(service, "events", later, known="ts")
    after = read(service, "best", now=datetime.now(UTC) + timedelta(minutes=2)).metrics[1]
    assert (after.treatment, after.control) == (before.treatment, before.control) == (0.0, 0.0)


def test_of_an_invoice_only_the_first_decision_counts(service, monkeypatch):
    """Later ones tell of the same money, so a version that needs more of them would look better."""
    monkeypatch.setattr(Notes, "reads", "attempts")
    monkeypatch.setattr("matinee.service.outcomes.SUBJECT", {"attempts": "invoice_id"})
    control = champion(service, KEEN)
    other = version(service, "finale", KEEN)
    service.trials.start(against_champion("best", "notes", other.id, start=START), "ann", "")
    arms, decisions, outcomes = Arms(service), [], []
    model, policy = service.registry.load(control.id)
    for number in range(400):
        asked = Request(request_id="r", member_id=f"m{number}", at=START, subject="i1")
        serves = arms.of("notes", asked)
        decider = Decider(
            Notes(), model, policy, version=control.id, histories=Nobody(), salt=b"", arm=serves.arm
        )
        tries = 3 if serves.arm == "best:treatment" else 1
        for turn in range(tries):
            at = START + turn * timedelta(hours=1)
            again = msgspec.structs.replace(asked, request_id=f"r{turn}", at=at)
            one = decider.propose(again)
            decisions.append(one)
            outcomes.append(
                Outcome(
                    decision_id=one.decision_id,
                    member_id=one.member_id,
                    surface="notes",
                    position=0,
                    action=one.actions[0],
                    reward=float(number % 2),
                    decided_at=at,
                    closed_at=at + timedelta(hours=2),
                )
            )
    written(service, *decisions)
    append(service, "outcomes", outcomes)
    reward = read(service, "best").metrics[0]
    assert reward.treatment == pytest.approx(0.5, abs=0.1)
    assert reward.difference.low < 0 < reward.difference.high


def test_one_that_cannot_be_read_keeps_no_other_from_it(service, monkeypatch):
    run(service, best="none", lost=0.5)
    three = read(service, "best").experiment
    monkeypatch.setattr(
        "matinee.registry.trials.Trials.plan",
        lambda self: Plan(
            experiments=(
                msgspec.structs.replace(three, name="gone", slice=(0.0, 0.5)),
                msgspec.structs.replace(three, slice=(0.5, 1.0)),
            ),
            layers=(Layer(name=three.layer),),
        ),
    )
    with pytest.raises(MatineeError, match="gone"):
        watch(service)
    assert "beside chance" in service.trials.get("best").halted


def test_without_members_nothing_is_shown_and_nothing_fails(service):
    champion(service, KEEN)
    other = version(service, "finale", KEEN)
    service.trials.start(against_champion("best", "notes", other.id), "ann", "")
    found = read(service, "best")
    assert found.outcome == "open"
    assert [side.members for side in found.sides] == [0, 0]
    with pytest.raises(MatineeError, match="no experiment"):
        read(service, "worst")


def in_other_buckets(service, folder, buckets):
    """Another service with the same members in the same arms, and the same log."""
    other = Service.create(folder, {"lake.buckets": buckets})
    (folder / "salt").write_bytes((service.folder / "salt").read_bytes())
    champion(other, KEEN)
    made = version(other, "finale", KEEN)
    other.trials.start(against_champion("best", "notes", made.id, start=START), "ann", "")
    for table in ("decisions", "outcomes", "events"):
        other.lake.append(table, service.lake.scan(table).drop("seq").collect(), source="test")
    return other


def numbers(found):
    """Every number of a reading but looks."""
    (one,) = found.treatments
    intervals = [each.difference for each in (*one.metrics, *one.secondary)]
    intervals += [segment.interval for segment in one.countries.segments]
    intervals += [each for _, _, each in one.looks]
    return [
        *(number for each in intervals for number in (each.value, each.low, each.high)),
        *(number for each in one.metrics for number in (each.treatment, each.removed, each.pvalue)),
        *(rail.room for rail in one.guardrails),
    ]


def test_figures_do_not_depend_on_the_number_of_buckets(service, tmp_path):
    decisions, chance = run(service), np.random.default_rng(7)
    for after in (timedelta(days=-5), timedelta(hours=3)):
        watched(service, decisions, lambda place, one: chance.uniform(1, 90), after)
    now = START + timedelta(days=4, hours=12)  # as many looks at every hour of the day
    found = read(service, "best", now=now)
    assert len(numbers(found)) > 40
    for buckets in (1, 7):
        with in_other_buckets(service, tmp_path / f"in {buckets}", buckets) as other:
            again = read(other, "best", now=now)
        assert again.sides == found.sides
        assert again.outcome == found.outcome
        assert [(end, size) for end, size, _ in again.looks] == [
            (end, size) for end, size, _ in found.looks
        ]
        assert numbers(again) == pytest.approx(numbers(found), rel=1e-6, abs=1e-9)


def test_no_more_rows_are_held_than_those_of_a_bucket(service, tmp_path, monkeypatch):
    decisions = run(service, members=400)
    watched(service, decisions, lambda place, one: 30 + place % 7)
    with in_other_buckets(service, tmp_path / "in 8", 8) as other:
        buckets = other.lake.tables["decisions"].buckets()
        largest = max(bucket.scan().collect().height for bucket in buckets)
        held, scanned, scan = [], [], Bucket.scan

        def counting(rows, what):
            held.append(collect(rows, what).height)
            return collect(rows, what)

        def scanning(bucket):
            scanned.append((bucket.number, bucket.table))
            return scan(bucket)

        monkeypatch.setattr("matinee.service.tallies.collect", counting)
        monkeypatch.setattr(Bucket, "scan", scanning)
        found = read(other, "best")
    assert sum(side.members for side in found.sides) == 400
    assert max(held) <= largest < len(decisions) / 4
    tables = ("decisions", "outcomes", "events")
    of_members = [each for each in scanned if each[1] in tables]
    assert of_members == [(number, table) for number in range(8) for table in tables]


def test_of_three_arms_the_best_is_named_where_it_beats_the_control(service):
    run_three(service)
    found = read(service, "three")
    second, third = found.treatments
    assert (found.outcome, found.best) == ("better", "second")
    assert [side.name for side in found.sides] == ["control", "second", "third"]
    for one, worth in ((second, WORTH["finale"]), (third, WORTH["season"])):
        reward = one.metrics[0].difference
        assert reward.low < 2 * 0.9 * (worth - WORTH["none"]) < reward.high
        assert reward.level == pytest.approx(1 - 0.05 / 2 / 2)  # treatments, metrics
    assert found.reasons[0].startswith("second is better: reward of a member")
    assert found.reasons[1].startswith("third is better")
    assert "not proved" in found.reasons[2]
    assert "matinee experiments end three" in found.next_steps[0]
    assert f"second alone: matinee experiments start NAME {second.serves}" in found.next_steps[1]
    found.remember(service, by="ann")
    with pytest.raises(MatineeError, match="won nothing"):
        service.trials.win("three", "ann", "it is better")


def test_of_three_arms_that_are_alike_none_is_named(service):
    run_three(service, second="none", third="none")
    assert watch(service) == ""
    found = read(service, "three")
    assert (found.outcome, found.best, found.breached) == ("open", None, False)
    assert service.trials.latest("three").reason == "open"


def test_of_three_arms_one_that_chance_did_not_draw_breaks_all(service):
    run_three(service, lost=0.6)
    found = read(service, "three")
    assert (found.outcome, found.best) == ("broken", None)
    for side in found.sides:
        assert f"{side.members:,} in {side.name}" in found.reasons[0]
    assert watch(service) == "halted three"


def test_of_three_arms_one_that_costs_minutes_has_all_halted(service):
    decisions = first_of_each(run_three(service))
    costs = {"three:third": 0.5}
    watched(service, decisions, lambda place, one: (60 + place % 31) * costs.get(one.arm, 1.0))
    found = read(service, "three")
    assert (found.outcome, found.breached, found.best) == ("worse", True, "second")
    assert found.reasons[0].startswith("third: minutes watched falls by more than 2%")
    assert "second alone" in found.next_steps[-1]
    assert watch(service) == "halted three"
    assert service.trials.get("three").halted == found.reasons[0]


def test_beside_what_decides_stand_a_ratio_and_a_median(service):
    """A few of the control's members watch all night: their mean is the higher, and their median
    the lower one.
    """
    decisions = first_of_each(run(service))

    def minutes(place, one):
        if one.arm == "best:treatment":
            return 90 + place % 5 - 2
        return 5_000 if place % 10 == 0 else 60 + place % 5 - 2

    watched(service, decisions, minutes)
    found = read(service, "best")
    ratio, median = found.treatments[0].secondary
    reward, watching = found.metrics
    assert (ratio.kind, median.kind) == ("ratio", "quantile")
    # every member came twice
    assert ratio.treatment == pytest.approx(reward.treatment / 2)
    assert ratio.difference.low < 0.9 * (WORTH["finale"] - WORTH["none"]) < ratio.difference.high
    assert ratio.difference.low > 0
    assert watching.difference.value < -300
    assert 60 <= median.control <= 61
    assert median.treatment == 90
    assert 28 <= median.difference.low <= median.difference.high <= 32
    assert ratio.difference.level == median.difference.level == pytest.approx(1 - 0.05 / 2)


def test_a_ratio_weighs_members_by_their_decisions(service):
    """Of the treated half come once and are answered, half come five times and are not: a member
    brings a half, and a decision a sixth.
    """
    control = champion(service, KEEN)
    other = version(service, "none", KEEN)
    service.trials.start(against_champion("best", "notes", other.id, start=START), "ann", "")
    (made, *_) = visited(service, control, 1, 1, {})
    decisions, outcomes = [], []
    for number in range(800):
        arm, often = ("control", 1) if number % 2 else ("treatment", (1, 5)[number // 2 % 2])
        for turn in range(often):
            name, at = f"x{number}-{turn}", START + timedelta(hours=1 + turn)
            whose = {"decision_id": name, "member_id": f"x{number}"}
            decisions.append(msgspec.structs.replace(made, **whose, at=at, arm=f"best:{arm}"))
            outcomes.append(
                Outcome(
                    **whose,
                    surface="notes",
                    position=0,
                    action="none",
                    reward=float(often == 1),
                    decided_at=at,
                    closed_at=at + timedelta(hours=2),
                )
            )
    append(service, "decisions", decisions)
    append(service, "outcomes", outcomes)
    found = read(service, "best")
    ratio = found.treatments[0].secondary[0]
    assert found.metrics[0].treatment == pytest.approx(1 / 2, abs=0.005)
    assert ratio.treatment == pytest.approx(1 / 6, abs=0.005)
    # by hand: of 400 treated, (y - x / 6) / 3 is 5/18 or -5/18; the control's are all alike
    assert ratio.difference.high - ratio.difference.low > 2 * 1.96 * (5 / 18) / 400**0.5
    assert ratio.difference.value == pytest.approx(1 / 6 - 1, abs=0.005)


def test_guardrails_say_how_far_each_metric_is_from_its_bound(service):
    decisions = first_of_each(run(service))
    watched(
        service,
        decisions,
        lambda place, one: (60 + place % 7) * (0.5 if one.arm == "best:treatment" else 1.0),
    )
    found = read(service, "best")
    reward, minutes = found.treatments[0].guardrails
    assert [(rail.metric, rail.state) for rail in (reward, minutes)] == [
        ("reward", "kept"),
        ("minutes watched", "breached"),
    ]
    assert minutes.tolerance == 0.02
    assert minutes.bound == pytest.approx(-0.02 * 63, rel=0.01)
    assert minutes.room == pytest.approx(-63 / 2 + 0.02 * 63, abs=1)
    assert reward.room > 0 > minutes.room


def test_what_is_watched_while_it_is_halted_says_nothing_of_the_arms(service):
    decisions = first_of_each(run(service, members=400))
    service.trials.halt("best", "ann", "complaints")
    service.trials.halt("best", "ann", "more complaints")
    service.trials.resume("best", "ann", "it was not us")
    halt, _, resume = [step.at for step in service.trials.history("best")][1:]
    assert halt < resume
    plays = {"before": (halt - timedelta(hours=1), 30.0), "at once": (halt, 1_000.0)}
    plays |= {"meanwhile": (halt + (resume - halt) / 2, 1_000.0), "again": (resume, 7.0)}
    for name, (at, value) in plays.items():
        append(
            service,
            "events",
            [
                Event(
                    event_id=f"{name}-{one.member_id}",
                    member_id=one.member_id,
                    kind="play",
                    title_id="t",
                    ts=at,
                    value=value,
                )
                for one in decisions
            ],
            known="ts",
        )
    minutes = read(service, "best").metrics[1]
    assert (minutes.treatment, minutes.control) == (37.0, 37.0)


def test_a_reading_stands_on_record_as_it_was(service):
    decisions = first_of_each(run(service))
    watched(service, decisions, lambda place, one: 60 + place % 7)
    found = read(service, "best")
    assert on_record(service, "best") is None
    found.remember(service, by="ann")
    again = on_record(service, "best")
    assert again.treatments[0].metrics == found.metrics
    assert again.treatments[0].secondary == found.treatments[0].secondary
    assert again.treatments[0].guardrails == found.treatments[0].guardrails
    assert (again.at, again.sides, again.left_out) == (found.at, found.sides, found.left_out)
    assert (again.outcome, again.reasons) == (found.outcome, found.reasons)
    assert (again.next_steps, again.best) == (found.next_steps, "treatment")
    assert on_record(service, "worst") is None


def test_what_no_member_tells_stands_on_record_too(service):
    champion(service, KEEN)
    service.trials.start(
        against_champion("best", "notes", version(service, "finale", KEEN).id), "ann", ""
    )
    read(service, "best").remember(service, by="ann")
    (one,) = on_record(service, "best").treatments
    assert (one.metrics[0].difference.low, one.metrics[0].difference.high) == (-inf, inf)
    assert isnan(one.metrics[0].treatment)
    assert one.guardrails[0].state == "open"


def test_a_record_of_before_there_were_treatments_is_read_and_a_bare_one_is_not(service):
    run(service, members=400)
    found = read(service, "best")
    told = {"at": found.at, "members": {"control": 190}, "evenness": 1.0, "metrics": found.metrics}
    service.trials.read("best", "open", "ann", champion="notes@1", reasons=["so"], more=told)
    again = on_record(service, "best")
    assert again.treatments[0].metrics == found.metrics
    assert [side.members for side in again.sides] == [190, 0]
    service.trials.read("best", "better", "ann", champion="notes@1", reasons=["so"])
    assert on_record(service, "best") is None
