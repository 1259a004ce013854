"""The log is searched: pages lose and repeat nothing; a decision is told whole, and truly."""

import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import polars as pl
import pytest
from msgspec.structs import replace

from matinee.decisions import Decider
from matinee.errors import MatineeError
from matinee.insights import searching
from matinee.insights.lately import lately
from matinee.insights.searching import Query, search
from matinee.insights.whole import UnknownDecisionError, one
from matinee.lake.billing import Attempt, Instrument, Invoice, Processor
from matinee.lake.buckets import bucket_of
from matinee.lake.records import Decision, Event, Masked, Outcome, Picture, Title
from matinee.lake.rows import records_of
from matinee.lake.schemas import SCHEMAS
from matinee.policies import EpsilonGreedy
from matinee.service.folder import Service
from matinee.service.runtime import Runtime
from matinee.surfaces import Request
from notes import START, Nobody, Notes, append, champion, version, written

NEWEST = datetime(2026, 3, 31, 12, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
MANY = 50_000
HOSTILE = (
    "<script>alert(1)</script>",
    "'; DROP TABLE x",
    '"',
    "..",
    "../a/b",
    "%",
    "é🎬",
    "x" * 200,
)


def made(decision_id="d1", member="m1", at=NEWEST, actions=("heat",), **told):
    """A decision of a log that was imported."""
    usual = {
        "surface": "titles",
        "policy": "titles@1",
        "propensities": [0.5] * len(actions),
        "propensity_kind": "conditional",
        "eligible": "none",
        "removed": [],
        "segment": [],
        "scores": [],
        "seed": 1,
    }
    ids = {"decision_id": decision_id, "request_id": "r", "member_id": member}
    return Decision(**{**usual, **told}, **ids, at=at, actions=list(actions))


@pytest.fixture
def service(tmp_path):
    """One that knows two titles."""
    with Service.create(tmp_path / "shows", {"lake.buckets": 4}) as fresh:
        append(
            fresh, "titles", [Title(title_id="heat", name="Heat"), Title(title_id="up", name="Up")]
        )
        yield fresh


@pytest.fixture
def small(service):
    """Six decisions of three members, the newest first in the alphabet of their ids."""
    append(
        service,
        "decisions",
        [
            made("a", "m1", NEWEST),
            made("b", "m2", NEWEST - HOUR, ("up", "heat"), policy="titles@2", arm="fresh:control"),
            made("c", "m3", NEWEST - DAY, ("heat.1",), surface="artwork", subject="heat"),
            made("d", "m1", NEWEST - 6 * DAY, ("up",)),
            made("e", "m2", NEWEST - 7 * DAY - HOUR, ("heat",), surface="payments"),
            made("f", "m1", NEWEST - 40 * DAY, (), policy="world"),
        ],
    )
    return service


def found(service, **asked):
    """The ids that a form finds."""
    fields = {name.rstrip("_"): value for name, value in asked.items()}
    return "".join(each.decision_id for each in search(service, Query.asked(fields)).made)


@pytest.mark.parametrize(
    ("asked", "ids"),
    [
        ({"member": "m1"}, "adf"),
        ({"member": "m1", "from_": "2026-03-25"}, "ad"),
        ({"title": "heat"}, "abc"),
        ({"title": " hEAT "}, "abc"),
        ({"title": "heat.1"}, "c"),
        ({"title": "UP", "member": "m2"}, "b"),
        ({"surface": "artwork"}, "c"),
        ({"policy": "titles@2"}, "b"),
        ({"arm": "fresh:control"}, "b"),
        ({"arm": "fresh"}, ""),
        ({}, "abcd"),
        ({"from_": "1970-01-01"}, "abcdef"),
        ({"from_": "2026-03-31T12:00"}, "a"),
        ({"from_": "2026-03-31T12:00:00.000001"}, ""),
        ({"from_": "2026-03-31T14:00:00+02:00"}, "a"),
        ({"until": "2026-03-30"}, "cde"),
        ({"until": "2026-03-30T12:00Z"}, "de"),
        ({"until": "2026-02-20"}, "f"),
        ({"until": "2026-02-18"}, ""),
        ({"from_": "2026-02-01", "until": "2026-03-24"}, "ef"),
        ({"from_": "2026-03-31", "until": "2026-03-30"}, ""),
        ({"member": "m1", "policy": "titles@2"}, ""),
        ({"page": "7", "member": "", "from_": "  "}, "abcd"),
    ],
)
def test_what_is_asked_holds_of_all_that_are_found(small, asked, ids):
    assert found(small, **asked) == ids


def test_a_page_says_how_many_there_are_which_days_it_searched_and_what_titles_are_called(small):
    page = search(small, Query())
    assert (page.total, page.earlier) == (4, None)
    assert (page.since, page.until) == (NEWEST - 7 * DAY, None)
    assert page.names == {"heat": "Heat", "up": "Up"}
    (_, second, third, _) = page.made
    assert (second.actions, second.propensities) == (("up", "heat"), (0.5, 0.5))
    assert (third.subject, third.surface) == ("heat", "artwork")
    assert search(small, Query(member="m1")).since is None


def test_what_waits_in_the_inbox_is_found_once_before_and_after_it_is_sealed(small):
    now = datetime.now(UTC)
    small.lake.put([made("new", "m1", now), made("new", "m1", now)])
    assert found(small, member="m1") == "newadf"
    small.lake.seal()
    assert found(small, member="m1") == "newadf"


@pytest.mark.parametrize("text", HOSTILE)
def test_what_nobody_has_is_not_found(small, text):
    for name in ("member", "title", "surface", "policy", "arm"):
        assert found(small, **{name: text}) == ""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("member", "ann@example.org"),
        ("member", "x" * 201),
        ("title", "x" * 501),
        ("surface", "x" * 201),
        ("from", "NaN"),
        ("from", "yesterday"),
        ("from", "<script>" * 100),
        ("from", "1969-12-31"),
        ("from", "0001-01-01T00:00+14:00"),
        ("from", "2026-02-30"),
        ("until", "9999-12-31"),
        ("before", "2026-03-31T12:00:00Z"),
        ("before", "2026-03-31T12:00:00Z@m1"),
        ("before", "soon@m1@a"),
    ],
)
def test_what_cannot_be_meant_says_so(name, text):
    with pytest.raises(MatineeError, match=f"^{name} cannot be ") as refused:
        Query.asked({name: text})
    assert refused.value.next_step == f"mend {name}, or leave it out"
    assert len(str(refused.value)) < 250


def test_an_empty_log_has_nothing(service):
    page = search(service, Query())
    assert (page.made, page.total, page.earlier, page.since) == ((), 0, None, None)
    with pytest.raises(UnknownDecisionError):
        one(service, "a")


@pytest.fixture(scope="module")
def crowded(tmp_path_factory):
    """50,000 decisions at 4,000 times, whose ids are unique for a member alone, 300 of them not
    sealed yet: the service, and what identifies each, the newest first.
    """
    chance = np.random.default_rng(5)
    minutes = (20 * chance.integers(0, 4_000, MANY)).tolist()
    rows = pl.DataFrame(
        {
            "decision_id": [f"d{number // 3:06}" for number in range(MANY)],
            "member_id": [f"m{number % 1_000}" for number in range(MANY)],
            "at": [NEWEST - timedelta(minutes=each) for each in minutes],
            "policy": [f"titles@{number % 20}" for number in range(MANY)],
        }
    )
    usual = made()
    whole = rows.with_columns(
        request_id=pl.lit("r"),
        surface=pl.lit("titles"),
        actions=pl.lit(["heat"]),
        propensities=pl.lit([0.5]),
        propensity_kind=pl.lit("conditional"),
        eligible=pl.lit("none"),
        removed=pl.lit([], pl.List(pl.Int32)),
        segment=pl.lit([], pl.List(pl.Int32)),
        scores=pl.lit([], pl.List(pl.Float64)),
        seed=pl.lit(1),
    )
    with Service.create(tmp_path_factory.mktemp("crowded") / "shows", {"lake.buckets": 4}) as made_:
        for part in whole.head(MANY - 300).iter_slices(20_000):
            assert made_.lake.append("decisions", part, source="test").rejected == 0
        made_.lake.put(
            [
                replace(usual, decision_id=name, member_id=member, at=at, policy=policy)
                for name, member, at, policy in rows.tail(300).iter_rows()
            ]
        )
        ordered = sorted(rows.select("at", "decision_id", "member_id", "policy").rows())[::-1]
        yield made_, ordered


def walked(service, query):
    """What all pages hold, one after the other; how many each says there are; how many pages."""
    ids, totals = [], []
    while True:
        page = search(service, query)
        ids += [(each.at, each.decision_id, each.member_id, each.policy) for each in page.made]
        totals.append(page.total)
        if page.earlier is None:
            return ids, totals
        query = Query.asked(
            {"from": "1970-01-01", "policy": query.policy or ""} | {"before": page.earlier}
        )


def test_pages_hold_each_decision_once_newest_first(crowded, monkeypatch):
    service, ordered = crowded
    monkeypatch.setattr(searching, "PAGE", 3_001)
    ids, totals = walked(service, Query.asked({"from": "1970-01-01"}))
    assert ids == ordered
    assert totals == [MANY, *[None] * 16]


def test_pages_of_fifty_hold_each_decision_of_a_policy_once(crowded):
    service, ordered = crowded
    mine = [each for each in ordered if each[3] == "titles@7"]
    ids, totals = walked(service, Query.asked({"from": "1970-01-01", "policy": "titles@7"}))
    assert ids == mine
    assert totals == [2_500, *[None] * 49]


def test_pages_pass_over_a_moment_at_which_hundreds_were_made(service):
    ids = [(f"d{number % 60:02}", f"m{number // 60}") for number in range(180)]
    append(service, "decisions", [made(*each) for each in ids])
    walk, _ = walked(service, Query())
    assert [each[1:3] for each in walk] == sorted(ids)[::-1]


def test_what_is_decided_meanwhile_moves_no_later_page(small, monkeypatch):
    monkeypatch.setattr(searching, "PAGE", 2)
    first = search(small, Query())
    assert (first.total, [each.decision_id for each in first.made]) == (4, ["a", "b"])
    small.lake.put([made("new", "m9", NEWEST + HOUR)])
    second = search(small, Query.asked({"from": "2026-03-24T12:00", "before": first.earlier}))
    assert [each.decision_id for each in second.made] == ["c", "d"]
    assert second.earlier is None


def test_an_id_with_an_at_sign_ends_a_page_as_well(service, monkeypatch):
    monkeypatch.setattr(searching, "PAGE", 1)
    append(service, "decisions", [made("b@c@d", "m/ 1"), made("a?&", "m2")])
    first = search(service, Query())
    assert first.made[0].decision_id == "b@c@d"
    assert found(service, before=first.earlier, from_="2026-03-01") == "a?&"


def test_with_a_member_the_rows_of_others_are_not_read(small):
    other = next(n for n in range(9) if bucket_of(f"m{n}", 4) != bucket_of("m1", 4))
    append(small, "decisions", [made("z", f"m{other}")])
    home = small.lake.tables["decisions"].files.folder
    for path in (home / f"bucket={bucket_of(f'm{other}', 4)}").glob("*.parquet"):
        path.write_bytes(b"torn")
    assert found(small, member="m1") == "adf"
    assert one(small, "a", "m1").record.decision_id == "a"
    with pytest.raises(MatineeError, match="decisions cannot be read"):
        search(small, Query())


def test_with_a_member_the_unsealed_rows_of_others_are_not_decoded(small):
    small.lake.put([made("new", "m1"), made("z", "m2"), made("other", "m3", context={"a": "m1"})])
    (spoilt,) = [row.seq for row in small.lake.inbox.rows() if row.values.get("member_id") == "m2"]
    with closing(sqlite3.connect(small.lake.inbox.path)) as inbox, inbox:
        inbox.execute("UPDATE inbox SET row = x'c1' WHERE seq = ?", [spoilt])
    assert found(small, member="m1") == "newadf"
    assert one(small, "new", "m1").record.member_id == "m1"
    assert one(small, "new").record.member_id == "m1"
    assert [each.decision_id for each in lately(small, "m1")] == ["new", "a", "d", "f"]
    with pytest.raises(msgspec.DecodeError):
        search(small, Query())


def logged(service, table):
    return records_of(service.lake.scan(table).collect(), SCHEMAS[table])


def test_a_decision_is_told_as_it_was_made_with_what_came_of_it(log_of_slates):
    service = log_of_slates
    played = {play.decision_id: play for play in logged(service, "events") if play.decision_id}
    decision = next(each for each in logged(service, "decisions") if each.decision_id in played)
    whole = one(service, decision.decision_id)
    assert replace(whole.record, masks=[]) == replace(decision, masks=[])
    assert [(line.name, line.reason, line.count) for line in whole.record.masks] == [
        tuple(line.values()) for line in decision.masks
    ]
    (ids,) = [each.candidates for each in logged(service, "eligible")]
    assert (whole.alternatives.candidates, whole.alternatives.first) == (len(ids), tuple(ids))
    assert whole.alternatives.removed == len(decision.removed)
    for place, chosen in enumerate(whole.chosen):
        assert (chosen.action, chosen.propensity) == (
            decision.actions[place],
            decision.propensities[place],
        )
        assert ids[decision.segment[chosen.rank - 1]] == chosen.action
        assert chosen.logit == decision.scores[chosen.rank - 1]
    plays = [play for play in logged(service, "events") if play.decision_id == decision.decision_id]
    assert {answer.event.event_id for answer in whole.answers} == {one.event_id for one in plays}
    assert all(answer.in_time for answer in whole.answers)
    at = {play.position for play in plays}
    assert [each.reward for each in whole.chosen] == [float(n in at) for n in range(4)]
    assert whole.closed_at == whole.closes_at == decision.at + timedelta(hours=1, minutes=10)
    assert set(decision.actions) <= whole.names.keys()


@pytest.fixture
def slates(log_of_slates, tmp_path):
    """A log of one's own of what a champion decided."""
    with Service.open(shutil.copytree(log_of_slates.folder, tmp_path / "copy")) as copied:
        yield copied


def test_propensities_are_held_against_the_policy_of_their_version(slates):
    service = slates
    decision = logged(service, "decisions")[0]
    sound = one(service, decision.decision_id).rebuilt
    assert (sound.agrees, sound.redrawn, sound.why) == (True, True, "")
    assert sound.propensities == pytest.approx(decision.propensities, abs=1e-12)
    wrong = [1.0, *decision.propensities[1:]]
    told = {
        "wrong": {"propensities": wrong},
        "other": {"policy": "titles@4"},
        "seedless": {"seed": decision.seed ^ 1},
        "unknown": {"policy": "titles@99"},
        "world": {"policy": "the <world>"},
        "setless": {"eligible": "gone"},
        "strange": {"segment": [9_999], "scores": [0.0]},
    }
    append(
        service,
        "decisions",
        [replace(decision, decision_id=name, masks=[], **each) for name, each in told.items()],
    )
    found = {name: one(service, name).rebuilt for name in told}
    assert found["wrong"].agrees is False
    assert found["wrong"].propensities == pytest.approx(decision.propensities, abs=1e-12)
    assert found["other"].agrees is False
    assert (found["seedless"].agrees, found["seedless"].redrawn) == (True, False)
    assert found["unknown"].why.startswith("there is no version titles@99")
    assert "is not a version" in found["world"].why
    assert found["setless"].why == "the log does not have what it was chosen from"
    assert [found[name].agrees for name in ("unknown", "world", "setless")] == [None] * 3
    assert found["strange"].agrees is not True


def test_what_chooses_for_members_is_rebuilt_where_requests_have_a_subject_too(notes_service):
    name = version(notes_service, "none", EpsilonGreedy(epsilon=0.9)).id
    model, policy = notes_service.registry.load(name)
    decider = Decider(Notes(), model, policy, version=name, histories=Nobody(), salt=bytes(32))
    asked = [
        Request(request_id=str(n), member_id="m", at=START, subject="an invoice") for n in range(20)
    ]
    decisions = [decider.propose(each) for each in asked]
    assert len({each.actions[0] for each in decisions}) == 3
    written(notes_service, *decisions)
    found = [one(notes_service, each.decision_id).rebuilt for each in decisions]
    assert all(each.agrees and each.redrawn for each in found)


def test_until_its_window_closes_a_decision_has_no_rewards(notes_service):
    made_ = champion(notes_service, EpsilonGreedy(epsilon=0.5))
    now = datetime.now(UTC)
    decision = replace(
        made("d", "m", now - HOUR / 2, ("finale",), surface="notes"), policy=made_.id
    )
    late = {"member_id": "m", "kind": "click", "title_id": "x", "decision_id": "d"}
    append(notes_service, "decisions", [decision], "at")
    clicks = [
        Event(event_id="soon", ts=now - HOUR / 4, **late),
        Event(event_id="early", ts=now - HOUR, **late),
        Event(event_id="other", ts=now - HOUR / 4, **{**late, "decision_id": "e"}),
        Event(event_id="theirs", ts=now - HOUR / 4, **{**late, "member_id": "m2"}),
    ]
    append(notes_service, "events", clicks, now)
    whole = one(notes_service, "d")
    assert [each.reward for each in whole.chosen] == [None]
    assert whole.closed_at is None
    assert whole.closes_at == decision.at + HOUR + timedelta(minutes=10)
    assert [(each.event.event_id, each.in_time) for each in whole.answers] == [
        ("early", False),
        ("soon", True),
    ]


def test_what_became_known_too_late_is_not_in_time(notes_service):
    champion(notes_service, EpsilonGreedy(epsilon=0.5))
    append(notes_service, "decisions", [made("d", "m", START, ("finale",), surface="notes")], "at")
    click = Event(event_id="c", member_id="m", kind="click", decision_id="d", ts=START + HOUR / 2)
    append(notes_service, "events", [click], START + HOUR + timedelta(minutes=11))
    assert [each.in_time for each in one(notes_service, "d").answers] == [False]


def test_what_is_done_with_a_subject_answers_to_the_choice_that_stood(service):
    told = {"surface": "artwork", "subject": "heat", "policy": "artwork@uniform"}
    append(service, "pictures", [Picture(picture_id="heat.1", title_id="heat")], NEWEST - 9 * DAY)
    append(
        service,
        "decisions",
        [
            made("first", "m1", NEWEST - 2 * DAY, ("heat.1",), **told),
            made("second", "m1", NEWEST - DAY, ("heat.1",), **told),
            made("other", "m1", NEWEST - 3 * DAY, ("up.1",), **{**told, "subject": "up"}),
        ],
        "at",
    )
    play = {"member_id": "m1", "kind": "play", "title_id": "heat", "value": 30.0}
    plays = [
        Event(event_id="1", ts=NEWEST - 2 * DAY + HOUR, **play),
        Event(event_id="2", ts=NEWEST - DAY + HOUR, decision_id="first", **play),
        Event(event_id="3", ts=NEWEST - DAY + HOUR, **{**play, "title_id": "up"}),
    ]
    append(service, "events", plays, NEWEST)
    answers = {
        name: [each.event.event_id for each in one(service, name).answers]
        for name in ("first", "second", "other")
    }
    assert answers == {"first": ["1"], "second": ["2"], "other": ["3"]}


def test_a_payment_is_told_with_the_attempts_that_name_it(service):
    now = datetime.now(UTC)
    due = {"due_at": now - HOUR, "grace_until": now + 14 * DAY, "amount": 999, "currency": "EUR"}
    service.lake.put(
        [
            Processor(processor="gold", networks=["visa"], currencies=["EUR"], currency="EUR"),
            Instrument(instrument_id="c1", member_id="m1", kind="card", network="visa"),
            Invoice(invoice_id="i1", member_id="m1", instruments=["c1"], **due),
        ]
    )
    asked = Request(
        request_id="r", member_id="m1", at=now, subject="i1", features={"step": "route"}
    )
    with Runtime(service) as runtime:
        decision = runtime.decide("payments", asked)
    tried = {
        "member_id": "m1",
        "invoice_id": "i1",
        "instrument_id": "c1",
        "processor": "gold",
        "amount": 999,
        "currency": "EUR",
    }
    name = decision.decision_id
    reports = [
        Attempt(attempt_id="a1", status="sent", at=now, decision_id=name, **tried),
        Attempt(attempt_id="a1", status="approved", at=now, decision_id=name, fee=30, **tried),
        Attempt(attempt_id="a2", status="sent", at=now, **tried),
    ]
    service.lake.put(reports)
    whole = one(service, name)
    assert replace(whole.record, context={}) == replace(decision, context={})
    assert [(each.status, each.fee) for each in whole.attempts] == [("sent", 0), ("approved", 30)]
    assert (whole.record.policy, whole.rebuilt.agrees) == ("payments@fallback", True)
    assert whole.closes_at == now + service.surface("payments").window + timedelta(minutes=10)


def test_ids_that_two_members_share_need_the_member(service):
    append(service, "decisions", [made("same", "m1", policy="a"), made("same", "m2", policy="b")])
    with pytest.raises(MatineeError, match=r"2 members have a decision 'same'.*m1, m2"):
        one(service, "same")
    assert one(service, "same", "m2").record.policy == "b"
    with pytest.raises(UnknownDecisionError, match="of 'm3'"):
        one(service, "same", "m3")


@pytest.mark.parametrize("text", [*HOSTILE, "x" * 5_000, ""])
def test_an_id_that_nobody_has_is_not_known(small, text):
    with pytest.raises(UnknownDecisionError) as refused:
        one(small, text)
    assert len(str(refused.value)) < 250


def test_a_log_of_another_system_is_told_as_far_as_it_goes(service):
    """A list drawn as a whole, a set that nobody logged, texts that are no JSON."""
    decision = made(
        "d", "m1", NEWEST, ("heat", "up"), propensities=[0.01], propensity_kind="joint",
        surface="gone", removed=[1, 2],
    )  # fmt: skip
    append(service, "decisions", [decision])
    stored = service.lake.scan("decisions").collect()
    odd = stored.with_columns(
        decision_id=pl.lit("odd"), context=pl.lit("{no json"), masks=pl.lit('[{"name": 1}]')
    )
    service.lake.append("decisions", odd.drop("known_at", "seq"), source="test")
    done = Outcome(
        decision_id="d", member_id="m1", surface="gone", position=1, action="up", reward=0.5,
        decided_at=NEWEST, closed_at=NEWEST + DAY,
    )  # fmt: skip
    append(service, "outcomes", [done])
    whole = one(service, "d")
    assert [(each.propensity, each.rank, each.reward) for each in whole.chosen] == [
        (None, None, None),
        (None, None, 0.5),
    ]
    assert (whole.closes_at, whole.closed_at) == (None, NEWEST + DAY)
    assert (whole.alternatives.candidates, whole.alternatives.removed) == (None, 2)
    assert one(service, "odd").record.context == {"text": "{no json"}
    assert one(service, "odd").record.masks == []


def test_masks_are_told_with_their_reasons(service):
    lines = [Masked("watched", "seen <before>", 3)]
    service.lake.put([made("d", "m1", NEWEST, masks=lines)])
    assert one(service, "d").record.masks == lines
