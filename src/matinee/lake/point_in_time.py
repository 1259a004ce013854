"""The one point-in-time join of the project: what was known when a label was made.

Every engine has an as-of join and each has a trap: unsorted input gives wrong rows in silence,
ties go to whichever row came first, rows without a match vanish, rows that arrived late leak into
the past. This one sorts, breaks ties by order of arrival, keeps every label, and looks at when a
row became known as well as when it happened.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

_VISIBLE, _ROW = "__visible_at", "__label_row"


def as_of_join(
    labels: pl.DataFrame,
    events: pl.DataFrame,
    *,
    by: str | Sequence[str] = "member_id",
    at: str = "at",
    time: str = "ts",
    known_at: str | None = "known_at",
    tie: str = "seq",
    strict: bool = True,
    suffix: str = "_event",
) -> pl.DataFrame:
    """Give each label the latest event of the same `by` that was known at its time.

    Of the events with ``event.time < label.at`` and ``event.known_at < label.at`` (``<=`` for
    both unless `strict`), the one with the greatest (`time`, `tie`). `labels` come back whole, in
    their order, with the event's columns, which are null where there is no such event. Columns of
    events that labels have too get `suffix`. Neither frame need be sorted; events already sorted
    by (`by`, `time`, `tie`) are joined faster. With ``known_at=None`` events count from `time` on.

    >>> labels = pl.DataFrame({"member_id": ["m", "m"], "at": [10, 30]})
    >>> events = pl.DataFrame({"member_id": ["m", "m"], "ts": [5, 8], "known_at": [20, 8],
    ...                        "seq": [1, 2], "title": ["late", "heat"]})
    >>> as_of_join(labels, events)["title"].to_list()
    ['heat', 'heat']
    """
    keys = [by] if isinstance(by, str) else list(by)
    order = [*keys, time, tie]
    ordered = events if _is_sorted(events, order) else events.sort(order)
    if known_at is not None and (ordered[known_at] > ordered[time]).any():
        visible = _never_overtaken(ordered, keys, time, known_at, tie)
    else:
        visible = ordered.with_columns(pl.col(time).alias(_VISIBLE))
    numbered = labels.with_row_index(_ROW).sort(*keys, at)
    joined = numbered.lazy().join_asof(
        visible.lazy(),
        left_on=at,
        right_on=_VISIBLE,
        by=keys,
        strategy="backward",
        allow_exact_matches=not strict,
        check_sortedness=False,
        suffix=suffix,
    )
    whole = joined.sort(_ROW).drop(_ROW)
    return whole.drop(_VISIBLE, strict=False).collect(engine="streaming")


def _is_sorted(frame: pl.DataFrame, order: list[str]) -> bool:
    """Whether the frame stands in lexicographic order of `order` already."""
    if frame.height < 2:
        return True
    in_order, equal = pl.lit(False), pl.lit(True)
    for name in order:
        before = pl.col(name).shift(1)
        in_order = in_order | (equal & (pl.col(name) > before))
        equal = equal & (pl.col(name) == before)
    checked = frame.lazy().select((in_order | equal).slice(1).all())
    return bool(checked.collect(engine="streaming").item())


def _never_overtaken(
    events: pl.DataFrame, keys: list[str], time: str, known_at: str, tie: str
) -> pl.DataFrame:
    """Events in the order in which they became known, without those that a later one hid.

    An event known at v is the answer to some label only if no event known by v happened after it.
    Walking in order of v and keeping the running maximum of (time, tie) leaves just those.
    """
    rank = pl.int_range(pl.len(), dtype=pl.Int64)
    return (
        events.lazy()
        .with_columns(rank.alias("__rank"), pl.max_horizontal(time, known_at).alias(_VISIBLE))
        .sort(*keys, _VISIBLE, "__rank")
        .filter(pl.col("__rank") >= pl.col("__rank").cum_max().over(keys))
        .drop("__rank")
        .collect(engine="streaming")
    )
