"""Who asks: by a token, by the cookie of somebody who signed in, or by the word of a proxy."""

from __future__ import annotations

import getpass
import hmac
import ipaddress
import re
from collections.abc import Collection
from functools import lru_cache

from starlette.types import Scope

from matinee.desk.signing_in import COOKIE
from matinee.registry.people import APPLICATION, LONGEST, Person, digest
from matinee.service.folder import Service
from matinee.service.visitors import Visitor

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_HOST = re.compile(r"(?:\[([^\[\]]+)\]|([^\[\]:@/]+))(?::\d{1,5})?")


class Access:
    """Who comes in to a service. Where no token was ever given out, none is in the environment, no
    proxy is trusted, and only this machine can ask, as is `local`, everybody is its owner.
    """

    def __init__(
        self, service: Service, tokens: Collection[str] = (), *, local: bool = True
    ) -> None:
        self._local = local
        self._people, self._sessions = service.people, service.sessions
        self._settings = service.settings.access
        self._hosts = {host_name(one) or one for one in self._settings.hosts}
        self._tokens = {digest(token): token.encode() for token in tokens}
        self._owner = Visitor(Person(_owner(), "approver"))

    def configured(self) -> bool:
        """Whether anybody has to say who they are."""
        asked = self._tokens or self._settings.header or self._people.has_tokens()
        return bool(asked) or not self._local

    def visitor(self, scope: Scope) -> Visitor | None:
        """Who asks, `None` where that is not known."""
        given = header(scope, b"authorization")
        if given and (given[:7].lower() == b"bearer " or not self.is_proxy(scope)):
            return self._by_token(given)
        if session := _cookie(scope):
            found = self.known(self._sessions.opened(session) or "")
            if found:
                return Visitor(found, session=session)
        if named := self._named(scope):
            return Visitor(named)
        return None if self.configured() else self._owner

    def known(self, start: str) -> Person | None:
        """Whose token it is of which the digest begins so."""
        if not start:
            return None
        if any(one.startswith(start) for one in self._tokens):
            return Person(APPLICATION, "operator")
        return self._people.of_digest(start)

    def is_proxy(self, scope: Scope) -> bool:
        """Whether the request comes from an address whose word is trusted."""
        return bool(self._settings.header and self._beside(scope))

    def is_secure(self, scope: Scope) -> bool:
        """Whether the browser speaks TLS, to us or to a proxy that says so."""
        told = header(scope, b"x-forwarded-proto") if self._beside(scope) else b""
        return told == b"https" or scope.get("scheme") == "https"

    def _beside(self, scope: Scope) -> bool:
        """Whether the request comes from where a proxy is."""
        client = scope.get("client")
        return bool(client and client[0] in self._settings.proxies)

    def foreign(self, scope: Scope) -> bool:
        """Whether a browser was made to ask by a page from elsewhere."""
        elsewhere = header(scope, b"sec-fetch-site") in {b"cross-site", b"same-site"}
        if scope["method"] in SAFE:  # a link may lead here; nothing else of theirs looks at us
            return elsewhere and header(scope, b"sec-fetch-mode") != b"navigate"
        if elsewhere:
            return True
        origin = header(scope, b"origin").decode("latin-1")
        hosts = {header(scope, b"host").decode("latin-1")}
        if self.is_proxy(scope):
            hosts.add(header(scope, b"x-forwarded-host").decode("latin-1"))
        return origin != "" and origin.partition("://")[2] not in hosts - {""}

    def _by_token(self, given: bytes) -> Visitor | None:
        found = [hmac.compare_digest(given, b"Bearer " + token) for token in self._tokens.values()]
        if any(found):
            return Visitor(Person(APPLICATION, "operator"), ambient=False)
        token = given.removeprefix(b"Bearer ")
        person = self._people.of_token(token.decode("latin-1")) if token != given else None
        return Visitor(person, ambient=False) if person else None

    def _is_reached_so(self, scope: Scope) -> bool:
        """Whether it was asked for by a name of the service, where these are known: another one may
        have been pointed here, to make a browser beside the proxy ask as somebody.
        """
        asked = host_name(header(scope, b"host").decode("latin-1"))
        return not self._hosts or bool(asked and asked in self._hosts)

    def _named(self, scope: Scope) -> Person | None:
        """Whom a proxy names: with the role that was granted to them, or the one of everybody."""
        if not self.is_proxy(scope) or not self._is_reached_so(scope):
            return None
        which = self._settings.header.lower().encode()
        if sum(key == which for key, _ in scope["headers"]) > 1:  # one of them came from outside
            return None
        name = header(scope, which).decode("latin-1").strip()
        if not 0 < len(name) <= LONGEST or not name.isprintable():
            return None
        if self._people.is_revoked(name):
            return None
        return self._people.named(name) or Person(name, self._settings.role)


def from_elsewhere(scope: Scope) -> bool:
    """Whether a name that somebody may have pointed at this machine was asked for, or a page of
    another site made a browser ask.
    """
    host = header(scope, b"host").decode("latin-1")
    origin = header(scope, b"origin").decode("latin-1")
    return not _is_address(host) or (origin != "" and origin.partition("://")[2] != host)


def header(scope: Scope, name: bytes) -> bytes:
    """The first header of that name, empty where there is none."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return b""


def host_name(host: str) -> str:
    """The name in a Host header, without brackets and port; empty where it is none.

    >>> host_name("Desk.example:443"), host_name("[::1]:8765"), host_name("[::1]evil.example")
    ('desk.example', '::1', '')
    """
    found = _HOST.fullmatch(host)
    return (found[1] or found[2]).lower() if found else ""


@lru_cache(maxsize=1_024)
def _is_address(host: str) -> bool:
    """Whether a Host header is localhost or an IP address: no name server can answer for those."""
    name = host_name(host)
    try:
        return name == "localhost" or ipaddress.ip_address(name) is not None
    except ValueError:
        return False


def _cookie(scope: Scope) -> str:
    """Our cookie, empty where there is none."""
    for part in header(scope, b"cookie").decode("latin-1").split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE:
            return value
    return ""


def _owner() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "owner"
