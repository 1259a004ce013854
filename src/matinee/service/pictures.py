"""The pictures of a service: their files in its folder `artwork`, and what may be shown of them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec

from matinee.errors import MatineeError
from matinee.lake.importers.columns import nearest
from matinee.lake.records import Picture, Title
from matinee.pictures import Candidate, Folder
from matinee.service.folder import Service
from matinee.surfaces import Artwork

FOLDER, CANDIDATES = "artwork", "candidates"
LONGEST = 200
"""Characters of an id."""
KINDS = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".webp": "image/webp",
}
"""What a picture's file may be, by how its name ends."""


def file_of(service: Service, picture: Picture, ratio: str | None = None) -> tuple[Path, str]:
    """The file of a picture and its media type: the crop of that ratio, the first where there is
    none such or no one says which.

    Raises `MatineeError` where there is no file, or it is not one of the service's pictures.
    """
    crops = picture.files
    name = crops.get(ratio or "") or next(iter(crops.values()), None)
    if name is None:
        raise MatineeError(f"the picture {picture.picture_id} has no file")
    try:
        path = service.inside(f"{FOLDER}/{name}")
    except (ValueError, OSError):  # a name that no file can have
        path = service.folder
    if not path.is_relative_to(service.folder / FOLDER) or path.suffix.lower() not in KINDS:
        raise MatineeError(
            f"{name!r} is no file of a picture",
            why=f"it is to lie in {FOLDER}/ and to end in {', '.join(KINDS)}",
        )
    if not _is_file(path):
        raise MatineeError(f"the file of the picture {picture.picture_id} is missing", why=name)
    return path, KINDS[path.suffix.lower()]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long, say
        return False


def candidates_of(service: Service, title: Title) -> Path:
    """The folder of a title's candidates, from which a person approves."""
    return service.folder / FOLDER / CANDIDATES / slug(title.title_id)


def title_of(service: Service, title_id: str) -> Title:
    """A title of the catalogue; `MatineeError` names one that is spelt alike."""
    catalogue = artwork_of(service).catalogue
    if title_id not in catalogue:
        raise MatineeError(
            f"the catalogue has no title {title_id!r}",
            why=nearest(title_id, list(catalogue)) if catalogue else "it is empty",
            next_step="import the catalogue first, or mend the id",
        )
    return catalogue[title_id]


def approve(
    service: Service,
    title: Title,
    numbers: Sequence[int],
    *,
    shows: Collection[str] = (),
    fixed: int | None = None,
) -> list[Picture]:
    """Let candidates of a title stand for it from now on.

    `numbers` are those of its contact sheet; `shows` is what all of them show besides what was
    measured (a genre, "cast: NAME"). The picture `fixed` is the one of those who are never chosen
    for. Raises `MatineeError` for a number that there is not.
    """
    folder = candidates_of(service, title)
    known = {one.number: one for one in Folder.open(folder).candidates}
    wanted = [*numbers, *([] if fixed is None or fixed in numbers else [fixed])]
    if missing := [number for number in wanted if number not in known]:
        raise MatineeError(
            f"there is no candidate {missing[0]} of {title.title_id}",
            why=f"its numbers are {', '.join(map(str, sorted(known))) or 'none'}",
            next_step=f"look at {folder / 'sheet.html'}",
        )
    standing = artwork_of(service).pictures
    made: dict[int, Picture] = {}
    for number in dict.fromkeys(wanted):
        name = _name(folder, known[number])
        own = picture_id(title, name)
        _require_unbarred(standing.get(own))
        files = _copied(service, title, folder, known[number], name)
        before = standing.get(own) or Picture(picture_id=own, title_id=title.title_id)
        features = {**known[number].features, **before.features, **dict.fromkeys(shows, 1.0)}
        made[number] = msgspec.structs.replace(before, features=features, files=files)
    pictures = list(made.values())
    if fixed is not None:
        pictures = _with_fixed(service, title, pictures, made[fixed].picture_id)
    service.lake.put(pictures)
    service.refresh()
    return pictures


def bar(service: Service, picture_id: str, reason: str | None) -> Picture:
    """Let a picture not be shown any more, for a reason, or let it again where there is none.

    Whoever saw it gets another one. Raises `MatineeError` for one that is not known.
    """
    return limit(service, picture_id, barred=reason)


def limit(service: Service, picture_id: str, **changed: Any) -> Picture:
    """Change to whom, where, when or whether a picture may be shown: fields of `Picture`.

    Raises `MatineeError` for one that is not known, or for what cannot be.
    """
    pictures = artwork_of(service).pictures
    if picture_id not in pictures:
        raise MatineeError(
            f"there is no picture {picture_id!r}",
            why=nearest(picture_id, list(pictures)) if pictures else "there are none at all",
            next_step="matinee artwork list",
        )
    made = msgspec.structs.replace(pictures[picture_id], **changed)
    try:
        service.lake.put([made])
    except ValueError as wrong:
        raise MatineeError(f"{picture_id} cannot be limited so", why=str(wrong)) from wrong
    service.refresh()
    return made


def picture_id(title: Title, name: str) -> str:
    """The id of a title's picture of that name; `MatineeError` where it would be too long."""
    made = f"{title.title_id}.{name}"
    if len(made) > LONGEST:
        raise MatineeError(
            f"the id {title.title_id!r} leaves no room for those of its pictures",
            why=f"an id has at most {LONGEST} characters",
        )
    return made


def slug(text: str) -> str:
    """A file's name that says what it is of, another one for each text.

    >>> slug("heat-1995"), slug("a/b")[:4]
    ('heat-1995', 'a-b-')
    """
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-.")[:60]
    if plain == text:
        return text
    return f"{plain}-{blake2b(text.encode(), digest_size=6).hexdigest()}".lstrip("-")


def artwork_of(service: Service) -> Artwork:
    """The surface of a service's pictures."""
    found = service.surface(Artwork.name)
    assert isinstance(found, Artwork)  # noqa: S101 - it is built in
    return found


def _name(folder: Path, candidate: Candidate) -> str:
    """A name that is made of what a picture looks like: another picture never gets it."""
    digest = blake2b(digest_size=4)
    try:
        for name in sorted(candidate.files.values()):
            digest.update((folder / name).read_bytes())
    except OSError as error:
        raise MatineeError(
            f"candidate {candidate.number} cannot be read",
            why=error.strerror or str(error),
            next_step=f"rm -r {folder}, then extract anew",
        ) from error
    return digest.hexdigest()


def _require_unbarred(standing: Picture | None) -> None:
    if standing is not None and standing.barred is not None:
        raise MatineeError(
            f"{standing.picture_id} is barred: {standing.barred}",
            next_step=f"matinee artwork allow {standing.picture_id}, if that is over",
        )


def _copied(
    service: Service, title: Title, folder: Path, candidate: Candidate, name: str
) -> dict[str, str]:
    """Its files among the service's pictures, by ratio."""
    home = service.folder / FOLDER / slug(title.title_id)
    files = {
        ratio: f"{name}-{ratio.replace(':', 'x')}{Path(own).suffix}"
        for ratio, own in candidate.files.items()
    }
    try:
        home.mkdir(parents=True, exist_ok=True)
        for ratio, own in candidate.files.items():
            draft = home / f".{files[ratio]}.draft"
            shutil.copyfile(folder / own, draft)
            draft.replace(home / files[ratio])
    except OSError as error:
        raise MatineeError(
            f"the pictures of {title.title_id} could not be written to {home}",
            why=error.strerror or str(error),
            next_step="free disk space, or see that the folder may be written",
        ) from error
    return {ratio: f"{home.name}/{own}" for ratio, own in files.items()}


def _with_fixed(
    service: Service, title: Title, pictures: Sequence[Picture], fixed: str
) -> list[Picture]:
    """The pictures, one of which is the fixed one from now on, and the one that was it."""
    before = [one for one in artwork_of(service).of(title.title_id) if one.fixed]
    own = {one.picture_id for one in pictures}
    changed = [*pictures, *(one for one in before if one.picture_id not in own)]
    return [msgspec.structs.replace(one, fixed=one.picture_id == fixed) for one in changed]
