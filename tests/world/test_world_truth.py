from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import permutations

import numpy as np
import pytest

from matinee.lake.records import Event
from matinee.world import Settings, SlatePolicy, World
from matinee.world.behaviour import examination

SMALL = Settings(members=400, titles=150, days=3, seed=3, sessions_per_day=0.5, segment=40)
AT = SMALL.start + timedelta(days=1, hours=20)


@pytest.fixture(scope="module")
def world() -> World:
    return World(SMALL)


def joined(world: World, at: datetime) -> list[str]:
    return [m.member_id for m in world.members() if m.joined_at is not None and m.joined_at <= at]


def slots_of(kind: str, events: Sequence[Event]) -> list[int]:
    return [e.position for e in events if e.kind == kind and e.position is not None]


def slates_of(
    policy: SlatePolicy, world: World, members: Sequence[str], at: datetime
) -> list[list[str]]:
    rng = np.random.default_rng(8)
    return [list(policy(member, world.eligible(member, at), rng)) for member in members]


def test_the_oracle_beats_the_logging_policy_beats_chance(world: World) -> None:
    best, best_error = world.value(world.oracle(AT), AT)
    logged, logged_error = world.value(world.logging(), AT)
    chance, chance_error = world.value(world.uniform(), AT)
    assert best_error == 0.0
    assert best - logged > 5 * logged_error > 0
    assert logged - chance > 5 * (logged_error + chance_error)


def test_the_oracle_finds_the_best_of_all_slates() -> None:
    world = World(Settings(members=8, titles=6, days=0, slots=2, segment=6))
    at = world.settings.start
    for member in joined(world, at):
        eligible = world.eligible(member, at)
        every = [list(pair) for pair in permutations(eligible, 2)]
        rewards = world.expected_reward([member] * len(every), at, every).sum(axis=1)
        assert (
            list(world.oracle(at)(member, eligible, np.random.default_rng(0)))
            == every[int(rewards.argmax())]
        )


def test_position_bias_is_the_ratio_of_rewards_of_one_title(world: World) -> None:
    member = joined(world, AT)[0]
    titles = world.eligible(member, AT)[:12]
    shifted = [titles[-shift:] + titles[:-shift] if shift else titles for shift in range(12)]
    rewards = world.expected_reward([member] * 12, AT, shifted)
    np.testing.assert_allclose(np.diagonal(rewards) / rewards[0, 0], examination(12), rtol=1e-12)


def test_responses_are_as_frequent_as_expected_in_each_slot() -> None:
    world = World(Settings(members=3_000, titles=150, days=1, seed=5, sessions_per_day=0.1))
    at = world.settings.start + timedelta(days=40, hours=3)
    members = joined(world, at)
    slates = slates_of(world.logging(), world, members, at)
    wanted = world.expected_reward(members, at, slates)
    rng, played = np.random.default_rng(9), np.zeros_like(wanted)
    for row, (member, slate) in enumerate(zip(members, slates, strict=True)):
        events = world.respond(member, f"d{row}", slate, at, rng)
        played[row, slots_of("play", events)] = 1.0
        shown = [(event.position, event.title_id) for event in events if event.kind == "impression"]
        assert shown == list(enumerate(slate))
        assert all(event.decision_id == f"d{row}" and event.ts > at for event in events)
        assert [event.ts for event in events] == sorted(event.ts for event in events)
    error = np.sqrt((wanted * (1 - wanted)).sum(axis=0))
    assert (np.abs(played.sum(axis=0) - wanted.sum(axis=0)) < 4.0 * error).all()


def test_what_is_finished_in_a_response_counts_from_then_on() -> None:
    world = World(SMALL)
    rng = np.random.default_rng(1)
    later = AT + timedelta(hours=3, minutes=59)
    counted = 0
    for member in joined(world, AT)[:80]:
        slate = world.eligible(member, AT)[:20]
        before = world.expected_reward([member], later, [slate])[0]
        events = world.respond(member, "d", slate, AT, rng)
        after = world.expected_reward([member], later, [slate])[0]
        done = slots_of("complete", [event for event in events if event.ts < later])
        other = np.delete(np.arange(20), slots_of("complete", events))
        counted += int((after[done] < 0.5 * before[done]).sum())
        assert (after[done] <= before[done]).all()
        np.testing.assert_array_equal(after[other], before[other])
    assert counted > 10


def test_a_batch_is_its_members_one_by_one(world: World) -> None:
    members = joined(world, AT)[:10]
    times = [AT + timedelta(hours=9 * number) for number in range(10)]
    slates = [world.eligible(m, at)[:7] for m, at in zip(members, times, strict=True)]
    batch = world.expected_reward(members, times, slates)
    for row in reversed(range(10)):
        single = world.expected_reward([members[row]], times[row], [slates[row]])
        np.testing.assert_array_equal(single[0], batch[row])


def test_shorter_slates_are_padded_and_closed_windows_earn_nothing(world: World) -> None:
    leaves = next(window for window in world.windows() if window.ends_at is not None)
    assert leaves.ends_at is not None
    member, other = joined(world, AT)[:2]
    always = next(
        title
        for title in world.eligible(member, leaves.ends_at)
        if title in set(world.eligible(other, leaves.ends_at))
    )
    slates = [[leaves.title_id, always], [always]]
    last = leaves.ends_at - timedelta(microseconds=1)
    before = world.expected_reward([member, other], last, slates)
    after = world.expected_reward([member, other], leaves.ends_at, slates)
    assert before[0, 0] > 0 == after[0, 0]
    assert after[0, 1] > 0
    assert before[1, 1] == after[1, 1] == 0


def test_the_standard_error_is_the_spread_over_seeds(world: World) -> None:
    members = joined(world, AT)[:60]
    found = [world.value(world.uniform(), AT, members, draws=4, seed=seed) for seed in range(40)]
    values, errors = np.array(found).T
    assert 0.7 < values.std(ddof=1) / errors.mean() < 1.4


def test_values_are_seeded(world: World) -> None:
    first = world.value(world.uniform(), AT, seed=1)
    assert first == world.value(world.uniform(), AT, seed=1)
    assert first != world.value(world.uniform(), AT, seed=2)


def test_tastes_drift_after_the_log_ends(world: World) -> None:
    member = joined(world, AT)
    slates = [world.eligible(m, AT)[:5] for m in member]
    soon, late = (
        world.expected_reward(member, AT + timedelta(days=days), slates) for days in (60, 160)
    )
    both = (soon > 0) & (late > 0)
    assert np.abs(np.log(soon[both] / late[both])).mean() > 0.2


@pytest.mark.parametrize(
    ("member", "slate", "told"),
    [
        ("nobody", ["titanic-1997"], "no member 'nobody'; members"),
        ("m00000", ["no-such-film"], "no title 'no-such-film'; titles"),
        ("m00000", ["titanic-1997", "titanic-1997"], "twice"),
    ],
)
def test_strangers_are_refused(world: World, member: str, slate: list[str], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        world.expected_reward([member], AT, [slate])
    with pytest.raises(ValueError, match=told):
        world.respond(member, "d", slate, AT, np.random.default_rng(0))


def test_times_without_zone_and_ragged_questions_are_refused(world: World) -> None:
    with pytest.raises(ValueError, match="has no zone"):
        world.expected_reward(["m00000"], AT.replace(tzinfo=None), [["titanic-1997"]])
    with pytest.raises(ValueError, match="one member for each slate"):
        world.expected_reward(["m00000"], AT, [])
    with pytest.raises(ValueError, match="at least 2 draws"):
        world.value(world.uniform(), AT, draws=1)


def test_an_empty_question_has_an_empty_answer(world: World) -> None:
    assert world.expected_reward([], AT, []).shape == (0, 0)
