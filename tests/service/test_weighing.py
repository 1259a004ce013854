"""Logged slates of one version, weighed for it and for others."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from service_rows import VISITED as AT

from matinee.evaluation.off_policy.slate_iips import IndependentIPS
from matinee.service.outcomes import close_windows
from matinee.service.weighing import weigh


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
    assert evidence.waiting == evidence.unlike == evidence.foreign == 0


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
