"""Who is at the door: visitors, what a browser is given to be known again, and proofs that a form
came from our own page.
"""

from __future__ import annotations

import base64
import hmac
import time
from dataclasses import dataclass
from hashlib import sha256

from matinee.registry import Person

LASTS = 12 * 3_600
"""Seconds until somebody who signed in has to do so again, and until a form is too old to send."""


@dataclass(frozen=True)
class Visitor:
    """Who asks. `ambient` is what a browser sends by itself, so that another site could make it ask
    in their name: a cookie, what a proxy adds, or being on this machine. `session` is the cookie.
    """

    person: Person
    ambient: bool = True
    session: str = ""


class Sessions:
    """Cookies and proofs, signed with a secret of the service, so that every process of its server
    knows those of the others and none keeps a list.

    >>> sessions = Sessions(b"secret")
    >>> sessions.opened(sessions.cookie("0123456789abcdef"))
    '0123456789abcdef'
    >>> sessions.opened("0123456789abcdef.9999999999.guessed") is None
    True
    """

    def __init__(self, secret: bytes) -> None:
        self._key = hmac.digest(secret, b"matinee sessions", "sha256")

    def cookie(self, token_digest: str, now: float | None = None) -> str:
        """What a browser keeps of a token with this digest."""
        until = int((time.time() if now is None else now) + LASTS)
        told = f"{token_digest[:32]}.{until}"
        return f"{told}.{self._sign('cookie', told)}"

    def opened(self, cookie: str, now: float | None = None) -> str | None:
        """The beginning of a token's digest from a cookie of ours that is not too old."""
        told, _, signed = cookie.rpartition(".")
        found, _, until = told.partition(".")
        if not hmac.compare_digest(self._sign("cookie", told).encode(), signed.encode()):
            return None
        return found if float(until) > (time.time() if now is None else now) else None

    def proof(self, visitor: Visitor, now: float | None = None) -> str:
        """What a form carries to show that it is ours, and was made for this visitor."""
        made = int(time.time() if now is None else now)
        return f"{made}.{self._sign('form', _whose(visitor, made))}"

    def proves(self, proof: str, visitor: Visitor, now: float | None = None) -> bool:
        """Whether it does."""
        made, _, signed = proof.partition(".")
        if not made.isascii() or not made.isdigit() or len(made) > 12:
            return False
        age = (time.time() if now is None else now) - int(made)
        right = self._sign("form", _whose(visitor, int(made)))
        return hmac.compare_digest(right.encode(), signed.encode()) and -60 <= age < LASTS

    def _sign(self, purpose: str, told: str) -> str:
        signed = hmac.new(self._key, f"{purpose}\0{told}".encode(), sha256).digest()
        return base64.urlsafe_b64encode(signed).rstrip(b"=").decode()


def _whose(visitor: Visitor, made: int) -> str:
    return f"{visitor.person.name}\0{visitor.session}\0{made}"
