"""What titles are about, as the names of features."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain

import polars as pl

COLUMNS = {
    "title_id": pl.String(),
    "name": pl.String(),
    "year": pl.Int64(),
    "genres": pl.List(pl.String()),
    "cast": pl.List(pl.String()),
    "synopsis": pl.String(),
}
"""What is read of a title."""

TEXT = 20_000
"""Characters of a synopsis that are read."""
LISTED = 100
"""Genres, and members of the cast, that are read."""
LABEL = 100
"""Characters of a feature's name, its kind not counted."""
COUNTED = ("cast", "name", "word")
"""Kinds of feature that are left out where few titles have them."""

_STOP_WORDS = """
    a about after again against all also an and any are as at be been before being between both
    but by can did do does down during each few for from further had has have having he her here
    hers him his how if in into is it its itself just more most no nor not of off on once one
    only or other our out over own same she so some such than that the their them then there these
    they this those through to too two under until up very was we were what when where which while
    who whom whose why will with you your
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())
"""Words of English that say nothing of what a title is about."""

_WORD = re.compile(r"[^\W\d_]{2,}")


def about(
    titles: pl.DataFrame, at_least: int = 2, most_words: int = 20_000
) -> dict[str, list[str]]:
    """What each title of the `titles` table is about: the names of its features, each once.

    A name is a kind and a value: "genre=Drama", "cast=Al Pacino", "decade=1990" and "years=1995"
    (five of them), "name=heist" for a word of the title's name and "word=heist" for one of its
    synopsis. Words are runs of two letters or more in small letters, without stop words; a language
    that sets no spaces between words gives few that two titles share. Text is read in its NFKC
    form, control characters as spaces.

    Words and members of the cast of fewer than `at_least` titles are left out, and of the words
    those beyond the `most_words` of the most titles. Columns that are missing count as empty; a
    title of which nothing is known has no features. Of two rows of one title the last counts.

    >>> films = pl.DataFrame({"title_id": ["heat", "ronin"], "year": [1995, 1998],
    ...     "genres": [["Crime"], ["Crime"]], "synopsis": ["A heist.", "The last heist"]})
    >>> about(films)["heat"]
    ['genre=Crime', 'decade=1990', 'years=1995', 'word=heist']
    """
    if "title_id" not in titles.columns:
        raise ValueError(
            f"the titles have no column title_id, but {', '.join(titles.columns) or 'none at all'};"
            " give the titles table of the lake"
        )
    known = [name for name in COLUMNS if name in titles.columns]
    blank = [
        pl.lit(None, dtype).alias(name) for name, dtype in COLUMNS.items() if name not in known
    ]
    rows = titles.select(*known, *blank).select(*COLUMNS).unique("title_id", keep="last")
    found = {
        title: list(dict.fromkeys(_features(*facts)))
        for title, *facts in rows.sort("title_id").iter_rows()
    }
    kept = _kept(found.values(), at_least, most_words)
    return {title: [name for name in names if name in kept] for title, names in found.items()}


def _features(
    name: str | None,
    year: int | None,
    genres: list[str | None] | None,
    cast: list[str | None] | None,
    synopsis: str | None,
) -> Iterator[str]:
    """Every feature of one title, some of them twice."""
    yield from _labels("genre", genres)
    if year is not None:
        yield from (f"decade={year // 10 * 10}", f"years={year // 5 * 5}")
    yield from _labels("cast", cast)
    yield from (f"name={word}" for word in _words(name))
    yield from (f"word={word}" for word in _words(synopsis))


def _labels(kind: str, values: list[str | None] | None) -> Iterator[str]:
    tidied = (
        " ".join(_plain(value).split())[:LABEL].strip()
        for value in (values or [])[:LISTED]
        if value
    )
    return (f"{kind}={value}" for value in tidied if value)


def _words(text: str | None) -> Iterator[str]:
    plain = _plain((text or "")[:TEXT]).casefold()
    return (word[:LABEL] for word in _WORD.findall(plain) if word not in STOP_WORDS)


def _plain(text: str) -> str:
    """The NFKC form, with control characters, and what has no meaning at all, as spaces."""
    if text.isascii() and text.isprintable():
        return text
    normal = unicodedata.normalize("NFKC", text)
    return "".join(" " if unicodedata.category(one)[0] == "C" else one for one in normal)


def _kept(found: Iterable[list[str]], at_least: int, most_words: int) -> set[str]:
    """The features that enough titles have."""
    titles = Counter(chain.from_iterable(found))
    enough = {
        name: count
        for name, count in titles.items()
        if count >= at_least or name.partition("=")[0] not in COUNTED
    }
    words = [name for name in enough if name.startswith(("name=", "word="))]
    words.sort(key=lambda name: (-enough[name], name))
    return set(enough).difference(words[most_words:])
