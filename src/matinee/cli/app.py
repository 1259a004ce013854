"""The application that the commands hang on, and what they share."""

from __future__ import annotations

import getpass
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.text import Text

from matinee import __version__
from matinee.errors import MatineeError
from matinee.lake.cards import masked
from matinee.service.folder import Service

app = App(
    name="matinee",
    help="The machine-learning platform of a streaming service.",
    help_format="markdown",
    version=__version__,
    version_flags=["--version"],
    suppress_keyboard_interrupt=False,
    error_formatter=lambda error: Text(masked(f"error: {error}")),
)


def examples(*lines: str) -> str:
    """Command lines for the end of a help page."""
    return "Examples\n\n" + "".join(f"    matinee {line}\n" for line in lines)


app.help_epilogue = (
    examples("demo", "init shows", "import ~/ml-1m --service shows", "serve --service shows")
    + "\nMATINEE_SERVICE=shows in the environment stands for --service shows."
)

ServiceFolder = Annotated[
    Path,
    Parameter(name="--service", env_var="MATINEE_SERVICE", help="The service folder."),
]
Reason = Annotated[str, Parameter(help="Why; it stands in the history.")]
HERE = Path()
_NO_WRITING = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}


@contextmanager
def opening(folder: Path) -> Iterator[Service]:
    """The service in a folder; `MatineeError` where SQLite may not write there."""
    try:
        with Service.open(folder) as service:
            yield service
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in _NO_WRITING:  # the rest of its bits are details
            raise
        raise MatineeError(
            f"the service in {folder.resolve()} cannot be written",
            why=str(error),
            next_step="see that you may write to the folder and to every file in it",
        ) from error


def whoever() -> str:
    """Who types, for the record of what was done."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
