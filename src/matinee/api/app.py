"""The endpoints."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from matinee.api.bodies import (
    DecideBody,
    DecisionAnswer,
    EventError,
    EventsAnswer,
    EventsBody,
    Health,
)
from matinee.api.gauges import ServiceGauges
from matinee.api.guard import Guard, Limits, Metrics, Refusal
from matinee.api.openapi import document
from matinee.decisions import Decider
from matinee.desk.pages import pages
from matinee.errors import MatineeError
from matinee.lake.inbox import Receipt
from matinee.lake.records import Event, MemberId
from matinee.service.runtime import NoChampionError, Runtime, UnknownSurfaceError
from matinee.surfaces import Request as Asked

log = logging.getLogger("matinee.api")

Body = TypeVar("Body")
JSON = "application/json"


class Api:
    """The endpoints over one runtime. `app` is the ASGI application; it owns the runtime."""

    def __init__(self, runtime: Runtime, limits: Limits, max_batch: int = 5_000) -> None:
        self.runtime, self.max_batch = runtime, max_batch
        self.metrics = Metrics()
        self.metrics.registry.register(ServiceGauges(runtime))
        self._encode = msgspec.json.Encoder().encode
        starlette = Starlette(
            routes=[
                Route("/v1/decide", self.decide_home, methods=["POST"]),
                Route("/v1/decide/{surface}", self.decide, methods=["POST"]),
                Route("/v1/events", self.events, methods=["POST"]),
                Route("/v1/members/{member_id:path}/home", self.preview_home, methods=["GET"]),
                Route("/healthz", self.healthz, methods=["GET"]),
                Route("/readyz", self.readyz, methods=["GET"]),
                Route("/metrics", self.show_metrics, methods=["GET"]),
                Route("/openapi.json", self.openapi, methods=["GET"]),
                *pages(runtime),
            ],
            exception_handlers={
                MatineeError: self.on_matinee_error,
                msgspec.ValidationError: self.on_bad_body,
                msgspec.DecodeError: self.on_bad_body,
                HTTPException: self.on_http_error,
                sqlite3.Error: self.on_not_durable,
                Exception: self.on_surprise,
            },
            lifespan=self._lifespan,
        )
        self.app = Guard(starlette, limits, self.metrics)

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        yield
        self.runtime.close()
        self.runtime.service.close()

    async def decide(self, request: Request) -> Response:
        """One decision on one surface, durable before it is answered."""
        decider = self.runtime.champion(request.path_params["surface"])
        asked = self._asked(msgspec.json.decode(await request.body(), type=DecideBody))
        decision = decider.propose(asked)
        receipts = await self._log(decider, [decision])
        (standing,) = decider.standing(receipts)
        return self._json(DecisionAnswer.of(standing, duplicate=receipts[-1].duplicate))

    async def decide_home(self, request: Request) -> Response:
        """A whole home page: one decision a row, durable together before they are answered."""
        asked = self._asked(msgspec.json.decode(await request.body(), type=DecideBody))
        home = self.runtime.home()
        decider = self.runtime.champion("titles")
        receipts = await self._log(decider, home.propose(asked))
        return self._json(home.page(asked, decider.standing(receipts)))

    async def preview_home(self, request: Request) -> Response:
        """The page that a member would get now. Nothing is decided and nothing is logged."""
        member_id = msgspec.convert(request.path_params["member_id"], MemberId)
        query = dict(request.query_params)
        home = self.runtime.home(query.pop("policy", None))
        body = msgspec.convert(
            {"request_id": "preview", "member_id": member_id, **query}, DecideBody, strict=False
        )
        return self._json(home.preview(self._asked(body)))

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

    async def healthz(self, _: Request) -> Response:
        """The process lives."""
        return self._json(Health("ok"))

    async def readyz(self, _: Request) -> Response:
        """Every surface has a champion that decides."""
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
        return self._json(document(self.runtime.service.name))

    def _asked(self, body: DecideBody) -> Asked:
        slots = body.slots or self.runtime.service.settings.surfaces.titles.slots
        return self.runtime.located(
            Asked(
                request_id=body.request_id,
                member_id=body.member_id,
                at=datetime.now(UTC),
                slots=slots,
                country=body.country,
                device=body.device,
                features=body.features,
            )
        )

    async def _log(self, decider: Decider[Any], decisions: Sequence[Any]) -> list[Receipt]:
        records = decider.records(decisions)
        receipts = await asyncio.wrap_future(self.runtime.service.lake.submit(records))
        self.metrics.decisions.labels(decider.surface.name, decider.version).inc(len(decisions))
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
            except msgspec.DecodeError as error:
                errors.append(EventError(number, str(error)))
        return events, errors

    def _json(self, body: Any, status: int = 200) -> Response:
        return Response(self._encode(body), status, media_type=JSON)

    async def on_matinee_error(self, _: Request, error: Exception) -> Response:
        assert isinstance(error, MatineeError)  # noqa: S101
        statuses = {UnknownSurfaceError: 404, NoChampionError: 503}
        refusal = Refusal(error.what, error.why, error.next_step)
        return self._json(refusal, statuses.get(type(error), 422))

    async def on_bad_body(self, _: Request, error: Exception) -> Response:
        return self._json(Refusal("the request is not valid", str(error), "see /openapi.json"), 422)

    async def on_http_error(self, _: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101
        return Response(
            self._encode(Refusal(error.detail, next="see /openapi.json")),
            error.status_code,
            error.headers,
            JSON,
        )

    async def on_not_durable(self, _: Request, error: Exception) -> Response:
        log.error("the inbox could not be written: %s", error)
        refusal = Refusal("nothing was written", str(error), "free disk space, then send again")
        return self._json(refusal, 503)

    async def on_surprise(self, _: Request, error: Exception) -> Response:
        log.exception("a request failed", exc_info=error)
        return self._json(Refusal("the server failed", type(error).__name__, "see its log"), 500)
