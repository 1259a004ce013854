"""What becomes of an attempt, and the codes in which it is said.

The codes are real ones of ISO 8583 field 39 and of the networks; how often each is used is made up.
What Visa puts into category 1 is of its Core Rules (18 April 2026, table 7-2); categories 2 to 4
and Mastercard's advice codes follow what acquirers publish, and the world uses only a few of them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from matinee.world.paydays import Floats

OUTCOMES = ("approved", "technical", "issuer_down", "dead", "funds", "refused")
"""What can become of an attempt, in the order in which `odds` gives the probabilities. A
**technical** failure is the processor's: elsewhere the same works at once. **issuer_down** passes
in hours. A **dead** card never recovers. **funds** come with the pay-day; **refused** is what the
issuer's model of risk says, and depends on the processor."""
APPROVED, TECHNICAL, ISSUER_DOWN, DEAD, FUNDS, REFUSED = range(len(OUTCOMES))
SOFT = (FUNDS, REFUSED)
"""What an issuer says again on the same bank day."""

CAUSES = ("alive", "closed", "lost", "stolen", "gone", "revoked", "expired")
"""Why a card is dead."""
ALIVE, EXPIRED = 0, len(CAUSES) - 1
LEFT = CAUSES.index("revoked")
"""What the card of a member who has left answers."""


class Words(NamedTuple):
    """What a processor passes on: field 39, the scheme's category, and the merchant advice code."""

    code: str | None
    category: str | None = None
    advice: str | None = None


def _words(visa: str, category: str, mastercard: str, advice: str) -> dict[str, Words]:
    """The same said by Visa, by Mastercard, and by all others as Visa without the category."""
    return {
        "visa": Words(visa, category),
        "mastercard": Words(mastercard, None, advice),
        "": Words(visa),
    }


DEAD_WORDS = {
    "closed": _words("14", "1", "14", "03"),
    "lost": _words("41", "1", "41", "03"),
    "stolen": _words("43", "1", "43", "03"),
    "gone": _words("46", "1", "46", "03"),
    "revoked": _words("R1", "1", "79", "21"),
    "expired": _words("54", "3", "54", "01"),
}
SOFT_WORDS = {
    FUNDS: (
        (0.65, _words("51", "2", "51", "02")),
        (0.20, _words("51", "2", "51", "25")),
        (0.15, _words("61", "2", "61", "02")),
    ),
    REFUSED: (
        (0.75, _words("05", "4", "05", "02")),
        (0.25, _words("59", "2", "59", "02")),
    ),
}
DOWN_WORDS = _words("91", "2", "91", "02")
OF_CODE = {"51": FUNDS, "61": FUNDS, "05": REFUSED, "59": REFUSED}
"""Which soft decline a raw code stands for."""


def words(outcome: int, cause: int, network: str, luck: float) -> Words:
    """In which codes an outcome is told; `luck` in [0, 1) chooses among several.

    >>> words(DEAD, CAUSES.index("stolen"), "visa", 0.0)
    Words(code='43', category='1', advice=None)
    """
    if outcome == TECHNICAL:
        return Words(None)
    if outcome == APPROVED:
        return Words("00")
    if outcome == ISSUER_DOWN:
        by = DOWN_WORDS
    elif outcome == DEAD:
        by = DEAD_WORDS[CAUSES[cause]]
    else:
        shares, ways = zip(*SOFT_WORDS[outcome], strict=True)
        by = ways[int(np.searchsorted(np.cumsum(shares)[:-1], luck, side="right"))]
    return by.get(network, by[""])


def drawn(odds: Floats, luck: Floats) -> NDArray[np.int64]:
    """The outcome [N] that a uniform draw [N] in [0, 1) makes of probabilities [N, 6].

    >>> drawn(np.array([[0.25, 0.75, 0, 0, 0, 0]] * 2), np.array([0.2, 0.3])).tolist()
    [0, 1]
    """
    passed = luck[:, None] >= np.cumsum(odds, axis=1)[:, :-1]
    outcome: NDArray[np.int64] = passed.sum(axis=1)
    return outcome
