"""Logged slates of one version, weighed for it and for others."""

import shutil
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import polars as pl
import pytest

from matinee.evaluation.off_policy.slate_iips import IndependentIPS
from matinee.lake.records import Eligible, micros
from matinee.lake.rows import Row, frame_of
from matinee.lake.schemas import SCHEMAS
from matinee.policies import PlackettLuce
from matinee.service.folder import Service
from matinee.service.outcomes import close_windows
from matinee.service.runtime import Runtime
from matinee.service.weighing import weigh
from matinee.surfaces import Request

AT = datetime.now(UTC) - timedelta(hours=2)


def append(service, table, records):
    rows = [Row(0, table, micros(AT), msgspec.structs.asdict(record)) for record in records]
    service.lake.append(table, frame_of(rows, SCHEMAS[table]).drop("seq"), source="test")


@pytest.fixture(scope="module")
def service(made, tmp_path_factory):
    """The champion titles@2 (ease) decided four slots for every member, and was played at random;
    titles@3 is the same model with a policy that hardly explores."""
    folder = tmp_path_factory.mktemp("weighing") / "shows"
    shutil.copytree(made, folder)
    (folder / "matinee.toml").write_text('[surfaces.titles]\nwindow = "1h"\n')
    with Service.open(folder) as opened:
        model, policy = opened.registry.load("titles@2")
        opened.registry.register(
            "titles",
            model,
            PlackettLuce(temperature=0.1, epsilon=0.05, segment=policy.segment),
            data_as_of=AT - timedelta(days=1),
            settings={},
            metrics={},
            by="test",
        )
        with Runtime(opened) as runtime:
            decider = runtime.champion("titles")
            members = opened.lake.current("members")["member_id"]
            requests = [
                Request(request_id="r", member_id=member, at=AT, slots=4) for member in members
            ]
            decisions = [decider.propose(runtime.located(request)) for request in requests]
            sets = [one for one in decider.records(decisions) if isinstance(one, Eligible)]
        append(opened, "eligible", sets)
        append(opened, "decisions", decisions)
        close_windows(opened)
        yield opened


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
