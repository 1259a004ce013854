"""The files of pictures, in the folder `artwork` of a service."""

from __future__ import annotations

from pathlib import Path

from matinee.errors import MatineeError
from matinee.lake.records import Picture
from matinee.service.folder import Service

FOLDER = "artwork"
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
    path = service.inside(f"{FOLDER}/{name}")
    if not path.is_relative_to(service.folder / FOLDER) or path.suffix.lower() not in KINDS:
        raise MatineeError(
            f"{name!r} is no file of a picture",
            why=f"it is to lie in {FOLDER}/ and to end in {', '.join(KINDS)}",
        )
    if not path.is_file():
        raise MatineeError(f"the file of the picture {picture.picture_id} is missing", why=name)
    return path, KINDS[path.suffix.lower()]
