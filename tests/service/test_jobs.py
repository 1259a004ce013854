import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from matinee.lake.records import Event
from matinee.service import leases as leases_module
from matinee.service.folder import Service
from matinee.service.jobs import TAKEN, Job, Worker, jobs
from matinee.service.leases import Leases

HOLDER = """
import sys, time
from pathlib import Path
from matinee.service.folder import Service
from matinee.service.leases import Leases
service = Service.open(Path(sys.argv[1]))
with Leases(service.store, seconds=1.0).hold("seal") as held:
    print(held, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def service(tmp_path: Path):
    with Service.create(tmp_path / "shows") as made:
        yield made


@pytest.fixture
def clock(monkeypatch):
    """A clock of microseconds that the test moves."""
    now = [1_800_000_000_000_000]
    monkeypatch.setattr(leases_module, "_now", lambda: now[0])
    return now


def job(run, name="count", every=timedelta(hours=1)):
    return Job(name, every, run)


def test_one_of_two_workers_does_a_job(service):
    began, go = threading.Event(), threading.Event()
    ran = []

    def run(_):
        ran.append(threading.current_thread().name)
        began.set()
        go.wait(30)
        return "done"

    first, second = (Worker(service, [job(run)]) for _ in range(2))
    thread = threading.Thread(target=first.run_once)
    thread.start()
    assert began.wait(30)
    assert second.run_once() == {"count": TAKEN}
    go.set()
    thread.join()
    assert len(ran) == 1


def test_a_job_runs_again_when_it_is_due_and_not_before(service):
    worker = Worker(service, [job(lambda _: "done")])
    assert worker.run_once() == {"count": "done"}
    assert worker.run_once() == {}
    again = Worker(service, [job(lambda _: "done", every=timedelta(0))])
    assert [again.run_once(), again.run_once()] == [{"count": "done"}] * 2


def test_a_lease_ends_when_its_holder_no_longer_renews_it(service, clock):
    mine, other = Leases(service.store, seconds=30), Leases(service.store, seconds=30)
    assert mine._take("seal")  # as a process that is killed now
    assert not other._take("seal")
    clock[0] += 29_000_000
    assert not other._take("seal")
    clock[0] += 2_000_000
    assert other._take("seal")
    mine._release("seal")  # too late to take it from its new holder
    assert not mine._take("seal")


def test_a_clock_that_was_set_back_holds_nobody_up(service, clock):
    mine, other = Leases(service.store), Leases(service.store)
    assert mine._take("seal")
    clock[0] -= 3_600_000_000
    assert other._take("seal")


def test_a_killed_holders_job_is_taken_over(service):
    command = [sys.executable, "-c", HOLDER, str(service.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"True\n"
        leases = Leases(service.store, seconds=1.0)
        assert not leases._take("seal")
        holder.send_signal(signal.SIGKILL)
    taken = threading.Event()
    ticker = threading.Event()
    for _ in range(300):
        if leases._take("seal"):
            taken.set()
            break
        ticker.wait(0.05)
    assert taken.is_set()


def test_a_long_run_renews_its_lease(service):
    def leased_until():
        return service.store.rows("SELECT leased_until FROM jobs")[0]["leased_until"]

    leases, ticker = Leases(service.store, seconds=0.3), threading.Event()
    with leases.hold("seal") as held:
        assert held
        first = leased_until()
        assert any(leased_until() > first or ticker.wait(0.05) for _ in range(600))
    assert leased_until() == 0


def test_a_failed_job_is_told_and_tried_again(service):
    fails = [ValueError("no luck"), sqlite3.OperationalError("database is full")]

    def run(_):
        if fails:
            raise fails.pop(0)
        return "done"

    worker = Worker(service, [job(run, every=timedelta(0)), job(lambda _: "ok", "other")])
    assert worker.run_once() == {"count": "failed: no luck", "other": "ok"}
    assert worker.run_once() == {"count": "failed: database is full"}
    (status, _) = Leases(service.store).statuses()
    assert (status.failures, status.succeeded_at) == (2, None)
    assert worker.run_once() == {"count": "done"}
    (status, _) = Leases(service.store).statuses()
    assert (status.failures, status.result, status.holder) == (0, "done", None)
    assert status.succeeded_at is not None


def test_a_store_that_cannot_be_written_does_not_end_the_worker(service, monkeypatch):
    worker = Worker(service, [job(lambda _: "done", every=timedelta(0))])

    @contextmanager
    def full():
        raise sqlite3.OperationalError("database or disk is full")
        yield

    with monkeypatch.context() as patch:
        patch.setattr(service.store, "transaction", full)
        assert "full" in worker.run_once()["count"]
    assert worker.run_once() == {"count": "done"}


def test_a_worker_stops_between_jobs(service):
    stop = threading.Event()
    ran = []

    def run(_):
        ran.append(1)
        stop.set()
        return ""

    Worker(service, [job(run, "a"), job(run, "b")]).run_until(stop)
    assert ran == [1]


def test_checkpoints_stay(service):
    leases = Leases(service.store)
    assert leases.checkpoint("outcomes") == 0
    leases.advance("outcomes", 7)
    assert Leases(service.store).checkpoint("outcomes") == 7


def test_the_jobs_of_a_service(service):
    at = datetime(2026, 1, 1, tzinfo=UTC)
    service.lake.put([Event(event_id="e", member_id="m", kind="play", title_id="t", ts=at)])
    done = Worker(service).run_once()
    assert list(done) == [one.name for one in jobs(service)]
    assert done["seal"] == "1 events"
    assert service.lake.tables["events"].waiting() == 0
    assert Worker(service).run_once()["seal"] == ""
