"""The process in which films and pictures are decoded: ``python -m matinee.pictures.reader``.

It takes its rights away before it opens anything: memory, time, the size of files, open files, and
no core dumps. It is started by `matinee.pictures.child`, and is of no use alone.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from typing import Any

from matinee.errors import MatineeError
from matinee.pictures.film import read_film
from matinee.pictures.opencv import cv2
from matinee.pictures.settings import Extraction, Limits
from matinee.pictures.still import read_picture

LARGEST_FILE = 64 * 2**20
OPEN_FILES = 64


def confine(limits: Limits) -> None:
    """Take rights away from this process, for good."""
    seconds = int(limits.seconds) + 1
    for kind, most in (
        (resource.RLIMIT_AS, limits.memory),
        (resource.RLIMIT_CPU, seconds * 4),
        (resource.RLIMIT_FSIZE, LARGEST_FILE),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        ceiling = resource.getrlimit(kind)[1]
        least = most if ceiling == resource.RLIM_INFINITY else min(most, ceiling)
        resource.setrlimit(kind, (least, least))


def say(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)  # noqa: T201 - the other process reads it


def main(kind: str, path: str, folder: str, written: str) -> None:
    """Read a film or a picture (`kind`) into `folder`, by settings written as JSON."""
    told = json.loads(written)
    settings = Extraction(**{**told, "limits": Limits(**told["limits"])})
    confine(settings.limits)
    read = {"film": read_film, "picture": read_picture}[kind]
    try:
        sys.setswitchinterval(0.0005)  # a thread that decodes should not wait for one that counts
        cv2.setNumThreads(1)  # one order of sums, so the same film gives the same pictures
        read(Path(path), Path(folder), settings, say)
    except MatineeError as error:
        say({"error": {"what": error.what, "why": error.why, "next_step": error.next_step}})
    except (MemoryError, cv2.error) as error:
        raise SystemExit(1) from error


if __name__ == "__main__":
    main(*sys.argv[1:])
