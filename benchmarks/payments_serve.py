"""Decisions on payments a second over HTTP, asked at a steady rate, each durable before its answer.

    python -m benchmarks.payments_serve --rate 300

One server process on a service whose payments are simulated, the champion `recovery` learned from
them; one client on the same machine, which asks at the rate whether answers come or not. A request
counts from the moment at which it was to be sent.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from benchmarks.load import Load, answer_of
from benchmarks.payments import LOGGER, MOST, RATES, Through, records
from benchmarks.serve import served, told
from matinee.lake.rows import frame_of_records
from matinee.lake.schemas import SCHEMAS
from matinee.service import training
from matinee.service.folder import Service
from matinee.world.payments import PaymentsWorld
from matinee.world.payments_settings import PaymentsSettings
from matinee.world.recovery import run

CONNECTIONS = 64


def made(folder: Path, members: int) -> list[tuple[str, str]]:
    """A service with a champion, and its open invoices: (member, invoice)."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    start = today - timedelta(days=60)
    world = PaymentsWorld(PaymentsSettings(members=members, days=60, start=start))
    log = run(world, Through(world, None, LOGGER), last=58, most=MOST, default=None)
    now = datetime.now(UTC)
    attempts = [one for one in records(log) if one.at < now]
    rows = {
        "processors": world.processors(),
        "invoices": world.invoices(),
        "instruments": world.instruments(),
        "attempts": attempts,
    }
    with Service.create(folder, {"surfaces.payments.rates": RATES}) as service:
        for table, these in rows.items():
            service.lake.append(table, frame_of_records(these, SCHEMAS[table], start), source="-")
        (version,) = training.train(service, ["recovery"], surface="payments", by="benchmark")
        service.registry.promote("payments", version.id, by="benchmark", reason="")
    paid = {one.invoice_id for one in attempts if one.status == "approved"}
    return [
        (one.member_id, one.invoice_id)
        for one in world.invoices(40, 60)
        if one.invoice_id not in paid and one.grace_until > now
    ]


def paced(port: int, bodies: Sequence[bytes], rate: float) -> Load:
    """POST every body at its own moment, `rate` a second, over connections that are kept."""
    load = Load()

    async def all_of_them() -> None:
        free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        for _ in range(CONNECTIONS):
            free.put_nowait(await asyncio.open_connection("127.0.0.1", port))

        async def one(body: bytes, at: float) -> None:
            reader, writer = await free.get()
            head = "POST /v1/decide/payments HTTP/1.1\r\nhost: 127.0.0.1\r\n"
            writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
            status, answer, _ = await answer_of(reader)
            load.seconds.append(time.perf_counter() - at)
            load.statuses[status] += 1
            load.bodies.append(answer)
            free.put_nowait((reader, writer))

        began, tasks = time.perf_counter() + 0.1, []
        for number, body in enumerate(bodies):
            at = began + number / rate
            await asyncio.sleep(max(0.0, at - time.perf_counter()))
            tasks.append(asyncio.create_task(one(body, at)))
        await asyncio.gather(*tasks)
        load.wall = time.perf_counter() - began

    asyncio.run(all_of_them())
    return load


def asked(open_: Sequence[tuple[str, str]], step: str, count: int, seed: int) -> list[bytes]:
    """Requests about invoices drawn evenly."""
    rng = np.random.default_rng(seed)
    bodies = []
    for number in range(count):
        member, invoice = open_[int(rng.integers(len(open_)))]
        body = {
            "request_id": f"{seed}-{step}-{number}",
            "member_id": member,
            "subject": invoice,
            "features": {"step": step},
        }
        bodies.append(json.dumps(body).encode())
    return bodies


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=300.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--members", type=int, default=2_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "shows"
        open_ = made(folder, given.members)
        print(f"{len(open_):,} open invoices")
        gc.collect()
        gc.freeze()  # or the client stands still, now and then, over all that was simulated
        with served(folder) as port:
            count = int(given.rate * given.seconds)
            paced(port, asked(open_, "route", 200, 0), 50.0)  # so that all is loaded
            for step in ("route", "when"):
                load = paced(port, asked(open_, step, count, 1), given.rate)
                told(f"{step} at {given.rate:g}/s", load)
                by = Counter(json.loads(body).get("policy") for body in load.bodies)
                print("  ", dict(by))


if __name__ == "__main__":
    main()
