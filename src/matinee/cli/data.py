"""Commands of the lake: init, import, quarantine, forget, tables, repair."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

import polars as pl

from matinee.cli.app import HERE, ServiceFolder, app, examples, opening
from matinee.console import confirm, progress, say, show, show_tallies, working
from matinee.errors import MatineeError
from matinee.lake.importers import Tally, load
from matinee.lake.schemas import SCHEMAS, TIME
from matinee.service import forgetting
from matinee.service.folder import Service


@app.command(help_epilogue=examples("init shows"))
def init(folder: Path, /) -> None:
    """Make a service folder: a commented matinee.toml and an empty lake.

    Parameters
    ----------
    folder
        The folder to make, or an existing one.
    """
    with Service.create(folder) as service:
        say(f"{service.folder} is a service now; its settings are in matinee.toml")
        say(f"next: matinee import SOURCE --service {quote(str(folder))}")


@app.command(
    name="import",
    help_epilogue=examples("import ~/ml-1m", "import plays --service shows"),
)
def import_(source: str, /, *, service: ServiceFolder = HERE) -> None:
    """Import a log and its catalogue. Importing the same again adds nothing.

    SOURCE is the folder of a MovieLens or KuaiRand-Pure data set, or the name of a mapping in
    matinee.toml for any CSV, JSONL or Parquet file. Rows that do not fit are kept aside with the
    reason: see matinee quarantine.

    Parameters
    ----------
    source
        A folder, or NAME where matinee.toml has an [import.NAME].
    """
    with opening(service) as opened:
        importer = opened.importer(source)
        with working("Counting rows"):
            total = importer.total()
        with progress("Importing", total) as advance:
            tallies = load(importer, opened.lake, advance)
        show_tallies(tallies)
        for note in importer.notes:
            say(f"note: {note}")
        _say_what_to_do(sum(tallies.values(), Tally()), opened.folder)


def _say_what_to_do(tally: Tally, folder: Path) -> None:
    if tally == Tally():
        say("There were no rows to import.")
    if tally.rejected:
        say(f"Refused and kept aside: {tally.rejected:,}", "yellow")
        say(f"next: matinee quarantine --service {quote(str(folder))}")


@app.command(help_epilogue=examples("quarantine --reason future --limit 0"))
def quarantine(*, reason: str = "", limit: int = 20, service: ServiceFolder = HERE) -> None:
    """List the rows that could not enter the lake, and why.

    Parameters
    ----------
    reason
        Only rows whose reason contains this text.
    limit
        How many rows to list at most; 0 lists all.
    """
    with opening(service) as opened:
        refused = opened.lake.quarantine()
    kept = refused.filter(pl.col("reason").str.contains(reason, literal=True))
    listed = kept.head(limit) if limit > 0 else kept
    columns = ["table", "source", "row", "reason", "data"]
    show(columns, listed.select(columns).iter_rows())
    if listed.height < kept.height:
        say(f"{listed.height:,} of {kept.height:,} rows; --limit 0 lists all")
    elif not kept.height:
        say("No row is in quarantine." if not reason else f"No row was refused for {reason!r}.")


@app.command(help_epilogue=examples("forget m-1081", "forget m-1081 --yes"))
def forget(member: str, /, *, yes: bool = False, service: ServiceFolder = HERE) -> None:
    """Remove one member from every table. This cannot be undone.

    Parameters
    ----------
    member
        The member's id.
    yes
        Do not ask.
    """
    with opening(service) as opened:
        question = f"Remove member {member!r} from every table of {opened.folder}?"
        if not (yes or confirm(question, "--yes")):
            say("Nothing was removed.")
            return
        removed = forgetting.forget(opened, member)
        show(("place", "rows removed"), removed.items())
        if not any(removed.values()):
            say(f"Nothing was known of member {member!r}.")


@app.command(help_epilogue=examples("tables", "tables events"))
def tables(table: str = "", /, *, service: ServiceFolder = HERE) -> None:
    """Show what each table holds: its rows, and with its name its columns and their units.

    Parameters
    ----------
    table
        The table whose columns to show.
    """
    if table:
        show(("column", "type", "required", "meaning"), _columns(table))
        return
    with opening(service) as opened:
        summary = opened.lake.summary().with_columns(pl.col("first", "last").dt.date())
        show(summary.columns, summary.iter_rows())
        say("next: matinee tables TABLE shows its columns and units")


def _columns(table: str) -> list[tuple[str, str, str, str]]:
    if table not in SCHEMAS:
        raise MatineeError(
            f"there is no table {table!r}", why=f"the tables are {', '.join(SCHEMAS)}"
        )
    schema = SCHEMAS[table]
    meanings = {
        **schema.units,
        **{name: "one of " + ", ".join(words) for name, words in schema.choices.items()},
    }
    return [
        (name, _type_name(dtype), "yes" if name in schema.required else "", meanings[name])
        for name, dtype in schema.stored.items()
    ]


def _type_name(dtype: pl.DataType | type[pl.DataType]) -> str:
    return "UTC time" if dtype == TIME else str(dtype)


@app.command(help_epilogue=examples("repair"))
def repair(*, service: ServiceFolder = HERE) -> None:
    """Find torn files and rebuild them from what is still known.

    What knows a row: the other files of its bucket, the files that compaction replaced, and the
    inbox, which keeps rows for `lake.keep_sealed`. What is lost is said and listed by quarantine.
    """
    with opening(service) as opened:
        rebuilt = opened.lake.repair()
        if not rebuilt:
            say("Every file is whole.")
            return
        show(("table", "bucket", "rows", "lost"), rebuilt)
