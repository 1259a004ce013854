"""A load of HTTP requests over keep-alive connections, bounded in count, from one process."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Load:
    """What came of a load: seconds of each answered request, and how many had which status."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    bodies: list[bytes] = field(default_factory=list)
    wall: float = 0.0

    @property
    def rate(self) -> float:
        return len(self.seconds) / self.wall

    def quantile(self, q: float) -> float:
        """Milliseconds."""
        return float(np.quantile(self.seconds, q) * 1e3)


def drive(
    port: int, path: str, bodies: Iterator[bytes], connections: int, *, keep: bool = False
) -> Load:
    """POST every body to ``127.0.0.1:port`+ path`, `connections` at a time, as fast as it goes."""
    load = Load()

    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for body in bodies:
            began = time.perf_counter()
            head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            status, answer, closing = await answer_of(reader)
            load.seconds.append(time.perf_counter() - began)
            load.statuses[status] += 1
            if keep and status == 200:
                load.bodies.append(answer)
            if closing:
                writer.close()
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()

    async def all_connections() -> None:
        await asyncio.gather(*(connection() for _ in range(connections)))

    began = time.perf_counter()
    asyncio.run(all_connections())
    load.wall = time.perf_counter() - began
    return load


async def answer_of(reader: asyncio.StreamReader) -> tuple[int, bytes, bool]:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    status = int(head[9:12])
    at = head.index(b"content-length:") + 15
    length = int(head[at : head.index(b"\r\n", at)])
    return status, await reader.readexactly(length), b"connection: close" in head


def decide_bodies(members: list[str], count: int, seed: int, slots: int = 20) -> Iterator[bytes]:
    """Requests for decisions of random members, each with an id of its own."""
    chosen = np.random.default_rng(seed).choice(members, count)
    for number, member in enumerate(chosen):
        request = {"request_id": f"load-{seed}-{number}", "member_id": member, "slots": slots}
        yield json.dumps(request).encode()
