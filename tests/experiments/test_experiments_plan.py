"""The plan: who is in what stays so, and is spread as planned, apart where it should be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from hashlib import blake2b
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from scipy.stats import chi2_contingency

from matinee.experiments import allocation, sample_ratio
from matinee.experiments.allocation import allocator
from matinee.experiments.plan import Allocated, Allocator, Arm, Experiment, Holdout, Layer, Plan

SALT = b"a fixed salt"
DAY = timedelta(days=1)
START = datetime(2026, 1, 1, tzinfo=UTC)
MEMBERS = [f"m{number:05d}" for number in range(20_000)]
CONTROL, FRESH = (
    Arm(name="control", share=0.5, serves="champion"),
    Arm(name="fresh", share=0.5, serves="titles@4"),
)


def experiment(name: str = "fresh", **other: Any) -> Experiment:
    known = {"surface": "titles", "layer": "ranking", "slice": (0.0, 1.0), "start": START}
    surface = other.get("surface", "titles")
    arms = (CONTROL, Arm(name="fresh", share=0.5, serves=f"{surface}@4"))
    return Experiment(**({"name": name, "arms": arms} | known | other))


def plan(*experiments: Experiment, holdouts: tuple[Holdout, ...] = ()) -> Plan:
    names = dict.fromkeys(one.layer for one in experiments)
    return Plan(
        experiments=experiments, layers=tuple(Layer(name=one) for one in names), holdouts=holdouts
    )


def answers(of: Plan, surface: str = "titles", at: datetime = START, some: Any = None) -> list[Any]:
    who = Allocator(of, SALT)
    return [who.of(member, surface, at) for member in some or MEMBERS]


def codes(of: Plan, surface: str = "titles", at: datetime = START) -> Any:
    return Allocator(of, SALT).many(MEMBERS, surface, at).codes


def test_a_member_s_place_is_the_keyed_hash_of_two_names() -> None:
    """MessagePack by hand: an array of two (0x92), strings of up to 31 bytes (0xa0 + length)."""

    def place(name: bytes, member: bytes) -> float:
        parts = b"\x92" + bytes([0xA0 + len(name)]) + name + bytes([0xA0 + len(member)]) + member
        whole = int.from_bytes(blake2b(parts, digest_size=8, key=SALT).digest(), "big")
        return (whole >> 11) / 2**53

    planned = plan(experiment(slice=(0.25, 0.75)), holdouts=(Holdout(name="rule", share=0.1),))
    for member, found in zip(MEMBERS[:500], answers(planned, some=MEMBERS[:500]), strict=True):
        raw = member.encode()
        if place(b"holdout:rule", raw) < 0.1:
            assert found == planned.holdouts[0]
        elif 0.25 <= place(b"layer:ranking", raw) < 0.75:
            arm = "control" if place(b"arm:fresh", raw) < 0.5 else "fresh"
            assert isinstance(found, Allocated)
            assert (found.experiment, found.arm) == ("fresh", arm)
        else:
            assert found is None


def test_known_answers() -> None:
    """They may never change: whoever is in an arm today would be in another one tomorrow."""
    assert allocation(b"salt", "fixed", "m1") == 0.5592027698622187
    held = (Holdout(name="rule", share=0.2),)
    found = answers(plan(experiment(slice=(0.0, 0.5)), holdouts=held), some=MEMBERS[:12])
    arms = [one.arm if isinstance(one, Allocated) else one and one.name for one in found]
    assert arms[:6] == [None, "rule", "control", None, "fresh", "fresh"]
    assert arms[6:] == [None, "rule", None, "control", "fresh", None]


@given(salt=st.binary(max_size=64), name=st.text(max_size=300), unit=st.text(max_size=300))
def test_hashing_in_two_steps_is_hashing_at_once(salt: bytes, name: str, unit: str) -> None:
    assert allocator(salt, name)(unit) == allocation(salt, name, unit)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Layers of a surface of their own each, cut into slices that experiments follow each other in;
    holdouts of all and of one.
    """
    experiments, countries = [], st.sampled_from([(), ("NL",), ("NL", "US")])
    for layer in range(draw(st.integers(1, 3))):
        ends = draw(st.lists(st.floats(0, 1), min_size=2, max_size=5, unique=True).map(sorted))
        for place in pairwise(ends):
            for turn in range(draw(st.integers(0, 2))):
                parts = np.array(draw(st.lists(st.integers(1, 9), min_size=2, max_size=4)), float)
                experiments.append(
                    experiment(
                        f"e{len(experiments)}",
                        surface=f"s{layer}",
                        layer=f"l{layer}",
                        slice=place,
                        start=START + 10 * turn * DAY,
                        end=START + 10 * (turn + 1) * DAY,
                        arms=tuple(
                            Arm(name=f"a{number}", share=share, serves=f"s{layer}@{number + 1}")
                            for number, share in enumerate((parts / parts.sum()).tolist())
                        ),
                        countries=draw(countries),
                        devices=draw(st.sampled_from([(), ("tv",)])),
                        halted=draw(st.sampled_from([None, None, "wrong prices"])),
                    )
                )
    some = draw(st.sets(st.sampled_from([None, "s0"])))
    return plan(
        *experiments,
        holdouts=tuple(Holdout(name=f"of {one}", share=0.2, surface=one) for one in some),
    )


def by_hand(of: Plan, member: str, surface: str, at: datetime, told: tuple[Any, Any]) -> Any:
    country, device = told
    for wide in (True, False):
        for holdout in of.holdouts:
            if holdout.surface == (None if wide else surface) and (
                allocation(SALT, f"holdout:{holdout.name}", member) < holdout.share
            ):
                return holdout
    for one in of.experiments:
        place = allocation(SALT, f"layer:{one.layer}", member)
        if one.surface != surface or not one.slice[0] <= place < one.slice[1] or one.halted:
            continue
        if not one.start <= at or (one.end and at >= one.end):
            continue
        if (one.countries and country not in one.countries) or (
            one.devices and device not in one.devices
        ):
            continue
        left = allocation(SALT, f"arm:{one.name}", member)
        for arm in one.arms:
            left -= arm.share
            if left < 0:
                return Allocated(one.name, arm.name, arm.serves)
    return None


@given(
    planned=plans(),
    members=st.lists(st.text(max_size=5), max_size=20),
    days=st.integers(-1, 21),
    told=st.sampled_from([("NL", "tv"), ("DE", "tv"), ("US", None), (None, "web")]),
)
def test_one_many_and_by_hand_are_the_same(
    planned: Plan, members: list[str], days: int, told: tuple[str | None, str | None]
) -> None:
    at, who = START + days * DAY, Allocator(planned, SALT)
    for surface in ("s0", "s1", "elsewhere"):
        found = who.many(members, surface, at, *([one] * len(members) for one in told))
        many = [found.answers[code] for code in found.codes.tolist()]
        assert many == [who.of(member, surface, at, *told) for member in members]
        assert many == [by_hand(planned, member, surface, at, told) for member in members]


@given(ends=st.lists(st.floats(0, 1), min_size=4, max_size=4, unique=True).map(sorted))
def test_a_slice_that_grows_keeps_everyone_in_their_arms(ends: list[float]) -> None:
    some = MEMBERS[:300]
    before = answers(plan(experiment(slice=(ends[1], ends[2]))), some=some)
    after = answers(plan(experiment(slice=(ends[0], ends[3]))), some=some)
    assert all(old in (None, new) for old, new in zip(before, after, strict=True))


def test_others_that_start_and_stop_move_nobody() -> None:
    mine = experiment(slice=(0.3, 0.6))
    others = (
        experiment("a", slice=(0.0, 0.3), end=START + DAY),
        experiment("b", slice=(0.1, 0.3), start=START + DAY),
        experiment("c", surface="artwork", layer="pictures"),
    )
    alone = answers(plan(mine))
    among = plan(others[0], mine, *others[1:])
    for at in (START, START + DAY):
        found = answers(among, at=at)
        inside = [one if one and one.experiment == "fresh" else None for one in found]
        assert inside == alone
    assert any(alone)


def test_halting_gives_all_the_champion_and_resuming_all_their_arms() -> None:
    running, beside = experiment(slice=(0.0, 0.5)), experiment("beside", slice=(0.5, 1.0))
    before = answers(plan(running, beside))
    stopped = replace(running, halted="errors on televisions")
    during = answers(plan(stopped, beside))
    assert [one if one and one.experiment == "beside" else None for one in before] == during
    resumed = replace(stopped, halted=None)
    assert answers(plan(resumed, beside)) == before
    with pytest.raises(ValueError, match="both take"):
        plan(stopped, replace(beside, slice=(0.4, 1.0)))


def test_members_of_experiments_of_a_layer_are_apart_on_all_surfaces() -> None:
    planned = plan(
        experiment("a", slice=(0.0, 0.5)),
        experiment("b", slice=(0.5, 1.0), surface="artwork"),
    )
    titles, artwork = codes(planned) > 0, codes(planned, "artwork") > 0
    assert not (titles & artwork).any()
    assert (titles | artwork).all()


def test_members_and_arms_are_spread_as_planned() -> None:
    """chi-square over 50 buckets of places, and over arms of shares 0.5, 0.3 and 0.2."""
    places = [allocation(SALT, "layer:ranking", member) for member in MEMBERS]
    assert sample_ratio(np.bincount((np.array(places) * 50).astype(int), minlength=50)) > 0.001
    shares = (0.5, 0.3, 0.2)
    arms = tuple(
        Arm(name=f"{share}", share=share, serves=f"titles@{place + 1}")
        for place, share in enumerate(shares)
    )
    found = Allocator(plan(experiment(arms=arms)), SALT).many(MEMBERS, "titles", START)
    counts = np.bincount(found.codes, minlength=len(found.answers))
    assert counts[0] == 0
    assert sample_ratio(counts[1:], shares) > 0.001


def table(one: Any, other: Any) -> Any:
    counts = np.zeros((one.max() + 1, other.max() + 1))
    np.add.at(counts, (one, other), 1)
    return counts[counts.sum(axis=1) > 0][:, counts.sum(axis=0) > 0]


def independent(one: Any, other: Any) -> bool:
    counts = table(one, other)
    return min(counts.shape) > 1 and bool(chi2_contingency(counts).pvalue > 0.001)


def test_layers_lie_independently() -> None:
    one, other = (
        np.array([allocation(SALT, f"layer:{name}", member) for member in MEMBERS])
        for name in ("ranking", "pictures")
    )
    assert independent((one * 20).astype(int), (other * 20).astype(int))
    planned = plan(
        experiment(slice=(0.0, 0.6)),
        experiment("faces", surface="artwork", layer="pictures", slice=(0.0, 0.6)),
    )
    assert independent(codes(planned), codes(planned, "artwork"))


def test_arms_hang_neither_on_the_place_nor_on_the_arms_before() -> None:
    """So that what one experiment leaves behind is in all arms of the next alike."""
    before, after = (
        codes(plan(experiment(name, slice=(0.2, 0.9)))) for name in ("fresh", "fresher")
    )
    inside = before > 0
    assert ((after > 0) == inside).all()
    assert independent(before[inside], after[inside])
    places = np.array([allocation(SALT, "layer:ranking", member) for member in MEMBERS])
    assert independent((places[inside] * 20).astype(int), before[inside])


def test_who_is_held_out_is_in_nothing() -> None:
    held = (
        Holdout(name="lasting", share=0.1),
        Holdout(name="old titles", share=0.2, surface="titles", serves="titles@1"),
    )
    experiments = (experiment(), experiment("faces", surface="artwork", layer="pictures"))
    titles, artwork, nothing = (
        answers(plan(*experiments, holdouts=held), name) for name in ("titles", "artwork", "none")
    )
    assert [one == held[0] for one in titles] == [one == held[0] for one in artwork]
    assert [one == held[0] for one in titles] == [one == held[0] for one in nothing]
    assert sample_ratio([titles.count(held[0]), len(titles) - titles.count(held[0])], [1, 9]) > 1e-3
    assert abs(titles.count(held[1]) - 0.18 * 20_000) < 4 * np.sqrt(20_000 * 0.18 * 0.82)
    assert held[1] not in artwork
    free = answers(plan(*experiments))
    assert all(new in (*held, old) for new, old in zip(titles, free, strict=True))
    more = replace(held[0], share=0.15)
    grown = answers(plan(*experiments, holdouts=(more, held[1])))
    assert all(new == more for new, old in zip(grown, titles, strict=True) if old == held[0])
    fresh = np.array([one.arm == "fresh" for one in free], int)
    assert independent(np.array([one == held[0] for one in titles], int), fresh)


def test_from_the_start_and_before_the_end_in_any_zone() -> None:
    planned = plan(experiment(end=START + DAY))
    far = timezone(timedelta(hours=-9))
    moments = (START - timedelta(microseconds=1), START, START + DAY - timedelta(microseconds=1))
    found = [answers(planned, at=at.astimezone(far), some=["m1"])[0] for at in moments]
    assert [one is None for one in found] == [True, False, False]
    assert answers(planned, at=START + DAY, some=["m1"]) == [None]
    assert answers(plan(experiment()), at=START + 36_500 * DAY, some=["m1"]) != [None]


def test_targeting() -> None:
    who = Allocator(plan(experiment(countries=("NL",), devices=("tv", "web"))), SALT)
    told = [("NL", "tv"), ("NL", "web"), ("NL", "phone"), ("DE", "tv"), (None, "tv"), ("NL", None)]
    found = [who.of("m1", "titles", START, *one) is not None for one in told]
    assert found == [True, True, False, False, False, False]


def test_no_members_and_nothing_planned() -> None:
    found = Allocator(plan(experiment()), SALT).many([], "titles", START)
    assert found.codes.shape == (0,)
    assert answers(Plan(), some=["m1", ""]) == [None, None]


def test_an_allocator_is_asked_properly() -> None:
    who = Allocator(plan(experiment()), SALT)
    with pytest.raises(ValueError, match="give a time with one"):
        who.of("m1", "titles", datetime(2026, 1, 1))
    with pytest.raises(ValueError, match="give a time with one"):
        who.many(["m1"], "titles", datetime(2026, 1, 1))
    with pytest.raises(ValueError, match="for each of 2"):
        who.many(["m1", "m2"], "titles", START, countries=["NL"])
    with pytest.raises(ValueError, match="64 bytes"):
        Allocator(plan(experiment()), b"s" * 65)


def test_a_plan_is_written_and_read() -> None:
    written = plan(
        experiment(countries=("NL",), end=START + DAY, halted="for now"),
        holdouts=(Holdout(name="old", share=0.1, surface="titles", serves="titles@3"),),
    )
    assert msgspec.json.decode(msgspec.json.encode(written), type=Plan) == written


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("start", "2026-01-01T00:00:00", "timezone"),
        ("end", "2026-01-01T00:00:00Z", "give a later end"),
        ("slice", [0.5, 0.5], "0 <= from < to <= 1"),
        ("slice", [0.5, 1.5], "0 <= from < to <= 1"),
        ("slice", [0.5], "length 2"),
        ("arms", [], "two arms or more"),
        ("arms", [{"name": "a", "share": 1, "serves": "champion"}], "two arms or more"),
        ("arms", [{"name": "a", "share": 0.5, "serves": "champion"}] * 2, "rename one"),
        ("layer", "pages", "give one of"),
        ("countries", ["Netherlands"], "countries"),
        ("halted", "", "halted"),
        ("ramp", 0.5, "unknown field `ramp`"),
    ],
)
def test_what_a_plan_refuses_to_read(field: str, value: Any, says: str) -> None:
    whole = msgspec.to_builtins(plan(experiment()))
    whole["experiments"][0][field] = value
    with pytest.raises(ValueError, match=says):
        msgspec.json.decode(msgspec.json.encode(whole), type=Plan)


def test_what_is_missing_is_named_with_its_place() -> None:
    whole = msgspec.to_builtins(plan(experiment()))
    del whole["experiments"][0]["arms"][1]["serves"]
    with pytest.raises(ValueError, match=r"serves.*experiments\[0\].arms\[1\]"):
        msgspec.convert(whole, Plan)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: Arm(name="a", share=0.0, serves="champion"), "above 0"),
        (lambda: Arm(name="a", share=float("nan"), serves="champion"), "above 0"),
        (lambda: Holdout(name="h", share=1.5), "at most 1"),
        (lambda: Holdout(name="h", share=0.5, serves="titles@3"), 'give "rule"'),
        (lambda: Holdout(name="h", share=0.5, serves="art@3", surface="titles"), "titles@3"),
        (lambda: experiment(arms=(CONTROL, FRESH), surface="artwork"), "artwork@4"),
        (lambda: experiment(arms=(CONTROL, replace(FRESH, serves="titles@0"))), "titles@4"),
        (lambda: experiment(arms=(CONTROL, replace(FRESH, serves="titles@4x"))), "titles@4"),
        (lambda: Holdout(name="h", share=0.5, surface="a.b", serves="axb@1"), "a.b@3"),
        (lambda: experiment(arms=(CONTROL, replace(FRESH, share=0.4))), "make it 1"),
        (lambda: experiment(start=datetime(2026, 1, 1)), "no zone"),
        (lambda: experiment(end=datetime(2026, 2, 1)), "no zone"),
        (lambda: experiment(halted=""), "say why"),
        (lambda: experiment(slice=(float("nan"), 1.0)), "0 <= from"),
        (lambda: plan(experiment(), experiment(slice=(0.0, 0.1))), "two experiments are called"),
        (lambda: plan(experiment("a"), experiment("b", slice=(0.9, 1.0))), "move a slice"),
        (lambda: plan(experiment("a"), experiment("b", surface="artwork")), "move a slice"),
        (lambda: plan(experiment("a", start=START + DAY), experiment("b", end=START + 2 * DAY)),
         "'b' and 'a' overlap in time"),
        (lambda: plan(experiment("a", slice=(0.0, 0.1)), experiment("b", layer="other")),
         "put them into one"),
        (lambda: Plan(layers=(Layer(name="a"), Layer(name="a"))), "two layers"),
        (lambda: Plan(experiments=(experiment(),)), "add it to layers"),
        (lambda: plan(holdouts=(Holdout(name="a", share=0.1), Holdout(name="b", share=0.1))),
         "sum of their shares"),
        (lambda: plan(holdouts=(Holdout(name="a", share=0.1),
                                Holdout(name="a", share=0.1, surface="titles"))),
         "two holdouts are called"),
    ],
)  # fmt: skip
def test_what_contradicts_itself(wrong: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        wrong()


def test_slices_may_be_taken_again_once_free() -> None:
    planned = plan(
        experiment("a", end=START + DAY), experiment("b", start=START + DAY, layer="other")
    )
    first, second = (answers(planned, at=START + days * DAY, some=["m1"])[0] for days in (0, 1))
    assert (first.experiment, second.experiment) == ("a", "b")
