"""Means of what members did: intervals by hand, and how often they hold."""

from math import isnan

import numpy as np
import polars as pl
import pytest

from matinee.evaluation.attribution import Units, attribution
from matinee.evaluation.intervals.wilson import wilson
from matinee.service.means import at_every_look, mean_by_member


def of(*each):
    """The mean of what each member did."""
    rows = [(float(value), str(number)) for number, one in enumerate(each) for value in one]
    return mean_by_member(
        pl.Series([value for value, _ in rows]), pl.Series([who for _, who in rows])
    )


def test_by_hand_of_three_members():
    found = of([2], [4], [9])
    reach = 4.302652729911275 * (26 / 3 / 2) ** 0.5  # t of 2 degrees; the variance 13 of the mean
    assert found.value == 5
    assert found.high - found.value == pytest.approx(reach)
    assert found.low == pytest.approx(5 - reach)


def test_of_members_who_all_brought_the_same_nothing_is_said_of_others():
    found = of([2.5], [2.5], [2.5, 2.5])
    assert found.value == pytest.approx(2.5)
    assert isnan(found.low)
    assert isnan(found.high)


def test_of_minutes_that_nobody_watched_yet_nothing_is_said_of_others():
    """One of ten watches 50 minutes: of ten each third time none does, and 5 is the mean."""
    values, members = pl.Series([0.0] * 10), pl.Series([str(number) for number in range(10)])
    found = mean_by_member(values, members, share=False)
    assert found.value == 0
    assert isnan(found.low)
    assert isnan(found.high)
    assert mean_by_member(values, members).high < 0.3


def test_of_shares_it_never_leaves_what_can_be():
    found = of(*[[0]] * 18, [1], [1, 0])
    assert 0 < found.low < found.value < found.high < 1


def test_where_none_took_any_it_is_that_of_as_many_members():
    found = of(*[[0, 0, 0]] * 20)
    expected = wilson(0, 20)
    assert (found.value, found.low, found.high) == (0, 0, expected.high)
    assert of(*[[1, 1]] * 20).low == pytest.approx(1 - expected.high)


def test_what_members_repeat_is_worth_less():
    once = of(*([[0]] * 30 + [[1]] * 10))
    often = of(*([[0] * 5] * 30 + [[1] * 5] * 10))
    assert (once.low, once.high) == pytest.approx((often.low, often.high))


def test_members_who_are_alike_are_worth_no_more_than_their_values():
    found = of(*[[0, 1]] * 10)
    assert (found.low, found.high) == pytest.approx((wilson(10, 20).low, wilson(10, 20).high))


def test_one_member_tells_nothing_of_others():
    found = of([0, 1, 1])
    assert found.value == pytest.approx(2 / 3)
    assert isnan(found.low)


def test_of_titles_that_were_chosen_in_one_half_alone_nothing_is_known_at_any_look():
    apart = Units.of(member=[0, 1], title=[0, 1], picture=[0, 1], propensity=[1, 1], reward=[0, 1])
    found = attribution(apart)
    assert found.members == 0
    difference = at_every_look(found.difference, found.members, size=1_000)
    assert isnan(difference.value)
    assert isnan(difference.low)
    assert isnan(difference.high)


def test_one_who_did_most_is_worth_one():
    """By hand: 12 values of one member and 4 of each of three are worth 24² / 192 = 3 of them."""
    found = of([6] * 12, [2] * 4, [4] * 4, [6] * 4)
    mean = 5.0
    pulls = [12 / 24 / (1 - 12 / 24), *((value - 5) * 4 / 24 / (1 - 4 / 24) for value in (2, 4, 6))]
    error = (3 / 4 * sum(pull**2 for pull in pulls)) ** 0.5
    assert found.value == mean
    assert found.high - mean == pytest.approx(4.302652729911275 * error)


def test_where_one_did_nearly_all_nothing_is_said_of_others():
    found = of([6.0, 7.0] * 50, [2.0], [4.0])
    assert isnan(found.low)
    assert of([0, 1] * 50, [0], [1]).high - of([0, 1] * 50, [0], [1]).low > 0.9


@pytest.mark.parametrize("often", [1, 5, 20])
def test_it_holds_where_one_member_did_most(often):
    random, held = np.random.default_rng(3), 0
    for _ in range(600):
        sizes = np.r_[5 * often, 1 + random.poisson(4, 19)]
        who = np.repeat(np.arange(20), sizes)
        values = 5 + random.normal(0, 1, 20)[who] + random.normal(0, 1, len(who))
        found = mean_by_member(pl.Series(values), pl.Series(who.astype(str)))
        held += found.low <= 5 <= found.high
    assert held / 600 > 0.92


@pytest.mark.parametrize(("members", "share"), [(20, 0.05), (50, 0.05), (100, 0.02), (60, 0.95)])
def test_it_holds_for_few_members_and_shares_at_an_end(members, share):
    """Each with several values that go together, 19 of 20 times to the accuracy of 600 draws."""
    random, apart = np.random.default_rng(7), 0.2
    first, second = (chance * (1 - apart) / apart for chance in (share, 1 - share))
    held = 0
    for _ in range(600):
        often = 1 + random.poisson(3, members)
        who = np.repeat(np.arange(members), often)
        took = random.random(len(who)) < random.beta(first, second, members)[who]
        found = mean_by_member(pl.Series(took.astype(float)), pl.Series(who.astype(str)))
        held += found.low <= share <= found.high
    assert held / 600 > 0.92
