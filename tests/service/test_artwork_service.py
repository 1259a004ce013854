"""The loop for pictures: drawn, watched, learned from, and judged on the log."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from matinee.errors import MatineeError
from matinee.insights import attributing
from matinee.insights.attributing import attributed
from matinee.lake.records import Decision, Eligible, Event, Member, Picture, Title, micros
from matinee.models import Context, Dataset, Histories, Popularity, Vocabulary
from matinee.policies import PlackettLuce
from matinee.service import judging, training
from matinee.service.folder import Service
from matinee.service.forgetting import forget
from matinee.service.outcomes import close_windows
from matinee.service.runtime import Runtime
from matinee.service.updating import update
from matinee.surfaces import Request
from visits import append as append_frame
from waiting import eventually

NOW = datetime.now(UTC)
START = NOW.replace(minute=0, second=0, microsecond=0) - timedelta(days=3)
HOUR = timedelta(hours=1)
MAX = micros(NOW)
GENRES = ("Crime", "Romance")
MEMBERS = [f"m{n:03d}" for n in range(240)]
TITLES = [Title(title_id=f"t{n}", name=f"Title {n}", genres=list(GENRES)) for n in range(6)]
PICTURES = [
    Picture(
        picture_id=f"{title.title_id}.{n}",
        title_id=title.title_id,
        features=dict.fromkeys(shown, 1.0),
        fixed=n == 3,
    )
    for title in TITLES
    for n, shown in ((1, ["Crime"]), (2, ["Romance"]), (3, []))
]
SHOWS = {one.picture_id: set(one.features) for one in PICTURES}
SETTINGS = {
    "surfaces.artwork.window": "1h",
    "surfaces.artwork.stay": "1h",
    "surfaces.artwork.most": 100,
    "surfaces.artwork.change_cost": 0.0,
    "surfaces.artwork.fixed": 0.1,
    "surfaces.artwork.uniform": 0.1,
    "surfaces.artwork.gamma": 30.0,
}


def likes(member: str) -> str:
    return GENRES[int(member[1:]) % 2]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    """Members who watched films of one genre; each takes a picture that shows it far more often."""
    service = Service.create(tmp_path_factory.mktemp("artwork") / "shows", SETTINGS)
    (service.folder / "salt").write_bytes(bytes(32))
    own = [
        Title(title_id=f"{genre}-{n}", name=f"{genre} {n}", genres=[genre])
        for genre in GENRES
        for n in range(5)
    ]
    append_frame(service, "titles", [*TITLES, *own], START - HOUR)
    append_frame(service, "pictures", PICTURES, START - HOUR)
    append_frame(service, "members", [Member(member_id=one) for one in MEMBERS], START - HOUR)
    past = [
        play(member, f"{likes(member)}-{n}", START - HOUR, f"past-{n}")
        for member in MEMBERS
        for n in range(5)
    ]
    append_frame(service, "events", past, START - HOUR)
    return service


def play(member: str, title: str, at: datetime, event: str, **fields: str) -> Event:
    return Event(
        event_id=event, member_id=member, kind="play", title_id=title, ts=at, value=30.0, **fields
    )


def visits(service: Service, first: datetime, rounds: int) -> None:
    """Every member is shown every title, again every two hours, and takes what speaks to them."""
    hours, titles = (first - START) // HOUR, [one.title_id for one in TITLES]
    chance = np.random.default_rng(hours)
    with Runtime(service) as runtime:
        assigner = runtime.assigner("artwork")
        for turn in range(rounds):
            at, plays, decisions = first + turn * 2 * HOUR, list[Event](), list[Decision]()
            for member in MEMBERS:
                asked = Request(request_id=f"{hours}-{turn}", member_id=member, at=at)
                drawn = assigner.propose(asked, titles)[1]
                assert len(drawn) == len(titles), "what was drawn two hours ago stands no longer"
                decisions += drawn
                for one in drawn:
                    speaks = likes(member) in SHOWS[one.actions[0]]
                    if chance.random() < (0.5 if speaks else 0.1):
                        plays.append(play(member, one.subject, at + HOUR / 2, one.decision_id))
            sets = [one for one in assigner.records(decisions) if isinstance(one, Eligible)]
            append_frame(service, "eligible", sets, at)
            append_frame(service, "decisions", decisions, "at")
            append_frame(service, "events", plays, "ts")
            for decision in decisions:
                runtime.choices.note(decision)
            runtime.members.load()
    close_windows(service)


@pytest.fixture(scope="module")
def learned(service: Service) -> Service:
    """The first version knows nothing and explores; the second learned from what came of it."""
    (first,) = training.train(service, surface="artwork", as_of=START - HOUR / 2, by="test")
    service.registry.promote("artwork", first.id, by="test", reason="")
    visits(service, START, 4)
    (second,) = training.train(service, surface="artwork", as_of=START + 9 * HOUR, by="test")
    visits(service, START + 10 * HOUR, 4)
    assert (first.id, second.id) == ("artwork@1", "artwork@2")
    return service


def test_one_that_knows_nothing_draws_evenly(learned: Service) -> None:
    decisions = learned.lake.scan("decisions").filter(pl.col("policy") == "artwork@1").collect()
    drawn = Counter(one[0] for one in decisions["actions"])
    assert len(drawn) == len(PICTURES)
    assert decisions["propensities"].list.first().round(9).unique().to_list() == [
        pytest.approx(1 / 3)
    ]


def test_what_members_watch_counts_for_the_picture_that_stood(learned: Service) -> None:
    outcomes = learned.lake.scan("outcomes").filter(pl.col("surface") == "artwork").collect()
    decisions = learned.lake.scan("decisions").filter(pl.col("surface") == "artwork").collect()
    assert outcomes.height == decisions.height
    rows = outcomes.join(decisions.select("decision_id", "subject"), on="decision_id")
    speaks = [
        likes(member) in SHOWS[action]
        for member, action in rows.select("member_id", "action").iter_rows()
    ]
    taken = (
        rows.with_columns(speaks=pl.Series(speaks))
        .group_by("speaks")
        .agg(pl.col("reward").mean(), pl.len())
    )
    for speaks, rate, count in taken.iter_rows():
        expected = 0.5 if speaks else 0.1
        assert abs(rate - expected) < 4 * (expected * (1 - expected) / count) ** 0.5


def test_holdouts_are_on_record_and_no_champions_decisions(learned: Service) -> None:
    decisions = learned.lake.scan("decisions").filter(pl.col("surface") == "artwork").collect()
    by_arm = dict(decisions.group_by("arm").agg(pl.col("policy").unique()).iter_rows())
    assert by_arm == {
        None: ["artwork@1"],
        "fixed": ["artwork@fixed"],
        "uniform": ["artwork@uniform"],
    }
    fixed = decisions.filter(pl.col("arm") == "fixed")
    assert all(action.endswith(".3") for (action,) in fixed["actions"])


def test_who_likes_what_was_learned(learned: Service) -> None:
    titles = [one.title_id for one in TITLES]
    right = []
    with Runtime(learned) as runtime:
        version = runtime.answering("artwork@2")
        for member in MEMBERS[:80]:
            asked = Request(request_id="later", member_id=member, at=NOW)
            for decision in version.propose(asked, titles)[1]:
                if decision.arm is None:
                    about = Request(request_id="r", member_id="m", at=NOW, subject=decision.subject)
                    best = version.surface.eligible(about).ids[decision.segment[0]]
                    right.append(likes(member) in SHOWS[best])
    assert len(right) > 300
    assert np.mean(right) > 0.95


def test_the_gate_lets_the_better_one_pass(learned: Service) -> None:
    found = judging.judge(learned, "artwork@2", by="test")
    assert found.verdict.outcome == "passes", found.verdict
    assert found.weighings.foreign, "members in holdouts are there, and do not count"
    best, even = 0.5, (0.5 + 0.1 + 0.1) / 3
    gain = found.verdict.estimate
    assert gain is not None
    assert gain.low > 0
    assert 0.5 * (best - even) < gain.value < 1.1 * (best - even)


def test_decisions_for_subjects_are_asked_for_as_such(learned: Service) -> None:
    asked = Request(request_id="r", member_id="m000", at=NOW)
    with Runtime(learned) as runtime, pytest.raises(MatineeError, match="subject"):
        runtime.decide("artwork", asked)


def test_the_same_stands_in_another_process_and_after_a_restart(learned: Service) -> None:
    titles = [one.title_id for one in TITLES]
    asked = Request(request_id="r", member_id="new", at=NOW)
    with Runtime(learned) as one, Runtime(Service.open(learned.folder)) as other:
        first = one.assign("artwork", asked, titles)
        assert other.assign("artwork", asked, titles) == first
    with Runtime(Service.open(learned.folder)) as again:
        assert again.assign("artwork", asked, titles) == first


def test_a_barred_picture_is_out_within_a_moment(learned: Service) -> None:
    titles = [one.title_id for one in TITLES]
    asked = Request(request_id="r", member_id="late", at=NOW)
    with Runtime(learned) as runtime:
        first = runtime.assign("artwork", asked, titles)
        barred = first["t0"].action
        learned.lake.put([Picture(picture_id=barred, title_id="t0", barred="consent ended")])
        assert eventually(lambda: runtime.assign("artwork", asked, titles)["t0"].action != barred)
        later = runtime.assign("artwork", asked, titles)
        assert {one: later[one] for one in titles[1:]} == {one: first[one] for one in titles[1:]}


def test_learning_on_in_small_parts_is_learning_anew(learned: Service) -> None:
    """Three updates on what came to be known between them give what one fit does."""
    times = [START + hours * HOUR for hours in (3, 5, 9)]
    (first,) = training.train(learned, surface="artwork", as_of=START + 2 * HOUR, by="test")
    version = first.id
    for time in times:
        made = update(learned, "artwork", version=version, as_of=time, by="test")
        assert (made.parent, made.data_as_of) == (version, time)
        version = made.id
    (whole,) = training.train(learned, surface="artwork", as_of=times[-1], by="test")
    asked = Context(
        Histories.of([[]] * 3),
        np.full(3, micros(NOW)),
        features=tuple({"taste": {"Crime": share}} for share in (0.0, 0.2, 0.6)),
    )
    parts, anew = (learned.registry.load(one)[0] for one in (version, whole.id))
    ids = [one.picture_id for one in PICTURES]
    beliefs = [one.believe(asked, one.titles.encode(ids)).mean for one in (parts, anew)]
    np.testing.assert_allclose(*beliefs, atol=1e-6)
    assert np.ptp(beliefs[0]) > 0.1, "something was learned"


def test_nothing_is_learned_twice_or_from_the_past(learned: Service) -> None:
    with pytest.raises(MatineeError, match="learned later things"):
        update(learned, "artwork", version="artwork@2", as_of=START, by="test")


def test_models_that_learn_anew_say_so(learned: Service) -> None:
    model = Popularity().fit(Dataset.of(Vocabulary(["a"]), Histories.of([[0]])))
    made = learned.registry.register(
        "titles", model, PlackettLuce(), data_as_of=START, settings={}, metrics={}, by="test"
    )
    with pytest.raises(MatineeError, match="cannot go on"):
        update(learned, "titles", version=made.id, by="test")
    with pytest.raises(MatineeError, match="no champion"):
        update(learned, "titles", by="test")


def test_the_headline_is_near_the_truth(learned: Service) -> None:
    """The first version drew evenly: personal pictures are any ones, and the best single picture
    of a title, to half of whose viewers it speaks, is better.
    """
    found = attributed(learned, "artwork")
    assert found.version == "artwork@1"
    take = found.readings["reward"]
    even, single = (0.5 + 0.1 + 0.1) / 3, (0.5 + 0.1) / 2
    assert take.personal.low < even < take.personal.high
    assert take.single.low < single < take.single.high + 0.03
    assert take.difference.low < even - single < take.difference.high
    assert take.units == sum(len(TITLES) for _ in range(take.members))
    minutes = found.readings["minutes"]
    assert minutes.personal.value == pytest.approx(30 * take.personal.value)
    names = {arm.name: arm for arm in found.arms}
    assert names.keys() == {"artwork@1", "artwork@fixed", "artwork@uniform"}
    assert sum(arm.units for arm in found.arms) == len(MEMBERS) * len(TITLES)
    assert (
        names["artwork@fixed"].means["reward"].low
        < 0.1
        < names["artwork@fixed"].means["reward"].high
    )


def test_the_headline_promises_both_readings_together_at_every_look(learned: Service) -> None:
    """Half of the 5 % for each; a normal interval of one look at 5 % is half as wide or less."""
    found = attributed(learned, "artwork")
    for reading in ("reward", "minutes"):
        one = found.readings[reading]
        assert one.difference.level == pytest.approx(0.975)
        assert one.difference.method.startswith("anytime-valid")
        plain = one.personal.high - one.personal.low
        assert one.personal.method == "normal"
        assert one.difference.high - one.difference.low > 2 * plain


def test_a_headline_needs_choices(learned: Service) -> None:
    with pytest.raises(MatineeError, match="nothing is known yet"):
        attributed(learned, "artwork", "artwork@2")
    with pytest.raises(MatineeError, match="alone"):
        attributed(learned, "titles")


def test_a_headline_needs_members_who_chose_for_one_title(learned: Service, monkeypatch) -> None:
    known = attributing.first_units(learned, "artwork").filter(pl.col("policy") == "artwork@1")
    one = known.filter(pl.col("subject") == "t0").head(1)
    other = known.filter(
        pl.col("subject") == "t1", pl.col("member_id") != one["member_id"].item()
    ).head(1)
    monkeypatch.setattr(attributing, "first_units", lambda *_: pl.concat([one, other]))
    with pytest.raises(MatineeError, match="nothing is known yet"):
        attributed(learned, "artwork")


def test_a_forgotten_member_is_drawn_for_anew(learned: Service) -> None:
    titles = [one.title_id for one in TITLES]
    asked = Request(request_id="r", member_id="gone", at=NOW)
    with Runtime(learned) as runtime:
        first = runtime.assign("artwork", asked, titles)
        removed = forget(learned, "gone")
        assert removed["decisions"] == len(TITLES)
        left = learned.lake.scan("decisions").filter(pl.col("member_id") == "gone").collect()
        assert not left.height
        assert eventually(
            lambda: runtime.choices.recent_of("artwork", "gone", titles, MAX) == [()] * 6
        )
        assert runtime.assign("artwork", asked, titles).keys() == first.keys()


def test_what_forgotten_members_did_is_not_carried_on(learned: Service) -> None:
    with pytest.raises(MatineeError, match="forgotten since"):
        update(learned, "artwork", version="artwork@2", by="test")


def test_outcomes_that_came_late_are_learned_once(learned: Service) -> None:
    """A window that was made shorter lets outcomes be known before the last version learned."""
    (first,) = training.train(learned, surface="artwork", by="test")
    late = [
        play("m001", "t0", START - 2 * HOUR, "late"),
        Event(event_id="seen", member_id="m001", kind="impression", ts=START, title_id="t0"),
    ]
    before = learned.registry.load(first.id)[0]
    append_frame(learned, "events", late, "ts")
    rows = learned.lake.scan("outcomes").filter(pl.col("surface") == "artwork").head(3).collect()
    fresh = rows.with_columns(
        decision_id=pl.concat_str(pl.lit("late-"), pl.int_range(pl.len())),
        member_id=pl.lit("m001"),
    ).drop("seq")
    made = (
        learned.lake.scan("decisions")
        .filter(pl.col("decision_id").is_in(rows["decision_id"].implode()))
        .collect()
    )
    decisions = (
        rows.select(old="decision_id", decision_id=fresh["decision_id"])
        .join(made.rename({"decision_id": "old"}), on="old")
        .with_columns(
            member_id=pl.lit("m001"), subject=pl.concat_str(pl.lit("late-"), pl.int_range(pl.len()))
        )
        .drop("old", "seq")
    )
    assert learned.lake.append("decisions", decisions, source="test").rejected == 0
    assert learned.lake.append("outcomes", fresh, source="test").rows == 3
    later = update(learned, "artwork", version=first.id, by="test")
    after = learned.registry.load(later.id)[0]
    counts = [model._sums.gram[:, 0, 0].sum() for model in (before, after)]
    assert counts[1] - counts[0] == 3
    again = update(learned, "artwork", version=later.id, by="test")
    assert learned.registry.load(again.id)[0]._sums.gram[:, 0, 0].sum() == counts[1]
