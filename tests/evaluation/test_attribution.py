"""The headline: what personal pictures bring beside the best single picture of each title."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matinee.evaluation.attribution import Attribution, Units, attribution

TITLES, PICTURES = 12, 4


class Town:
    """Members of two tastes; each title has pictures for either taste and one for nobody."""

    def __init__(self, seed: int, gain: float = 0.25) -> None:
        rng = np.random.default_rng(seed)
        self.base = rng.uniform(0.05, 0.45, TITLES)
        self.lift = np.zeros((TITLES, PICTURES))
        self.lift[np.arange(TITLES), rng.integers(0, PICTURES, TITLES)] = 0.15
        self.speaks = rng.integers(0, 2, (TITLES, PICTURES))
        self.speaks[:, 0], self.speaks[:, 1] = 0, 1
        self.gain, self.rng = gain, rng

    def take(self, taste: np.ndarray) -> np.ndarray:
        """The chance [N, T, A] that a member of a taste takes each title with each picture."""
        like = self.speaks[None] == taste[:, None, None]
        return self.base[:, None] + self.lift + self.gain * like

    def shown(self, members: int, share: float = 0.85) -> tuple[Units, float, float]:
        """Units of a policy that mostly shows what speaks to each, its value and that of the best
        single picture of each title, in truth.
        """
        taste = self.rng.integers(0, 2, members)
        chance = self.take(taste)
        best = chance.argmax(axis=2)[:, :, None] == np.arange(PICTURES)
        policy = share * best + (1 - share) / PICTURES
        luck = self.rng.random((members, TITLES, 1))
        picture = (policy.cumsum(axis=2) < luck).sum(axis=2)
        member, title = np.indices(picture.shape)
        taken = self.rng.random(picture.shape) < chance[member, title, picture]
        both = self.take(np.array([0, 1])).mean(axis=0)
        units = Units.of(
            member=member.ravel(),
            title=title.ravel(),
            picture=(title * PICTURES + picture).ravel(),
            propensity=policy[member, title, picture].ravel(),
            reward=taken.ravel().astype(float),
        )
        two = self.take(np.array([0, 1]))
        personal = (share * two.max(axis=2) + (1 - share) * two.mean(axis=2)).mean()
        return units, float(personal), float(both.max(axis=1).mean())


def test_the_truth_lies_in_the_intervals() -> None:
    """Over many towns, of which each title has one picture that is clearly the best."""
    held = np.zeros(3)
    for seed in range(60):
        units, personal, single = Town(seed).shown(3_000, share=0.4)
        found = attribution(units)
        held += [
            found.personal.low <= personal <= found.personal.high,
            found.single.low <= single <= found.single.high,
            found.difference.low <= personal - single <= found.difference.high,
        ]
    assert (held >= 53).all(), held


def test_where_pictures_do_nothing_choosing_brings_nothing() -> None:
    """Not even by luck: a naive look finds a best picture in noise."""
    differences = []
    for seed in range(40):
        town = Town(seed, gain=0.0)
        town.lift[:] = 0
        units, *_ = town.shown(300)
        differences.append(attribution(units).difference.value)
    error = np.std(differences) / len(differences) ** 0.5
    assert abs(np.mean(differences)) < 4 * error
    assert error < 0.01


def test_a_picture_shown_to_those_who_like_it_is_not_the_best_for_all() -> None:
    """Picture 0 pleases one in ten, and is shown to those alone, nearly; picture 1 pleases all
    a little more than that on average.
    """
    rng = np.random.default_rng(3)
    member = np.arange(8_000)
    fan = rng.random(8_000) < 0.1
    chance = np.where(fan, 0.9, 0.1)
    picture = np.where(rng.random(8_000) < chance, 0, 1)
    take = np.where(picture == 0, np.where(fan, 0.8, 0.1), 0.3)
    units = Units.of(
        member=member,
        title=np.zeros(8_000, int),
        picture=picture,
        propensity=np.where(picture == 0, chance, 1 - chance),
        reward=(rng.random(8_000) < take).astype(float),
    )
    found = attribution(units)
    assert found.single.low < 0.3 < found.single.high
    assert found.difference.low > 0


def test_the_best_single_picture_is_one_that_may_be_shown() -> None:
    """The best picture is of one country alone; elsewhere there are two that earn little."""
    rng = np.random.default_rng(5)
    member = np.arange(12_000)
    here = member % 2 == 0
    picture = np.where(here, rng.integers(0, 3, 12_000), rng.integers(0, 2, 12_000))
    take = np.array([0.1, 0.2, 0.6])[picture]
    found = attribution(
        Units.of(
            member=member,
            title=np.zeros(12_000, int),
            picture=picture,
            propensity=np.where(here, 1 / 3, 1 / 2),
            reward=(rng.random(12_000) < take).astype(float),
            choice=np.where(here, 0, 1),
            sets=[[0, 1, 2], [0, 1]],
        )
    )
    assert found.single.low < (0.6 + 0.2) / 2 < found.single.high
    assert found.personal.low < (0.3 + 0.15) / 2 < found.personal.high


def test_members_hang_together() -> None:
    """A copy of every unit of a member adds nothing that was not known."""
    units, *_ = Town(1).shown(300)
    twice = Units(*(np.concatenate([column] * 2) for column in _columns(units)), units.sets)
    one, two = attribution(units), attribution(twice)
    assert two.difference.high - two.difference.low > 0.9 * (
        one.difference.high - one.difference.low
    )
    assert two.members == one.members


def _columns(units: Units) -> tuple[np.ndarray, ...]:
    return (units.member, units.title, units.picture, units.propensity, units.reward, units.choice)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 40))
def test_rows_may_come_in_any_order_and_ids_be_any_numbers(seed: int, members: int) -> None:
    rng = np.random.default_rng(seed)
    size = members * 3
    title = rng.integers(0, 4, size)
    units = Units.of(
        member=rng.integers(0, members + 1, size),
        title=title,
        picture=9 * title + rng.integers(0, 9, size),
        propensity=rng.uniform(0.01, 1, size),
        reward=rng.random(size),
    )
    order = rng.permutation(size)
    turned = attribution(Units(*(column[order] for column in _columns(units)), units.sets))
    for one, two in zip(_values(attribution(units)), _values(turned), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-9, atol=1e-12)


def _values(found: Attribution) -> list[float]:
    ends = [
        (one.value, one.low, one.high) for one in (found.personal, found.single, found.difference)
    ]
    return [each for end in ends for each in end]


@pytest.mark.parametrize(
    ("column", "wrong", "says"),
    [
        ("propensity", [0.0, 0.5], "propensity"),
        ("propensity", [1.5, 0.5], "propensity"),
        ("reward", [np.nan, 1.0], "reward"),
        ("picture", [0.5, 1.0], "picture"),
        ("member", [1, 2, 3], "member"),
        ("choice", [0, 1], "choice"),
        ("sets", [[]], "empty"),
    ],
)
def test_what_cannot_be(column: str, wrong: list[float], says: str) -> None:
    columns = {
        "member": [0, 1],
        "title": [0, 0],
        "picture": [0, 1],
        "propensity": [0.5, 0.5],
        "reward": [0.0, 1.0],
        "choice": [0, 0],
        "sets": [[0, 1]],
    }
    with pytest.raises(ValueError, match=says):
        Units.of(**{**columns, column: wrong})


def test_nothing_at_all() -> None:
    nothing = Units.of(member=[], title=[], picture=[], propensity=[], reward=[])
    found = attribution(nothing)
    assert (found.units, found.members, found.titles) == (0, 0, 0)
    assert np.isnan(found.difference.value)
