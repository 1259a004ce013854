"""The OpenAPI document, made from the same structs that the endpoints decode into."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

import matinee
from matinee.api.bodies import (
    AssignmentsAnswer,
    DecideBody,
    DecisionAnswer,
    EventError,
    EventsAnswer,
    Health,
    HomePage,
    PaymentError,
    PaymentsAnswer,
    TableCount,
)
from matinee.api.guard import Refusal
from matinee.lake import billing
from matinee.lake.records import Event

_TYPES = (
    DecideBody,
    DecisionAnswer,
    AssignmentsAnswer,
    HomePage,
    EventsAnswer,
    EventError,
    Event,
    PaymentsAnswer,
    TableCount,
    PaymentError,
    Health,
    Refusal,
)
_MEMBER = {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[^@]+$"}


class _EventsBody(msgspec.Struct):
    events: list[Event]


class _PaymentsBody(msgspec.Struct, forbid_unknown_fields=True):
    invoices: list[billing.Invoice] = []
    instruments: list[billing.Instrument] = []
    attempts: list[billing.Attempt] = []
    settlements: list[billing.Settlement] = []
    processors: list[billing.Processor] = []
    outages: list[billing.Outage] = []


def document(service: str, surfaces: Sequence[str]) -> dict[str, Any]:
    """The OpenAPI 3.1 document of this server."""
    _, components = msgspec.json.schema_components(
        (*_TYPES, _EventsBody, _PaymentsBody), ref_template="#/components/schemas/{name}"
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"{service}, by Matinee",
            "version": matinee.__version__,
            "description": "Decisions with their propensities, and the events that answer to them.",
        },
        "paths": _paths(surfaces),
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _paths(surfaces: Sequence[str]) -> dict[str, Any]:
    decide = _body(DecideBody)
    surface = _parameter("surface", "path", {"type": "string", "enum": list(surfaces)})
    return {
        "/v1/decide/{surface}": {
            "post": {
                "summary": "Decide on one surface, or what stands for each subject there; durable "
                "before it is answered",
                "parameters": [surface],
                "requestBody": decide,
                "responses": {
                    **_responses(DecisionAnswer, 404, 413, 422, 429, 503),
                    "200": {
                        "description": "Done",
                        **_content(DecisionAnswer, AssignmentsAnswer),
                    },
                },
            }
        },
        "/v1/decide": {
            "post": {
                "summary": "Decide a whole home page, one decision a row",
                "requestBody": decide,
                "responses": _responses(HomePage, 413, 422, 429, 503),
            }
        },
        "/v1/events": {
            "post": {
                "summary": "Report events; acknowledged when durable, refused row by row",
                "requestBody": _body(_EventsBody),
                "responses": {
                    **_responses(EventsAnswer, 413, 429, 503),
                    "422": {
                        "description": "No event was accepted, or the body is not valid",
                        **_content(EventsAnswer, Refusal),
                    },
                },
            }
        },
        "/v1/payments": {
            "post": {
                "summary": "Report payments by table; acknowledged when durable, refused row by "
                "row. No field may hold the number of a card",
                "requestBody": _body(_PaymentsBody),
                "responses": {
                    **_responses(PaymentsAnswer, 413, 429, 503),
                    "422": {
                        "description": "No row was accepted, or the body is not valid",
                        **_content(PaymentsAnswer, Refusal),
                    },
                },
            }
        },
        "/v1/members/{member_id}/home": {
            "get": {
                "summary": "Preview a member's home page; nothing is decided",
                "parameters": [
                    _parameter("member_id", "path", _MEMBER),
                    _parameter("policy", "query", {"type": "string", "examples": ["titles@1"]}),
                    _parameter("slots", "query", {"type": "integer", "minimum": 1, "maximum": 100}),
                    _parameter("country", "query", {"type": "string", "pattern": "^[A-Z]{2}$"}),
                ],
                "responses": _responses(HomePage, 422, 429, 503),
            }
        },
        "/v1/pictures/{picture_id}": {
            "get": {
                "summary": "A picture that stands for a title, as an image",
                "parameters": [
                    _parameter("picture_id", "path", {"type": "string", "minLength": 1}),
                    _parameter("ratio", "query", {"type": "string", "examples": ["16:9"]}),
                ],
                "responses": {
                    "200": {"description": "The image", "content": {"image/*": {}}},
                    **_refusals(404, 429),
                },
            }
        },
        "/healthz": {
            "get": {"summary": "The process lives", "security": [], "responses": _responses(Health)}
        },
        "/readyz": {
            "get": {
                "summary": "Every surface has a champion",
                "security": [],
                "responses": {
                    **_responses(Health),
                    "503": {"description": "Not ready", **_content(Health)},
                },
            }
        },
    }


def _reference(kind: type) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{kind.__name__}"}


def _content(*kinds: type) -> dict[str, Any]:
    schema = _reference(kinds[0]) if len(kinds) == 1 else {"anyOf": list(map(_reference, kinds))}
    return {"content": {"application/json": {"schema": schema}}}


def _body(kind: type) -> dict[str, Any]:
    return {"required": True, **_content(kind)}


def _responses(success: type, *refusals: int) -> dict[str, Any]:
    return {"200": {"description": "Done", **_content(success)}, **_refusals(*refusals)}


def _refusals(*statuses: int) -> dict[str, Any]:
    return {str(status): {"description": "Refused", **_content(Refusal)} for status in statuses}


def _parameter(name: str, where: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": where, "required": where == "path", "schema": schema}
