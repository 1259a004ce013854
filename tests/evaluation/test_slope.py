"""SLOPE: the least variable estimator that still agrees with the more variable ones."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t

from matinee.evaluation.off_policy.base import ActionEstimator
from matinee.evaluation.off_policy.batch import Batch
from matinee.evaluation.off_policy.direct import DirectMethod
from matinee.evaluation.off_policy.dr import DR
from matinee.evaluation.off_policy.dros import DRos
from matinee.evaluation.off_policy.ips import IPS
from matinee.evaluation.off_policy.slope import Slope
from matinee.evaluation.off_policy.snips import SNIPS
from matinee.evaluation.off_policy.switch_dr import SwitchDR

GRIDS = {
    "ips": tuple(IPS(clip) for clip in (np.inf, 30.0, 10.0, 3.0, 1.0)),
    "switch": tuple(SwitchDR(threshold) for threshold in (np.inf, 30.0, 10.0, 3.0, 0.0)),
    "dros": tuple(DRos(shrinkage) for shrinkage in (np.inf, 1e4, 100.0, 10.0, 0.0)),
}
every = pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS.keys())


def log(rows: int, seed: int = 0, model: float = 0.0) -> Batch:
    """Heavy weights, and an outcome model that is off by `model`; the candidate's value is 0.5."""
    rng = np.random.default_rng(seed)
    target = np.array([0.02, 0.18, 0.8])
    logging = np.array([0.8, 0.18, 0.02])
    mean = np.array([0.5, 0.5, 0.5])
    action = rng.choice(3, rows, p=logging)
    q = np.broadcast_to(mean + model, (rows, 3))
    return Batch.of_distributions(
        (rng.random(rows) < mean[action]).astype(float),
        action,
        logging[action],
        np.broadcast_to(target, (rows, 3)),
        q=q,
    )


def by_the_paper(terms: list[np.ndarray], delta: float) -> int:
    """The rule, written from its formula for means of i.i.d. terms, with no ties of widths."""
    rows = len(terms[0])
    theta = [float(term.mean()) for term in terms]
    width = [
        float(t.ppf(1 - delta, rows - 1) * term.std(ddof=1) / math.sqrt(rows)) for term in terms
    ]
    order = sorted(range(len(terms)), key=lambda i: -width[i])
    best = order[0]
    for place, i in enumerate(order):
        allowed = [width[i] + (math.sqrt(6) - 1) * width[j] for j in order[:place]]
        gaps = [abs(theta[i] - theta[j]) for j in order[:place]]
        if any(gap > limit for gap, limit in zip(gaps, allowed, strict=True)):
            return best
        best = i
    return best


@every
@given(
    seed=st.integers(0, 10_000),
    rows=st.integers(30, 400),
    model=st.sampled_from([0.0, 0.1, 0.5, 3.0]),
    delta=st.sampled_from([0.01, 0.1, 0.4]),
)
@settings(max_examples=25, deadline=None)
def test_chooses_by_the_formula(
    grid: tuple[IPS, ...], seed: int, rows: int, model: float, delta: float
) -> None:
    batch = log(rows, seed, model)
    want = by_the_paper([estimator.terms(batch)[:, 0] for estimator in grid], delta)
    got = Slope(grid, delta).add(batch).result()
    assert got.value == pytest.approx(grid[want].add(batch).result().value, rel=1e-12)


class TestByHand:
    """Means 0, with width 1 at t = 1, and others beside it."""

    @staticmethod
    def chosen(gap: float) -> object:
        unit = t.ppf(0.9, 1)
        wide = Batch.of(np.array([-1.0, 1.0]) / unit, [1.0, 1.0], [1.0, 1.0], expected=[gap, gap])
        return Slope((IPS(), DirectMethod())).add(wide).chosen

    def test_agrees_to_within_the_constant(self) -> None:
        limit = math.sqrt(6) - 1  # the direct method is constant here: its own width is 0
        assert self.chosen(0.999 * limit) == DirectMethod()
        assert self.chosen(1.001 * limit) == IPS()
        assert self.chosen(-1.001 * limit) == IPS()

    def test_stops_at_the_first_that_disagrees(self) -> None:
        """IPS at 0 +- 1, clipped DR at 2 +- 0.5 and DM at 1.44 +- 0, which agrees with both."""
        batch = Batch.of(
            np.array([-1.0, 1.0]) / t.ppf(0.9, 1),
            [1.0, 1.0],
            [1.0, 1.0],
            predicted=[-1.12, -1.12],
            expected=[1.44, 1.44],
        )
        between = DR(clip=0.5)
        assert between.add(batch).result().value == pytest.approx(2.0)
        assert Slope((IPS(), DirectMethod())).add(batch).chosen == DirectMethod()
        assert Slope((between, DirectMethod())).add(batch).chosen == DirectMethod()
        assert Slope((IPS(), between, DirectMethod())).add(batch).chosen == IPS()


class TestBehaviour:
    @pytest.mark.parametrize("name", ["dros", "switch"])
    def test_takes_the_direct_method_where_the_model_is_right(self, name: str) -> None:
        grid = GRIDS[name]
        chosen = [grid.index(Slope(grid).add(log(300, seed)).chosen) for seed in range(100)]
        assert chosen.count(len(grid) - 1) >= 80

    def test_leaves_it_where_the_model_is_far_off(self) -> None:
        slope = Slope(GRIDS["dros"]).add(log(20_000, model=5.0))
        assert slope.chosen in {DRos(np.inf), DRos(1e4)}
        assert slope.result().value == pytest.approx(0.5, abs=1.0)

    def test_more_data_moves_the_choice_to_less_bias(self) -> None:
        grid = GRIDS["dros"]
        few, many = (Slope(grid).add(log(rows, 1, model=1.0)).chosen for rows in (20, 20_000))
        assert grid.index(many) < grid.index(few)

    @pytest.mark.parametrize("model", [0.05, 1.0, 3.0])
    def test_its_squared_error_is_near_that_of_the_best_and_far_from_the_worst(
        self, model: float
    ) -> None:
        grid = GRIDS["dros"]
        logs = [log(300, seed, model) for seed in range(150)]

        def loss(estimator: ActionEstimator | Slope[Batch]) -> float:
            return float(np.mean([(estimator.add(b).result().value - 0.5) ** 2 for b in logs]))

        each = [loss(estimator) for estimator in grid]
        assert loss(Slope(grid)) <= 4 * min(each)
        assert loss(Slope(grid)) <= max(each) / 2

    @every
    def test_the_order_of_the_grid_does_not_matter(self, grid: tuple[IPS, ...]) -> None:
        batch = log(200, model=0.5)
        values = {
            round(Slope(turned).add(batch).result().value, 12)
            for turned in itertools.permutations(grid[:4])
        }
        assert len(values) == 1

    @every
    def test_a_grid_of_one_is_that_one(self, grid: tuple[IPS, ...]) -> None:
        batch = log(50)
        assert Slope(grid[:1]).add(batch).result() == grid[0].add(batch).result()

    def test_copies_of_a_decision_do_not_sharpen_the_choice_when_they_are_one_cluster(self) -> None:
        grid, moved = GRIDS["dros"], 0
        for seed in range(20):
            once = log(60, seed, model=1.0)
            copied = once.rows(np.repeat(np.arange(60), 50))
            apart = replace(copied, cluster=np.arange(len(copied)))
            choice = Slope(grid).add(once).chosen
            assert Slope(grid).add(copied).chosen == choice
            moved += grid.index(Slope(grid).add(apart).chosen) < grid.index(choice)
        assert moved >= 5


class TestMonoid:
    @every
    @given(seed=st.integers(0, 10_000), cut=st.integers(0, 120))
    @settings(max_examples=15, deadline=None)
    def test_shards_are_the_whole(self, grid: tuple[IPS, ...], seed: int, cut: int) -> None:
        batch = log(120, seed, model=0.5)
        left = Slope(grid).add(batch.rows(slice(0, cut)))
        right = Slope(grid).add(batch.rows(slice(cut, None)))
        once = Slope(grid).add(batch).result()
        for merged in (left + right, right + left, left.add(batch.rows(slice(cut, None)))):
            assert merged.result().value == pytest.approx(once.value, rel=1e-12)
            assert merged.result().error == pytest.approx(once.error, rel=1e-11)

    def test_other_grids_or_widths_do_not_add_up(self) -> None:
        for other in (Slope((IPS(),), 0.2), Slope((SNIPS(),))):
            with pytest.raises(ValueError, match="not the same"):
                Slope((IPS(),)) + other

    def test_adding_leaves_what_it_added_to_as_it_was(self) -> None:
        slope = Slope(GRIDS["ips"])
        slope.add(log(10))
        assert slope.result().decisions == 0


class TestHardCases:
    def test_while_there_are_no_widths_the_first_stands(self) -> None:
        assert Slope(GRIDS["dros"]).chosen == DRos(np.inf)
        one = Slope(GRIDS["dros"]).add(log(1))
        assert one.chosen == DRos(np.inf)
        assert math.isnan(one.result().error)
        assert math.isnan(Slope(GRIDS["dros"]).result().value)

    def test_one_without_a_value_is_not_passed_over_in_silence(self) -> None:
        """SNIPS has no number here, and IPS's 0 would mislead."""
        batch = Batch.of([1.0, 2.0], [0.5, 0.5], [0.0, 0.0])
        assert math.isnan(Slope((IPS(), SNIPS())).add(batch).result().value)

    def test_constant_rewards_known_to_the_model(self) -> None:
        ones = np.ones(9)
        batch = Batch.of(ones, ones / 4, ones / 2, predicted=ones, expected=ones)
        result = Slope(GRIDS["dros"]).add(batch).result()
        assert (result.value, result.error) == (1.0, 0.0)

    def test_a_weight_of_a_trillion_does_not_carry_the_choice(self) -> None:
        plain = log(500)
        p = plain.propensity.copy()
        p[0] = 1e-12
        heavy = Batch.of(
            plain.reward, p, plain.target, predicted=plain.predicted, expected=plain.expected
        )
        assert Slope(GRIDS["dros"]).add(heavy).result().value == pytest.approx(0.5)

    @pytest.mark.parametrize("delta", [0.0, 0.5, -1.0, math.nan])
    def test_a_delta_out_of_range_is_refused(self, delta: float) -> None:
        with pytest.raises(ValueError, match="delta"):
            Slope((DR(),), delta)

    def test_an_empty_grid_is_refused(self) -> None:
        with pytest.raises(ValueError, match="grid is empty"):
            Slope(())
