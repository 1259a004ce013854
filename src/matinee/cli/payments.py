"""Commands of payments: report, rules."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from cyclopts import App

from matinee.cli.app import HERE, ServiceFolder, app, examples, opening
from matinee.console import say, show, working
from matinee.desk.processing import page
from matinee.desk.recovery import show_recovered
from matinee.errors import MatineeError
from matinee.insights.processing import processing
from matinee.insights.recovered import recovered
from matinee.payments.rules import RuleBook, read_rules
from matinee.service.training import aware

payments = App(
    name="payments",
    help="Invoices that are due: what came of those that failed, and the rules of networks.",
    help_epilogue=examples(
        "payments report",
        "payments report --since 2026-01-01 --to report.html",
        "payments rules",
        "payments rules --add ours.csv",
    ),
)
app.command(payments)


@payments.command(help_epilogue=examples("payments report", "payments report --to report.html"))
def report(
    *, since: datetime | None = None, to: Path | None = None, service: ServiceFolder = HERE
) -> None:
    """Say how many failed renewals were recovered, how soon, by how many attempts, for how much.

    By processor, country and reason, with intervals clustered by member, in the money of the
    service (rates of currencies stand in matinee.toml).

    Parameters
    ----------
    since
        Only renewals that were due from then on.
    to
        An HTML file to write it to, with plots.
    """
    with opening(service) as opened:
        with working("Reading attempts"):
            found = recovered(opened, aware(since) if since else None)
        show_recovered(found)
        if to is not None:
            whole = processing(opened, found.since, found.at)
            _write(to, page(whole, opened.name, simulated=opened.simulated))
            say(f"with plots: {to}")


@payments.command(help_epilogue=examples("payments rules", "payments rules --add ours.csv"))
def rules(*, add: Path | None = None, service: ServiceFolder = HERE) -> None:
    """List the rules that attempts keep, or add some of your own.

    Parameters
    ----------
    add
        A CSV file of rules; one with the id of another takes its place.
    """
    with opening(service) as opened:
        if add is not None:
            mine = read_rules(add)
            opened.lake.put(mine)
            say(f"{len(mine)} rules from {add.name} are in force from their dates on")
        book = RuleBook.built_in().extended(opened.lake.records("rules"))
        show(
            ("rule", "network", "kind", "codes", "most", "hours", "from", "until", "source"),
            [
                (
                    one.rule_id,
                    one.network,
                    one.kind,
                    " ".join(one.codes),
                    "" if one.most is None else one.most,
                    "" if one.hours is None else f"{one.hours:g}",
                    one.starts_at,
                    one.ends_at,
                    one.source,
                )
                for one in book.rules
            ],
        )


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise MatineeError(
            f"{path} cannot be written",
            why=error.strerror or str(error),
            next_step="name a file in a folder that you may write to",
        ) from error
