"""The best titles of every member in one file: batch scoring."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from polars.io.plugins import register_io_source

from matinee.decisions.decider import apply_masks
from matinee.decisions.sequences import asked
from matinee.engine import Executor, Serial
from matinee.errors import MatineeError
from matinee.evaluation.ranking import ranked
from matinee.lake.records import micros
from matinee.registry import parse_version
from matinee.service.choices import Choices
from matinee.service.content import Contents
from matinee.service.datasets import HistoriesOfBucket, histories_of
from matinee.service.folder import Service
from matinee.service.training import as_of_past
from matinee.store.flush import flush_file, flush_folder
from matinee.surfaces import Candidates, History, Met, Request, Situation

SCHEMA = {
    "member_id": pl.String(),
    "rank": pl.Int32(),
    "title_id": pl.String(),
    "score": pl.Float32(),
    "version": pl.String(),
}
"""The columns of the file. Rank 1 is the best; title_id is an action where they are no titles."""

BATCH = 128
"""Members whose beliefs are asked for at once: memory is some 25 bytes times BATCH times A."""

MEMBERS = 1_024
"""Members of one sorted run: what merging holds of each bucket."""


@dataclass(frozen=True)
class Scored:
    """What was written: `rows` by a version, for `members`, some of whom may have none."""

    version: str
    members: int
    rows: int


def score(
    service: Service,
    surface: str,
    to: Path,
    version: str | None = None,
    *,
    top: int = 100,
    as_of: datetime | None = None,
    executor: Executor | None = None,
    advance: Callable[[int], object] = lambda buckets: None,
) -> Scored:
    """Write the `top` titles of every member to one Parquet file, sorted by member and rank.

    Of every member who is known at `as_of`, also without a history: what the champion of the
    surface, or another `version`, believes best among what is eligible in their country then and no
    mask takes away, without a device. These are the scores that a decision is drawn from. Equal
    scores stand in the order of ids. The catalogue and its windows are those known now.

    A bucket of members at a time, by `executor`; `advance` hears of each. The file is there whole
    or not at all. Raises `MatineeError` where there is no such version, nobody to score, or the
    file cannot be written.
    """
    at = as_of_past(as_of)
    chosen = _version(service, surface, version)
    if top < 1:
        raise MatineeError(f"--top {top} asks for nothing", next_step="give a number from 1")
    scorer = _Scorer(service, chosen, at, top)
    with _beside(to) as scratch:
        buckets = histories_of(service.lake, at, service.settings.surfaces.titles.min_minutes)
        parts = [_Part(bucket, scratch) for bucket in buckets]
        runs, members = [], 0
        for files, count in (executor or Serial()).map(_score_bucket, parts, scorer):
            runs.append(files)
            members += count
            advance(1)
        if not members:
            raise MatineeError(
                f"there is nobody to score as of {at:%Y-%m-%d %H:%M}",
                why="no member was known by then",
                next_step="matinee import SOURCE",
            )
        return Scored(chosen, members, _write(to, runs, scratch))


def _write(to: Path, runs: Sequence[Sequence[Path]], scratch: Path) -> int:
    """Merge sorted runs into the file, durably and in one step; how many rows it has."""
    whole = scratch / "whole.parquet"
    merged = register_io_source(partial(_merged, runs), schema=SCHEMA, validate_schema=True)
    merged.sink_parquet(whole, engine="streaming")
    rows: int = pl.scan_parquet(whole).select(pl.len()).collect().item()
    flush_file(whole)
    whole.replace(to)
    flush_folder(to.parent)
    return rows


def _version(service: Service, surface: str, version: str | None) -> str:
    service.surface(surface)
    if version is not None:
        service.registry.number(surface, version)
        return version
    champion = service.registry.alias(surface, "champion")
    if champion is None:
        known = service.registry.versions(surface)
        step = f"matinee score {surface} {known[-1].id}" if known else f"matinee train {surface}"
        raise MatineeError(f"{surface} has no champion yet", next_step=step)
    return champion.id


@contextmanager
def _beside(to: Path) -> Iterator[Path]:
    """A folder for unfinished work on the disk of the file `to`, gone afterwards."""
    try:
        if to.exists() and not to.is_file():
            raise MatineeError(
                f"{to} is {'a folder' if to.is_dir() else 'no file'}",
                next_step="name a file, such as --to scores.parquet",
            )
        with tempfile.TemporaryDirectory(prefix=f".{to.name}.", dir=to.parent) as scratch:
            yield Path(scratch)
    except OSError as error:
        raise MatineeError(
            f"{to} could not be written",
            why=error.strerror or str(error),
            next_step="name a file in a folder that you may write to, on a disk with room",
        ) from error


@dataclass(frozen=True)
class _Part:
    """The members of one bucket, and the folder that their sorted runs go to."""

    bucket: HistoriesOfBucket
    scratch: Path


class _Scorer:
    """One version at one time. It is sent to another process as its name and opened anew there."""

    def __init__(self, service: Service, version: str, at: datetime, top: int) -> None:
        self.service, self.version, self.at, self.top = service, version, at, top
        self.surface = service.surface(parse_version(version)[0])
        if self.surface.unit == "subject":
            raise MatineeError(
                f"{self.surface.name} has no ranking to score",
                why="it chooses for a member and a subject, as the app asks for them",
                next_step="POST /v1/decide/" + self.surface.name,
            )
        model, _ = service.registry.load(version)
        self.model = Contents(service.lake).informed(model, self.surface)
        self.choices = (
            Choices(service.lake, {self.surface.name: self.surface})
            if self.surface.memory
            else None
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _opened, (self.service.folder, self.version, self.at, self.top)

    def best(self, members: pl.DataFrame) -> pl.DataFrame:
        """The rows of SCHEMA for some of the members of `_members`."""
        groups: dict[str, tuple[Candidates, list[Situation]]] = {}
        for member, country, *met in members.iter_rows():
            situation = self._situation(member, country, History.of(Met(*map(tuple, met))))
            candidates = self.surface.eligible(situation.request)
            groups.setdefault(candidates.hash, (candidates, []))[1].append(situation)
        parts = [
            self._ranked(candidates, situations[start : start + BATCH])
            for candidates, situations in groups.values()
            for start in range(0, len(situations), BATCH)
        ]
        return pl.concat(parts).sort("member_id", "rank")

    def _situation(self, member: str, country: str | None, history: History) -> Situation:
        request = Request(request_id="score", member_id=member, at=self.at, country=country)
        if self.choices is None:
            return Situation(request, history)
        recent = self.choices.recent(self.surface.name, member, micros(self.at))
        return Situation(request, history, recent)

    def _ranked(self, candidates: Candidates, situations: Sequence[Situation]) -> pl.DataFrame:
        if not len(candidates):
            return pl.DataFrame(schema=SCHEMA)
        context = asked(
            self.model.titles,
            [one.request.at for one in situations],
            [one.history for one in situations],
            [one.request.country for one in situations],
            features=[self.surface.told(one) for one in situations],
        )
        scores = self.model.believe(context, self.model.titles.encode(candidates.ids)).mean
        if not np.isfinite(scores).all():
            raise MatineeError(
                f"{self.version} gave a score that is NaN or infinite",
                next_step=f"train it again, or prove {type(self.model).__name__} with "
                "matinee.testing.ModelConformance",
            )
        taken = ~np.stack([self._allowed(one, candidates) for one in situations])
        places = ranked(scores, taken, np.zeros_like(taken), self.top)
        rows, ranks = np.nonzero(places >= 0)
        chosen = places[rows, ranks]
        return pl.DataFrame(
            {
                "member_id": [situations[row].request.member_id for row in rows.tolist()],
                "rank": ranks + 1,
                "title_id": [candidates.ids[place] for place in chosen.tolist()],
                "score": scores[rows, chosen],
                "version": [self.version] * len(rows),
            },
            schema_overrides=SCHEMA,
        )

    def _allowed(self, situation: Situation, candidates: Candidates) -> NDArray[np.bool_]:
        allowed, _ = apply_masks(self.surface.masks(situation), situation, candidates)
        return allowed


@lru_cache(maxsize=1)
def _opened(folder: Path, version: str, at: datetime, top: int) -> _Scorer:
    return _Scorer(Service.open(folder), version, at, top)


def _score_bucket(part: _Part, scorer: _Scorer) -> tuple[list[Path], int]:
    """Write the runs of one bucket, in order; where they are, and how many members there are.

    Ctrl-C reaches every process of a terminal, and each would go on with the next bucket that it
    has been given: the first to hear of it tells the others.
    """
    stopped = part.scratch / "stopped"
    if stopped.exists():
        raise KeyboardInterrupt
    try:
        return _runs(part, scorer)
    except KeyboardInterrupt:
        stopped.touch()
        raise


def _runs(part: _Part, scorer: _Scorer) -> tuple[list[Path], int]:
    members = _members(part.bucket)
    files = []
    for first in range(0, members.height, MEMBERS):
        rows = scorer.best(members[first : first + MEMBERS])
        if rows.height:
            files.append(part.scratch / f"{part.bucket.events.number}-{first}.parquet")
            rows.write_parquet(files[-1])
    return files, members.height


def _members(bucket: HistoriesOfBucket) -> pl.DataFrame:
    """member_id, country and the lists of `Met`, a row for each member, in order."""
    met = [pl.col("title_id"), pl.col("ts").dt.epoch("us"), pl.col("signals"), pl.col("weight")]
    columns = [pl.col("country").first(), *(column.drop_nulls() for column in met)]
    return bucket.frame(everyone=True).group_by("member_id").agg(columns).sort("member_id")


def _merged(
    runs: Sequence[Sequence[Path]],
    with_columns: Sequence[str] | None,
    predicate: pl.Expr | None,
    n_rows: int | None,
    batch_size: int | None,
) -> Iterator[pl.DataFrame]:
    """The rows of all buckets in order; of each bucket one run is in memory at a time.

    A member is in one bucket alone, so what is up to the least last member of the runs at hand is
    complete.
    """
    rest = [map(pl.read_parquet, files) for files in runs]
    heads = [next(files, None) for files in rest]
    while here := [head for head in heads if head is not None]:
        until = pl.col("member_id") <= min(head["member_id"][-1] for head in here)
        yield pl.concat([head.filter(until) for head in here]).sort("member_id", "rank")
        heads = [_left(head, until, files) for head, files in zip(heads, rest, strict=True)]


def _left(
    head: pl.DataFrame | None, until: pl.Expr, rest: Iterator[pl.DataFrame]
) -> pl.DataFrame | None:
    if head is None:
        return None
    left = head.filter(~until)
    return left if left.height else next(rest, None)
