"""A tiny surface of one slot, a log of it whose chances and rewards are known, and its versions."""

from datetime import UTC, datetime, timedelta
from typing import ClassVar

import numpy as np
import polars as pl

from matinee.decisions import Decider
from matinee.lake.records import Eligible
from matinee.lake.rows import frame_of_records
from matinee.lake.schemas import SCHEMAS
from matinee.models import Dataset, Histories, Popularity, Vocabulary
from matinee.policies import EpsilonGreedy
from matinee.surfaces import Candidates, History, Request, Surface

ACTIONS = ("finale", "none", "season")
WORTH = {"finale": 0.6, "none": 0.2, "season": 0.4}
"""The chance that a note is answered; the champion likes "none" best."""

COUNTRIES = ("NL", "US")

START = datetime.now(UTC).replace(hour=1, minute=0, second=0, microsecond=0) - timedelta(days=4)
TRAINED = START - timedelta(days=1)


class Notes(Surface):
    """Answered or not; `answers` is what the test says of a decision."""

    name = "notes"
    reward_range = (0.0, 1.0)
    window = timedelta(hours=1)
    choices = Candidates.of(ACTIONS)
    answers: ClassVar[dict[str, float]] = {}

    def eligible(self, request):
        return self.choices

    def policies(self):
        return {"explore": EpsilonGreedy(epsilon=0.3)}

    def reward(self, decisions, events):
        slots = pl.int_ranges(pl.col("actions").list.len(), dtype=pl.Int64)
        places = decisions.select("decision_id", position=slots).explode("position")
        rewards = [
            self.answers.get(name, 0.0) * (position == 0) for name, position in places.iter_rows()
        ]
        return places.with_columns(pl.Series("reward", rewards))


class Nobody:
    """Members without a history."""

    def history(self, member_id):
        return History()

    def generation(self, member_id):
        return 0


def version(service, best, policy):
    """A registered version that likes `best` best, then the others by the alphabet."""
    liked = [best, *(action for action in ACTIONS if action != best)]
    seen = [[ACTIONS.index(liked[place])] for place in range(3) for _ in range(30 - 10 * place)]
    model = Popularity(shrinkage=1e-6).fit(Dataset.of(Vocabulary(ACTIONS), Histories.of(seen)))
    made = {"data_as_of": TRAINED, "settings": {}, "metrics": {}, "by": "test"}
    return service.registry.register("notes", model, policy, **made)


def champion(service, policy, best="none"):
    """A version that decides."""
    made = version(service, best, policy)
    service.registry.promote("notes", made.id, "test", "")
    return made


def decided(service, made, count, *, days=1, worth=WORTH, slots=1):
    """What the version `made` decides, evenly over some days, and whether the first is answered."""
    model, policy = service.registry.load(made.id)
    decider = Decider(Notes(), model, policy, version=made.id, histories=Nobody(), salt=bytes(32))
    step, chance = timedelta(days=days) / count, np.random.default_rng(1)
    decisions = []
    for number in range(count):
        member = f"m{number % (count // 4 + 1)}"
        request = Request(
            request_id=str(number),
            member_id=member,
            at=START + number * step,
            country=COUNTRIES[number % 2],
            slots=slots,
        )
        decisions.append(decider.propose(request))
        answered = float(chance.random() < worth[decisions[-1].actions[0]])
        Notes.answers[decisions[-1].decision_id] = answered
    return decisions


def written(service, *decisions):
    """The decisions in the log, known when they were made; returns how many were taken in."""
    append(service, "eligible", [Eligible(eligible=Notes.choices.hash, candidates=list(ACTIONS))])
    return append(service, "decisions", decisions)


def append(service, table, records, known=None):
    when = {"decisions": "at", "outcomes": "closed_at"}.get(table, START)
    frame = frame_of_records(records, SCHEMAS[table], known or when)
    return service.lake.append(table, frame, source="test")
