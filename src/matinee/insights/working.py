"""How the jobs of a service do: when they ran, what they did, and by how much they lag."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from matinee.insights.ahead import chores
from matinee.insights.freshness import ALLOWED, PATIENT
from matinee.insights.refused import TOLD, cut
from matinee.service.folder import Service
from matinee.service.leases import JobStatus, Leases


@dataclass(frozen=True)
class Work:
    """A job of `matinee work`, its last run and the seconds by which it lags: since it succeeded,
    less the seconds between runs (`every`); `None` where it never did or is no job of now.
    """

    name: str
    every: float | None
    running: bool = False
    started_at: datetime | None = None
    finished_at: datetime | None = None
    succeeded_at: datetime | None = None
    lag: float | None = None
    late: bool = False
    failures: int = 0
    result: str = ""


def working(service: Service, at: datetime) -> Iterator[Work]:
    """The jobs of now, then those that ran once, as of a time."""
    ran = {status.name: status for status in Leases(service.store).statuses()}
    for job in chores(service):
        every = job.every.total_seconds()
        one = ran.pop(job.name, None)
        yield Work(job.name, every) if one is None else _ran(one, every, at)
    for one in ran.values():
        yield _ran(one, None, at)


def _ran(one: JobStatus, every: float | None, at: datetime) -> Work:
    lag = None
    if every is not None and one.succeeded_at is not None:
        lag = max((at - one.succeeded_at).total_seconds() - every, 0.0)
    return Work(
        one.name,
        every,
        one.holder is not None,
        one.started_at,
        one.finished_at,
        one.succeeded_at,
        lag,
        bool(lag and every and lag > (PATIENT - 1) * every + ALLOWED.total_seconds()),
        one.failures,
        cut(one.result, TOLD),
    )
