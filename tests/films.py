"""Films whose truth is known, written frame by frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np

RATE = 24
WIDTH, HEIGHT = 426, 240
WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def scene(seed: int, frames: int = 48, tint: tuple[float, float, float] | None = None) -> list:
    """A moving picture of soft shapes [frames, H, W, 3]; `tint` is its mean blue, green, red."""
    rng = np.random.default_rng(seed)
    shape = (HEIGHT + 40, WIDTH + 2 * frames + 40)
    picture = np.zeros((*shape, 3), np.float32)
    for cells, strength in ((6, 70), (24, 28), (60, 14), (120, 7)):
        grid = rng.uniform(-1, 1, (cells, 2 * cells, 3)).astype(np.float32)
        picture += strength * cv2.resize(grid, shape[::-1], interpolation=cv2.INTER_CUBIC)
    picture += np.array(tint or rng.uniform(70, 180, 3), np.float32)
    whole = np.clip(picture, 0, 255).astype(np.uint8)
    return [whole[20 : 20 + HEIGHT, 20 + step : 20 + step + WIDTH].copy() for step in range(frames)]


def plain(colour: tuple[int, int, int], frames: int = 48) -> list:
    return [np.full((HEIGHT, WIDTH, 3), colour, np.uint8)] * frames


def faded(frames: list, upward: bool) -> list:
    """The frames, from black or to it."""
    shares = np.linspace(0, 1, len(frames))
    shares = shares if upward else 1 - shares
    return [(frame * share).astype(np.uint8) for frame, share in zip(frames, shares, strict=True)]


def dissolved(before: list, after: list) -> list:
    """From one scene to the other, over as many frames as both have."""
    shares = np.linspace(0, 1, len(before))
    return [
        cv2.addWeighted(one, 1 - share, other, share, 0)
        for one, other, share in zip(before, after, shares, strict=True)
    ]


def lettered(frames: list, text: str, *, font: int = 0, scale: float = 1.2,
             colour: tuple[int, int, int] = WHITE, thick: int = 2) -> list:  # fmt: skip
    """The frames with a text in their middle."""
    (wide, high), _ = cv2.getTextSize(text, font, scale, thick)
    place = ((WIDTH - wide) // 2, (HEIGHT + high) // 2)
    assert place[0] > 0
    return [
        cv2.putText(frame.copy(), text, place, font, scale, colour, thick, cv2.LINE_AA)
        for frame in frames
    ]


def film(path: Path, *parts: Iterable[np.ndarray], code: str = "mp4v", rate: int = RATE) -> Path:
    """Write the parts one after the other, cut hard."""
    frames = list(_all(parts))
    high, wide = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), rate, (wide, high))
    assert writer.isOpened()
    for frame in frames:
        writer.write(frame)
    writer.release()
    return path


def _all(parts: Iterable[Iterable[np.ndarray]]) -> Iterator[np.ndarray]:
    for part in parts:
        yield from part
