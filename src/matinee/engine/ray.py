"""The executor of a Ray cluster: ``pip install 'matinee[ray]'``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from matinee.engine.base import Broadcast, Executor, Partial, Shard


@dataclass(frozen=True)
class Ray(Executor):
    """Shards as Ray tasks on the cluster that `ray.init` joined, or on one it starts here.

    At most `ahead` tasks are under way, so results wait in the object store only that far.
    Raises `ModuleNotFoundError`, saying what to install, where Ray is missing.
    """

    ahead: int = 16

    def map(
        self,
        kernel: Callable[[Shard, Broadcast], Partial],
        shards: Sequence[Shard],
        broadcast: Broadcast,
    ) -> Iterator[Partial]:
        try:
            import ray  # noqa: PLC0415 - an optional extra
        except ModuleNotFoundError as missing:
            raise ModuleNotFoundError(
                "the Ray executor needs Ray: pip install 'matinee[ray]'", name="ray"
            ) from missing
        if not ray.is_initialized():
            ray.init(include_dashboard=False, log_to_driver=False)
        task, shared = ray.remote(kernel), ray.put(broadcast)
        window = [task.remote(shard, shared) for shard in shards[: self.ahead]]
        for position in range(len(shards)):
            yield ray.get(window.pop(0))
            if position + self.ahead < len(shards):
                window.append(task.remote(shards[position + self.ahead], shared))
