"""What the desk shows is read ahead, and kept for every process."""

import shutil
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import isnan, nan

import msgspec
import pytest
from msgspec.structs import replace

from matinee.errors import MatineeError
from matinee.insights import ahead
from matinee.insights.ahead import ALL, BROUGHT, TODAY, Ahead, chores, look_ahead
from matinee.insights.today import today
from matinee.insights.working import working
from matinee.lake.records import Event
from matinee.service.duration import Duration
from matinee.service.folder import Service
from matinee.service.jobs import Worker
from matinee.service.leases import Leases
from waiting import eventually


@pytest.fixture
def service(made, tmp_path):
    with Service.open(shutil.copytree(made, tmp_path / "shows")) as service:
        yield service


@dataclass(frozen=True)
class Told:
    words: tuple[str, ...]
    share: float


def told(service: Service) -> Told:
    return Told(("a", "b"), nan)


def test_what_was_read_stands_for_other_processes(service):
    before = datetime.now(UTC)
    Ahead("told", Told, told).put(service)
    with Service.open(service.folder) as another:
        taken = Ahead("told", Told, told).taken(another)
    assert taken.found.words == ("a", "b")
    assert isnan(taken.found.share)
    assert before <= taken.at <= datetime.now(UTC)


def test_what_is_asked_for_is_later_than_what_is_known(service):
    one = Ahead("told", Told, told)
    assert one.taken(service) is None
    one.put(service)
    at = one.taken(service).at
    assert one.taken(service, at - timedelta(seconds=1)).at == at
    assert one.taken(service, at) is None


def test_the_stamp_is_of_before_it_was_read(service):
    seen = [0]

    def read(_: Service) -> int:
        seen[0] += 1  # a change, while the log is read
        return 7

    one = Ahead("told", int, read, lambda _: (seen[0],))
    one.put(service)
    assert one.taken(service).stamp == (0,)


def test_where_there_is_nothing_to_say_nothing_stands(service):
    def refuse(_: Service) -> Told:
        raise MatineeError("nothing is known yet", next_step="wait")

    Ahead("told", Told, told).put(service)
    Ahead("told", Told, refuse).put(service)
    assert Ahead("told", Told, told).taken(service) is None


def test_what_another_state_of_the_code_has_written_is_left_alone(service):
    Ahead("told", Told, told).put(service)
    assert Ahead("told", int, lambda _: 3).taken(service) is None


def test_every_page_reads_again_what_was_written(service):
    look_ahead(service)
    missing = {one.name for one in ALL if one.taken(service) is None}
    assert missing == {BROUGHT.name}  # no picture was ever chosen here


def test_what_cannot_be_read_does_not_keep_the_rest_from_it(service, monkeypatch):
    def torn(_: Service) -> Told:
        raise ValueError("torn")

    monkeypatch.setattr(ahead, "ALL", (Ahead("torn", Told, torn), *ALL))
    with pytest.raises(ValueError, match="torn"):
        look_ahead(service)
    assert TODAY.taken(service)


def test_today_is_as_it_was_read(service):
    TODAY.put(service)
    taken = TODAY.taken(service)
    anew = today(service, taken.found.at)
    assert msgspec.json.encode(taken.found) == msgspec.json.encode(anew)
    assert taken.stamp == TODAY.stamp(service)


def test_a_change_of_versions_puts_it_out_of_date(service):
    TODAY.put(service)
    service.registry.challenge("titles", "titles@1", by="t", reason="r")
    assert TODAY.taken(service).stamp != TODAY.stamp(service)


def test_the_other_jobs_do_not_wait_for_it(service, monkeypatch):
    stop, reads, ready = threading.Event(), threading.Event(), threading.Event()

    def read(_: Service) -> str:
        reads.set()
        ready.wait(60)
        return ""

    monkeypatch.setattr(ahead, "look_ahead", read)
    often = replace(
        service.settings, lake=replace(service.settings.lake, seal_every=Duration("1s"))
    )
    monkeypatch.setitem(service.__dict__, "settings", often)
    thread = threading.Thread(target=ahead.work_until, args=(service, stop))
    thread.start()
    try:
        assert reads.wait(60)
        now = datetime.now(UTC)
        service.lake.put([Event(event_id="e", member_id="m", kind="click", title_id="t", ts=now)])
        assert eventually(lambda: "1 events" in {one.result for one in statuses(service)})
    finally:
        stop.set()
        ready.set()
        thread.join(60)
    assert not thread.is_alive()


def statuses(service):
    return Leases(service.store).statuses()


def test_the_worker_does_it_after_all_that_it_tells_of(service):
    done = Worker(service, chores(service)).run_once()
    assert list(done)[-1] == "desk"
    assert not [did for did in done.values() if did.startswith("failed")]
    assert TODAY.taken(service)
    (desk,) = (one for one in working(service, datetime.now(UTC)) if one.name == "desk")
    assert desk.every == 300.0
    assert desk.succeeded_at
