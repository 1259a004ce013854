"""The contract of an executor."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from typing import TypeVar

Shard = TypeVar("Shard")
Broadcast = TypeVar("Broadcast")
Partial = TypeVar("Partial")


class Executor(ABC):
    """Runs a kernel over shards and merges what comes back.

    A *kernel* is a pure, importable function of (shard, broadcast). A *merge* is associative.
    Partial results are merged from the left in the order of the shards, so every executor returns
    the same bits.
    """

    @abstractmethod
    def map(
        self,
        kernel: Callable[[Shard, Broadcast], Partial],
        shards: Sequence[Shard],
        broadcast: Broadcast,
    ) -> Iterable[Partial]:
        """Yield ``kernel(shard, broadcast)`` for each shard, in order."""

    def map_reduce(
        self,
        kernel: Callable[[Shard, Broadcast], Partial],
        shards: Sequence[Shard],
        merge: Callable[[Partial, Partial], Partial],
        broadcast: Broadcast,
    ) -> Partial:
        """Fold ``kernel(shard, broadcast)`` over all shards with `merge`.

        Raises `ValueError` without shards: a fold without a first element has no value.

        >>> from matinee.engine import Serial
        >>> kernel = lambda shard, base: base + sum(shard)
        >>> Serial().map_reduce(kernel, [[1, 2], [3]], int.__add__, 10)
        26
        """
        if not shards:
            raise ValueError("map_reduce needs at least one shard")
        return reduce(merge, self.map(kernel, shards, broadcast))
