"""The public conformance suite on the surfaces that ship, and on ones that break it."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from matinee.lake.records import Event, Title
from matinee.policies import EpsilonGreedy
from matinee.surfaces import Candidates, DailyCap, Only, Surface, Titles
from matinee.testing import SurfaceConformance


class TestTitles(SurfaceConformance):
    def make(self):
        return Titles([Title(title_id=name, name=name.title()) for name in ("alien", "heat")])

    def succeed(self, decision):
        return [
            Event(
                event_id=f"{decision.decision_id}-play",
                member_id=decision.member_id,
                kind="play",
                ts=decision.at,
                title_id=decision.actions[0],
                value=30.0,
                decision_id=decision.decision_id,
                position=0,
            )
        ]


class Banner(Surface):
    name = "banner"
    reward_range = (0.0, 1.0)
    window = timedelta(hours=1)
    choices = Candidates.of(["blue", "red"])

    def eligible(self, request):
        return self.choices

    def policies(self):
        return {"explore": EpsilonGreedy(epsilon=0.5)}

    def reward(self, decisions, events):
        clicked = pl.col("decision_id").is_in(events["decision_id"].implode())
        return decisions.select("decision_id", position=0, reward=clicked.cast(pl.Float64))


class CountsEveryReport(Banner):
    reward_range = (0.0, 9.0)

    def reward(self, decisions, events):
        clicks = events.group_by("decision_id").agg(reward=pl.len().cast(pl.Float64))
        rows = decisions.select("decision_id", position=0).join(clicks, "decision_id", how="left")
        return rows.with_columns(pl.col("reward").fill_null(0.0))


class ForgetsFailures(Banner):
    def reward(self, decisions, events):
        return super().reward(decisions, events).filter(pl.col("reward") > 0)


class PaysTooMuch(Banner):
    def reward(self, decisions, events):
        return super().reward(decisions, events).with_columns(pl.col("reward") * 2)


class PaysEveryone(Banner):
    def reward(self, decisions, events):
        return decisions.select("decision_id", position=0, reward=float(events.height > 0))


class MakesItsSetAnew(Banner):
    def eligible(self, request):
        return Candidates.of(["blue", "red"])


class LooksAtTheMember(Banner):
    def eligible(self, request):
        return self.choices if request.member_id == "ann" else Candidates.of(["red"])


class HasNoPolicy(Banner):
    def policies(self):
        return {}


class CapsWithoutAMemory(Banner):
    def masks(self, situation):
        return (DailyCap(1),)


class HasAMaskOfOneAnswer(Banner):
    def masks(self, situation):
        mask = Only(frozenset(["red"]), "only red")
        mask.allowed = lambda *_: np.ones(1, bool)
        return (mask,)


class WantsNoSlots(Banner):
    slots = 0


def suite(kind):
    class Suite(SurfaceConformance):
        def make(self):
            return kind()

        def succeed(self, decision):
            return [
                Event(
                    event_id=decision.decision_id,
                    member_id=decision.member_id,
                    kind="click",
                    ts=decision.at,
                    decision_id=decision.decision_id,
                )
            ]

    return Suite()


def checks_of(kind):
    found = suite(kind)
    return [getattr(found, name) for name in dir(found) if name.startswith("test_")]


def test_a_sound_surface_passes():
    for check in checks_of(Banner):
        check()


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (CountsEveryReport, "counts more than once"),
        (ForgetsFailures, "one row"),
        (PaysTooMuch, "outside reward_range"),
        (PaysEveryone, "changed the reward of another"),
        (MakesItsSetAnew, "made the same set again"),
        (LooksAtTheMember, "looks at the member"),
        (HasNoPolicy, "policies() is empty"),
        (CapsWithoutAMemory, "give banner a memory of as much"),
        (HasAMaskOfOneAnswer, "one answer each"),
        (WantsNoSlots, "slots is 0"),
    ],
)
def test_a_broken_surface_fails_the_test_that_names_it(broken, says):
    said = []
    for check in checks_of(broken):
        try:
            check()
        except (AssertionError, StopIteration, ValueError) as failure:
            said.append(str(failure))
    assert any(says in line for line in said), said
