"""What the command line prints: tables, progress, questions and errors.

On a terminal with colours and rules; into a pipe as plain text, tables with a tab between columns.
Results go to stdout, everything about them to stderr.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from math import inf, isfinite

from rich.box import SIMPLE_HEAD
from rich.console import Console, RichCast
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.status import Status
from rich.table import Table
from rich.text import Text

from matinee.errors import MatineeError
from matinee.lake.cards import masked
from matinee.lake.importers import Tally
from matinee.models import run

EVERY = 10.0
"""Seconds between two lines about a long fit, where there is no terminal."""


def out() -> Console:
    """Where results go."""
    return Console(file=sys.stdout, markup=False, highlight=False, emoji=False)


def err() -> Console:
    """Where progress, notes and errors go."""
    return Console(file=sys.stderr, markup=False, highlight=False, emoji=False)


def safe(value: object) -> str:
    """A value as one line without control characters, which a terminal might obey, and without
    numbers of cards. Times are UTC.

    >>> safe("50" + chr(9) + chr(27) + "[2J"), safe(None)
    ('50\\\\t\\\\x1b[2J', '')
    """
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    text = "" if value is None else masked(str(value))
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def say(text: str, style: str = "") -> None:
    """One line about a result."""
    err().print(Text(safe(text), style=style), soft_wrap=True)


def show(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table; on a terminal counts stand to the right, with separators."""
    console = out()
    if not console.is_terminal:
        for row in (columns, *rows):
            sys.stdout.write("\t".join(map(safe, row)) + "\n")
        return
    listed = [list(row) for row in rows]
    table = Table(box=SIMPLE_HEAD, header_style="bold")
    for place, name in enumerate(columns):
        cells = [row[place] for row in listed]
        counts = all(cell is None or isinstance(cell, int) for cell in cells)
        table.add_column(name, justify="right" if counts else "left", overflow="fold")
    for row in listed:
        table.add_row(*(f"{cell:,}" if isinstance(cell, int) else safe(cell) for cell in row))
    console.print(table)


def show_tallies(tallies: Mapping[str, Tally]) -> None:
    """What an import did, by table."""
    show(
        ("table", "added", "duplicates", "rejected"),
        [(name, tally.rows, tally.duplicates, tally.rejected) for name, tally in tallies.items()],
    )


def show_report(report: RichCast) -> None:
    """Something that knows how it looks, at a width that holds it where there is no terminal."""
    console = Console(file=sys.stdout, highlight=False, emoji=False)
    console.print(report, width=None if console.is_terminal else 100)


def show_error(error: MatineeError) -> None:
    """What happened, why, and what to type next."""
    console = err()
    what, why, next_step = map(masked, (error.what, error.why, error.next_step))
    console.print(Text.assemble(("error: ", "bold red"), what), soft_wrap=True)
    for line in why.splitlines():
        console.print(f"  {line}", soft_wrap=True)
    if next_step:
        console.print(Text.assemble(("next: ", "bold green"), next_step), soft_wrap=True)


class _Rate(ProgressColumn):
    def __init__(self, unit: str) -> None:
        self.unit = unit
        super().__init__()

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f} {self.unit}/s" if task.speed else "")


def working(label: str) -> Status:
    """A moving line while the block runs, on a terminal; nothing elsewhere."""
    return err().status(safe(label))


@contextmanager
def progress(label: str, total: int, unit: str = "rows") -> Iterator[Callable[[int], None]]:
    """A bar of rows on a terminal, nothing elsewhere; call what it yields with rows done."""
    console = err()
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(unit),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task(safe(label), total=total)
        yield lambda rows: bar.advance(task, rows)


@contextmanager
def fitting() -> Iterator[Callable[[str, run.Progress], None]]:
    """How far fits are: a moving line on a terminal, else a plain one every so often.

    Call what it yields with the model's name and its progress.
    """
    console = err()
    if not console.is_terminal:
        yield _lines()
        return
    columns = (TextColumn("{task.description}"), BarColumn(10), TextColumn("{task.fields[state]}"))
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("Training", total=None, state="")
        yield lambda model, fit: bar.update(
            task, description=safe(model), total=1.0, completed=fit.done, state=standing(fit)
        )


def standing(fit: run.Progress) -> str:
    """How far a fit is, in one line.

    >>> standing(run.Progress(0.25, 5, 20, 12_345.6, 6.5, 200.0, validation=0.17125))
    '25 %, 0:03:20 left, epoch 5 of 20, loss 6.500, NDCG@10 0.1713, 12,346 events/s'
    """
    parts = (
        f"{fit.done:.0%}".replace("%", " %"),
        f"{timedelta(seconds=round(fit.left))} left" if isfinite(fit.left) else "",
        f"epoch {fit.epoch} of {fit.epochs}",
        f"loss {fit.loss:.3f}",
        "" if fit.validation is None else f"NDCG@10 {fit.validation:.4f}",
        f"{fit.rate:,.0f} events/s",
    )
    return ", ".join(filter(None, parts))


def _lines() -> Callable[[str, run.Progress], None]:
    said = -inf

    def tell(model: str, fit: run.Progress) -> None:
        nonlocal said
        if fit.done >= 1 or time.monotonic() >= said + EVERY:
            said = time.monotonic()
            say(f"{model}: {standing(fit)}")

    return tell


def confirm(question: str, unasked: str) -> bool:
    """Ask for a yes. Where nobody can answer, a `MatineeError` that tells to type `unasked`."""
    if not sys.stdin.isatty():
        raise MatineeError(
            "this needs a yes", why="nobody can be asked here", next_step=f"add {unasked}"
        )
    err().print(f"{safe(question)} [y/N] ", end="", soft_wrap=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}
