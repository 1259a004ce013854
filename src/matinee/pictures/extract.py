"""From a film's file to the pictures that a person may approve."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from matinee.errors import MatineeError
from matinee.pictures import media
from matinee.pictures.candidate import Candidate, Extracted
from matinee.pictures.child import told
from matinee.pictures.opencv import require
from matinee.pictures.settings import Extraction
from matinee.pictures.sheet import sheet
from matinee.store.flush import flush_file, flush_folder

LIST, SHEET = "candidates.json", "sheet.html"


@dataclass(frozen=True)
class Folder:
    """What stands in a folder of candidates. title : of the film. approve : the command that
    approves them, which the sheet tells.
    """

    title: str
    approve: str
    candidates: tuple[Candidate, ...]

    @classmethod
    def open(cls, folder: Path) -> Folder:
        """Read `candidates.json`. MatineeError where there is none that can be read."""
        try:
            found = json.loads((folder / LIST).read_text("utf-8"))
            candidates = tuple(map(Candidate.from_json, found["candidates"]))
            return cls(str(found["title"]), str(found["approve"]), candidates)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise MatineeError(
                f"{folder} holds no candidates",
                why=f"{LIST} is missing or cannot be read",
                next_step="extract the film again, into a new folder",
            ) from error

    def write(self, folder: Path) -> None:
        """Write the list and the sheet; each is the old or the new one at any time."""
        listed = {
            "title": self.title,
            "approve": self.approve,
            "candidates": [one.as_json() for one in self.candidates],
        }
        page = sheet(self.title, self.candidates, self.approve)
        for name, text in ((SHEET, page), (LIST, json.dumps(listed, indent=1))):
            draft = folder / f".{name}.draft"
            draft.write_text(text, "utf-8")
            draft.replace(folder / name)


def extract(
    film: Path,
    folder: Path,
    *,
    settings: Extraction | None = None,
    title: str = "",
    approve: str = "",
    advance: Callable[[int], None] = lambda percent: None,
) -> Extracted:
    """Take the best and most different pictures from a film.

    film : MP4, MOV, MKV, WebM, AVI or MPEG-TS. folder : is made, and must not exist or be empty;
    it then holds the crops (``03-16x9.jpg``), ``candidates.json`` and ``sheet.html``, all of them
    or, after an error, nothing. title : heads the sheet, the file's name by default. approve : the
    command that the sheet tells. advance : hears whole percents, as they pass, 100 in all.

    A film with few good frames gives fewer pictures than asked for. MatineeError where it gives
    none, the file is not a film, is damaged, passes a limit, or OpenCV is missing.
    """
    settings = settings or Extraction()
    require()
    path = media.film(film, settings.limits.size)
    folder = _vacant(folder)
    passed = 0
    with _draft(folder.parent, folder) as draft:
        said = None
        for line in told("film", path, draft, settings):
            if "percent" in line:
                advance(line["percent"] - passed)
                passed = line["percent"]
            else:
                said = line
        if said is None:
            raise MatineeError(f"{film.name} was not read", next_step="try again")
        candidates = tuple(map(Candidate.from_json, said["candidates"]))
        Folder(title or film.stem, approve, candidates).write(draft)
        _publish(draft, folder)
    advance(100 - passed)
    return Extracted(candidates, said["seconds"], said["shots"], said["dropped"])


def measure(
    image: Path,
    folder: Path,
    *,
    settings: Extraction | None = None,
    title: str = "",
    approve: str = "",
) -> Candidate:
    """Add a picture that a person brings to a folder of candidates, as the next number.

    image : JPEG, PNG or WebP. folder : as `extract` leaves it; made where there is none, and then
    `title` and `approve` are for its sheet. Scores, features and crops are those of a film's
    frame, but the picture is taken whatever they are; the feature "lettering" is 1 where there is
    some. MatineeError where the file is no picture, is damaged, or passes a limit.
    """
    settings = settings or Extraction()
    require()
    limits = settings.limits
    path = media.picture(image, limits.picture_size, limits.pixels)
    folder = media.straight(folder)
    stands = Folder.open(folder) if folder.exists() and any(folder.iterdir()) else None
    before = stands or Folder(title or image.stem, approve, ())
    with _draft(folder.parent, folder) as draft:
        (said,) = told("picture", path, draft, settings)
        made = Candidate.from_json(said["candidate"])
        number = 1 + max((one.number for one in before.candidates), default=0)
        candidate = _renumbered(made, number)
        folder.mkdir(exist_ok=True)
        for ratio, name in made.files.items():
            (draft / name).replace(folder / candidate.files[ratio])
    replace(before, candidates=(*before.candidates, candidate)).write(folder)
    return candidate


def _renumbered(made: Candidate, number: int) -> Candidate:
    """The same candidate with another number, in its files' names too."""
    files = {ratio: f"{number:02}{name[len(made.name) :]}" for ratio, name in made.files.items()}
    return replace(made, number=number, files=files)


def _vacant(folder: Path) -> Path:
    """The folder's path without symbolic links; MatineeError where something is in it."""
    folder = media.straight(folder)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise MatineeError(
            f"{folder} is not written",
            why="it exists, and is not an empty folder",
            next_step="give the name of a new folder",
        )
    return folder


@contextmanager
def _draft(parent: Path, folder: Path) -> Iterator[Path]:
    """A folder beside `folder` that is gone afterwards, unless it was renamed."""
    try:
        parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name[:40]}-", dir=parent))
    except OSError as error:
        raise _unwritten(folder, error) from error
    try:
        yield draft
    except OSError as error:
        raise _unwritten(folder, error) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _publish(draft: Path, folder: Path) -> None:
    """Give the draft its name, once the disk has all of it."""
    for path in draft.iterdir():
        flush_file(path)
    flush_folder(draft)
    draft.chmod(0o755)
    draft.rename(folder)


def _unwritten(folder: Path, error: OSError) -> MatineeError:
    return MatineeError(
        f"{folder} could not be written",
        why=error.strerror or str(error),
        next_step="free disk space, or see that the folder may be written",
    )
