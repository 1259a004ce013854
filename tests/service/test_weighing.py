"""Logged slates of one version, weighed for it and for others."""

import gc
from dataclasses import fields
from datetime import timedelta

import msgspec
import numpy as np
import polars as pl
import pytest

from matinee.evaluation.off_policy.slate_iips import IndependentIPS
from matinee.policies import EpsilonGreedy, PlackettLuce
from matinee.service import chances, comparing, logged, weighed, weighing
from matinee.service.chances import Shown
from matinee.service.comparing import OfChoices, OfSlates, compare
from matinee.service.outcomes import close_windows
from matinee.service.weighing import weigh
from service_rows import decision
from visits import VISITED as AT


@pytest.fixture(scope="module")
def service(log_of_slates):
    """The champion titles@2 (ease) decided four slots for every member, and nobody played."""
    return log_of_slates


@pytest.fixture(scope="module")
def evidence(service):
    versions = ["titles@1", "titles@2", "titles@3"]
    return weigh(service, "titles", versions, AT - timedelta(hours=1))


def test_every_closed_decision_is_weighed_once_for_each_version(service, evidence):
    members = service.lake.current("members").height
    assert {len(found.slates) for found in evidence.weighed.values()} == {members}
    assert evidence.waiting == evidence.unwritten == evidence.gaps == 0
    assert evidence.unlike == evidence.foreign == 0


def test_the_version_that_decided_has_ratios_of_one(evidence):
    own = evidence.weighed["titles@2"]
    assert (own.slates.ratio == 1).all()
    assert (own.slates.marginal_ratio == 1).all()
    assert (own.outside == 0).all()


def test_the_same_model_with_another_policy_stays_inside_the_log(evidence):
    assert (evidence.weighed["titles@3"].outside == 0).all()
    assert evidence.weighed["titles@1"].outside.mean() > 0


def test_ratios_average_to_one_where_the_log_covers_the_version(evidence):
    ratio = evidence.weighed["titles@3"].slates.marginal_ratio
    error = ratio.std(axis=0, ddof=1) / np.sqrt(len(ratio))
    assert (np.abs(ratio.mean(axis=0) - 1) < 4 * error + 0.02).all()


def test_the_same_log_gives_the_same_numbers(service, evidence):
    again = weigh(service, "titles", ["titles@3"], AT - timedelta(hours=1)).weighed["titles@3"]
    before = evidence.weighed["titles@3"]
    assert again.slates.marginal_ratio.tolist() == before.slates.marginal_ratio.tolist()
    value, same = (IndependentIPS().add(w.slates).result() for w in (before, again))
    assert value == same


def test_nothing_is_simulated_that_is_known(service, log_of_choices, monkeypatch):
    def refuse(*_):
        raise AssertionError("simulated")

    monkeypatch.setattr(chances, "simulated_marginals", refuse)
    since = AT - timedelta(hours=1)
    weigh(service, "titles", ["titles@2"], since)
    found = weigh(log_of_choices, "titles", ["titles@3"], since, by="titles@2")
    slates = found.weighed["titles@3"].slates
    assert np.allclose(slates.marginal_ratio, slates.ratio, rtol=1e-12)
    with pytest.raises(AssertionError, match="simulated"):
        weigh(service, "titles", ["titles@3"], since)


def test_weights_and_what_is_outside_add_up_to_one_in_one_slot(log_of_choices):
    found = weigh(log_of_choices, "titles", ["titles@1", "titles@2"], AT - timedelta(hours=1))
    weighed = found.weighed["titles@1"]
    whole = weighed.slates.ratio[:, 0] + weighed.outside
    error = np.sqrt(weighed.variance.mean() / len(whole))
    assert abs(whole.mean() - 1) < 4 * error
    assert weighed.outside.mean() > 0.01
    assert weighed.outside.sum() == pytest.approx(sum(weighed.missing.values()))
    assert (weighed.slates.ratio[:, 0] <= weighed.wholes.largest * (1 + 1e-9)).all()
    assert isinstance(compare(weighed, found.weighed["titles@2"], (0.0, 1.0)), OfChoices)


def test_slates_have_values_by_several_estimators(evidence, monkeypatch):
    both = evidence.weighed["titles@3"], evidence.weighed["titles@2"]
    comparison = compare(*both, (0.0, 1.0))
    assert isinstance(comparison, OfSlates)
    shown = comparison.values()
    assert len(shown) == 2  # whole slates are worth too little to be shown
    monkeypatch.setattr(comparing, "WORTH", 0.0)
    values = comparison.values()
    assert next(iter(values)) == "champion, its own mean"
    assert values["champion, its own mean"].value == pytest.approx(comparison.total.mean())
    assert len(values) == 5
    assert all(one.low < one.value < one.high for one in values.values())
    support = comparison.support()
    assert support.decisions == len(comparison)
    assert 1 < support.effective < len(comparison)


@pytest.mark.parametrize(
    ("policy", "slate", "impossible"),
    [
        (PlackettLuce(temperature=0.5), [2, 0, 1], [False, False, False]),
        (PlackettLuce(temperature=0.5, segment=3), [2, 3, 1], [False, True, False]),
        (EpsilonGreedy(epsilon=0.1), [2, 0, 1], [False, False, False]),
        (EpsilonGreedy(epsilon=0.0), [0, 1, 2], [False, False, False]),
        (EpsilonGreedy(epsilon=0.0), [0, 2, 1], [False, True, True]),
        (EpsilonGreedy(epsilon=0.0), [1, 0, 2], [True, True, True]),
        (EpsilonGreedy(epsilon=0.0, segment=3), [0, 3, 1], [False, True, False]),
    ],
)
def test_what_a_logger_could_not_have_shown(policy, slate, impossible):
    preference = policy.prefer(np.array([0.9, 0.6, 0.3, 0.1]))
    record = msgspec.structs.replace(
        decision(actions=("a", "b", "c")),
        segment=preference.segment.tolist(),
        scores=preference.logits.tolist(),
    )
    none = np.zeros(3)
    shown = Shown(record, none, 0, list("abcd"), frozenset(), policy, np.arange(3, dtype=np.int32))
    could, first = shown.could_show(np.array(slate, np.int32))
    assert (~could).tolist() == impossible
    assert first == policy.propensities(preference, np.array(slate[:1], np.int32))[0]


def test_the_variance_of_a_slates_first_weight_is_that_of_the_whole_distribution(evidence):
    """By four draws a decision, beside the weights that were seen."""
    weighed = evidence.weighed["titles@3"]
    ratio = weighed.slates.ratio[:, 0]
    assert weighed.variance.mean() == pytest.approx(ratio.var(), rel=0.5)
    assert (evidence.weighed["titles@2"].variance == 0).all()


def test_a_rare_title_in_a_slot_has_a_chance_and_its_weights_average_to_one():
    """What stands first nearly always is seldom second: 32 draws alone would often say never."""
    logger, candidate = EpsilonGreedy(epsilon=0.1), EpsilonGreedy(epsilon=0.5)
    scores, chance = np.array([0.9, 0.6, 0.3]), np.random.default_rng(0)
    preference, ratios = logger.prefer(scores), []
    for seed in range(800):
        slate = logger.draw(preference, 2, chance)
        record = msgspec.structs.replace(
            decision(actions=[("a", "b", "c")[place] for place in slate.actions]),
            propensities=slate.propensities.tolist(),
            segment=preference.segment.tolist(),
            scores=preference.logits.tolist(),
            seed=seed,
        )
        shown = Shown(record, np.zeros(2), 0, "abc", frozenset(), logger, slate.actions)
        found = chances.chances(shown, candidate, candidate.prefer(scores))
        assert (found.logging[0] > 0).all()
        ratios.append(found.wanted[0] / found.logging[0])
    error = np.std(ratios, axis=0, ddof=1) / np.sqrt(len(ratios))
    assert (np.abs(np.mean(ratios, axis=0) - 1) < 3 * error).all()
    assert (error < 0.1).all()


def same(one, other):
    """Whether two versions' columns are the same, but for how long they took and rounded sums."""
    assert dict(one.missing) == pytest.approx(dict(other.missing))
    pairs = [(one, other), (one.slates, other.slates)]
    if one.wholes is not None:
        pairs.append((one.wholes, other.wholes))
    for first, second in pairs:
        for field in fields(first):
            if field.name not in {"missing", "latency", "slates", "wholes"}:
                mine, theirs = getattr(first, field.name), getattr(second, field.name)
                assert np.array_equal(mine, theirs), field.name


@pytest.mark.parametrize("log", ["log_of_choices", "log_of_slates"])
def test_the_order_of_parts_does_not_matter(log, request, monkeypatch):
    """Neither of buckets nor within them, where a member's decisions may be in two parts."""
    asked = (request.getfixturevalue(log), "titles", ["titles@1", "titles@2"])
    monkeypatch.setattr(logged, "PART", 40)
    before = weigh(*asked, AT - timedelta(hours=1), by="titles@2").weighed
    parts = weighing.logged
    monkeypatch.setattr(weighing, "logged", lambda *found: reversed(list(parts(*found))))
    after = weigh(*asked, AT - timedelta(hours=1), by="titles@2").weighed
    for name, found in before.items():
        same(found, after[name])
    assert len(np.unique(found.slates.cluster)) == 200


def test_decisions_are_let_go_part_by_part(log_of_choices, monkeypatch):
    monkeypatch.setattr(logged, "PART", 40)
    alive = []

    def count(_):
        alive.append(sum(isinstance(one, Shown) for one in gc.get_objects()))

    versions = ["titles@2", "titles@3"]
    found = weigh(log_of_choices, "titles", versions, AT - timedelta(hours=1), advance=count)
    assert len(alive) == log_of_choices.lake.bucket_count
    assert 0 < max(alive) <= 40 < len(found.weighed["titles@3"].at)


def test_the_chances_of_one_slot_are_whole(log_of_choices):
    since = AT - timedelta(hours=1)
    found = weigh(log_of_choices, "titles", ["titles@2", "titles@3"], since).weighed
    for each in found.values():
        wholes, rows = each.wholes, np.arange(len(each.at))
        assert np.allclose(wholes.chance.sum(axis=1), 1)
        assert np.allclose(wholes.chance[rows, wholes.shown], each.slates.target[:, 0])


def test_a_log_too_large_for_them_is_compared_without_predictions(log_of_choices, monkeypatch):
    versions, since = ["titles@3", "titles@2"], AT - timedelta(hours=1)
    whole = compare(*weigh(log_of_choices, "titles", versions, since).weighed.values(), (0.0, 1.0))
    monkeypatch.setattr(weighed, "CELLS", 4_000)
    found = weigh(log_of_choices, "titles", versions, since).weighed
    assert all(one.wholes.chance is None for one in found.values())
    bare = compare(*found.values(), (0.0, 1.0))
    assert whole.predicts
    assert not bare.predicts
    assert not bare.candidate.expected.any()
    assert np.array_equal(bare.weights, whole.weights)
    assert np.array_equal(bare.largest, whole.largest)


def test_decisions_of_a_policy_that_is_not_registered_are_counted_apart(service):
    log = service.lake.scan("decisions").collect()
    stranger = log.head(3).with_columns(
        policy=pl.lit("another"), decision_id="d" + pl.col("decision_id")
    )
    service.lake.append("decisions", stranger.drop("seq"), source="strangers")
    close_windows(service)
    found = weigh(service, "titles", ["titles@2"], AT - timedelta(hours=1))
    assert found.foreign == 3
    assert len(found.weighed["titles@2"].slates) == log.height
