"""What every request passes first: who may come in, how much, how many, and for how long."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import lru_cache

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from matinee.lake.cards import masked

HEALTH = frozenset({"/healthz", "/readyz"})
MOST_TOLD = 1_000
OVERLOADED = "too many requests are under way"


@dataclass(frozen=True)
class Limits:
    """What one process of the server accepts.

    `tokens` may be empty only where the server listens on the loopback address.
    """

    max_body: int = 8 * 2**20
    max_waiting: int = 256
    timeout: float = 10.0
    tokens: Collection[str] = ()


def told(text: str) -> str:
    """What is told of words that may quote a request: numbers of cards masked, and no more than
    `MOST_TOLD` characters.
    """
    return masked(text[: 2 * MOST_TOLD])[:MOST_TOLD]


class Refusal(msgspec.Struct, frozen=True):
    """The body of every answer that is not a success."""

    error: str
    why: str = ""
    next: str = ""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            msgspec.structs.force_setattr(self, name, told(getattr(self, name)))


TOO_LARGE = Refusal("the body is too large", "server.max_body is the limit", "send smaller batches")


@dataclass
class Metrics:
    """Counters of this process, for Prometheus."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        self.requests = Counter(
            "matinee_http_requests",
            "Requests answered",
            ["endpoint", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "matinee_http_seconds",
            "Seconds from request to answer",
            ["endpoint"],
            buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
            registry=self.registry,
        )
        self.waiting = Gauge("matinee_http_under_way", "Requests under way", registry=self.registry)
        self.decisions = Counter(
            "matinee_decisions", "Decisions logged", ["surface", "policy"], registry=self.registry
        )
        self.fallbacks = Counter(
            "matinee_fallbacks",
            "Decisions of fallbacks, by what was wrong with the champion",
            ["surface", "why"],
            registry=self.registry,
        )
        self.events = Counter(
            "matinee_events", "Events by what became of them", ["fate"], registry=self.registry
        )
        self.payments = Counter(
            "matinee_payment_rows",
            "Reported rows of payments by what became of them",
            ["table", "fate"],
            registry=self.registry,
        )
        self.odd_attempts = Counter(
            "matinee_odd_attempts",
            "Accepted reports on attempts, by what is odd about them",
            ["why"],
            registry=self.registry,
        )
        self._children: dict[tuple[str, int], tuple[Counter, Histogram]] = {}

    def answered(self, endpoint: str, status: int, seconds: float) -> None:
        """Count one answer."""
        key = (endpoint, status)
        if key not in self._children:
            self._children[key] = (
                self.requests.labels(endpoint, str(status)),
                self.seconds.labels(endpoint),
            )
        counter, histogram = self._children[key]
        counter.inc()
        histogram.observe(seconds)


class Guard:
    """ASGI middleware around the whole application.

    Answers 401 without a valid token, 413 for a body over the limit (without reading it whole),
    429 when `max_waiting` requests are under way, 503 while shutting down, 408 where the body does
    not come within `timeout` seconds and 504 where the answer does not. Health is always answered.

    Where no token is asked for, 403 keeps out what a page from elsewhere makes a browser send: a
    request whose Host is a name that somebody may have pointed at this machine, or whose Origin is
    another site.
    """

    def __init__(self, app: ASGIApp, limits: Limits, metrics: Metrics) -> None:
        self.app, self.limits, self.metrics = app, limits, metrics
        self.waiting = 0
        self.draining = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, answer = time.perf_counter(), _Answer(send)
        try:
            await self._serve(scope, receive, answer)
        finally:
            endpoint = getattr(scope.get("endpoint"), "__name__", "none")
            self.metrics.answered(endpoint, answer.status, time.perf_counter() - began)

    async def _serve(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        if scope["path"] in HEALTH:
            await self.app(scope, receive, answer)
        elif not self._allowed(scope):
            await answer.refuse(
                401, Refusal("a token is needed", next="send Authorization: Bearer TOKEN")
            )
        elif not self.limits.tokens and _from_elsewhere(scope):
            await answer.refuse(
                403,
                Refusal(
                    "the request comes from another site",
                    "without a token only this machine's own address is answered",
                    "use http://127.0.0.1, or set MATINEE_TOKEN",
                ),
            )
        elif self.draining:
            await answer.refuse(503, Refusal("the server is shutting down", next="ask another"))
        elif self.waiting >= self.limits.max_waiting:
            await answer.refuse(429, Refusal(OVERLOADED, next="come back in a second"))
        else:
            await self._run(scope, receive, answer)

    async def _run(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        self.waiting += 1
        self.metrics.waiting.set(self.waiting)
        limited = _Limited(receive, self.limits.max_body)
        try:
            if _declared_length(scope) > self.limits.max_body:
                await answer.refuse(413, TOO_LARGE, close=True)
                return
            async with asyncio.timeout(self.limits.timeout):
                await self.app(scope, limited, answer)
        except TimeoutError:
            status, what = (504, "that") if limited.complete else (408, "the body")
            refusal = Refusal(f"{what} took too long", next="try again later")
            await answer.refuse(status, refusal, close=True)
        finally:
            self.waiting -= 1
            self.metrics.waiting.set(self.waiting)

    def _allowed(self, scope: Scope) -> bool:
        if not self.limits.tokens:
            return True
        given = _header(scope, b"authorization")
        return any(
            hmac.compare_digest(given, b"Bearer " + token.encode()) for token in self.limits.tokens
        )


class _Limited:
    """`receive` that raises once more than `limit` bytes have come."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive, self._left = receive, limit
        self.complete = False

    async def __call__(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        self.complete = not message.get("more_body", False)
        if self._left < 0:
            raise HTTPException(413, TOO_LARGE.error, {"connection": "close"})
        return message


class _Answer:
    """`send` that remembers whether and how the answer began."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)

    async def refuse(self, status: int, refusal: Refusal, *, close: bool = False) -> None:
        if self.status:
            return
        body = msgspec.json.encode(refusal)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
        ]
        if status in {429, 503}:
            headers.append((b"retry-after", b"1"))
        if status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        if close:
            headers.append((b"connection", b"close"))
        await self({"type": "http.response.start", "status": status, "headers": headers})
        await self({"type": "http.response.body", "body": body})


def _declared_length(scope: Scope) -> int:
    text = _header(scope, b"content-length")
    return int(text) if text.isdigit() else 0


def _from_elsewhere(scope: Scope) -> bool:
    host = _header(scope, b"host").decode("latin-1")
    origin = _header(scope, b"origin").decode("latin-1")
    return not _is_address(host) or (origin != "" and origin.partition("://")[2] != host)


@lru_cache(maxsize=1_024)
def _is_address(host: str) -> bool:
    """Whether a Host header is localhost or an IP address: no name server can answer for those."""
    name = host[1 : host.find("]")] if host.startswith("[") else host.partition(":")[0]
    try:
        return name == "localhost" or ipaddress.ip_address(name) is not None
    except ValueError:
        return False


def _header(scope: Scope, name: bytes) -> bytes:
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return b""
