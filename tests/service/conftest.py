"""The small trained service after its champion has decided."""

import shutil
from datetime import timedelta

import numpy as np
import pytest
from notes import Notes

from matinee.lake.records import Event
from matinee.policies import PlackettLuce
from matinee.service.folder import Service
from matinee.service.outcomes import close_windows
from matinee.surfaces import SURFACES
from visits import SHORT_WINDOW, VISITED, append, decide

PLAYED = VISITED + timedelta(minutes=5)
POLICIES = (
    PlackettLuce(temperature=0.1, epsilon=0.05, segment=100),
    PlackettLuce(temperature=0.3, epsilon=0.3, segment=100),
)
"""titles@3 keeps closer to the best than the champion, titles@4 explores more; all one model."""


def visited(folder, visits, slots):
    """The service in `folder` after every member came back `visits` times.

    What its model likes best is played nine times out of ten, everything else once in fifty.
    """
    (folder / "matinee.toml").write_text(SHORT_WINDOW)
    (folder / "salt").write_bytes(bytes(32))  # the same draws in each run
    service = Service.open(folder)
    model, _ = service.registry.load("titles@2")
    earlier = {"data_as_of": VISITED - timedelta(hours=1), "settings": {}, "metrics": {}}
    decisions, sets = decide(service, "titles@2", visits=visits, slots=slots)
    ids = {one.eligible: one.candidates for one in sets}
    chance = np.random.default_rng(0)
    plays = [
        Event(
            event_id=f"{decision.decision_id}-{position}",
            member_id=decision.member_id,
            kind="play",
            ts=PLAYED,
            title_id=title,
            value=30.0,
            decision_id=decision.decision_id,
            position=position,
        )
        for decision in decisions
        for position, title in enumerate(decision.actions)
        if chance.random() < (0.9 if title == ids[decision.eligible][decision.segment[0]] else 0.02)
    ]
    append(service, "events", plays, PLAYED)
    close_windows(service)
    for policy in POLICIES:
        service.registry.register("titles", model, policy, by="test", **earlier)
    return service


@pytest.fixture
def notes_service(tmp_path):
    """An empty service with the surface `notes`."""
    before = dict(SURFACES)
    SURFACES[Notes.name] = Notes
    Notes.answers.clear()
    with Service.create(tmp_path / "shows", {"lake.buckets": 2}) as made:
        yield made
    SURFACES.clear()
    SURFACES.update(before)


@pytest.fixture(scope="session")
def log_of_slates(made, tmp_path_factory):
    """Four slots for each member, once."""
    folder = tmp_path_factory.mktemp("slates") / "shows"
    shutil.copytree(made, folder)
    with visited(folder, visits=1, slots=4) as service:
        yield service


@pytest.fixture(scope="session")
def log_of_choices(made, tmp_path_factory):
    """One slot for each member, fifteen times."""
    folder = tmp_path_factory.mktemp("choices") / "shows"
    shutil.copytree(made, folder)
    with visited(folder, visits=15, slots=1) as service:
        yield service
