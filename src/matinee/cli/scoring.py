"""The command score."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from matinee.cli.app import HERE, ServiceFolder, app, examples, opening
from matinee.cli.learning import SurfaceName
from matinee.console import progress, say
from matinee.engine import Processes, Serial
from matinee.service import scoring, training


@app.command(
    help_epilogue=examples(
        "score titles --to scores.parquet",
        "score titles titles@3 --top 20 --processes 4 --to scores.parquet",
    )
)
def score(
    surface: SurfaceName,
    version: str | None = None,
    /,
    *,
    to: Path,
    top: int = 100,
    as_of: datetime | None = None,
    processes: int = 1,
    service: ServiceFolder = HERE,
) -> None:
    """Write the best titles of every member to one Parquet file.

    For each member, with a history or not: what the version believes best of what is available in
    their country and not watched, with the scores that a decision would be drawn from. The columns
    are member_id, rank (1 is the best), title_id, score and version; rows are sorted by member and
    rank. The file appears whole or not at all.

    Parameters
    ----------
    version
        Such as titles@3; the champion by default.
    to
        The file to write; one that is there is replaced.
    top
        Titles of each member at most.
    as_of
        Use only what was known at this time of members, and decide then.
    processes
        Processes that share the members between them.
    """
    with opening(service) as opened:
        buckets = opened.lake.tables["events"].bucket_count
        with progress("Scoring", buckets, "parts") as advance:
            done = scoring.score(
                opened,
                surface,
                to,
                version,
                top=top,
                as_of=as_of and training.aware(as_of),
                executor=Processes(processes) if processes > 1 else Serial(),
                advance=advance,
            )
        say(f"{done.rows:,} rows of {done.members:,} members by {done.version} are in {to}")
