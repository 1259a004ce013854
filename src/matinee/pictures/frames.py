"""The frames of a film, in order, decoded once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Full, Queue
from threading import Event, Thread
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from matinee.errors import MatineeError
from matinee.pictures.opencv import cv2
from matinee.pictures.settings import Extraction, Limits

Picture = NDArray[np.uint8]
"""Blue, green, red [H, W, 3]."""
SMALL = (64, 36)
"""Width and height of the frames in which shots are looked for."""
T = TypeVar("T")


class Frame(NamedTuple):
    """A frame: its number from 0, its time in seconds, the whole picture and a small one."""

    number: int
    seconds: float
    picture: Picture
    small: Picture


@dataclass(frozen=True)
class Film:
    """An open film. rate : frames a second. count : of frames. shape : width and height to show."""

    capture: Any
    path: Path
    rate: float
    count: int
    shape: tuple[int, int]

    @property
    def seconds(self) -> float:
        return self.count / self.rate

    @property
    def stride(self) -> int:
        """Every how many frames one is looked at: some 12 to 24 in a second."""
        return max(1, min(2, round(self.rate / 12))) if self.rate < 40 else round(self.rate / 20)


@contextmanager
def opened(path: Path, limits: Limits) -> Iterator[Film]:
    """The film, or MatineeError where it is none or passes a limit. Frames that are not declared,
    or more than can be, are counted first.
    """
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        if not capture.isOpened():
            raise _damaged(path, "there is no film in it that can be decoded")
        film = _described(capture, path, limits)
        if film.count <= 0 or film.seconds > 48 * 3600:
            count = _counted(capture, path, limits)
            capture.release()
            capture.open(str(path), cv2.CAP_FFMPEG)
            film = Film(capture, path, film.rate, count, film.shape)
        _within(film, limits)
        yield film
    finally:
        capture.release()


def _described(capture: Any, path: Path, limits: Limits) -> Film:
    width = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))
    height = int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    if width < 32 or height < 32:
        raise _damaged(path, f"its picture is {width} x {height} pixels")
    if width * height > limits.pixels:
        why = f"it is {width:,} x {height:,}, and {limits.pixels:,} pixels are allowed"
        raise MatineeError(f"{path.name} is not read", why=why, next_step="give a smaller copy")
    rate = float(capture.get(cv2.CAP_PROP_FPS))
    rate = rate if 1 <= rate <= 240 else 25.0
    count = int(max(-1.0, min(2.0**53, float(capture.get(cv2.CAP_PROP_FRAME_COUNT)))))
    return Film(capture, path, rate, count, (_shown_width(capture, width), height))


def _shown_width(capture: Any, width: int) -> int:
    """The width at which pixels are square."""
    across = float(capture.get(cv2.CAP_PROP_SAR_NUM))
    down = float(capture.get(cv2.CAP_PROP_SAR_DEN))
    aspect = across / down if across > 0 and down > 0 else 1.0
    return round(width * aspect) if 0.5 <= aspect <= 2 else width


def _counted(capture: Any, path: Path, limits: Limits) -> int:
    count = 0
    while count <= limits.frames and capture.grab():
        count += 1
    if not count:
        raise _damaged(path, "not one frame of it can be decoded")
    return count


def _within(film: Film, limits: Limits) -> None:
    if film.count > limits.frames or film.seconds > limits.hours * 3600:
        why = (
            f"it has {film.count:,} frames and lasts {film.seconds / 3600:.1f} hours; "
            f"{limits.frames:,} frames and {limits.hours:g} hours are allowed"
        )
        step = "raise the limit, or give a part of it"
        raise MatineeError(f"{film.path.name} is not read", why=why, next_step=step)


def frames(film: Film, settings: Extraction) -> Iterator[Frame]:
    """The frames that are looked at, from `skip` seconds up to the share `until` of the film.

    MatineeError where the film breaks off before.
    """
    first, end = int(settings.skip * film.rate), int(film.count * settings.until)
    number, last = 0, 0.0
    while number < end:
        if not film.capture.grab():
            break
        if number >= first and (number - first) % film.stride == 0:
            whole, picture = film.capture.retrieve()
            if whole and picture is not None and picture.ndim == 3:
                last = max(last, number / film.rate)
                yield _frame(film, number, picture)
        number += 1
    if number < 0.95 * end - film.rate:
        where = f"it breaks off after {number / film.rate:.1f} of {film.seconds:.1f} seconds"
        raise _damaged(film.path, where)


def _frame(film: Film, number: int, picture: Picture) -> Frame:
    if picture.shape[1] != film.shape[0]:
        picture = cv2.resize(picture, film.shape, interpolation=cv2.INTER_AREA)
    small = cv2.resize(picture, (4 * SMALL[0], 4 * SMALL[1]), interpolation=cv2.INTER_LINEAR)
    small = cv2.resize(small, SMALL, interpolation=cv2.INTER_AREA)
    return Frame(number, number / film.rate, picture, small)


def ahead(items: Iterable[T], size: int = 8) -> Iterator[T]:
    """The same items, up to `size` of them made in another thread before they are asked for.

    >>> list(ahead(range(3)))
    [0, 1, 2]
    """
    queue: Queue[tuple[T | None, BaseException | None]] = Queue(size)
    left = Event()

    def put(item: T | None, error: BaseException | None) -> None:
        while not left.is_set():
            try:
                queue.put((item, error), timeout=0.1)
                return
            except Full:
                continue

    def work() -> None:
        try:
            for item in items:
                put(item, None)
                if left.is_set():
                    return
            put(None, StopIteration())
        except BaseException as error:
            put(None, error)

    thread = Thread(target=work)
    thread.start()
    try:
        while True:
            item, error = queue.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item  # type: ignore[misc]
    finally:
        left.set()
        thread.join()


def _damaged(path: Path, why: str) -> MatineeError:
    return MatineeError(
        f"{path.name} cannot be read",
        why=why,
        next_step="see that it plays, or convert it to MP4 and give that",
    )
