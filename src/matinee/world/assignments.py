"""Which picture the simulated log showed to a member for a title, as rows of `Decision`.

A unit is a member with a title. It gets its picture at its first exposure and keeps it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import polars as pl
from numpy.typing import NDArray

from matinee.world.artwork import Artwork
from matinee.world.catalogue import Catalogue
from matinee.world.frames import DECISIONS, TIME, Sessions
from matinee.world.logging_policy import content_hash

SURFACE = "artwork"
POLICY = "artwork@world"
LATER = 2**15 - 1
"""The first day of units that were never shown."""
Numbers = NDArray[np.int64]


def context_of(country: str, device: str, features: Mapping[str, float]) -> tuple[str, str]:
    """The context of an assignment as JSON text with sorted keys, and its hash.

    >>> context_of("NL", "tv", {})[0]
    '{"country":"NL","device":"tv","features":{},"simulated":true}'
    """
    context = {
        "country": country,
        "device": device,
        "features": dict(sorted(features.items())),
        "simulated": True,
    }
    return json.dumps(context, separators=(",", ":")), content_hash(context)


_plain_context = lru_cache(lambda country, device: context_of(country, device, {}))


class Assignments:
    """The first exposures of units, and their rows."""

    def __init__(self, artwork: Artwork, catalogue: Catalogue, members: int) -> None:
        self._artwork, self._catalogue = artwork, catalogue
        shape = (members, len(catalogue)) if artwork.count else (0, 0)
        self._first_day = np.full(shape, LATER, np.int16)
        self._titles = pl.Series(catalogue.ids, dtype=pl.String)
        self._sets = pl.Series(artwork.sets, dtype=pl.String)
        self._pictures = pl.Series([p.picture_id for p in artwork.pictures()], dtype=pl.String)

    def mark(self, day: int, members: Numbers, titles: Numbers) -> None:
        """Note that members [B] were shown titles [B, K] on a day."""
        if self._artwork.count:
            units = members[:, None], titles
            self._first_day[units] = np.minimum(self._first_day[units], day)

    def frame(
        self, day: int, sessions: Sessions, members: Numbers, titles: Numbers
    ) -> pl.DataFrame:
        """Rows for the units of sessions [B] in order of time that were first shown on this day.

        `members` [B] and `titles` [B, K] are numbers. Columns are those of `Decision`, with the
        title as its subject; the picture is one of n, each with probability 1 / n.
        """
        if not self._artwork.count:
            return DECISIONS.to_frame()
        session, slot = self._first_shown(day, members, titles)
        return self._rows(sessions, session, members[session], titles[session, slot])

    def sets(self, rows: pl.DataFrame) -> dict[str, list[str]]:
        """The sets of pictures that assignments name, by content hash."""
        titles = (self._catalogue.index[title] for title in rows["subject"].unique().sort())
        return {self._artwork.sets[title]: self._artwork.ids[title] for title in titles}

    def _first_shown(self, day: int, members: Numbers, titles: Numbers) -> tuple[Numbers, Numbers]:
        """Session and slot of each unit's first exposure, for units first shown on this day."""
        units = members[:, None] * len(self._catalogue) + titles
        _, first = np.unique(units, return_index=True)
        session, slot = np.divmod(np.sort(first), titles.shape[1])
        new = self._first_day[members[session], titles[session, slot]] == day
        return session[new], slot[new]

    def _rows(
        self, sessions: Sessions, session: Numbers, members: Numbers, titles: Numbers
    ) -> pl.DataFrame:
        count = self._artwork.count
        shown = self._pictures.gather(count * titles + self._artwork.assigned[members, titles])
        contexts = [*map(_plain_context, sessions.country, sessions.device)]

        def of_session(words: list[str]) -> pl.Series:
            return pl.Series(words, dtype=pl.String).gather(session)

        rows = pl.DataFrame(
            {
                "request_id": of_session([*sessions.decision_ids]),
                "member_id": of_session([*sessions.member_ids]),
                "at": pl.Series(sessions.at[session]).cast(TIME),
                "actions": shown.reshape((-1, 1)).arr.to_list(),
                "eligible": self._sets.gather(titles),
                "subject": self._titles.gather(titles),
                "context": of_session([text for text, _ in contexts]),
                "context_hash": of_session([digest for _, digest in contexts]),
            }
        )
        names = pl.concat_str(pl.lit("sim-art"), "member_id", "subject", separator="-")
        return rows.with_columns(names.alias("decision_id"), *_constants(count)).select(
            DECISIONS.names()
        )


def _constants(count: int) -> list[pl.Expr]:
    """The columns that are the same in every assignment of one of `count` pictures."""
    texts = {"surface": SURFACE, "policy": POLICY, "propensity_kind": "conditional", "masks": "[]"}
    return [
        *(pl.lit(text).alias(name) for name, text in texts.items()),
        pl.lit([1.0 / count], pl.List(pl.Float64)).alias("propensities"),
        pl.lit([], pl.List(pl.Int32)).alias("removed"),
        pl.lit([*range(count)], pl.List(pl.Int32)).alias("segment"),
        pl.lit([0.0] * count, pl.List(pl.Float64)).alias("scores"),
        pl.lit(0, pl.Int64).alias("seed"),
        *(pl.lit(None, pl.String).alias(name) for name in ("row", "arm")),
    ]
