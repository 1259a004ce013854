"""KuaiRand-Pure, in its processed form: short videos and what became of each impression.

C. Gao et al. KuaiRand: An Unbiased Sequential Recommendation Dataset with Randomly Exposed
Videos. CIKM 2022. Data: CC BY-SA 4.0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Self

import polars as pl

from matinee.errors import MatineeError
from matinee.lake.importers.base import BATCH_ROWS, Batch
from matinee.lake.importers.files import readable
from matinee.lake.schemas import TIME

HISTORIES = "processed_user_sequences.parquet"
VALIDATION = "processed_splits_val.parquet"
TEST = "processed_splits_test.parquet"
VIDEOS = "KuaiRand-Pure_data_video_features_basic_pure.csv"

LONGEST_WATCH = 5.0
"""Watch ratios are clipped here: who left a looping video running is no fifty times a fan."""

IMPRESSION = ("user_id", "video_id", "time_ms", "is_click", "play_time_ms", "duration_ms")


class KuaiRand:
    """Reads the folder's histories and its timed impressions (validation, then test).

    A history is a list of watched videos without times or lengths: plays without a value, all
    known at the member's `last_time_ms`, and put 1 ms apart in the order of the list so that the
    last stands at that time. An impression is an event of that kind, followed by a click where
    there was one, and, where it was played, a play (minutes, at most `LONGEST_WATCH` times the
    video's length) and, where all of it was, a complete; what was watched is known only when the
    watching was over. Impressions of one member, video and millisecond are
    one, the first. Validation rows at or after the test's first are left out.

    Videos are titles called "Video 123", known from the day of their upload in Beijing, their
    tags the genres; of members only the id is read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in (HISTORIES, VALIDATION, TEST, VIDEOS):
            if not (folder / name).is_file():
                raise MatineeError(
                    f"{folder} is not a KuaiRand-Pure folder",
                    why=f"it has no {name}",
                    next_step="put the processed files and the video features in one folder",
                )

    @classmethod
    def recognise(cls, folder: Path) -> Self | None:
        """An importer of `folder` if it looks like KuaiRand-Pure."""
        return cls(folder) if (folder / HISTORIES).is_file() else None

    @property
    def notes(self) -> tuple[str, ...]:
        return (
            "Histories have no times: their plays stand 1 ms apart before each member's last.",
            f"Watch times are clipped to {LONGEST_WATCH:g} times the length of the video.",
        )

    def total(self) -> int:
        history = pl.col("watch_seq").list.len().sum()
        rows = self._titles.height + self._members.height
        rows += self._collect(HISTORIES, self._scan(HISTORIES).select(history)).item()
        for name in (VALIDATION, TEST):
            kinds = pl.sum_horizontal(condition.sum() for condition in _conditions().values())
            rows += self._collect(name, self.impressions(name).select(kinds)).item()
        return int(rows)

    def batches(self) -> Iterator[Batch]:
        yield Batch("titles", self._titles, VIDEOS, 0)
        yield Batch("members", self._members, HISTORIES, 0)
        yield from self._numbered(HISTORIES, self._histories())
        for name in (VALIDATION, TEST):
            chunks = self.impressions(name).collect_batches(
                chunk_size=BATCH_ROWS // 4, maintain_order=True
            )
            yield from self._numbered(name, (_outcomes(chunk) for chunk in chunks))

    def _numbered(self, name: str, frames: Iterator[pl.DataFrame]) -> Iterator[Batch]:
        first_row = 0
        with readable(self.folder / name):
            for frame in frames:
                yield Batch("events", frame, name, first_row)
                first_row += frame.height

    def _scan(self, name: str) -> pl.LazyFrame:
        return pl.scan_parquet(self.folder / name, glob=False)

    def _collect(self, name: str, rows: pl.LazyFrame) -> pl.DataFrame:
        with readable(self.folder / name):
            return rows.collect(engine="streaming")

    def _histories(self) -> Iterator[pl.DataFrame]:
        members = self._scan(HISTORIES).select("user_id", "last_time_ms", "watch_seq")
        for chunk in members.collect_batches(chunk_size=BATCH_ROWS // 50, maintain_order=True):
            yield _plays(chunk)

    def impressions(self, name: str, columns: Sequence[str] = IMPRESSION) -> pl.LazyFrame:
        """The rows of `VALIDATION`, those before the test's first alone, or of `TEST`."""
        rows = self._scan(name).select(columns)
        return rows.filter(pl.col("time_ms") < self.test_begins) if name == VALIDATION else rows

    @cached_property
    def test_begins(self) -> int:
        """When the test's first impression was, in milliseconds since 1970."""
        return int(self._collect(TEST, self._scan(TEST).select(pl.col("time_ms").min())).item())

    @cached_property
    def _titles(self) -> pl.DataFrame:
        uploaded = pl.col("upload_dt").str.to_datetime(
            "%Y-%m-%d", strict=False, time_unit="us", time_zone="Asia/Shanghai"
        )
        video = pl.col("video_id")
        with readable(self.folder / VIDEOS):
            return pl.read_csv(self.folder / VIDEOS, infer_schema=False, glob=False).select(
                title_id=video,
                name=pl.lit("Video ") + video,
                genres=pl.col("tag").str.split(",").list.eval(pl.lit("tag ") + pl.element()),
                runtime_minutes=pl.col("video_duration").cast(pl.Float64) / 60_000,
                known_at=uploaded.dt.convert_time_zone("UTC"),
            )

    @cached_property
    def _members(self) -> pl.DataFrame:
        times = {HISTORIES: "last_time_ms", VALIDATION: "time_ms", TEST: "time_ms"}
        seen = [
            self._collect(name, self._scan(name).group_by("user_id").agg(first=pl.col(time).min()))
            for name, time in times.items()
        ]
        first = pl.concat(seen).group_by("user_id").agg(pl.col("first").min())
        return first.sort("user_id").select(
            member_id=pl.col("user_id").cast(pl.String), known_at=_time("first")
        )


def _time(milliseconds: str) -> pl.Expr:
    return (pl.col(milliseconds) * 1_000).cast(TIME)


def _plays(members: pl.DataFrame) -> pl.DataFrame:
    """The histories of some members as plays, in order."""
    place = pl.int_ranges(pl.col("watch_seq").list.len())
    rows = members.with_columns(place=place, length=pl.col("watch_seq").list.len()).explode(
        "watch_seq", "place"
    )
    before_last = pl.col("length").cast(pl.Int64) - 1 - pl.col("place")
    return rows.with_columns(ts=pl.col("last_time_ms") - before_last).select(
        event_id=pl.format("kuairand:history:{}:{}", "user_id", "place"),
        member_id=pl.col("user_id").cast(pl.String),
        kind=pl.lit("play"),
        title_id=pl.col("watch_seq").cast(pl.String),
        ts=_time("ts"),
        known_at=_time("last_time_ms"),
    )


def _conditions() -> dict[str, pl.Expr]:
    """Which events an impression row makes, in their order."""
    played = pl.col("play_time_ms") > 0
    return {
        "impression": pl.col("time_ms").is_not_null(),
        "click": pl.col("is_click") == 1,
        "play": played,
        "complete": (pl.col("duration_ms") > 0) & (pl.col("play_time_ms") >= pl.col("duration_ms")),
    }


def _outcomes(impressions: pl.DataFrame) -> pl.DataFrame:
    """The events of some impressions, row by row."""
    duration = pl.col("duration_ms")
    longest = pl.when(duration > 0).then(duration * LONGEST_WATCH)
    rows = impressions.with_row_index("row").with_columns(
        watched=pl.min_horizontal("play_time_ms", longest).cast(pl.Int64)
    )
    values = {"play": pl.col("watched") / 60_000, "complete": pl.lit(1.0)}
    parts = [
        rows.filter(condition).select(
            "row",
            order=pl.lit(order),
            event_id=pl.format(f"kuairand:{kind}:{{}}:{{}}:{{}}", *IMPRESSION[:3]),
            member_id=pl.col("user_id").cast(pl.String),
            kind=pl.lit(kind),
            title_id=pl.col("video_id").cast(pl.String),
            ts=_time("time_ms"),
            value=values.get(kind, pl.lit(None, pl.Float64)),
            known_at=(pl.col("time_ms") + (pl.col("watched") if kind in values else 0))
            .mul(1_000)
            .cast(TIME),
        )
        for order, (kind, condition) in enumerate(_conditions().items())
    ]
    return pl.concat(parts).sort("row", "order").drop("row", "order")
