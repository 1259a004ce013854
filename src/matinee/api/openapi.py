"""The OpenAPI document, made from the same structs that the endpoints decode into."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from matinee.service.changes import Change

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
    Change,
)
JSON = "application/json"
_ANYTHING = {"type": ["object", "array"]}
_DONE = {
    "type": "object",
    "properties": {"did": {"type": "string"}, "by": {"type": "string"}},
    "required": ["did", "by"],
}
_TEXT = {"type": "string", "maxLength": 200}
_DESK: Mapping[str, tuple[str, Sequence[str]]] = {
    "/desk": ("Today: what was earned, what waits, what is unwell, what exploration cost", ()),
    "/desk/surfaces": ("All surfaces, and who decides there", ()),
    "/desk/surface": ("A surface: versions, traffic, verdicts, changes", ("name",)),
    "/desk/members": ("Members who were here last", ()),
    "/desk/member": (
        "A member: the page they get now, and another version's beside it",
        ("id", "policy", "beside"),
    ),
    "/desk/experiments": ("Experiments and holdouts", ()),
    "/desk/experiment": ("An experiment, as far as it can be read now", ("name",)),
    "/desk/artwork": ("Titles, how often each picture is drawn, what that brings", ("q", "page")),
    "/desk/title": ("A title, and what came of its pictures", ("id",)),
    "/desk/payments": ("Failed renewals, processors, rules and outages", ()),
    "/desk/log": (
        "Decisions, the newest first",
        ("member", "title", "surface", "policy", "arm", "from", "until", "before"),
    ),
    "/desk/decision": ("A decision whole, with what came of it", ("id", "member", "rebuild")),
    "/desk/data": ("Tables: rows, freshness, refused rows, jobs", ("table",)),
    "/desk/table": ("A table: columns, newest rows, refused rows", ("name",)),
    "/desk/changes": ("Who did what, when and why", ("about", "by", "surface")),
}
"""What each page of the desk says, as JSON: what it is, and what may be asked."""
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
        **{f"/v1{path}": {"get": _told(*about)} for path, about in _DESK.items()},
        "/v1/desk/change": {
            "post": {
                "summary": "Change who decides: promote, approve, roll back, start or halt an "
                "experiment, and so on. It needs the role approver, and stands in the history",
                "requestBody": _body(Change),
                "responses": {
                    "200": {"description": "Done", "content": {JSON: {"schema": _DONE}}},
                    **_refusals(403, 415, 422, 429),
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


def _told(summary: str, names: Sequence[str]) -> dict[str, Any]:
    """A page of the desk as JSON."""
    return {
        "summary": summary,
        "parameters": [_parameter(name, "query", _TEXT) for name in names],
        "responses": {
            "200": {"description": "Done", "content": {JSON: {"schema": _ANYTHING}}},
            **_refusals(404, 422, 429, 503),
        },
    }


def _reference(kind: type) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{kind.__name__}"}


def _content(*kinds: type) -> dict[str, Any]:
    schema = _reference(kinds[0]) if len(kinds) == 1 else {"anyOf": list(map(_reference, kinds))}
    return {"content": {JSON: {"schema": schema}}}


def _body(kind: type) -> dict[str, Any]:
    return {"required": True, **_content(kind)}


def _responses(success: type, *refusals: int) -> dict[str, Any]:
    return {"200": {"description": "Done", **_content(success)}, **_refusals(*refusals)}


def _refusals(*statuses: int) -> dict[str, Any]:
    return {str(status): {"description": "Refused", **_content(Refusal)} for status in statuses}


def _parameter(name: str, where: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": where, "required": where == "path", "schema": schema}
