"""The command `matinee`.

Exit codes: 0 done, 1 something to put right (it says what), 2 a command that does not exist or
was given wrong, 130 interrupted.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

from cyclopts import CycloptsError

from matinee.cli import artwork, data, experiments, learning, payments, people, scoring, serving
from matinee.cli.app import app
from matinee.console import err, say, show_error
from matinee.errors import MatineeError
from matinee.lake.cards import MaskingFormatter

INTERRUPTED = "Interrupted. What was acknowledged is kept; the same command can be given again."

__all__ = [
    "app",
    "artwork",
    "data",
    "experiments",
    "learning",
    "main",
    "payments",
    "people",
    "run",
    "scoring",
    "serving",
]


def run(arguments: Sequence[str]) -> int:
    """Run one command line; the exit code."""
    try:
        app(arguments, exit_on_error=False, result_action="return_value", error_console=err())
    except MatineeError as error:
        show_error(error)
        return 1
    except CycloptsError:
        return 2
    except KeyboardInterrupt as interrupt:
        for line in (str(interrupt) or INTERRUPTED).splitlines():
            say(line)
        return 130
    return 0


def main() -> None:
    """The entry point of the command `matinee`."""
    if logging.lastResort is not None:  # where warnings go, unless a command says otherwise
        logging.lastResort.setFormatter(MaskingFormatter())
    try:
        code = run(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)
