"""The process that decodes: a film or picture may be made to do harm, so another process reads it.

It says what it does in lines of JSON on its output, has few rights (`matinee.pictures.reader`),
and is killed when it takes too long. What its decoders print is not shown.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from threading import Timer
from typing import Any

from matinee.errors import MatineeError
from matinee.pictures.settings import Extraction

DEMUXERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts"
LONGEST = 2**24
"""Characters of a line; what is longer is torn, and so no JSON."""
ENVIRONMENT = {
    # The decoder opens files alone, of these containers alone, whatever the file says of itself.
    "OPENCV_FFMPEG_CAPTURE_OPTIONS": f"protocol_whitelist;file|format_whitelist;{DEMUXERS}",
    "OPENCV_LOG_LEVEL": "SILENT",
    "OPENCV_FFMPEG_LOGLEVEL": "-8",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}


def told(kind: str, path: Path, folder: Path, settings: Extraction) -> Iterator[dict[str, Any]]:
    """What the reader of a film or picture (`kind`) says, line by line, until it ends.

    MatineeError where it refuses the file, fails, is killed, or takes longer than its limit.
    """
    command = [sys.executable, "-P", "-m", "matinee.pictures.reader", kind, str(path), str(folder)]
    with subprocess.Popen(  # noqa: S603 - our own interpreter, and arguments without a shell
        [*command, json.dumps(asdict(settings))],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **ENVIRONMENT},
        text=True,
    ) as process:
        clock = Timer(settings.limits.seconds, process.kill)
        clock.start()
        try:
            yield from _lines(process, path)
        finally:
            late = clock.finished.is_set()
            clock.cancel()
            process.kill()
        if code := process.wait():
            raise _ended(path, code, late, settings)


def _lines(process: subprocess.Popen[str], path: Path) -> Iterator[dict[str, Any]]:
    """Each line; the process has ended by itself when the last one is out."""
    assert process.stdout  # noqa: S101 - a pipe was asked for
    while line := process.stdout.readline(LONGEST):
        try:
            said = json.loads(line)
        except ValueError:
            continue  # torn off where the process was killed
        if refusal := said.get("error"):
            raise MatineeError(refusal["what"], why=refusal["why"], next_step=refusal["next_step"])
        yield said
    process.wait()


def _ended(path: Path, code: int, late: bool, settings: Extraction) -> MatineeError:
    """Why a process that ended with this code did."""
    what, limits = f"{path.name} was not read", settings.limits
    if late or code in (-signal.SIGXCPU, -signal.SIGALRM):
        why = f"it took longer than the {limits.seconds:g} seconds that are allowed"
        return MatineeError(what, why=why, next_step="raise limits.seconds, or give a shorter film")
    return MatineeError(
        what,
        why="its reader broke down: the file is damaged, or needs more memory than is allowed",
        next_step="see that it plays, or convert it to MP4 and give that",
    )
