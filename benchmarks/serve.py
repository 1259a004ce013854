"""Decisions per second over HTTP, each durable before it is answered, on MovieLens-1M.

    MATINEE_DATA=... python -m benchmarks.serve

One server on a service folder made from ml-1m (the co-visitation champion of `matinee demo
--movielens`), `matinee work` beside it, one client process on the same machine. Then: are all
acknowledged decisions in the lake, once each; and what does an overload get.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from benchmarks.load import Load, decide_bodies, drive
from matinee.demo import movielens
from matinee.service.folder import Service


@contextmanager
def served(folder: Path) -> Iterator[int]:
    """`matinee serve` on any free port, until the block ends."""
    command = [sys.executable, "-m", "matinee", "serve", "--service", str(folder), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.search(r"http://[^:]+:(\d+)", line)
        assert found, line
        try:
            yield int(found[1])
        finally:
            process.terminate()
            process.communicate()


def told(name: str, load: Load) -> None:
    statuses = ", ".join(f"{count} x {status}" for status, count in sorted(load.statuses.items()))
    print(
        f"{name:34} {load.rate:8.0f}/s   p50 {load.quantile(0.5):6.2f} ms"
        f"   p99 {load.quantile(0.99):6.2f} ms   max {load.quantile(1):6.1f} ms   {statuses}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="a service folder to use, kept")
    parser.add_argument("--count", type=int, default=20_000, help="requests in each load")
    arguments = parser.parse_args()
    data = Path(os.environ["MATINEE_DATA"]) / "ml-1m"
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary) / "ml-1m"
        service = movielens(folder, data) if not folder.exists() else Service.open(folder)
        members = service.lake.current("members")["member_id"].to_list()
        service.close()
        print(f"{len(members)} members, {os.cpu_count()} cores, one server process and its worker")
        acknowledged: list[str] = []
        with served(folder) as port:
            drive(port, "/v1/decide/titles", decide_bodies(members, 3_000, seed=0), 16)
            for connections in (8, 16, 32):
                bodies = decide_bodies(members, arguments.count, seed=connections)
                load = drive(port, "/v1/decide/titles", bodies, connections, keep=True)
                told(f"decide, {connections} connections", load)
                acknowledged += [json.loads(body)["decision_id"] for body in load.bodies]
            overload = drive(port, "/v1/decide/titles", decide_bodies(members, 20_000, 99), 600)
            told("decide, 600 connections", overload)
        with Service.open(folder) as service:
            logged = service.lake.scan("decisions").select("decision_id").collect()["decision_id"]
        once = logged.value_counts().filter(pl.col("count") == 1)["decision_id"]
        kept = len(set(acknowledged) & set(once))
        print(f"acknowledged decisions in the lake exactly once: {kept} of {len(acknowledged)}")


if __name__ == "__main__":
    main()
