"""Make `src/matinee/world/films.csv` from `wikidata-films/movies.db` under `MATINEE_DATA`.

Run as ``MATINEE_DATA=... python benchmarks/make_films.py``. The facts come from Wikidata (CC0 1.0)
as packaged in `bokeh_sampledata`. Only factual columns are kept; the order of the rows says how
well known a film is. A film belongs to a cell for each of its countries and one for its decade with
the rarest of its genres. Its priority is the best, over its cells, of rank in the cell divided by
the square root of the size of the cell, so that large cells give more films and small ones some.
"""

import csv
import math
import os
import re
import sqlite3
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

FILMS = 1_000
CAST = 4
TARGET = Path(__file__).parents[1] / "src/matinee/world/films.csv"
CODES = {
    "Argentina": "AR", "Australia": "AU", "Austria": "AT", "Belgium": "BE", "Brazil": "BR",
    "Canada": "CA", "Czech Republic": "CZ", "Czechoslovakia": "CZ", "Denmark": "DK",
    "Finland": "FI", "France": "FR", "Germany": "DE", "Greece": "GR", "Hong Kong": "HK",
    "Hungary": "HU", "Iceland": "IS", "India": "IN", "Iran": "IR", "Ireland": "IE", "Israel": "IL",
    "Italy": "IT", "Japan": "JP", "Mexico": "MX", "Netherlands": "NL", "New Zealand": "NZ",
    "Norway": "NO", "People's Republic of China": "CN", "Poland": "PL", "Portugal": "PT",
    "Romania": "RO", "Russia": "RU", "South Africa": "ZA", "South Korea": "KR",
    "Soviet Union": "RU", "Spain": "ES", "Sweden": "SE", "Switzerland": "CH", "Taiwan": "TW",
    "Thailand": "TH", "Turkey": "TR", "United Kingdom": "GB", "United States": "US",
    "West Germany": "DE",
}  # fmt: skip
QUERY = """
    SELECT Title, Year, Genre, Director, "Cast", Runtime, Country,
           coalesce(Reviews, 0), coalesce(BoxOffice, 0), coalesce(Oscars, 0)
    FROM omdb JOIN tomatoes USING (ID)
    WHERE Title != '' AND Genre != '' AND Director != '' AND Country != '' AND Runtime > 40
    ORDER BY ID
"""


@dataclass(frozen=True)
class Film:
    name: str
    year: int
    genres: list[str]
    director: str
    cast: list[str]
    runtime: int
    countries: list[str]
    fame: float


def split(text: str) -> list[str]:
    """The parts of a list in one text, with "Robert Downey, Jr." kept whole."""
    joined = re.sub(r", (?=(Jr|Sr)\.)", " ", text)
    return [part for part in joined.split(", ") if part]


def read(database: Path) -> list[Film]:
    """All films with the facts that we need, each name and year once."""
    connection = sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)
    films = {}
    for name, year, genres, director, cast, runtime, countries, *known in connection.execute(QUERY):
        reviews, gross, oscars = known
        codes = [CODES[country] for country in split(countries) if country in CODES]
        fame = math.log1p(reviews) + 0.15 * math.log1p(gross) + 0.3 * oscars
        if codes:
            films[name, year] = Film(
                name, year, split(genres), split(director)[0], split(cast), round(runtime), codes,
                fame,
            )  # fmt: skip
    connection.close()
    return list(films.values())


def best_known(films: list[Film]) -> list[Film]:
    """The films of highest priority, first things first."""
    spread = Counter(genre for film in films for genre in film.genres)
    cells: dict[tuple[str, ...], list[Film]] = defaultdict(list)
    for film in films:
        rarest = min(film.genres, key=lambda genre: (spread[genre], genre))
        cells[str(film.year // 10), rarest].append(film)
        for country in dict.fromkeys(film.countries):
            cells[(country,)].append(film)
    priority: dict[tuple[str, int], float] = {}
    for cell in cells.values():
        cell.sort(key=lambda film: (-film.fame, film.name, film.year))
        for rank, film in enumerate(cell, start=1):
            key = (film.name, film.year)
            priority[key] = min(rank / math.sqrt(len(cell)), priority.get(key, math.inf))
    films.sort(key=lambda film: (priority[film.name, film.year], -film.fame, film.name))
    return films[:FILMS]


def main() -> None:
    folder = os.environ.get("MATINEE_DATA")
    if not folder:
        sys.exit(
            "MATINEE_DATA is not set; set it to the folder that holds wikidata-films/movies.db"
        )
    films = read(Path(folder) / "wikidata-films/movies.db")
    roles = Counter(actor for film in films for actor in film.cast)
    with TARGET.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["name", "year", "genres", "director", "cast", "runtime", "countries"])
        for film in best_known(films):
            cast = sorted(film.cast, key=lambda actor: (-roles[actor], actor))[:CAST]
            writer.writerow(
                [film.name, film.year, "|".join(film.genres), film.director, "|".join(cast),
                 film.runtime, "|".join(film.countries)]
            )  # fmt: skip
    print(f"wrote {FILMS} films, {TARGET.stat().st_size:,} bytes, to {TARGET.name}")


if __name__ == "__main__":
    main()
