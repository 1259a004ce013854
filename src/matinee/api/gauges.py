"""What `/metrics` says of the service as a whole, looked up when it is asked."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from matinee.service.leases import Leases
from matinee.service.outcomes import Unmatched
from matinee.service.runtime import Runtime


class ServiceGauges(Collector):
    """Rows that wait to be sealed, the age of every job's last success, members, champions."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._leases = Leases(runtime.service.store)
        self._unmatched = Unmatched(runtime.service.store)

    def describe(self) -> list[GaugeMetricFamily]:
        """Nothing: registering must not open the tables."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield self._unsealed()
        yield from self._jobs()
        yield GaugeMetricFamily(
            "matinee_members", "Members with a history", value=len(self._runtime.members)
        )
        yield GaugeMetricFamily(
            "matinee_unmatched_events",
            "Events that name a decision which their member never got; they are never credited",
            value=self._unmatched.count(),
        )
        champions = GaugeMetricFamily(
            "matinee_champion", "1 for the version that decides", labels=["surface", "version"]
        )
        for surface, version in self._runtime.champions().items():
            champions.add_metric([surface, version], 1)
        yield champions

    def _unsealed(self) -> GaugeMetricFamily:
        family = GaugeMetricFamily(
            "matinee_unsealed_rows", "Rows in the inbox that no file holds yet", labels=["table"]
        )
        for name, table in self._runtime.service.lake.tables.items():
            family.add_metric([name], table.waiting())
        return family

    def _jobs(self) -> Iterator[GaugeMetricFamily]:
        lag = GaugeMetricFamily(
            "matinee_job_lag_seconds", "Seconds since the job last succeeded", labels=["job"]
        )
        failures = GaugeMetricFamily(
            "matinee_job_failures", "Failed runs since the job last succeeded", labels=["job"]
        )
        now = datetime.now(UTC)
        for status in self._leases.statuses():
            failures.add_metric([status.name], status.failures)
            if status.succeeded_at is not None:
                lag.add_metric([status.name], (now - status.succeeded_at).total_seconds())
        yield lag
        yield failures
