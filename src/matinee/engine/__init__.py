"""Executors: the same kernel over every shard, here or on a cluster."""

from matinee.engine.base import Executor
from matinee.engine.local import Processes, Serial

__all__ = ["Executor", "Processes", "Serial"]
