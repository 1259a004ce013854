"""Numbers of payment cards in text: found, so that they are refused, and masked where text is kept.

A number is a run of 12 to 19 digits that begins as one of `ISSUERS` does, has a length that it
gives out, and passes the check of Luhn (ISO/IEC 7812-1). Digits of any script count, full-width and
circled ones too, and URL and backslash escapes are read. Up to three other characters that are no
letters may stand between groups of digits: ``4111 1111-1111.1111``.

A number is made of whole groups. A longer run without separators is not searched for numbers inside
it: of all numbers of 20 digits nearly half hold one by chance, and nobody writes a card's so. For
the same reason a UUID, a digest of 32 hexadecimal digits or more, and a time such as
``2026-01-30 09:12:04`` are passed over as a whole. This finds numbers that strayed into a field,
not ones that somebody hides: who means to can always write them in letters.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
import polars as pl

FEWEST, MOST = 12, 19
"""Digits of a number."""
SHORT = 10 ** (FEWEST - 1)
"""The least number that has so many digits."""
HEAD, TAIL, HIDDEN = 6, 4, 6
"""What a masked number still shows at most, first and last (PCI DSS 4.0, 3.4.1), and the digits
that it hides at least: of a short number fewer of the first ones are shown.
"""
PASSES = 4
"""How often masked text is looked through again: its asterisks may part other digits into a number.
"""


class Issuer(NamedTuple):
    """First digits of its numbers, single or from-to, and how many digits they may have."""

    name: str
    prefixes: tuple[str, ...]
    lengths: Sequence[int]


ISSUERS = (
    Issuer("Visa", ("4",), (13, 16, 19)),
    Issuer("Mastercard", ("51-55", "2221-2720"), (16,)),
    Issuer("Maestro", ("50", "56-58", "63", "67"), range(12, 20)),
    Issuer("American Express", ("34", "37"), (15,)),
    Issuer("Discover", ("6011", "644-649", "65"), range(16, 20)),
    Issuer("Diners Club", ("30", "36", "38-39"), range(14, 20)),
    Issuer("JCB", ("3528-3589",), range(16, 20)),
    Issuer("JCB, old", ("1800", "2131"), (15,)),
    Issuer("UnionPay", ("62", "81"), range(16, 20)),
    Issuer("RuPay", ("353", "356", "508", "60", "65", "81-82"), (16,)),
    Issuer("Mir", ("2200-2205",), range(16, 20)),
    Issuer("GPN", ("1946", "50", "56", "58", "60-63"), range(16, 20)),
    Issuer("Troy", ("65", "9792"), (16,)),
    Issuer("UzCard, Humo", ("5614", "8600", "9860"), (16,)),
    Issuer("Napas", ("9704",), (16, 19)),
    Issuer("T-Union", ("31",), (19,)),
)
"""Ranges of ISO/IEC 7812, as Wikipedia lists them ("Payment card number", July 2024), wider where
those of an issuer lie close together. UATP (1, 15 digits), with which airlines are paid, is left
out: ids of other kinds often look like it.
"""

_CHARACTER = re.compile(r"(?s)%[0-9A-Fa-f]{2}|\\(?:x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|[nrtbfv])|.")
_GAP = r"[\W_]{0,3}"
_RUN = re.compile(_GAP.join(["[0-9]"] * FEWEST) + rf"(?:{_GAP}[0-9])*")
_GROUP = re.compile("[0-9]+")
_HEX = "[0-9A-Fa-f]"
_PASSED_OVER = re.compile(
    rf"(?<![0-9A-Za-z])(?:{_HEX}{{32,128}}|{_HEX}{{8}}(?:-{_HEX}{{4}}){{3}}-{_HEX}{{12}})(?![0-9A-Za-z])"
    r"|(?<![0-9])(?:19|20)[0-9]{2}-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]"
    r"(?::[0-5][0-9](?:[.,][0-9]{1,9})?)?(?![0-9])"
)
_DIGIT = r"[\p{Nd}\p{No}]"
_SUSPECT = rf"(?:{_DIGIT}[^\p{{L}}\p{{N}}]{{0,3}}){{{FEWEST - 1}}}{_DIGIT}|[%\\]"
"""What a text must have to hold a number, for Polars: all that do, and a few that do not."""
_SUSPECT_JSON = _SUSPECT + "|[0-9][eE]"
_Span = tuple[int, int]


def find_cards(text: str) -> list[_Span]:
    """Where numbers of cards stand: (start, stop) of each, in order of their starts.

    Of several that begin at one place it is the longest; numbers may overlap.

    >>> find_cards("card 4111 1111 1111 1111, call 020 7946 0018"), find_cards("4111111111111112")
    ([(5, 24)], [])
    """
    return [(digits[0][0], digits[-1][1]) for digits in _cards(text)]


def masked(text: str) -> str:
    """The text with every number of a card masked: at least six digits of it become asterisks.

    >>> masked("card 4111 1111 1111 1111, or 378282246310005")
    'card 4111 11** **** 1111, or 37828******0005'
    """
    for _ in range(PASSES):
        hidden = {place for digits in _cards(text) for place in _hidden(digits)}
        if not hidden:
            break
        text = _starred(text, sorted(hidden))
    return text


def _hidden(digits: list[_Span]) -> list[_Span]:
    return digits[max(0, min(HEAD, len(digits) - TAIL - HIDDEN)) : -TAIL]


def _starred(text: str, places: Iterable[_Span]) -> str:
    pieces: list[str] = []
    after = 0
    for start, stop in places:
        pieces += (text[after:start], "*")
        after = stop
    return "".join([*pieces, text[after:]])


def holds_card(value: Any) -> bool:
    """Whether a number of a card stands in a value as JSON has them, at any depth, keys included.

    A number counts by its whole part, written out.

    >>> holds_card({"note": ["ok", {"pan": 4111111111111111}]}), holds_card([0.4111111111111111])
    (True, False)
    """
    if isinstance(value, str):
        if value.isascii() and value.isdigit():
            return _is_card(value)
        return len(value) >= FEWEST and next(_cards(value), None) is not None
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            if len(one) >= FEWEST and holds_card(one):
                return True
        elif isinstance(one, dict):
            waiting += (*one, *one.values())
        elif isinstance(one, list | tuple):
            if not _short(one):
                waiting += one
        elif isinstance(one, int | float) and SHORT <= abs(one) < 10**MOST:
            waiting.append(str(int(one)))
    return False


def _short(values: Sequence[Any]) -> bool:
    """Whether these are all numbers that are too short."""
    try:
        return bool(values) and max(values) < SHORT and min(values) > -SHORT
    except TypeError:  # something else is among them
        return False


def masked_value(value: Any) -> Any:
    """The same value with its numbers of cards masked; where there are none, unchanged.

    >>> masked_value({"amount": 4111111111111111, "code": "05"})
    {'amount': '411111******1111', 'code': '05'}
    """
    if not holds_card(value):
        return value
    if isinstance(value, dict):
        return {masked(str(key)): masked_value(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [masked_value(one) for one in value]
    return masked(value if isinstance(value, str) else str(int(value)))


def masked_json(text: str) -> str:
    """The same of JSON text, which stays JSON; of any other text as it stands."""
    try:
        value = msgspec.json.decode(text)
        return msgspec.json.encode(masked_value(value)).decode() if holds_card(value) else text
    except (msgspec.DecodeError, RecursionError):
        return masked(text)


def holding(column: pl.Series, *, nested: bool = False) -> pl.Series:
    """Whether each text [N] holds a number of a card; of lists of text, whether one entry does.

    `nested` columns hold JSON text. Python looks only at what a regular expression suspects.
    """
    if isinstance(column.dtype, pl.List):
        rows = pl.DataFrame({"row": pl.int_range(column.len(), eager=True), "text": column})
        entries = rows.explode("text")
        found = entries.filter(holding(entries["text"]))["row"]
        return rows["row"].is_in(found.implode())
    suspect = column.str.contains(_SUSPECT_JSON if nested else _SUSPECT).arg_true()
    holds = _json_holds if nested else holds_card
    held = pl.Series([holds(text) for text in column.gather(suspect)], dtype=pl.Boolean)
    return pl.repeat(False, column.len(), eager=True).scatter(suspect.filter(held), True)


def _json_holds(text: str) -> bool:
    try:
        return holds_card(msgspec.json.decode(text))
    except (msgspec.DecodeError, RecursionError):
        return holds_card(text)


class MaskingFormatter(logging.Formatter):
    """Log lines, and the tracebacks below them, without the numbers of cards that stood in them."""

    def format(self, record: logging.LogRecord) -> str:
        return masked(super().format(record))


def _cards(text: str) -> Iterator[list[_Span]]:
    """The places of the digits of each number."""
    plain, starts = _plain(text)
    if not _RUN.search(plain):
        return
    for run in _RUN.finditer(_PASSED_OVER.sub(_blank, plain)):
        groups = [group.span() for group in _GROUP.finditer(plain, *run.span())]
        for first in range(len(groups)):
            if digits := _longest(plain, groups[first : first + MOST]):
                yield [(starts[at], starts[at + 1]) for at in digits]


def _longest(plain: str, groups: Iterable[_Span]) -> list[int]:
    """The places of the longest number that the first groups make; none where they make none."""
    places: list[int] = []
    digits, longest = "", 0
    for start, stop in groups:
        if len(digits) + stop - start > MOST:
            break
        digits += plain[start:stop]
        places += range(start, stop)
        if _is_card(digits):
            longest = len(digits)
    return places[:longest]


def _ranges() -> dict[str, frozenset[int]]:
    """The lengths that numbers with these first four digits may have."""
    found: dict[str, frozenset[int]] = {}
    for issuer in ISSUERS:
        for prefix in issuer.prefixes:
            low, _, high = prefix.partition("-")
            for number in range(int(low.ljust(4, "0")), int((high or low).ljust(4, "9")) + 1):
                first = f"{number:04}"
                found[first] = found.get(first, frozenset()).union(issuer.lengths)
    return found


_LENGTHS = _ranges()
_DOUBLED = str.maketrans("0123456789", "0246813579")


def _is_card(digits: str) -> bool:
    """Whether all of it is one number: length, first digits, and the last as Luhn's rule asks."""
    if len(digits) not in _LENGTHS.get(digits[:4], ()):
        return False
    summed = digits[-1::-2] + digits[-2::-2].translate(_DOUBLED)
    return sum(map(int, summed)) % 10 == 0


def _plain(text: str) -> tuple[str, Sequence[int]]:
    """The text with digits in ASCII and escapes read; where each character begins, and the end."""
    if text.isascii() and "%" not in text and "\\" not in text:
        return text, range(len(text) + 1)
    pieces = list(_CHARACTER.finditer(text))
    return "".join(map(_character, pieces)), [*(piece.start() for piece in pieces), len(text)]


def _character(piece: re.Match[str]) -> str:
    """The character that an escape, or a character, stands for."""
    written = piece[0]
    if len(written) > 2:
        written = chr(int(written.lstrip("%\\xu"), 16))
    digit = unicodedata.digit(written, None) if len(written) == 1 else None
    return " " if len(written) == 2 else written if digit is None else str(digit)


def _blank(passed_over: re.Match[str]) -> str:
    """Letters in its place; what has digits alone is neither a digest nor a UUID."""
    text = passed_over[0]
    return text if text.replace("-", "").isdigit() else "x" * len(text)
