"""How interactions are split into what a model may learn from and what it is asked.

Interactions are a Polars frame with `member_id`, `title_id` (text), `ts` (a time, or microseconds
since 1970) and `seq` (which of two events at the same `ts` came first); `country` is optional.
Rows of one member are put in the order (ts, seq), stably, so nothing depends on luck in a sort.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from matinee.lake.records import micros
from matinee.models.data import Context, Dataset, Histories, Holdout, Vocabulary

COLUMNS = ("member_id", "title_id", "ts", "seq")

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
    """Drop members and titles with fewer than k events, again and again until none is left.

    >>> frame = pl.DataFrame({"member_id": ["a", "a", "b"], "title_id": ["x", "y", "x"]})
    >>> five_core(frame, k=2).height  # y goes, then a, then all
    0
    """
    while True:
        enough = [pl.len().over(column) >= k for column in ("member_id", "title_id")]
        kept = frame.filter(*enough)
        if kept.height == frame.height:
            return kept
        frame = kept


def leave_one_out(frame: pl.DataFrame) -> Split:
    """Each member's last event is the test target, the one before it the validation target.

    Training has all earlier events. The test context has everything but the last event, so the
    validation target is among a member's inputs at test time and never among the training data.
    A member of fewer than three events is trained on and not asked; a target that the member had
    watched before is no question either. Kang and McAuley, "Self-attentive sequential
    recommendation" (ICDM 2018), use this split.

    >>> frame = pl.DataFrame({"member_id": ["a"] * 4, "title_id": list("wxyz"),
    ...                       "ts": [1, 2, 3, 3], "seq": [0, 1, 2, 3]})
    >>> split = leave_one_out(frame)
    >>> split.test.context.histories.titles, split.test.targets.titles
    (array([0, 1, 2], dtype=int32), array([3], dtype=int32))
    """
    log = _Log.of(frame)
    counts = np.bincount(log.member, minlength=len(log.members))
    after = (np.cumsum(counts)[log.member] - 1) - np.arange(len(log.member))
    asked = counts[log.member] >= 3
    last, penultimate = asked & (after == 0), asked & (after == 1)
    validation = log.holdout(penultimate, asked & (after > 1))
    return Split(
        {"name": "leave_one_out"},
        log.facts(),
        replace(log.train(~(last | penultimate)), validation=validation),
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
    before, after = log.times < begin, log.times >= cut
    if not before.any() or not after.any():
        raise ValueError(
            f"the cut leaves {before.sum()} events to learn from and {after.sum()} to ask for; "
            f"choose a time between the first and the last event"
        )
    between = ~before & ~after
    protocol = {"name": "global_time_split", "at": at.isoformat()}
    if validate_from is not None:
        protocol["validate_from"] = validate_from.isoformat()
    validation = log.holdout(between, before, at=begin) if between.any() else None
    return Split(
        protocol,
        log.facts(),
        replace(log.train(before, as_of=begin), validation=validation),
        validation,
        log.holdout(after, ~after, at=cut),
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
    fingerprint: str

    @classmethod
    def of(cls, frame: pl.DataFrame) -> _Log:
        ordered = _ordered(frame)
        members = ordered["member_id"].unique(maintain_order=True)
        titles = ordered["title_id"].unique().sort()
        coded = ordered.join(
            pl.DataFrame({"title_id": titles, "title": range(len(titles))}),
            on="title_id",
            maintain_order="left",
        )
        ids = ordered["member_id"]
        return cls(
            tuple(members),
            Vocabulary(titles),
            _countries(ordered),
            ids.rle_id().cast(pl.Int64).to_numpy(),
            coded["title"].cast(pl.Int32).to_numpy(),
            ordered["ts"].to_numpy(),
            _digest(ordered),
        )

    def facts(self) -> dict[str, Any]:
        return {
            "events": len(self.member),
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
            np.ones(int(counts.sum()), np.float32),
            tuple(self.countries[members]),
        )

    def train(self, keep: Mask, as_of: int | None = None) -> Dataset:
        members = np.unique(self.member[keep])
        return Dataset.of(self.titles, self.histories(keep, members), as_of)

    def holdout(self, asked: Mask, context: Mask, at: int | None = None) -> Holdout:
        """Questions about the first event of each title that is asked for and not in context."""
        cell = self.member * len(self.titles) + self.title
        wanted = np.flatnonzero(asked)
        known = pl.Series(cell[wanted]).is_in(pl.Series(cell[context]).implode()).to_numpy()
        fresh = wanted[~known]
        questions = np.zeros(len(cell), np.bool_)
        questions[fresh[np.unique(cell[fresh], return_index=True)[1]]] = True
        members = np.unique(self.member[questions])
        targets = self.histories(questions, members)
        times = targets.times[targets.offsets[:-1]] if at is None else np.full(len(members), at)
        return Holdout(
            tuple(self.members[member] for member in members),
            Context(self.histories(context, members), times),
            targets,
        )


def fingerprint(frame: pl.DataFrame) -> str:
    """SHA-256 of who watched what, when and in which order; the order of the rows is nothing.

    >>> frame = pl.DataFrame({"member_id": ["a", "b"], "title_id": ["x", "y"],
    ...                       "ts": [1, 2], "seq": [0, 1]})
    >>> fingerprint(frame) == fingerprint(frame.reverse())
    True
    """
    return _digest(_ordered(frame))


def _digest(ordered: pl.DataFrame) -> str:
    digest = sha256()
    for column in ("member_id", "title_id"):
        text = ordered[column]
        digest.update(text.str.len_bytes().cast(pl.Int64).to_numpy().astype("<i8").tobytes())
        digest.update("".join(text.to_list()).encode())
    digest.update(ordered["ts"].to_numpy().astype("<i8").tobytes())
    return digest.hexdigest()


def _ordered(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame by (member, ts, seq), with `ts` in microseconds; `ValueError` if it cannot be."""
    missing = [column for column in COLUMNS if column not in frame.columns]
    if missing:
        raise ValueError(
            f"interactions lack the columns {', '.join(missing)}; "
            f"they need {', '.join(COLUMNS)}, this frame has {', '.join(frame.columns)}"
        )
    blank = [column for column in COLUMNS if frame[column].null_count()]
    if blank:
        raise ValueError(
            f"interactions have empty cells in {', '.join(blank)}; drop or fill those rows first"
        )
    if frame.is_empty():
        raise ValueError("there are no interactions to split; import events first")
    time = pl.col("ts")
    if isinstance(frame.schema["ts"], pl.Datetime):
        time = time.dt.timestamp("us")
    elif not frame.schema["ts"].is_integer():
        raise ValueError(f"ts is {frame.schema['ts']}; give times, or microseconds since 1970")
    text = pl.col("member_id", "title_id").cast(pl.String)
    return frame.with_columns(text, time.cast(pl.Int64)).sort(
        "member_id", "ts", "seq", maintain_order=True
    )


def _countries(ordered: pl.DataFrame) -> NDArray[np.object_]:
    """The last country that is known of each member, in their order."""
    column = pl.col("country") if "country" in ordered.columns else pl.lit(None, pl.String)
    last = ordered.group_by("member_id", maintain_order=True).agg(
        column.drop_nulls().last().alias("country")
    )
    found = np.empty(last.height, np.object_)
    found[:] = last["country"].to_list()
    return found


def _micros(time: datetime, name: str) -> int:
    if time.tzinfo is None:
        raise ValueError(f"{name} has no time zone; write for example {time}+00:00")
    return micros(time)
