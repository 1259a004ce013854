"""How interactions are split into what a model may learn from and what it is asked.

Rows of one member are put in the order (ts, seq), stably, so nothing depends on luck in a sort. A
row of weight 0 was met and not watched: models may know of it, it counts nowhere, and it is never
asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from matinee.evaluation.interactions import coded, countries, digest, ordered
from matinee.lake.records import micros
from matinee.models.data import Context, Dataset, Histories, Holdout, Vocabulary

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Split:
    """Training data and the questions that follow it.

    `protocol` names the split and its settings, `data` counts the interactions and holds their
    `fingerprint`. Choose settings on `validation` alone; `test` is for the figure that is told.
    `train` holds the validation too, for models that stop when they get no better.
    """

    protocol: dict[str, Any]
    data: dict[str, Any]
    train: Dataset
    validation: Holdout | None
    test: Holdout


def five_core(frame: pl.DataFrame, k: int = 5) -> pl.DataFrame:
    """Drop members and titles with fewer than k watches, again and again until none is left.

    >>> frame = pl.DataFrame({"member_id": ["a", "a", "b"], "title_id": ["x", "y", "x"]})
    >>> five_core(frame, k=2).height  # y goes, then a, then all
    0
    """
    watches = (pl.col("weight") > 0).sum() if "weight" in frame.columns else pl.len()
    while True:
        enough = [watches.over(column) >= k for column in ("member_id", "title_id")]
        kept = frame.filter(*enough)
        if kept.height == frame.height:
            return kept
        frame = kept


def leave_one_out(frame: pl.DataFrame) -> Split:
    """Each member's last watch is the test target, the one before it the validation target.

    Training has all that is earlier. The test context has everything before the last watch, so the
    validation target is among a member's inputs at test time and never among the training data.
    A question is asked at the time of its target, on the device of it. A member of fewer than three
    watches is trained on and not asked; a target that the member had watched before is no question
    either. Kang and McAuley, "Self-attentive sequential
    recommendation" (ICDM 2018), use this split.

    >>> frame = pl.DataFrame({"member_id": ["a"] * 4, "title_id": list("wxyz"),
    ...                       "ts": [1, 2, 3, 3], "seq": [0, 1, 2, 3]})
    >>> split = leave_one_out(frame)
    >>> split.test.context.histories.titles, split.test.targets.titles
    (array([0, 1, 2], dtype=int32), array([3], dtype=int32))
    """
    log = _Log.of(frame)
    counts = np.bincount(log.member[log.watched], minlength=len(log.members))
    after = np.cumsum(counts)[log.member] - np.cumsum(log.watched)
    asked = counts[log.member] >= 3
    last, penultimate = (asked & log.watched & (after == left) for left in (0, 1))
    validation = log.holdout(penultimate, asked & (after > 1))
    return Split(
        {"name": "leave_one_out"},
        log.facts(),
        replace(log.train(~asked | (after > 1)), validation=validation),
        validation,
        log.holdout(last, asked & (after > 0)),
    )


def global_time_split(
    frame: pl.DataFrame, at: datetime, validate_from: datetime | None = None
) -> Split:
    """Learn from before `at`, and ask for what each member watched from `at` on.

    Every member with a new title from `at` on is asked. One who was unseen before has an empty
    context and stays in: the figures include what newcomers get. A title unseen before stays in
    the vocabulary and among the targets, and counts as a miss unless a model ranks it. A title
    that the member had watched before is no target.

    With `validate_from` (before `at`), training ends there and the events in between are the
    validation targets; they are inputs at test time. Meng et al., "Exploring data splitting
    strategies for the evaluation of recommendation models" (RecSys 2020), tell why a cut in time
    is the honest split.

    Raises `ValueError` where nothing lies before or after the cut.
    """
    log = _Log.of(frame)
    cut = _micros(at, "at")
    begin = cut if validate_from is None else _micros(validate_from, "validate_from")
    if begin > cut:
        raise ValueError(f"validate_from {validate_from} is after at {at}; give an earlier time")
    before, known = log.times < begin, log.times < cut
    between, after = log.watched & ~before & known, log.watched & ~known
    learned = int((before & log.watched).sum())
    if not learned or not after.any():
        raise ValueError(
            f"the cut leaves {learned} events to learn from and {after.sum()} to ask for; "
            f"choose a time between the first and the last event"
        )
    protocol = {"name": "global_time_split", "at": at.isoformat()}
    if validate_from is not None:
        protocol["validate_from"] = validate_from.isoformat()
    validation = log.holdout(between, before, at=begin) if between.any() else None
    return Split(
        protocol,
        log.facts(),
        replace(log.train(before, as_of=begin), validation=validation),
        validation,
        log.holdout(after, known, at=cut),
    )


@dataclass(frozen=True)
class _Log:
    """Interactions as arrays [N] in the order (member, ts, seq)."""

    members: tuple[str, ...]
    titles: Vocabulary
    countries: NDArray[np.object_]
    member: NDArray[np.int64]
    title: NDArray[np.int32]
    times: NDArray[np.int64]
    weights: NDArray[np.float32]
    signals: NDArray[np.uint8]
    devices: Vocabulary
    device: NDArray[np.int32]
    fingerprint: str

    @property
    def watched(self) -> Mask:
        return self.weights > 0

    @classmethod
    def of(cls, frame: pl.DataFrame) -> _Log:
        rows = ordered(frame)
        members = rows["member_id"].unique(maintain_order=True)
        titles = Vocabulary(rows["title_id"].unique().sort())
        devices = Vocabulary(rows["device"].drop_nulls().unique().sort())
        return cls(
            tuple(members),
            titles,
            countries(rows),
            rows["member_id"].rle_id().cast(pl.Int64).to_numpy(),
            coded(rows["title_id"], titles),
            rows["ts"].to_numpy(),
            rows["weight"].to_numpy(),
            rows["signals"].to_numpy(),
            devices,
            coded(rows["device"], devices),
            digest(rows),
        )

    def facts(self) -> dict[str, Any]:
        return {
            "events": int(self.watched.sum()),
            "members": len(self.members),
            "titles": len(self.titles),
            "fingerprint": self.fingerprint,
        }

    def histories(self, keep: Mask, members: NDArray[np.int64]) -> Histories:
        """The kept events of these members (ascending), who may have none."""
        chosen = np.zeros(len(self.members), np.bool_)
        chosen[members] = True
        keep = keep & chosen[self.member]
        counts = np.bincount(self.member[keep], minlength=len(self.members))[members]
        return Histories(
            np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            self.title[keep],
            self.times[keep],
            self.weights[keep],
            tuple(self.countries[members]),
            self.signals[keep] if self.signals.any() else self.signals[:0],
            self.device[keep] if len(self.devices) else self.device[:0],
        )

    def train(self, keep: Mask, as_of: int | None = None) -> Dataset:
        members = np.unique(self.member[keep])
        found = Dataset.of(self.titles, self.histories(keep, members), as_of)
        return replace(found, devices=self.devices)

    def holdout(self, asked: Mask, context: Mask, at: int | None = None) -> Holdout:
        """Questions about the first watch of each title asked for that was not watched before."""
        cell = self.member * len(self.titles) + self.title
        wanted = np.flatnonzero(asked)
        before = pl.Series(cell[context & self.watched]).implode()
        known = pl.Series(cell[wanted]).is_in(before).to_numpy()
        fresh = wanted[~known]
        questions = np.zeros(len(cell), np.bool_)
        questions[fresh[np.unique(cell[fresh], return_index=True)[1]]] = True
        members = np.unique(self.member[questions])
        targets = self.histories(questions, members)
        return Holdout(
            tuple(self.members[member] for member in members),
            Context(self.histories(context, members), *self._asking(targets, at)),
            targets,
        )

    def _asking(
        self, targets: Histories, at: int | None
    ) -> tuple[NDArray[np.int64], tuple[str | None, ...]]:
        """When each member is asked, and on which device, if that is the target's own time."""
        if at is not None:
            return np.full(len(targets), at), ()
        names = (*self.devices.ids, None)  # None at -1 too
        codes = targets.devices[targets.offsets[:-1]] if len(targets.devices) else ()
        return targets.times[targets.offsets[:-1]], tuple(names[code] for code in codes)


def _micros(time: datetime, name: str) -> int:
    if time.tzinfo is None:
        raise ValueError(f"{name} has no time zone; write for example {time}+00:00")
    return micros(time)
