"""Effects by segment: known answers, honest rates over many segments, and what is not judged."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, chi2, kstest

from matinee.evaluation.intervals import Interval
from matinee.experiments.arms import Arm
from matinee.experiments.effects import Effect, compare, fixed
from matinee.experiments.segments import by_segment
from matinee.experiments.sequential import AsymptoticSequence

NORMAL = "difference of means"


def effect(value: float, error: float, units: int = 1_000) -> Effect:
    """With that error, half of its variance from each of two arms."""
    each = error**2 * units / 2
    return Effect(value, (units, units), (each, each), NORMAL)


def test_known_answers() -> None:
    """Errors of 1: the mean is 1 and Q = 1 + 0 + 1; a segment less the mean of two others."""
    found = by_segment({"a": effect(0.0, 1.0), "b": effect(1.0, 1.0), "c": effect(2.0, 1.0)})
    assert found.q == pytest.approx(2.0)
    assert found.pvalue == pytest.approx(np.exp(-1.0))
    assert [one.apart.value for one in found.segments] == pytest.approx([-1.5, 0.0, 1.5])
    reach = 2.39398 * 1.5**0.5  # the 1 - 0.05 / 6 quantile of the normal law
    assert found.segments[0].apart.high == pytest.approx(-1.5 + reach, rel=1e-5)
    assert found.segments[2].interval.low == pytest.approx(2 - 2.39398, rel=1e-4)
    assert [one.name for one in found.segments] == ["a", "b", "c"]


def test_uneven_segments_are_weighed_by_their_precision() -> None:
    """Weights 1, 4 and 16: Q by its definition, and two segments say what one contrast says."""
    values, errors = np.array([3.0, 1.0, 1.5]), np.array([1.0, 0.5, 0.25])
    w = errors**-2.0
    q = (w * (values - w @ values / w.sum()) ** 2).sum()
    found = by_segment(
        {str(k): effect(*pair) for k, pair in enumerate(zip(values, errors, strict=True))}
    )
    assert found.q == pytest.approx(q)
    assert found.pvalue == pytest.approx(chi2.sf(q, 2))
    two = by_segment({"a": effect(1.0, 3.0), "b": effect(-1.0, 4.0)})
    assert two.q == pytest.approx((2 / 5) ** 2)
    assert two.segments[0].apart.value == -two.segments[1].apart.value == 2.0


@pytest.mark.parametrize("offset", [0.0, 1e9])
def test_what_all_have_in_common_does_not_matter(offset: float) -> None:
    values = [0.25, 0.5, 4.0, 0.0, 0.25]
    found = by_segment({str(k): effect(v + offset, 0.5) for k, v in enumerate(values)})
    assert found.q == pytest.approx(45.5)
    assert [one.name for one in found.segments if one.differs] == ["2"]


def test_without_effects_the_rates_are_as_promised() -> None:
    """1,000 experiments of 8 segments of unlike precision, nothing in them: any interval that
    misses, any effect found and any difference named, each in 5 % at most; and Q is chi-square.
    """
    rng, runs = np.random.default_rng(0), 1_000
    errors = np.geomspace(0.1, 3.0, 8)
    wrong, chances = np.zeros(3), []
    for values in rng.normal(0.0, errors, (runs, 8)):
        found = by_segment({str(k): effect(values[k], errors[k]) for k in range(8)})
        segments = found.segments
        wrong += (
            not all(one.interval.low <= 0 <= one.interval.high for one in segments),
            any(one.found for one in segments),
            any(one.differs for one in segments),
        )
        chances.append(found.pvalue)
    for count in wrong.tolist():
        assert binomtest(int(count), runs, 0.05, alternative="greater").pvalue > 1e-4
    assert wrong[0] / runs > 0.025  # and not by never saying anything
    assert kstest(chances, "uniform").pvalue > 1e-4


def test_holm_finds_what_bonferroni_does_not() -> None:
    """At 5 % with three: 0.0167 for the first, and 0.025 for the next."""
    found = by_segment({"a": effect(9.0, 1.0), "b": effect(2.3, 1.0), "c": effect(0.0, 1.0)})
    assert [one.found for one in found.segments] == [True, True, False]
    assert found.segments[1].interval.low < 0


def test_too_small_segments_are_named_and_cost_nothing() -> None:
    effects = {
        "small": effect(50.0, 1.0, units=99),
        "large": effect(1.0, 1.0),
        "alike": effect(3.0, 0.0),
        "empty": compare(Arm.of(np.zeros((0, 1))), Arm.of(np.zeros((0, 1)))),
        "other": effect(2.0, 1.0),
    }
    found = by_segment(effects)
    assert found.too_small == ("small", "alike", "empty")
    assert [one.name for one in found.segments] == ["large", "other"]
    assert {one.interval.level for one in found.segments} == {1 - 0.05 / 2}
    assert by_segment(effects, few=10).too_small == ("alike", "empty")


def test_a_lift_without_an_error_is_not_judged() -> None:
    """Of an event that none of the treatment had, the lift is -1 and to first order sure."""
    control = Arm.published(500, 0.2, 0.16)
    lifts = {
        name: compare(Arm.published(500, mean, variance), control, relative=True)
        for name, mean, variance in (("none", 0.0, 0.0), ("a", 0.2, 0.16), ("b", 0.3, 0.21))
    }
    found = by_segment(lifts)
    assert found.too_small == ("none",)
    assert [one.found for one in found.segments] == [False, True]


def test_none_and_one() -> None:
    nothing = by_segment({})
    assert (nothing.segments, nothing.too_small, nothing.pvalue) == ((), (), 1.0)
    one = by_segment({"all": effect(5.0, 1.0)})
    assert (one.q, one.pvalue) == (0.0, 1.0)
    assert one.segments[0].found
    assert not one.segments[0].differs
    assert one.segments[0].apart.low == -np.inf
    assert one.segments[0].interval == fixed(effect(5.0, 1.0))[0]


def test_it_may_be_read_at_every_look() -> None:
    def read(some: Effect, alpha: float) -> tuple[Interval, float]:
        return AsymptoticSequence(alpha=alpha, tightest_at=2_000).read(some)

    effects = {"a": effect(0.0, 1.0), "b": effect(2.8, 1.0), "c": effect(30.0, 1.0)}
    found = by_segment(effects, read=read)
    assert [one.found for one in found.segments] == [False, False, True]
    assert [one.found for one in by_segment(effects).segments] == [False, True, True]
    assert found.segments[0].interval == read(effects["a"], 0.05 / 3)[0]


def test_alpha_is_a_chance() -> None:
    with pytest.raises(ValueError, match="alpha"):
        by_segment({}, alpha=0.0)
