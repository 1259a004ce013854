"""The pages of the lake: every table, and one with its columns and the rows that came last."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from html import escape
from math import isfinite
from typing import Any

from matinee.desk.numbers import counted, moment, span
from matinee.desk.views import NotFoundError, Query, View, kept, once
from matinee.insights.freshness import Freshness
from matinee.insights.holding import Holding, Volume
from matinee.insights.inventory import Inventory, inventory
from matinee.insights.refused import Refused
from matinee.insights.tables import Cell, Table, UnknownTableError, table
from matinee.insights.working import Work
from matinee.service.folder import Service

STATES = {
    "empty": "never written",
    "seldom": "changes seldom",
    "young": "too young to say",
    "on time": "on time",
    "late": "late",
    "stopped": "stopped",
}
SMALL, LARGE = (6, 24), (22, 72)
"""How wide a day is in a picture of volumes, and how high the picture, in pixels."""
TOLD = (
    "fresh",
    "rows",
    "newest known",
    "newest happened",
    "waits unsealed",
    "refused",
    "on disk",
)
"""What is told of a table."""
WORKING = ("job", "every", "last begun", "last done", "behind", "failures", "what it did")

Note = tuple[str, str, str]
"""About what, what is wrong, and what to type."""


def data_view(service: Service) -> View[Inventory]:
    """The page of all tables at ``/desk/data``; with ``?table=events`` it has no other."""
    everything = kept(lambda _: inventory(service))

    async def read(query: Query) -> Inventory | None:
        found, name = await everything(query), query.get("table")
        return found if found is None or not name else only(found, name)

    return View("/desk/data", "data.html", read, shown)


def table_view(service: Service) -> View[Table]:
    """The page of the table that `name` names at ``/desk/table``."""

    def read(name: str) -> Table:
        try:
            return table(service, name)
        except UnknownTableError as error:
            raise NotFoundError(error.what, why=error.why, next_step="/desk/data") from error

    return View("/desk/table", "table.html", kept(read, "name"), once(shown_table))


def only(found: Inventory, name: str) -> Inventory:
    """One table of an inventory. Raises `NotFoundError` where there is none of that name."""
    tables = tuple(one for one in found.tables if one.name == name)
    if not tables:
        raise NotFoundError(f"there is no table {name[:80]!r}", next_step="/desk/data")
    reasons = tuple(one for one in found.reasons if one.table == name)
    refused = tables[0].refused
    return replace(found, tables=tables, reasons=reasons, refused=refused, kinds=len(reasons))


def shown(found: Inventory) -> dict[str, Any]:
    """What the template of all tables shows."""
    waiting = sum(one.waiting.rows for one in found.tables)
    told = sum(one.rows for one in found.reasons)
    return {
        "at": moment(found.at),
        "facts": [
            ("Rows", f"{sum(one.rows for one in found.tables):,}"),
            ("On disk", size(sum(one.bytes for one in found.tables))),
            ("Wait unsealed", f"{waiting:,}"),
            ("Refused", f"{found.refused:,}"),
        ],
        "notes": list(notes(found.tables, found.work)),
        "columns": TOLD,
        "tables": [(one.name, _picture(one), cells(one, found.at)) for one in found.tables],
        "working": WORKING,
        "work": [worked(one, found.at) for one in found.work],
        "reasons": refusals(found.reasons),
        "more": found.refused - told,
    }


def shown_table(found: Table) -> dict[str, Any]:
    """What the template of one table shows."""
    held = found.holding
    heads = list(found.latest[0]) if found.latest else []
    return {
        "name": held.name,
        "about": found.about,
        "at": moment(found.at),
        "facts": list(zip(TOLD, cells(held, found.at), strict=True)),
        "notes": list(notes([held], [])),
        "picture": bars(held.days, held.name, LARGE) if held.days else "",
        "days": [(f"{one.day:%d %b}", f"{one.rows:,}") for one in held.days],
        "key": ", ".join(found.key),
        "order": ", ".join(found.order),
        "versioned": found.versioned,
        "columns": found.columns,
        "heads": heads,
        "latest": [[text(row[head]) for head in heads] for row in found.latest],
        "reasons": refusals(found.reasons),
        "refused": held.refused,
        "examples": [(moment(one.at), one) for one in found.examples],
    }


def notes(tables: Iterable[Holding], work: Iterable[Work]) -> Iterator[Note]:
    """What a person should know of them."""
    for one in tables:
        if one.problem:
            yield one.name, f"cannot be read: {one.problem}", "matinee repair"
        if one.freshness.state == "late":
            yield one.name, f"is late: {rhythm(one.freshness)}", ""
        if one.waiting.stuck:
            said = f"{counted(one.waiting.rows, 'row')} unsealed for {span(one.waiting.seconds)}"
            yield one.name, said, "matinee work"
    for job in work:
        if job.failures:
            said = f"failed {counted(job.failures, 'time')}: {job.result}"
            yield f"job {job.name}", said, "matinee work"
        elif job.late:
            yield f"job {job.name}", f"is {span(job.lag or 0.0)} behind", "matinee work"


def rhythm(one: Freshness) -> str:
    """What its freshness stands on, in words.

    >>> rhythm(Freshness("late", 1, 3.5))
    'nothing new for 3.5 days; usually something comes every day'
    """
    if one.silent is None:
        return ""
    said = f"nothing new for {span(86_400 * one.silent)}"
    if one.usual is None:
        return said
    every = "every day" if one.usual == 1 else f"at least every {one.usual} days"
    return f"{said}; usually something comes {every}"


def _picture(one: Holding) -> str:
    """Its days as SVG; nothing where there was nothing."""
    return bars(one.days, one.name, SMALL) if any(day.rows for day in one.days) else ""


def cells(one: Holding, at: datetime) -> list[tuple[str, str]]:
    """What is told of a table: what stands in each cell, and what stands small below it."""
    return [
        (STATES[one.freshness.state], ""),
        (f"{one.rows:,}", ""),
        _since(one.known_at, at),
        _since(one.happened_at, at),
        (f"{one.waiting.rows:,}", f"for {span(one.waiting.seconds)}" if one.waiting.rows else ""),
        (f"{one.refused:,}", ""),
        (size(one.bytes), _files(one)),
    ]


def _files(one: Holding) -> str:
    if one.version is None:
        return ""
    counts = f"{counted(one.files, 'file')}, {counted(one.buckets, 'bucket')}"
    return f"{counts}, version {one.version:,}"


def worked(one: Work, at: datetime) -> list[tuple[str, str]]:
    """A row of the jobs."""
    begun = ("now", "") if one.running else _since(one.started_at, at, "never")
    return [
        (one.name, ""),
        ("no longer" if one.every is None else span(one.every), ""),
        begun,
        _since(one.succeeded_at, at, "never"),
        ("" if one.lag is None else span(one.lag), "late" if one.late else ""),
        (f"{one.failures:,}", ""),
        (one.result, ""),
    ]


def refusals(found: Iterable[Refused]) -> list[tuple[Refused, str]]:
    """Each reason, and when it was last given."""
    return [(one, moment(one.latest_at)) for one in found]


def bars(days: Sequence[Volume], name: str, drawn: tuple[int, int]) -> str:
    """Rows by day as SVG, a bar a day, in the colour of the text around; `drawn` is how wide a bar
    and how high all is, in pixels. A day without rows has a faint line; any other is seen.

    >>> day = datetime(2026, 3, 1)
    >>> bars([Volume(day, 1200)], "events", SMALL).count("<rect")
    1
    """
    width, height = drawn
    most = max([1, *(one.rows for one in days)])
    drawing = "".join(
        _bar(one, place * width, width - 1, (height, most)) for place, one in enumerate(days)
    )
    said = "; ".join(f"{one.day:%d %B} {one.rows:,}" for one in days)
    whole = len(days) * width
    return (
        f'<svg role="img" aria-label="{escape(f"rows of {name} by day: {said}")}" width="{whole}"'
        f' height="{height}" viewBox="0 0 {whole} {height}" preserveAspectRatio="none"'
        f' fill="currentColor">{drawing}</svg>'
    )


def _bar(one: Volume, left: int, width: int, scale: tuple[int, int]) -> str:
    height, most = scale
    tall, opacity = (max(one.rows / most * height, 2.0), 0.8) if one.rows else (1.0, 0.3)
    return (
        f'<rect x="{left}" y="{height - tall:.1f}" width="{width}" height="{tall:.1f}"'
        f' opacity="{opacity}"><title>{one.day:%Y-%m-%d}: {one.rows:,}</title></rect>'
    )


def _since(then: datetime | None, at: datetime, never: str = "") -> tuple[str, str]:
    if then is None:
        return never, ""
    return moment(then), f"{span((at - then).total_seconds())} ago" if then <= at else ""


def size(count: int) -> str:
    """Bytes to read.

    >>> size(12), size(5_801_670)
    ('12 B', '5.8 MB')
    """
    power = min((len(str(count)) - 1) // 3, 4)
    unit = ("B", "kB", "MB", "GB", "TB")[power]
    return f"{count / 1_000**power:.1f} {unit}" if power else f"{count} {unit}"


def text(cell: Cell) -> str:
    """A cell of a row to read; nothing where there is nothing.

    >>> text(True), text(0.25), text(float("nan")), text(None), text("a")
    ('true', '0.25', '', '', 'a')
    """
    if cell is None or (isinstance(cell, float) and not isfinite(cell)):
        return ""
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, datetime):
        return f"{cell:%Y-%m-%d %H:%M:%S}"
    return f"{cell:.6g}" if isinstance(cell, float) else str(cell)
