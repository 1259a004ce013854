"""What every request passes first: who may come in, how much, how many, and for how long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from matinee.api.access import SAFE, Access, from_elsewhere, header
from matinee.desk.pages import refused
from matinee.errors import MatineeError
from matinee.lake.cards import masked
from matinee.registry import Person, Role

HEALTH = frozenset({"/healthz", "/readyz"})
OPEN = ("/sign-in", "/static/")
"""What everybody may ask for, to be able to say who they are."""
CHANGES = ("/desk", "/v1/desk")
"""Whatever is sent there changes what decides."""
SIGN_OUT = "/sign-out"
MOST_TOLD = 1_000
MOST_STRANGERS, MOST_SAID = 16, 16_384
"""Requests under way of those who are not known yet, and bytes of each."""
FOR_CHANGES = 8
"""Places beside `max_waiting` for those who change what decides."""
OVERLOADED = "too many requests are under way"


@dataclass(frozen=True)
class Limits:
    """What one process of the server accepts."""

    max_body: int = 8 * 2**20
    max_waiting: int = 256
    timeout: float = 10.0


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


FROM_ELSEWHERE = Refusal(
    "the request comes from another site",
    "without a token only this machine's own address is answered",
    "use http://127.0.0.1, or set MATINEE_TOKEN",
)
FOREIGN = Refusal(
    "the request comes from another site",
    "a page from elsewhere asked for it in your name",
    "open the desk and do it there",
)
UNKNOWN = Refusal("a token is needed", next="send Authorization: Bearer TOKEN")
SEE = "see /openapi.json"
"""What programs may do next."""
SIGNED_OUT = Refusal(
    "nobody is signed in any more", "nothing was changed", "sign in, and do it again"
)


def answered(
    scope: Scope, refusal: Refusal, status: int, headers: Mapping[str, str] | None = None
) -> Response:
    """What is said of a refusal: a page to a browser that shows one, JSON to everybody else."""
    if b"text/html" in header(scope, b"accept") and not scope["path"].startswith("/v1/"):
        said = SIGNED_OUT if status == 401 else refusal
        step = "" if said.next == SEE else said.next
        return refused(MatineeError(said.error, why=said.why, next_step=step), status, headers)
    return Response(msgspec.json.encode(refusal), status, headers, "application/json")


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

    Answers 401 to whom it does not know, or shows a browser where to sign in; 403 to who may not do
    that; 413 for a body over the limit (without reading it whole), 429 when `max_waiting` requests
    are under way, 503 while shutting down, 408 where the body does not come within `timeout`
    seconds and 504 where the answer does not. Health is always answered.

    403 also keeps out what a page from elsewhere makes a browser send in somebody's name: a change
    that comes from another site and, where nobody has to sign in, a request whose Host is a name
    that somebody may have pointed at this machine.

    Who asks is told to the application as ``request.state.visitor``.
    """

    def __init__(self, app: ASGIApp, limits: Limits, metrics: Metrics, access: Access) -> None:
        self.app, self.limits, self.metrics, self.access = app, limits, metrics, access
        self.waiting = self.strangers = 0
        self.draining = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, answer = time.perf_counter(), _Answer(scope, send)
        try:
            await self._serve(scope, receive, answer)
        finally:
            endpoint = getattr(scope.get("endpoint"), "__name__", "none")
            self.metrics.answered(endpoint, answer.status, time.perf_counter() - began)

    async def _serve(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        if scope["path"] in HEALTH:
            await self.app(scope, receive, answer)
        elif refused := self._refused(scope):
            await answer.refuse(*refused)
        elif self.draining:
            await answer.refuse(503, Refusal("the server is shutting down", next="ask another"))
        elif self.waiting >= self.limits.max_waiting + _spare(scope):
            await answer.refuse(429, Refusal(OVERLOADED, next="come back in a second"))
        elif scope["state"]["visitor"] is None:
            await self._meet(scope, receive, answer)
        else:
            await self._run(scope, receive, answer)

    async def _meet(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        """Let a few who are not known say who they are; they take no place of those who are."""
        if self.strangers >= MOST_STRANGERS:
            await answer.refuse(429, Refusal(OVERLOADED, next="come back in a second"), close=True)
            return
        self.strangers += 1
        try:
            await self._answer(scope, receive, answer, min(MOST_SAID, self.limits.max_body))
        finally:
            self.strangers -= 1

    def _refused(self, scope: Scope) -> tuple[int, Refusal, bytes] | None:
        """Why a request comes no further; for a browser that has to sign in, where it does so."""
        visitor = self.access.visitor(scope)
        scope.setdefault("state", {})["visitor"] = visitor
        if not self.access.configured() and from_elsewhere(scope):
            return 403, FROM_ELSEWHERE, b""
        if (visitor is None or visitor.ambient) and self.access.foreign(scope):
            return 403, FOREIGN, b""
        if scope["path"].startswith(OPEN):
            return None
        if visitor is None:
            return 401, UNKNOWN, _sign_in(scope)
        needed = _needed(scope)
        if not visitor.person.may(needed):
            return 403, _may_not(visitor.person, needed), b""
        return None

    async def _run(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        self.waiting += 1
        self.metrics.waiting.set(self.waiting)
        try:
            await self._answer(scope, receive, answer, self.limits.max_body)
        finally:
            self.waiting -= 1
            self.metrics.waiting.set(self.waiting)

    async def _answer(self, scope: Scope, receive: Receive, answer: _Answer, most: int) -> None:
        """Answer a request whose body has at most so many bytes, in time."""
        limited = _Limited(receive, most)
        try:
            if _declared_length(scope) > most:
                await answer.refuse(413, TOO_LARGE, close=True)
                return
            async with asyncio.timeout(self.limits.timeout):
                await self.app(scope, limited, answer)
        except TimeoutError:
            status, refusal = _too_long(scope, complete=limited.complete)
            await answer.refuse(status, refusal, close=True)


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

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope, self._send = scope, send
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)

    async def refuse(
        self, status: int, refusal: Refusal, sign_in: bytes = b"", *, close: bool = False
    ) -> None:
        """Answer with why not, or by sending a browser to `sign_in`."""
        if self.status:
            return
        headers = {"retry-after": "1"} if status in {429, 503} else {}
        if status == 401:
            headers["www-authenticate"] = "Bearer"
        if sign_in:
            status = 303
            headers |= {"location": sign_in.decode(), "cache-control": "no-store"}
        if close:
            headers["connection"] = "close"
        await answered(self._scope, refusal, status, headers)(self._scope, _nothing, self)


async def _nothing() -> Message:
    """What is read of a request that is refused."""
    return {"type": "http.disconnect"}


def _declared_length(scope: Scope) -> int:
    text = header(scope, b"content-length")
    return int(text) if text.isdigit() else 0


def _needed(scope: Scope) -> Role:
    """What somebody must be for a request."""
    if scope["method"] in SAFE or scope["path"] == SIGN_OUT:
        return "viewer"
    return "approver" if scope["path"].startswith(CHANGES) else "operator"


def _spare(scope: Scope) -> int:
    """Places that are kept for changes, so that the kill switch works while others crowd in."""
    return FOR_CHANGES if _needed(scope) == "approver" else 0


def _too_long(scope: Scope, *, complete: bool) -> tuple[int, Refusal]:
    """What is said where time ran out."""
    if not complete:
        return 408, Refusal("the body took too long", next="try again later")
    if scope["method"] in SAFE:
        return 504, Refusal("that took too long", next="try again later")
    return 504, Refusal(
        "that took too long",
        "it goes on, and may be done after all",
        "look at what stands before you send it again",
    )


def _may_not(person: Person, needed: Role) -> Refusal:
    return Refusal(
        f"{person.name} may not do this",
        f"it needs the role {needed}, and theirs is {person.role}",
        f"matinee people grant NAME --role {needed} --reason '...', on the service's machine",
    )


def _sign_in(scope: Scope) -> bytes:
    """Where a browser that looks at a page is sent; nothing for everything else."""
    if scope["method"] != "GET" or b"text/html" not in header(scope, b"accept"):
        return b""
    asked = scope["path"]
    if query := scope["query_string"].decode("latin-1"):
        asked += f"?{query}"
    return f"/sign-in?next={quote(asked, safe='')}".encode()
