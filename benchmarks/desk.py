"""How long each page of the desk takes, on the service of the demonstration.

    python -m benchmarks.desk --service demo-service

Without a service one is made, as `matinee demo` makes it. One server process and its worker; each
page is asked for until what it needs has been read from the log, and then twenty times. The first
is what somebody waits who comes to a server as soon as it answers; a page that is still being read
by then says so after two seconds, and looks again.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import httpx
import numpy as np
import rich
from rich.table import Table

from benchmarks.serve import served
from matinee.demo import simulated
from matinee.desk.pages import views
from matinee.service.folder import Service
from matinee.service.runtime import Runtime

BAR, TIMES = 0.2, 20
"""Seconds that a page may take, and how often each is asked for."""


def asked(service: Service) -> dict[str, str]:
    """Every page, with the query that it needs: what was there last."""
    member = service.lake.scan("decisions").select("member_id").head(1).collect().item()
    decisions = service.lake.scan("decisions").filter(member_id=member)
    decision = decisions.select("decision_id").head(1).collect().item()
    title = service.lake.current("titles")["title_id"][0]
    trials = service.trials.all()
    queries = {
        "/desk/surface": "name=titles",
        "/desk/member": f"id={quote(member)}",
        "/desk/experiment": f"name={quote(trials[-1].name)}" if trials else "",
        "/desk/title": f"id={quote(title)}",
        "/desk/decision": f"id={quote(decision)}",
        "/desk/table": "name=events",
    }
    with Runtime(service) as runtime:
        return {view.path: queries.get(view.path, "") for view in views(runtime)}


def seconds(client: httpx.Client, path: str) -> float:
    """How long one answer takes."""
    began = time.perf_counter()
    client.get(path).raise_for_status()
    return time.perf_counter() - began


def measured(client: httpx.Client, path: str) -> tuple[float, list[float]]:
    """The first answer, and those once all is read."""
    first = seconds(client, path)
    while 'http-equiv="refresh"' in client.get(path).text:
        time.sleep(1)
    return first, [seconds(client, path) for _ in range(TIMES)]


@contextmanager
def lived(folder: Path | None) -> Iterator[Path]:
    """The folder of a service, or of one that is made for this."""
    if folder is not None:
        yield folder
        return
    with tempfile.TemporaryDirectory() as made:
        simulated(Path(made) / "service").close()
        yield Path(made) / "service"


def main() -> int:
    """1 where a page misses the bar."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--service", type=Path, help="a service folder")
    table = Table("page", "first, ms", "median, ms", "90 %, ms", "slowest, ms", "JSON, ms")
    missed = False
    with lived(parser.parse_args().service) as folder:
        with Service.open(folder) as service:
            paths = asked(service)
        with served(folder) as port, httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            client.timeout = httpx.Timeout(60)
            seconds(client, "/healthz")
            for path, query in paths.items():
                first, times = measured(client, f"{path}?{query}")
                told = [seconds(client, f"/v1{path}?{query}") for _ in range(TIMES)]
                row = (first, *np.quantile(times, [0.5, 0.9, 1.0]), float(np.median(told)))
                table.add_row(path, *(f"{1_000 * one:.0f}" for one in row))
                missed |= float(np.quantile(times, 0.9)) > BAR
    rich.print(table)
    rich.print(f"nine of ten answers of each page within {BAR} s: {'missed' if missed else 'met'}")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
