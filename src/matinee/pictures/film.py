"""From a film to its candidate pictures, decoded once from beginning to end: runs in the reader's
process.

Two frames a second are looked at closely, once it is known what comes a second and a half before
and after; of each shot the best few are measured; of all shots a few score are kept; of those the
best that differ most are cut and written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from matinee.errors import MatineeError
from matinee.pictures import crops
from matinee.pictures.candidate import Candidate
from matinee.pictures.fades import is_mixture
from matinee.pictures.frames import Frame, ahead, frames, opened
from matinee.pictures.lettering import LIKELY, NOTHING, SURE, lettering
from matinee.pictures.measures import exposure, is_black, is_flat, measured, paged, sharpness
from matinee.pictures.opencv import cv2
from matinee.pictures.pool import Pool
from matinee.pictures.settings import Extraction
from matinee.pictures.shots import AROUND, distance, is_cut

AROUND_S = 1.5
"""Seconds before and after a frame that are looked at; lettering there rules the frame out."""
MARGIN_S = 0.2
"""Seconds around a cut in which no frame is taken."""
EVERY_S = 0.5
"""Seconds from one frame that is looked at closely to the next."""
LONG_S = 10.0
"""Seconds after which a shot may give as many frames again."""
APART_S = 1.0
"""The least seconds between two frames of a shot."""

UNCHANGED = 5
"""The most, of 255, by which a place of a small frame differs where nothing changed."""

Say = Callable[[dict[str, Any]], None]


@dataclass
class Seen:
    """A frame that was looked at. picture : kept of those that may be chosen. lettering : the log
    odds that there is some, of those.
    """

    seconds: float
    small: NDArray[np.uint8]
    picture: NDArray[np.uint8] | None
    lettering: float
    cut: bool = False


class Scan:
    """What has been seen of a film so far. rate : of frames that are looked at, in a second."""

    def __init__(self, rate: float, settings: Extraction) -> None:
        self.reach = max(AROUND + 1, round(AROUND_S * rate))
        self.margin = max(1, round(MARGIN_S * rate))
        self.every = max(1, round(EVERY_S * rate))
        self.settings = settings
        self.pool = Pool(settings)
        self.shots, self.dropped = 1, Counter[str]()
        self._window: list[Seen] = []
        self._distances: list[float] = []
        self._place = 0  # of the next frame to decide about, in the window
        self._kept: list[tuple[float, Seen]] = []
        self._since = 0.0

    def seen(self, frames: Iterable[Frame]) -> Iterator[Seen]:
        """The frames, every half second one with its picture and whether there is lettering."""
        small, found = np.zeros(0, np.uint8), NOTHING
        for place, frame in enumerate(frames):
            close = place % self.every == 0
            if close and not _same(small, frame.small):
                small = frame.small
                found = NOTHING if is_black(_grey(small)) else lettering(frame.picture)
            picture = frame.picture if close else None
            yield Seen(frame.seconds, frame.small, picture, found if close else NOTHING)

    def take(self, seen: Seen) -> None:
        """Take in the next frame, and decide about the one that now has enough after it."""
        before = self._window[-1] if self._window else seen
        self._distances.append(distance(before.small, seen.small))
        self._window.append(seen)
        self._mark(len(self._distances) - 1 - AROUND)
        if len(self._window) - self._place > self.reach:
            self._decide()

    def end(self) -> None:
        """Decide about the frames that are left."""
        for place in range(max(0, len(self._distances) - AROUND), len(self._distances)):
            self._mark(place)
        while self._place < len(self._window):
            self._decide()
        self._finish()

    def _mark(self, place: int) -> None:
        if place > 0 and is_cut(self._distances, place):
            self._window[place - len(self._distances)].cut = True

    def _decide(self) -> None:
        seen = self._window[self._place]
        if seen.cut:
            self.shots += 1
        if seen.cut or seen.seconds - self._since > LONG_S:
            self._finish()
            self._since = seen.seconds
        if seen.picture is not None:
            if reason := self._reason(seen, seen.picture):
                self.dropped[reason] += 1
            else:
                self._keep(seen, seen.picture)
            seen.picture = None
        self._place += 1
        if self._place > self.reach:
            self._window.pop(0)
            self._place -= 1

    def _reason(self, seen: Seen, picture: NDArray[np.uint8]) -> str | None:
        """Why a frame is not used, by what it shows and what is around it; None where it is."""
        small = _grey(seen.small)
        if is_black(small):
            return "black"
        if is_flat(small):
            return "flat"
        start, stop = self._shot()
        here = self._place - start
        if (start and here < self.margin) or (
            stop < len(self._window) and stop - self._place <= self.margin
        ):
            return "at a cut"
        shot = self._window[start:stop]
        if is_mixture([each.small for each in shot], here):
            return "in a fade"
        # A quick move may look like a cut: lettering counts on both sides of one.
        lettered = seen.lettering >= LIKELY or any(each.lettering >= SURE for each in self._window)
        return "lettering" if lettered else None

    def _shot(self) -> tuple[int, int]:
        """Where the frame's shot begins and ends in the window."""
        start = self._place
        while start and not self._window[start].cut:
            start -= 1
        stop = self._place + 1
        while stop < len(self._window) and not self._window[stop].cut:
            stop += 1
        return start, stop

    def _keep(self, seen: Seen, picture: NDArray[np.uint8]) -> None:
        """Among the best frames of the shot, if it is one of them."""
        grey = cv2.cvtColor(paged(picture), cv2.COLOR_BGR2GRAY)
        quality = sharpness(grey) + 0.3 * exposure(grey)
        new = Seen(seen.seconds, seen.small, picture, seen.lettering)
        near = [k for k in self._kept if abs(k[1].seconds - seen.seconds) < APART_S]
        full = len(self._kept) >= self.settings.per_shot
        rival = min(near or (self._kept if full else []), key=lambda k: k[0], default=None)
        if rival and rival[0] >= quality:
            self.dropped["weaker than others of its shot"] += 1
            return
        if rival:
            self.dropped["weaker than others of its shot"] += 1
            self._kept = [kept for kept in self._kept if kept is not rival]
        self._kept.append((quality, new))

    def _finish(self) -> None:
        """Measure the best frames of a shot that has ended."""
        for _, seen in sorted(self._kept, key=lambda kept: kept[1].seconds):
            if seen.picture is not None and (reason := self.pool.offer(seen.seconds, seen.picture)):
                self.dropped[reason] += 1
        self._kept = []


def read_film(path: Path, folder: Path, settings: Extraction, say: Say) -> None:
    """Write the candidates' crops into the folder; say how far it is in percent, then the rest."""
    with opened(path, settings.limits) as film:
        scan, told = Scan(film.rate / film.stride, settings), 0
        end = max(1.0, film.count * settings.until)
        for seen in ahead(scan.seen(ahead(frames(film, settings)))):
            scan.take(seen)
            percent = int(95 * seen.seconds * film.rate / end)
            if percent > told:
                say({"percent": (told := percent)})
        scan.end()
        seconds = film.seconds
    candidates = [one.as_json() for one in _written(scan.pool, folder, settings)]
    if not candidates:
        raise _none(path, scan.dropped, settings)
    dropped = dict(sorted(scan.dropped.items()))
    found = {"seconds": round(seconds, 3), "shots": scan.shots, "dropped": dropped}
    say({"candidates": candidates, **found})


def _written(pool: Pool, folder: Path, settings: Extraction) -> list[Candidate]:
    around = crops.bars(pool.lightest) if pool.lightest is not None else (0.0,) * 4
    found = []
    for number, kept in enumerate(pool.chosen(), 1):
        picture, of = kept.picture(), kept.measured
        if any(around):
            picture = crops.trimmed(picture, around)
            of = measured(picture)
        files = crops.written(
            picture, of.weights, folder, f"{number:02}",
            width=settings.width, quality=settings.quality,
        )  # fmt: skip
        features = {**of.features, "lettering": 0.0}
        found.append(Candidate(number, round(kept.seconds, 3), files, of.scores, features))
    return found


def _none(path: Path, dropped: Counter[str], settings: Extraction) -> MatineeError:
    looked = sum(dropped.values())
    told = ", ".join(f"{count} {reason}" for reason, count in dropped.most_common())
    why = f"of {looked} frames looked at all were dropped: {told}"
    if not looked:
        why = f"no frame lies between {settings.skip:g} s and {settings.until:.0%} of it"
    return MatineeError(
        f"{path.name} gives no picture", why=why, next_step="bring pictures of your own"
    )


def _same(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    """Whether nothing at all changed from one small frame to another."""
    return one.shape == other.shape and int(cv2.absdiff(one, other).max()) <= UNCHANGED


def _grey(small: NDArray[np.uint8]) -> NDArray[np.uint8]:
    grey: NDArray[np.uint8] = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)
    return grey
