"""What titles are about, as the names of features."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
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
SHORTEST = 2
"""Letters of a word that is read."""
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
    features = _Features()
    found = {title: features.of(*facts) for title, *facts in rows.sort("title_id").iter_rows()}
    kept = _kept(found.values(), at_least, most_words)
    return {title: [name for name in names if name in kept] for title, names in found.items()}


class _Features:
    """The features of titles; each text is made into a name once, however many titles have it."""

    def __init__(self) -> None:
        self._genres, self._cast = _Names("genre", _label), _Names("cast", _label)
        self._name, self._words = _Names("name", _word), _Names("word", _word)

    def of(
        self,
        name: str | None,
        year: int | None,
        genres: list[str | None] | None,
        cast: list[str | None] | None,
        synopsis: str | None,
    ) -> list[str]:
        """Every feature of one title, once."""
        years = () if year is None else (f"decade={year // 10 * 10}", f"years={year // 5 * 5}")
        listed = chain(
            map(self._genres.__getitem__, _listed(genres)),
            years,
            map(self._cast.__getitem__, _listed(cast)),
            map(self._name.__getitem__, _words(name)),
            map(self._words.__getitem__, _words(synopsis)),
        )
        once = dict.fromkeys(listed)
        once.pop("", None)
        return list(once)


class _Names(dict[str, str]):
    """Names of features of one kind by the texts they are made of; "" where one says nothing."""

    def __init__(self, kind: str, tidy: Callable[[str], str]) -> None:
        super().__init__()
        self._kind, self._tidy = kind, tidy

    def __missing__(self, text: str) -> str:
        tidied = self._tidy(text)
        name = self[text] = f"{self._kind}={tidied}" if tidied else ""
        return name


class _Spaces(dict[int, int]):
    """For `str.translate`: every character that is not kept is a space."""

    def __init__(self, keep: Callable[[str], bool]) -> None:
        super().__init__()
        self._keep = keep

    def __missing__(self, code: int) -> int:
        found = self[code] = code if self._keep(chr(code)) else ord(" ")
        return found


_MEANING = _Spaces(lambda one: unicodedata.category(one)[0] != "C")
_LETTERS = _Spaces(lambda one: one.isalnum() and not one.isdecimal())


def _listed(values: list[str | None] | None) -> list[str]:
    return [value for value in (values or [])[:LISTED] if value]


def _label(text: str) -> str:
    normal = unicodedata.normalize("NFKC", text).translate(_MEANING)
    return " ".join(normal.split())[:LABEL].strip()


def _words(text: str | None) -> list[str]:
    normal = unicodedata.normalize("NFKC", (text or "")[:TEXT])
    return normal.casefold().translate(_LETTERS).split()


def _word(text: str) -> str:
    return "" if len(text) < SHORTEST or text in STOP_WORDS else text[:LABEL]


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
