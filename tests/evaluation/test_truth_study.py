"""The study of intervals and gate against known values: its logs are what it says, and it holds."""

from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy.stats import binomtest

from matinee.evaluation.intervals import RunningMean

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def logs() -> ModuleType:
    return module("off_policy_truth_logs")


@pytest.fixture(scope="module")
def study() -> ModuleType:
    return module("off_policy_truth")


@pytest.fixture(scope="module")
def gate() -> ModuleType:
    return module("off_policy_truth_gate")


def module(name: str) -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        return import_module(f"benchmarks.{name}")


@pytest.fixture(scope="module")
def truth(logs):
    return logs.from_world()


def too_many(misses: int, runs: int) -> bool:
    return binomtest(misses, runs, 0.05, alternative="greater").pvalue < 0.01


def test_the_table_is_of_chances_and_policies_sum_to_1(truth):
    assert truth.plays.shape == (500, 8)
    assert 0 < truth.plays.min() < truth.plays.max() < 1
    for policy in (truth.champion, truth.personal, truth.uniform):
        np.testing.assert_allclose(policy.sum(axis=1), 1.0)
    assert truth.champion.min() >= 0.3 / 8
    assert truth.value(truth.personal) > 1.2 * truth.value(truth.champion)


def test_a_mixture_is_worth_what_is_asked(truth):
    for target in (truth.value(truth.champion), 1.05 * truth.value(truth.champion)):
        candidate = truth.worth(target, truth.uniform)
        np.testing.assert_allclose(candidate.sum(axis=1), 1.0)
        assert truth.value(candidate) == pytest.approx(target, abs=1e-12)
    with pytest.raises(AssertionError, match="no mixture is worth"):
        truth.worth(0.9, truth.uniform)


def test_loggers_draw_with_the_chances_that_they_log(truth, logs):
    """The mean of 1{a} / p(a) is 1 for each title, within five standard errors."""
    learned = logs.learned(truth, 40, 1000)
    for some in (
        logs.fixed_logs(truth, 1, 40_000),
        learned.logs(1000),
        logs.as_if_fixed(truth, learned).logs(1000),
    ):
        action, chances = (
            np.concatenate(columns)
            for columns in zip(*((log.action, log.chances) for log in some), strict=True)
        )
        np.testing.assert_allclose(chances.sum(axis=1), 1.0)
        for title in range(8):
            apart = np.sum((action == title) / chances[:, title] - 1)
            assert abs(apart) < 5 * np.sqrt(np.sum(1 / chances[:, title] - 1))


def test_the_adaptive_logger_follows_what_has_paid(truth, logs):
    learned = logs.learned(truth, 3, 400)
    for run in range(3):
        paid, shown = np.zeros(8), np.zeros(8)
        for t in range(400):
            assert learned.best[t, run] == np.argmax(paid / np.maximum(shown, 1))
            paid[learned.action[t, run]] += learned.reward[t, run]
            shown[learned.action[t, run]] += 1


def test_the_default_holds_at_every_look_under_an_adaptive_logger(truth, logs):
    value, looks, missed = truth.value(truth.personal), [32, 64, 128, 256, 512, 1024], 0
    for log in logs.learned(truth, 100, looks[-1]).logs(looks[-1]):
        batch, seen, ever = log.batch(truth.personal), RunningMean(), False
        for begin, end in pairwise([0, *looks]):
            seen = seen.add(batch.rows(slice(begin, end)))
            interval = seen.interval()
            ever |= not interval.low <= value <= interval.high
        missed += ever
    assert interval.high - interval.low < 1.0
    assert not too_many(missed, 100)


def test_an_untrue_value_is_missed_from_some_look_on(truth, logs, study):
    """Misses are seen where there are some: the study can fail."""
    sizes, value = np.array([64, 512, 2048]), truth.value(truth.personal)
    spans = study.at_looks(truth, logs.fixed_logs(truth, 15, 2048), sizes)
    for name, missed in study.ever_missed(spans, value + 0.12, sizes).items():
        assert missed[:, -1].all(), name
        assert not (missed[:, :-1] & ~missed[:, 1:]).any()
    true = study.ever_missed(spans, value, sizes)
    assert not too_many(int(true[study.PLAIN][:, -1].sum()), 15)


def test_the_figure_is_the_same_bytes_and_says_its_ends_in_words():
    figure = module("off_policy_truth_figure")
    curve = figure.Curve("normal, IPS", np.array([256, 8192]), np.array([0.05, 0.25]))
    panels = {"fixed": [curve], "adaptive": [curve]}, {"no better": [curve], "5 % better": [curve]}
    svg = figure.draw(*panels)
    assert svg == figure.draw(*panels)
    assert "fixed, normal, IPS: 25.0% at last" in svg
    assert "<script" not in svg
    assert "dc:date" not in svg


@pytest.mark.slow
@pytest.mark.parametrize("logger", ["fixed", "adaptive"])
def test_the_sequences_of_the_study_seldom_ever_miss(truth, logs, study, logger):
    sizes, value = np.geomspace(32, 2048, 10).astype(int), truth.value(truth.personal)
    some = (
        logs.fixed_logs(truth, 200, 2048)
        if logger == "fixed"
        else logs.learned(truth, 200, 2048).logs(2048)
    )
    ever = study.ever_missed(study.at_looks(truth, some, sizes), value, sizes)
    misses = {name: int(missed[:, -1].sum()) for name, missed in ever.items()}
    assert too_many(misses.pop(study.PEEKED), 200)
    assert not [name for name, many in misses.items() if too_many(many, 200)]


@pytest.mark.slow
def test_intervals_of_one_size_cover_what_they_say(truth, logs, study):
    found = study.at_one_size(truth, logs.visited_logs(truth, 200, 800), study.RESAMPLES)
    value = truth.value(truth.personal)
    missed = {name: int(study.missing(each, value).sum()) for name, each in found.items()}
    assert too_many(missed.pop("normal, direct method"), 200)
    assert not [name for name, many in missed.items() if too_many(many, 200)]
    ips, dr = (study.mean_widths(found[f"normal, {name}"]) for name in ("IPS", "DR"))
    assert dr < 0.95 * ips


@pytest.mark.slow
def test_the_gate_passes_who_is_better_and_seldom_who_is_not(truth, gate):
    champion = truth.value(truth.champion)
    equal = gate.gate_runs(truth, truth.worth(champion, truth.uniform), 100, 12)
    assert not too_many(int((equal[:, 0] <= 12).sum()), 100)
    better = gate.gate_runs(truth, truth.worth(1.05 * champion, truth.champion), 30, 12)
    assert np.median(better[:, 0]) <= 12
