"""Confidence sequences: known answers, order, hard cases, and how often they ever miss."""

from collections.abc import Callable
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import gammainc, gammaln, ndtr
from scipy.stats import binom

from matinee.evaluation.intervals import (
    Betting,
    ConfidenceSequence,
    PairedDifference,
    RunningMean,
    SlateDifference,
    normal,
    unpaired_difference,
)
from matinee.evaluation.intervals.lower_bounds import (
    STAKES,
    Capital,
    GammaExponential,
    log_mixture,
)
from matinee.evaluation.off_policy import IPS, Batch

KINDS = [RunningMean, Betting]
Kind = Callable[..., ConfidenceSequence]


# The bounds themselves


@pytest.mark.parametrize("deviation", [0.0, 0.5, 3.0, 40.0])
@pytest.mark.parametrize("variance", [0.0, 1.0, 30.0, 500.0])
@pytest.mark.parametrize("rho", [0.5, 5.0])
def test_the_mixture_is_the_integral_it_stands_for(
    deviation: float, variance: float, rho: float
) -> None:
    peak = max(0.0, deviation + variance * np.log(0.5))

    def integrand(u: float) -> float:
        law = rho * np.log(rho) - rho * u + (rho - 1) * np.log(u) - gammaln(rho)
        exponent = (1 - u) * deviation - variance * (-np.log(u) - (1 - u))
        return float(np.exp(exponent + law - peak) / gammainc(rho, rho))

    integral = quad(integrand, 0, 1, epsabs=0, epsrel=1e-9, limit=500)[0]
    assert log_mixture(deviation, variance, rho) == pytest.approx(np.log(integral) + peak, abs=1e-6)


def test_the_mixture_of_huge_sums_is_that_of_a_brownian_motion() -> None:
    """What S adds is then z^2 / 2 + log(2 Phi(z)) with z = S / sqrt(V).

    Beyond what float64 can tell apart the second part is left out, which only widens.
    """
    for variance in (1e10, 1e16, 1e40):
        gain = log_mixture(4 * variance**0.5, variance, 5.0) - log_mixture(0.0, variance, 5.0)
        second = 0.0 if variance > 1e30 else np.log(2 * ndtr(4.0))
        assert gain == pytest.approx(8.0 + second, abs=1e-3)


@pytest.mark.parametrize("alpha", [0.01, 0.2])
def test_the_empirical_bernstein_bound_by_hand(alpha: float) -> None:
    terms = [0.0, 3.0, 0.5, 0.0, 1.0, 2.0] * 5
    total = variance = 0.0
    for seen, term in enumerate(terms):
        variance += (term - min(1.0, (0.5 + total) / (1 + seen))) ** 2
        total += term
    bound = GammaExponential(rho=2.0).add(np.array(terms)).bound(alpha)
    deviations = np.linspace(0, total, 200_001)
    rich = [log_mixture(s, variance, 2.0) >= np.log(1 / alpha) for s in deviations[::100]]
    coarse = deviations[::100][np.argmax(rich)]
    assert (total - coarse) / 30 <= bound <= (total - coarse + 1e-3 * total) / 30


def test_the_bound_by_betting_by_hand() -> None:
    terms = np.array([0.0, 3.0, 0.5, 0.0, 1.0, 2.0] * 5)
    bound = Capital().add(terms).bound(0.05)

    def wealth(mean: float) -> float:
        return float(np.mean([np.prod((1 + s * terms) / (1 + s * mean)) for s in STAKES]))

    assert 0 < bound < terms.mean()
    assert wealth(bound) == pytest.approx(20.0)
    assert wealth(bound - 0.01) > 20.0 > wealth(bound + 0.01)


@pytest.mark.parametrize("start", [GammaExponential(), Capital()])
def test_wealth_against_the_true_mean_is_at_most_1_on_average(
    start: GammaExponential | Capital,
) -> None:
    """Over every way that a drifting process can go, weighed by how likely it goes so.

    The chance that the bound at t = 8 is above the running mean is at most alpha.
    """
    chances = [0.05, 0.3, 0.1, 0.05, 0.2, 0.02, 0.3, 0.1]
    running = np.mean([2.0 * chance for chance in chances])
    missed = 0.0
    for way in product([0, 1], repeat=8):
        likely = np.prod([c if won else 1 - c for c, won in zip(chances, way, strict=True)])
        missed += likely * (start.add(2.0 * np.array(way)).bound(0.1) > running)
    assert missed <= 0.1


# Through the public interface


def log(size: int, seed: int, actions: int = 4) -> Batch:
    rng = np.random.default_rng(seed)
    pi0 = rng.dirichlet(np.full(actions, 3.0), size) * 0.8 + 0.2 / actions
    pi = rng.dirichlet(np.ones(actions), size)
    q = np.clip(rng.beta(2, 2, (size, actions)), 0, 1)
    action = np.array([rng.choice(actions, p=p) for p in pi0])
    rows = np.arange(size)
    reward = (rng.random(size) < q[rows, action]).astype(float)
    return Batch.of_distributions(reward, action, pi0[rows, action], pi, q=q)


SETTINGS = [{}, {"k": 20.0}, {"k": 3.0}]


def largest(batch: Batch, **settings: float) -> np.ndarray | None:
    return np.full(len(batch), 20.0) if settings else None


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 60), max_size=4), st.sampled_from(KINDS), st.sampled_from(SETTINGS))
def test_batches_may_be_cut_anywhere(cuts: list[int], kind: Kind, chosen: dict[str, float]) -> None:
    whole = log(60, 1)
    folded = kind(**chosen)
    for start, end in pairwise([0, *sorted(cuts), 60]):
        part = whole.rows(slice(start, end))
        folded = folded.add(part, largest(part, **chosen))
    one, other = folded.interval(), kind(**chosen).add(whole, largest(whole, **chosen)).interval()
    assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=1e-9)
    assert one.value == pytest.approx(other.value, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("chosen", SETTINGS)
def test_phi_has_the_value_as_its_mean_and_is_never_below_its_floor(
    kind: Kind, chosen: dict[str, float]
) -> None:
    """Every log of one decision, by its likelihood, of three actions and rewards 0 and 1."""
    pi0, pi = np.array([0.7, 0.25, 0.05]), np.array([0.1, 0.3, 0.6])
    v, q = np.array([0.2, 0.9, 0.5]), np.array([[0.4, 0.6, 0.9]])
    value = mirrored = 0.0
    for action, reward in product(range(3), (0, 1)):
        batch = Batch.of_distributions([reward], [action], [pi0[action]], pi[None], q=q)
        k = chosen.get("k", 0.0)
        seen = kind(**chosen).add(batch, [12.0] if k else None)
        w, c = pi[action] / pi0[action], min(1.0, k / 12)
        phi = w * (reward - c * q[0, action]) + c * pi @ q[0]
        assert seen.below.mean * (1 + k) - k == pytest.approx(phi, abs=1e-12)
        likely = pi0[action] * (v[action] if reward else 1 - v[action])
        value += likely * phi
        mirrored += likely * (seen.above.mean * (1 + k) - k)
    assert value == pytest.approx(pi @ v, abs=1e-12)
    assert mirrored == pytest.approx(1 - pi @ v, abs=1e-12)


def test_paired_delta_has_the_difference_as_its_mean_and_is_never_below_its_floor() -> None:
    pi0, pi = np.array([0.7, 0.25, 0.05]), np.array([0.1, 0.3, 0.6])
    champion = np.array([0.5, 0.45, 0.05])
    v, q = np.array([0.2, 0.9, 0.5]), np.array([[0.4, 0.6, 0.9]])
    for k in (0.0, 3.0, 12.0):
        difference = mirrored = 0.0
        for action, reward in product(range(3), (0, 1)):
            batches = [
                Batch.of_distributions([reward], [action], [pi0[action]], target[None], q=q)
                for target in (pi, champion)
            ]
            seen = PairedDifference(k=k, bound=1.8).add(*batches, [12.0] if k else None)
            w, w0, c = pi[action] / pi0[action], champion[action] / pi0[action], min(1.0, k / 12)
            delta = (w - w0) * (reward - c * q[0, action]) + c * (pi - champion) @ q[0]
            assert seen.below.mean * (1 + seen.floor) - seen.floor == pytest.approx(delta)
            likely = pi0[action] * (v[action] if reward else 1 - v[action])
            difference += likely * delta
            mirrored += likely * (seen.above.mean * (1 + seen.floor) - seen.floor)
        assert difference == pytest.approx((pi - champion) @ v, abs=1e-12)
        assert mirrored == pytest.approx((champion - pi) @ v, abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(st.tuples(*[st.floats(0, 1)] * 5), st.floats(1e-6, 1), st.floats(0, 5))
def test_paired_delta_is_never_below_its_floor(
    unit: tuple[float, ...], propensity: float, k: float
) -> None:
    reward, q, expected, expected0, target = unit

    def seen_as(chance: float, mean: float) -> Batch:
        return Batch.of([reward], [propensity], [chance], predicted=[q], expected=[mean])

    candidate, champion = seen_as(target, expected), seen_as(propensity, expected0)
    seen = PairedDifference(k=k).add(candidate, champion, candidate.weight if k else None)
    w, c = target / propensity, min(1.0, k / max(1.0, target / propensity)) if k else 0.0
    delta = (w - 1) * (reward - c * q) + c * (expected - expected0)
    assert delta >= -seen.floor - 1e-9
    assert seen.below.mean * (1 + seen.floor) - seen.floor == pytest.approx(
        delta, abs=1e-6, rel=1e-9
    )


@pytest.mark.parametrize("kind", KINDS)
def test_rewards_on_another_scale_give_the_interval_on_that_scale(kind: Kind) -> None:
    batch = log(300, 2)
    moved = Batch.of(
        10 * batch.reward - 3, batch.propensity, batch.target,
        predicted=10 * batch.predicted - 3, expected=10 * batch.expected - 3,
    )  # fmt: skip
    for chosen in SETTINGS:
        unit = kind(**chosen).add(batch, largest(batch, **chosen)).interval()
        wide = kind(**chosen, reward_range=(-3, 7)).add(moved, largest(batch, **chosen)).interval()
        expected = [10 * x - 3 for x in (unit.value, unit.low, unit.high)]
        assert [wide.value, wide.low, wide.high] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_one_side_has_all_of_alpha_and_leaves_the_other_open(kind: Kind) -> None:
    batch = log(500, 3)
    both = kind(alpha=0.1).add(batch).interval()
    lower = kind(alpha=0.05, side="lower").add(batch).interval()
    upper = kind(alpha=0.05, side="upper").add(batch).interval()
    assert (lower.low, lower.high) == (both.low, 1.0)
    assert (upper.low, upper.high) == (0.0, both.high)
    assert lower.method.endswith("lower bound only")
    assert (both.level, lower.level) == (0.9, 0.95)


# Hard cases


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_seen_is_the_whole_range(kind: Kind) -> None:
    start = kind(reward_range=(-1.0, 2.0))
    for seen in (start, start.add(Batch.of([], [], []))):
        interval = seen.interval()
        assert (interval.low, interval.high) == (-1.0, 2.0)
        assert np.isnan(interval.value)
    nothing = PairedDifference(reward_range=(-1.0, 2.0)).interval()
    assert (nothing.low, nothing.high) == (-3.0, 3.0)


def test_one_decision_says_next_to_nothing() -> None:
    for kind in KINDS:
        interval = kind().add(Batch.of([1.0], [0.5], [0.5])).interval()
        assert interval.low < 0.1
        assert interval.high == 1.0


@pytest.mark.parametrize("kind", KINDS)
def test_constant_rewards_close_in_on_the_constant(kind: Kind) -> None:
    batch = Batch.of([0.5] * 20000, [0.5] * 20000, [0.5] * 20000)
    interval = kind().add(batch).interval()
    assert 0.48 < interval.low <= interval.value == 0.5 <= interval.high < 0.52


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("propensity", [1e-12, 1e-200])
def test_huge_weights_give_no_nan(kind: Kind, propensity: float) -> None:
    rare = Batch.of([1.0, 0.0] * 5, [propensity] * 10, [1.0] * 10)
    for seen in (kind().add(rare), kind().add(log(200, 4)).add(rare)):
        interval = seen.interval()
        assert 0.0 <= interval.low <= interval.value <= interval.high <= 1.0
    champion = Batch.of(rare.reward, rare.propensity, rare.propensity)
    interval = PairedDifference().add(rare, champion).interval()
    assert -1.0 <= interval.low <= interval.value <= interval.high <= 1.0


def test_one_huge_weight_does_not_convince_the_default() -> None:
    interval = RunningMean().add(Batch.of([1.0], [1e-12], [1.0])).interval()
    assert (interval.low, interval.high) == (0.0, 1.0)


@pytest.mark.parametrize("kind", KINDS)
def test_bounds_that_cross_say_that_propensities_are_not_true(kind: Kind) -> None:
    wrong = Batch.of([1.0, 0.0] * 2000, [0.25] * 4000, [0.5] * 4000)
    interval = kind().add(wrong).interval()
    assert (interval.low, interval.high) == (0.0, 1.0)
    assert "check the propensities" in interval.method


def test_where_the_candidate_plays_what_was_not_logged_both_ends_allow_for_it() -> None:
    """A quarter of the candidate's mass is on an action of unknown value."""
    rng = np.random.default_rng(5)
    reward = (rng.random(20000) < 0.5).astype(float)
    batch = Batch.of(
        reward, np.full(20000, 0.5), np.full(20000, 0.375),
        predicted=np.full(20000, 0.5), expected=np.full(20000, 0.5),
        outside=np.full(20000, 0.25),
    )  # fmt: skip
    for chosen in SETTINGS:
        interval = RunningMean(**chosen).add(batch, largest(batch, **chosen)).interval()
        assert interval.low <= 0.375
        assert interval.high >= 0.625


def test_what_does_not_fit_is_refused() -> None:
    batch = Batch.of([1.0, 3.0], [0.5, 0.25], [0.5, 1.0], predicted=[0.5, 2.0])
    with pytest.raises(ValueError, match=r"reward must be in the reward range .* row 1 has 3.0"):
        RunningMean().add(batch)
    with pytest.raises(ValueError, match="weight must be at most k where largest is not given"):
        RunningMean(k=3.5, reward_range=(0, 5)).add(batch)
    with pytest.raises(ValueError, match=r"weight must be at most largest; row 1 has 4.0"):
        RunningMean(k=3.5, reward_range=(0, 5)).add(batch, [4.0, 2.0])
    outside = Batch.of([1.0], [0.5], [0.5], predicted=[1.5])
    with pytest.raises(ValueError, match="predicted must be in the reward range"):
        RunningMean(k=1.0).add(outside)
    with pytest.raises(ValueError, match="k must be"):
        RunningMean(k=-1.0)
    with pytest.raises(ValueError, match="reward_range must be"):
        Betting(reward_range=(1.0, 1.0))
    with pytest.raises(ValueError, match="bound must be"):
        PairedDifference(bound=0.5)


@pytest.mark.parametrize("kind", [*KINDS, PairedDifference, SlateDifference])
@pytest.mark.parametrize("side", ["Lower", "", None])
def test_a_side_that_is_none_is_refused(kind: Any, side: Any) -> None:
    with pytest.raises(ValueError, match='side must be "both", "lower" or "upper", got'):
        kind(side=side)
    with pytest.raises(ValueError, match="side must be"):
        unpaired_difference(RunningMean(), RunningMean(), side=side)


@pytest.mark.parametrize("rho", [0.0, -1.0, np.inf, np.nan])
def test_rho_is_finite_and_above_zero(rho: float) -> None:
    for kind in (RunningMean, PairedDifference, SlateDifference):
        with pytest.raises(ValueError, match="rho must be finite and above 0"):
            kind(rho=rho)


def test_differences_are_of_the_same_decisions_and_a_bounded_champion() -> None:
    batch, other = log(10, 1), log(10, 2)
    with pytest.raises(ValueError, match="not of the same decisions"):
        PairedDifference().add(batch, other)
    with pytest.raises(ValueError, match="the champion's weight must be at most bound"):
        PairedDifference().add(batch, batch)
    with pytest.raises(ValueError, match="add the same ones to both"):
        unpaired_difference(RunningMean().add(batch), RunningMean())
    with pytest.raises(ValueError, match="different reward ranges"):
        unpaired_difference(RunningMean(), RunningMean(reward_range=(0, 2)))


# How often they ever miss


ARMS = np.array([0.55, 0.45])
CANDIDATE = np.array([0.1, 0.9])
LOOKS = [20, 50, 100, 200, 300, 400]


def adaptive_logs(repetitions: int, size: int, seed: int, drift: float = 0.0) -> list[Batch]:
    """Logs of an epsilon-greedy logger that plays what has paid more so far.

    With predictions of the outcome from the past alone, and arms that swap as `drift` goes to 1.
    """
    rng = np.random.default_rng(seed)
    paid, played = np.zeros((repetitions, 2)), np.zeros((repetitions, 2))
    action = np.zeros((repetitions, size), int)
    reward, propensity = np.zeros((repetitions, size)), np.zeros((repetitions, size))
    predicted, expected = np.zeros((repetitions, size)), np.zeros((repetitions, size))
    every = np.arange(repetitions)
    for t in range(size):
        q = (paid + 0.5) / (played + 1)
        first = np.where(q[:, 0] >= q[:, 1], 0.9, 0.1)
        action[:, t] = rng.random(repetitions) >= first
        propensity[:, t] = np.where(action[:, t] == 0, first, 1 - first)
        means = (1 - drift * t / size) * ARMS + drift * t / size * ARMS[::-1]
        reward[:, t] = rng.random(repetitions) < means[action[:, t]]
        predicted[:, t], expected[:, t] = q[every, action[:, t]], q @ CANDIDATE
        paid[every, action[:, t]] += reward[:, t]
        played[every, action[:, t]] += 1
    columns = zip(reward, propensity, CANDIDATE[action], predicted, expected, strict=True)
    return [Batch.of(r, p, t, predicted=q, expected=e) for r, p, t, q, e in columns]


def truths(size: int, drift: float) -> np.ndarray:
    """The running mean of the candidate's value after each decision."""
    share = drift * np.arange(size) / size
    value = (1 - share) * (ARMS @ CANDIDATE) + share * (ARMS[::-1] @ CANDIDATE)
    return np.cumsum(value) / np.arange(1, size + 1)


def ever_misses(
    logs: list[Batch], start: ConfidenceSequence, looks: list[int], drift: float = 0.0
) -> int:
    truth = truths(looks[-1], drift)
    missed = 0
    for batch in logs:
        seen, ever = start, False
        for begin, end in pairwise([0, *looks]):
            seen = seen.add(batch.rows(slice(begin, end)))
            interval = seen.interval()
            ever |= not interval.low <= truth[end - 1] <= interval.high
        missed += ever
    return missed


def at_most(repetitions: int, alpha: float) -> float:
    """Misses that a true level allows but in one of a hundred tests."""
    return float(binom.ppf(0.99, repetitions, alpha))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [0.0, 9.0])
@pytest.mark.parametrize("drift", [0.0, 1.0])
def test_under_an_adaptive_logger_they_miss_at_any_look_in_few_logs(
    kind: Kind, k: float, drift: float
) -> None:
    logs = adaptive_logs(150, LOOKS[-1], seed=1, drift=drift)
    start = kind(k=k, alpha=0.2)
    assert ever_misses(logs, start, LOOKS, drift) <= at_most(150, 0.2)


def test_peeked_at_under_an_adaptive_logger_the_normal_interval_fails() -> None:
    logs = adaptive_logs(300, LOOKS[-1], seed=2)
    missed = 0
    for batch in logs:
        seen = [normal(IPS().add(batch.rows(slice(look))).result()) for look in LOOKS]
        missed += any(not i.low <= ARMS @ CANDIDATE <= i.high for i in seen)
    assert missed > 2 * at_most(300, 0.05)


def test_doubly_robust_is_shorter_where_predictions_are_good() -> None:
    shorter = 0
    for batch in adaptive_logs(20, 3000, seed=3):
        exact = Batch.of(
            batch.reward, batch.propensity, batch.target,
            predicted=np.where(batch.target == CANDIDATE[0], *ARMS),
            expected=np.full(len(batch), ARMS @ CANDIDATE),
        )  # fmt: skip
        plain, robust = (
            RunningMean().add(exact).interval(),
            RunningMean(k=9.0).add(exact).interval(),
        )
        shorter += robust.high - robust.low < plain.high - plain.low
    assert shorter >= 18


def test_a_paired_difference_is_shorter_and_seldom_misses() -> None:
    """Candidate and champion agree but for a tenth of their mass; the champion wrote the log."""
    rng = np.random.default_rng(4)
    champion, candidate = np.array([0.6, 0.4]), np.array([0.5, 0.5])
    truth = float((candidate - champion) @ ARMS)
    missed = shorter = 0
    for _ in range(200):
        action = (rng.random(1000) >= champion[0]).astype(int)
        reward = (rng.random(1000) < ARMS[action]).astype(float)
        new, old = (
            Batch.of(reward, champion[action], target[action]) for target in (candidate, champion)
        )
        paired, ever = PairedDifference(alpha=0.1), False
        for begin, end in pairwise([0, 100, 400, 1000]):
            part = slice(begin, end)
            paired = paired.add(new.rows(part), old.rows(part))
            interval = paired.interval()
            ever |= not interval.low <= truth <= interval.high
        missed += ever
        apart = unpaired_difference(RunningMean().add(new), RunningMean().add(old), alpha=0.1)
        shorter += interval.high - interval.low < 0.7 * (apart.high - apart.low)
    assert missed <= at_most(200, 0.1)
    assert shorter == 200


def test_an_unpaired_difference_says_how_and_has_the_bounds_of_each_at_half() -> None:
    batch = log(2000, 6)
    champion = Batch.of(batch.reward, batch.propensity, batch.propensity)
    one, other = RunningMean().add(batch), RunningMean().add(champion)
    interval = unpaired_difference(one, other, alpha=0.1, side="lower")
    assert interval.low == one.low(0.05) - other.high(0.05)
    assert "two one-sided bounds at 0.05 each" in interval.method
    both = unpaired_difference(one, other, alpha=0.1)
    assert both.high == one.high(0.025) - other.low(0.025)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("drift", [0.0, 1.0])
def test_over_many_logs_and_looks_they_miss_in_at_most_5_percent(kind: Kind, drift: float) -> None:
    logs = adaptive_logs(1000, 1000, seed=5, drift=drift)
    looks = [*range(5, 50, 5), *range(50, 1001, 50)]
    assert ever_misses(logs, kind(), looks, drift) <= at_most(1000, 0.05)


@pytest.mark.parametrize("sequence", [RunningMean(), Betting()])
def test_propensities_that_cannot_be_true_make_it_void(sequence):
    """Whatever was chosen had a chance of 0.05, and is what the candidate always chooses."""
    log = Batch.of([1.0, 0.0] * 500, [0.05] * 1000, [1.0] * 1000)
    interval = sequence.add(log).interval()
    assert interval.void
    assert (interval.low, interval.high) == (0.0, 1.0)
    assert not sequence.interval().void
