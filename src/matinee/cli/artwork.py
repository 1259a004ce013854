"""Commands of pictures: extract, add, approve, bar, allow, list, report."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from shlex import quote
from typing import Annotated

from cyclopts import App, Parameter

from matinee.cli.app import HERE, ServiceFolder, app, examples, opening
from matinee.console import progress, say, show, working
from matinee.desk.attribution import show_attribution
from matinee.errors import MatineeError
from matinee.insights.attributing import attributed
from matinee.lake.records import Title
from matinee.pictures import Extraction
from matinee.pictures import extract as extracted
from matinee.pictures import measure as measured
from matinee.service import pictures
from matinee.service.training import aware
from matinee.surfaces import Artwork

artwork = App(
    name="artwork",
    help="The pictures of titles: from a film's file to what choosing among them brings.",
    help_epilogue=examples(
        "artwork extract heat.mp4 --title heat",
        "artwork approve heat 1 4 7 --fixed 4",
        "train artwork",
        "artwork report",
    ),
)
app.command(artwork)

TitleId = Annotated[str, Parameter(help="The id of a title in the catalogue.")]


@artwork.command(help_epilogue=examples("artwork extract heat.mp4 --title heat --until 0.6"))
def extract(
    film: Path,
    /,
    *,
    title: TitleId,
    count: int = 12,
    until: float = 0.8,
    skip: float = 0.0,
    service: ServiceFolder = HERE,
) -> None:
    """Find the best and most different pictures in a film, on a contact sheet to approve from.

    Black frames, cuts, text and blur are left out, and the end of the film, which would spoil it.
    Each is cut to 16:9, 2:3 and 1:1. Nothing is shown to members before it is approved.

    Parameters
    ----------
    film
        An MP4, MOV, MKV, WebM, AVI or MPEG-TS file.
    count
        How many pictures at most.
    until
        The share of the film, from its start, that may be shown.
    skip
        Seconds at the start to leave out.
    """
    with opening(service) as opened:
        found = pictures.title_of(opened, title)
        folder = pictures.candidates_of(opened, found)
        settings = Extraction(count=count, until=until, skip=skip)
        if folder.exists():
            raise MatineeError(
                f"{title} has candidates already",
                why=f"they lie in {folder}",
                next_step=f"{_approve(found, service, 'NUMBERS')}, or to begin anew: "
                f"rm -r {quote(str(folder))}",
            )
        with progress("Looking", 100, "percent") as advance:
            made = extracted(
                film,
                folder,
                settings=settings,
                title=found.name,
                approve=_approve(found, service, "NUMBERS"),
                advance=advance,
            )
        say(f"{len(made.candidates)} pictures from {made.shots:,} shots")
        for reason, frames in sorted(made.dropped.items(), key=lambda pair: -pair[1]):
            say(f"  {frames:,} frames left out: {reason}")
        _say_sheet(found, folder, service)


@artwork.command(help_epilogue=examples("artwork add poster.png still.jpg --title heat"))
def add(*images: Path, title: TitleId, service: ServiceFolder = HERE) -> None:
    """Bring pictures of your own to the contact sheet of a title.

    They are measured and cut as those of a film are, and wait for approval as they do.

    Parameters
    ----------
    images
        JPEG, PNG or WebP files.
    """
    if not images:
        raise MatineeError(
            "name a picture", next_step=f"matinee artwork add PICTURE --title {title}"
        )
    with opening(service) as opened:
        found = pictures.title_of(opened, title)
        folder = pictures.candidates_of(opened, found)
        command = _approve(found, service, "NUMBERS")
        with working("Measuring"):
            for image in images:
                made = measured(image, folder, title=found.name, approve=command)
                say(f"{image.name} is number {made.number}")
        _say_sheet(found, folder, service)


@artwork.command(
    help_epilogue=examples(
        "artwork approve heat 1 4 7 --fixed 4",
        'artwork approve heat 7 --shows Crime --shows "cast: Al Pacino"',
    )
)
def approve(
    title: TitleId,
    /,
    *numbers: int,
    shows: Annotated[list[str] | None, Parameter(negative="")] = None,
    fixed: int | None = None,
    service: ServiceFolder = HERE,
) -> None:
    """Let pictures stand for a title, by their numbers on its contact sheet.

    Parameters
    ----------
    shows
        What all of these show: a genre, "cast: NAME", or a word of your own; several times.
    fixed
        The number of the picture that members see who are never chosen for.
    """
    if not numbers and fixed is None:
        raise MatineeError(
            "name the numbers of pictures", next_step=f"matinee artwork approve {title} 1 2"
        )
    with opening(service) as opened:
        found = pictures.title_of(opened, title)
        made = pictures.approve(opened, found, numbers, shows=shows or (), fixed=fixed)
        for picture in made:
            say(
                f"{picture.picture_id} may be shown"
                + (", and is the fixed one" if picture.fixed else "")
            )
        if opened.registry.alias(Artwork.name, "champion") is None:
            say(f"next: matinee train artwork --service {quote(str(service))}")


@artwork.command(help_epilogue=examples('artwork bar heat.4 --reason "consent ended"'))
def bar(picture: str, /, *, reason: str, service: ServiceFolder = HERE) -> None:
    """Show a picture to nobody any more; who saw it gets another one.

    Parameters
    ----------
    picture
        The id of a picture.
    reason
        Why, for the record.
    """
    if not reason.strip():
        raise MatineeError("say why it is barred", next_step='add --reason "consent ended"')
    with opening(service) as opened:
        pictures.bar(opened, picture, reason.strip())
        say(f"{picture} is shown no more: {reason.strip()}")


@artwork.command(help_epilogue=examples("artwork allow heat.4"))
def allow(picture: str, /, *, service: ServiceFolder = HERE) -> None:
    """Let a picture be shown again that was barred.

    Parameters
    ----------
    picture
        The id of a picture.
    """
    with opening(service) as opened:
        pictures.bar(opened, picture, None)
        say(f"{picture} may be shown again")


@artwork.command(
    help_epilogue=examples(
        "artwork limit heat.3f2a9c1b --country NL --country BE",
        "artwork limit heat.3f2a9c1b --min-age 16 --until 2027-01-01",
    )
)
def limit(
    picture: str,
    /,
    *,
    country: Annotated[list[str] | None, Parameter(negative="")] = None,
    min_age: int | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    service: ServiceFolder = HERE,
) -> None:
    """Say where, from which age, and between which times a picture may be shown.

    What is not named stays as it is.

    Parameters
    ----------
    picture
        The id of a picture.
    country
        A country where it may be shown, such as NL; several times. "*" is everywhere.
    min_age
        Years, for profiles whose requests name an age_limit.
    since
        From this time on (UTC unless it says otherwise).
    until
        No longer from this time on.
    """
    named = {
        "countries": None if country is None else [one for one in country if one != "*"],
        "min_age": min_age,
        "starts_at": since and aware(since),
        "ends_at": until and aware(until),
    }
    changed = {name: value for name, value in named.items() if value is not None}
    if not changed:
        raise MatineeError("say what limits it", next_step="add --country, --min-age or --until")
    with opening(service) as opened:
        pictures.limit(opened, picture, **changed)
        say(f"{picture}: {', '.join(sorted(changed))} changed")


@artwork.command(name="list", help_epilogue=examples("artwork list heat"))
def list_(title: str | None = None, /, *, limit: int = 50, service: ServiceFolder = HERE) -> None:
    """List the pictures of a title, or of all, with what they show and why they may not be shown.

    Parameters
    ----------
    title
        The id of a title; all of them by default.
    limit
        How many to list at most; 0 lists all.
    """
    with opening(service) as opened:
        known = pictures.artwork_of(opened).pictures.values()
        rows = [one for one in known if title in {None, one.title_id}]
        shown = rows[: limit or None]
        show(
            ("picture", "title", "shows", "fixed", "barred"),
            [
                (
                    one.picture_id,
                    one.title_id,
                    ", ".join(sorted(one.features)),
                    "fixed" if one.fixed else "",
                    one.barred or "",
                )
                for one in shown
            ],
        )
        if len(shown) < len(rows):
            say(f"{len(rows) - len(shown):,} more; --limit 0 lists all")


@artwork.command(help_epilogue=examples("artwork report", "artwork report artwork@3"))
def report(version: str | None = None, /, *, service: ServiceFolder = HERE) -> None:
    """Say what personal pictures bring beside the best single picture of each title.

    Of first choices alone, with intervals clustered by member: the best single picture is chosen
    on one half of the members and scored on the other. Below it stands what came of each version
    and of the members who always get fixed pictures, or random ones.

    Parameters
    ----------
    version
        A version such as artwork@3; the champion by default.
    """
    with opening(service) as opened:
        with working("Reading first choices"):
            found = attributed(opened, Artwork.name, version)
        show_attribution(found)


def _approve(title: Title, service: Path, numbers: str) -> str:
    where = "" if service == HERE else f" --service {quote(str(service))}"
    return f"matinee artwork approve {quote(title.title_id)} {numbers}{where}"


def _say_sheet(title: Title, folder: Path, service: Path) -> None:
    say(f"the contact sheet: {folder / 'sheet.html'}")
    say(f"next: look at it, then {_approve(title, service, 'NUMBERS')}")
