"""The titles of the simulated service, where and when they may be shown, and what they are like.

The facts (name, year, genres, director, cast, runtime, countries) are from Wikidata, by its
contributors, dedicated to the public domain under CC0 1.0 and taken by way of `bokeh_sampledata`;
``benchmarks/make_films.py`` makes ``films.csv`` again. Qualities, facets and windows are simulated.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from matinee.lake.records import Title, Window
from matinee.world.settings import Settings, stream

FACETS: tuple[tuple[str, ...], ...] = (
    ("Action", "Adventure"),
    ("Comedy",),
    ("Drama",),
    ("Romance", "Musical", "Music"),
    ("Crime", "Thriller", "Mystery"),
    ("Horror",),
    ("Sci-Fi", "Fantasy"),
    ("Family", "Animation"),
    ("Documentary", "Biography", "History"),
    ("War", "Western", "Sport"),
)
"""The genres behind each of the first facets of a title; the era and the styles follow."""

STYLES = 4
GENRES = len(FACETS)
F = GENRES + 1 + STYLES
HORIZON = 60
"""Titles arrive and leave at midnights from day 1 up to this day."""

ARRIVE, LEAVE, SOME_COUNTRIES = 0.10, 0.10, 0.10
NEVER = 2**31 - 1


@dataclass(frozen=True)
class Film:
    """One row of ``films.csv``."""

    name: str
    year: int
    genres: list[str]
    director: str
    cast: list[str]
    runtime: int
    countries: list[str]


def films(count: int) -> list[Film]:
    """The `count` best-known films of the bundled extract; `ValueError` if it holds fewer.

    >>> films(2)[1].name
    'Titanic'
    """
    text = (files("matinee.world") / "films.csv").read_text(encoding="utf-8")
    rows = [
        Film(
            row["name"],
            int(row["year"]),
            row["genres"].split("|"),
            row["director"],
            [actor for actor in row["cast"].split("|") if actor],
            int(row["runtime"]),
            row["countries"].split("|"),
        )
        for row in csv.DictReader(text.splitlines())
    ]
    if count > len(rows):
        raise ValueError(f"the world knows {len(rows)} films; ask for at most so many titles")
    return rows[:count]


def slugs(rows: Sequence[Film]) -> list[str]:
    """A readable id for each film, all different.

    >>> slugs(films(2))
    ['the-lord-of-the-rings-the-return-of-the-king-2003', 'titanic-1997']
    """
    used: Counter[str] = Counter()
    ids = []
    for film in rows:
        plain = unicodedata.normalize("NFKD", film.name).encode("ascii", "ignore").decode().lower()
        words = re.findall(r"[a-z0-9]+", plain.replace("'", "")) or ["film"]
        slug = "-".join([*words, str(film.year)])
        used[slug] += 1
        ids.append(slug if used[slug] == 1 else f"{slug}-{used[slug]}")
    return ids


class Catalogue:
    """T titles in ascending order of id, with their simulated truth.

    Attributes
    ----------
    ids : the title ids, ascending.
    facets : float64 [T, F], what a member's taste is multiplied with: a unit vector of genres, the
        era (decades from 1990), and styles that films of one director share.
    quality : float64 [T], logits that a title adds for everybody; known films are better.
    runtime : float64 [T], minutes.
    made_in : bool [C, T], whether the title was made in that country of the settings.
    allowed : bool [C, T], whether it may ever be shown there.
    arrives, leaves : int64 [T], the first day that it is available and the first that it is not.
    """

    def __init__(self, settings: Settings) -> None:
        rows = films(settings.titles)
        ids, fame = slugs(rows), np.linspace(1.0, -1.0, len(rows))
        order = sorted(range(len(rows)), key=lambda row: ids[row])
        self.settings = settings
        self.films = [rows[row] for row in order]
        self.ids = [ids[row] for row in order]
        self.index = {title: position for position, title in enumerate(self.ids)}
        self.runtime = np.array([film.runtime for film in self.films], np.float64)
        self.facets = self._facets()
        luck = stream(settings.seed, "quality").normal(size=len(rows))
        self.quality = 0.6 * fame[order] + 0.5 * luck
        codes = [code for code, _ in settings.countries]
        self.made_in = np.array([[c in film.countries for film in self.films] for c in codes])
        self._draw_windows()

    def __len__(self) -> int:
        return len(self.ids)

    def _facets(self) -> NDArray[np.float64]:
        rng = stream(self.settings.seed, "facets")
        genres = np.array(
            [[any(g in film.genres for g in facet) for facet in FACETS] for film in self.films],
            np.float64,
        )
        genres /= np.maximum(np.linalg.norm(genres, axis=1, keepdims=True), 1.0)
        era = np.array([[(film.year - 1990) / 10] for film in self.films]) / 2
        directors = {d: i for i, d in enumerate(sorted({film.director for film in self.films}))}
        shared = rng.normal(size=(len(directors), STYLES))
        style = shared[[directors[film.director] for film in self.films]]
        own = rng.normal(scale=0.5, size=style.shape)
        return np.hstack([genres, era, style + own])

    def _draw_windows(self) -> None:
        rng = stream(self.settings.seed, "windows")
        countries, titles = len(self.settings.countries), len(self)
        fate, day = rng.random(titles), rng.integers(1, HORIZON + 1, titles)
        somewhere = rng.random((countries, titles)) < 0.5
        somewhere[rng.integers(countries, size=titles), np.arange(titles)] = True
        arriving = fate < ARRIVE
        leaving = (fate >= ARRIVE) & (fate < ARRIVE + LEAVE)
        local = (fate >= ARRIVE + LEAVE) & (fate < ARRIVE + LEAVE + SOME_COUNTRIES)
        first, last = self.settings.arrivals
        self.arrives = np.where(arriving, first + (day - 1) * (last - first) // HORIZON, 0)
        self.leaves = np.where(leaving, day, NEVER)
        self.allowed = ~local | somewhere

    def available(self, day: int) -> NDArray[np.bool_]:
        """Whether a title may be shown [C, T], on a day counted from the start."""
        return self.allowed & (self.arrives <= day) & (day < self.leaves)

    def titles(self) -> list[Title]:
        """The catalogue as an app would send it."""
        return [
            Title(
                title_id=title,
                name=film.name,
                year=film.year,
                genres=film.genres,
                cast=film.cast,
                runtime_minutes=float(film.runtime),
            )
            for title, film in zip(self.ids, self.films, strict=True)
        ]

    def windows(self) -> list[Window]:
        """Windows of the titles that are not always available everywhere."""
        start = self.settings.start
        windows = []
        for position, title in enumerate(self.ids):
            arrives, leaves = int(self.arrives[position]), int(self.leaves[position])
            if arrives > 0:
                windows.append(Window(title_id=title, starts_at=start + timedelta(days=arrives)))
            elif leaves < NEVER:
                windows.append(Window(title_id=title, ends_at=start + timedelta(days=leaves)))
            elif not self.allowed[:, position].all():
                windows.extend(
                    Window(title_id=title, country=code)
                    for (code, _), may in zip(
                        self.settings.countries, self.allowed[:, position], strict=True
                    )
                    if may
                )
        return windows
