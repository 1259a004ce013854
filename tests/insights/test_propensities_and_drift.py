"""Propensities that are what they say raise no alarm, others do; and so does what moves."""

from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import polars as pl
import pytest
from msgspec.structs import replace

from matinee.decisions import generator
from matinee.decisions.ids import luck_of
from matinee.errors import MatineeError
from matinee.insights import propensities as checked
from matinee.insights.drift import drift
from matinee.insights.propensities import LEVEL, propensities
from matinee.lake.records import Decision, Eligible
from matinee.lake.schemas import SCHEMAS
from matinee.policies import EpsilonGreedy, InverseGap, PlackettLuce, Thompson
from notes import Notes, append, champion, version

IDS = [f"t{number}" for number in range(8)]
START = datetime(2026, 3, 2, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LUCE = PlackettLuce(temperature=0.5, epsilon=0.1)
POLICIES = (LUCE, EpsilonGreedy(epsilon=0.2), InverseGap(gamma=20.0), EpsilonGreedy(epsilon=0.01))


@pytest.fixture
def service(notes_service):
    append(notes_service, "eligible", [Eligible(eligible="all", candidates=IDS)])
    return notes_service


def decision(policy, made, number, rng, *, slots=1, seed=None, subject=None):
    """What a policy draws by a seed from scores that are new each time."""
    preference = policy.prefer(rng.random(len(IDS)))
    seed = int(rng.integers(2**63 - 1)) if seed is None else seed
    if subject is None:
        slate = policy.draw(preference, slots, generator(seed))
        actions, chances = slate.actions, slate.propensities
    else:
        places, chances = policy.pick(preference.logits[None], luck_of(np.array([seed])))
        actions = preference.segment[places]
    return Decision(
        decision_id=f"d{number}",
        request_id=f"d{number}",
        surface="notes",
        member_id=f"m{number % 97}",
        at=START + number * MINUTE,
        policy=made.id,
        actions=[IDS[place] for place in actions.tolist()],
        propensities=chances.tolist(),
        propensity_kind="conditional",
        eligible="all",
        removed=[],
        segment=preference.segment.tolist(),
        scores=preference.logits.tolist(),
        seed=seed,
        subject=subject,
    )


def for_subjects(monkeypatch):
    """The surface chooses for a member and a subject together."""
    monkeypatch.setattr(Notes, "unit", "subject")
    monkeypatch.setattr(Notes, "memory", timedelta(days=1))


def decided(policy, made, count, *, seed=0, slots=1):
    rng = np.random.default_rng(seed)
    return [decision(policy, made, number, rng, slots=slots) for number in range(count)]


def logged(service, decisions):
    assert append(service, "decisions", decisions).rejected == 0
    return propensities(service, "notes")


@pytest.mark.parametrize("policy", POLICIES)
def test_of_200_honest_logs_none_is_called_broken(service, policy, monkeypatch):
    monkeypatch.setattr(checked, "TESTED", 300)
    made = champion(service, policy)
    logged(service, decided(policy, made, 50 * 300, seed=3))
    ends = [START + (300 * (log + 1) - 1) * MINUTE for log in range(50)]
    found = [propensities(service, "notes", at) for at in ends]
    assert {one.tested for one in found} == {300}
    assert {one.rebuilt for one in found} == {50}
    assert not any(one.broken for one in found)  # 0.2 of all 200 may be: LEVEL each
    assert max(one.evidence for one in found) < 1 / LEVEL


@pytest.mark.parametrize("slots", [1, 5])
def test_propensities_that_call_the_best_certain_are_broken(service, slots):
    made = champion(service, LUCE)
    decisions = [
        replace(one, propensities=[1.0, *one.propensities[1:]])
        if one.actions[0] == IDS[one.segment[0]]
        else one
        for one in decided(LUCE, made, 200, slots=slots)
    ]
    found = logged(service, decisions)
    best = {one.decision_id for one in decisions[150:] if one.propensities[0] == 1.0}
    assert best
    assert set(found.wrong) == best
    assert found.broken


def test_propensities_that_are_exchanged_are_broken(service):
    made = champion(service, LUCE)
    honest = decided(LUCE, made, 200)
    others = [one.propensities for one in [*honest[1:], honest[0]]]
    decisions = [replace(one, propensities=p) for one, p in zip(honest, others, strict=True)]
    assert len(logged(service, decisions).wrong) == 50


@pytest.mark.parametrize("other", [PlackettLuce(temperature=2.0, epsilon=0.1), POLICIES[1]])
def test_propensities_of_another_version_are_broken(service, other):
    """Drawn by the champion, and recorded with the chances that another gives to the same."""
    made = champion(service, LUCE)
    decisions, rng = [], np.random.default_rng(0)
    for number in range(200):
        scores = rng.random(len(IDS))
        one = decision(LUCE, made, number, np.random.default_rng(number))
        (chance,) = other.propensities(other.prefer(scores), np.array([IDS.index(one.actions[0])]))
        decisions.append(replace(one, propensities=[float(chance)]))
    assert len(logged(service, decisions).wrong) == 50


def test_what_another_policy_drew_in_the_champions_name_is_broken(service):
    made = champion(service, LUCE)
    found = logged(service, decided(EpsilonGreedy(epsilon=0.2), made, 200))
    assert len(found.wrong) == 50


def test_actions_that_were_exchanged_afterwards_are_broken(service):
    made = champion(service, LUCE)
    decisions = decided(LUCE, made, 60, slots=2)
    last = decisions[-1]
    other = next(one for one in IDS if one not in last.actions)
    decisions[-1] = replace(last, actions=[other, last.actions[1]])
    assert logged(service, decisions).wrong == (last.decision_id,)


@pytest.mark.parametrize("best", [True, False])
def test_seeds_that_were_chosen_for_what_they_draw_are_found_by_bets(service, best):
    """Each can be rebuilt; but the best, or what is not the best, comes too often."""
    made, decisions = champion(service, LUCE), []
    for number in range(600):
        for seed in range(1, 200):
            rng = np.random.default_rng(number)
            one = decision(LUCE, made, number, rng, seed=1_000 * number + seed)
            if number % 4 or (one.actions[0] == IDS[one.segment[0]]) == best:
                break
        decisions.append(one)
    found = logged(service, decisions)
    assert found.wrong == ()
    assert found.evidence > 1 / LEVEL
    assert found.broken


def test_what_is_about_a_subject_but_chosen_for_the_member_is_rebuilt_by_its_generator(service):
    """As a payment is, of an invoice."""
    made, rng = champion(service, LUCE), np.random.default_rng(0)
    decisions = [decision(LUCE, made, number, rng) for number in range(80)]
    about = [replace(one, subject=f"i{number}") for number, one in enumerate(decisions)]
    assert not logged(service, about).broken


def test_a_choice_for_a_subject_is_rebuilt_by_its_luck(service, monkeypatch):
    for_subjects(monkeypatch)
    made, rng = champion(service, LUCE), np.random.default_rng(0)
    decisions = [decision(LUCE, made, number, rng, subject=f"s{number}") for number in range(80)]
    assert not logged(service, decisions).broken


def test_a_generator_that_never_gives_the_upper_half_is_found(service, monkeypatch):
    for_subjects(monkeypatch)
    made, rng = champion(service, LUCE), np.random.default_rng(0)
    decisions = [
        decision(LUCE, made, number, rng, seed=int(rng.integers(2**62)), subject=f"s{number}")
        for number in range(200)
    ]
    found = logged(service, decisions)
    assert found.wrong == ()
    assert found.broken


def test_thompson_is_rebuilt_from_its_chances(service):
    policy = Thompson(draws=20)
    made = champion(service, LUCE)
    preference = policy.prefer_among(np.random.default_rng(0).random((20, len(IDS))))
    slate = LUCE.draw(preference, 1, generator(5))
    one = decision(LUCE, made, 0, np.random.default_rng(0))
    logits = {"segment": preference.segment.tolist(), "scores": preference.logits.tolist()}
    drawn = {"actions": [IDS[slate.actions[0]]], "propensities": slate.propensities.tolist()}
    assert not logged(service, [replace(one, seed=5, **logits, **drawn)]).broken


@pytest.mark.parametrize(
    "broken",
    [
        {"segment": [], "scores": []},
        {"scores": [1.0]},
        {"segment": [7_000] * 8},
        {"scores": [float("nan")] * 8},
        {"propensities": [0.0]},
        {"eligible": "of which nobody knows"},
        {"actions": ["<script>"]},
    ],
)
def test_records_that_cannot_be_are_broken_and_nothing_fails(service, broken):
    made = champion(service, LUCE)
    one = decided(LUCE, made, 1)[0]
    frame = {name: [getattr(one, name)] for name in SCHEMAS["decisions"].columns}
    frame = {**frame, **{name: [value] for name, value in broken.items()}}
    frame["context"], frame["masks"] = ["{}"], ["[]"]
    row = pl.DataFrame(frame, schema=SCHEMAS["decisions"].columns)
    added = service.lake.append("decisions", row.with_columns(known_at="at"), source="test")
    found = propensities(service, "notes")
    assert found.wrong == (("d0",) if added.rows else ())


def test_without_a_champion_or_a_decision_nothing_is_said(service):
    assert propensities(service, "notes") is None
    champion(service, LUCE)
    found = propensities(service, "notes")
    assert (found.rebuilt, found.tested, found.broken) == (0, 0, False)


def test_decisions_of_others_are_not_the_champions(service):
    champion(service, LUCE)
    other = version(service, "season", LUCE)
    hotter = PlackettLuce(temperature=2.0)
    assert logged(service, decided(hotter, other, 60)).rebuilt == 0


def test_a_policy_that_cannot_be_read_is_told(service):
    made = champion(service, LUCE)
    (service.registry.folder / "notes" / str(made.number) / "policy.json").unlink()
    with pytest.raises(MatineeError, match="cannot be read"):
        propensities(service, "notes")


DAYS, AT = 35, datetime(2026, 2, 6, tzinfo=UTC)
COUNTRIES = np.array(["NL", "US", "DE", "FR"])
TITLES = np.array([f"t{number:02d}" for number in range(40)])


def world(made, seed, at=AT, *, members=220, tenfold=None, late=None):
    """A log of 35 days before `at` that is the same all the time: members with a country, a device,
    a taste and habits of their own. `late` changes what the frame of a late decision holds.
    """
    rng = np.random.default_rng(seed)
    often = rng.gamma(2.0, 5.0, members)
    if tenfold is not None:
        often[:tenfold] *= 10
    count = rng.poisson(often)
    member = np.repeat(np.arange(members), count)
    country = COUNTRIES[rng.choice(4, members, p=[0.1, 0.5, 0.2, 0.2])]
    device = np.where(rng.random(members) < 0.4, "tv", "phone")
    taste = rng.dirichlet(np.full(40, 2.0), members).cumsum(axis=1)
    worth = rng.beta(2, 4, members)
    size = len(member)
    days = rng.random(size) * DAYS
    drawn = (taste[member] < rng.random((size, 1))).sum(axis=1).clip(0, 39)
    frame = {
        "member": member,
        "days": days,
        "country": country[member],
        "device": device[member],
        "title": TITLES[drawn],
        "reward": (rng.random(size) < worth[member]).astype(float),
    }
    rows = pl.DataFrame(frame).with_columns(late=pl.col("days") >= DAYS - 7, seed=rng.random(size))
    if late is not None:
        rows = late(rows)
    name = pl.format("s{}-{}", pl.lit(seed), pl.int_range(pl.len()))
    return rows.with_columns(
        decision_id=name,
        member_id=pl.format("m{}", "member"),
        at=pl.lit(at - timedelta(days=DAYS)) + pl.duration(seconds=pl.col("days") * 86_400),
        policy=pl.lit(made.id),
    )


def lived(service, rows):
    """The rows as decisions and outcomes in the log."""
    chosen = rows.select(
        "decision_id",
        "member_id",
        "at",
        "policy",
        request_id="decision_id",
        surface=pl.lit("notes"),
        actions=pl.concat_list("title"),
        propensities=pl.lit([1.0]),
        propensity_kind=pl.lit("conditional"),
        eligible=pl.lit("all"),
        seed=pl.lit(1, pl.Int64),
        context=pl.struct("country", "device").struct.json_encode(),
        context_hash=pl.lit(""),
        masks=pl.lit("[]"),
        known_at="at",
    )
    empty = pl.DataFrame(schema=SCHEMAS["decisions"].columns)
    lists = {name: pl.lit([], empty.schema[name]) for name in ("removed", "segment", "scores")}
    whole = pl.concat([empty, chosen.with_columns(**lists)], how="diagonal")
    assert service.lake.append("decisions", whole, source="test").rejected == 0
    came = rows.select(
        "decision_id",
        "member_id",
        "reward",
        surface=pl.lit("notes"),
        position=pl.lit(0, pl.Int64).cast(SCHEMAS["outcomes"].columns["position"]),
        action="title",
        decided_at="at",
        closed_at=pl.col("at") + Notes.window,
        known_at=pl.col("at") + Notes.window,
    )
    assert service.lake.append("outcomes", came, source="test").rejected == 0


def moved(service, at=AT):
    return {one.what: one for one in drift(service, "notes", at)}


def test_a_world_that_stays_the_same_is_let_be_in_95_of_100(service):
    made = champion(service, LUCE)
    ends = [AT - timedelta(days=60) * seed for seed in range(100)]
    lived(service, pl.concat([world(made, seed, at) for seed, at in enumerate(ends)]))
    assert sum(bool(moved(service, at)) for at in ends) <= 5


def test_what_few_members_do_much_of_is_not_the_work_of_many(service):
    """Two in a hundred decide as often as forty others, each in bursts of their own."""
    made = champion(service, LUCE)
    ends = [AT - timedelta(days=60) * seed for seed in range(30)]
    rows = pl.concat([world(made, seed, at, tenfold=6) for seed, at in enumerate(ends)])
    lived(service, rows)
    assert sum(bool(moved(service, at)) for at in ends) <= 1


def changed(keep):
    """The rows for which an expression holds, of those that are late."""
    return lambda rows: rows.filter(~pl.col("late") | keep)


def test_a_country_whose_share_doubles_is_named(service):
    """In the last week half of what the others would have decided is left out."""
    keep = (pl.col("country") == "NL") | (pl.col("seed") < 0.45)
    made = champion(service, LUCE)
    lived(service, world(made, 1, members=800, late=changed(keep)))
    found = moved(service)["country"]
    named = {one.name: one for one in found.values}
    assert named["NL"].now == pytest.approx(2 * named["NL"].before, rel=0.3)
    assert found.apart > 0.05
    assert "device" not in moved(service)
    assert "reward" not in moved(service)


def test_a_reward_that_halves_is_told_from_what_to_what(service):
    half = pl.when(pl.col("late") & (pl.col("seed") < 0.5)).then(0.0).otherwise("reward")
    made = champion(service, LUCE)
    lived(service, world(made, 2, late=lambda rows: rows.with_columns(reward=half)))
    found = moved(service)
    (value,) = found["reward"].values
    assert value.now == pytest.approx(value.before / 2, rel=0.25)
    assert set(found) == {"reward"}


def test_a_policy_that_stops_showing_half_the_titles_is_told(service):
    gone = (pl.col("title") < "t20") & pl.col("late")
    other = pl.lit("t") + (pl.col("title").str.slice(1).cast(pl.Int64) + 20).cast(pl.String)
    stops = pl.when(gone).then(other).otherwise("title")
    made = champion(service, LUCE)
    lived(service, world(made, 3, late=lambda rows: rows.with_columns(title=stops)))
    found = moved(service)
    assert set(found) == {"action"}
    assert found["action"].apart == pytest.approx(0.5, abs=0.1)
    assert all(one.now > one.before or one.now == 0 for one in found["action"].values)


def test_what_another_version_showed_is_no_move_of_the_champion(service):
    """It became champion a week ago: there is nothing before to compare with."""
    first = champion(service, LUCE)
    made = version(service, "season", LUCE)
    service.registry.challenge("notes", made.id, "test", "")
    rows = world(first, 4).with_columns(title=pl.when("late").then(pl.lit("t0")).otherwise("title"))
    late = pl.when("late").then(pl.lit(made.id)).otherwise("policy")
    lived(service, rows.with_columns(policy=late))
    assert "action" not in moved(service)


@pytest.mark.parametrize(("share", "times"), [(0.4, 0.4), (0.02, 0.02)])
def test_a_volume_that_falls_is_told_however_few_are_left(service, share, times):
    made = champion(service, LUCE)
    lived(service, world(made, 5, late=changed(pl.col("seed") < share)))
    (value,) = moved(service)["volume"].values
    assert value.now / value.before == pytest.approx(times, rel=0.5)


def test_the_volume_of_choices_that_stand_is_not_told(service, monkeypatch):
    made = champion(service, LUCE)
    lived(service, world(made, 5, late=changed(pl.col("seed") < 0.4)))
    for_subjects(monkeypatch)
    assert "volume" not in moved(service)


def test_what_is_young_or_small_is_not_compared(service):
    made = champion(service, LUCE)
    lived(service, world(made, 6, members=40, late=changed(pl.col("seed") < 0.2)))
    assert moved(service) == {}
    young = world(made, 7, AT - timedelta(days=90)).filter(pl.col("days") > DAYS - 12)
    lived(service, young.filter(~pl.col("late") | (pl.col("seed") < 0.2)))
    assert moved(service, AT - timedelta(days=90)) == {}


def test_names_from_outside_are_only_text(service):
    strange = '<script>"x"</script>' * 5
    made = champion(service, LUCE)
    rows = world(
        made,
        8,
        members=600,
        late=lambda found: found.with_columns(
            device=pl.when("late").then(pl.lit(strange)).otherwise("device")
        ),
    )
    lived(service, rows)
    found = moved(service)["device"]
    assert {one.name for one in found.values} == {strange, "tv", "phone"}
    assert msgspec.json.decode(msgspec.json.encode(found))["what"] == "device"


def test_an_empty_log_has_not_moved(service):
    assert drift(service, "notes", AT) == ()
