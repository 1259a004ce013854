"""The jobs that keep a service well: `matinee work`, or beside the server.

One loop runs whatever is due. Each job holds a lease while it runs, so that of several workers one
does it; each is idempotent or keeps a checkpoint, so that a killed run is taken up where its last
whole step ended.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from matinee.service.charging.deciding import Charging
from matinee.service.folder import Service
from matinee.service.leases import Leases
from matinee.service.outcomes import close_windows
from matinee.service.readings import watch

log = logging.getLogger("matinee.work")

TAKEN = "another worker has it"


@dataclass(frozen=True)
class Job:
    """Something to do every so often; `run` says what it did, in a few words or none."""

    name: str
    every: timedelta
    run: Callable[[Service], str]


def jobs(service: Service) -> list[Job]:
    """The jobs of a service, at the intervals of its settings."""
    lake, payments = service.settings.lake, service.settings.payments
    charging = [Job("charge", payments.charge_every.delta, Charging())]
    return [
        *(charging if payments.gateways else ()),
        Job("repair", timedelta(hours=1), repair),
        Job("seal", lake.seal_every.delta, seal),
        Job("outcomes", timedelta(minutes=1), close_windows),
        Job("experiments", service.settings.experiments.read_every.delta, watch),
        Job("compact", lake.compact_every.delta, compact),
        Job("expire", timedelta(hours=1), expire),
    ]


def repair(service: Service) -> str:
    """Rebuild buckets whose files are torn."""
    return "; ".join(
        f"bucket {done.bucket} of {done.table} rebuilt with {done.rows} rows"
        + (f", {done.lost} lost (matinee quarantine)" if done.lost else "")
        for done in service.lake.repair()
    )


def seal(service: Service) -> str:
    """Move the inbox into the tables."""
    moved = {name: rows for name, rows in service.lake.seal().items() if rows}
    return ", ".join(f"{rows} {name}" for name, rows in moved.items())


def compact(service: Service) -> str:
    """Merge small files."""
    saved = service.lake.compact()
    return f"{saved} files fewer" if saved else ""


def expire(service: Service) -> str:
    """Drop what is kept only for repair and older readers, once it is old enough."""
    rows, files = service.lake.expire(service.settings.lake.keep_sealed.delta)
    return f"{rows} inbox rows and {files} old files dropped" if rows or files else ""


class Worker:
    """Runs jobs when they are due until it is told to stop."""

    def __init__(
        self,
        service: Service,
        todo: Sequence[Job] | None = None,
        leases: Leases | None = None,
    ) -> None:
        self._service = service
        self._jobs = list(todo) if todo is not None else jobs(service)
        self._leases = leases or Leases(service.store)
        self._due = dict.fromkeys((job.name for job in self._jobs), 0.0)

    def run_once(self, stop: threading.Event | None = None) -> dict[str, str]:
        """Run every job that is due once, until told to stop; what each did, by name."""
        done = {}
        for job in self._jobs:
            if stop is not None and stop.is_set():
                break
            if self._due[job.name] <= time.monotonic():
                done[job.name] = did = self._run(job)
                seconds = job.every.total_seconds()
                if did == TAKEN:  # its holder may have died
                    seconds = min(seconds, self._leases.seconds)
                self._due[job.name] = time.monotonic() + seconds
        return done

    def run_until(self, stop: threading.Event) -> None:
        """Keep at it until `stop` is set."""
        while not stop.is_set():
            self.run_once(stop)
            stop.wait(max(0.05, min(self._due.values()) - time.monotonic()))

    def _run(self, job: Job) -> str:
        """Run a job if its lease is to be had. No failure ends the worker, a full disk neither."""
        try:
            with self._leases.hold(job.name) as held:
                return self._do(job) if held else TAKEN
        except sqlite3.Error as failure:
            log.error("%s could not be begun or ended: %s", job.name, failure)
            return f"failed: {failure}"

    def _do(self, job: Job) -> str:
        began = time.monotonic()
        try:
            result = job.run(self._service)
        except Exception as failure:
            log.exception("%s failed and will be tried again", job.name)
            self._leases.finished(job.name, result=f"failed: {failure}", failed=True)
            return f"failed: {failure}"
        self._leases.finished(job.name, result=result, failed=False)
        if result:
            log.info("%s: %s (%.1f s)", job.name, result, time.monotonic() - began)
        return result
