"""Executors of one machine."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from matinee.engine.base import Broadcast, Executor, Partial, Shard


@dataclass(frozen=True)
class Serial(Executor):
    """One shard after the other in this process: the default.

    Polars and BLAS already use every core inside a kernel, and memory stays at one shard.
    """

    def map(
        self,
        kernel: Callable[[Shard, Broadcast], Partial],
        shards: Sequence[Shard],
        broadcast: Broadcast,
    ) -> Iterator[Partial]:
        for shard in shards:
            yield kernel(shard, broadcast)


@dataclass(frozen=True)
class Processes(Executor):
    """Shards in `workers` spawned processes, for kernels that hold the interpreter lock."""

    workers: int = 2

    def map(
        self,
        kernel: Callable[[Shard, Broadcast], Partial],
        shards: Sequence[Shard],
        broadcast: Broadcast,
    ) -> Iterator[Partial]:
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(self.workers, mp_context=spawn) as pool:
            yield from pool.map(kernel, shards, [broadcast] * len(shards))
