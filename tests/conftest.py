"""What tests of several rooms share: a small trained service to copy, and tidying up."""

import shutil
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from matinee.service import training
from matinee.service.folder import Service
from matinee.surfaces import SURFACES
from matinee.world import Settings, World
from notes import Notes
from visits import visited


def fill(service: Service) -> None:
    start = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    world = World(Settings(members=200, titles=120, days=8, start=start - timedelta(days=9)))
    for table, records in (("members", world.members()), ("titles", world.titles())):
        columns = service.lake.tables[table].schema.columns
        rows = [[getattr(record, name) for name in columns] for record in records]
        frame = pl.DataFrame(rows, schema=columns, orient="row")
        known = frame.with_columns(known_at=pl.lit(world.settings.start))
        service.lake.append(table, known, source="world")
    for day in world.days():
        known = day.events.with_columns(known_at="ts")
        service.lake.append("events", known, source="world")
    noon = start - timedelta(hours=12)  # the last film of the log has ended
    trained = training.train(service, ["popularity", "ease"], as_of=noon, by="test")
    service.registry.promote("titles", trained[1].id, "test", "for the tests")


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    """A service folder that is only copied, with the same members in its holdouts in each run."""
    folder = tmp_path_factory.mktemp("made") / "shows"
    with Service.create(folder) as service:
        (folder / "salt").write_bytes(bytes(32))
        fill(service)
    return folder


@pytest.fixture
def overheard(monkeypatch):
    """Listens to a kind of model: a list that fills with what each question's first member gets."""

    def listen(kind: type) -> list:
        believed, believe = [], kind.believe

        def believe_aloud(self, context, candidates=None, **asked):
            belief = believe(self, context, candidates, **asked)
            believed.append(belief.mean[0])
            return belief

        monkeypatch.setattr(kind, "believe", believe_aloud)
        return believed

    return listen


@pytest.fixture(scope="module")
def own_surfaces():
    """What a module's tests add to the surfaces is forgotten afterwards, with where it stood."""
    before = dict(SURFACES)
    yield
    for kind in SURFACES.values():
        if kind not in before.values():
            sys.modules.pop(kind.__module__, None)
    SURFACES.clear()
    SURFACES.update(before)


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
