"""A gateway that speaks a small JSON protocol over HTTP, to a processor or to your adapter of one.

To charge::

    POST {url}/charges
    Idempotency-Key: KEY
    Authorization: Bearer TOKEN
    {"attempt_id": KEY, "invoice_id": "i1", "instrument_id": "c1", "network": "visa",
     "amount": 1299, "currency": "EUR", "initiator": "merchant"}

To ask what came of it: ``GET {url}/charges/KEY``. KEY is percent-encoded in the header and in the
path. Both answer 200 or 201 and at least the first two of::

    {"attempt_id": KEY, "status": "approved", "code": "00", "category": null, "advice": null,
     "processor_code": "A1", "fee": 12, "penalty": 0}

`status` is approved, declined or failed (surely not charged, now and later). A GET for a key that
never came answers 404 and ``{"attempt_id": KEY, "status": "absent"}``. A key that comes again is
not charged again and brings the same answer. Anything else, a pending status, another key, another
code of HTTP, a redirect, a cut, slow or long answer, means that it may have been charged.
"""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from ipaddress import ip_address
from typing import Any, Literal
from urllib.parse import quote, urlsplit

import msgspec

from matinee.errors import MatineeError
from matinee.lake.billing import Attempt, Instrument
from matinee.ready import ready
from matinee.service.charging.gateway import Answer, Gateway, NoAnswerError
from matinee.service.charging.settings import PaymentsSettings

MOST_BYTES = 65_536
"""The longest answer that is read."""
FOUND = {200, 201}
ABSENT = 404


@ready
class _Told(Answer, frozen=True):
    """An answer as it comes, with the key that it is about: a mixed-up one must not count."""

    attempt_id: str


@ready
class _Absent(msgspec.Struct, frozen=True):
    """The processor never heard of that key."""

    attempt_id: str
    status: Literal["absent"]


class HttpGateway:
    """Charges over HTTP by the protocol above; a connection of its own for each question.

    `timeout` (seconds) bounds reaching the processor, and then the whole of its answer.
    Certificates are verified, by `context` where one is given. Raises `MatineeError` for a URL that
    is not https, unless it leads to this machine.

    >>> HttpGateway("goldcard", "https://pay.example/v1", token="t").name
    'goldcard'
    """

    def __init__(
        self,
        name: str,
        url: str,
        token: str = "",
        *,
        timeout: float = 30.0,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.name, self._timeout = name, timeout
        if wrong := url_problem(url):
            raise MatineeError(
                f"the gateway {name} cannot be used",
                why=f"its url {wrong}",
                next_step=f'[payments.gateways.{name}] url = "https://..." in matinee.toml',
            )
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port
        self._path = parts.path.rstrip("/") + "/charges"
        self._context = None
        if parts.scheme == "https":
            self._context = context or ssl.create_default_context()
        self._headers = {"Accept": "application/json", "User-Agent": "matinee"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"

    def charge(self, attempt: Attempt, instrument: Instrument) -> Answer:
        """See `Gateway.charge`; `NoAnswerError` where it may have been charged."""
        wanted = {
            "attempt_id": attempt.attempt_id,
            "invoice_id": attempt.invoice_id,
            "instrument_id": attempt.instrument_id,
            "network": instrument.network,
            "amount": attempt.amount,
            "currency": attempt.currency,
            "initiator": attempt.initiator,
        }
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": quote(attempt.attempt_id, safe=""),
        }
        status, body = self._ask("POST", self._path, headers, msgspec.json.encode(wanted))
        return self._read(status, body, attempt.attempt_id)

    def find(self, attempt_id: str) -> Answer | None:
        """See `Gateway.find`; `NoAnswerError` where nobody knows."""
        path = f"{self._path}/{quote(attempt_id, safe='')}"
        status, body = self._ask("GET", path, {}, None)
        if status == ABSENT and self._decoded(body, _Absent).attempt_id == attempt_id:
            return None
        return self._read(status, body, attempt_id)

    def _read(self, status: int, body: bytes, attempt_id: str) -> Answer:
        if status not in FOUND:
            raise NoAnswerError(f"{self.name} answered {status}")
        told = self._decoded(body, _Told)
        if told.attempt_id != attempt_id:
            raise NoAnswerError(f"{self.name} answered about another attempt")
        return Answer(**{name: getattr(told, name) for name in Answer.__struct_fields__})

    def _decoded(self, body: bytes, kind: Any) -> Any:
        try:
            return msgspec.json.decode(body, type=kind)
        except (msgspec.MsgspecError, UnicodeError) as wrong:
            raise NoAnswerError(f"{self.name} answered nonsense: {wrong}") from wrong

    def _ask(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> tuple[int, bytes]:
        """The status and body of an answer, whole; `NoAnswerError` where none came in time."""
        connection = self._connection()
        try:
            connection.connect()
            watch = threading.Timer(self._timeout, _cut, (connection.sock,))
            watch.daemon = True
            watch.start()
            try:
                connection.request(method, path, body, {**self._headers, **headers})
                response = connection.getresponse()
                answer = response.read(MOST_BYTES + 1)
            finally:
                watch.cancel()
        except (OSError, HTTPException) as failure:
            kind = type(failure).__name__
            raise NoAnswerError(f"{self.name} did not answer: {kind}: {failure}") from failure
        finally:
            connection.close()
        if len(answer) > MOST_BYTES:
            raise NoAnswerError(f"{self.name} answered more than {MOST_BYTES} bytes")
        return response.status, answer

    def _connection(self) -> HTTPConnection:
        if self._context is None:
            return HTTPConnection(self._host, self._port, timeout=self._timeout)
        return HTTPSConnection(self._host, self._port, timeout=self._timeout, context=self._context)


def gateways_of(
    settings: PaymentsSettings, environ: Mapping[str, str] = os.environ
) -> dict[str, Gateway]:
    """The gateways that the settings name, by processor.

    Raises `MatineeError` where a URL or a token is wrong or missing.
    """
    return {
        name: HttpGateway(
            name,
            gateway.url,
            _token(name, gateway.token_env, environ),
            timeout=max(1, settings.timeout.seconds),
        )
        for name, gateway in settings.gateways.items()
    }


def _token(name: str, variable: str, environ: Mapping[str, str]) -> str:
    token = environ.get(variable, "") if variable else ""
    if variable and not token:
        raise MatineeError(
            f"the gateway {name} has no token",
            why=f"the environment variable {variable} is empty or not set",
            next_step=f"export {variable}=... , then start again",
        )
    if not all("!" <= character <= "~" for character in token):
        raise MatineeError(
            f"the token of the gateway {name} cannot be sent",
            why=f"{variable} holds spaces, line breaks or other characters than ASCII",
            next_step=f"set {variable} to the token alone",
        )
    return token


def url_problem(url: str) -> str | None:
    """What is wrong with the URL of a gateway, or `None`.

    >>> url_problem("http://pay.example/v1")
    'is not https, and pay.example is not this machine'
    >>> url_problem("http://127.0.0.1:9000")
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as wrong:
        return f"cannot be read ({wrong})"
    if parts.scheme not in {"http", "https"} or not host:
        return "does not begin with https:// and a host"
    if parts.username is not None or parts.query or parts.fragment:
        return "has more than a host, a port and a path"
    if not url.isascii() or any(character <= " " for character in url):
        return "has spaces, or other characters than ASCII"
    if parts.scheme == "http" and not _is_here(host):
        return f"is not https, and {host} is not this machine"
    return None


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _cut(connection: socket.socket) -> None:
    """End a conversation, whoever waits in it; past the shutdown of TLS, which would wait too."""
    with suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
