"""The application that the commands hang on, and what they share."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.text import Text

from matinee import __version__

app = App(
    name="matinee",
    help="The machine-learning platform of a streaming service.",
    help_format="markdown",
    version=__version__,
    version_flags=["--version"],
    suppress_keyboard_interrupt=False,
    error_formatter=lambda error: Text(f"error: {error}"),
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
HERE = Path()


def whoever() -> str:
    """Who types, for the record of what was done."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
