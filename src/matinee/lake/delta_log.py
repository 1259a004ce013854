"""A Delta log after a power cut: what is torn in it can be done without.

Commits are flushed before they count, but whatever was being written when the power went may be
left with no bytes in it: a checkpoint (a summary of the commits before it, which stand beside it)
or a commit that nobody had heard of yet. Delta readers stop at either.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import polars as pl


def mend(log: Path) -> bool:
    """Remove torn checkpoints and a torn last commit from a log; whether there were any."""
    torn = [path for path in log.glob("*.checkpoint*.parquet") if not _whole_checkpoint(path)]
    commits = sorted(log.glob("[0-9]*.json"))
    if commits and not _whole_commit(commits[-1]):
        torn.append(commits[-1])
    for path in torn:
        path.unlink()
    if torn:
        (log / "_last_checkpoint").unlink(missing_ok=True)
    return bool(torn)


def _whole_checkpoint(path: Path) -> bool:
    try:
        pl.read_parquet(path)
    except pl.exceptions.PolarsError:
        return False
    return True


def _whole_commit(path: Path) -> bool:
    lines = path.read_bytes().splitlines()
    try:
        return bool([msgspec.json.decode(line, type=dict[str, object]) for line in lines])
    except msgspec.DecodeError:
        return False
