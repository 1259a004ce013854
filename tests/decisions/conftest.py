"""A log and histories in memory, and a small service on them."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from matinee.decisions import Decider
from matinee.lake.inbox import Receipt
from matinee.lake.records import Decision, Title
from matinee.models import Dataset, Histories, Popularity, Vocabulary
from matinee.policies import PlackettLuce
from matinee.surfaces import History, Request, Titles

AT = datetime(2026, 3, 1, 20, tzinfo=UTC)


class MemoryLog:
    """Keeps the first record of each key, as the lake does."""

    def __init__(self):
        self.rows = {}
        self.puts = []

    def put(self, records):
        self.puts.append(list(records))
        return [self._put(record) for record in records]

    def _put(self, record):
        decision = isinstance(record, Decision)
        key = (record.member_id, record.decision_id) if decision else record.eligible
        duplicate = key in self.rows
        stands = self.rows.setdefault(key, record)
        return Receipt(list(self.rows).index(key), duplicate, stands)

    def decisions(self):
        return [record for record in self.rows.values() if isinstance(record, Decision)]


@dataclass
class MemoryHistories:
    """Histories in a dictionary; an unknown member has none."""

    members: dict = field(default_factory=dict)

    def history(self, member_id):
        return self.members.get(member_id, History())

    def generation(self, member_id):
        return self.history(member_id).generation

    def watch(self, member_id, *titles):
        old = self.history(member_id)
        seen = (*old.titles, *titles)
        self.members[member_id] = History(seen, tuple(range(len(seen))), old.generation + 1)


def catalogue(size=40):
    return [
        Title(
            title_id=f"t{number:03d}",
            name=f"Title {number}",
            year=1980 + number,
            genres=["Drama"] if number % 2 else ["Comedy", "Romance"],
        )
        for number in range(size)
    ]


def popularity(ids):
    """Popularity fitted on a log in which earlier titles were watched by more members."""
    watched = [list(range(number)) for number in range(1, len(ids) + 1)]
    return Popularity().fit(Dataset.of(Vocabulary(ids), Histories.of(watched)))


@pytest.fixture
def log():
    return MemoryLog()


@pytest.fixture
def histories():
    return MemoryHistories()


@pytest.fixture
def surface():
    return Titles(catalogue())


@pytest.fixture
def decider(surface, histories):
    return Decider(
        surface,
        popularity(sorted(surface.catalogue)),
        PlackettLuce(temperature=0.5, epsilon=0.1, segment=10),
        version="titles@1",
        histories=histories,
        salt=b"salt",
    )


@pytest.fixture
def request_of():
    def make(request_id="r1", member_id="m1", **more):
        return Request(request_id=request_id, member_id=member_id, **{"at": AT, "slots": 5, **more})

    return make


@pytest.fixture(scope="session")
def histories_of():
    """Makes a source of histories from a dictionary."""
    return MemoryHistories
