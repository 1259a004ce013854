"""What benchmarks of the sequence model found, a line each, so that nothing is fitted twice."""

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import matinee

FOLDER = Path(__file__).parent / "results"
DEPENDS = {
    "sequence": ("models/sequence/*.py",),
    "cold_start": ("models/sequence/*.py", "models/attribute_map.py", "features/content.py"),
}
"""The source that a file's lines depend on, and are told to be of other code by."""


def once(name: str, asked: dict[str, Any], find: Callable[[], Any]) -> Any:
    """What stands in the file `name` of the question, found and added now where it does not."""
    path = FOLDER / f"{name}.jsonl"
    for line in path.read_text().splitlines() if path.exists() else ():
        kept = json.loads(line)
        if kept["asked"] == asked:
            if kept["with"]["code"] != code(name):
                warn(name)
            return kept["found"]
    made_by = code(name)  # before the code can change under a long fit
    found = find()
    _keep(name, asked, found, made_by)
    return found


@cache
def warn(name: str) -> None:
    """Once for a file."""
    print(f"some of what follows is of other code than this, see {name}.jsonl", flush=True)


def _keep(name: str, asked: dict[str, Any], found: Any, made_by: str) -> None:
    """Add a line to the file `name`, with the day, the cores and the code it was found with."""
    cores = len(os.sched_getaffinity(0))
    what = {"day": f"{datetime.now(UTC):%Y-%m-%d}", "cores": cores, "code": made_by}
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / f"{name}.jsonl").open("a") as file:
        file.write(json.dumps({"asked": asked, "found": found, "with": what}) + "\n")


@cache
def code(name: str) -> str:
    """A digest of the source that a file depends on."""
    digest, folder = blake2b(digest_size=8), Path(matinee.__file__).parent
    for pattern in DEPENDS[name]:
        for path in sorted(folder.glob(pattern)):
            digest.update(path.read_bytes())
    return digest.hexdigest()
