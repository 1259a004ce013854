"""A small service on a log and histories in memory."""

import pytest
from remembered import AT, MemoryHistories, MemoryLog

from matinee.decisions import Decider
from matinee.lake.records import Title
from matinee.models import Dataset, Histories, Popularity, Vocabulary
from matinee.policies import PlackettLuce
from matinee.surfaces import Request, Titles


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
