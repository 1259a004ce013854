"""The endpoints."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Semaphore
from typing import Any

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from matinee.api.access import Access
from matinee.api.bodies import (
    Assignment,
    AssignmentsAnswer,
    DecideBody,
    DecisionAnswer,
    EventError,
    EventsAnswer,
    EventsBody,
    Health,
    HomePage,
    PreviewQuery,
)
from matinee.api.gauges import ServiceGauges
from matinee.api.guard import SEE, Guard, Limits, Metrics, Refusal, answered, told
from matinee.api.openapi import document
from matinee.api.payments import report
from matinee.decisions import Assigner, Decider
from matinee.desk.pages import pages, views
from matinee.desk.views import PERSONAL, NotFoundError
from matinee.errors import MatineeError
from matinee.lake.inbox import Receipt
from matinee.lake.records import Decision, Event, MemberId
from matinee.service.pictures import artwork_of, file_of
from matinee.service.runtime import NoChampionError, Runtime, UnknownSurfaceError
from matinee.surfaces import Choice
from matinee.surfaces import Request as Asked

log = logging.getLogger("matinee.api")

JSON = "application/json"
IMAGE = {
    "cache-control": "private, max-age=300",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
    "x-content-type-options": "nosniff",
}
MAX_DECIDE = 65_536
"""Bytes of a request for a decision."""
MAX_FEATURES, MAX_SHARED = 16_384, 2_048
"""Bytes of its features, which stay in memory and in the log: once, or with each of its subjects.
"""


WAITING = 16
"""Requests that may wait for champions with a fallback; these think about one at a time."""


class UnstorableError(Exception):
    """The request has a value that no row can hold."""


class AnyText(StringConvertor):
    """A part of a path that may hold anything, slashes and line breaks too."""

    regex = r"[\s\S]+"


register_url_convertor("any", AnyText())


class Api:
    """The endpoints over one runtime. `app` is the ASGI application."""

    def __init__(
        self,
        runtime: Runtime,
        limits: Limits,
        max_batch: int = 5_000,
        access: Access | None = None,
    ) -> None:
        access = access or Access(runtime.service)
        self.runtime, self.max_batch = runtime, max_batch
        self._thinker = ThreadPoolExecutor(1, "thinking")
        self._turns, self._given_up = Semaphore(WAITING), Future[Decision]()
        self._given_up.cancel()
        self.metrics = Metrics()
        self.metrics.registry.register(ServiceGauges(runtime))
        self._encode = msgspec.json.Encoder().encode
        self.shown = views(runtime)
        starlette = Starlette(
            routes=[
                Route("/v1/decide", self.decide_home, methods=["POST"]),
                Route("/v1/decide/{surface}", self.decide, methods=["POST"]),
                Route("/v1/events", self.events, methods=["POST"]),
                Route("/v1/payments", self.payments, methods=["POST"]),
                Route("/v1/members/{member_id:any}/home", self.preview_home, methods=["GET"]),
                Route("/v1/pictures/{picture_id:any}", self.picture, methods=["GET"]),
                Route("/healthz", self.healthz, methods=["GET"]),
                Route("/readyz", self.readyz, methods=["GET"]),
                Route("/metrics", self.show_metrics, methods=["GET"]),
                Route("/openapi.json", self.openapi, methods=["GET"]),
                *pages(runtime, access, self.shown),
            ],
            exception_handlers={
                MatineeError: self.on_matinee_error,
                msgspec.ValidationError: self.on_bad_body,
                msgspec.DecodeError: self.on_bad_body,
                UnicodeDecodeError: self.on_bad_body,
                RecursionError: self.on_bad_body,
                UnstorableError: self.on_bad_body,
                ClientDisconnect: self.on_disconnect,
                HTTPException: self.on_http_error,
                sqlite3.Error: self.on_not_durable,
                Exception: self.on_surprise,
            },
        )
        starlette.router.redirect_slashes = False
        self.app = Guard(starlette, limits, self.metrics, access)

    async def decide(self, request: Request) -> Response:
        """One decision on one surface, or what stands for each subject there; durable before it is
        answered.
        """
        surface, body = request.path_params["surface"], await _decide_body(request)
        if body.subjects:
            return await self._assign(surface, body)
        decider, proposed = await self._propose(surface, self._asked(body))
        receipts = await self._log(decider.records([proposed]))
        (standing,) = decider.standing(receipts)
        return self._json(DecisionAnswer.of(standing, duplicate=receipts[-1].duplicate))

    async def _propose(self, surface: str, asked: Asked) -> tuple[Decider[Any], Decision]:
        """What the champion would decide; or the fallback, where there is one and the champion is
        missing, busy, fails, or takes too long.
        """
        decider, fallback = self.runtime.deciding(surface, asked), self.runtime.fallback(surface)
        if fallback is None or decider is fallback:
            return decider, decider.propose(asked)
        if not self._given_up.done() or not self._turns.acquire(blocking=False):
            self.metrics.fallbacks.labels(surface, "busy").inc()
            return fallback, _instead(fallback, decider, asked)
        within, thought = decider.surface.within.total_seconds(), self._think(decider, asked)
        try:
            return decider, await asyncio.wait_for(asyncio.wrap_future(thought), within)
        except MatineeError:
            raise
        except TimeoutError:  # without its turn, or in it
            why = "busy" if thought.cancelled() else "slow"
            self.metrics.fallbacks.labels(surface, why).inc()
        except Exception:  # a broken model stops no payment
            log.exception("the champion of %s failed; the fallback decides", surface)
            self.metrics.fallbacks.labels(surface, "failed").inc()
        finally:
            if not thought.done():  # nobody waits any more, and nobody else's turn comes before
                self._given_up = thought
                thought.add_done_callback(_told_late)
        return fallback, _instead(fallback, decider, asked)

    def _think(self, decider: Decider[Any], asked: Asked) -> Future[Decision]:
        """What the champion would decide, when its turn comes, which is then given back."""
        thought = self._thinker.submit(decider.propose, asked)
        thought.add_done_callback(lambda _: self._turns.release())
        return thought

    def close(self) -> None:
        """Let go of what still waits for a champion."""
        self._thinker.shutdown(wait=False, cancel_futures=True)

    async def _assign(self, surface: str, body: DecideBody) -> Response:
        asked, subjects = self._asked(body), list(dict.fromkeys(body.subjects))
        assigner = self.runtime.assigner(surface, asked)
        standing = await self._assigned(assigner, asked, subjects)
        answer = AssignmentsAnswer(
            request_id=asked.request_id,
            surface=assigner.surface.name,
            member_id=asked.member_id,
            assignments=[Assignment.of(one, standing[one]) for one in subjects if one in standing],
        )
        return self._json(answer)

    async def _assigned(
        self, assigner: Assigner[Any], asked: Asked, subjects: Sequence[str]
    ) -> dict[str, Choice]:
        """What stands for each subject, drawn and made durable where nothing does."""
        steps = assigner.steps(asked, subjects)
        try:
            records = next(steps)
            while True:
                records = steps.send(await self._log(records))
        except StopIteration as done:
            standing: dict[str, Choice] = done.value
            return standing

    async def decide_home(self, request: Request) -> Response:
        """A whole home page: one decision a row, durable together before they are answered."""
        asked = self._asked(await _decide_body(request))
        home = self.runtime.home(asked)
        decisions = home.standing(await self._log(home.records(asked)))
        pictures = {}
        if home.artwork is not None:
            pictures = await self._assigned(home.artwork, asked, home.shown(decisions))
        return self._json(home.page(asked, decisions, pictures))

    async def preview_home(self, request: Request) -> Response:
        """The page that a member would get now. Nothing is decided and nothing is logged."""
        query = msgspec.convert(dict(request.query_params), PreviewQuery, strict=False)
        body = DecideBody(
            request_id="preview",
            member_id=msgspec.convert(request.path_params["member_id"], MemberId),
            slots=query.slots,
            country=query.country,
            device=query.device,
        )
        page = await asyncio.to_thread(self._preview, query.policy, self._asked(body))
        return Response(self._encode(page), media_type=JSON, headers=PERSONAL)

    def _preview(self, policy: str | None, asked: Asked) -> HomePage:
        return self.runtime.home(asked, policy).preview(asked)

    async def events(self, request: Request) -> Response:
        """A batch of events, acknowledged once the good ones are durable."""
        events, errors = self._decode_events(await request.body())
        receipts: list[Receipt] = []
        if events:
            receipts = await asyncio.wrap_future(self.runtime.service.lake.submit(events))
            self.runtime.arrived(receipts)
        duplicates = sum(receipt.duplicate for receipt in receipts)
        for fate, count in (
            ("accepted", len(receipts) - duplicates),
            ("duplicate", duplicates),
            ("refused", len(errors)),
        ):
            self.metrics.events.labels(fate).inc(count)
        answer = EventsAnswer(
            accepted=len(receipts) - duplicates, duplicates=duplicates, errors=errors
        )
        return self._json(answer, 422 if errors and not receipts else 200)

    async def payments(self, request: Request) -> Response:
        """Rows of payments by table, acknowledged once the good ones are durable."""
        sent = await request.body()
        answer = await report(self.runtime, self.metrics, sent, self.max_batch)
        kept = any(count.accepted or count.duplicates for count in answer.tables.values())
        return self._json(answer, 422 if answer.errors and not kept else 200)

    async def picture(self, request: Request) -> Response:
        """A crop of a picture that the service knows; it may be kept for five minutes.

        An image is shown and never run: whoever opens one by itself gets it without scripts.
        """
        known = artwork_of(self.runtime.service).pictures
        picture = known.get(request.path_params["picture_id"])
        if picture is None or picture.barred is not None:
            raise HTTPException(404, "there is no such picture, or nobody may see it")
        try:
            path, kind = file_of(self.runtime.service, picture, request.query_params.get("ratio"))
        except MatineeError as missing:
            raise HTTPException(404, missing.what) from missing
        return FileResponse(path, headers=IMAGE, media_type=kind)

    async def healthz(self, _: Request) -> Response:
        """The process lives."""
        return self._json(Health("ok"))

    async def readyz(self, _: Request) -> Response:
        """There is a champion that decides; the answer names them all."""
        champions = self.runtime.champions()
        ready = self.runtime.ready() and not self.app.draining
        return self._json(
            Health("ready" if ready else "not ready", champions), 200 if ready else 503
        )

    async def show_metrics(self, _: Request) -> Response:
        """Counters of this process and gauges of the service, in Prometheus' text format."""
        text = await asyncio.to_thread(generate_latest, self.metrics.registry)
        return Response(text, media_type=CONTENT_TYPE_LATEST)

    async def openapi(self, _: Request) -> Response:
        """This API, as an OpenAPI 3.1 document."""
        surfaces = sorted(self.runtime.service.surfaces)
        return self._json(document(self.runtime.service.name, surfaces))

    def _asked(self, body: DecideBody) -> Asked:
        return self.runtime.located(
            Asked(
                request_id=body.request_id,
                member_id=body.member_id,
                at=datetime.now(UTC),
                slots=body.slots,
                country=body.country,
                device=body.device,
                features=body.features,
                subject=body.subject,
            )
        )

    async def _log(self, records: Sequence[msgspec.Struct]) -> list[Receipt]:
        """Make decisions durable, and count those that are new."""
        try:
            written = self.runtime.service.lake.submit(records)
        except ValueError as wrong:  # features that no row can hold, as an integer of 65 bits
            raise UnstorableError(str(wrong)) from wrong
        receipts = await asyncio.wrap_future(written)
        for one in receipts:
            if isinstance(one.record, Decision) and not one.duplicate:
                self.metrics.decisions.labels(one.record.surface, one.record.policy).inc()
        return receipts

    def _decode_events(self, body: bytes) -> tuple[list[Event], list[EventError]]:
        rows = msgspec.json.decode(body, type=EventsBody).events
        if len(rows) > self.max_batch:
            raise MatineeError(
                f"the batch has {len(rows)} events",
                why=f"the limit is {self.max_batch}",
                next_step="send smaller batches",
            )
        events, errors = [], []
        for number, row in enumerate(rows):
            try:
                event = msgspec.json.decode(row, type=Event)
                if wrong := self.runtime.service.lake.check(event):
                    raise msgspec.ValidationError(wrong)
                events.append(event)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                errors.append(EventError(number, told(str(error))))
        return events, errors

    def _json(self, body: Any, status: int = 200) -> Response:
        return Response(self._encode(body), status, media_type=JSON)

    async def on_matinee_error(self, _: Request, error: Exception) -> Response:
        assert isinstance(error, MatineeError)  # noqa: S101
        statuses = {NotFoundError: 404, UnknownSurfaceError: 404, NoChampionError: 503}
        refusal = Refusal(error.what, error.why, error.next_step)
        if isinstance(error.__cause__, sqlite3.Error | OSError):  # the disk's fault, not the body's
            log.error("not written: %s", error)
            return self._json(refusal, 503)
        return self._json(refusal, statuses.get(type(error), 422))

    async def on_bad_body(self, _: Request, error: Exception) -> Response:
        return self._json(Refusal("the request is not valid", str(error), "see /openapi.json"), 422)

    async def on_disconnect(self, _: Request, error: Exception) -> Response:
        return self._json(Refusal("the client went away before it had said all"), 400)

    async def on_http_error(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101
        refusal = Refusal(error.detail, next=SEE)
        return answered(request.scope, refusal, error.status_code, error.headers)

    async def on_not_durable(self, request: Request, error: Exception) -> Response:
        log.error("the inbox could not be written: %s", error)
        refusal = Refusal("nothing was written", str(error), "free disk space, then send again")
        return answered(request.scope, refusal, 503)

    async def on_surprise(self, request: Request, error: Exception) -> Response:
        log.exception("a request failed", exc_info=error)
        refusal = Refusal("the server failed", type(error).__name__, "see its log")
        return answered(request.scope, refusal, 500)


def _instead(fallback: Decider[Any], decider: Decider[Any], asked: Asked) -> Decision:
    """What the fallback would decide, in the arm in which the other would have."""
    return msgspec.structs.replace(fallback.propose(asked), arm=decider.arm)


def _told_late(thought: Future[Decision]) -> None:
    """Say of one that was given up on that it failed in the end."""
    if failure := thought.exception():
        log.error("a champion that was given up on failed in the end", exc_info=failure)


async def _decide_body(request: Request) -> DecideBody:
    sent = await request.body()
    if len(sent) > MAX_DECIDE:
        raise HTTPException(413, f"a request for a decision has at most {MAX_DECIDE} bytes")
    body = msgspec.json.decode(sent, type=DecideBody)
    most = MAX_SHARED if body.subjects else MAX_FEATURES
    if len(sent) > most and len(msgspec.json.encode(body.features)) > most:
        raise HTTPException(413, f"the features of this request have at most {most} bytes")
    return body
