"""The plan of a sequence model: its hyper-parameters and their ranges."""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import isfinite
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Every choice that shapes a :class:`Sequence` and its training.

    width : of a token. blocks, heads : of the encoder; heads divide the width. window : events
    that are looked at, at most. query_time : whether the time of the request, which a server
    knows, is used. dropout : share of activations dropped in training. negatives : titles that
    each target is held against in a step. correction : share of the log-Q correction of sampled
    softmax, 1 for calibrated scores. smoothing : 0 draws negatives alike, 1 by popularity.
    batch : members in a step, were all as long as the window. epochs : passes over the members.
    patience : validations without a gain after which training stops; ``matinee train`` learns from
    all that is known and has nothing to validate on. learning_rate : its greatest, after a warm-up,
    on a cosine to 0. decay : of the weights. average : of the moving average of the weights, which
    is what is kept. horizon : a target is one of so many events that follow: 1 asks what is watched
    next, more what is watched soon (Pancha et al., PinnerFormer, KDD 2022); of who has no history
    yet, always any in a window. precision : of the products in training. seed : of all chance.
    half_life : days after which an event counts for half as much as a target, 0 for no ageing:
    short where what is watched drifts.

    >>> Config(width=32).heads
    2
    >>> Config(width=33)
    Traceback (most recent call last):
    ValueError: width is 33 and heads is 2; give a width that the heads divide
    """

    width: int = 64
    blocks: int = 2
    heads: int = 2
    window: int = 200
    query_time: bool = True
    dropout: float = 0.2
    negatives: int = 1024
    correction: float = 1.0
    smoothing: float = 0.5
    batch: int = 8
    epochs: int = 14
    patience: int = 4
    learning_rate: float = 4e-3
    half_life: float = 0.0
    horizon: int = 1
    decay: float = 0.0
    average: float = 0.998
    precision: Literal["float32", "bfloat16"] = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, (least, most) in RANGES.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, type(least) | int):
                raise ValueError(f"{name} is {value!r}; give a number from {least} to {most}")
            if not (isfinite(value) and least <= value <= most):
                raise ValueError(f"{name} is {value}; give a number from {least} to {most}")
        if self.width % self.heads:
            raise ValueError(
                f"width is {self.width} and heads is {self.heads}; give a width that the heads "
                "divide"
            )
        if self.precision not in PRECISIONS:
            raise ValueError(
                f"precision is {self.precision!r}; choose one of {', '.join(PRECISIONS)}"
            )
        if not isinstance(self.query_time, bool):
            raise ValueError(f"query_time is {self.query_time!r}; give true or false")

    def settings(self) -> dict[str, Any]:
        """All of it as plain JSON values."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


PRECISIONS = ("float32", "bfloat16")

RANGES: dict[str, tuple[float, float]] = {
    "width": (4, 4096),
    "blocks": (1, 64),
    "heads": (1, 64),
    "window": (4, 4_096),
    "dropout": (0.0, 0.9),
    "negatives": (1, 1_000_000),
    "correction": (0.0, 1.0),
    "smoothing": (0.0, 1.0),
    "batch": (1, 100_000),
    "epochs": (1, 100_000),
    "patience": (1, 100_000),
    "learning_rate": (1e-7, 1.0),
    "half_life": (0.0, 1e6),
    "horizon": (1, 100_000),
    "decay": (0.0, 1.0),
    "average": (0.0, 0.99999),
    "seed": (0, 2**31 - 1),
}
"""The least and the most that each number may be."""
